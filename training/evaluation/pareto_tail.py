"""The tail above a high level: a generalised Pareto law whose two parameters are known only as far as data tell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from training.core.windows import Floats

SHAPES = np.linspace(-0.5, 1.0, 31)
SHAPE_SPREAD = 0.25
"""Standard deviation of the shape before data, around 0 (an exponential tail). Scores of detectors run from bounded
(-0.5) to the tail of Student's t with three degrees of freedom (0.33)."""
SCALES = np.exp(np.linspace(np.log(0.15), np.log(6.0), 48))
"""Of the mean excess. With the shape's range they bracket every likely pair from three peaks on."""
REACH = np.expm1(np.linspace(0.0, np.log(1e12), 800))
"""Excesses, in means, at which the tail is tabled."""


@dataclass(frozen=True)
class ParetoTail:
    """The predictive chance that the next peak's excess goes beyond x.

    The chance is averaged over the posterior of shape and scale on a grid: with few peaks the tail is heavier than
    that of the best fit, by so much that the events beyond a level number what was asked for on average over
    series. A best fit alone (Grimshaw's maximum likelihood, probability-weighted moments) exceeds a budget: its
    level is as often too low as too high, and too low costs more events than too high saves.

    Parameters
    ----------
    mean
        Mean excess of the peaks it was fitted on, above 0.
    log_chances
        (len(REACH),) falling logarithms of the chance to exceed `REACH` means.

    References
    ----------
    Coles (2001), An Introduction to Statistical Modeling of Extreme Values, 4 and 9.1.3 for predictive return
    levels; Siffer et al. (2017), Anomaly detection in streams with extreme value theory. Ours integrates over the
    parameters.
    """

    mean: float
    log_chances: Floats

    @classmethod
    def fit(cls, excesses: Floats) -> Self:
        """Fit to (K,) excesses above 0, one or more."""
        mean = float(excesses.mean())
        weights = posterior(excesses / mean)
        shape, scale = np.meshgrid(SHAPES, SCALES, indexing="ij")
        kept = weights > weights.max() * 1e-7  # the rest changes no figure that is shown
        chances = survival(REACH[:, None], shape[kept], scale[kept]) @ (weights[kept] / weights[kept].sum())
        return cls(mean, np.log(np.maximum(chances, 1e-300)))

    def chance(self, excess: Floats) -> Floats:
        """Return the chance that a peak goes beyond `excess`, 1 at 0 and below."""
        means = np.clip(excess / self.mean, 0.0, REACH[-1])
        out: Floats = np.exp(np.interp(np.log1p(means), np.log1p(REACH), self.log_chances))
        return out

    def excess(self, chance: float) -> float:
        """Return the excess that a peak goes beyond with `chance` in (0, 1]."""
        reach = np.interp(-np.log(chance), -self.log_chances, np.log1p(REACH))
        return float(np.expm1(reach) * self.mean)


def survival(x: Floats, shape: Floats, scale: Floats) -> Floats:
    """Return P(X > x) of generalised Pareto laws, arrays broadcast."""
    flat = np.abs(shape) < 1e-9
    safe = np.where(flat, 1.0, shape)
    inside = np.maximum(1.0 + safe * x / scale, 0.0)
    with np.errstate(divide="ignore"):  # log 0 is the end of a bounded tail
        power = np.where(flat, -x / scale, -np.log(inside) / safe)
    bounded = (inside == 0.0) & ~flat
    out: Floats = np.where(bounded, 0.0, np.exp(np.minimum(power, 0.0)))
    return out


def posterior(excesses: Floats) -> Floats:
    """Return (shapes, scales) weights that sum to 1, of (K,) excesses whose mean is 1."""
    shape, scale = SHAPES[:, None, None], SCALES[None, :, None]
    flat = np.abs(shape) < 1e-9
    safe = np.where(flat, 1.0, shape)
    inside = 1.0 + safe * excesses / scale
    possible = (inside > 0).all(axis=-1) | flat[..., 0]
    logs = np.log(np.where(inside > 0, inside, 1.0)).sum(axis=-1)
    bent = -(1.0 + 1.0 / safe[..., 0]) * logs
    straight = -excesses.sum() / SCALES[None, :]
    likelihood = np.where(flat[..., 0], straight, bent) - len(excesses) * np.log(SCALES)[None, :]
    believed = likelihood - 0.5 * np.square(SHAPES / SHAPE_SPREAD)[:, None]
    believed = np.where(possible, believed, -np.inf)
    weights = np.exp(believed - believed.max())
    out: Floats = weights / weights.sum()
    return out
