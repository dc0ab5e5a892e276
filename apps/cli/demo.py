"""`heliotrope demo`: the whole line on real data, from the table to a forecast over HTTP."""

from __future__ import annotations

import getpass
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from apps.cli.bars import Bars
from apps.cli.output import console, print_pairs, print_rows
from apps.cli.platform import print_addresses
from cluster.errors import GateRefused, PermanentError, UserError
from cluster.settings import Settings

if TYPE_CHECKING:
    from apps.client.client import Client
    from apps.emissions.replay import Replay
    from apps.platform import Platform
    from training.core.panel import Panel

SAMPLE, TARGET = "gas_turbine", "NOX"
HARD_TARGET = "CO"
SEARCHED = ("xgboost", "lstm")
"""Members that are searched, and trained on Ray Train."""
ORIGINS = 60
"""Requests to the service, spread over the test part."""


def demo(
    trials: int = typer.Option(6, min=2, help="Trials of the search."),
    epochs: int = typer.Option(16, min=1, help="At most so many epochs for the LSTM."),
    workers: int = typer.Option(2, min=1, help="Ray Train workers a model."),
    plot: Path = typer.Option(Path("heliotrope-data/forecast.png"), help="Where the picture goes."),
    stay: bool = typer.Option(False, help="Keep everything up until Ctrl-C instead of shutting down."),
) -> None:
    """Train, search, register, serve and forecast on the bundled gas turbine; about five minutes on two cores."""
    from apps.platform import Platform, until_interrupted

    started_s = time.monotonic()
    settings = Settings.from_environment()
    console.print("[bold]Heliotrope[/]: a real gas turbine's NOx, 24 hours ahead\n")
    with Bars(console) as bars:
        bars.update("start Ray, experiment UI", 0, 1)
        with Platform.open(settings) as platform:
            bars.update("start Ray, experiment UI", 1, 1, platform.running.dashboard_url)
            _train(platform, bars, trials=trials, epochs=epochs, workers=workers)
            bars.update("serve", 0, 1)
            platform.serve()
            bars.update("serve", 1, 1, platform.running.endpoint)
            _forecast(platform, bars, plot)
            console.print(f"\n[bold]Where everything is[/] (after {time.monotonic() - started_s:.0f} s)")
            print_addresses(platform.running)
            print_pairs([("Picture", plot), ("Data", settings.home)])
            if stay:
                console.print("\nCtrl-C ends it.")
                until_interrupted(platform.tick)
    console.print("\nEverything is shut down. [bold]heliotrope up[/] serves the registered model again.")


def _train(platform: Platform, bars: Bars, *, trials: int, epochs: int, workers: int) -> None:
    from apps.pipelines.line import Line
    from apps.pipelines.recipe import part
    from apps.pipelines.search import Asked
    from training.data.bundled import load_sample
    from tuning.budget import Budget

    line = Line(platform.settings, workers=workers, progress=bars)
    panel = load_sample(SAMPLE)
    bars.update("read and validate", 1, 1, f"{len(panel):,} hours of {len(panel.schema.names)} measured columns")
    recipe = line.recipe(panel, TARGET, epochs=epochs)
    recipe = recipe.with_members(tuple(each for each in recipe.members if each["name"] in SEARCHED))
    asked = Asked(budget=Budget(trials=trials))
    judged = line.judge(panel, line.search(panel, recipe, asked).whole().improved(recipe))
    print_rows(judged.figures(), title="\nOn the last 15 % of the data, which nothing was fitted on", empty="")
    version = line.register(judged, owner=getpass.getuser())
    console.print(f"Registered [bold]{version.name} {version.version}[/]: {judged.verdict.summary()}")
    _try_the_hard_one(platform, bars, panel, part("ridge"))


def _try_the_hard_one(platform: Platform, bars: Bars, panel: Panel, member: dict[str, Any]) -> None:
    """Show that the gate refuses: CO is hardly predictable from these sensors' past."""
    from apps.pipelines.line import Line

    line = Line(platform.settings, workers=0, progress=bars)
    recipe = line.recipe(panel, HARD_TARGET, epochs=1).with_members((member,))
    try:
        line.register(line.judge(panel, recipe), owner=getpass.getuser())
    except GateRefused as refusal:
        console.print(f"Refused [bold]{recipe.name}[/]: {refusal.message}\n")


def _forecast(platform: Platform, bars: Bars, plot: Path) -> None:
    from apps.client.client import Client
    from apps.emissions.replay import Replay
    from apps.pipelines.recipe import default_recipe
    from training.core.splits import chronological_split
    from training.data.bundled import load_sample

    panel = load_sample(SAMPLE)
    with Client(platform.running.endpoint, timeout_s=platform.settings.request_timeout_s) as client:
        served = client.model(default_recipe(panel.schema, TARGET).name)
        replay = Replay.of(
            panel,
            served,
            client,
            since=chronological_split(panel).test_start,
            origins=ORIGINS,
            asked=lambda done: bars.update("forecasts over HTTP", done, ORIGINS),
        )
        refusal = _refused(client, served.name, replay)
    median = replay.ranked(0.5)
    title = f"\nThe forecast of median error (WAPE {median.wape:.3f}) over HTTP, in {replay.unit}"
    print_rows(replay.rows(median), title=title, empty="")
    console.print(replay.summary())
    console.print(f"A request with too little history is told: [italic]{refusal}[/]")
    replay.draw(plot)


def _refused(client: Client, name: str, replay: Replay) -> str:
    """Return what the service says to a history that is too short."""
    try:
        client.forecast(name, replay.too_short())
    except UserError as error:
        return error.message
    raise PermanentError("the service took a history that is too short")
