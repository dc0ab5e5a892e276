"""`heliotrope up`, `serve`, `status`, `health`, `metrics`: the platform itself."""

from __future__ import annotations

import os
import sys
from typing import Any

import typer

from apps.cli.output import JsonOption, console, print_json, print_pairs, print_rows
from apps.client.client import Client
from apps.client.connection import API_KEY_VARIABLE
from apps.running import Running, find_running, require_running
from cluster.errors import TransientError
from cluster.settings import Settings

EndpointOption = typer.Option(None, help="Base URL of the API; the platform that runs here by default.")


def up() -> None:
    """Start Ray, the experiment UI and the API with every production model; stay until Ctrl-C."""
    from apps.pipelines.serving import production_versions
    from apps.platform import Platform, until_interrupted

    settings = Settings.from_environment()
    with Platform.open(settings) as platform:
        if production_versions(platform.registry):
            platform.serve()
        else:
            console.print(
                "No model is in production yet: [bold]heliotrope train[/], then [bold]heliotrope serve[/]."
            )
        print_addresses(platform.running)
        console.print("Ctrl-C ends it.")
        until_interrupted(platform.tick)
    console.print("Everything is shut down.")


def serve() -> None:
    """Let the platform that is up serve every production model, the newest versions included."""
    from apps.platform import Platform

    settings = Settings.from_environment()
    with Platform.attach(settings) as platform:
        platform.serve()
        print_addresses(platform.running)


def status(as_json: bool = JsonOption) -> None:
    """Show what runs, what is served, and the settings."""
    settings = Settings.from_environment()
    running = find_running(settings)
    served = _served(running)
    if as_json:
        print_json(
            {
                "running": running.to_json() if running else None,
                "models": served,
                "settings": dict(settings.describe()),
            }
        )
        return
    if running is None:
        console.print("No platform runs here: start one with [bold]heliotrope up[/].\n")
    else:
        print_addresses(running)
        rows = [_served_row(model) for model in served]
        print_rows(rows, title="Served models", empty="Nothing is served.")
    print_rows(
        [{"setting": name, "value": value} for name, value in settings.describe()], title="Settings", empty=""
    )


def health(endpoint: str | None = EndpointOption, as_json: bool = JsonOption) -> None:
    """Ask the API whether it lives and is ready; the exit code is 0 only for both."""
    with client_of(endpoint) as client:
        answers = {path: client.get(path).json() for path in ("/healthz", "/readyz")}
    if as_json:
        print_json(answers)
    else:
        print_pairs((path.strip("/"), "ok") for path in answers)


def metrics(endpoint: str | None = EndpointOption) -> None:
    """Print the API's metrics in Prometheus' text format."""
    with client_of(endpoint) as client:
        sys.stdout.write(client.get("/metrics").text)


def print_addresses(running: Running) -> None:
    """Print where everything is."""
    print_pairs(
        (name, address)
        for name, address in (
            ("API", running.endpoint and f"{running.endpoint}/v1/emissions/forecast"),
            ("API pages", running.endpoint and f"{running.endpoint}/docs"),
            ("Ray dashboard", running.dashboard_url),
            ("Experiments", running.tracking_url),
        )
        if address
    )


def client_of(endpoint: str | None) -> Client:
    """Return a client of an endpoint, or of the platform that runs here."""
    settings = Settings.from_environment()
    if endpoint is None:
        endpoint = require_running(settings).endpoint
        if not endpoint:
            raise TransientError("the platform is up, but serves nothing yet: run `heliotrope serve`")
    return Client(
        endpoint,
        api_key=os.environ.get(API_KEY_VARIABLE),
        timeout_s=settings.request_timeout_s,
        ca_file=settings.ca_file,
    )


def _served_row(model: dict[str, Any]) -> dict[str, Any]:
    """Return a served version as a person reads it; models of rows and of alarms have neither of the last two."""
    kind = model.get("kind", "forecast")
    row = {"name": model["name"], "version": model["version"], "answers": kind}
    spans = ("horizon", "context") if kind == "forecast" else ()
    return row | {key: model[key] if key in spans else None for key in ("horizon", "context")}


def _served(running: Running | None) -> list[dict[str, Any]]:
    if running is None or not running.endpoint:
        return []
    with client_of(running.endpoint) as client:
        models: list[dict[str, Any]] = client.get("/api/models").json()["models"]
    return models
