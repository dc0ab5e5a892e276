"""What replicas record, and what the controller's context becomes of it."""

from __future__ import annotations

import asyncio
import json
import math
import random
from dataclasses import dataclass
from typing import Any

import pytest

from cluster.clock import ManualClock
from serve_deployments.scaling.serve_policy import ServeScaling
from serve_deployments.scaling.work import WorkStep

SCALING: dict[str, Any] = {
    "min_replicas": 1,
    "max_replicas": 10,
    "target_ongoing": 2.0,
    "headroom": 0.0,
    "slow_s": 1.0,
}


@dataclass
class Sample:
    """As Serve stamps them."""

    value: float


@dataclass
class Context:
    """What of Serve's context is read."""

    current_time: float
    total_num_requests: float
    raw_metrics: dict[str, dict[str, list[Sample]]]
    current_num_replicas: int = 2
    target_num_replicas: int = 2
    deployment_name: str = "Ingress"


def context(now_s: float, ongoing: float, *stats: dict[str, float]) -> Context:
    names = stats[0] if stats else {}
    raw = {name: {f"r{n}": [Sample(0.0), Sample(each[name])] for n, each in enumerate(stats)} for name in names}
    return Context(now_s, ongoing, raw)


def served(work: WorkStep, clock: ManualClock, took_s: float) -> None:
    async def answer(_: Any) -> Any:
        clock.advance(took_s)

    asyncio.run(work(None, answer))  # type: ignore[arg-type]  # it looks at nothing of the call


def test_a_replica_tells_what_came_and_how_long_it_took() -> None:
    clock = ManualClock(100.0)
    work = WorkStep(clock)
    for took_s in (0.1,) * 19 + (2.0,):
        served(work, clock, took_s)
    stats = work.stats()
    assert (stats["arrived"], stats["answered"]) == (20, 20)
    assert stats["busy_s"] == pytest.approx(3.9)
    assert stats["slow_s"] == pytest.approx(0.1)
    served(work, clock, 2.0)
    assert work.stats()["slow_s"] == pytest.approx(2.0)
    clock.advance(60)
    assert work.stats()["slow_s"] == 0.0


def test_a_request_that_fails_came_and_was_not_answered() -> None:
    async def fail(_: Any) -> Any:
        raise RuntimeError("no")

    work = WorkStep(ManualClock())
    with pytest.raises(RuntimeError):
        asyncio.run(work(None, fail))  # type: ignore[arg-type]  # as above
    stats = work.stats()
    assert (stats["arrived"], stats["inside"], stats["answered"]) == (1, 0, 0)


def test_what_is_inside_is_told_while_it_is() -> None:
    work, seen = WorkStep(ManualClock()), list[float]()

    async def look(_: Any) -> Any:
        seen.append(work.stats()["inside"])

    asyncio.run(work(None, look))  # type: ignore[arg-type]  # as above
    assert seen == [1.0]


def test_requests_that_serve_does_not_see_count_as_the_replicas_tell_them() -> None:
    told = {"inside": 7.0}
    assert ServeScaling(SCALING).load(context(10.0, 0.0, told, told), 10.0).ongoing == 14.0
    assert ServeScaling(SCALING).load(context(10.0, 20.0, told, told), 10.0).ongoing == 20.0


def test_the_context_becomes_a_load_with_work_since_the_last_look() -> None:
    scaling = ServeScaling(SCALING)
    scaling.load(context(-100.0, 0.0), -100.0)  # long enough ago to know every replica
    first = {"arrived": 100.0, "answered": 90.0, "busy_s": 9.0, "slow_s": 0.2}
    scaling.load(context(10.0, 4.0, first, first), 10.0)
    later = {"arrived": 150.0, "answered": 140.0, "busy_s": 24.0, "slow_s": 0.7}
    load = scaling.load(context(20.0, 4.0, later, first), 20.0)
    assert (load.arrived, load.ongoing, load.replicas) == (250.0, 4.0, 2)
    assert load.service_s == pytest.approx(15.0 / 50)
    assert load.latency_s == 0.7


