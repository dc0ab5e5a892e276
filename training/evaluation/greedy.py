"""Weights by greedy selection with replacement: whole shares, few members, nothing to tune."""

from __future__ import annotations

import numpy as np

from training.core.windows import Floats

ROUNDS = 20
"""Picks in all: weights are multiples of a twentieth at the finest."""
LEAST_SHARE = 0.1
"""A member with a smaller share moves the forecast by less than it costs to fit, store and serve it."""
GAIN = 1e-6
"""Share of the loss below which a difference is none."""


def greedy_weights(errors: Floats, *, rounds: int = ROUNDS, least_share: float = LEAST_SHARE) -> Floats:
    """Return (M,) weights that make the mean absolute error of the members' weighted mean small.

    One member at a time is added to the bag, the one after which the bag's mean errs least; a member may be picked
    again. The best of the bags is taken, the smallest of them where they tie; ties between members go to the
    earlier, so the simplest should come first.

    Parameters
    ----------
    errors
        (M, P) forecasts minus truth, in units that make all points count alike.
    rounds
        The most picks.
    least_share
        Members that end below this share are dropped, and the others picked anew.

    References
    ----------
    Caruana, Niculescu-Mizil, Crew and Ksikes (2004), Ensemble selection from libraries of models. Ours has
    no bagging over random libraries: with a handful of families the libraries would all be the same.
    """
    kept = np.arange(len(errors))
    while True:
        shares = _bag(errors[kept], rounds)
        worth = shares >= min(least_share, shares.max())
        if worth.all():
            break
        kept = kept[worth]
    weights = np.zeros(len(errors))
    weights[kept] = shares
    return weights


def _bag(errors: Floats, rounds: int) -> Floats:
    """Return the shares of the best bag."""
    counts, total = np.zeros(len(errors)), np.zeros(errors.shape[1])
    best, least = counts, np.inf
    for picked in range(1, rounds + 1):
        losses = np.array([np.abs(total + one).mean() for one in errors]) / picked
        choice = int(np.argmax(losses <= losses.min() * (1 + GAIN)))
        counts = counts + np.eye(len(errors))[choice]
        total = total + errors[choice]
        if losses[choice] < least * (1 - GAIN):
            best, least = counts, float(losses[choice])
    shares: Floats = best / best.sum()
    return shares
