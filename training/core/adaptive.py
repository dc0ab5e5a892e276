"""Conformal intervals that follow their own errors, row by row."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Self

import numpy as np
import pandas as pd

from training.core.component import State
from training.core.intervals import ConformalIntervals
from training.core.panel import Panel
from training.core.validation import ID, TIME
from training.core.windows import Floats, Ints, Windows

TRACKED = (0.005, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975, 0.995)
"""Levels whose quantiles are moved; others move with their neighbours."""
RATE = 0.05
"""Most that one error moves a one-step quantile, in widths of the calibrated 95 % interval; step h gets RATE /
sqrt(h), since h more errors of one kind may be on their way before the first answer arrives. Chosen on validation
parts, see LEAST_SCALE: the interval score was that of static intervals, and coverage on average .4 points off
instead of 3.4; twice the rate cost 5 % of the score, .02 at every step 4 %."""
_LEVELS = np.array(TRACKED)
_WIDE = (TRACKED.index(0.025), TRACKED.index(0.975))


class AdaptiveIntervals:
    """The intervals of one series, whose quantiles move against their misses.

    Each tracked quantile of each step and target rises by `gain x level` after a truth above it and falls by
    `gain x (1 - level)` after one below, the gain being a share of the calibrated 95 % interval's width: whatever
    the errors do, over R rows the share of truths below a one-step quantile comes within (reach / gain + 1) / R of
    its level, the reach being how far the errors go. A step-h error is compared with the quantile that was issued
    h rows ago, and only once it is known. The tracked quantiles are then a monotone map of the calibrated ones, so
    levels stay free and never cross. Memory is constant: H x H x T quantiles that wait for their truth.

    Parameters
    ----------
    base
        Calibrated: where it starts, and the unit of its moves.
    rate
        See RATE; 0 never moves.

    References
    ----------
    Gibbs and Candes (2021), Adaptive conformal inference under distribution shift; Angelopoulos, Candes and
    Tibshirani (2023), Conformal PID control for time series, for tracking the quantile itself. Ours tracks many
    levels at once, feeds back the quantile that was issued for a step h rows ago, and slows down with h.
    """

    def __init__(self, base: ConformalIntervals, *, rate: float = RATE) -> None:
        self.base = base
        horizon = base.errors.shape[1]
        self._tracked = base.offsets(_LEVELS).copy()
        self._issued = np.repeat(self._tracked[None], horizon, axis=0)
        self._row = 0
        width = self._tracked[..., _WIDE[1]] - self._tracked[..., _WIDE[0]]
        self._reach: Floats = np.abs(base.errors).max(axis=0)
        self._width = width
        self._rates = rate / np.sqrt(np.arange(1, horizon + 1))[:, None]

    @property
    def tracked(self) -> Floats:
        """(H, T, G) quantiles of scaled errors at the levels TRACKED, as issued now."""
        return np.sort(self._tracked, axis=-1)

    def learn(self, errors: Floats) -> None:
        """Go on by one row.

        Parameters
        ----------
        errors
            (H, T): of the new row, in units of the scale; element h of the forecast that was made h + 1 rows
            before it. NaN where there was none, or the truth is not known.
        """
        horizon = len(errors)
        steps = np.arange(horizon)
        issued = self._issued[(self._row - steps) % horizon, steps]
        known = np.isfinite(errors)
        self._reach = np.where(known, np.maximum(self._reach, np.abs(errors)), self._reach)
        gain = self._rates * np.where(self._width > 0, self._width, self._reach)
        moves = gain[..., None] * (_LEVELS - (errors[..., None] <= issued))
        self._tracked += np.where(known[..., None], moves, 0.0)
        self._row += 1
        self._issued[self._row % horizon] = self._tracked

    def offsets(self, levels: Floats) -> Floats:
        """Return (H, T, Q): quantiles of scaled errors at increasing `levels` (Q,)."""
        return moved(self.base, self.tracked, levels)

    def adapted(self) -> ConformalIntervals:
        """Return the calibrated errors as they would lie now."""
        count = len(self.base.errors)
        errors = np.moveaxis(self.offsets(np.arange(1, count + 1) / (count + 1)), -1, 0)
        return ConformalIntervals(errors, self.base.calm, self.base.low, self.base.high)

    def state(self) -> State:
        """Return what `restore` reads."""
        return {"tracked": self._tracked, "issued": self._issued, "row": self._row, "reach": self._reach}

    def restore(self, state: State) -> Self:
        """Take back what `state` gave."""
        self._tracked, self._issued = (np.array(state[name]) for name in ("tracked", "issued"))
        self._row, self._reach = int(state["row"]), np.array(state["reach"])
        return self


def moved(base: ConformalIntervals, tracked: Floats, levels: Floats) -> Floats:
    """Return (..., H, T, Q): the calibrated quantiles at `levels`, moved as the tracked ones were.

    Parameters
    ----------
    base
        Calibrated.
    tracked
        (..., H, T, G) quantiles at TRACKED, non-decreasing.
    levels
        (Q,) increasing.
    """
    knots, asked = base.offsets(_LEVELS), base.offsets(levels)
    left = np.clip(np.searchsorted(_LEVELS, levels, side="right") - 1, 0, len(_LEVELS) - 2)
    gap = knots[..., left + 1] - knots[..., left]
    by_level = (levels - _LEVELS[left]) / (_LEVELS[left + 1] - _LEVELS[left])
    share = np.where(gap > 0, (asked - knots[..., left]) / np.where(gap > 0, gap, 1.0), by_level)
    share = np.clip(share, 0.0, 1.0)
    inside = tracked[..., left] + share * (tracked[..., left + 1] - tracked[..., left])
    beyond = np.minimum(asked - knots[..., :1], 0.0) + np.maximum(asked - knots[..., -1:], 0.0)
    out: Floats = np.maximum.accumulate(inside + beyond, axis=-1)  # rounding, too, may not cross them
    return out


def follow(adaptive: AdaptiveIntervals, rows: Ints, errors: Floats, *, after: int | None = None) -> Floats:
    """Let intervals follow N forecasts in the order of their origins.

    Parameters
    ----------
    adaptive
        Learns; its last row is the first origin, or `after`.
    rows
        (N,) increasing places of the origins among the series' rows.
    errors
        (N, H, T) in units of the scale, NaN where unknown.
    after
        Rows up to this one have been learned before.

    Returns
    -------
    (N, H, T, G) the tracked quantiles as issued at each origin: errors up to its own row are known.
    """
    begin, horizon = int(rows[0]), errors.shape[1]
    place = np.full(int(rows[-1]) - begin + 1 + horizon, -1)
    place[rows - begin + horizon] = np.arange(len(rows))
    steps = np.arange(horizon)
    out = np.empty((*errors.shape, len(TRACKED)))
    for row in range(horizon, len(place)):
        if row > horizon and (after is None or row - horizon + begin > after):
            made = place[row - 1 - steps]
            adaptive.learn(np.where((made >= 0)[:, None], errors[made, steps], np.nan))
        if place[row] >= 0:
            out[place[row]] = adaptive.tracked
    return out


def by_series(context: Windows) -> Iterator[tuple[str, Ints, Ints]]:
    """Yield (id, places among the windows, rows of their origins) of each series, in order of time."""
    owners = np.searchsorted(context.segments, context.starts, side="right") - 1
    last = context.starts + context.length - 1
    for owner in np.unique(owners):
        places = np.flatnonzero(owners == owner)
        places = places[np.argsort(last[places], kind="stable")]
        yield context.series[owner], places, last[places]


class SeriesIntervals:
    """The intervals of a model's series: the calibrated ones, or a series' own once it has been observed.

    Parameters
    ----------
    base
        Calibrated.
    """

    def __init__(self, base: ConformalIntervals) -> None:
        self.base = base
        self._series: dict[str, tuple[AdaptiveIntervals, np.datetime64]] = {}

    def observe(self, context: Windows, errors: Floats, restless: Floats) -> None:
        """Learn from N forecasts; rows that were learned are passed over.

        Parameters
        ----------
        context
            N windows that they were made from.
        errors
            (N, H, T) actual - predicted, NaN where the truth is not known.
        restless
            (N, T) of the windows.
        """
        scaled = errors / self.base.scale(restless)
        for name, places, rows in by_series(context):
            adaptive, seen = self._series.get(name, (AdaptiveIntervals(self.base), None))
            times = context.times[rows[0] : rows[-1] + 1]
            after = None if seen is None else int(rows[0]) + int(np.searchsorted(times, seen, side="right")) - 1
            follow(adaptive, rows, scaled[places], after=after)
            newest = times[-1] if seen is None else max(seen, times[-1])
            self._series[name] = (adaptive, newest)

    def quantiles(
        self, ids: tuple[str, ...], point: Floats, levels: Floats, restless: Floats
    ) -> tuple[Floats, Floats]:
        """Return quantiles (N, H, T, Q) and confidence (N, H, T) of N forecasts, each by its series' intervals."""
        values = self.base.quantiles(point, levels, restless)
        confidence = self.base.confidence(point, restless)
        for n in (n for n, name in enumerate(ids) if name in self._series):
            adaptive, one = self._series[ids[n]][0], slice(n, n + 1)
            values[one] = self.base.around(point[one], adaptive.offsets(levels), restless[one])
            confidence[one] = adaptive.adapted().confidence(point[one], restless[one])
        return values, confidence

    def state(self) -> State:
        """Return what `of_state` reads."""
        observed = [
            {"id": name, "seen_ns": int(seen.astype("datetime64[ns]").astype(np.int64)), **adaptive.state()}
            for name, (adaptive, seen) in self._series.items()
        ]
        return {"base": self.base.state(), "observed": observed}

    @classmethod
    def of_state(cls, state: State) -> Self:
        """Rebuild what `state` gave."""
        self = cls(ConformalIntervals.of_state(state["base"]))
        for each in state["observed"]:
            seen = np.datetime64(each["seen_ns"], "ns")
            self._series[each["id"]] = (AdaptiveIntervals(self.base).restore(each), seen)
        return self


def unknown_ahead(history: Panel, horizon: int, future: pd.DataFrame | None = None) -> Panel:
    """Return the panel with `horizon` rows after each series whose values are NaN but for what `future` knows.

    Its windows of `context + horizon` rows reach up to the newest row of history: what `Forecaster.observe` takes.

    Parameters
    ----------
    history
        One or more series.
    horizon
        Rows to add to each.
    future
        `series_id`, `timestamp` and the columns that are known ahead.
    """
    last = history.last(1)
    times = last.future_times(horizon)
    rows = pd.DataFrame({ID: np.repeat(last.ids, horizon), TIME: times.reshape(-1)})
    rows[ID] = rows[ID].astype(history.frame[ID].dtype)
    if future is not None:
        rows = rows.merge(future, on=[ID, TIME], how="left", validate="one_to_one")
    whole = pd.concat([history.frame.assign(_order=0), rows.assign(_order=1)], ignore_index=True)
    order = {name: place for place, name in enumerate(history.series)}
    whole["_series"] = whole[ID].astype(str).map(order)
    frame = whole.sort_values(["_series", "_order"], kind="stable", ignore_index=True)
    return Panel(frame[history.frame.columns], history.schema)
