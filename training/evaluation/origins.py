"""Where series stand at a moment: the windows before it, to learn from, and those around it, to test on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np

from training.core.windows import Floats, Ints, Windows


@dataclass(frozen=True, kw_only=True)
class Block:
    """Some series that travel together: what a task of a backtest works on.

    Parameters
    ----------
    table
        Their rows.
    targets
        T columns that are forecast.
    known
        K columns that are known over the horizon.
    """

    table: Windows
    targets: tuple[str, ...]
    known: tuple[str, ...]

    def digest(self) -> str:
        """Return a sha256 of values, times and names."""
        table = self.table
        names = (*table.series, "", *table.columns, "", *self.targets, "", *self.known, table.frequency)
        digest = hashlib.sha256("\0".join(names).encode())
        for array in (table.rows, table.times.astype(np.int64), table.segments):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


def only_series(table: Windows, chosen: Ints) -> Windows:
    """Return a table of its own of the series at the positions `chosen`."""
    sizes = np.diff(table.segments)[chosen]
    rows = spans(table.segments[chosen], sizes)
    return replace(
        table,
        rows=table.rows[rows],
        times=table.times[rows],
        segments=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        series=tuple(table.series[position] for position in chosen),
    )


def spans(firsts: Ints, sizes: Ints) -> Ints:
    """Return `firsts[0], firsts[0] + 1, ...`, `sizes[0]` of them, then those of `firsts[1]`, and so on."""
    sizes = np.maximum(sizes, 0)
    ends = np.cumsum(sizes)
    inside = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - sizes, sizes)
    out: Ints = np.repeat(firsts, sizes) + inside
    return out


def borders(table: Windows, moment: np.datetime64) -> Ints:
    """Return (S,): the row of the table at which each series' rows before `moment` end."""
    early = np.concatenate([[0], np.cumsum(table.times < moment)])
    ends: Ints = table.segments[:-1] + early[table.segments[1:]] - early[table.segments[:-1]]
    return ends


def windows_within(table: Windows, low: Ints, high: Ints, length: int) -> Windows:
    """Return every window of `length` rows whose rows lie in [low, high) of its series."""
    return replace(table, starts=spans(low, high - length - low + 1), length=length, ahead=None)


def windows_around(table: Windows, moment: np.datetime64, before: int, after: int) -> tuple[Ints, Windows]:
    """Return windows with `before` rows before `moment` and `after` from it on, and which series have one."""
    ends = borders(table, moment)
    first_after = np.append(table.times, np.datetime64("NaT"))[ends]
    room = (ends - before >= table.segments[:-1]) & (ends + after <= table.segments[1:])
    owners = np.flatnonzero(room & (first_after == moment))
    return owners, replace(table, starts=ends[owners] - before, length=before + after, ahead=None)


def naive_scale(table: Windows, targets: tuple[str, ...], season: int, before: np.datetime64) -> Floats:
    """Return (S, T): each series' mean absolute seasonal change before a time, the unit of MASE.

    Where it is zero or unknown (a constant or a short series) the change from row to row takes its place, then the
    mean absolute value, then 1: such a series' errors are still counted, in units that do not depend on any model.
    """
    values = table.rows[:, table.positions(targets)]
    early = table.times < before
    size = _mean_by_series(table, np.abs(values), early)
    scale = np.where(size > 0, size, 1.0)
    for lag in (1, season):
        change = np.full_like(values, np.nan)
        change[lag:] = np.abs(values[lag:] - values[:-lag])
        owner = np.repeat(np.arange(len(table.series)), np.diff(table.segments))
        within = early.copy()
        within[:lag] = False
        within[lag:] &= owner[lag:] == owner[:-lag]
        mean = _mean_by_series(table, change, within)
        scale = np.where(mean > 1e-12 * scale, mean, scale)
    return scale


def _mean_by_series(table: Windows, values: Floats, keep: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Floats:
    """Return (S, T) means of the kept rows; 0 where none is kept."""
    total = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(np.where(keep[:, None], values, 0), axis=0)])
    count = np.concatenate([[0], np.cumsum(keep)])
    sums = total[table.segments[1:]] - total[table.segments[:-1]]
    counts = count[table.segments[1:]] - count[table.segments[:-1]]
    out: Floats = sums / np.maximum(counts, 1)[:, None]
    return out
