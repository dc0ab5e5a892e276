"""Progress bars of the pipelines' phases."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn


class Bars:
    """Draws a bar a phase on a terminal; prints a line at a phase's end elsewhere.

    Parameters
    ----------
    to
        Where to draw; standard error when None, so that standard output stays a table or JSON.
    """

    def __init__(self, to: Console | None = None) -> None:
        to = to or Console(stderr=True, highlight=False)
        self._console = to
        self._progress = Progress(
            TextColumn("{task.description:<28}"),
            BarColumn(bar_width=28),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
            console=to,
            disable=not to.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}
        self._finished: set[str] = set()

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def update(self, phase: str, done: float, total: float, note: str = "") -> None:
        """Move the phase's bar, adding it at its first mention."""
        if phase not in self._tasks:
            self._tasks[phase] = self._progress.add_task(phase, total=total, note=note)
        self._progress.update(self._tasks[phase], completed=done, total=total, note=note)
        if done >= total and phase not in self._finished:
            self._finished.add(phase)
            if not self._console.is_terminal:
                self._console.print(f"  {phase:<26} done  {note}", soft_wrap=True)
