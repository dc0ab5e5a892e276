"""Equal-length pieces of series, as views: the one shape that models and transforms work on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from cluster.errors import InsufficientHistoryError, UnknownNameError, UserError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Times = npt.NDArray[np.datetime64]


@dataclass(frozen=True, kw_only=True)
class Windows:
    """N pieces of L consecutive rows each, kept as positions in one shared table.

    Nothing is copied until `values` is asked for: training on every origin of a long series costs one table,
    and a model may move `rows` and `starts` to its device and gather there.

    Parameters
    ----------
    rows
        (R, C) the table, series after series.
    times
        (R,) timestamps of the rows.
    segments
        (S + 1,) offsets of the series in `rows`: series s is `rows[segments[s]:segments[s + 1]]`.
    starts
        (N,) first row of each window. A window never crosses a segment.
    length
        L, rows in a window.
    columns
        (C,) names.
    series
        (S,) series ids.
    frequency
        pandas offset alias of the step.
    ahead
        N windows of what is known of the rows that follow each of these: H rows, K columns. None where nothing is.
    """

    rows: Floats
    times: Times
    segments: Ints
    starts: Ints
    length: int
    columns: tuple[str, ...]
    series: tuple[str, ...]
    frequency: str
    ahead: Windows | None = None

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def values(self) -> Floats:
        """(N, L, C); a view where the starts are consecutive, else one gathered copy."""
        return self._gather(self.rows)

    @property
    def timestamps(self) -> Times:
        """(N, L) timestamps."""
        return self._gather(self.times)

    @property
    def last_times(self) -> Times:
        """(N,) timestamp of each window's last row: the forecast's origin."""
        return self.times[self.starts + self.length - 1]

    @property
    def ids(self) -> tuple[str, ...]:
        """(N,) the series that each window is cut from."""
        owner = np.searchsorted(self.segments, self.starts, side="right") - 1
        return tuple(self.series[i] for i in owner)

    def _gather(self, table: npt.NDArray[Any]) -> npt.NDArray[Any]:
        count, first = len(self), self.starts[0] if len(self) else 0
        if not count:
            return np.empty((0, self.length, *table.shape[1:]), dtype=table.dtype)
        if np.array_equal(self.starts, first + self.length * np.arange(count)):  # end to end, as requests lie
            return table[first : first + count * self.length].reshape(count, self.length, *table.shape[1:])
        pieces = np.lib.stride_tricks.sliding_window_view(table, self.length, axis=0)
        if table.ndim > 1:
            pieces = np.moveaxis(pieces, -1, 1)
        if np.array_equal(self.starts, first + np.arange(count)):
            return pieces[first : first + count]
        return pieces[self.starts]

    def __getitem__(self, index: slice | Ints) -> Windows:
        """Return some of the windows, each with what is known ahead of it; the table is shared."""
        ahead = None if self.ahead is None else self.ahead[index]
        return replace(self, starts=self.starts[index], ahead=ahead)

    def filled(self, multiple: int) -> Windows:
        """Return the windows and the last one again until their number is a multiple; none stay none."""
        count, short = len(self), -len(self) % multiple
        return self[np.minimum(np.arange(count + short), count - 1)] if count and short else self

    def chunks(self, size: int) -> Iterator[tuple[slice, Windows]]:
        """Yield pieces of at most `size` windows, and where they stand; none of no windows."""
        for start in range(0, len(self), size):
            here = slice(start, min(start + size, len(self)))
            yield here, self[here]

    def ahead_within(self, horizon: int, since: Any = None, until: Any = None) -> Windows:
        """Keep the windows whose last `horizon` rows, the future, all lie in [since, until)."""
        first = self.times[self.starts + self.length - horizon]
        keep = np.ones(len(self), dtype=bool)
        if since is not None:
            keep &= first >= np.datetime64(since)
        if until is not None:
            keep &= self.last_times < np.datetime64(until)
        return self[np.flatnonzero(keep)]

    def head(self, length: int) -> Windows:
        """Return the first `length` rows of each window; what was known ahead belonged to another end."""
        return replace(self, length=length, ahead=None)

    def tail(self, length: int) -> Windows:
        """Return the last `length` rows of each window."""
        self._need(length)
        return replace(self, starts=self.starts + self.length - length, length=length)

    def split(self, horizon: int, known: Sequence[str] | None = None) -> tuple[Windows, Windows]:
        """Return (context, future): all but the last `horizon` rows, and these.

        Parameters
        ----------
        horizon
            Rows in the future.
        known
            Columns of the future that the context carries as `ahead`; nothing is carried when None.
        """
        self._need(horizon + 1)
        context, future = self.head(self.length - horizon), self.tail(horizon)
        return (context if known is None else replace(context, ahead=future.only(known))), future

    def only(self, names: Sequence[str]) -> Windows:
        """Return the same windows over a table of some of the columns."""
        return replace(self, rows=self.rows[:, self.positions(names)], columns=tuple(names), ahead=None)

    def looking_ahead(self, horizon: int, known: Sequence[str]) -> Windows:
        """Return the windows with exactly `horizon` rows ahead, in which the `known` columns stand.

        Where nothing need be known, rows without columns are made: they still have their times.

        Raises
        ------
        UserError
            A known column, or a row of it, is not there.
        """
        if self.ahead is None and not known:
            return replace(self, ahead=self._times_ahead(horizon))
        got = "no future" if self.ahead is None else f"{self.ahead.length} rows of {self.ahead.columns}"
        if self.ahead is None or self.ahead.length < horizon or not set(known) <= set(self.ahead.columns):
            raise UserError(
                f"future: got {got}, expected {horizon} rows of {tuple(known)}, which this model knows ahead",
                field="future",
                got=got,
                expected=f"{horizon} rows of {tuple(known)}",
            )
        return replace(self, ahead=self.ahead.head(horizon))

    def _times_ahead(self, horizon: int) -> Windows:
        """Return rows without columns, at the times that follow each window."""
        count = len(self)
        return Windows(
            rows=np.empty((count * horizon, 0)),
            times=self.future_times(horizon).reshape(-1),
            segments=np.arange(count + 1, dtype=np.int64) * horizon,
            starts=np.arange(count, dtype=np.int64) * horizon,
            length=horizon,
            columns=(),
            series=self.ids,
            frequency=self.frequency,
        )

    def _need(self, length: int) -> None:
        if length > self.length:
            raise InsufficientHistoryError(
                f"a window of {self.length} rows is too short: {length} rows are needed",
                got=self.length,
                expected=length,
            )

    def positions(self, names: Sequence[str]) -> Ints:
        """Return where `names` stand in `columns`."""
        for name in names:
            if name not in self.columns:
                raise UnknownNameError.of("column", name, self.columns)
        return np.array([self.columns.index(name) for name in names], dtype=np.int64)

    def select(self, names: Sequence[str]) -> Floats:
        """Return (N, L, len(names)): the values of some columns; the others are not gathered."""
        return self._gather(self.rows[:, self.positions(names)])

    def with_rows(self, rows: Floats, columns: tuple[str, ...], *, lookback: int) -> Windows:
        """Return the windows over another table of the same rows, shortened by the rows a transform ate.

        Parameters
        ----------
        rows
            (R, C') the new table.
        columns
            Its (C',) names.
        lookback
            Rows at the start of each window that are no longer valid.
        """
        self._need(lookback + 1)
        return replace(
            self, rows=rows, columns=columns, starts=self.starts + lookback, length=self.length - lookback
        )

    def future_times(self, horizon: int) -> Times:
        """Return (N, horizon) the timestamps that follow each window."""
        return future_times(self.last_times, horizon, self.frequency)


def future_times(last: Times, horizon: int, frequency: str) -> Times:
    """Return (N, horizon) timestamps that follow `last` (N,) at the given frequency."""
    tick = _tick(frequency)
    if tick is not None:
        steps: Times = last[:, None] + np.arange(1, horizon + 1) * tick
        return steps
    rows = [pd.date_range(time, periods=horizon + 1, freq=frequency)[1:].to_numpy() for time in last]
    return np.array(rows, dtype="datetime64[ns]").reshape(len(last), horizon)


@cache
def _tick(frequency: str) -> np.timedelta64 | None:
    """Return the step where it is always as long; a month is not."""
    offset = pd.tseries.frequencies.to_offset(frequency)
    return pd.Timedelta(offset).to_timedelta64() if isinstance(offset, pd.offsets.Tick) else None


def cut(table: Windows, *, length: int, stride: int = 1) -> Windows:
    """Cut every window of `length` rows out of each series, `stride` rows apart, the last one kept.

    Parameters
    ----------
    table
        Any windows; only its rows and segments count.
    length
        Rows in each new window.
    stride
        Rows between two windows of one series, counted back from the last.

    Raises
    ------
    InsufficientHistoryError
        No series has `length` rows.
    """
    starts = [
        np.arange(stop - length, start - 1, -stride, dtype=np.int64)[::-1]
        for start, stop in zip(table.segments[:-1], table.segments[1:], strict=True)
    ]
    joined = np.concatenate([np.empty(0, dtype=np.int64), *starts])
    if not len(joined):
        longest = int(np.diff(table.segments).max(initial=0))
        raise InsufficientHistoryError(
            f"no series is long enough: the longest has {longest} rows, {length} are needed",
            got=longest,
            expected=length,
        )
    return replace(table, starts=joined, length=length, ahead=None)
