"""Streams: what is kept, what a refusal leaves behind, and chunks of any size."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cluster.errors import ConfigError, DataError, SchemaError, UnknownNameError
from training.core.panel import Panel
from training.core.schema import Column, Schema
from training.core.scores import Scores
from training.core.watch import CHUNK_ROWS
from training.detectors.sub_pca import SubPCA
from training.detectors.z_score import ZScore

SCHEMA = Schema(name="plant", frequency="s", targets=(Column(name="flow"),))
ROWS = CHUNK_ROWS + 500


def panel(rows: int = ROWS) -> Panel:
    steps = np.arange(rows)
    times = pd.Timestamp("2024-01-01") + pd.to_timedelta(steps, unit="s")
    values = np.sin(steps / 3) + np.random.default_rng(0).normal(0, 0.1, rows)
    return Panel(pd.DataFrame({"series_id": "a", "timestamp": times, "flow": values}), SCHEMA)


def test_more_rows_than_a_chunk_are_scored_as_in_one_piece() -> None:
    detector = SubPCA(window=8, align="end").fit(panel(600))
    watch, table = detector.watch("a"), panel().table
    got = watch.update_many(table.times, table.rows)
    scores: Scores = detector.score(panel())
    assert got == pytest.approx(scores.values, rel=1e-9, nan_ok=True)
    assert watch.rows_kept == 7


def test_what_is_kept_stays_small() -> None:
    watch, table = SubPCA(window=8, align="end").fit(panel(600)).watch("a"), panel().table
    for at in range(0, ROWS, 100):
        watch.update_many(table.times[at : at + 100], table.rows[at : at + 100])
        assert watch.rows_kept == 7
    held = [value for value in vars(watch).values() if isinstance(value, np.ndarray)]
    assert sum(value.nbytes if value.base is None else value.base.nbytes for value in held) < 1000


def test_a_refused_call_is_forgotten_whole() -> None:
    watch, table = ZScore().fit(panel(50)).watch("a"), panel(50).table
    watch.update_many(table.times[:10], table.rows[:10])
    bad = table.rows[10:20].copy()
    bad[9] = np.inf
    with pytest.raises(DataError, match="too large"):
        watch.update_many(table.times[10:20], bad)
    assert np.isfinite(watch.update_many(table.times[10:20], table.rows[10:20])).all()
    with pytest.raises(DataError, match="2024-01-01 00:00:10 after 2024-01-01 00:00:19"):
        watch.update(table.times[10], {"flow": 1.0})
    with pytest.raises(SchemaError, match=r"got an array of \(3,\), expected \(3, 1\)"):
        watch.update_many(table.times[20:23], [1.0, 2.0, 3.0])
    with pytest.raises(SchemaError, match="could not convert string to float"):
        watch.update_many(table.times[20:21], [["high"]])
    with pytest.raises(SchemaError, match="'flow': got '1', expected a number"):
        watch.update(table.times[20], ["1"])
    assert np.isfinite(watch.update(table.times[20], [1.0]))
    assert len(watch.update_many(table.times[:0], table.rows[:0])) == 0


def test_a_detector_that_waits_for_later_rows_has_no_stream() -> None:
    with pytest.raises(ConfigError, match="choose align='end'"):
        SubPCA(window=8).fit(panel(100)).watch("a")


def test_scores_are_told_apart_by_series() -> None:
    both = pd.concat([panel(30).frame, panel(20).frame.assign(series_id="b")], ignore_index=True)
    detector = ZScore().fit(Panel(both, SCHEMA))
    assert detector.series == ("a", "b")
    scores = detector.score(Panel(both, SCHEMA))
    assert (len(scores), len(scores.of("a")), len(scores.of("b"))) == (50, 30, 20)
    frame = scores.to_frame()
    assert frame[frame["series_id"] == "b"]["score"].tolist() == scores.of("b").tolist()
    with pytest.raises(UnknownNameError, match=r"unknown series 'c'.* Known: a, b"):
        scores.of("c")
