"""Error rates: recovered, covered, and sane where there are few requests or none."""

from __future__ import annotations

import math

import numpy as np
import pytest

from apps.operations.error_rate import ErrorRate, log_beta
from cluster.errors import DataError, InsufficientHistoryError
from training.core.windows import Floats
from training.data.operations import OperationsTruth, generate_operations


def counts(days: int, seed: int, truth: OperationsTruth | None = None) -> tuple[Floats, Floats]:
    frame = generate_operations(days=days, seed=seed, truth=truth)[0].frame
    return frame["errors"].to_numpy(), frame["requests"].to_numpy()


def test_a_constant_rate_is_recovered_and_its_counts_are_binomial() -> None:
    rng = np.random.default_rng(0)
    requests = rng.poisson(200, 1000).astype(float)
    errors = rng.binomial(requests.astype(int), 0.03).astype(float)
    rate = ErrorRate.fit(errors, requests)
    assert rate.now == pytest.approx(0.03, rel=0.1)
    drawn = rate.sample(np.full((4000, 1), 200.0))[:, 0]
    assert drawn.std() == pytest.approx(np.sqrt(0.03 * 0.97 / 200), rel=0.15)


def test_90_percent_intervals_cover_a_rate_that_wanders() -> None:
    errors, requests = counts(days=40, seed=1)
    inside = []
    for origin in range(2000, len(errors) - 24, 800):
        rate = ErrorRate.fit(errors[origin - 1000 : origin], requests[origin - 1000 : origin])
        ahead = slice(origin, origin + 24)
        drawn = rate.sample(np.broadcast_to(requests[ahead], (400, 24)), seed=origin)
        low, high = np.quantile(drawn, (0.05, 0.95), axis=0)
        truth = errors[ahead] / requests[ahead]
        inside.append(((truth >= low) & (truth <= high)).mean())
    assert 0.82 <= np.mean(inside) <= 0.98


def test_few_requests_move_it_little_and_none_not_at_all() -> None:
    rng = np.random.default_rng(2)
    requests = np.concatenate([rng.poisson(100, 500), np.zeros(50)]).astype(float)
    errors = rng.binomial(requests.astype(int), 0.1).astype(float)
    rate = ErrorRate.fit(errors, requests)
    assert rate.now == pytest.approx(0.1, rel=0.2)
    assert rate.sample(np.zeros((5, 3))).tolist() == np.zeros((5, 3)).tolist()
    one = ErrorRate.fit(np.append(errors, 1.0), np.append(requests, 1.0))  # one request, and it fails
    assert one.now < 0.2


def test_no_error_ever_seen_is_no_rate_of_zero() -> None:
    rate = ErrorRate.fit(np.zeros(100), np.full(100, 50.0))
    assert 0 < rate.now < 0.001
    assert 0 <= rate.sample(np.full((10, 5), 50.0)).max() <= 1


def test_bursts_widen_what_independent_failures_would_not() -> None:
    rng = np.random.default_rng(3)
    requests = np.full(800, 10_000.0)
    errors = rng.binomial(10_000, rng.beta(1, 99, 800)).astype(float)
    drawn = ErrorRate.fit(errors, requests).sample(np.full((2000, 1), 10_000.0))[:, 0]
    assert drawn.std() > 0.005  # binomial alone: 0.001


def test_the_same_seed_draws_the_same() -> None:
    rate = ErrorRate.fit(*counts(days=2, seed=0))
    asked = np.full((50, 4), 100.0)
    assert np.array_equal(rate.sample(asked, seed=1), rate.sample(asked, seed=1))
    assert not np.array_equal(rate.sample(asked, seed=1), rate.sample(asked, seed=2))


@pytest.mark.parametrize(
    ("error", "request_count", "got"),
    [(3, 2, "3 errors of 2 requests"), (-1, 2, "-1 errors"), (0, float("nan"), "nan requests")],
)
def test_impossible_counts(error: float, request_count: float, got: str) -> None:
    errors, requests = np.zeros(30), np.ones(30)
    errors[7], requests[7] = error, request_count
    with pytest.raises(DataError, match=f"row 7: got .*{got}"):
        ErrorRate.fit(errors, requests)


def test_nothing_to_learn_from() -> None:
    with pytest.raises(DataError, match="not defined"):
        ErrorRate.fit(np.zeros(30), np.zeros(30))
    with pytest.raises(InsufficientHistoryError, match="got 3 rows"):
        ErrorRate.fit(np.zeros(3), np.ones(3))


def test_log_beta_is_that_of_the_standard_library() -> None:
    a, b = np.array([1e-5, 0.3, 1, 7, 900, 1e6]), np.array([2.0, 1e-3, 1, 60, 1e5, 1e9])
    exact = [math.lgamma(x) + math.lgamma(y) - math.lgamma(x + y) for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(log_beta(a, b), exact, rtol=1e-9, atol=1e-5)
