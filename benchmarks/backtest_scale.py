"""What a series costs in a backtest of 1,000 series x 5 cut-offs x 4 families, over what it costs among 100.

Made-up ragged daily series, 150 to 260 rows, a week's season; 14 days ahead. Each run is a process of its own,
warmed up by a few series, so that neither imports nor compilation count; memory is the proportional share of the
driver and its Ray workers, sampled while it runs, and what that adds to the warmed-up processes.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.measure import Benchmark, Pair
from training.core.panel import Panel
from training.core.schema import Column, Schema
from training.distributed.fanout import Fanout, LocalFanout, RayFanout
from training.evaluation.rolling import Family, RollingPlan, rolling_backtest

FEW, MANY = 100, 1000
WORKERS = 2
WARM = 80
"""Series that warm up: enough that some are taken for seasonal and some are not, each compiled on its own."""
SAMPLE_S = 0.2
RUN_S = 1500
PLAN = RollingPlan(horizon=14, cutoffs=5)
FAMILIES = (
    Family.of("seasonal_naive", season=7),
    Family.of("theta", season=7, window=56, variant="standard"),
    Family.of("ridge", window=28),
    Family.of("xgboost", window=28, rounds=20, depth=3, learning_rate=0.2),
)


def many_series(count: int, seed: int) -> Panel:
    """Return `count` ragged series that end together: a level that wanders, a week, noise."""
    rng = np.random.default_rng(seed)
    frames = []
    for number in range(count):
        size = int(rng.integers(150, 261))
        days = np.arange(260 - size, 260)
        level = 100 * rng.lognormal() + rng.normal(0, 1, size).cumsum()
        week = rng.normal(0, 8, 7)[days % 7]
        times = pd.Timestamp("2024-01-01") + pd.to_timedelta(days, unit="D")
        y = level + week + rng.normal(0, 3, size)
        frames.append(pd.DataFrame({"series_id": f"s{number:04d}", "timestamp": times, "y": y}))
    schema = Schema(name="scale", frequency="D", targets=(Column(name="y"),), season_length=7)
    return Panel(pd.concat(frames, ignore_index=True), schema)


def pair(seed: int, baseline_first: bool) -> Pair:
    """Run few and many series, here and on Ray, each in a process of its own."""
    sizes = (FEW, MANY) if baseline_first else (MANY, FEW)
    got = {(place, size): _elsewhere(place, size, seed) for place in ("here", "ray") for size in sizes}
    cost = {key: run["seconds"] / key[1] for key, run in got.items()}
    notes: dict[str, Any] = {
        "ms_per_series": {f"{place} {size}": round(each * 1000, 2) for (place, size), each in cost.items()},
        "added_mib": {f"{place} {size}": round(run["added_mib"]) for (place, size), run in got.items()},
        "peak_mib": {f"{place} {size}": round(run["peak_mib"]) for (place, size), run in got.items()},
        "ray_many_over_ray_few": round(cost["ray", MANY] / cost["ray", FEW], 3),
        "family_seconds": got["here", MANY]["families"],
        "forecasts": got["here", MANY]["forecasts"],
    }
    return Pair(
        seed=seed,
        baseline=cost["here", FEW],
        ours={"in process": cost["here", MANY], f"on Ray, {WORKERS} workers": cost["ray", MANY]},
        notes=notes,
    )


def _elsewhere(place: str, size: int, seed: int) -> dict[str, Any]:
    words = [sys.executable, "-m", "benchmarks.backtest_scale", place, str(size), str(seed)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=RUN_S, check=False)
    if done.returncode:
        raise RuntimeError(f"{place} {size}: {done.stderr[-2000:]}")
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


class Memory:
    """The proportional share of this process and of the Ray workers under it, sampled in a thread."""

    def __init__(self) -> None:
        self.base = self.peak = self._now()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Sample no more."""
        self._end.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._end.wait(SAMPLE_S):
            self.peak = max(self.peak, self._now())

    @staticmethod
    def _now() -> float:
        import psutil

        me = psutil.Process()
        total = 0.0
        for process in [me, *me.children(recursive=True)]:
            try:
                if process.pid == me.pid or process.name().startswith("ray::"):
                    total += process.memory_full_info().pss
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue  # it has ended since
        return total / 2**20


def measure(fanout: Fanout, size: int, seed: int) -> dict[str, Any]:
    """Backtest `size` series and return seconds and memory."""
    warm = RollingPlan(horizon=PLAN.horizon, cutoffs=2, block=20)
    rolling_backtest(many_series(WARM, seed + 1), FAMILIES, warm, fanout=fanout)
    panel = many_series(size, seed)
    memory = Memory()
    started_s = time.perf_counter()
    got = rolling_backtest(panel, FAMILIES, PLAN, fanout=fanout)
    seconds = time.perf_counter() - started_s
    memory.stop()
    made = int(np.isfinite(got.points).all(axis=(3, 4)).sum())
    if made < size * PLAN.cutoffs * len(FAMILIES):
        raise RuntimeError(f"{made} forecasts were made; {got.faults[:1]}")
    return {
        "seconds": seconds,
        "added_mib": memory.peak - memory.base,
        "peak_mib": memory.peak,
        "families": {name: round(each, 1) for name, each in got.seconds.items()},
        "forecasts": made,
    }


def main() -> None:
    """Do one run and print it."""
    place, size, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    if place == "here":
        print(json.dumps(measure(LocalFanout(), size, seed)))
        return
    from cluster.lifecycle import Cluster
    from cluster.settings import Settings

    with Cluster.open(Settings.from_environment({}), num_cpus=WORKERS, dashboard=False):
        print(json.dumps(measure(RayFanout(), size, seed)))


BENCHMARK = Benchmark(
    name="backtest_scale",
    question=f"seconds a series, backtest of {MANY} series x {PLAN.cutoffs} cut-offs x {len(FAMILIES)} families, "
    f"over those among {FEW} series in process",
    goal=1.1,
    pair=pair,
)

if __name__ == "__main__":
    main()
