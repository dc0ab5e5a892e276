"""Weights that are not negative and sum to one."""

from __future__ import annotations

from typing import Literal

import numpy as np

from training.core.windows import Floats

Loss = Literal["absolute", "squared"]

MOVES = 1000
"""The most exchanges of weight between two members in one quadratic problem; ten members need about a hundred."""
REWEIGHTINGS = 50
"""Quadratic problems solved for one of absolute errors; the objective is still to five digits after about ten."""
STILL = 1e-10
"""A gain of this share of the objective is none."""
ROUND_OFF = 1e-6
"""Errors below this share of the members' mean error count as this, so that no row's weight is infinite."""


def weights_on_simplex(members: Floats, actual: Floats, *, loss: Loss) -> Floats:
    """Return the (M,) weights that minimise the error of the members' weighted mean.

    Parameters
    ----------
    members
        (M, K) forecasts.
    actual
        (K,) the truth.
    loss
        `absolute` or `squared` errors.

    References
    ----------
    Platt (1998), Sequential Minimal Optimization, for exchanges between the two members that gain most;
    Schlossmacher (1973), An iterative technique for absolute deviations curve fitting, for the reweighting.
    """
    errors = members - actual  # the weights sum to one, so the mean's error is the errors' mean
    weights = np.full(len(errors), 1 / len(errors))
    floor = ROUND_OFF * float(np.abs(errors).mean())
    if len(errors) == 1 or not floor:
        return weights
    if loss == "squared":
        return _least(errors @ errors.T, weights)
    best, least = weights, np.inf
    for _ in range(REWEIGHTINGS):
        sizes = np.abs(weights @ errors)
        total = float(sizes.sum())
        if not total < least * (1 - STILL):
            break
        best, least = weights, total
        weights = _least((errors / np.maximum(sizes, floor)) @ errors.T, weights)
    return best


def _least(gram: Floats, weights: Floats) -> Floats:
    """Return the weights that minimise `w G w`, starting from `weights`."""
    weights = weights.copy()
    for _ in range(MOVES):
        slope = gram @ weights
        taker = int(slope.argmin())
        giver = int(np.where(weights > 0, slope, -np.inf).argmax())
        gain = slope[giver] - slope[taker]
        if gain <= STILL * abs(weights @ slope):
            break
        bend = gram[taker, taker] + gram[giver, giver] - 2 * gram[taker, giver]
        step = min(gain / bend, weights[giver]) if bend > 0 else weights[giver]
        weights[taker] += step
        weights[giver] = 0.0 if step == weights[giver] else weights[giver] - step
    settled: Floats = weights / weights.sum()
    return settled
