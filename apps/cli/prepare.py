"""`heliotrope prepare`: what is wrong with a table, and a table that is not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.markup import escape

from apps.cli.output import JsonOption, console, print_json, print_pairs, print_rows
from apps.cli.training import SCHEMA, SERIES, TIMESTAMP, UNIT
from apps.reports.page import Share
from apps.reports.words import step_in_words, steps_in_words
from cluster.errors import ConfigError

if TYPE_CHECKING:
    from apps.pipelines.features import JudgedFeatures
    from apps.pipelines.preparing import RawTable
    from training.data.preparation import Preparation, Prepared

DONE = {
    "flag": "flagged, as they were",
    "winsorise": "moved to the fence",
    "first kept": "the first of each kept",
    "mean kept": "the mean of each kept",
}
"""What a finding says was done -> how a person is told."""
LEAST_SHARE = 1e-4
MOST_ROWS = 30
"""Findings and features that are printed; files and --json have all."""


def prepare(
    source: str = typer.Argument(help="A bundled sample, or a CSV, Parquet or Arrow file."),
    target: str | None = typer.Option(None, help="The column to forecast; every column of numbers by default."),
    schema: str | None = SCHEMA,
    timestamp: str = TIMESTAMP,
    series: str | None = SERIES,
    unit: str = UNIT,
    step: str | None = typer.Option(None, help="Step between rows, such as 15min, h or D; read off the times."),
    drop: str = typer.Option("", help="Columns to leave out, with commas between."),
    zone: str | None = typer.Option(
        None, help="Time zone of times written without one, such as Europe/Berlin; as they stand by default."
    ),
    ambiguous: str = typer.Option(
        "order", help="The hour that autumn shows twice: order (of the rows), first, second or refuse."
    ),
    nonexistent: str = typer.Option("refuse", help="A time in the hour that spring leaves out: refuse or shift."),
    clock: str = typer.Option("utc", help="Clock of the result: utc, or the zone's standard time all year."),
    unsorted: str = typer.Option("sort", help="Rows out of order: sort or refuse."),
    duplicates: str = typer.Option("refuse", help="Two rows of one time: refuse, first or mean."),
    gaps: str = typer.Option("seasonal", help="Missing values: seasonal, linear, previous, zero or refuse."),
    longest_gap: int | None = typer.Option(None, min=1, help="Rows in a row that may be filled; a season."),
    beyond: str = typer.Option("split", help="A longer gap: split the series there, or refuse."),
    outliers: str = typer.Option("flag", help="flag, winsorise (move to the fence) or leave."),
    outlier_deviations: float = typer.Option(
        6.0, min=1, help="Robust deviations from the seasonal median to the fence."
    ),
    causal: bool = typer.Option(False, help="Judge outliers by earlier rows alone."),
    units: str = typer.Option("flag", help="A target's unit that changes: flag, convert, refuse or leave."),
    country: str | None = typer.Option(None, help="Add a column of this country's public holidays, such as DE."),
    out: Path | None = typer.Option(None, help="Write the prepared table: .parquet, .pq or .csv."),
    features: Path | None = typer.Option(
        None, help="Write what tells most about the target, with products of two columns: .html or .json."
    ),
    horizon: int | None = typer.Option(None, min=1, help="Steps ahead that features are judged by; a season."),
    keep: int = typer.Option(50, min=1, help="The most features that are kept, the target included."),
    as_json: bool = JsonOption,
) -> None:
    """Look at a table for gaps, outliers, doubled hours and changed units; write a clean one.

    Nothing is changed in the source. What was filled or flagged is marked in the result, in columns of its own.
    """
    from apps.pipelines.preparing import RawTable, check_target, with_holidays, write_prepared
    from training.data.preparation import Preparation
    from training.data.preparation import prepare as prepared_by

    if out:
        check_target(out)
    _check_features(features, target)
    policy: dict[str, Any] = {
        "zone": zone,
        "ambiguous": ambiguous,
        "nonexistent": nonexistent,
        "clock": clock,
        "unsorted": unsorted,
        "duplicates": duplicates,
        "gaps": gaps,
        "longest_gap": longest_gap,
        "beyond": beyond,
        "outliers": outliers,
        "outlier_deviations": outlier_deviations,
        "causal": causal,
        "units": units,
    }
    preparation = Preparation(**policy)
    raw = RawTable.load(
        source,
        target=target,
        schema=schema,
        timestamp=timestamp,
        series=series,
        unit=unit,
        step=step,
        drop=tuple(name.strip() for name in drop.split(",") if name.strip()),
    )
    prepared = prepared_by(raw.frame, raw.schema, preparation)
    if country:
        prepared = with_holidays(prepared, country, preparation)
    judged = _judged(prepared, preparation, target, horizon, keep, country) if features and target else None
    if out:
        write_prepared(prepared, out)
    if features and judged:
        _write_features(features, source, prepared, judged)
    written = {"table": str(out) if out else None, "features": str(features) if features else None}
    if as_json:
        print_json(_told(raw, prepared, judged) | {"written": written})
    else:
        _print(source, raw, prepared, judged, written)


def _check_features(path: Path | None, target: str | None) -> None:
    if path is None:
        return
    if path.suffix.lower() not in (".html", ".json"):
        raise ConfigError(
            f"features: got '{path}', expected a name that ends in .html or .json", parameter="features"
        )
    if target is None:
        raise ConfigError(
            "features are judged by what they tell about a target: got none, expected --target", parameter="target"
        )


def _judged(
    prepared: Prepared,
    preparation: Preparation,
    target: str,
    horizon: int | None,
    keep: int,
    country: str | None,
) -> JudgedFeatures:
    from apps.pipelines.features import judge_features

    schema = prepared.panel.schema
    return judge_features(
        prepared.panel,
        target,
        horizon=horizon or max(schema.season_length, 1),
        keep=keep,
        country=None if country and "holiday" in schema.names else country,
        zone=preparation.zone if preparation.clock == "utc" else None,
    )


def _write_features(path: Path, source: str, prepared: Prepared, judged: JudgedFeatures) -> None:
    from apps.reports.features import feature_page
    from cluster.storage.files import write_whole

    if path.suffix.lower() == ".json":
        text = json.dumps(_features(judged), indent=2)
    else:
        text = feature_page(
            source=source,
            findings=_findings(prepared),
            target=judged.target,
            horizon=judged.horizon,
            frequency=prepared.panel.schema.frequency,
            until=str(judged.until),
            table=judged.table,
        )
    write_whole(path, text.encode())


def _features(judged: JudgedFeatures) -> dict[str, Any]:
    rows: list[dict[str, Any]] = json.loads(judged.table.to_json(orient="records", double_precision=12))
    facts = {"target": judged.target, "horizon": judged.horizon, "looked_at_before": str(judged.until)}
    return facts | {"kept": list(judged.kept), "features": rows}


def _findings(prepared: Prepared) -> list[dict[str, Any]]:
    """Return a row a finding, in words that need no manual."""
    rows = prepared.panel.frame["series_id"].value_counts()
    return [
        {
            "what": finding.step,
            "series": finding.series,
            "column": finding.column,
            "count": finding.count,
            "share": Share(finding.count / max(int(rows.get(finding.series, 0)), finding.count)),
            "longest run": finding.longest or None,
            "first": str(finding.first)[:16],
            "last": str(finding.last)[:16],
            "done": DONE.get(finding.action, finding.action),
        }
        for finding in prepared.report.findings
    ]


def _told(raw: RawTable, prepared: Prepared, judged: JudgedFeatures | None) -> dict[str, Any]:
    report, panel = prepared.report, prepared.panel
    told: dict[str, Any] = {
        "rows_in": report.rows_in,
        "rows_out": report.rows_out,
        "series": list(panel.series),
        "step": panel.schema.frequency,
        "first": str(panel.frame["timestamp"].min()),
        "last": str(panel.frame["timestamp"].max()),
        "columns": list(panel.schema.names),
        "left_out": list(raw.left_out),
        "looks_ahead": list(report.looks_ahead),
        "findings": json.loads(report.to_frame().to_json(orient="records", date_format="iso")),
    }
    return told | ({"features": _features(judged)} if judged else {})


def _print(
    source: str, raw: RawTable, prepared: Prepared, judged: JudgedFeatures | None, written: dict[str, Any]
) -> None:
    told = _told(raw, prepared, None)
    count = len(told["series"])
    span = f"{told['first'][:16]} to {told['last'][:16]}"
    pairs = [
        ("table", f"{source}: {told['rows_in']:,} rows in, {told['rows_out']:,} out"),
        ("series", f"{count}, a row each {step_in_words(told['step'])}, {span}"),
        ("columns", ", ".join(told["columns"])),
        ("left out", ", ".join(told["left_out"])),
        ("looks ahead", ", ".join(told["looks_ahead"])),
    ]
    print_pairs((name, value) for name, value in pairs if value)
    found = _findings(prepared)
    console.print("\n[bold]What was found[/]" if found else "\nNothing was found: the table is regular.")
    for row in found[:MOST_ROWS]:
        console.print(escape(_line(row, several=count > 1)), soft_wrap=True)
    if len(found) > MOST_ROWS:
        console.print(f"... and {len(found) - MOST_ROWS} more: --json has them all")
    if judged:
        later = steps_in_words(judged.horizon, told["step"])
        print_rows(_shown(judged), title=f"\nWhat tells most about {judged.target} {later} later", empty="")
        kept = f"{len(judged.kept)} of {len(judged.table)} features are kept"
        console.print(f"{kept}, judged by rows before {judged.until}.", soft_wrap=True)
    for what, path in written.items():
        if path:
            console.print(f"Written: {what} to {escape(path)}", soft_wrap=True)
    if written["table"] and judged:
        known = "".join(f" --known {name}" for name in prepared.panel.schema.known_names)
        told_next = f"heliotrope train {written['table']} --target {judged.target}{known}"
        console.print(f"Train on it: [bold]{escape(told_next)}[/]", soft_wrap=True)


def _line(row: dict[str, Any], *, several: bool) -> str:
    where = [f"series {row['series']}"] * several + [row["column"]] * bool(row["column"])
    cells = ("cell" if row["column"] else "row") + ("s" if row["count"] != 1 else "")
    run = f", {row['longest run']} in a row at most" if (row["longest run"] or 0) > 1 else ""
    when = f"on {row['first']}" if row["first"] == row["last"] else f"{row['first']} to {row['last']}"
    place = f"{', '.join(where)}: " if where else ""
    share = f"{row['share']:.2%}" if row["share"] >= LEAST_SHARE else f"below {LEAST_SHARE:.2%}"
    return f"  {row['what']:<10} {place}{row['count']:,} {cells} ({share}){run}, {when}: {row['done']}"


def _shown(judged: JudgedFeatures) -> list[dict[str, Any]]:
    best = judged.table[judged.table["kept"]].head(10)
    return [
        {
            "feature": row["feature"],
            "information (nats)": float(row["mutual_information"]),
            "correlation": float(row[f"correlation_{judged.target}"]),
        }
        for row in best.to_dict("records")
    ]
