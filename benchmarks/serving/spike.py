"""Ten times the load for thirty seconds: nothing falls over, every request is answered or refused with a reason.

Baseline and ours are the median milliseconds of answers at the usual rate, before the spike and after it. It is an
error where a request has neither an answer nor a reason, where more wait than the queue holds, or where a second of
the usual load that is as before comes later than ten seconds after the spike.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.measure import Benchmark, Pair
from benchmarks.serving.contenders import CACHE, Contender, ours_running
from benchmarks.serving.load import Answered
from benchmarks.serving.model import make

SHARE, TIMES = 0.3, 10
"""The usual load is this share of what a closed loop finds: ten times that is three times what can be done."""
SPIKE_S, CALM_S, RECOVERED_S = 30.0, 15.0, 10.0
CONNECTIONS, MANY = 64, 2000
"""Six times the places of the one replica: the others wait at HAProxy, and are refused there after five seconds."""
ALIKE, ALIKE_MS = 2.0, 5.0
"""As before: the median of a second is at most twice that of before, or so few milliseconds that nobody minds."""
_DEPTH = re.compile(r"got ([0-9]+) in progress or waiting, expected fewer than ([0-9]+)")


def recorded(server: Contender, **load: Any) -> tuple[dict[str, Any], list[Answered]]:
    """Put load on a server; return the report, and what came of each request."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "record"
        report = server.load(record=str(file), **load)
        return report, [Answered(*json.loads(line)) for line in file.read_text().splitlines()]


def faults(report: dict[str, Any], answers: Sequence[Answered]) -> list[str]:
    """Return what a spike must not show: silence, other statuses, refusals without a reason, a deeper queue."""
    found = []
    if report["sent"] != len(answers) or report["lost"] or report["refused"]:
        found.append(f"{report['sent']} sent, {len(answers)} answered, {report['lost']} lost")
    if others := {each.status for each in answers} - {200, 503}:
        found.append(f"statuses {sorted(others)}")
    if any(len(reason) <= len("503 ") for reason in report["refusals"]):
        found.append("refusals without a reason")
    for depth, limit in (map(int, each) for each in _DEPTH.findall(" ".join(report["refusals"]))):
        if depth > limit:
            found.append(f"{depth} in progress or waiting, where {limit} may be")
    return found


def recovered_s(answers: Sequence[Answered], before_ms: float) -> float:
    """Return when the first second began that was as before the spike, in seconds after it."""
    begun_s = min(each.due_s for each in answers)
    for second in range(int(CALM_S)):
        some = [each for each in answers if second <= each.due_s - begun_s < second + 1]
        well = bool(some) and all(each.status == 200 for each in some)
        p50_ms = median(1000 * (each.ended_s - each.due_s) for each in some) if some else float("inf")
        if well and p50_ms <= max(ALIKE * before_ms, ALIKE_MS):
            return float(second)
    return float("inf")


def pair(seed: int, baseline_first: bool) -> Pair:  # noqa: ARG001 - a spike stands between its before and after
    """Load as usual, ten times that, as usual."""
    from serve_deployments.graph import Scaling

    with ours_running(make(CACHE / "model"), scaling=Scaling(min_replicas=1, max_replicas=1)) as server:
        server.load(rate=0, seconds=2, connections=CONNECTIONS, serial=9_000_000)
        usual = SHARE * server.load(rate=0, seconds=4, connections=CONNECTIONS, serial=8_000_000)["rps"]
        before = server.load(rate=usual, seconds=CALM_S, connections=CONNECTIONS)
        spike, answers = recorded(server, rate=TIMES * usual, seconds=SPIKE_S, connections=MANY, serial=1_000_000)
        after, calm = recorded(server, rate=usual, seconds=CALM_S, connections=CONNECTIONS, serial=5_000_000)
    wrong, back_s = faults(spike, answers), recovered_s(calm, before["p50_ms"])
    notes = {"before": before, "spike": spike, "after": after, "recovered_s": back_s}
    if wrong or back_s > RECOVERED_S:
        raise RuntimeError(f"{'; '.join(wrong) or 'not recovered in time'}: {notes}")
    return Pair(seed=seed, baseline=before["p50_ms"], ours={"after": after["p50_ms"]}, notes=notes)


BENCHMARK = Benchmark(
    name="serving_spike",
    question=f"p50 in the {CALM_S:g} s after {SPIKE_S:g} s of {TIMES} times the usual load, over p50 before it",
    goal=1.5,
    pair=pair,
)
