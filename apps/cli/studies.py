"""`heliotrope studies`: what searches have tried, and what mattered."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from apps.cli.output import JsonOption, console, print_json, print_pairs, print_rows
from cluster.errors import ArtifactCorrupt
from cluster.settings import Settings
from cluster.storage.files import Storage

if TYPE_CHECKING:
    from tuning.history import History

_COLUMNS = ("study", "trials", "finished", "best", "score", "objectives")

app = typer.Typer(help="Searches and their trials.", no_args_is_help=True)
NameArgument = typer.Argument(help="A study's name from `heliotrope studies list`.")


@app.command("list")
def list_studies(as_json: bool = JsonOption) -> None:
    """List the studies on storage."""
    from tuning.history import studies

    rows = [_row_of(name) for name in studies(_storage())]
    if as_json:
        print_json(rows)
    else:
        print_rows(rows, title="Studies", empty="No studies yet: `heliotrope tune`.")


@app.command()
def show(name: str = NameArgument, as_json: bool = JsonOption) -> None:
    """Show a study's trials."""
    history = _history(name)
    rows = [
        {"number": each.number, "model": each.model, "status": each.status.value, "score": each.score}
        | {"seconds": each.duration_s, "attempts": each.attempts, "params": each.params, "error": each.error}
        for _, each in sorted(history.records.items())
    ]
    if as_json:
        print_json({"study": name, "best": history.best and asdict(history.best), "trials": rows})
        return
    print_rows(rows, title=f"Study {name}", empty="No trial has ended.")
    print_pairs(_row(history).items())


@app.command()
def explain(name: str = NameArgument, as_json: bool = JsonOption) -> None:
    """Say how much each parameter mattered: its share of the score's variance, by functional ANOVA."""
    rows = importance_rows(_history(name))
    if as_json:
        print_json(rows)
    else:
        print_rows(rows, title=f"What mattered in {name}", empty="Too few finished trials to tell.")


@app.command()
def draw(name: str = NameArgument, folder: Path = typer.Argument(help="Where the pictures go.")) -> None:
    """Draw history, parallel coordinates, slices and the Pareto front as PNG files and one page."""
    from apps.reports.study_report import write_study

    for path in write_study(_history(name), folder):
        console.print(str(path), soft_wrap=True)


def importance_rows(history: History) -> list[dict[str, Any]]:
    """Return a row a parameter, the ones that mattered most first."""
    from tuning.importance import importances

    return [asdict(each) for each in importances(history.finished(), history.spaces)]


def _row_of(name: str) -> dict[str, Any]:
    """Return a study's row; one whose folder is broken hides no other."""
    try:
        return _row(_history(name)) | {"fault": ""}
    except ArtifactCorrupt as error:
        return dict.fromkeys(_COLUMNS) | {"study": name, "fault": error.message}


def _row(history: History) -> dict[str, Any]:
    best = history.best
    told = (len(history.records), len(history.finished()), best and best.model, best and best.score)
    return dict(zip(_COLUMNS, (history.name, *told, ", ".join(history.objectives)), strict=True))


def _history(name: str) -> History:
    from tuning.history import History

    return History.read(_storage(), name)


def _storage() -> Storage:
    return Storage(Settings.from_environment().storage_url)
