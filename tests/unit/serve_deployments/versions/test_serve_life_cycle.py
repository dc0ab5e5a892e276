"""LOAD -> WARM -> ACTIVE -> DEGRADED -> ERROR: what may follow what, and why it stands there."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.clock import ManualClock
from cluster.errors import ArtifactCorrupt
from serve_deployments.versions.life_cycle import (
    KEPT_STEPS,
    MOVES,
    IllegalMoveError,
    LifeCycle,
    Stage,
    load_and_warm,
)


@given(st.lists(st.sampled_from(Stage), max_size=60))
def test_only_legal_moves_happen_and_each_is_dated(wanted: list[Stage]) -> None:
    clock = ManualClock(1000.0)
    life = LifeCycle(clock)
    for stage in wanted:
        clock.advance(1.0)
        before, count = life.stage, len(life.steps)
        try:
            life.move(stage, f"to {stage}")
        except IllegalMoveError as error:
            assert stage not in MOVES[before]
            assert f"got {before} -> {stage}" in str(error)
            assert (life.stage, len(life.steps)) == (before, count)
        else:
            assert stage in MOVES[before] | {before}
            assert life.stage is stage
    stages = [step.stage for step in life.steps]
    assert len(stages) <= KEPT_STEPS
    assert all(later in MOVES[earlier] for earlier, later in pairwise(stages))
    times = [step.since_s for step in life.steps]
    assert times == sorted(times)


@given(st.lists(st.sampled_from(Stage), max_size=30))
def test_no_traffic_before_a_warm_up(wanted: list[Stage]) -> None:
    life, warmed = LifeCycle(ManualClock()), False
    for stage in wanted:
        if stage in MOVES[life.stage]:
            life.move(stage, "x")
            warmed = warmed or stage is Stage.WARM
            warmed = warmed and stage is not Stage.ERROR
        assert not life.serves or warmed


def test_a_version_is_loaded_warmed_and_active_with_reasons() -> None:
    life, calls = LifeCycle(ManualClock(1_700_000_000.0)), list[str]()

    def load() -> str:
        calls.append("load")
        return "model"

    def warm(model: str) -> str:
        calls.append(f"warm {model}")
        return "sizes 1 .. 8: 3 ms"

    assert load_and_warm(life, load, warm) == "model"
    assert calls == ["load", "warm model"]
    assert [step.stage for step in life.steps] == [Stage.LOAD, Stage.WARM, Stage.ACTIVE]
    assert life.reason == "sizes 1 .. 8: 3 ms"
    assert life.steps[0].to_json() == {
        "stage": "LOAD",
        "since": "2023-11-14T22:13:20.000+00:00",
        "reason": "asked for",
    }


def test_what_cannot_be_loaded_is_in_error_with_the_reason_and_may_be_loaded_again() -> None:
    def corrupt() -> None:
        raise ArtifactCorrupt("state.json has another digest")

    life = LifeCycle(ManualClock())
    assert isinstance(load_and_warm(life, corrupt, lambda _: "never"), ArtifactCorrupt)
    assert (life.stage, life.reason) == (Stage.ERROR, "ArtifactCorrupt: state.json has another digest")
    assert load_and_warm(life, lambda: 7, lambda _: "fine") == 7
    assert life.stage is Stage.ACTIVE


def test_staying_keeps_the_first_reason() -> None:
    life = LifeCycle(ManualClock())
    life.activate()
    life.move(Stage.DEGRADED, "first")
    life.move(Stage.DEGRADED, "second")
    assert (life.reason, len(life.steps)) == ("first", 4)
    with pytest.raises(IllegalMoveError, match="DEGRADED -> ACTIVE, ERROR"):
        life.move(Stage.WARM, "no")
