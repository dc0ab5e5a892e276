"""`heliotrope anomalies`: few, explained, ranked alarms within a budget, and what people say of them."""

from __future__ import annotations

import getpass
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import typer
from rich.markup import escape

from apps.cli.bars import Bars
from apps.cli.output import JsonOption, console, print_json, print_pairs
from cluster.errors import ConfigError
from cluster.settings import Settings

if TYPE_CHECKING:
    from apps.anomaly.detection import Detection
    from training.alarms.event import Event
    from training.alarms.feedback import Feedback, Outcome
    from training.alarms.judged import JudgedSeries
    from training.alarms.similar import SimilarEvent

app = typer.Typer(help="Few, explained, ranked alarms within a budget of false ones.", no_args_is_help=True)
SEVERE = {"critical": "bold white on red", "high": "bold red", "medium": "yellow", "low": "cyan"}
MOST_LISTED = 50
ALIKE = 0.7
"""Past events less like the new one are not told."""
BudgetOption = typer.Option(1.0, help="False alarms that a series may raise in a month.")
ThresholdOption = typer.Option("adaptive", help="What keeps the budget: adaptive, peaks, sigma, conformal.")
GapOption = typer.Option(
    None, help="Seconds that strange rows of one event may lie apart; half a piece, an hour or more, by default."
)


@app.command()
def detect(
    source: str = typer.Argument(help="A bundled sample (steel_industry, ...), or a CSV, Parquet or Arrow file."),
    target: list[str] = typer.Option([], help="A column to watch. Repeatable; all numbers of a file by default."),
    beside: list[str] = typer.Option([], help="A column that is not watched and helps to explain. Repeatable."),
    detector: str = typer.Option("ensemble", help="ensemble, sub_pca, poly, isolation_forest, z_score, ..."),
    budget: float = BudgetOption,
    threshold: str = ThresholdOption,
    gap: float | None = GapOption,
    learn: float = typer.Option(0.5, help="Share of each series, from its start, that teaches what is normal."),
    schema: str | None = typer.Option(None, help="A shipped schema that the file follows."),
    timestamp: str = typer.Option("timestamp", help="The file's column with times."),
    series: str | None = typer.Option(None, help="The file's column with series ids; one series by default."),
    unit: str = typer.Option("1", help="Unit of the watched columns, such as kWh: says what an event amounts to."),
    rules: Path | None = typer.Option(None, help="Your rule book (TOML), in place of the one that ships."),
    maintenance: list[str] = typer.Option(
        [], help="SERIES,START,END,REASON: nobody is told of events within. SERIES may have * and ?. Repeatable."
    ),
    output: Path | None = typer.Option(None, help="Write a row an event to this CSV file."),
    report: Path | None = typer.Option(
        None, help="Write a page with pictures (.html), or the picture of the worst series (.png)."
    ),
    as_json: bool = JsonOption,
) -> None:
    """Learn what is normal from the first part of each series, and tell what is strange in the rest.

    The events are remembered: confirm or dismiss them, and later runs heed it.
    """
    from apps.anomaly.detect import Asked
    from apps.anomaly.detect import detect as search
    from apps.pipelines.watching import load_watched
    from training.alarms.recipe import AlarmRecipe
    from training.alarms.rulebook import RuleBook, default_book

    _check_ending(output, "output", (".csv",))
    _check_ending(report, "report", (".html", ".png"))
    asked = Asked(
        recipe=AlarmRecipe(detector=detector, alarms_per_month=budget, threshold=threshold, gap_s=gap),
        learn=learn,
        book=RuleBook.read(rules) if rules else default_book(),
        feedback=_feedback(),
        maintenance=[_window(text) for text in maintenance],
    )
    panel = load_watched(
        source, targets=target, beside=beside, schema=schema, timestamp=timestamp, series=series, unit=unit
    )
    with Bars() as bars:
        found = search(panel, asked, bars)
    if output:
        _write(found.to_frame(), output)
    if report:
        _write_report(source, found, report)
    if as_json:
        print_json(found.to_json())
        return
    _print(found)
    for what, path in (("events", output), ("report", report)):
        if path:
            console.print(f"Written: {what} to {escape(str(path))}", soft_wrap=True)


