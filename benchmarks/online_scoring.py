"""Points a second on one core, detector by detector, and what a stream of a million points does to memory.

The cheap detectors score a stream: `Watch.update_many` in chunks of 1,024 rows, and `Watch.update` row by row; the
autoencoder scores a panel, its batch path. Time is that of the processor, so that neighbours on the machine do not
count; libraries may use one thread.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.measure import Benchmark, Pair
from training.core.component import build
from training.core.detector import Detector
from training.core.panel import Panel
from training.core.schema import Column, Schema
from training.core.validation import ID, TIME
from training.core.watch import Watch
from training.core.windows import Floats
from training.detectors import DETECTORS

SCHEMA = Schema(name="stream", frequency="s", targets=(Column(name="value"),))
FIT_ROWS, CHUNK, WINDOW = 2000, 1024, 32
POINTS, FLAT_POINTS, SINGLE_POINTS, BATCH_ROWS = 200_000, 1_000_000, 2000, 100_000
STREAM_BAR, BATCH_BAR = 50_000.0, 20_000.0
"""Points a second for each core."""
PIECES: Mapping[str, Any] = {"window": WINDOW, "align": "end"}
FLAT = ("z_score", "moving_average", "sub_pca")
"""Detectors of which a million points are scored."""
CHEAP: Mapping[str, Mapping[str, Any]] = {
    "z_score": {},
    "moving_average": {"window": WINDOW},
    "sub_pca": PIECES,
    "kmeans": PIECES,
    "poly": PIECES,
    "isolation_forest": {},
    "forecast_residual": {},
}


def stream(rows: int, seed: int) -> Panel:
    """Return a noisy wave."""
    steps = np.arange(rows)
    values = np.sin(2 * np.pi * steps / WINDOW) + np.random.default_rng(seed).normal(0, 0.1, rows)
    times = pd.Timestamp("2024-01-01") + pd.to_timedelta(steps, unit="s")
    return Panel(pd.DataFrame({ID: "s", TIME: times, "value": values}), SCHEMA)


def in_chunks(watch: Watch, panel: Panel, points: int) -> float:
    """Return points a second of processor time; the panel comes again and again, later each time."""
    table, done = panel.table, 0
    length = table.times[-1] - table.times[0] + np.timedelta64(1, "s")
    start = time.process_time()
    while done < points:
        shift = (done // len(panel)) * length
        at = done % len(panel)
        rows = slice(at, at + CHUNK)
        done += len(watch.update_many(table.times[rows] + shift, table.rows[rows]))
    return done / (time.process_time() - start)


def one_by_one(watch: Watch, panel: Panel) -> float:
    """Return points a second where each comes alone."""
    times, rows = panel.table.times[:SINGLE_POINTS], panel.table.rows[:SINGLE_POINTS].tolist()
    start = time.process_time()
    for when, row in zip(times, rows, strict=True):
        watch.update(when, row)
    return SINGLE_POINTS / (time.process_time() - start)


def memory_growth_bytes(detector: Detector, panel: Panel) -> dict[str, int]:
    """Return by how much the process grows while a million points pass, and the rows that are kept."""
    import psutil

    watch, process = detector.watch("s"), psutil.Process()
    in_chunks(watch, panel, len(panel))
    before = process.memory_info().rss
    in_chunks(detector.watch("s"), panel, FLAT_POINTS)
    return {"growth_bytes": process.memory_info().rss - before, "rows_kept": watch.rows_kept}


def batch_rate(seed: int) -> float:
    """Return the autoencoder's rows a second on a panel, in the shape of its defaults."""
    detector = build(DETECTORS, "autoencoder", {"max_epochs": 1}).fit(stream(FIT_ROWS, seed))
    panel = stream(BATCH_ROWS, seed + 1)
    start = time.process_time()
    values: Floats = detector.score(panel).values
    return len(values) / (time.process_time() - start)


def pair(seed: int, baseline_first: bool) -> Pair:  # noqa: ARG001 - processor time does not depend on the order
    """Measure every detector; the figure is seconds a point over those that the bar allows."""
    from threadpoolctl import threadpool_limits

    panel, rates, alone, kept = stream(50 * CHUNK, seed), {}, {}, {}
    with threadpool_limits(1):
        for name, params in CHEAP.items():
            detector = build(DETECTORS, name, params).fit(stream(FIT_ROWS, seed + 1))
            rates[name] = in_chunks(detector.watch("s"), panel, POINTS)
            alone[name] = one_by_one(detector.watch("s"), panel)
            if name in FLAT:
                kept[name] = memory_growth_bytes(detector, panel)
        batch = batch_rate(seed)
    ours = {name: STREAM_BAR / rate for name, rate in rates.items()}
    worst = max(*ours.values(), BATCH_BAR / batch)
    return Pair(
        seed=seed,
        baseline=1.0,
        ours={"worst": worst, **ours, "autoencoder_batch": BATCH_BAR / batch},
        notes={
            "points_per_s_in_chunks_of_1024": {name: round(rate) for name, rate in rates.items()},
            "points_per_s_one_by_one": {name: round(rate) for name, rate in alone.items()},
            "autoencoder_batch_rows_per_s": round(batch),
            "memory_over_1e6_points": kept,
        },
    )


BENCHMARK = Benchmark(
    name="online_scoring",
    question="seconds a point over 1/50,000 s (cheap detectors, stream) and 1/20,000 s (autoencoder, batch)",
    goal=1.0,
    pair=pair,
)
