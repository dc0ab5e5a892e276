"""How far a forecast was from the truth. Statistic first, then aggregation; all over arrays of one shape.

A figure that the data do not define, such as a relative error where every true value is zero, is NaN.
"""

from __future__ import annotations

import numpy as np

from training.core.windows import Floats


def wape(actual: Floats, predicted: Floats) -> float:
    """Weighted absolute percentage error: sum of absolute errors over sum of absolute values."""
    return _ratio(np.abs(predicted - actual).sum(), np.abs(actual).sum())


def mae(actual: Floats, predicted: Floats) -> float:
    """Mean absolute error, in the target's unit."""
    return float(np.abs(predicted - actual).mean())


def rmse(actual: Floats, predicted: Floats) -> float:
    """Root of the mean squared error, in the target's unit."""
    return float(np.sqrt(np.square(predicted - actual).mean()))


def mase(actual: Floats, predicted: Floats, naive_mae: float) -> float:
    """Mean absolute scaled error: MAE over the MAE of the seasonal naive forecast inside the training part.

    References
    ----------
    Hyndman and Koehler (2006), Another look at measures of forecast accuracy.
    """
    return _ratio(mae(actual, predicted), naive_mae)


def r2(actual: Floats, predicted: Floats) -> float:
    """Share of the variance that is explained; 0 for a constant at the mean, negative when worse."""
    return 1 - _ratio(np.square(predicted - actual).sum(), np.square(actual - actual.mean()).sum())


def bias(actual: Floats, predicted: Floats) -> float:
    """Mean of predicted minus actual, in the target's unit: positive is too high."""
    return float((predicted - actual).mean())


def directional_accuracy(actual: Floats, predicted: Floats, last: Floats) -> float:
    """Share of steps where the forecast moves away from the last known value to the side the truth did.

    Parameters
    ----------
    actual, predicted
        (N, H, T).
    last
        (N, T) last known values. Steps where the truth did not move are left out.
    """
    truth = np.sign(actual - last[:, None])
    moved = truth != 0
    return _ratio((truth == np.sign(predicted - last[:, None]))[moved].sum(), moved.sum())


def coverage(actual: Floats, low: Floats, high: Floats) -> float:
    """Share of the truth inside [low, high]."""
    return float(((actual >= low) & (actual <= high)).mean())


def width(low: Floats, high: Floats) -> float:
    """Mean width of the interval, in the target's unit."""
    return float((high - low).mean())


def pinball(actual: Floats, quantiles: Floats, levels: Floats) -> float:
    """Mean quantile loss.

    Parameters
    ----------
    actual
        (...,).
    quantiles
        (..., Q).
    levels
        (Q,).
    """
    error = actual[..., None] - quantiles
    return float(np.maximum(levels * error, (levels - 1) * error).mean())


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else float("nan")
