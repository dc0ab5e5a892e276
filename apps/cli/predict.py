"""`heliotrope predict`: a forecast for the end of a file, or a prediction for each of its rows, over HTTP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from apps.cli.output import JsonOption, console, print_json, print_rows
from apps.cli.platform import client_of
from apps.client.results import ROWS_KIND
from cluster.errors import SchemaError, UserError

if TYPE_CHECKING:
    import pandas as pd

    from apps.client.client import Client
    from apps.client.results import ServedInfo, TargetForecast
    from apps.pipelines.fitted import Situation

FORECAST = "forecast"
SHOWN_ROWS = 20
"""Predicted rows that a person is shown; --output and --json have all."""


def predict(
    model: str = typer.Argument(help="A served model, see `heliotrope status`."),
    source: str = typer.Argument("gas_turbine", help="A bundled sample, or a CSV, Parquet or Arrow file."),
    horizon: int | None = typer.Option(None, min=1, help="Steps ahead; the model's own by default."),
    version: str | None = typer.Option(None, help="A served version such as 1.0.0."),
    timestamp: str = typer.Option("timestamp", help="The file's column with times."),
    series: str | None = typer.Option(None, help="The file's column with series ids."),
    future: Path | None = typer.Option(None, help="A file with what is known ahead; by default the last rows."),
    endpoint: str | None = typer.Option(None, help="Base URL of the API; the platform that runs here by default."),
    output: Path | None = typer.Option(None, help="Write the answer to this CSV file too, all rows of it."),
    as_json: bool = JsonOption,
) -> None:
    """Forecast what follows the last rows of a file, or predict each of its rows, over HTTP.

    A model of series forecasts; a model of rows, as `heliotrope automl` makes of tables, predicts each row.
    """
    with client_of(endpoint) as client:
        served = client.model(model, version)
        if served.kind == FORECAST:
            asked = _asked(served, source, future, timestamp, series)
            answer = _forecast(client, served, asked, version, horizon)
        elif served.kind == ROWS_KIND:
            if horizon is not None or future is not None:
                raise UserError(f"'{model}' predicts rows: leave out --horizon and --future")
            answer = predict_rows(client, served, source, version)
        else:
            raise UserError(
                f"'{model}' judges anomalies and predicts nothing: send rows to POST /v1/anomalies/detect"
            )
    if output:
        answer.table.to_csv(output, index=False)
    if as_json:
        print_json(answer.raw)
        return
    for title, rows in answer.shown:
        print_rows(rows, title=title, empty="Nothing to predict.")
    if answer.left_out:
        console.print(f"{answer.left_out:,} more rows: --output FILE.csv writes all of them.")
    if output:
        console.print(f"Written to {output}", soft_wrap=True)


@dataclass(frozen=True, kw_only=True)
class Shown:
    """An answer as a person, a script and a file want it.

    Parameters
    ----------
    raw
        As the API gave it.
    table
        For a file.
    shown
        Title and rows of each table on the screen.
    left_out
        Rows that the screen does not show.
    """

    raw: Any
    table: pd.DataFrame
    shown: Sequence[tuple[str, Sequence[Mapping[str, Any]]]]
    left_out: int = 0


def _asked(served: ServedInfo, source: str, future: Path | None, timestamp: str, series: str | None) -> Situation:
    """Return the end of a file's series and what is known ahead of it, as a served model needs them."""
    from apps.pipelines.fitted import Situation

    asked = Situation.read(
        source,
        served.schema,
        context=served.context,
        known=served.known,
        horizon=served.horizon,
        future=future,
        timestamp=timestamp,
        series=series,
    )
    return asked.ending(served.context)


def _forecast(
    client: Client, served: ServedInfo, asked: Situation, version: str | None, horizon: int | None
) -> Shown:
    answer = client.forecast(served.name, asked.history, version=version, horizon=horizon, future=asked.future)
    by = f"{answer.interval_level:.0%} interval, by {answer.model} {answer.version}"
    shown = [
        (f"{each.series_id}: {each.target} in {each.unit}, {by}", step_rows(each)) for each in answer.forecasts
    ]
    return Shown(raw=answer.raw, table=answer.to_frame(), shown=shown)


def predict_rows(client: Client, served: ServedInfo, source: str, version: str | None) -> Shown:
    """Return the prediction of each row of a file; raise SchemaError where it lacks the model's columns."""
    from apps.pipelines.automl import load_table

    _, frame = load_table(source)
    missing = [name for name in served.columns if name not in frame.columns]
    if missing:
        raise SchemaError.at(
            f"{source} lacks columns of '{served.name}'",
            got=f"columns {', '.join(map(str, frame.columns))}",
            expected=f"{', '.join(missing)} too; a cell may be empty",
        )
    rows = frame[list(served.columns)]
    answer = client.predict(served.name, rows, version=version)
    predicted = answer.to_frame()
    told = predicted.rename(columns={answer.target: f"{answer.target} predicted"})
    kept = frame.reset_index(drop=True)
    table = kept.join(told)
    first = zip(*(told[name].head(SHOWN_ROWS).tolist() for name in told), strict=True)
    names = [str(name) for name in told]
    shown = [{"row": at, **dict(zip(names, row, strict=True))} for at, row in enumerate(first)]
    title = f"{answer.target} of {len(rows):,} rows, by {answer.model} {answer.version}"
    if answer.task == "regression":
        title += ", 90% interval"
    raw = {**answer.raw[0], "predictions": [row for part in answer.raw for row in part["predictions"]]}
    return Shown(raw=raw, table=table, shown=[(title, shown)], left_out=max(0, len(rows) - SHOWN_ROWS))


def step_rows(forecast: TargetForecast) -> list[dict[str, Any]]:
    """Return a row for each step of one series and target."""
    names = ("prediction", "lower", "upper", "confidence")
    return [
        {"time": step.timestamp.replace("T", " ")} | {name: getattr(step, name) for name in names}
        for step in forecast.steps
    ]
