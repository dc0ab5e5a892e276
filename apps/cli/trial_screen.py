"""The live table of a study's trials."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from tuning.ledger import Standing

ROWS = 12
"""Ended trials that are shown: the newest."""


class TrialScreen:
    """Redraws a table on a terminal; prints a line a trial elsewhere.

    Parameters
    ----------
    to
        Where to draw; standard error when None, so that standard output stays a table or JSON.
    """

    def __init__(self, to: Console | None = None) -> None:
        self._console = to or Console(stderr=True, highlight=False)
        self._live = Live(console=self._console, refresh_per_second=4, transient=True)
        self._phases: dict[str, str] = {}
        self._told: int | None = None
        self._standing: Standing | None = None

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def update(self, phase: str, done: float, total: float, note: str = "") -> None:
        """Show a phase's share; elsewhere than on a terminal its end."""
        self._phases[phase] = f"{phase:<18} {done / total:>4.0%}  {note}"
        if not self._console.is_terminal:
            if done >= total:
                self._console.print(f"  {phase:<18} done  {note}", soft_wrap=True)
            return
        self._live.update(self._drawn())

    def show(self, standing: Standing) -> None:
        """Show how the study stands."""
        self._standing = standing
        if self._console.is_terminal:
            self._live.update(self._drawn())
            return
        newest = sorted(standing.ended, key=lambda record: record.ended_at_s)
        if self._told is None:  # those of earlier sittings were told then
            self._told = len(newest)
        for record in newest[self._told :]:
            score = "" if record.score is None else f"{record.score:.4f}"
            line = f"  trial {record.number:>3} {record.model:<10} {record.status.value:<8} {score:>8} "
            self._console.print(f"{line}{record.duration_s:6.1f} s {record.error}", soft_wrap=True, markup=False)
        self._told = len(newest)

    def _drawn(self) -> Group:
        lines = [Text(line) for line in self._phases.values()]
        return Group(*lines) if self._standing is None else Group(*lines, _table(self._standing))


def _table(standing: Standing) -> Table:
    table = Table(title_justify="left", header_style="bold")
    for name in ("trial", "model", "status", "score", "steps", "seconds"):
        table.add_column(name)
    newest = sorted(standing.ended, key=lambda record: record.ended_at_s)[-ROWS:]
    for record in newest:
        best = standing.best is not None and record.number == standing.best.number
        score = "" if record.score is None else f"{record.score:.4f}"
        steps = str(record.curve[-1][0]) if record.curve else ""
        row = (str(record.number), record.model, record.status.value, score, steps, f"{record.duration_s:.1f}")
        table.add_row(*row, style="bold green" if best else "red" if record.error else "")
    for trial in standing.running:
        step, value = trial.curve[-1] if trial.curve else ("", None)
        shown = "" if value is None else f"({value:.4f})"
        table.add_row(str(trial.proposal.number), trial.proposal.model, "runs", shown, str(step), "", style="cyan")
    return table
