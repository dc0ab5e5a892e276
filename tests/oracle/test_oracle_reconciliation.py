"""MinT and the shrunk covariance, held to hierarchicalforecast and to plain loops."""

from __future__ import annotations

import numpy as np
import pytest

from training.core.windows import Floats
from training.inference.hierarchy import Hierarchy
from training.inference.reconciliation import JointErrors, Reconciler, shrunk_covariance


@pytest.fixture(scope="module")
def tree() -> Hierarchy:
    series = [f"s{i}" for i in range(5)]
    return Hierarchy.of(series, ("x", "y", "z"), parents={"s0": "n", "s1": "n", "s2": "m"})


@pytest.fixture(scope="module")
def rows(tree: Hierarchy) -> Floats:
    """Errors of one step: leaves that share a factor, sums with errors of their own."""
    rng = np.random.default_rng(11)
    leaves = rng.normal(0, 1, (200, len(tree.leaves))) * rng.uniform(0.5, 3, len(tree.leaves)) + rng.normal(
        0, 1, (200, 1)
    )
    made: Floats = (leaves @ tree.summing.T + rng.normal(0, 1, (200, len(tree))))[:, None]
    return made


def slow_shrunk_covariance(rows: Floats) -> Floats:
    """Schaefer and Strimmer's estimator, entry by entry."""
    count, nodes = rows.shape
    centred = rows - rows.mean(axis=0)
    scaled = centred / centred.std(axis=0, ddof=1)
    noise = signal = 0.0
    for i in range(nodes):
        for j in range(nodes):
            if i != j:
                products = scaled[:, i] * scaled[:, j]
                noise += count / (count - 1) ** 3 * np.square(products - products.mean()).sum()
                signal += (products.sum() / (count - 1)) ** 2
    share = min(1.0, noise / signal)
    out: Floats = (1 - share) * np.cov(rows.T) + share * np.diag(rows.var(axis=0, ddof=1))
    return out


def test_the_covariance_is_shrunk_as_by_hand(rows: Floats) -> None:
    np.testing.assert_allclose(shrunk_covariance(rows), slow_shrunk_covariance(rows[:, 0]), rtol=1e-10, atol=1e-12)


@pytest.mark.filterwarnings("ignore")  # what the oracle's libraries warn of is not ours
def test_mint_is_the_librarys(tree: Hierarchy, rows: Floats) -> None:
    methods = pytest.importorskip("hierarchicalforecast.methods", reason="hierarchicalforecast is not installed")
    base = np.random.default_rng(3).normal(50, 20, (len(tree), 4))
    found = methods.MinTrace(method="mint_shrink").fit_predict(
        S=tree.summing,
        y_hat=base,
        y_insample=rows[:, 0].T,
        y_hat_insample=np.zeros_like(rows[:, 0].T),
    )["mean"]
    ours = Reconciler.fit(tree, JointErrors(rows=rows)).points(base.T[:, None])[:, 0].T
    # the library takes K (K - 1) where the reference has (K - 1)^3 / K, and adds a ridge of 2e-8
    np.testing.assert_allclose(ours, found, atol=2e-3 * np.abs(found).max())


def test_the_weights_solve_the_normal_equations(tree: Hierarchy, rows: Floats) -> None:
    covariance = slow_shrunk_covariance(rows[:, 0])
    inverse = np.linalg.inv(covariance)
    plain = np.linalg.solve(tree.summing.T @ inverse @ tree.summing, tree.summing.T @ inverse)
    np.testing.assert_allclose(Reconciler.fit(tree, JointErrors(rows=rows)).weights[0], plain, atol=1e-8)
