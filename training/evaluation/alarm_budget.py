"""How many alarms a user accepts, and what counts as one: runs of exceedances, not points."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.core.parameters import real
from training.core.windows import Floats, Ints

MONTH_S = 30.4375 * 86_400.0
"""A twelfth of a mean year."""
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Budget:
    """False alarms that one series may raise in a month.

    Parameters
    ----------
    step_s
        Seconds between two rows.
    alarms_per_series_per_month
        Events, not points: a run of strange rows is one alarm however long it is.
    gap_s
        Strange rows no further apart than this belong to one event; at least one row.
    most_points
        Share of rows that may be strange, 0 .. 1. Without it a level could sink into the daily course of a series
        whose days are one event each; where it says less than the alarms a month, it holds.
    """

    step_s: float
    alarms_per_series_per_month: float = 1.0
    gap_s: float = 3600.0
    most_points: float = 0.01

    def __post_init__(self) -> None:
        real("step_s", self.step_s, low=0, above=True)
        real("alarms_per_series_per_month", self.alarms_per_series_per_month, low=0, above=True)
        real("gap_s", self.gap_s, low=0)
        real("most_points", self.most_points, low=0, high=1, above=True)

    @property
    def rows_per_month(self) -> float:
        """Rows of a series in a month."""
        return MONTH_S / self.step_s

    @property
    def rate(self) -> float:
        """Events a row that the budget allows."""
        return self.alarms_per_series_per_month / self.rows_per_month

    @property
    def gap(self) -> int:
        """Rows that two exceedances of one event may lie apart, 1 or more."""
        return max(1, round(self.gap_s / self.step_s))


def runs(strange: Flags, gap: int) -> Ints:
    """Return (E, 2) half-open [start, stop) of the events in `strange` (N,).

    Two strange rows at most `gap` rows apart belong to one event, quiet rows between them included; with a gap of 1
    events are runs of neighbours.
    """
    rows = np.flatnonzero(strange)
    if not len(rows):
        return np.empty((0, 2), dtype=np.int64)
    breaks = np.flatnonzero(np.diff(rows) > gap)
    starts = rows[np.concatenate([[0], breaks + 1])]
    stops = rows[np.concatenate([breaks, [len(rows) - 1]])] + 1
    return np.stack([starts, stops], axis=1).astype(np.int64)


def peaks(scores: Floats, level: float, gap: int) -> tuple[Ints, Floats]:
    """Return (E,) rows and (E,) scores of the highest point of each event above `level`."""
    found = runs(scores > level, gap)
    rows = np.array([start + int(np.argmax(scores[start:stop])) for start, stop in found], dtype=np.int64)
    return rows, scores[rows]


def extremal_index(scores: Floats, level: float, gap: int) -> float:
    """Return events over exceedances at `level`, in (0, 1]: 1 where strange rows come alone, or never come.

    References
    ----------
    Smith and Weissman (1994), Estimating the extremal index: the runs estimator.
    """
    strange = scores > level
    count = int(strange.sum())
    return len(runs(strange, gap)) / count if count else 1.0


def event_curve(scores: Floats, gap: int) -> tuple[Floats, Ints]:
    """Return (M,) falling distinct scores and (M,) events that reach each of them: scores >= that value.

    Rows are put in from the highest down; a row founds an event, lengthens one, or joins two. One pass in
    O(N log N), in place of a count at each level.
    """
    order = np.argsort(-scores, kind="stable")
    places: list[int] = []
    counts = np.empty(len(order), dtype=np.int64)
    events = 0
    for step, row in enumerate(order.tolist()):
        at = bisect_left(places, row)
        left = row - places[at - 1] if at else gap + 1
        right = places[at] - row if at < len(places) else gap + 1
        if left > gap and right > gap:
            events += 1
        elif left <= gap and right <= gap and left + right > gap:
            events -= 1
        places.insert(at, row)
        counts[step] = events
    values = scores[order]
    last = np.flatnonzero(np.concatenate([values[1:] != values[:-1], [True]]))
    return values[last], counts[last]
