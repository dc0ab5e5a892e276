"""One series on its way from rows as they come to pieces without a gap."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from cluster.errors import DataError
from training.core.schema import Column, Schema
from training.core.validation import ID, TIME
from training.core.windows import Floats, Times
from training.data.gaps import fill, longest, missing_runs
from training.data.outliers import fence
from training.data.preparation_report import Finding
from training.data.time_grid import grid_of, is_calendar, on_clock, to_utc, twice_and_never
from training.data.units import in_one_unit, unit_changes

if TYPE_CHECKING:
    from training.data.preparation import Preparation

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A stretch of a series that is complete.

    Parameters
    ----------
    frame
        `series_id`, `timestamp`, the schema's columns.
    filled, outlying
        (R, C) masks of its cells.
    findings
        What was found; those of the whole series are with its first piece.
    """

    frame: pd.DataFrame
    filled: Mask
    outlying: Mask
    findings: tuple[Finding, ...]


class SeriesPreparer:
    """Prepares one series: times, order, duplicates, grid, units, outliers, gaps.

    Parameters
    ----------
    schema
        What comes out.
    policy
        What may be done.
    series
        The id.
    """

    def __init__(self, schema: Schema, policy: Preparation, series: str) -> None:
        self.schema = schema
        self.policy = policy
        self.series = series
        self.findings: list[Finding] = []

    def run(self, rows: pd.DataFrame, *, local: bool) -> list[Piece]:
        """Return the pieces of the series: one, unless it is split; `local` says that its times name no zone."""
        times = self._on_grid_clock(rows[TIME].to_numpy(), local=local)
        times, values = self._in_order(times, rows[list(self.schema.names)].to_numpy(dtype=np.float64))
        grid, places = grid_of(times, self.schema.frequency, self.series)
        table = np.full((len(grid), values.shape[1]), np.nan)
        table[places] = values
        self._refuse_all_missing(table)
        table = self._one_unit(table, grid)
        table, outlying = self._fenced(table, grid)
        return self._filled(table, outlying, grid)

    def _on_grid_clock(self, times: Times, *, local: bool) -> Times:
        policy, frequency = self.policy, self.schema.frequency
        if policy.zone is None or is_calendar(frequency):
            return times
        if not local:
            return on_clock(times, policy.zone, policy.clock)
        moments = to_utc(
            times,
            policy.zone,
            frequency=frequency,
            ambiguous=policy.ambiguous,
            nonexistent=policy.nonexistent,
            series=self.series,
        )
        even = on_clock(moments, policy.zone, policy.clock)
        self._note_daylight_saving(times, even, policy.zone)
        return even

    def _note_daylight_saving(self, local: Times, even: Times, zone: str) -> None:
        twice, never = twice_and_never(local, zone)
        if twice.any():
            self._note(
                "times", f"in the hour that autumn doubles: told apart by {self.policy.ambiguous}", even[twice]
            )
        if never.any():
            self._note("times", "in the hour that spring leaves out: moved to the first moment after", even[never])

    def _in_order(self, times: Times, values: Floats) -> tuple[Times, Floats]:
        back = np.flatnonzero(times[1:] < times[:-1])  # a difference of 300 years overflows
        if len(back):
            if self.policy.unsorted == "refuse":
                raise self._fault("is not sorted", times, int(back[0]), "later times; or unsorted='sort'")
            self._note("order", "sorted", times[back + 1])
            order = np.argsort(times, kind="stable")
            times, values = times[order], values[order]
        again = np.flatnonzero(times[1:] == times[:-1])
        if not len(again):
            return times, values
        policy = self.policy.duplicates
        if policy == "refuse":
            expected = "each time once; or duplicates='first' or 'mean'"
            if self.policy.zone is None:
                expected += "; or the zone, if this is the hour that a local clock shows twice in autumn"
            raise self._fault("is doubled", times, int(again[0]), expected)
        self._note("duplicates", f"{policy} kept", times[again])
        groups = pd.DataFrame(values).groupby(times)
        merged = groups.mean() if policy == "mean" else groups.nth(0)
        first = np.concatenate([[True], times[1:] != times[:-1]])
        return times[first], merged.to_numpy()

    def _fault(self, what: str, times: Times, at: int, expected: str) -> DataError:
        return DataError.at(
            f"series '{self.series}': a timestamp {what}",
            column=TIME,
            got=f"{pd.Timestamp(times[at + 1])} after {pd.Timestamp(times[at])}",
            expected=expected,
            series=self.series,
        )

    def _note(self, step: str, action: str, times: Times, *, column: str = "", run: int = 0) -> None:
        first, last = pd.Timestamp(times.min()), pd.Timestamp(times.max())
        said = Finding(step=step, series=self.series, action=action, count=len(times), first=first, last=last)
        self.findings.append(replace(said, column=column, longest=run))

    def _refuse_all_missing(self, table: Floats) -> None:
        for i, name in enumerate(self.schema.names):
            if np.isnan(table[:, i]).all():
                raise DataError.at(
                    f"series '{self.series}' has no value",
                    column=name,
                    got=f"{len(table)} rows, all missing",
                    expected="at least one value; leave out the series or the column",
                    series=self.series,
                )

    def _one_unit(self, table: Floats, grid: Times) -> Floats:
        if self.policy.units == "leave":
            return table
        table = table.copy()
        for i, column in enumerate(self.schema.targets):
            changes = unit_changes(table[:, i], season=self.schema.season_length)
            for change in changes:
                self._unit_change(column.name, grid, change.row, change.factor, change.meaning)
            if changes and self.policy.units == "convert":
                table[:, i] = in_one_unit(table[:, i], changes)
        return table

    def _unit_change(self, column: str, grid: Times, row: int, factor: float, meaning: str) -> None:
        told = f"the unit changes by a factor of {factor:g} ({meaning})"
        if self.policy.units == "refuse":
            raise DataError.at(
                f"series '{self.series}': {told}",
                column=column,
                got=f"since {pd.Timestamp(grid[row])}",
                expected="one unit throughout; convert it, or units='convert' or 'flag'",
                series=self.series,
                factor=factor,
            )
        done = "converted" if self.policy.units == "convert" else "flagged"
        self.findings.append(
            Finding(
                step="units",
                series=self.series,
                column=column,
                action=f"{told}, {done}",
                count=len(grid) - row,
                first=pd.Timestamp(grid[row]),
                last=pd.Timestamp(grid[-1]),
                factor=factor,
            )
        )

    def _fenced(self, table: Floats, grid: Times) -> tuple[Floats, Mask]:
        outlying = np.zeros(table.shape, dtype=bool)
        if self.policy.outliers == "leave":
            return table, outlying
        table = table.copy()
        for i, column in enumerate(self.schema.columns):
            if column.kind == "int" or column.role != "past":
                continue
            border = fence(
                table[:, i],
                season=self.schema.season_length,
                deviations=self.policy.outlier_deviations,
                causal=self.policy.causal,
            )
            outlying[:, i] = border.outside(table[:, i])
            if outlying[:, i].any():
                self._note_cells("outliers", self.policy.outliers, outlying[:, i], grid, column.name)
            if self.policy.outliers == "winsorise":
                table[:, i] = border.clip(table[:, i])
        return table, outlying

    def _note_cells(self, step: str, action: str, mask: Mask, grid: Times, column: str) -> None:
        self._note(step, action, grid[mask], column=column, run=longest(mask))

    def _filled(self, table: Floats, outlying: Mask, grid: Times) -> list[Piece]:
        pieces = []
        for part, (begin, stop) in enumerate(self._stretches(table, grid)):
            start = begin + self._head(table[begin:stop], grid[begin:stop])
            values, missing = table[start:stop], np.isnan(table[start:stop])
            complete = np.stack(
                [
                    self._column(values[:, i], grid[start:stop], column)
                    for i, column in enumerate(self.schema.columns)
                ],
                axis=1,
            )
            frame = pd.DataFrame(complete, columns=list(self.schema.names))
            frame.insert(0, TIME, grid[start:stop])
            frame.insert(0, ID, f"{self.series}/{part + 1}" if part else self.series)
            pieces.append(
                Piece(frame=frame, filled=missing, outlying=outlying[start:stop], findings=tuple(self.findings))
            )
            self.findings = []
        return pieces

    def _limit(self) -> int:
        return self.policy.longest_gap or self.schema.season_length

    def _stretches(self, table: Floats, grid: Times) -> list[tuple[int, int]]:
        """Return [start, stop) of what lies between gaps that are too long; a gap at a column's head is not one."""
        if self.policy.gaps == "refuse":
            return [(0, len(table))]
        bad = np.zeros(len(table), dtype=bool)
        for i, name in enumerate(self.schema.names):
            for start, stop in missing_runs(table[:, i]):
                if stop - start <= self._limit() or (start == 0 and self.policy.gaps != "zero"):
                    continue
                if self.policy.beyond == "refuse":
                    raise self._too_long(name, grid, int(start), int(stop))
                bad[start:stop] = True
        if bad.any():
            self._note("split", f"cut out, longer than {self._limit()} rows", grid[bad], run=longest(bad))
        runs = missing_runs(np.where(bad, 0.0, np.nan))
        kept = [(int(a), int(b)) for a, b in runs if not np.isnan(table[a:b]).all(axis=0).any()]
        if not kept:
            raise DataError.at(
                f"series '{self.series}' has no stretch with all columns",
                got=f"{len(table)} rows, {int(bad.sum())} of them in long gaps",
                expected=f"a stretch between gaps of more than {self._limit()} rows; raise longest_gap",
                series=self.series,
            )
        return kept

    def _too_long(self, column: str, grid: Times, start: int, stop: int) -> DataError:
        return DataError.at(
            f"series '{self.series}': a gap is too long",
            column=column,
            got=f"{stop - start} rows from {pd.Timestamp(grid[start])} to {pd.Timestamp(grid[stop - 1])}",
            expected=f"at most {self._limit()}; raise longest_gap, or beyond='split'",
            series=self.series,
        )

    def _head(self, table: Floats, grid: Times) -> int:
        """Return how many rows lie before some column's first value."""
        if self.policy.gaps in {"refuse", "zero"}:
            return 0
        rows = int(np.argmax(~np.isnan(table), axis=0).max())
        if rows:
            self._note("head", "cut: before the first value of a column", grid[:rows])
        return rows

    def _column(self, values: Floats, grid: Times, column: Column) -> Floats:
        missing = np.isnan(values)
        if not missing.any():
            return values
        policy = self.policy.gaps
        if policy == "refuse":
            at = int(np.argmax(missing))
            raise DataError.at(
                f"series '{self.series}': a value is missing",
                column=column.name,
                got=f"nothing at {pd.Timestamp(grid[at])}, and {int(missing.sum())} in all",
                expected="a value in every step; or gaps='linear', 'seasonal', 'previous' or 'zero'",
                series=self.series,
                count=int(missing.sum()),
            )
        if column.kind == "int" and policy in {"linear", "seasonal"}:
            policy = "previous"
        self._note_cells("gaps", f"filled, {policy}", missing, grid, column.name)
        filled = fill(values, policy, self.schema.season_length)
        return np.where(missing, np.clip(filled, column.low, column.high), values)
