"""What Prophet learned of one series, as numbers: evaluated at any times without the library."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from training.core.component import State
from training.core.windows import Floats, Times

DAY = np.timedelta64(1, "D")
EPOCH = np.datetime64("1970-01-01", "ns")


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A piecewise linear trend, Fourier seasons and regressors.

    Parameters
    ----------
    start_day, span_days
        Where the trend's time is 0, in days since 1970, and the days until it is 1.
    offset, slope
        Of the trend at its start.
    turns, changes
        (S,) times at which the slope changes, and by how much.
    periods_days, orders
        (P,) of the seasons.
    waves
        Weights of the seasons' sines and cosines, season after season.
    means, scales, weights
        (K,) of the regressors.
    size
        Standard deviation of the values it was fitted to.
    fades
        Share of a difference from the curve that is left after a step.
    """

    start_day: float
    span_days: float
    offset: float
    slope: float
    turns: Floats
    changes: Floats
    periods_days: Floats
    orders: list[int]
    waves: Floats
    means: Floats
    scales: Floats
    weights: Floats
    size: float
    fades: float

    @classmethod
    def flat(cls, values: Floats, regressors: int) -> Self:
        """Return the curve of a series that stands still."""
        none = np.empty(0)
        zeros = np.zeros(regressors)
        return cls(
            start_day=0.0,
            span_days=1.0,
            offset=float(values[0]),
            slope=0.0,
            turns=none,
            changes=none,
            periods_days=none,
            orders=[],
            waves=none,
            means=zeros,
            scales=np.ones(regressors),
            weights=zeros,
            size=0.0,
            fades=0.0,
        )

    @classmethod
    def of(cls, model: Any, times: Times, values: Floats, extra: Floats) -> Self:
        """Read a fitted Prophet; its regressors are named by their places in `extra` (R, K)."""
        unit, beta = float(model.y_scale), np.asarray(model.params["beta"][0], dtype=np.float64)
        orders = [int(each["fourier_order"]) for each in model.seasonalities.values()]
        used = 2 * sum(orders)
        means, scales, weights = np.zeros(extra.shape[1]), np.ones(extra.shape[1]), np.zeros(extra.shape[1])
        for place, (name, each) in enumerate(model.extra_regressors.items()):
            at = int(name)
            means[at], scales[at], weights[at] = each["mu"], each["std"], beta[used + place] * unit
        curve = cls(
            start_day=float(_days(np.array(model.start, dtype="datetime64[ns]"))),
            span_days=float(model.t_scale / DAY),
            offset=float(model.params["m"][0, 0]) * unit,
            slope=float(model.params["k"][0, 0]) * unit,
            turns=np.asarray(model.changepoints_t, dtype=np.float64),
            changes=np.asarray(model.params["delta"][0], dtype=np.float64) * unit,
            periods_days=np.array([float(each["period"]) for each in model.seasonalities.values()]),
            orders=orders,
            waves=beta[:used] * unit,
            means=means,
            scales=scales,
            weights=weights,
            size=float(values.std()),
            fades=0.0,
        )
        return cls(**{**vars(curve), "fades": _fades(values - curve.at(times, extra))})

    def at(self, times: Times, extra: Floats) -> Floats:
        """Return the curve at `times` (...) with regressors (..., K)."""
        days = _days(times)
        since = (days - self.start_day) / self.span_days
        trend = self.offset + self.slope * since
        for turn, change in zip(self.turns, self.changes, strict=True):
            trend = trend + change * np.maximum(since - turn, 0.0)
        moved = ((extra - self.means) / self.scales) @ self.weights
        out: Floats = trend + self._seasons(days) + moved
        return out

    def _seasons(self, days: Floats) -> Floats:
        total, place = np.zeros(days.shape), 0
        for period, order in zip(self.periods_days, self.orders, strict=True):
            for wave in range(1, order + 1):
                angle = 2 * np.pi * wave / period * days
                total += self.waves[place] * np.sin(angle) + self.waves[place + 1] * np.cos(angle)
                place += 2
        return total

    def state(self) -> State:
        """Return the constructor's arguments."""
        return asdict(self)


def _days(times: Times) -> Floats:
    return np.asarray((times - EPOCH) / DAY, dtype=np.float64)


def _fades(off: Floats) -> float:
    """Return the correlation of a difference with the next one, 0 where there is none."""
    power = float(off @ off)
    return float(np.clip(off[1:] @ off[:-1] / power, 0.0, 0.999)) if power > 0 else 0.0
