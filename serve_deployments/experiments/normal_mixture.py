"""Intervals that hold at every look for what is asymptotically normal: means, ratios, adjusted means, differences.

A normal mixture over the size of the effect gives an e-process for a Gaussian random walk. For other numbers it
holds in the limit of many observations: **asymptotic**, stated so wherever used. Looks before some hundred of an
arm are not covered; experiments do not look before their minimum size.

References
----------
Robbins, H. (1970). Statistical methods related to the law of the iterated logarithm. Ann. Math. Statist. 41.
Waudby-Smith, I., Arbour, D., Sinha, R., Kennedy, E. and Ramdas, A. (2024). Time-uniform central limit theory and
asymptotic confidence sequences. Annals of Statistics 52.
Johari, R., Koomen, P., Pekelis, L. and Walsh, D. (2022). Always valid inference. Operations Research 70.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from serve_deployments.experiments.estimates import Estimate

Floats = NDArray[np.float64]


def log_evidence(estimate: Estimate, *, null: float = 0.0, scale: float) -> Floats:
    """Return the logarithm of the evidence that the true value is not `null`.

    Parameters
    ----------
    estimate
        As of now, (*rows,).
    null
        The value questioned.
    scale
        Size of effects that evidence grows fastest for, in the estimate's unit.
    """
    v = estimate.variance
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        shrunk = v / (v + scale**2)
        found = 0.5 * np.log(shrunk) + (estimate.value - null) ** 2 * (1.0 - shrunk) / (2.0 * v)
    # Without spread and without difference there is nothing to tell apart; a difference without spread is certain.
    certain = np.where(estimate.value == null, 0.0, np.inf)
    return np.asarray(np.where(np.isinf(v), 0.0, np.where(v == 0.0, certain, found)))


def interval(estimate: Estimate, *, alpha: ArrayLike, scale: float) -> tuple[Floats, Floats]:
    """Return the values whose evidence stays below 1 / alpha; they hold at all looks together (asymptotically).

    Parameters
    ----------
    estimate, scale
        See `log_evidence`.
    alpha
        Chance that an interval ever misses.
    """
    v = estimate.variance
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        inside = (v + scale**2) / scale**2 * v * (np.log((v + scale**2) / v) - 2.0 * np.log(alpha))
    half = np.where(np.isinf(v), np.inf, np.where(v == 0.0, 0.0, np.sqrt(inside)))
    return estimate.value - half, estimate.value + half
