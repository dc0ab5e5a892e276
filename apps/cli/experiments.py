"""`heliotrope experiments`: what was tried."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from apps.cli.output import JsonOption, console, print_json, print_pairs, print_rows
from apps.reports.place import told_place
from cluster.settings import Settings

if TYPE_CHECKING:
    from cluster.registry.experiments import TrackedRun

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
            "created": _shown(each.created_at_s),
        }
        for each in open_tracker(Settings.from_environment()).experiments()
    ]
    if as_json:
        print_json(rows)
    else:
        print_rows(rows, title="Experiments", empty="No experiments yet: run `heliotrope train` or `tune`.")


@app.command()
def show(
    name: str = typer.Argument(help="A name from `heliotrope experiments list`."), as_json: bool = JsonOption
) -> None:
    """Show an experiment's runs, newest first: how each ended, its error, and where its report is."""
    from cluster.registry.mlflow_tracker import open_tracker

    settings = Settings.from_environment()
    runs = open_tracker(settings).runs(name)[::-1]
    rows = [_row(run, settings.home) for run in runs]
    if as_json:
        print_json([row | {"metrics": dict(run.metrics)} for row, run in zip(rows, runs, strict=True)])
        return
    shown = [row | {"run": row["run"][:8]} for row in rows]
    shown = [{key: row[key] for key in row if key != "report"} for row in shown]
    print_rows(shown, title=f"Runs of {name}, newest first", empty=f"{name} has no runs yet.")
    reports = [(row["run"][:8], row["report"]) for row in rows if row["report"]]
    if reports:
        console.print("\n[bold]Reports[/]")
        print_pairs(reports)


def _row(run: TrackedRun, home: Path) -> dict[str, Any]:
    return {
        "run": run.id,
        "what": run.name,
        "status": run.status.value,
        "started": _shown(run.started_at_s),
        "seconds": None if run.duration_s is None else round(run.duration_s, 1),
        "wape": run.metrics.get("wape"),
        "seasonal naive": run.metrics.get("baseline_wape"),
        "report": told_place(home, run.id) if "report" in run.tags else None,
    }


def _shown(time_s: float) -> str:
    return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%d %H:%M UTC")
