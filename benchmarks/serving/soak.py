"""Ten minutes at most of what a server can take: no request fails, and no process grows.

A short closed loop finds what the server can do; an open loop then goes on at 70 % of that, from a process of its
own. After a minute to settle, the memory of each process of the Ray is read once a second: as RSS, which the
neighbours on the machine do not change, as they do PSS. Growth is the median of the last tenth of the readings over
that of the first.

Baseline and ours are bytes of all processes together, at the beginning and at the end.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import psutil

from benchmarks.measure import Benchmark, Pair
from benchmarks.serving.contenders import CACHE, Contender, ours_running
from benchmarks.serving.model import make

SECONDS = float(os.environ.get("BENCHMARK_SOAK_SECONDS", "600"))
"""Of the load; a shorter one is a trial, and its figure is not the one that was asked for."""
SETTLE_S, EVERY_S, TENTH = 60.0, 1.0, 0.1
SHARE, CONNECTIONS, FIND_S = 0.7, 64, 5.0
MOST_GROWTH = 1.02
LOADER = "benchmarks.serving.load"
_TITLE = re.compile(r"ray::[A-Za-z:]+|cluster\.head|gcs_server|raylet|haproxy|dashboard/agent|runtime_env|monitor")


@dataclass(frozen=True, kw_only=True)
class Growth:
    """What became of a process.

    Parameters
    ----------
    name
        What it is.
    first_mib, last_mib
        Its memory at the beginning and at the end.
    """

    name: str
    first_mib: float
    last_mib: float

    @property
    def ratio(self) -> float:
        """The end over the beginning."""
        return self.last_mib / self.first_mib


def memory_bytes() -> dict[tuple[int, str], int]:
    """Return (pid, name) -> RSS of each process below this one, without what puts the load on."""
    found = {}
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            words = " ".join(process.cmdline())
            if LOADER not in words:
                title = _TITLE.search(words)
                found[process.pid, title[0] if title else process.name()] = process.memory_info().rss
    return found


class Watch:
    """Reads the memory of all processes once a second, after they have settled, until it is ended."""

    def __init__(self) -> None:
        self.readings: dict[tuple[int, str], list[int]] = defaultdict(list)
        self._end, self._thread = threading.Event(), threading.Thread(target=self._read)

    def _read(self) -> None:
        wait_s = SETTLE_S
        while not self._end.wait(wait_s):
            wait_s = EVERY_S
            for key, size_bytes in memory_bytes().items():
                self.readings[key].append(size_bytes)

    def __enter__(self) -> Mapping[tuple[int, str], Sequence[int]]:
        self._thread.start()
        return self.readings

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()


def growths(readings: Mapping[tuple[int, str], Sequence[int]]) -> list[Growth]:
    """Return what became of each process that lived all the time, the largest growth first."""
    longest = max(map(len, readings.values()), default=0)
    found = []
    for (pid, name), sizes in readings.items():
        if len(sizes) < longest:
            continue
        few = max(1, round(len(sizes) * TENTH))
        first, last = (median(part) / 2**20 for part in (sizes[:few], sizes[-few:]))
        found.append(Growth(name=f"{name} {pid}", first_mib=round(first, 2), last_mib=round(last, 2)))
    return sorted(found, key=lambda each: each.first_mib - each.last_mib)


def soak(server: Contender) -> tuple[dict[str, object], list[Growth]]:
    """Find the rate, hold it, watch; return what the load says and what became of each process."""
    server.load(rate=0, seconds=2, connections=CONNECTIONS, serial=9_000_000)
    most = server.load(rate=0, seconds=FIND_S, connections=CONNECTIONS, serial=8_000_000)
    with Watch() as readings:
        told = server.load(rate=SHARE * most["rps"], seconds=SECONDS, connections=CONNECTIONS)
    return {"closed_rps": most["rps"], **told}, growths(readings)


def pair(seed: int, baseline_first: bool) -> Pair:  # noqa: ARG001 - the end comes after the beginning
    """Soak once; raise where a request failed."""
    if SECONDS < 2 * SETTLE_S:
        raise ValueError(f"BENCHMARK_SOAK_SECONDS: got {SECONDS:g}, expected {2 * SETTLE_S:g} or more")
    from serve_deployments.graph import Scaling

    with ours_running(make(CACHE / "model"), scaling=Scaling(min_replicas=1, max_replicas=1)) as server:
        told, found = soak(server)
    for each in found:
        print(f"    {each.name}: {each.first_mib} -> {each.last_mib} MiB ({each.ratio:.4f})", flush=True)
    if told["lost"] or told["missing"] or told["statuses"] != {"200": sum(told["statuses"].values())}:  # type: ignore[attr-defined]
        raise RuntimeError(f"requests failed: {told}")
    notes = {"seconds": SECONDS, "load": told, "processes_mib": {each.name: vars(each) for each in found}}
    first, last = (sum(getattr(each, name) for each in found) for name in ("first_mib", "last_mib"))
    grown = max(each.ratio for each in found)
    return Pair(seed=seed, baseline=first, ours={"worst": first * grown, "all": last}, notes=notes)


BENCHMARK = Benchmark(
    name="serving_soak",
    question=f"memory after {SECONDS / 60:g} minutes at {SHARE:.0%} of the most, over that after the first: of the "
    "process that grows most, and of all together",
    goal=MOST_GROWTH,
    pair=pair,
)
