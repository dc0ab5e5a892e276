"""`heliotrope operations`: what a system's load will do to its limits."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from apps.cli.output import JsonOption, console, print_json, print_rows

if TYPE_CHECKING:
    import pandas as pd

    from apps.operations.crossings import Crossings
    from apps.operations.limits import Limit
    from apps.operations.system import System

app = typer.Typer(
    help="Capacity, bottleneck, health, utilisation: what a system's load will do to its limits.",
    no_args_is_help=True,
)

SOURCE = typer.Argument(
    help="A bundled sample (google2019_machine_usage, ...), or a CSV, Parquet or Arrow file: the history."
)
LIMIT = typer.Option(
    help="column=80 for what shall keep below 80, 'column>100' for what shall keep above. Repeatable."
)
HORIZON = typer.Option(48, min=1, help="Steps ahead.")
CONSECUTIVE = typer.Option(1, min=1, help="Steps beyond the limit, one after another, that make a crossing.")
TIMESTAMP = typer.Option("timestamp", help="The file's column with times.")
SERIES = typer.Option(None, help="The file's column with the systems' ids; one system by default.")
OUTPUT = typer.Option(None, help="Write a row a step to this CSV file too.")


@dataclass(frozen=True)
class _Asked:
    """A system fitted on the source, and its crossings, one of each series."""

    system: System
    crossings: tuple[Crossings, ...]

    def say_source(self) -> None:
        """Tell what the figures rest on."""
        best, fewest = self.system.candidates[0], min(each.independent for each in self.crossings)
        console.print(
            f"By {best.told()}, the best of {len(self.system.candidates)} on five moments of the history; "
            f"probabilities are shares of {len(self.crossings[0].first)} sample paths, of which about {fewest:.0f} "
            "do not overlap.",
            soft_wrap=True,
        )


def _ask(
    source: str,
    limits: Sequence[str],
    horizon: int,
    consecutive: int,
    timestamp: str,
    series: str | None,
) -> _Asked:
    from apps.operations.crossings import Crossings
    from apps.operations.limits import Limit, check_limits
    from apps.operations.system import System, resources
    from apps.pipelines.source import load_source

    parsed = [Limit.parse(text) for text in limits]
    panel = load_source(source, target=parsed[0].column, timestamp=timestamp, series=series)
    columns = [limit.column for limit in parsed]
    checked: tuple[Limit, ...] = check_limits(parsed, resources(panel, columns).schema)
    system = System.fit(panel, columns, horizon=horizon)
    crossings = tuple(Crossings.of(each, checked, consecutive=consecutive) for each in system.paths())
    return _Asked(system, crossings)


@app.command()
def capacity(
    source: str = SOURCE,
    limit: list[str] = LIMIT,
    horizon: int = HORIZON,
    consecutive: int = CONSECUTIVE,
    timestamp: str = TIMESTAMP,
    series: str | None = SERIES,
    output: Path | None = OUTPUT,
    as_json: bool = JsonOption,
) -> None:
    """Say how likely each limit is crossed within the horizon, and when."""
    asked = _ask(source, limit, horizon, consecutive, timestamp, series)
    rows = _table(asked, lambda each: each.capacity())
    _written(asked, output)
    if as_json:
        print_json({"horizon": horizon, "limits": rows})
        return
    shown = [
        _who(row, asked)
        | {
            "limit": f"{row['resource']} {row['keep']}",
            "now": row["now"],
            "crossed": _percent(row["probability"]),
            "10 % sure by": _moment(row["crossed_by_q0.1"]),
            "half sure by": _moment(row["crossed_by_q0.5"]),
            "90 % sure by": _moment(row["crossed_by_q0.9"]),
        }
        for row in rows
    ]
    print_rows(shown, title=f"Limits crossed within {horizon} steps; - is not within them", empty="")
    for each in asked.crossings:
        for one, now in zip(each.limits, each.now, strict=True):
            if now:
                console.print(f"[yellow]{each.series}: {one.column} is beyond its limit now.[/]", soft_wrap=True)
    asked.say_source()


@app.command()
def bottleneck(
    source: str = SOURCE,
    limit: list[str] = LIMIT,
    horizon: int = HORIZON,
    consecutive: int = CONSECUTIVE,
    timestamp: str = TIMESTAMP,
    series: str | None = SERIES,
    output: Path | None = OUTPUT,
    as_json: bool = JsonOption,
) -> None:
    """Say which resource reaches its limit first, with what probability, and how much room is left."""
    asked = _ask(source, limit, horizon, consecutive, timestamp, series)
    rows = _table(asked, lambda each: each.bottleneck())
    _written(asked, output)
    any_first = {each.series: each.any_probability for each in asked.crossings}
    if as_json:
        print_json({"horizon": horizon, "any_probability": any_first, "limits": rows})
        return
    shown = [
        _who(row, asked)
        | {
            "limit": f"{row['resource']} {row['keep']}",
            "crossed first": _percent(row["first_probability"]),
            "crossed at all": _percent(row["probability"]),
            "room now": row["headroom_now"],
            "least room": row["least_headroom_median"],
        }
        for row in rows
    ]
    print_rows(
        shown, title=f"Which limit is crossed first within {horizon} steps; least room is a median", empty=""
    )
    for name, share in any_first.items():
        console.print(f"{name}: none is crossed with probability {_percent(1 - share)}.", soft_wrap=True)
    asked.say_source()


@app.command()
def health(
    source: str = SOURCE,
    limit: list[str] = LIMIT,
    horizon: int = HORIZON,
    consecutive: int = CONSECUTIVE,
    timestamp: str = TIMESTAMP,
    series: str | None = SERIES,
    output: Path | None = OUTPUT,
    as_json: bool = JsonOption,
) -> None:
    """Score 0 to 100: the probability that all limits hold over the horizon, and what takes points away."""
    asked = _ask(source, limit, horizon, consecutive, timestamp, series)
    rows = _table(asked, lambda each: each.health_parts())
    _written(asked, output)
    scores = {each.series: each.health for each in asked.crossings}
    if as_json:
        print_json({"horizon": horizon, "health": scores, "limits": rows})
        return
    for name, score in scores.items():
        console.print(
            f"[bold]{name}: {score:.1f} of 100[/], the probability that all limits hold over the next "
            f"{horizon} steps",
            soft_wrap=True,
        )
    shown = [
        _who(row, asked)
        | {
            "limit": f"{row['resource']} {row['keep']}",
            "points lost": f"{row['points_lost']:.1f}",
            "score of this limit alone": f"{row['score_alone']:.1f}",
        }
        for row in rows
    ]
    print_rows(shown, title="Points lost, by the limit that is crossed first", empty="")
    asked.say_source()


@app.command()
def utilisation(
    source: str = SOURCE,
    column: list[str] = typer.Option(help="A resource. Repeatable."),
    horizon: int = HORIZON,
    timestamp: str = TIMESTAMP,
    series: str | None = SERIES,
    output: Path | None = OUTPUT,
    as_json: bool = JsonOption,
) -> None:
    """Forecast each resource: its mean and its peak over the horizon, with 90 % intervals."""
    from apps.operations.system import System
    from apps.operations.utilisation import steps, summary
    from apps.pipelines.source import load_source

    panel = load_source(source, target=column[0], timestamp=timestamp, series=series)
    system = System.fit(panel, column, horizon=horizon)
    paths = system.paths()
    rows = _records([summary(each, system.panel.schema) for each in paths])
    shown = [
        ({"series": row["series_id"]} if len(paths) > 1 else {})
        | {
            "resource": row["resource"],
            "unit": row["unit"],
            "now": row["now"],
            "mean": row["mean_q0.5"],
            "of 90 %": f"{row['mean_q0.05']:.4g} .. {row['mean_q0.95']:.4g}",
            "peak": row["peak_q0.5"],
            "90 %": f"{row['peak_q0.05']:.4g} .. {row['peak_q0.95']:.4g}",
        }
        for row in rows
    ]
    if output:
        _concat([steps(each) for each in paths]).to_csv(output, index=False)
    if as_json:
        print_json({"horizon": horizon, "resources": rows})
        return
    print_rows(shown, title=f"Over the next {horizon} steps, by {system.candidates[0].told()}", empty="")
    if output:
        console.print(f"Written to {output}", soft_wrap=True)


def _who(row: dict[str, Any], asked: _Asked) -> dict[str, Any]:
    """Return the series' id where there are several."""
    return {"series": row["series_id"]} if len(asked.crossings) > 1 else {}


def _percent(share: float) -> str:
    return f"{share:.1%}"


def _moment(time: str | None) -> str:
    return time[:16].replace("T", " ") if time else "-"


def _table(asked: _Asked, view: Callable[[Crossings], pd.DataFrame]) -> list[dict[str, Any]]:
    return _records([view(each) for each in asked.crossings])


def _written(asked: _Asked, output: Path | None) -> None:
    if output:
        _concat([each.to_frame() for each in asked.crossings]).to_csv(output, index=False)


def _concat(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    import pandas as pd

    return pd.concat(frames, ignore_index=True)


def _records(frames: Sequence[pd.DataFrame]) -> list[dict[str, Any]]:
    """Return a dict a row of all tables, of plain Python values, times as ISO text."""
    records: list[dict[str, Any]] = []
    for frame in frames:
        text = frame.to_json(orient="records", double_precision=12, date_format="iso", date_unit="s")
        records += json.loads(text)
    return records
