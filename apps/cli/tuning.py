"""`heliotrope tune`: a search over models and their parameters, its progress, and what mattered."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from apps.cli.output import JsonOption, console, print_json, print_pairs, print_rows
from apps.cli.studies import importance_rows
from apps.cli.training import EPOCHS, HORIZON, KNOWN, SCHEMA, SERIES, SOURCE, TARGET, TIMESTAMP, UNIT, names_of
from apps.cli.trial_screen import TrialScreen
from cluster.settings import Settings

if TYPE_CHECKING:
    from apps.pipelines.search import Asked, Search

BUDGET = typer.Option("quick", help="quick (12 trials, 2 min), balanced (50, 30 min) or thorough (200, 4 h).")
TRIALS = typer.Option(None, min=1, help="How many trials in all; the preset's by default.")
MINUTES = typer.Option(None, min=0, help="Wall-clock minutes in all.")
CPU_HOURS = typer.Option(None, min=0, help="Processor hours, all workers together.")
GPU_HOURS = typer.Option(None, min=0, help="GPU hours, all workers together.")
CO2E_KG = typer.Option(None, min=0, help="Carbon of the workers, kilograms; estimated where nothing measures it.")
SEARCH = typer.Option(None, help="gaussian_process, tpe or random.")
STOPPING = typer.Option("halving", help="Which trials are stopped early: halving, median or none.")
OBJECTIVE = typer.Option(
    ["wape"], help="What is made small; repeat for a trade-off: wape, latency_p99_ms, size_bytes, co2e_kg, ..."
)
BOUND = typer.Option([], help="What a model must keep, such as 'latency_p99_ms<=5'; repeat for more.")
FOLDS = typer.Option(1, min=1, help="Blocks of cross-validation in time; 1 is the validation part alone.")
FOLD_WINDOW = typer.Option("expanding", help="What a fold learns from: expanding or sliding.")
CONCURRENT = typer.Option(2, min=1, help="Trials at a time.")
CPUS = typer.Option(1.0, min=0, help="Processors of a trial; shares are fine.")
GPUS = typer.Option(0.0, min=0, help="GPUs of a trial; shares are fine.")
TRAIN_WORKERS = typer.Option(0, min=0, help="Ray Train workers of a trial, a processor each; 0 needs none.")
MEMORY_MIB = typer.Option(None, min=1, help="The most a trial may allocate; one that needs more fails.")
TIMEOUT_S = typer.Option(None, min=0, help="A trial that takes longer fails, and its worker is ended.")
ENERGY = typer.Option("auto", help="What measures energy: codecarbon, estimate, or auto, the first if installed.")
WARM = typer.Option(False, "--warm-start", help="Begin from what worked in earlier studies of similar data.")
NAME = typer.Option(None, help="Of the study; made from data, recipe and goal by default.")
EXPLAIN = typer.Option(False, "--explain", help="Also print how much each parameter mattered.")
PLOTS = typer.Option(None, help="Folder to draw history, parallel coordinates, slices and the Pareto front into.")

WORKERS = 2
"""Only says that there is a Ray; trials have workers of their own."""


def tune(
    source: str = SOURCE,
    target: str = TARGET,
    horizon: int | None = HORIZON,
    schema: str | None = SCHEMA,
    timestamp: str = TIMESTAMP,
    series: str | None = SERIES,
    unit: str = UNIT,
    known: str = KNOWN,
    epochs: int = EPOCHS,
    budget: str = BUDGET,
    trials: int | None = TRIALS,
    minutes: float | None = MINUTES,
    cpu_hours: float | None = CPU_HOURS,
    gpu_hours: float | None = GPU_HOURS,
    co2e_kg: float | None = CO2E_KG,
    search: str | None = SEARCH,
    stopping: str = STOPPING,
    objective: list[str] = OBJECTIVE,
    bound: list[str] = BOUND,
    folds: int = FOLDS,
    fold_window: str = FOLD_WINDOW,
    concurrent: int = CONCURRENT,
    cpus: float = CPUS,
    gpus: float = GPUS,
    train_workers: int = TRAIN_WORKERS,
    memory_mib: int | None = MEMORY_MIB,
    trial_timeout_s: float | None = TIMEOUT_S,
    energy: str = ENERGY,
    warm_start: bool = WARM,
    name: str | None = NAME,
    explain: bool = EXPLAIN,
    plots: Path | None = PLOTS,
    as_json: bool = JsonOption,
) -> None:
    """Search hyper-parameters of LSTM and XGBoost; Ctrl-C keeps the best so far, the same command goes on."""
    from apps.pipelines.line import Line
    from apps.pipelines.progress import Silent
    from apps.pipelines.search import Asked
    from apps.pipelines.source import load_source
    from tuning.budget import budget_of
    from tuning.conductor import TrialLimits
    from tuning.folds import FoldsSpec
    from tuning.goal import Bound, Goal
    from tuning.ray_crew import WorkerSpec
    from tuning.study_spec import DEFAULT_SEARCH

    asked = Asked(
        budget=budget_of(
            budget,
            trials=trials,
            wall_s=_times(minutes, 60),
            cpu_s=_times(cpu_hours, 3600),
            gpu_s=_times(gpu_hours, 3600),
            co2e_kg=co2e_kg,
        ),
        name=name,
        warm_start=warm_start,
        goal=Goal(objectives=tuple(objective), bounds=tuple(Bound.parse(each) for each in bound)),
        folds=FoldsSpec(count=folds, window=fold_window),
        search=search or DEFAULT_SEARCH,
        stopping=stopping,
        max_concurrent=concurrent,
        worker=WorkerSpec(cpus=cpus, gpus=gpus, memory_bytes=memory_mib and memory_mib * 2**20, meter=energy),
        train_workers=train_workers,
        limits=TrialLimits(timeout_s=trial_timeout_s),
    )
    settings = Settings.from_environment()
    panel = load_source(
        source, target=target, schema=schema, timestamp=timestamp, series=series, unit=unit, known=names_of(known)
    )
    recipe = Line(settings, workers=WORKERS, progress=Silent()).recipe(
        panel, target, horizon=horizon, epochs=epochs
    )
    asked.spec(recipe, recipe.view(panel))  # what is wrong with it is said before Ray starts
    with TrialScreen() as screen, Line.open(settings, workers=WORKERS, progress=screen) as line:
        found = line.search(panel, recipe, asked, on_change=screen.show)
    _tell(found, asked, settings, explain=explain, plots=plots, as_json=as_json)
    if found.result.interrupted:
        raise typer.Exit(130)


def _tell(
    found: Search, asked: Asked, settings: Settings, *, explain: bool, plots: Path | None, as_json: bool
) -> None:
    facts: dict[str, Any] = found.facts(settings)
    if explain:
        facts["importance"] = importance_rows(found.history(settings))
    if plots is not None:
        from apps.reports.study_report import write_study

        facts["plots"] = [str(path) for path in write_study(found.history(settings), plots)]
    if as_json:
        print_json(facts)
        return
    print_rows(found.short_rows(), title=f"Study {found.name}", empty="No trial finished.")
    if len(asked.goal.objectives) > 1:
        print_rows(found.front_rows(), title="Pareto front", empty="No trial keeps the bounds.")
    if explain:
        print_rows(facts["importance"], title="How much each parameter mattered", empty="Too few trials to tell.")
    print_pairs((key, facts[key]) for key in ("best", "spent", "energy", "ended_by", "plots") if key in facts)
    console.print("The same command goes on with more; [bold]--explain[/] says what mattered.")


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor
