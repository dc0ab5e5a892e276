"""What the commands print: tables for people, JSON for scripts, errors with an exit code."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cluster.errors import GateRefused, HeliotropeError, PermanentError, TransientError, UserError

EXIT_CODES: tuple[tuple[type[HeliotropeError], int], ...] = (
    (UserError, 2),
    (GateRefused, 3),
    (TransientError, 4),
    (PermanentError, 5),
)
"""Exit codes by what the caller can do; 1 is an unexpected fault, 130 Ctrl-C."""

COPIED = ("id", "name")
"""Columns whose cells stay on one line, because people copy them into the next command."""
console = Console(highlight=False)
JsonOption = typer.Option(False, "--json", help="Print JSON for a script instead of a table.")


def exit_code(error: HeliotropeError) -> int:
    """Return the exit code for an error."""
    return next((code for kind, code in EXIT_CODES if isinstance(error, kind)), 1)


def print_error(error: HeliotropeError) -> None:
    """Print an error to standard error, one line, with its class."""
    Console(stderr=True, highlight=False).print(f"[bold red]{type(error).__name__}[/]: ", end="", soft_wrap=True)
    sys.stderr.write(f"{error.message}\n")


def print_json(value: Any) -> None:
    """Print a value as JSON, times and paths as text."""
    sys.stdout.write(json.dumps(value, indent=2, default=str) + "\n")


def print_rows(rows: Sequence[Mapping[str, Any]], *, title: str, empty: str) -> None:
    """Print rows as a table with the first row's keys as header; `empty` where there are none."""
    if not rows:
        console.print(empty)
        return
    table = Table(title=title, title_justify="left", header_style="bold")
    for key in rows[0]:
        table.add_column(key.replace("_", " "), overflow="fold", no_wrap=key in COPIED)
    for row in rows:
        table.add_row(*(escape(_cell(value)) for value in row.values()))
    console.print(table)


def print_pairs(pairs: Iterable[tuple[str, Any]]) -> None:
    """Print names and values, one pair a line; long values are not broken, so that they can be copied."""
    rows = list(pairs)
    width = max((len(name) for name, _ in rows), default=0)
    for name, value in rows:
        console.print(f"[bold]{name:<{width}}[/]  {escape(_cell(value))}", soft_wrap=True)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
