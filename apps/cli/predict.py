"""`heliotrope predict`: a forecast over HTTP for the end of a file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from apps.cli.output import JsonOption, console, print_json, print_rows
from cluster.settings import Settings

if TYPE_CHECKING:
    from apps.client.results import TargetForecast


def predict(
    model: str = typer.Argument(help="A served model, see `heliotrope status`."),
    source: str = typer.Argument("gas_turbine", help="A bundled sample, or a CSV, Parquet or Arrow file."),
    horizon: int | None = typer.Option(None, min=1, help="Steps ahead; the model's own by default."),
    version: str | None = typer.Option(None, help="A served version such as 1.0.0."),
    timestamp: str = typer.Option("timestamp", help="The file's column with times."),
    series: str | None = typer.Option(None, help="The file's column with series ids."),
    endpoint: str | None = typer.Option(None, help="Base URL of the API; the platform that runs here by default."),
    output: Path | None = typer.Option(None, help="Write the forecast to this CSV file too."),
    as_json: bool = JsonOption,
) -> None:
    """Forecast what follows the last rows of a file, over HTTP."""
    from apps.client.client import Client
    from apps.client.connection import API_KEY_VARIABLE
    from apps.pipelines.source import load_history
    from apps.running import require_running

    settings = Settings.from_environment()
    with Client(
        endpoint or require_running(settings).endpoint,
        api_key=os.environ.get(API_KEY_VARIABLE),
        timeout_s=settings.request_timeout_s,
        ca_file=settings.ca_file,
    ) as client:
        served = client.model(model, version)
        history = load_history(source, served.schema, rows=served.context, timestamp=timestamp, series=series)
        answer = client.forecast(model, history, version=version, horizon=horizon)
    if output:
        answer.to_frame().to_csv(output, index=False)
    if as_json:
        print_json(answer.raw)
        return
    for forecast in answer.forecasts:
        title = (
            f"{forecast.series_id}: {forecast.target} in {forecast.unit}, "
            f"{answer.interval_level:.0%} interval, by {answer.model} {answer.version}"
        )
        print_rows(step_rows(forecast), title=title, empty="Nothing to forecast.")
    if output:
        console.print(f"Written to {output}")


def step_rows(forecast: TargetForecast) -> list[dict[str, Any]]:
    """Return a row for each step of one series and target."""
    names = ("prediction", "lower", "upper", "confidence")
    return [
        {"time": step.timestamp.replace("T", " ")} | {name: getattr(step, name) for name in names}
        for step in forecast.steps
    ]
