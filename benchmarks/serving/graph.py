"""One graph fused and spread, with batches and without: what the way between processes costs, what batches win.

One replica of the ingress and, where spread, one of each member; all that the production profile switches on. A
closed loop of 64 connections, each request another question. Baseline and ours are seconds a request:

- baseline `one by one`: the spread graph with `max_batch_size` 1. Each request goes to each member on its own and
  is computed on its own; as many are under way as there are connections.
- `batches`: the same graph with the default size (64) and what its policies choose: concurrent requests share the
  way to the members, and their calls.
- `fused`: the default graph, everything in one process.

The notes hold throughput, latencies, and a lone caller's median, fused and spread: what the way adds.
"""

from __future__ import annotations

from statistics import median
from typing import Any

from benchmarks.measure import Benchmark, Pair
from benchmarks.serving.contenders import CACHE, ours_running
from benchmarks.serving.model import make

CONNECTIONS, SECONDS, ALONE_SECONDS = 64, 5.0, 3.0
CASES: dict[str, dict[str, Any]] = {
    "one by one": {"placement": "spread", "max_batch_size": 1},
    "batches": {"placement": "spread"},
    "fused": {"placement": "fused"},
}


def _examined(**changes: Any) -> dict[str, Any]:
    from serve_deployments.graph import Scaling

    with ours_running(make(CACHE / "model"), scaling=Scaling(), **changes) as server:
        server.load(rate=0, seconds=2, connections=CONNECTIONS, serial=9_000_000)
        many = server.load(rate=0, seconds=SECONDS, connections=CONNECTIONS)
        alone = server.load(rate=0, seconds=ALONE_SECONDS, connections=1, serial=5_000_000)
    told = {name: many[name] for name in ("rps", "p50_ms", "p99_ms", "statuses")}
    return {**told, "alone_p50_ms": alone["p50_ms"], "alone_p99_ms": alone["p99_ms"]}


def pair(seed: int, baseline_first: bool) -> Pair:
    """Examine the spread graph with and without batches, and the fused one."""
    order = list(CASES) if baseline_first else list(reversed(CASES))
    found = {name: _examined(**CASES[name]) for name in order}
    added_ms = found["batches"]["alone_p50_ms"] - found["fused"]["alone_p50_ms"]
    return Pair(
        seed=seed,
        baseline=1 / found["one by one"]["rps"],
        ours={"batches": 1 / found["batches"]["rps"], "fused": 1 / found["fused"]["rps"]},
        notes={**found, "spread_adds_p50_ms": added_ms},
    )


def summary(pairs: list[Pair]) -> dict[str, object]:
    """Return the issue's two figures: times the throughput, and milliseconds added to a lone caller's median."""
    times = median(1 / pair.ratio("batches") for pair in pairs)
    added_ms = [pair.notes["spread_adds_p50_ms"] for pair in pairs]
    return {
        "batches over one by one, times the throughput (reach 3, aim 10)": round(times, 2),
        "spread over fused, added p50 of one connection in ms (aim below 3)": [
            round(each, 2) for each in added_ms if isinstance(each, float)
        ],
    }


BENCHMARK = Benchmark(
    name="serving_graph",
    question="seconds a request on the spread graph at 64 connections: dynamic batches over one by one",
    goal=1 / 3,
    pair=pair,
    summary=summary,
)
