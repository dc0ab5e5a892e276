"""Rows one by one without tables: the same scores to the last bit, whatever comes between."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cluster.errors import DataError
from training.core.component import build
from training.core.panel import Panel
from training.core.schema import Column, Schema
from training.core.validation import ID, TIME
from training.detectors import DETECTORS

SCHEMA = Schema(name="s", frequency="h", targets=(Column(name="x"), Column(name="y")))


def table(rows: int) -> Panel:
    values = np.random.default_rng(0).normal([5, 1e6], [1, 1e3], (rows, 2))
    times = pd.date_range("2024-01-01", periods=rows, freq="h")
    return Panel(pd.DataFrame({ID: "a", TIME: times, "x": values[:, 0], "y": values[:, 1]}), SCHEMA)


@pytest.mark.parametrize(("name", "params"), [("z_score", {}), ("moving_average", {"window": 7})])
def test_a_row_alone_scores_as_in_a_table(name: str, params: dict[str, int]) -> None:
    panel = table(300)
    panel.frame.loc[[3, 60, 61, 200], "x"] = np.nan
    detector = build(DETECTORS, name, params).fit(panel)
    assert detector.row_judge(detector.state_of("a")) is not None
    whole, watch = detector.score(panel).values, detector.watch("a")
    values, times = panel.table.rows, panel.table.times
    told = [watch.update(times[row], values[row].tolist()) for row in range(100)]
    told += watch.update_many(times[100:150], values[100:150]).tolist()
    for row in range(150, 300):
        if row % 50 == 0:
            with pytest.raises(DataError, match="backwards"):
                watch.update(times[3], values[row].tolist())
            with pytest.raises(DataError, match="too large"):
                watch.update(times[row], [1e300, 0.0])
        told.append(watch.update(times[row], values[row].tolist()))
    np.testing.assert_array_equal(told, whole)
    assert watch.rows_kept == detector.lookback(detector.state_of("a"))
