"""`heliotrope operations`: what a system's load will do to its limits."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.markup import escape

from apps.cli.output import JsonOption, console, print_json, print_rows
from cluster.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd

    from apps.operations.crossings import Crossings
    from apps.operations.outlook import Outlook

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
    """What is to come, and the crossings, one of each series."""

    outlook: Outlook
    crossings: tuple[Crossings, ...]


def _ask(
    source: str, limits: Sequence[str], *, horizon: int, consecutive: int, timestamp: str, series: str | None
) -> _Asked:
    from apps.operations.limits import Limit, check_limits
    from apps.operations.outlook import Outlook
    from apps.operations.system import resources
    from apps.pipelines.source import load_source

    parsed = [Limit.parse(text) for text in limits]
    columns = [limit.column for limit in parsed]
    panel = load_source(source, target=columns[0], timestamp=timestamp, series=series)
    check_limits(parsed, resources(panel, columns).schema)  # before anything is fitted
    outlook = Outlook.of_columns(panel, columns, horizon=horizon)
    return _Asked(outlook, outlook.crossings(parsed, consecutive=consecutive))


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
    asked = _ask(source, limit, horizon=horizon, consecutive=consecutive, timestamp=timestamp, series=series)
    _write([each.to_frame() for each in asked.crossings], output)
    rows = _records([each.capacity() for each in asked.crossings])
    if as_json:
        print_json({"horizon": horizon, "limits": rows} | _left_out(asked.outlook))
        return
    _print_capacity(rows, asked.crossings)
    _say(asked.outlook, output)


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
    asked = _ask(source, limit, horizon=horizon, consecutive=consecutive, timestamp=timestamp, series=series)
    _write([each.to_frame() for each in asked.crossings], output)
    rows = _records([each.bottleneck() for each in asked.crossings])
    any_first = {each.series: each.any_probability for each in asked.crossings}
    if as_json:
        print_json({"horizon": horizon, "any_probability": any_first, "limits": rows} | _left_out(asked.outlook))
        return
    shown = [
        _who(row, len(asked.crossings))
        | {
            "limit": _limit(row),
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
    _say(asked.outlook, output)


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
    asked = _ask(source, limit, horizon=horizon, consecutive=consecutive, timestamp=timestamp, series=series)
    _write([each.to_frame() for each in asked.crossings], output)
    rows = _records([each.health_parts() for each in asked.crossings])
    scores = {each.series: each.health for each in asked.crossings}
    if as_json:
        print_json({"horizon": horizon, "health": scores, "limits": rows} | _left_out(asked.outlook))
        return
    for name, score in scores.items():
        console.print(
            f"[bold]{name}: {score:.1f} of 100[/], the probability that all limits hold over the next "
            f"{horizon} steps",
            soft_wrap=True,
        )
    shown = [
        _who(row, len(asked.crossings))
        | {
            "limit": _limit(row),
            "points lost": f"{row['points_lost']:.1f}",
            "score of this limit alone": f"{row['score_alone']:.1f}",
        }
        for row in rows
    ]
    print_rows(shown, title="Points lost, by the limit that is crossed first", empty="")
    _say(asked.outlook, output)


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
    from apps.operations.outlook import Outlook
    from apps.pipelines.source import load_source

    panel = load_source(source, target=column[0], timestamp=timestamp, series=series)
    _report(Outlook.of_columns(panel, column, horizon=horizon), horizon, output=output, as_json=as_json)


@app.command()
def performance(
    source: str = SOURCE,
    utilisation: str | None = typer.Option(None, help="The column that says how busy the servers are."),
    servers: int | None = typer.Option(None, min=1, help="Equal servers (cores, workers) behind one queue."),
    service_time_s: float | None = typer.Option(
        None, help="Seconds that one request keeps one server busy; fitted where --throughput is given."
    ),
    variability: float = typer.Option(
        1.0, min=0, help="Of arrivals and service: 1 for M/M/c, 0.5 for M/D/c; fitted where --latency is given."
    ),
    throughput: str | None = typer.Option(None, help="A measured column of requests a second."),
    latency: str | None = typer.Option(None, help="A measured column of mean seconds to an answer."),
    limit: list[str] = typer.Option([], help="latency_s=0.3, 'throughput_per_s>10', ... Repeatable."),
    consecutive: int = CONSECUTIVE,
    horizon: int = HORIZON,
    timestamp: str = TIMESTAMP,
    series: str | None = SERIES,
    output: Path | None = OUTPUT,
    as_json: bool = JsonOption,
) -> None:
    """Forecast latency and throughput: computed from utilisation by a queue, or measured columns as they are."""
    from apps.operations.limits import Limit
    from apps.operations.outlook import Outlook
    from apps.operations.performance import QueuePlan
    from apps.pipelines.source import load_source

    columns = [column for column in (utilisation, throughput, latency) if column]
    parsed = [Limit.parse(text) for text in limit]
    if not columns or (utilisation is None) != (servers is None):
        raise ConfigError(
            "performance: expected --utilisation with --servers for a queue, or measured columns of --throughput "
            f"and --latency; got {', '.join(columns) or 'no column'} and {servers or 'no'} servers"
        )
    panel = load_source(source, target=columns[0], timestamp=timestamp, series=series)
    if utilisation is None or servers is None:
        outlook = Outlook.of_columns(panel, columns, horizon=horizon)
    else:
        plan = QueuePlan(
            servers=servers,
            service_time_s=service_time_s,
            variability=variability,
            throughput=throughput,
            latency=latency,
        )
        outlook = Outlook.of_queue(panel, utilisation, plan, horizon=horizon)
    crossings = outlook.crossings(parsed, consecutive=consecutive) if parsed else ()
    _report(outlook, horizon, output=output, as_json=as_json, crossings=crossings)


@app.command()
def errors(
    source: str = SOURCE,
    errors: str = typer.Option("errors", help="The column of failed requests a step."),
    requests: str = typer.Option("requests", help="The column of all requests a step."),
    at_most: float | None = typer.Option(None, help="The share of failures that shall not be reached, 0 .. 1."),
    consecutive: int = CONSECUTIVE,
    horizon: int = HORIZON,
    timestamp: str = TIMESTAMP,
    series: str | None = SERIES,
    seed: int = typer.Option(0, min=0, help="Of the failures' draws."),
    output: Path | None = OUTPUT,
    as_json: bool = JsonOption,
) -> None:
    """Forecast how many requests there will be, and the share of them that fails."""
    from apps.operations.error_rate import ERROR_RATIO
    from apps.operations.limits import Limit
    from apps.operations.outlook import Outlook
    from apps.pipelines.source import load_source

    limits = [] if at_most is None else [Limit(column=ERROR_RATIO.name, value=at_most).within(ERROR_RATIO)]
    panel = load_source(source, target=errors, timestamp=timestamp, series=series)
    outlook = Outlook.of_errors(panel, errors, requests, horizon=horizon, seed=seed)
    crossings = outlook.crossings(limits, consecutive=consecutive) if limits else ()
    _report(outlook, horizon, output=output, as_json=as_json, crossings=crossings)


def _report(
    outlook: Outlook,
    horizon: int,
    *,
    output: Path | None,
    as_json: bool,
    crossings: Sequence[Crossings] = (),
) -> None:
    """Print or write mean and peak of each column, and limits where there are any."""
    _write([outlook.steps()], output)
    rows, limits = _records([outlook.summary()]), _records([each.capacity() for each in crossings])
    if as_json:
        told = {"horizon": horizon, "columns": rows} | ({"limits": limits} if limits else {})
        print_json(told | _left_out(outlook))
        return
    shown = [
        _who(row, len(outlook.paths))
        | {
            "column": row["resource"],
            "unit": row["unit"],
            "now": _amount(row["now"]),
            "mean": _amount(row["mean_q0.5"]),
            "90 %": _between(row["mean_q0.05"], row["mean_q0.95"]),
            "peak": _amount(row["peak_q0.5"]),
            "peak, 90 %": _between(row["peak_q0.05"], row["peak_q0.95"]),
        }
        for row in rows
    ]
    print_rows(shown, title=f"Over the next {horizon} steps", empty="")
    if crossings:
        _print_capacity(limits, crossings)
    _say(outlook, output)


def _print_capacity(rows: Sequence[dict[str, Any]], crossings: Sequence[Crossings]) -> None:
    years = len({str(time)[:4] for each in crossings for time in each.times})
    shown = [
        _who(row, len(crossings))
        | {
            "limit": _limit(row),
            "now": _amount(row["now"]),
            "crossed": _percent(row["probability"]),
            "10 %": _moment(row["crossed_by_q0.1"], years),
            "50 %": _moment(row["crossed_by_q0.5"], years),
            "90 %": _moment(row["crossed_by_q0.9"], years),
        }
        for row in rows
    ]
    horizon = crossings[0].horizon
    title = f"Limits crossed within {horizon} steps, and by when with 10, 50, 90 % probability"
    print_rows(shown, title=title + "; - is not within them", empty="")
    for each in crossings:
        for limit, now in zip(each.limits, each.now, strict=True):
            if now:
                console.print(f"[yellow]{each.series}: {limit.column} is beyond its limit now.[/]", soft_wrap=True)


def _say(outlook: Outlook, output: Path | None) -> None:
    for note in outlook.notes:
        console.print(note, soft_wrap=True, markup=False)
    for error in outlook.errors.values():
        console.print(f"[yellow]left out:[/] {escape(error.message)}", soft_wrap=True)
    if output:
        console.print(f"Written to {output}", soft_wrap=True)


def _left_out(outlook: Outlook) -> dict[str, dict[str, str]]:
    return {"errors": {name: error.message for name, error in outlook.errors.items()}} if outlook.errors else {}


def _write(frames: Sequence[pd.DataFrame], output: Path | None) -> None:
    import pandas as pd

    if output:
        pd.concat(frames, ignore_index=True).to_csv(output, index=False)


def _who(row: dict[str, Any], count: int) -> dict[str, Any]:
    """Return the series' id where there are several."""
    return {"series": row["series_id"]} if count > 1 else {}


def _limit(row: dict[str, Any]) -> str:
    """Return `cpu < 80 %`: short, as tables are narrow."""
    side, _, value = str(row["keep"]).partition(" ")
    return f"{row['resource']} {'<' if side == 'below' else '>'} {value}"


def _percent(share: float) -> str:
    return f"{share:.1%}"


def _amount(value: float | None) -> str:
    """Return a number; JSON, and so a row, has null for the infinite latency of a saturated queue."""
    return "inf" if value is None else f"{value:.4g}"


def _between(low: float | None, high: float | None) -> str:
    return f"{_amount(low)} .. {_amount(high)}"


def _moment(time: str | None, years: int) -> str:
    """Return a time to the minute, without the year where all lie in one."""
    return "-" if time is None else time[5 if years == 1 else 0 : 16].replace("T", " ")


def _records(frames: Sequence[pd.DataFrame]) -> list[dict[str, Any]]:
    """Return a dict a row of all tables, of plain Python values, times as ISO text."""
    records: list[dict[str, Any]] = []
    for frame in frames:
        text = frame.to_json(orient="records", double_precision=12, date_format="iso", date_unit="s")
        records += json.loads(text)
    return records
