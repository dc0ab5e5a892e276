"""Requests a second with a p99 below 100 ms, one row a request, against FastAPI, LitServe and BentoML.

Each server gets the same body, the same model file and the same 64 connections; each request differs in
seven digits, so that no cache helps. First a closed loop finds what the server can do at most; then open loops
at falling shares
of that find the highest rate at which 99 of 100 requests, due by a fixed schedule, are answered within 100 ms.
Baseline and ours are seconds a request; the baseline is the best peer's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.measure import Benchmark, Pair
from benchmarks.serving.contenders import CACHE, Contender, ours_running, peer_running
from benchmarks.serving.model import make

CONNECTIONS = 64
LIMIT_MS = 100.0
SHARES = (0.95, 0.88, 0.81, 0.75, 0.7, 0.65, 0.6, 0.55, 0.5, 0.42, 0.35, 0.27, 0.2)
WARM_S, CLOSED_S, OPEN_S, ONE_S = 2.0, 4.0, 4.0, 3.0
PEERS = (("fastapi", 1), ("fastapi", 2), ("litserve", 2), ("bentoml", 2))
REPLICAS = (1, 2)


def examine(server: Contender) -> dict[str, Any]:
    """Return what a server can do: at most, within the limit, and for a lone caller."""
    server.load(rate=0, seconds=WARM_S, connections=CONNECTIONS, serial=9_000_000)
    most = server.load(rate=0, seconds=CLOSED_S, connections=CONNECTIONS)
    found: dict[str, Any] = {"closed_rps": most["rps"], "closed_p99_ms": most["p99_ms"], "rps": 0.0, "p99_ms": None}
    missed = []
    for step, share in enumerate(SHARES):
        serial = 1_000_000 * (step + 1)
        tried = server.load(rate=share * most["rps"], seconds=OPEN_S, connections=CONNECTIONS, serial=serial)
        if tried["p99_ms"] is not None and tried["p99_ms"] < LIMIT_MS and set(tried["statuses"]) <= {"200"}:
            found |= {"rps": tried["rps"], "p99_ms": tried["p99_ms"], "p50_ms": tried["p50_ms"]}
            break
        missed.append({"rate": round(tried["rate"]), "p99_ms": tried["p99_ms"], "statuses": tried["statuses"]})
    alone = server.load(rate=0, seconds=ONE_S, connections=1, serial=8_000_000)
    return found | {
        "missed": missed,
        "one_connection_p50_ms": alone["p50_ms"],
        "one_connection_p99_ms": alone["p99_ms"],
    }


def _servers(model: Path) -> Iterator[tuple[str, AbstractContextManager[Contender]]]:
    for peer, workers in PEERS:
        yield f"{peer} x{workers}", peer_running(peer, workers, model)
    for replicas in REPLICAS:
        yield f"ours x{replicas}", _ours(model, replicas)


@contextmanager
def _ours(model: Path, replicas: int) -> Iterator[Contender]:
    from serve_deployments.graph import Scaling

    with ours_running(model, scaling=Scaling(min_replicas=replicas, max_replicas=replicas)) as server:
        yield server


def pair(seed: int, baseline_first: bool) -> Pair:
    """Examine every server, one after the other; the first half in turn with the second."""
    model, found = make(CACHE / "model"), {}
    servers = list(_servers(model))
    for name, running in servers if baseline_first else reversed(servers):
        with running as server:
            told = examine(server)
        found[name] = {key: round(value, 2) if isinstance(value, float) else value for key, value in told.items()}
        print(f"    {name}: {found[name]}", flush=True)
    best = max(float(figures["rps"] or 1e-9) for name, figures in found.items() if not name.startswith("ours"))
    ours = {name: _cost(figures) for name, figures in found.items() if name.startswith("ours")}
    fastest = dict(sorted(ours.items(), key=lambda item: item[1] or float("inf")))
    return Pair(seed=seed, baseline=1 / best, ours=fastest, notes=found)


def _cost(figures: dict[str, Any]) -> float | None:
    return 1 / figures["rps"] if figures["rps"] else None


BENCHMARK = Benchmark(
    name="serving_throughput",
    question="seconds a request at p99 < 100 ms and 64 connections, one row each: ours over the best of "
    "FastAPI (1, 2 workers), LitServe and BentoML",
    goal=0.5,
    pair=pair,
)
