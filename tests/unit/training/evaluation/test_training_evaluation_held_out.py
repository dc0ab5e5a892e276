"""Scores by detectors that have not seen the rows: which half judges which, and that a level from them is kept."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cluster.errors import ConfigError, DataError
from training.core.detector import Detector
from training.core.panel import Panel
from training.core.schema import Column, Schema
from training.core.windows import Floats
from training.detectors.sub_pca import SubPCA
from training.detectors.z_score import ZScore
from training.evaluation.held_out import held_out_scores

SCHEMA = Schema(name="plant", frequency="h", targets=(Column(name="flow"),))


def panel(values: Floats) -> Panel:
    times = pd.date_range("2024-01-01", periods=len(values), freq="h")
    return Panel(pd.DataFrame({"series_id": "a", "timestamp": times, "flow": values}), SCHEMA)


def read(detector: ZScore, rows: Panel) -> Floats:
    return detector.score(rows).of("a")[None]


def fit(rows: Panel) -> ZScore:
    return ZScore().fit(rows)


def reach(detector: Detector) -> int:
    return detector.lookback(detector.state_of("a"))


def test_each_half_is_judged_by_the_other() -> None:
    rng = np.random.default_rng(0)
    values = np.r_[rng.normal(0, 1, 101), rng.normal(0, 2, 100)]  # an odd number of rows
    early, late = values[:100], values[100:]
    got = held_out_scores(fit, panel(values), read, reach=reach)
    assert got.shape == (1, 201)
    assert got[0, :100] == pytest.approx(abs(early - late.mean()) / late.std())
    assert got[0, 100:] == pytest.approx(abs(late - early.mean()) / early.std())


def test_each_of_more_parts_is_judged_by_all_others() -> None:
    values = np.random.default_rng(0).normal(0, 1, 202)
    got = held_out_scores(fit, panel(values), read, reach=reach, folds=4)[0]
    for start, stop in ((0, 50), (50, 101), (101, 151), (151, 202)):
        others = np.delete(values, slice(start, stop))
        assert got[start:stop] == pytest.approx(abs(values[start:stop] - others.mean()) / others.std())
    with pytest.raises(ConfigError, match="'folds'"):
        held_out_scores(fit, panel(values), read, reach=reach, folds=1)


def test_a_level_from_them_is_that_of_new_rows() -> None:
    """Axes of 32 places from 400 rows of noise fit those rows better than any to come."""
    values = np.random.default_rng(1).normal(size=2400)
    history, whole = panel(values[:400]), panel(values)

    def made() -> SubPCA:
        return SubPCA(window=32)

    scores = made().fit(history).score(whole).values
    held = held_out_scores(
        lambda rows: made().fit(rows), history, lambda detector, rows: detector.score(rows).values, reach=reach
    )
    naive, ours = ((scores[400:] > np.quantile(level, 0.9)).mean() for level in (scores[:400], held))
    assert naive > 0.2
    assert ours < 0.1


def test_half_a_history_that_stands_still_is_refused() -> None:
    values = np.r_[np.zeros(50), np.random.default_rng(0).normal(size=50)]
    with pytest.raises(DataError, match="'a'"):
        held_out_scores(fit, panel(values), read, reach=reach)
