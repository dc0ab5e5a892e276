"""Moments, estimates and intervals that hold at every look, against plain computations and by simulation."""

from __future__ import annotations

import json
from math import log

import numpy as np
import pytest

from cluster.errors import DataError
from serve_deployments.experiments.estimates import Estimate, adjusted, mean, ratio
from serve_deployments.experiments.moments import Moments
from serve_deployments.experiments.normal_mixture import interval, log_evidence


def seen(values: np.ndarray) -> Moments:
    moments = Moments(values.shape[-1], values.shape[:-2])
    moments.update(values)
    return moments


def test_moments_are_numpys_in_pieces_and_merged() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(1e6, 1.0, (3, 50, 2))
    pieces, other = Moments(2, (3,)), seen(values[:, 30:])
    pieces.update(values[:, :1])
    pieces.update(values[:, 1:30])
    pieces.update(values[:, :0])
    pieces.merge(other)
    assert pieces.count.tolist() == [50, 50, 50]
    assert pieces.mean == pytest.approx(values.mean(axis=1))
    assert pieces.covariance[1] == pytest.approx(np.cov(values[1].T), rel=1e-6)
    again = Moments.from_json(json.loads(json.dumps(pieces.to_json())))
    assert again.covariance == pytest.approx(pieces.covariance)


def test_too_little_is_no_knowledge() -> None:
    one = seen(np.ones((1, 1)))
    assert np.isinf(mean(one).variance)
    assert float(log_evidence(mean(one), scale=1.0)) == 0.0
    low, high = interval(mean(Moments()), alpha=0.05, scale=1.0)
    assert [float(low), float(high)] == [-np.inf, np.inf]
    with pytest.raises(DataError):
        Moments().update([[np.nan]])


def test_a_ratio_has_the_variance_that_simulation_finds() -> None:
    rng = np.random.default_rng(1)
    bottom = rng.poisson(5.0, (3000, 400)) + 1.0
    top = rng.binomial(bottom.astype(int), 0.2)
    found = ratio(seen(np.stack([top, bottom], axis=-1)))
    assert float(found.variance.mean()) == pytest.approx(float(found.value.var()), rel=0.05)


def test_a_covariate_takes_its_share_of_the_variance_and_nothing_of_the_difference() -> None:
    rng = np.random.default_rng(2)
    before = rng.normal(0, 1, (1000, 2, 200))
    after = 0.8 * before + rng.normal(0, 0.6, before.shape)
    after[:, 1] += 0.3
    arms = [seen(np.stack([after[:, arm], before[:, arm]], axis=-1)) for arm in (0, 1)]
    pooled = Moments(2, (1000,))
    for arm in arms:
        pooled.merge(arm)
    plain = mean(arms[1]) - mean(arms[0])
    freed = adjusted(arms[1], pooled) - adjusted(arms[0], pooled)
    assert float(freed.value.mean()) == pytest.approx(0.3, abs=0.01)
    # The correlation is 0.8: 1 - 0.8² of the variance is left.
    assert float(freed.variance.mean() / plain.variance.mean()) == pytest.approx(0.36, rel=0.05)
    assert float(freed.value.var()) == pytest.approx(float(freed.variance.mean()), rel=0.12)


def test_a_covariate_without_spread_changes_nothing() -> None:
    values = np.stack([np.arange(10.0), np.zeros(10)], axis=-1)
    arm = seen(values)
    assert float(adjusted(arm, arm).variance) == pytest.approx(float(mean(arm).variance))


def test_the_interval_is_what_the_evidence_leaves() -> None:
    found = Estimate(value=np.array(0.4), variance=np.array(0.01))
    low, high = interval(found, alpha=0.05, scale=0.2)
    for end in (float(low), float(high)):
        assert float(log_evidence(found, null=end, scale=0.2)) == pytest.approx(log(20))


def test_equal_arms_are_rarely_told_apart_at_any_look() -> None:
    rng = np.random.default_rng(3)
    arms, ever = [Moments(1, (1000,)), Moments(1, (1000,))], np.zeros(1000, dtype=bool)
    for _ in range(40):
        for arm in arms:
            arm.update(rng.exponential(1.0, (1000, 100, 1)))
        found = log_evidence(mean(arms[1]) - mean(arms[0]), scale=0.05)
        ever |= found >= log(20)
    assert ever.mean() <= 0.05


def test_certain_numbers_are_certain() -> None:
    sure = Estimate(value=np.array([0.0, 1.0]), variance=np.zeros(2))
    assert log_evidence(sure, scale=1.0).tolist() == [0.0, np.inf]
