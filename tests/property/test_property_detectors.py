"""Whatever the chunks and wherever values are missing, a stream scores what the whole panel scores."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.core.component import build
from training.core.detector import Detector
from training.core.detector_candidate import SCHEMA, usual_panel
from training.core.panel import Panel
from training.detectors import DETECTORS

ONLINE: dict[str, dict[str, Any]] = {
    "z_score": {},
    "moving_average": {"window": 10},
    "sub_pca": {"window": 8, "align": "end"},
    "kmeans": {"window": 8, "align": "end"},
    "poly": {"window": 4, "align": "end", "power": 1},
    "isolation_forest": {"window": 3, "align": "end", "trees": 5},
    "forecast_residual": {"model": {"name": "ridge", "params": {"window": 6}}},
}
ROWS = 150
FITTED: dict[str, Detector] = {}


def fitted(name: str) -> Detector:
    if name not in FITTED:
        FITTED[name] = build(DETECTORS, name, ONLINE[name]).fit(usual_panel())
    return FITTED[name]


@pytest.mark.parametrize("name", ONLINE)
@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    sizes=st.lists(st.integers(1, 60), min_size=1, max_size=12),
    holes=st.lists(st.tuples(st.integers(0, ROWS - 1), st.integers(0, 1)), max_size=30),
    start=st.integers(0, 20),
    seed=st.integers(0, 100),
)
def test_a_stream_in_chunks_is_the_panel(
    name: str, sizes: list[int], holes: list[tuple[int, int]], start: int, seed: int
) -> None:
    detector = fitted(name)
    rows = np.random.default_rng(seed).normal([50.0, 200.0], [10.0, 30.0], size=(ROWS, 2))
    rows[:start, 1] = np.nan
    for row, column in holes:
        rows[row, column] = np.nan
    rows[-1] = 50.0, 200.0
    times = pd.date_range("2024-05-01", periods=ROWS, freq="h")
    frame = pd.DataFrame({"series_id": "plant-0", "timestamp": times, "flow": rows[:, 0], "power": rows[:, 1]})
    whole = detector.score(Panel(frame, SCHEMA)).values
    watch = detector.watch("plant-0")
    ends = [*np.cumsum(sizes).clip(max=ROWS).tolist(), ROWS]
    parts = [
        watch.update_many(times[first:last].to_numpy(), rows[first:last])
        for first, last in zip([0, *ends], ends, strict=False)
    ]
    assert np.concatenate(parts) == pytest.approx(whole, rel=1e-7, nan_ok=True)
    assert np.isnan(whole[np.isnan(rows).any(axis=1)]).all()
