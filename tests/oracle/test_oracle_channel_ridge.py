"""Ridge on each target's own past against scikit-learn, one target and one weighting at a time."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge as PlainRidge

from training.core.candidate import easy_panel
from training.core.windows import Floats
from training.models.channel_ridge import CHUNK_WINDOWS, REWEIGHTINGS, ROUND_OFF, ChannelRidge
from training.models.normal_equations import NormalEquations


def plain(inputs: Floats, outputs: Floats, weights: Floats, alpha: float) -> Floats:
    """Return the fitted values of a weighted ridge on inputs standardised by the same weights."""
    mean = np.average(inputs, axis=0, weights=weights)
    spread = np.sqrt(np.average(np.square(inputs - mean), axis=0, weights=weights))
    scaled = (inputs - mean) / np.where(spread > 1e-12, spread, 1)
    fit = PlainRidge(alpha=alpha * weights.sum()).fit(scaled, outputs, sample_weight=weights)
    fitted: Floats = fit.predict(scaled)
    return fitted


@pytest.mark.parametrize("loss", ["squared", "absolute"])
@pytest.mark.parametrize("anchor", ["last", "mean", "none"])
def test_channel_ridge(anchor: str, loss: str) -> None:
    windows, alpha = easy_panel().windows(26), 1e-2
    model = ChannelRidge(window=20, alpha=alpha, anchor=anchor, loss=loss)
    got = model.fit(windows, horizon=6, targets=("emitted", "used")).predict(windows.head(20))
    for target in range(2):
        values = windows.values[..., target]
        unit = windows.rows[:, target].std()
        last, mean = values[:, 19:20], values[:, :20].mean(axis=1, keepdims=True)
        base = {"last": last, "mean": mean, "none": 0 * last}[anchor]
        inputs, outputs = (values[:, :20] - base) / unit, (values[:, 20:] - base) / unit
        weights = np.ones(len(values))
        for _ in range(1 + (REWEIGHTINGS if loss == "absolute" else 0)):
            fitted = plain(inputs, outputs, weights, alpha)
            weights = 1 / np.maximum(np.abs(outputs - fitted).mean(axis=1), ROUND_OFF)
        assert got[..., target] == pytest.approx(fitted * unit + base, rel=1e-6)


def test_chunks_add_up() -> None:
    rng = np.random.default_rng(0)
    inputs, outputs = rng.normal(size=(3 * CHUNK_WINDOWS, 4)) + 100, rng.normal(size=(3 * CHUNK_WINDOWS, 2))
    weights = rng.uniform(0.1, 1, len(inputs))
    whole, parts = NormalEquations(), NormalEquations()
    whole.add(inputs, outputs, weights)
    for rows in np.array_split(np.arange(len(inputs)), 5):
        parts.add(inputs[rows], outputs[rows], weights[rows])
    for mine, theirs in zip(whole.solve(1e-3), parts.solve(1e-3), strict=True):
        assert mine == pytest.approx(theirs, rel=1e-6, abs=1e-9)