@app.command()
def train(
    source: str = typer.Argument(help="A bundled sample (steel_industry, ...), or a CSV, Parquet or Arrow file."),
    name: str = typer.Option(..., help="Name to register the version under."),
    target: list[str] = typer.Option([], help="A column to watch. Repeatable; all numbers of a file by default."),
    beside: list[str] = typer.Option([], help="A column that is not watched and helps to explain. Repeatable."),
    detector: str = typer.Option("ensemble", help="ensemble, sub_pca, poly, isolation_forest, z_score, ..."),
    online: bool = typer.Option(False, help="See no row ahead, so that streams can be judged."),
    budget: float = BudgetOption,
    threshold: str = ThresholdOption,
    gap: float | None = GapOption,
    learn: float = typer.Option(0.7, help="Share of each series, from its start, that teaches; the rest judges."),
    schema: str | None = typer.Option(None, help="A shipped schema that the file follows."),
    timestamp: str = typer.Option("timestamp", help="The file's column with times."),
    series: str | None = typer.Option(None, help="The file's column with series ids; one series by default."),
    unit: str = typer.Option("1", help="Unit of the watched columns, such as kWh: says what an event amounts to."),
    rules: Path | None = typer.Option(None, help="Your rule book (TOML), in place of the one that ships."),
    owner: str = typer.Option("", help="Who answers for the version; the user by default."),
    because: str = typer.Option("", help="Why more alarms than the budget allows are right: registers it anyway."),
    as_json: bool = JsonOption,
) -> None:
    """Fit an alarm model, judge it on later rows, and register it, so that `heliotrope serve` serves it."""
    from apps.anomaly.train import fit_and_judge, register
    from apps.pipelines.watching import load_watched
    from cluster.registry.mlflow_registry import open_registry
    from training.alarms.alarm_model import AlarmModel
    from training.detectors.online import online_params

    model = AlarmModel(
        detector=detector,
        detector_params=online_params(detector) if online else None,
        alarms_per_month=budget,
        threshold=threshold,
        gap_s=gap,
        rules=rules.read_text(encoding="utf-8") if rules else "",
    )
    panel = load_watched(
        source, targets=target, beside=beside, schema=schema, timestamp=timestamp, series=series, unit=unit
    )
    with Bars() as bars:
        judged = fit_and_judge(model, panel, learn=learn, progress=bars)
    registry = open_registry(Settings.from_environment())
    version = register(judged, registry, name=name, owner=owner or getpass.getuser(), because=because)
    if as_json:
        print_json({"name": name, "version": str(version.version), **judged.evidence()})
        return
    print_pairs(judged.evidence().items())
    console.print(
        f"Registered [bold]{escape(name)} {version.version}[/]: serve it with [bold]heliotrope serve[/]",
        soft_wrap=True,
    )


@app.command()
def confirm(
    event: str = typer.Argument(help="An event's id, from detect or list."),
    by: str = typer.Option("", help="Who says so; the user by default."),
    note: str = typer.Option("", help="What it was: shown with similar events later."),
    as_json: bool = JsonOption,
) -> None:
    """Say that an alarm was right: its series may raise a few more."""
    _judge(event, "confirmed", by, note, as_json=as_json)


@app.command()
def dismiss(
    event: str = typer.Argument(help="An event's id, from detect or list."),
    by: str = typer.Option("", help="Who says so; the user by default."),
    note: str = typer.Option("", help="What it was: shown with similar events later."),
    as_json: bool = JsonOption,
) -> None:
    """Say that an alarm was false: its series' threshold rises, so that half as many come through."""
    _judge(event, "dismissed", by, note, as_json=as_json)


@app.command("list")
def list_events(
    series: str | None = typer.Option(None, help="Of this series alone."),
    as_json: bool = JsonOption,
) -> None:
    """List the remembered events with what came of them, the latest first, and what moved each threshold."""
    feedback = _feedback()
    rows = [
        {
            "event": name,
            "series": event["series"],
            "start": event["facts"]["start"].replace("T", " "),
            "severity": event["facts"]["severity"],
            "type": event["facts"]["type"],
            "told": "yes" if event["facts"]["status"] == "alarm" else event["facts"]["status"],
            "outcome": event["outcome"] or "open",
            "note": event["note"],
        }
        for name, event in feedback.ledger.events.items()
        if series in (None, event["series"])
    ]
    rows.sort(key=lambda row: str(row["start"]), reverse=True)
    changes = feedback.changes(series)
    if as_json:
        moved = [{"at": _day(each.at_s), "what": each.sentence()} for each in changes]
        print_json({"events": rows, "changes": moved})
        return
    if not rows:
        console.print("No events yet: run `heliotrope anomalies detect SOURCE`.")
    for row in rows[:MOST_LISTED]:
        console.print(_line(row), soft_wrap=True)
    if len(rows) > MOST_LISTED:
        console.print(f"... and {len(rows) - MOST_LISTED} more: --json has them all")
    for each in changes[-MOST_LISTED:]:
        console.print(f"{_day(each.at_s)}  {escape(each.sentence())}", soft_wrap=True)


def _line(row: dict[str, Any]) -> str:
    style = SEVERE[row["severity"]]
    note = f": {row['note']}" if row["note"] else ""
    told = "" if row["told"] == "yes" else f", not told ({row['told']})"
    return (
        f"{row['event']}  {row['start']}  [{style}]{row['severity']:<8}[/] {row['type']:<11} "
        f"{escape(row['series'])}  [bold]{row['outcome']}[/]{escape(note)}{told}"
    )


