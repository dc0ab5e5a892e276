"""The predictive Pareto tail beside plain sums, a published fit, and what it promises over many samples."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import genpareto

from training.evaluation.pareto_tail import SCALES, SHAPE_SPREAD, SHAPES, ParetoTail, posterior, survival


def plain_tail(shape: float, scale: float, y: float) -> float:
    """Return log P(Y > y) of one law."""
    if abs(shape) < 1e-9:
        return -y / scale
    inside = 1 + shape * y / scale
    return -math.log(inside) / shape if inside > 0 else -math.inf


def plain_chance(excesses: list[float], x: float) -> float:
    """Average the tail over the grid, one pair of parameters at a time."""
    mean = sum(excesses) / len(excesses)
    total = weights = 0.0
    for shape in SHAPES.tolist():
        for scale in SCALES.tolist():
            # the density is the tail to the power 1 + shape, over the scale
            log = sum((1 + shape) * plain_tail(shape, scale, each / mean) - math.log(scale) for each in excesses)
            weight = math.exp(log - 0.5 * (shape / SHAPE_SPREAD) ** 2)
            weights += weight
            total += weight * math.exp(plain_tail(shape, scale, x / mean))
    return total / weights


@pytest.mark.parametrize("seed", [0, 1])
def test_it_is_the_average_over_the_grid(seed: int) -> None:
    sample = np.random.default_rng(seed).exponential(3.0, 12)
    tail = ParetoTail.fit(sample)
    for x in (5.0, 20.0, 60.0):
        assert float(tail.chance(np.array(x))) == pytest.approx(plain_chance(sample.tolist(), x), rel=1e-3)


@pytest.mark.parametrize("shape", [-0.2, 0.0, 0.3])
def test_with_many_peaks_it_is_the_maximum_likelihood_fit(shape: float) -> None:
    sample = genpareto.rvs(shape, scale=2.0, size=3_000, random_state=7)
    c, _, scale = genpareto.fit(sample, floc=0)
    tail = ParetoTail.fit(sample)
    for chance in (0.1, 0.01):
        assert tail.excess(chance) == pytest.approx(float(genpareto.isf(chance, c, scale=scale)), rel=0.08)
    assert float(tail.chance(np.array(tail.excess(0.003)))) == pytest.approx(0.003, rel=1e-6)


def test_levels_are_exceeded_as_often_as_asked_over_many_samples() -> None:
    """The mean chance over 60 samples of 60 peaks; the best fit alone exceeds it more often."""
    rng = np.random.default_rng(3)
    ours, best = [], []
    for _ in range(60):
        sample = rng.exponential(1.0, 60)
        ours.append(math.exp(-ParetoTail.fit(sample).excess(0.005)))
        c, _, scale = genpareto.fit(sample, floc=0)
        best.append(math.exp(-float(genpareto.isf(0.005, c, scale=scale))))
    assert 0.6 * 0.005 < np.mean(ours) < 1.5 * 0.005
    assert np.mean(best) > np.mean(ours)


def test_the_posterior_sums_to_one_and_bounded_laws_end() -> None:
    assert posterior(np.ones(3)).sum() == pytest.approx(1)
    assert survival(np.array(10.0), np.array(-0.5), np.array(1.0)) == 0.0
    assert survival(np.array(1.0), np.array(0.0), np.array(1.0)) == pytest.approx(math.exp(-1))
