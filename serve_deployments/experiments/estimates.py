"""A mean, a ratio or a covariate-adjusted mean as an estimate with a variance, from moments alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serve_deployments.experiments.moments import Moments

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A number of one arm, or a difference of two.

    Parameters
    ----------
    value
        The estimate, (*rows,).
    variance
        Of the estimate, not of one observation; infinite where too little was seen.
    """

    value: Floats
    variance: Floats

    def __sub__(self, other: Estimate) -> Estimate:
        return Estimate(value=self.value - other.value, variance=self.variance + other.variance)


def mean(moments: Moments) -> Estimate:
    """Return the mean of the first number."""
    return _scaled(moments, moments.mean[..., 0], moments.covariance[..., 0, 0])


def ratio(moments: Moments) -> Estimate:
    """Return mean of the first number over mean of the second, its variance by the delta method.

    For metrics whose unit of analysis is not the unit of assignment, such as errors a request, assigned by user.

    References
    ----------
    Deng, A., Knoblich, U. and Lu, J. (2018). Applying the delta method in metric analytics. KDD.
    """
    top, bottom = moments.mean[..., 0], moments.mean[..., 1]
    c = moments.covariance
    with np.errstate(divide="ignore", invalid="ignore"):
        value = top / bottom
        spread = (c[..., 0, 0] - 2.0 * value * c[..., 0, 1] + value**2 * c[..., 1, 1]) / bottom**2
    known = (moments.count >= 2) & (bottom != 0.0)
    return _scaled(moments, np.where(known, value, 0.0), np.where(known, spread, np.inf))


def adjusted(arm: Moments, pooled: Moments) -> Estimate:
    """Return the mean of the first number, freed from what a covariate of before the experiment explains (CUPED).

    Parameters
    ----------
    arm
        Of (outcome, covariate).
    pooled
        Of all arms together: gives the slope and the covariate's mean, the same for each arm, so that differences
        between arms stay unbiased.

    References
    ----------
    Deng, A., Xu, Y., Kohavi, R. and Walker, T. (2013). Improving the sensitivity of online controlled experiments
    by utilizing pre-experiment data. WSDM.
    """
    among = pooled.covariance
    plain = (pooled.count >= 2) & (among[..., 1, 1] > 0.0)
    slope = np.where(plain, among[..., 0, 1], 0.0) / np.where(plain, among[..., 1, 1], 1.0)
    value = arm.mean[..., 0] - slope * (arm.mean[..., 1] - pooled.mean[..., 1])
    c = arm.covariance
    with np.errstate(invalid="ignore"):
        spread = c[..., 0, 0] - 2.0 * slope * c[..., 0, 1] + slope**2 * c[..., 1, 1]
    return _scaled(arm, value, np.where(arm.count >= 2, spread, np.inf))


def _scaled(moments: Moments, value: Floats, spread: Floats) -> Estimate:
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = np.where(moments.count >= 2, np.maximum(spread, 0.0) / moments.count, np.inf)
    return Estimate(value=np.asarray(value), variance=variance)
