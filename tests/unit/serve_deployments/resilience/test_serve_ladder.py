"""The first rung that answers, why the ones above did not, and what the breakers learn from it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.clock import ManualClock
from cluster.errors import DataError
from serve_deployments.admission import OverloadedError
from serve_deployments.patience import Patience
from serve_deployments.resilience.breaker import BreakerSpec, Circuit, CircuitBreaker
from serve_deployments.resilience.ladder import Landed, NoRungError, Rung, RungCall, climb_down

Call = Callable[[], Awaitable[str]]


def says(word: str) -> Call:
    async def call() -> str:
        return word

    return call


def fails(error: Exception) -> Call:
    async def call() -> str:
        raise error

    return call


def breaker() -> CircuitBreaker:
    return CircuitBreaker(BreakerSpec(), ManualClock())


def climb(*calls: RungCall[str]) -> Landed[str]:
    return asyncio.run(climb_down(calls))


@given(st.lists(st.booleans(), min_size=1, max_size=4))
def test_the_first_that_can_answers_and_each_fall_is_told(can: list[bool]) -> None:
    calls = [
        RungCall(rung=rung, call=says(rung.value) if fine else fails(RuntimeError(f"no {rung.value}")))
        for rung, fine in zip(Rung, can, strict=False)
    ]
    if not any(can):
        with pytest.raises(NoRungError, match="primary: RuntimeError: no primary"):
            climb(*calls)
        return
    landed = climb(*calls)
    first = can.index(True)
    assert landed.rung is list(Rung)[first]
    assert landed.answer == landed.rung.value
    assert landed.degraded is (first > 0)
    assert [miss.reason for miss in landed.misses] == [f"RuntimeError: no {r.value}" for r in list(Rung)[:first]]


def test_after_three_failures_the_model_is_not_asked() -> None:
    asked, guard = list[int](), breaker()

    async def broken() -> str:
        asked.append(1)
        raise RuntimeError("weights are gone")

    calls = (
        RungCall(rung=Rung.PRIMARY, call=broken, breaker=guard),
        RungCall(rung=Rung.RULE_BASED, call=says("rule")),
    )
    landed = [climb(*calls) for _ in range(5)]
    assert len(asked) == 3
    assert {each.rung for each in landed} == {Rung.RULE_BASED}
    assert landed[4].reason == "primary: circuit open: RuntimeError: weights are gone"


@pytest.mark.parametrize("error", [DataError("row 3 is impossible"), OverloadedError("full", retry_after_s=2)])
def test_a_wrong_request_and_a_full_house_end_the_way_and_blame_no_model(error: Exception) -> None:
    guard = breaker()
    calls = (
        RungCall(rung=Rung.PRIMARY, call=fails(error), breaker=guard),
        RungCall(rung=Rung.RULE_BASED, call=says("rule")),
    )
    for _ in range(5):
        with pytest.raises(type(error)):
            climb(*calls)
    assert guard.circuit is Circuit.CLOSED


def test_a_rung_that_takes_too_long_is_cancelled_and_told() -> None:
    ended = list[str]()

    async def hangs() -> str:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("its work")
        return "never"

    guard = breaker()
    landed = climb(
        RungCall(rung=Rung.PRIMARY, call=hangs, breaker=guard, patience=Patience(0.01)),
        RungCall(rung=Rung.DEFAULT, call=says("default")),
    )
    assert landed.reason == "primary: no answer within 0.01 s"
    assert ended == ["its work"]


def test_a_caller_who_leaves_blames_no_model_and_gives_the_trial_back() -> None:
    clock = ManualClock()
    guard = CircuitBreaker(BreakerSpec(failures=1, half_open_calls=1), clock)
    first = guard.ask().permit
    assert first is not None
    guard.record(first, "broken")
    clock.advance(30)

    async def scenario() -> None:
        waiting = asyncio.Event()
        call = RungCall(rung=Rung.PRIMARY, call=waiting.wait, breaker=guard)
        task = asyncio.create_task(climb_down([call]))
        await asyncio.sleep(0)
        assert guard.ask().permit is None, "the one trial is out"
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scenario())
    assert guard.ask().permit is not None
    assert guard.circuit is Circuit.HALF_OPEN


def test_where_all_are_refused_the_answer_says_when_to_come_back() -> None:
    clock = ManualClock()
    guard = CircuitBreaker(BreakerSpec(failures=1), clock)
    calls = [RungCall(rung=Rung.PRIMARY, call=fails(RuntimeError("no")), breaker=guard)]
    with pytest.raises(NoRungError):
        asyncio.run(climb_down(calls))
    clock.advance(10)
    with pytest.raises(NoRungError, match="circuit open: RuntimeError: no") as refused:
        asyncio.run(climb_down(calls))
    assert refused.value.retry_after_s == 20
