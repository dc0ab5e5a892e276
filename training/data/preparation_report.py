"""What was done to a table, row by row for a program and in sentences for an analyst."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields

import pandas as pd


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was found in one column of one series.

    Parameters
    ----------
    step
        `times`, `order`, `duplicates`, `gaps`, `split`, `head`, `outliers` or `units`.
    series
        Its id.
    column
        The column; empty where it is about whole rows.
    count
        Cells, or rows where `column` is empty.
    longest
        Rows in the longest run of them.
    first, last
        Times of the first and the last of them, on the prepared clock.
    action
        What was done, in words.
    factor
        New unit over old, for `units`; else 1.
    """

    step: str
    series: str
    action: str
    count: int
    column: str = ""
    longest: int = 0
    first: pd.Timestamp | None = None
    last: pd.Timestamp | None = None
    factor: float = 1.0

    def __str__(self) -> str:
        """Return it as a sentence."""
        where = f"'{self.series}'" + (f", column '{self.column}'" if self.column else "")
        when = "" if self.first is None else f" from {self.first} to {self.last}"
        run = f", longest run {self.longest}" if self.longest > 1 else ""
        return f"{self.step}: {where}: {self.count} {'cells' if self.column else 'rows'}{when}{run}: {self.action}"


@dataclass(frozen=True, kw_only=True)
class PreparationReport:
    """Everything a preparation did.

    Parameters
    ----------
    findings
        In the order of series, then of steps.
    rows_in, rows_out
        Rows before and after.
    looks_ahead
        Steps of the policy that use values after the one they change: such a table suits training, and a backtest
        on it is a little too kind.
    """

    findings: tuple[Finding, ...]
    rows_in: int
    rows_out: int
    looks_ahead: tuple[str, ...] = ()

    def of(self, step: str) -> tuple[Finding, ...]:
        """Return the findings of one step."""
        return tuple(finding for finding in self.findings if finding.step == step)

    def to_frame(self) -> pd.DataFrame:
        """Return one row a finding."""
        names = [field.name for field in fields(Finding)]
        return pd.DataFrame([asdict(finding) for finding in self.findings], columns=names)

    def summary(self) -> str:
        """Return the report as text, one finding a line."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield f"{self.rows_in} rows in, {self.rows_out} rows out, {len(self.findings)} findings"
        yield from map(str, self.findings)
        if self.looks_ahead:
            yield f"looks ahead: {', '.join(self.looks_ahead)}"
