"""Ten times the load for thirty seconds: nothing falls over, every request is answered or refused with a reason.

Baseline and ours are the median milliseconds of answers at the usual rate, before the spike and right after it.
"""

from __future__ import annotations

from benchmarks.measure import Benchmark, Pair
from benchmarks.serving.contenders import CACHE, ours_running
from benchmarks.serving.model import make

USUAL_RPS, TIMES = 400.0, 10
SPIKE_S, CALM_S = 30.0, 8.0
CONNECTIONS, MANY = 64, 600


def pair(seed: int, baseline_first: bool) -> Pair:  # noqa: ARG001 - a spike stands between its before and after
    """Load as usual, ten times that, as usual."""
    with ours_running(make(CACHE / "model")) as server:
        server.load(rate=0, seconds=2, connections=CONNECTIONS, serial=9_000_000)
        before = server.load(rate=USUAL_RPS, seconds=CALM_S, connections=CONNECTIONS)
        spike = server.load(rate=USUAL_RPS * TIMES, seconds=SPIKE_S, connections=MANY, serial=1_000_000)
        after = server.load(rate=USUAL_RPS, seconds=CALM_S, connections=CONNECTIONS, serial=5_000_000)
    notes = {"before": before, "spike": spike, "after": after}
    return Pair(seed=seed, baseline=before["p50_ms"], ours={"after": after["p50_ms"]}, notes=notes)


BENCHMARK = Benchmark(
    name="serving_spike",
    question=f"p50 in the {CALM_S:g} s after {SPIKE_S:g} s of {TIMES} times the usual load, over p50 before it",
    goal=1.5,
    pair=pair,
)
