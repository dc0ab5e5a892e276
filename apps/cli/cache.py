"""`heliotrope cache`: throw kept answers away, where what they were computed from has changed."""

from __future__ import annotations

from urllib.parse import urlencode

import typer

from apps.cli.output import print_pairs
from apps.cli.platform import EndpointOption, client_of

app = typer.Typer(help="Answers that are kept to be given again.", no_args_is_help=True)
PATH = "/api/cache/forget"


@app.callback()
def cache() -> None:
    """Answers that are kept to be given again."""


@app.command()
def forget(
    reason: str = typer.Argument(help="drift, features (they were refreshed) or version."),
    model: str | None = typer.Option(None, help="Only this one's, as name@version."),
    endpoint: str | None = EndpointOption,
) -> None:
    """Throw kept answers away in all replicas: the last step of a job that refreshes features or finds drift."""
    asked = {"reason": reason} | ({} if model is None else {"model": model})
    with client_of(endpoint) as client:
        told = client.post(f"{PATH}?{urlencode(asked)}", {}, repeatable=True).json()
    print_pairs([("reason", reason), ("model", model or "all"), ("replicas told", told["replicas"])])