def _judge(event: str, outcome: Outcome, by: str, note: str, *, as_json: bool) -> None:
    change = _feedback().judge(event, outcome, by=by or getpass.getuser(), note=note)
    said = f"{event} was {outcome} before: nothing changes" if change is None else change.sentence()
    if as_json:
        factor = 1.0 if change is None else change.factor
        print_json({"event": event, "outcome": outcome, "alarms_factor": factor, "what": said})
        return
    console.print(escape(said), soft_wrap=True)


def _feedback() -> Feedback:
    from cluster.clock import SystemClock
    from cluster.storage.files import Storage
    from training.alarms.feedback import Feedback

    return Feedback(Storage(Settings.from_environment().storage_url), SystemClock())


def _window(text: str) -> Any:
    from training.alarms.quiet import Maintenance

    parts = [part.strip() for part in text.split(",", 3)]
    if len(parts) < 4:
        raise ConfigError(
            f"maintenance: got '{text}', expected SERIES,START,END,REASON such as "
            "'plant-*,2024-05-01T06:00,2024-05-01T18:00,turbine wash'",
            parameter="maintenance",
        )
    try:
        start, end = pd.Timestamp(parts[1]), pd.Timestamp(parts[2])
    except ValueError as error:
        raise ConfigError(f"maintenance: got '{text}', expected times; {error}", parameter="maintenance") from error
    return Maintenance(series=parts[0], start=start, end=end, reason=parts[3])


def _check_ending(path: Path | None, option: str, endings: tuple[str, ...]) -> None:
    if path is not None and path.suffix.lower() not in endings:
        expected = " or ".join(endings)
        raise ConfigError(f"{option}: got '{path}', expected a name that ends in {expected}", parameter=option)


def _write(frame: pd.DataFrame, output: Path) -> None:
    from cluster.storage.files import write_whole

    write_whole(output, frame.to_csv(index=False).encode())


def _write_report(source: str, found: Detection, path: Path) -> None:
    from apps.reports.anomalies import anomaly_page, worst_first
    from apps.reports.anomaly_plots import events_on_series
    from cluster.storage.files import write_whole

    if path.suffix.lower() == ".png":
        write_whole(path, events_on_series(worst_first(found)[0]))
    else:
        write_whole(path, anomaly_page(source=source, found=found).encode())


def _print(found: Detection) -> None:
    for each in found.series:
        _print_series(each, found.alarms_per_month)
    for name, error in found.errors.items():
        console.print(f"[bold]{escape(name)}[/] could not be judged: {escape(error.message)}", soft_wrap=True)
    several = len(found.series) > 1
    for place, event in enumerate(found.alarms, start=1):
        _print_event(place, event, several=several)
    if found.alarms:
        first = found.alarms[0].id
        console.print(
            f"\nSay what came of it: [bold]heliotrope anomalies confirm {first}[/], or dismiss; "
            "--note tells those who see a similar event",
            soft_wrap=True,
        )


def _print_series(each: JudgedSeries, budget: float) -> None:
    first, last = (str(time)[:16].replace("T", " ") for time in (each.times[0], each.times[-1]))
    alarms = len(each.alarms)
    quiet = len(each.events) - alarms
    console.print(
        f"[bold]{escape(each.series)}[/]: learned from {each.learned_rows:,} rows, judged {len(each.times):,} from "
        f"{first} to {last}: {alarms} alarm{'s' * (alarms != 1)} in {each.months:.2g} months, where {budget:g} a "
        f"month may be false{f'; {quiet} more kept quiet' if quiet else ''}",
        soft_wrap=True,
    )
    if each.lean:
        console.print(
            f"  feedback lets {math.exp(-each.lean):.3g} times the alarms through: "
            "`heliotrope anomalies list` says why",
            soft_wrap=True,
        )


def _print_event(place: int, event: Event, *, several: bool) -> None:
    style = SEVERE[event.severity]
    where = f" of {escape(event.series)}" if several else ""
    console.print(
        f"\n[bold]{place}.[/] [{style}]{event.severity}[/] {event.type}{where}, {_span(event)}, peak {event.peak}  "
        f"[dim]{event.id}[/]",
        soft_wrap=True,
    )
    lines = [
        ("why", event.rating.reason),
        ("kind", event.types[event.type]),
        *(("factor", factor.sentence()) for factor in event.factors),
        *(("impact", f"{each.amount:+.4g} {each.unit}: {each.basis}") for each in event.impacts[:2]),
        *(("do", action.text) for action in event.actions[:3]),
        *(("like", _past(past)) for past in event.similar if past.similarity >= ALIKE),
    ]
    before = ""
    for name, text in lines:
        console.print(f"   [dim]{name if name != before else '':<7}[/]{escape(text)}", soft_wrap=True)
        before = name


def _past(past: SimilarEvent) -> str:
    return f"{past.event} ({past.similarity:.0%}), {past.outcome}: {past.note or past.summary}"


def _span(event: Event) -> str:
    if event.start == event.end:
        return f"{event.start}"
    same = event.start.date() == event.end.date()
    return f"{event.start} to {event.end.strftime('%H:%M:%S') if same else event.end}"


def _day(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M")
