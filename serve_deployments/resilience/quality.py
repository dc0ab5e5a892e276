"""Whether a forecast can be true: finite, physically possible, with an interval of a size that was seen before."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

import numpy as np
import numpy.typing as npt

from cluster.errors import ConfigError, PermanentError
from training.core.intervals import ConformalIntervals, bounds_of
from training.core.prediction import Prediction
from training.core.schema import Schema
from training.core.windows import Floats

WIDEST_RATIO = 10.0
"""Times the calibration's usual width. Widths follow how restless the history is: on the validation parts of the
four bundled samples (ridge, 24 steps ahead) the widest of all is 2.6 times the usual."""


class QualityError(PermanentError):
    """A model's answer cannot be true."""


KEPT_LIMITS = 256
"""Sets of limits, one for each number of steps and levels that is asked: a few kilobytes each."""


@dataclass(frozen=True, kw_only=True)
class _Limits:
    """What forecasts of one form must keep to.

    Parameters
    ----------
    usual
        (H, T) the usual width of the interval.
    lowest, highest
        (H, T) of a point forecast, finite.
    widest
        (T,) width of a series' interval, summed over its steps.
    """

    usual: Floats
    lowest: Floats
    highest: Floats
    widest: Floats

    def hold(self, point: Floats, values: Floats) -> bool:
        """Return whether all is well; what is not a number never is.

        For each answer, so by numpy's reductions themselves: their methods take twice as long on small arrays.
        """
        inside = (point >= self.lowest) & (point <= self.highest)
        narrow = np.add.reduce(values[..., -1] - values[..., 0], axis=1) <= self.widest
        every = np.logical_and.reduce
        return bool(every(inside, axis=None) and every(narrow, axis=None) and every(np.isfinite(values), axis=None))


@dataclass(frozen=True, kw_only=True)
class QualityPolicy:
    """Judges the forecasts of one model.

    Parameters
    ----------
    intervals
        The model's calibrated intervals; what they say of a window as restless as the calibration's is usual.
    low, high
        (T,) physical range of the targets, infinite where it is open.
    widest_ratio
        Mean width of a series' interval over the usual, above which it has exploded; above 1.
    """

    intervals: ConformalIntervals
    low: Floats
    high: Floats
    widest_ratio: float = WIDEST_RATIO
    _made: dict[tuple[int, tuple[float, ...]], _Limits] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        if not self.widest_ratio > 1:
            raise ConfigError(f"widest_ratio: got {self.widest_ratio}, expected a number above 1")

    @classmethod
    def of(cls, intervals: ConformalIntervals, schema: Schema, targets: tuple[str, ...]) -> Self:
        """Return the policy of a model's intervals and its schema."""
        low, high = bounds_of(schema, targets)
        return cls(intervals=intervals, low=low, high=high)

    def usual_width(self, steps: int, levels: tuple[float, ...]) -> Floats:
        """Return (H, T): the interval's width after a history as restless as the calibration's mean."""
        offsets = self.intervals.offsets(np.asarray(levels, dtype=np.float64))
        width: Floats = (offsets[..., -1] - offsets[..., 0])[:steps]
        return width

    def fault(self, prediction: Prediction) -> str:
        """Return what is wrong with a prediction, with series, got and expected; an empty text where nothing is."""
        point, values = prediction.point, prediction.values
        limits = self._limits(point.shape[1], prediction.levels)
        if limits.hold(point, values):
            return ""
        finite = np.isfinite(point).all(axis=(1, 2)) & np.isfinite(values).all(axis=(1, 2, 3))
        if not finite.all():
            return f"{self._series(prediction, ~finite)}: got a forecast that is not finite"
        return self._impossible(prediction, limits.usual) or self._exploded(prediction, limits.usual)

    def _limits(self, steps: int, levels: tuple[float, ...]) -> _Limits:
        """Return what forecasts of so many steps at these levels must keep to, made once."""
        found = self._made.get((steps, levels))
        if found is None:
            if len(self._made) >= KEPT_LIMITS:
                self._made.clear()
            found = self._made[steps, levels] = self._make_limits(self.usual_width(steps, levels))
        return found

    def _make_limits(self, usual: Floats) -> _Limits:
        most = np.finfo(np.float64).max  # beyond it lies what is not finite
        return _Limits(
            usual=usual,
            lowest=np.maximum(self.low - usual, -most),
            highest=np.minimum(self.high + usual, most),
            widest=self.widest_ratio * usual.sum(axis=0),
        )

    def _impossible(self, prediction: Prediction, usual: Floats) -> str:
        # By more than its usual error: a model of a number near 0 may well say -0.1, and means 0.
        beyond = np.maximum(self.low - prediction.point, prediction.point - self.high) > usual
        series = beyond.any(axis=(1, 2))
        if not series.any():
            return ""
        at = tuple(np.argwhere(beyond)[0])
        target = at[2]
        return (
            f"{self._series(prediction, series)}: got {prediction.point[at]:.6g} of {prediction.targets[target]}, "
            f"expected {self.low[target]:g} .. {self.high[target]:g}"
        )

    def _exploded(self, prediction: Prediction, usual: Floats) -> str:
        width = (prediction.values[..., -1] - prediction.values[..., 0]).mean(axis=1)
        mean = usual.mean(axis=0)
        ratio = np.where(mean > 0, width / np.where(mean > 0, mean, 1.0), 0.0)
        series = (ratio > self.widest_ratio).any(axis=1)
        if not series.any():
            return ""
        return (
            f"{self._series(prediction, series)}: got an interval {ratio.max():.3g} times as wide as usual, "
            f"expected at most {self.widest_ratio:g} times"
        )

    @staticmethod
    def _series(prediction: Prediction, bad: npt.NDArray[np.bool_] | np.bool_) -> str:
        return f"series '{prediction.ids[int(np.argmax(bad))]}'"
