"""A detector on a stream: a row comes, its score goes, memory stays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from cluster.errors import DataError, SchemaError
from training.core.detector_input import LARGEST, carried, check_numbers, check_times
from training.core.windows import Floats, Times, Windows

if TYPE_CHECKING:
    from training.core.detector import Detector

Read = Callable[[Windows, Floats], Floats]
"""A table and its rows without missing values -> (M, R) scores."""
RowJudge = Callable[[Floats, list[float]], float]
"""The rows that a score looks back on, and the next row, no value missing -> its score."""
CHUNK_ROWS = 4096
"""Rows scored at a time, however many are sent at once: memory stays bounded."""


class Watch:
    """Scores the rows of one series in the order in which they come.

    It keeps as many rows as a score looks back on, and no more. A refused row leaves it as it was, and the next
    one is scored as if the refused one had never come.

    Parameters
    ----------
    detector
        Fitted, and causal with its settings.
    series
        The series' id.
    """

    def __init__(self, detector: Detector, series: str) -> None:
        self._detector, self.series = detector, series
        self._state = detector.state_of(series)
        self._columns = detector.columns
        self._lookback = detector.lookback(self._state)
        self._rows = np.empty((0, len(self._columns)))
        self._holes = np.empty((0, len(self._columns)))
        self._times = np.empty(0, dtype="datetime64[ns]")
        self._last: np.datetime64 | None = None
        self._known: Floats | None = None
        self._judge_row = detector.row_judge(self._state) if detector.causal else None

    @property
    def rows_kept(self) -> int:
        """Rows in memory."""
        return len(self._rows)

    def update(self, time: Any, row: Mapping[str, Any] | Sequence[Any]) -> float:
        """Return the score of one row; NaN where a value is missing or too few rows came before it.

        Parameters
        ----------
        time
            When it was measured; later than the row before.
        row
            A value for each watched column, by name or in their order; None or NaN where it is missing.

        Raises
        ------
        SchemaError
            A column is missing, unknown or not a number.
        DataError
            The clock runs backwards; a value is infinite or too large.
        """
        values, stamp = self._numbers(row), pd.Timestamp(time).to_datetime64()
        if self._judge_row is not None and self._plain(values, stamp):
            return self._one(self._judge_row, values, stamp)
        stamps = np.array([stamp], dtype="datetime64[ns]")
        return float(self.update_many(stamps, np.array([values]))[0])

    def _plain(self, values: list[float], stamp: np.datetime64) -> bool:
        """Return whether a row has nothing that the way by a table is there for: no hole, no fault, no start."""
        fine = all(-LARGEST <= value <= LARGEST for value in values)  # NaN is not
        return fine and self._last is not None and len(self._rows) == self._lookback and bool(stamp > self._last)

    def _one(self, judge: RowJudge, values: list[float], stamp: np.datetime64) -> float:
        """Score a row, and let it take the place of the oldest."""
        score = judge(self._rows, values)
        known = np.array(values)
        if self._lookback:
            for kept, new in ((self._rows, known), (self._holes, known), (self._times, stamp)):
                kept[:-1] = kept[1:]
                kept[-1] = new
        self._last, self._known = stamp, known
        return score

    def read(self, time: Any, row: Mapping[Any, Any] | Sequence[Any]) -> tuple[Times, Floats]:
        """Return (1,) and (1, C) as `update_many` takes them; raise the SchemaError of `update`."""
        values = np.array([self._numbers(row)])
        return np.array([pd.Timestamp(time).to_datetime64()], dtype="datetime64[ns]"), values

    def update_many(self, times: Times, rows: npt.ArrayLike) -> Floats:
        """Return (R,) the scores of some rows that came together: the same numbers as one by one, much faster.

        Parameters
        ----------
        times
            (R,) increasing.
        rows
            (R, C) values of the watched columns in their order; NaN where missing.

        Raises
        ------
        SchemaError, DataError
            As `update`; nothing of a refused call is remembered.
        """
        whole: Floats = self._read_many(times, rows, self._whole, 1)[0]
        return whole

    def update_members(self, times: Times, rows: npt.ArrayLike) -> Floats:
        """Return (M, R) the own scores of the detector's members for some rows; see `update_many`."""
        return self._read_many(times, rows, self._members, len(self._detector.member_names))

    def _whole(self, like: Windows, rows: Floats) -> Floats:
        return self._detector.judge_carried(self._state, like, rows)[None]

    def _members(self, like: Windows, rows: Floats) -> Floats:
        return self._detector.members_carried(self._state, like, rows)

    def _read_many(self, times: Times, rows: npt.ArrayLike, read: Read, count: int) -> Floats:
        table = self._table(rows, len(times))
        stamps = np.asarray(times, dtype="datetime64[ns]")
        check_times(stamps, self._last, self.series)
        check_numbers(table, stamps, self._columns, self.series)
        starts = range(0, len(table), CHUNK_ROWS)
        done = [self._take(stamps[at : at + CHUNK_ROWS], table[at : at + CHUNK_ROWS], read) for at in starts]
        return np.concatenate([np.empty((count, 0)), *done], axis=1)

    def _take(self, times: Times, holes: Floats, read: Read) -> Floats:
        """Score a chunk after the rows kept, and keep the last rows of both."""
        new = carried(holes, self._known)
        rows, kept = np.concatenate([self._rows, new]), len(self._rows)
        all_holes, all_times = np.concatenate([self._holes, holes]), np.concatenate([self._times, times])
        like = self._like(all_holes, all_times)
        scores = read(like, rows)[:, kept:]
        first = max(len(rows) - self._lookback, 0)
        self._rows, self._holes, self._times = (part[first:].copy() for part in (rows, all_holes, all_times))
        self._last, self._known = times[-1], new[-1].copy()
        return scores

    def _like(self, rows: Floats, times: Times) -> Windows:
        return Windows(
            rows=rows,
            times=times,
            segments=np.array([0, len(rows)], dtype=np.int64),
            starts=np.empty(0, dtype=np.int64),
            length=0,
            columns=self._columns,
            series=(self.series,),
            frequency=self._detector.frequency,
        )

    def _table(self, rows: npt.ArrayLike, count: int) -> Floats:
        try:
            table: Floats = np.asarray(rows, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise SchemaError.at("values are not numbers", got=str(error), expected="numbers") from error
        if table.shape != (count, len(self._columns)):
            raise SchemaError.at(
                f"series '{self.series}': the rows do not fit",
                got=f"an array of {table.shape}",
                expected=f"({count}, {len(self._columns)}): a row a time, values of {', '.join(self._columns)}",
            )
        return table

    def _numbers(self, row: Mapping[Any, Any] | Sequence[Any]) -> list[float]:
        """Return the row's values in the order of the watched columns."""
        if not isinstance(row, Mapping):
            if len(row) != len(self._columns):
                raise self._misfit(f"{len(row)} values", None)
            row = dict(zip(self._columns, row, strict=True))
        for name in (*self._columns, *row):
            if name not in row or name not in self._columns:
                raise self._misfit(f"columns {', '.join(map(str, row)) or 'none'}", str(name))
        return [self._number(name, row[name]) for name in self._columns]

    def _number(self, name: str, value: Any) -> float:
        if value is None:
            return float("nan")
        try:
            if isinstance(value, str | bytes):
                raise TypeError(value)
            return float(value)
        except (TypeError, ValueError) as error:
            raise SchemaError.at(
                f"series '{self.series}': a value is not a number",
                column=name,
                got=repr(value),
                expected="a number, or None where it is missing",
            ) from error

    def _misfit(self, got: str, column: str | None) -> DataError:
        return SchemaError.at(
            f"series '{self.series}': a row does not fit",
            column=column,
            got=got,
            expected=f"a value each of {', '.join(self._columns)}",
        )
