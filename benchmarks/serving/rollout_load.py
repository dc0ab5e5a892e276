"""Promote and roll back under an open loop near capacity: failed requests, and p99 against the steady one's.

One platform as `heliotrope up` runs it: registry, office, one replica behind the proxy, three equal versions. A
closed loop finds what it can do at most beside a canary (fewer than without: two versions have two passes each). An
open loop at `SHARE` of that goes on, in windows: the canary goes on, is promoted by hand; the next one begins, goes
on, is rolled back by hand. The window of a change holds all of it: versions that are loaded and let go, the new
weights on every replica, the registry, the verification.

Baseline is the median p99 of the windows in which nothing changes, one version or two; ours the p99 of each change.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import httpx

from benchmarks.measure import Benchmark, Pair
from benchmarks.serving.contenders import CACHE, Contender
from benchmarks.serving.model import NAME, make, request
from cluster.errors import HeliotropeError, TransientError

SHARE = 0.7
CONNECTIONS = 64
WARM_S, CLOSED_S, STEADY_S, CHANGE_S = 3.0, 5.0, 10.0, 15.0
ORDER_AFTER_S = 3.0
"""From the start of a window's load generator to the order: past its start and the part it does not count."""
DEADLINE_S, POLL_S = 120.0, 1.0
CANARY = {"weights": [0.05, 1.0], "min_stage_s": 3600.0}
"""The default's first stage, kept until somebody decides."""
VERSIONS = ("1.0.0", "1.1.0", "1.2.0")


class Rolled:
    """A served platform, the load on it, and what is ordered meanwhile.

    Parameters
    ----------
    server
        Where the load goes.
    http
        To the same place, for orders.
    """

    def __init__(self, server: Contender, http: httpx.Client) -> None:
        self._server, self._http, self._serial, self._rate = server, http, 0, 0.0
        self._aside = ThreadPoolExecutor(1)

    def find_rate(self) -> float:
        """Return the most that a closed loop brings, and load with a share of it from now on."""
        self._window(WARM_S)
        most = float(self._window(CLOSED_S)["rps"])
        self._rate = SHARE * most
        return most

    def steady(self) -> dict[str, Any]:
        """Load while nothing changes."""
        return self._window(STEADY_S)

    def during(self, change: Callable[[], None]) -> dict[str, Any]:
        """Load while a change is ordered and carried out; it must be over when the window is."""
        window = self._aside.submit(self._window, CHANGE_S)
        begun_s = time.monotonic()
        time.sleep(ORDER_AFTER_S)
        change()
        took_s = time.monotonic() - begun_s - ORDER_AFTER_S
        return window.result() | {"change_s": took_s}

    def start(self, name: str, version: str) -> None:
        """Begin a canary of a version, and wait until both versions answer."""
        wish = {"id": name, "model": NAME, "version": version, "parameters": CANARY}
        self._http.post("/api/deployments", json=wish).raise_for_status()
        self._until(name, ("running",))

    def order(self, name: str, word: str) -> None:
        """Give an order, and wait until all that it asks for is done."""
        self._http.post(f"/api/deployments/{name}/{word}", json={"why": "benchmark"}).raise_for_status()
        self._until(name, ("promoted", "rolled_back"))

    def _until(self, name: str, states: tuple[str, ...]) -> None:
        deadline_s = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline_s:
            told = self._http.get(f"/api/deployments/{name}").json()
            if told["state"] in states and not told["effects"]:
                return
            time.sleep(POLL_S)
        raise TransientError(f"rollout {name}: got {told['state']} after {DEADLINE_S:g} s, expected {states}")

    def _window(self, seconds: float) -> dict[str, Any]:
        self._serial += 1_000_000
        return self._server.load(
            rate=self._rate, seconds=seconds, connections=CONNECTIONS, serial=self._serial % 10_000_000
        )


