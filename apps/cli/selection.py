"""`heliotrope select`: which families forecast best, for which series, and why."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING, Any

import typer

from apps.cli.bars import Bars
from apps.cli.output import JsonOption, console, print_json, print_rows
from apps.cli.training import HORIZON, KNOWN, SCHEMA, SERIES, SOURCE, TARGET, TIMESTAMP, UNIT, names_of
from cluster.errors import ConfigError, HeliotropeError
from cluster.settings import Settings

if TYPE_CHECKING:
    from apps.pipelines.line import Line
    from training.core.panel import Panel
    from training.evaluation.selection import Choice, Selection

NAMES = {
    "family": "family",
    "error": "error",
    "+-": "+-",
    "behind": "behind",
    "won": "beat the best on",
    "weight": "weight",
}
"""What a choice's row calls a figure -> what a person is told; the best itself is compared with the second."""


def select(
    source: str = SOURCE,
    target: str = TARGET,
    horizon: int | None = HORIZON,
    schema: str | None = SCHEMA,
    timestamp: str = TIMESTAMP,
    series: str | None = SERIES,
    unit: str = UNIT,
    known: str = KNOWN,
    families: str = typer.Option("", help="Families to compare, with commas between; five quick ones by default."),
    cutoffs: int = typer.Option(10, min=2, help="Moments in the past that are forecast from."),
    stride: int | None = typer.Option(None, min=1, help="Steps between two of them; the horizon by default."),
    rows: int | None = typer.Option(None, min=2, help="The most rows before each that are learned from; all."),
    refit: bool | None = typer.Option(
        None,
        help="Fit anew at each of them, or once before the first; by default as the length of the series says.",
    ),
    groups: str = typer.Option("look", help="`look`: a choice for each kind of series; `one`: one for all."),
    measure: str = typer.Option("mase", help="mase or wape."),
    workers: int = typer.Option(2, min=0, help="Tasks at a time on Ray; 0 works in this process without Ray."),
    register: bool = typer.Option(False, help="Fit, judge and register the choices that pass the gate."),
    as_json: bool = JsonOption,
) -> None:
    """Compare families on rolling-origin backtests before the held-out end, choose, and say why.

    A run that was cut off goes on where it was.
    """
    from apps.pipelines.choose import DEFAULT_FAMILIES, Asked
    from apps.pipelines.line import Line
    from apps.pipelines.source import load_source

    if groups not in ("look", "one") or measure not in ("mase", "wape"):
        raise ConfigError(f"got groups '{groups}' and measure '{measure}', expected look or one, and mase or wape")
    panel = load_source(
        source, target=target, schema=schema, timestamp=timestamp, series=series, unit=unit, known=names_of(known)
    ).for_target(target)
    asked = Asked(
        families=names_of(families) or DEFAULT_FAMILIES,
        horizon=horizon or max(panel.schema.season_length, 1),
        cutoffs=cutoffs,
        stride=stride,
        train_rows=rows,
        refit=refit,
        grouping="one" if groups == "one" else "look",
        measure="wape" if measure == "wape" else "mase",
    )
    with Bars() as bars, Line.open(Settings.from_environment(), workers=workers, progress=bars) as line:
        selection = line.choose(panel, asked)
        registered = _register(line, panel, selection) if register else []
    if as_json:
        print_json(selection.to_json() | ({"registered": registered} if register else {}))
        return
    for choice in selection.choices:
        _print(choice, selection)
    if register:
        print_rows(registered, title="\nOn the held-out end", empty="")


def _print(choice: Choice, selection: Selection) -> None:
    title = (
        f"\n{choice.group}: {len(choice.series)} series, {choice.forecasts} forecasts of {selection.horizon} steps "
        f"each, asked from {_minute(selection.first)} to {_minute(selection.last)}"
    )
    names = NAMES | {"error": selection.measure.upper()}
    rows: list[dict[str, Any]] = [{names[key]: row[key] for key in names if key in row} for row in choice.rows()]
    print_rows(rows, title=title, empty=f"{title}: nothing to compare")
    for reason in choice.reasons:
        console.print(f"  - {reason}", soft_wrap=True)


def _minute(time: str) -> str:
    return time[:16].replace("T", " ")


def _register(line: Line, panel: Panel, selection: Selection) -> list[dict[str, Any]]:
    """Register what passes; a group that does not is told, and the others go on."""
    rows = []
    for choice in selection.choices:
        row: dict[str, Any] = {"group": choice.group}
        try:
            judged = line.judge_choice(panel, selection, choice.group)
            row |= {"model": judged.recipe.name, "version": "", "wape": judged.card.overall.wape}
            row |= {"gate": judged.verdict.summary()}
            row["version"] = str(line.register(judged, owner=getpass.getuser()).version)
        except HeliotropeError as error:
            row = {"model": "", "version": "", "wape": float("nan"), "gate": error.message} | row
        rows.append({key: row[key] for key in ("group", "model", "version", "wape", "gate")})
    return rows