def test_it_decides_once_a_second_and_says_why() -> None:
    scaling = ServeScaling(SCALING)
    replicas, state = scaling(context(10.0, 12.0))
    assert replicas == 6
    assert state["reason"].startswith("load: 12 inside, +0 foreseen, 2 a replica")
    assert scaling(context(10.5, 18.0)) == (6, state)
    assert scaling(context(11.0, 18.0))[0] == 9
    slow = {"arrived": 1.0, "answered": 1.0, "busy_s": 3.0, "slow_s": 1.5}
    assert scaling(context(12.0, 1.0, slow))[0] == 3
    assert scaling(context(13.0, 1.0, slow))[1]["reason"].startswith("latency: 1.5 s, expected at most 1 s")


def test_a_fresh_controller_takes_old_counts_for_no_burst() -> None:
    scaling, old = ServeScaling(SCALING, {"step_s": 1.0}), {"arrived": 1e6, "answered": 1e6, "busy_s": 1e5}
    assert scaling.load(context(10.0, 4.0, old), 10.0).arrived == 0
    assert scaling.load(context(20.0, 4.0, old, old), 20.0).arrived == 0  # the second one reports later
    load = scaling.load(context(50.0, 4.0, old, old, {"arrived": 3.0, "answered": 0.0, "busy_s": 0.0}), 50.0)
    assert load.arrived == 3  # a new one's, in full


def test_rubbish_is_not_heard() -> None:
    scaling, whole = ServeScaling(SCALING, {"step_s": 1.0}), {"arrived": 5.0, "inside": 3.0, "slow_s": 0.1}
    broken = {"arrived": math.nan, "inside": -7.0, "slow_s": math.inf}
    load = scaling.load(context(10.0, math.nan, broken, whole), 10.0)
    assert (load.ongoing, load.arrived, load.latency_s) == (3.0, 0.0, 0.1)
    for now_s in range(11, 40):
        replicas, _ = scaling(context(float(now_s), -1.0, broken, broken))
        assert replicas == 1


def test_what_starts_is_not_put_to_sleep_before_it_was_idle_and_what_sleeps_stays_asleep() -> None:
    scaling, starts = ServeScaling(SCALING | {"min_replicas": 0, "idle_s": 3.0}), context(0.0, 0.0)
    starts.current_num_replicas, starts.target_num_replicas = 0, 1
    decided = []
    for second in range(5):
        starts.current_time = float(second + 1)
        decided.append(scaling(starts)[0])
    assert decided == [1, 1, 1, 0, 0]
    starts.target_num_replicas, starts.current_time = 0, 7.0
    assert scaling(starts)[0] == 0


def test_a_clock_that_is_set_back_does_not_stop_it() -> None:
    scaling = ServeScaling(SCALING)
    assert scaling(context(1e6, 4.0))[0] == 2
    assert scaling(context(10.0, 16.0))[0] == 8


def test_it_writes_whenever_the_forecast_comes_into_use_and_goes_out_of_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rate = {"step_s": 1.0, "lead_s": 1.0, "seasons_s": (), "params": {"window": 8}, "judged_steps": 8}
    scaling, arrived, rng = ServeScaling(SCALING, rate), 0.0, random.Random(0)
    with caplog.at_level("INFO", logger="ray.serve.heliotrope"):
        for second in range(200):
            wave = 100 + 80 * math.sin(second) if second < 150 else 100 * rng.lognormvariate(0, 2)
            arrived += wave
            scaling(context(float(second), 2.0, {"arrived": arrived, "answered": arrived, "busy_s": arrived / 10}))
    told = [record.getMessage() for record in caplog.records]
    assert "forecast not used: 0 steps" in told[0]
    assert told[0].startswith("scaling of 'Ingress': ")
    assert "forecast used: recent error" in told[1]
    assert "forecast not used: recent error" in told[2]
    assert len(told) < 10  # once a change, not once a second


def test_its_arguments_are_json_as_serve_wants_them() -> None:
    kwargs = {"scaling": SCALING, "rate": {"step_s": 1.0, "params": {"window": 10}}}
    ServeScaling(**json.loads(json.dumps(kwargs)))