@contextmanager
def platform_running(model: Path) -> Iterator[Rolled]:
    """Run a platform with three versions of one model, the first in production, while the block runs."""
    from apps.platform import Platform
    from apps.running import Running
    from cluster.lifecycle import Cluster
    from cluster.settings import Settings
    from serve_deployments.question_routes import FORECAST_PATH

    with tempfile.TemporaryDirectory() as home:
        ports = {f"ML_{name}_PORT": "0" for name in ("HTTP", "TRACKING", "DASHBOARD")}
        settings = Settings.from_environment(
            {"ML_HOME": home, "ML_HTTP_INGRESS": "haproxy", "ML_MAX_CONCURRENT_REQUESTS": "200", **ports}
        )
        body = Path(home) / "request"
        body.write_bytes(request())
        with Cluster.open(settings, num_cpus=8, dashboard=False) as cluster:
            running = Running(pid=os.getpid(), ray_address=cluster.address, dashboard_url="", tracking_url="")
            running.save(settings)
            platform = Platform(settings, cluster, running)
            try:
                _register(platform.registry, model)
                url = platform.serve().endpoint
                server = Contender(port=int(url.rpartition(":")[2]), path=FORECAST_PATH, body=str(body), headers={})
                with _kept_up(platform), httpx.Client(base_url=url, timeout=30) as http:
                    yield Rolled(server, http)
            finally:
                platform.close()


@contextmanager
def _kept_up(platform: Any) -> Iterator[None]:
    """Deploy what is wanted, about once a second, as `heliotrope up` does."""
    ended = threading.Event()

    def keep_up() -> None:
        while not ended.wait(1.0):
            try:
                platform.reconcile()
            except HeliotropeError as error:
                print(f"    {error}", flush=True)

    with ThreadPoolExecutor(1) as aside:
        going = aside.submit(keep_up)
        try:
            yield
        finally:
            ended.set()
            going.result()


def _register(registry: Any, model: Path) -> None:
    from cluster.registry.registry import APPROVAL, EVALUATION
    from cluster.registry.version import Lineage, Stage

    for seed in range(len(VERSIONS)):
        lineage = Lineage(
            data_digest="made up", schema_digest="made up", parameters={"seed": seed}, seed=seed,
            code_revision="benchmark", libraries={},
        )  # fmt: skip
        evidence = {EVALUATION: {"passed": True}, APPROVAL: {"by": "benchmark"}}
        made = registry.register(NAME, model, lineage=lineage, metrics={}, owner="benchmark", evidence=evidence)
        registry.promote(NAME, made.version, Stage.STAGING if seed else Stage.PRODUCTION)


def pair(seed: int, baseline_first: bool) -> Pair:  # noqa: ARG001 - steady windows stand before, between and after
    """Promote one canary, and roll the next one back."""
    with platform_running(make(CACHE / "model")) as rolled:
        rolled.start("first", VERSIONS[1])
        most = rolled.find_rate()
        windows = {
            "steady, first canary": rolled.steady(),
            "promote": rolled.during(lambda: rolled.order("first", "promote")),
            "steady, 1.1.0": rolled.steady(),
            "begin second": rolled.during(lambda: rolled.start("second", VERSIONS[2])),
            "steady, second canary": rolled.steady(),
            "rollback": rolled.during(lambda: rolled.order("second", "rollback")),
            "steady, 1.1.0 again": rolled.steady(),
        }
    for name, told in windows.items():
        print(f"    {name}: {told}", flush=True)
    steady = median(float(told["p99_ms"]) for name, told in windows.items() if name.startswith("steady"))
    failed = sum(
        told["lost"] + sum(count for status, count in told["statuses"].items() if status != "200")
        for told in windows.values()
    )
    return Pair(
        seed=seed,
        baseline=steady,
        ours={name: windows[name]["p99_ms"] for name in ("promote", "rollback", "begin second")},
        notes={"failed": failed, "closed_rps": most, "share": SHARE, "windows": windows},
    )


def _summary(pairs: list[Pair]) -> dict[str, object]:
    return {"failed requests": sum(int(str(each.notes["failed"])) for each in pairs)}


BENCHMARK = Benchmark(
    name="rollout_load",
    question=f"p99 while a canary is promoted, rolled back, begun at {SHARE:.0%} of the most, over the steady one",
    goal=1.2,
    pair=pair,
    summary=_summary,
)
