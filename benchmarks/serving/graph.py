"""One graph fused and spread, with batches and without: what the way between processes costs, what batches win.

Baseline and ours are seconds a request in a closed loop of 64 connections on the spread graph: without batches, and
with those that the policy chooses. The notes hold a lone caller's median fused and spread.
"""

from __future__ import annotations

from typing import Any

from benchmarks.measure import Benchmark, Pair
from benchmarks.serving.contenders import CACHE, ours_running
from benchmarks.serving.model import make

CONNECTIONS, SECONDS = 64, 5.0


def _examined(**changes: Any) -> dict[str, float]:
    with ours_running(make(CACHE / "model"), **changes) as server:
        server.load(rate=0, seconds=2, connections=CONNECTIONS, serial=9_000_000)
        many = server.load(rate=0, seconds=SECONDS, connections=CONNECTIONS)
        alone = server.load(rate=0, seconds=3, connections=1, serial=5_000_000)
    return {"rps": many["rps"], "p99_ms": many["p99_ms"], "alone_p50_ms": alone["p50_ms"]}


def pair(seed: int, baseline_first: bool) -> Pair:
    """Examine the spread graph with and without batches, and the fused one."""
    cases: dict[str, dict[str, Any]] = {
        "one by one": {"placement": "spread", "max_batch_size": 1},
        "batches": {"placement": "spread"},
        "fused": {"placement": "fused"},
    }
    order = list(cases) if baseline_first else list(reversed(cases))
    found = {name: _examined(**cases[name]) for name in order}
    added_ms = found["batches"]["alone_p50_ms"] - found["fused"]["alone_p50_ms"]
    return Pair(
        seed=seed,
        baseline=1 / found["one by one"]["rps"],
        ours={"batches": 1 / found["batches"]["rps"], "fused": 1 / found["fused"]["rps"]},
        notes={**found, "spread_adds_p50_ms": added_ms},
    )


BENCHMARK = Benchmark(
    name="serving_graph",
    question="seconds a request on the spread graph at 64 connections: dynamic batches over one by one",
    goal=1 / 3,
    pair=pair,
)
