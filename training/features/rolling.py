"""Statistics of the last rows as columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from cluster.errors import ConfigError, UnknownNameError
from training.core.windows import Floats
from training.features.added import Block, PerColumn, whole_steps

STATISTICS = ("mean", "std", "min", "max")

Parts = tuple[Floats, ...]
"""What a statistic keeps of a run of rows, each (S, T', K)."""
Merge = Callable[[Parts, Parts, int, int], Parts]
"""(earlier run, later run, rows in the earlier, rows in the later) -> the run of both."""


class Rolling(PerColumn):
    """Adds statistics of the last w rows, this one included: `NOX_rolling_mean_14`.

    Windows are put together from halves: a statistic over 2k rows is merged from two over k rows, so w rows cost
    about 2 log2(w) passes over the table and the shorter windows are steps on the way to the longer. Each
    value is a fixed tree over its own w rows: the same bits in a year of history as in the last w rows, and no
    error carried along as running sums do.

    Parameters
    ----------
    windows
        Lengths w in rows; 2 or more where `std` is asked for.
    statistics
        Of `mean`, `std` (sample, divided by w - 1), `min`, `max`.
    columns
        K columns; None takes all that `fit` sees.

    References
    ----------
    Chan, Golub, LeVeque (1983), Algorithms for computing the sample variance, The American Statistician 37.
    """

    name = "rolling"

    def __init__(
        self,
        *,
        windows: Sequence[int] = (7, 14, 30),
        statistics: Sequence[str] = STATISTICS,
        columns: Sequence[str] | None = None,
    ) -> None:
        super().__init__(columns=columns)
        self.statistics = _known_statistics(statistics)
        self.windows = whole_steps("windows", windows, least=2 if "std" in self.statistics else 1)

    @property
    def lookback(self) -> int:
        """The longest window without its own row."""
        return max(self.windows) - 1

    def added(self) -> tuple[str, ...]:
        """Return a name for each statistic of each window of each column."""
        return tuple(
            f"{name}_rolling_{statistic}_{window}"
            for window in self.windows
            for statistic in self.statistics
            for name in self.described
        )

    def compute_added(self, block: Block) -> Floats:
        """Return (S, T, windows x statistics x K); NaN where the series is shorter than the window."""
        picked = block.pick(self.described)
        series, rows, count = picked.shape
        added = np.full((series, rows, len(self.windows), len(self.statistics), count), np.nan)
        found = sliding_statistics(picked, self.windows, self.statistics)
        for i, window in enumerate(self.windows):
            for j, statistic in enumerate(self.statistics):
                added[:, window - 1 :, i, j] = found[statistic, window]
        return added.reshape(series, rows, -1)


def sliding_statistics(
    values: Floats, windows: Sequence[int], statistics: Sequence[str] = STATISTICS
) -> dict[tuple[str, int], Floats]:
    """Return (statistic, w) -> (S, T - w + 1, K): entry t is over the rows t .. t + w - 1 of values (S, T, K)."""
    found: dict[tuple[str, int], Floats] = {}
    if {"mean", "std"} & set(statistics):
        moments = _slide((values, np.zeros_like(values)), windows, _merge_moments)
        for window, (mean, squares) in moments.items():
            found["mean", window] = mean
            found["std", window] = np.sqrt(squares / max(window - 1, 1))
    for statistic, merge in (("min", _merge_lowest), ("max", _merge_highest)):
        if statistic in statistics:
            slid = _slide((values,), windows, merge)
            found |= {(statistic, window): parts[0] for window, parts in slid.items()}
    return found


def _merge_moments(left: Parts, right: Parts, n_left: int, n_right: int) -> Parts:
    """Merge mean and sum of squared distances from it: no large squares are subtracted."""
    gap = right[0] - left[0]
    share = n_right / (n_left + n_right)
    return left[0] + gap * share, left[1] + right[1] + gap * gap * (n_left * share)


def _merge_lowest(left: Parts, right: Parts, _n_left: int, _n_right: int) -> Parts:
    return (np.minimum(left[0], right[0]),)


def _merge_highest(left: Parts, right: Parts, _n_left: int, _n_right: int) -> Parts:
    return (np.maximum(left[0], right[0]),)


def _slide(single: Parts, windows: Sequence[int], merge: Merge) -> dict[int, Parts]:
    """Return w -> the parts over each w consecutive rows, put together from the powers of two in w."""
    powers = {1: single}
    while (size := max(powers)) * 2 <= max(windows):
        powers[2 * size] = _join(powers[size], powers[size], size, size, merge)
    return {window: _compose(powers, window, merge) for window in windows}


def _compose(powers: dict[int, Parts], window: int, merge: Merge) -> Parts:
    sizes = [size for size in sorted(powers, reverse=True) if window & size]
    done, parts = sizes[0], powers[sizes[0]]
    for size in sizes[1:]:
        parts = _join(parts, powers[size], done, size, merge)
        done += size
    return parts


def _join(left: Parts, right: Parts, n_left: int, n_right: int, merge: Merge) -> Parts:
    """Merge each run of `n_left` rows with the run of `n_right` rows that follows it."""
    later = tuple(part[:, n_left:] for part in right)
    earlier = tuple(part[:, : later[0].shape[1]] for part in left)
    return merge(earlier, later, n_left, n_right)


def _known_statistics(statistics: Sequence[str]) -> tuple[str, ...]:
    for statistic in statistics:
        if statistic not in STATISTICS:
            raise UnknownNameError.of("statistic", statistic, STATISTICS)
    if not statistics or len(set(statistics)) < len(statistics):
        raise ConfigError(
            f"statistics: got {list(statistics)}, expected one or more of {', '.join(STATISTICS)}, each once",
            parameter="statistics",
        )
    return tuple(statistics)
