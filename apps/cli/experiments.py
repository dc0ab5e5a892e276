"""`heliotrope experiments`: what was tried."""

from __future__ import annotations

from datetime import UTC, datetime

import typer

from apps.cli.output import JsonOption, print_json, print_rows
from cluster.settings import Settings

app = typer.Typer(help="What was tried, and what came out.", no_args_is_help=True)


@app.callback()
def experiments() -> None:
    """Show what was tried, and what came out."""


@app.command("list")
def list_experiments(as_json: bool = JsonOption) -> None:
    """List the experiments and how many runs each has."""
    from cluster.registry.mlflow_tracker import open_tracker

    rows = [
        {
            "experiment": each.name,
            "runs": each.runs,
            "created": datetime.fromtimestamp(each.created_at_s, UTC).isoformat(timespec="seconds"),
        }
        for each in open_tracker(Settings.from_environment()).experiments()
    ]
    if as_json:
        print_json(rows)
    else:
        print_rows(rows, title="Experiments", empty="No experiments yet: run `heliotrope train` or `tune`.")
