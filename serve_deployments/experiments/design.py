"""How many units an experiment needs, and what it could find with those it will get."""

from __future__ import annotations

from math import ceil, log, sqrt
from statistics import NormalDist

from cluster.errors import ConfigError

LEAST = 200
"""Units an arm needs at any rate, so that means are nearly normal."""


def fixed_size(*, variance: float, effect: float, alpha: float = 0.05, power: float = 0.8) -> int:
    """Return the units an arm needs for a two-sided test at one look, two arms of equal size.

    Parameters
    ----------
    variance
        Of one observation; p (1 - p) for a proportion, less what a covariate explains under CUPED.
    effect
        Smallest difference worth finding, in the metric's unit.
    alpha, power
        Chance to see a difference where there is none; chance to see the effect where it is there.
    """
    _check(variance, effect, alpha, power)
    normal = NormalDist()
    z = normal.inv_cdf(1.0 - alpha / 2.0) + normal.inv_cdf(power)
    return max(LEAST, ceil(2.0 * variance * (z / effect) ** 2))


def fixed_power(*, variance: float, effect: float, size: int, alpha: float = 0.05) -> float:
    """Return the chance to see the effect with so many units an arm, at one look."""
    _check(variance, effect, alpha, 0.5)
    normal = NormalDist()
    shift = effect / sqrt(2.0 * variance / size)
    z = normal.inv_cdf(1.0 - alpha / 2.0)
    return normal.cdf(shift - z) + normal.cdf(-shift - z)


def sequential_size(*, variance: float, effect: float, alpha: float = 0.05, power: float = 0.8) -> int:
    """Return the units an arm needs at most where one looks all the time (normal mixture tuned to the effect).

    It is larger than `fixed_size`, the price of looking; on the way most experiments end far earlier.
    """
    _check(variance, effect, alpha, power)
    need = NormalDist().inv_cdf(power)
    size = float(LEAST)
    # The effect must lie beyond the interval's half width by `need` standard errors: double, then bisect.
    while not _seen(size, variance, effect, alpha, need):
        size *= 2.0
    low = size / 2.0
    while size - low > 1.0:
        middle = (low + size) / 2.0
        low, size = (low, middle) if _seen(middle, variance, effect, alpha, need) else (middle, size)
    return max(LEAST, ceil(size))


def _seen(size: float, variance: float, effect: float, alpha: float, need: float) -> bool:
    v = 2.0 * variance / size
    half = sqrt((v + effect**2) / effect**2 * v * (log((v + effect**2) / v) - 2.0 * log(alpha)))
    return effect - half >= need * sqrt(v)


def _check(variance: float, effect: float, alpha: float, power: float) -> None:
    if not (variance > 0.0 and effect > 0.0 and 0.0 < alpha < 1.0 and 0.0 < power < 1.0):
        raise ConfigError(
            f"design: got variance {variance}, effect {effect}, alpha {alpha}, power {power}; expected a variance "
            "and an effect above 0, and probabilities"
        )
