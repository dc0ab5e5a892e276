"""Ridge against scikit-learn, the ensemble's weights against a search of all mixtures."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from sklearn.linear_model import Ridge as PlainRidge
from sklearn.preprocessing import StandardScaler

from training.core.candidate import easy_panel
from training.core.simplex import Loss, weights_on_simplex
from training.core.windows import Floats
from training.models.ridge import Ridge

RNG = np.random.default_rng(4)


@pytest.mark.parametrize("covariates", [False, True])
@pytest.mark.parametrize("alpha", [0.0, 1e-3, 3.0])
def test_ridge(alpha: float, covariates: bool) -> None:
    windows = easy_panel().windows(26)
    model = Ridge(window=20, alpha=alpha, covariates=covariates)
    got = model.fit(windows, horizon=6, targets=("emitted", "used")).predict(windows.head(20))

    values = windows.values
    last = values[:, 19:20, :2]
    inputs = (values[:, :19, :2] - last).reshape(len(values), -1)
    if covariates:
        inputs = np.hstack([inputs, values[:, 19]])
    outputs = (values[:, 20:, :2] - last).reshape(len(values), -1)
    scaled = StandardScaler().fit_transform(inputs)
    plain = PlainRidge(alpha=alpha * len(values)).fit(scaled, outputs)
    assert got == pytest.approx(plain.predict(scaled).reshape(got.shape) + last, rel=1e-6)


def error(weights: Floats, members: Floats, actual: Floats, loss: Loss) -> float:
    off = weights @ members - actual
    return float(np.abs(off).mean() if loss == "absolute" else np.square(off).mean())


@pytest.mark.parametrize("loss", ["absolute", "squared"])
@pytest.mark.parametrize("case", range(6))
def test_weights(loss: Loss, case: int) -> None:
    rng = np.random.default_rng(case)
    actual = rng.normal(size=400)
    members = (
        actual
        + rng.normal(size=(3, 1)) * (case % 3)
        + rng.standard_t(3, size=(3, 400)) * rng.uniform(0.1, 2, (3, 1))
    )
    weights = weights_on_simplex(members, actual, loss=loss)
    assert weights.min() >= 0
    assert weights.sum() == pytest.approx(1)
    grid = np.linspace(0, 1, 41)
    best = min(
        error(np.array([a, b, 1 - a - b]), members, actual, loss) for a, b in product(grid, grid) if a + b <= 1
    )
    assert error(weights, members, actual, loss) <= best * 1.0005


@pytest.mark.parametrize("loss", ["absolute", "squared"])
def test_weights_of_odd_members(loss: Loss) -> None:
    actual = RNG.normal(size=100)
    assert weights_on_simplex(actual[None] + 1, actual, loss=loss).tolist() == [1.0]
    twins = weights_on_simplex(np.stack([actual + 1, actual + 1]), actual, loss=loss)
    assert twins.sum() == pytest.approx(1)
    perfect = weights_on_simplex(np.stack([actual + 5, actual, actual - 9]), actual, loss=loss)
    assert perfect @ np.array([5, 0, -9]) == pytest.approx(0, abs=1e-6)
    ten = weights_on_simplex(actual + RNG.normal(size=(10, 100)), actual, loss=loss)
    assert np.abs(ten @ (actual + 0 * ten[:, None]) - actual).max() < 1e-12
