"""The state machines of the platform, one command at a time."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.errors import ConfigError, UnknownNameError
from cluster.state import runs
from cluster.state.desired import DesiredState, Drop, Want
from cluster.state.machine import Machine
from cluster.state.runs import ClaimRun, CreateRun, FailRun, FinishRun, Heartbeat, RunLedger
from cluster.state.schedules import ClaimDue, Plan, Schedules, Unplan


def reloaded(machine: Machine[Any]) -> Any:
    return type(machine).from_json(json.loads(json.dumps(machine.to_json())))


def test_desired_state_counts_versions_and_forgets_what_is_dropped() -> None:
    state = DesiredState()
    assert state.apply(Want(name="a", spec={"replicas": 1}), 0) == {"version": 1}
    assert state.apply(Want(name="b", spec={}), 0) == {"version": 2}
    assert state.apply(Want(name="a", spec={"replicas": 1}), 0) == {"version": 1}
    assert state.apply(Want(name="a", spec={"replicas": 2}), 0) == {"version": 3}
    assert reloaded(state).applications == {
        "a": {"spec": {"replicas": 2}, "version": 3},
        "b": {"spec": {}, "version": 2},
    }
    assert state.apply(Drop(name="a"), 0) == {"dropped": True}
    assert state.apply(Drop(name="a"), 0) == {"dropped": False}
    assert state.apply(Want(name="a", spec={"replicas": 1}), 0) == {"version": 5}
    assert reloaded(state).to_json() == state.to_json()


def test_a_spec_that_is_not_json_is_refused() -> None:
    for bad in ({"x": float("nan")}, {"x": object()}):
        with pytest.raises(ConfigError, match="expected JSON"):
            DesiredState().apply(Want(name="a", spec=bad), 0)


def test_schedules_hand_out_each_occurrence_once_and_catch_up() -> None:
    schedules = Schedules()
    assert schedules.apply(Plan(name="hourly", every_s=10, payload=[1]), 100) == {"next_due_s": 110}
    assert schedules.apply(ClaimDue(), 109.9) == {"due": []}
    assert schedules.apply(ClaimDue(), 110) == {
        "due": [{"name": "hourly", "occurrence": 0, "due_s": 110, "payload": [1]}]
    }
    schedules = reloaded(schedules)
    assert schedules.apply(ClaimDue(), 110) == {"due": []}
    schedules.apply(Plan(name="other", every_s=25, first_due_s=125), 110)
    due = schedules.apply(ClaimDue(), 141)["due"]
    assert [(each["name"], each["due_s"]) for each in due] == [
        ("hourly", 120),
        ("other", 125),
        ("hourly", 130),
        ("hourly", 140),
    ]
    assert schedules.apply(Unplan(name="other"), 0) == {"dropped": True}
    assert schedules.apply(Unplan(name="other"), 0) == {"dropped": False}
    assert len(schedules.apply(ClaimDue(limit=3), 1_000)["due"]) == 3
    assert len(schedules.apply(ClaimDue(), 200)["due"]) == 3


@pytest.mark.parametrize("every_s", [0.0, 0.5, -1.0, float("nan"), float("inf")])
def test_a_schedule_out_of_range_is_refused(every_s: float) -> None:
    with pytest.raises(ConfigError, match="every_s: got"):
        Schedules().apply(Plan(name="x", every_s=every_s), 0)


@given(
    plans=st.dictionaries(st.sampled_from("abc"), st.floats(1, 50), min_size=1),
    looks=st.lists(st.floats(0, 400), max_size=20),
)
def test_nothing_due_is_lost_or_doubled_whenever_one_looks(plans: dict[str, float], looks: list[float]) -> None:
    schedules = Schedules()
    for name, every_s in plans.items():
        schedules.apply(Plan(name=name, every_s=every_s, first_due_s=0), 0)
    taken: list[tuple[str, int]] = []
    for now_s in sorted(looks):
        schedules = reloaded(schedules)
        while due := schedules.apply(ClaimDue(limit=7), now_s)["due"]:
            taken += [(each["name"], each["occurrence"]) for each in due]
    last = max(looks, default=-1.0)
    expected = [(n, i) for n, every_s in plans.items() for i in range(500) if i * every_s <= last]
    assert sorted(taken) == sorted(expected)


def claim(ledger: RunLedger, owner: str, now_s: float) -> Any:
    return ledger.apply(ClaimRun(owner=owner, lease_s=10), now_s)["claimed"]


def test_a_run_is_held_by_one_owner_and_passes_on_when_its_lease_ends() -> None:
    ledger = RunLedger()
    assert ledger.apply(CreateRun(run="train", payload=(1, 2)), 0) == {"created": True}
    assert ledger.apply(CreateRun(run="train", payload=[1, 2]), 0) == {"created": False}
    with pytest.raises(ConfigError, match="'train' is there already with another payload"):
        ledger.apply(CreateRun(run="train", payload=3), 0)
    assert claim(ledger, "first", 0) == {"run": "train", "attempt": 1, "payload": [1, 2]}
    ledger = reloaded(ledger)
    assert claim(ledger, "second", 9.9) is None
    assert ledger.apply(Heartbeat(run="train", attempt=1), 9.9) == {"accepted": True}
    assert claim(ledger, "second", 19.8) is None
    assert claim(ledger, "second", 19.9) == {"run": "train", "attempt": 2, "payload": [1, 2]}
    for late in (
        Heartbeat(run="train", attempt=1),
        FinishRun(run="train", attempt=1, result="late"),
        FailRun(run="train", attempt=1, reason="late"),
    ):
        assert ledger.apply(late, 20) == {"accepted": False}
    assert ledger.apply(FinishRun(run="train", attempt=2, result={"wape": 0.1}), 21) == {"accepted": True}
    assert ledger.runs["train"]["state"] == "finished"
    assert ledger.runs["train"]["result"] == {"wape": 0.1}
    assert claim(ledger, "third", 1_000) is None
    with pytest.raises(UnknownNameError, match="unknown run 'tran'"):
        ledger.apply(Heartbeat(run="tran", attempt=1), 0)


def test_a_run_that_fails_waits_again_until_its_attempts_are_used_up() -> None:
    ledger = RunLedger()
    ledger.apply(CreateRun(run="r", max_attempts=2), 0)
    ledger.apply(CreateRun(run="s"), 0)
    assert claim(ledger, "a", 0)["run"] == "r"
    assert ledger.apply(FailRun(run="r", attempt=1, reason="out of memory"), 1) == {"accepted": True}
    assert ledger.runs["r"]["state"] == "waiting"
    assert claim(ledger, "a", 2) == {"run": "r", "attempt": 2, "payload": None}
    ledger.apply(FailRun(run="r", attempt=2, reason="again"), 3)
    assert (ledger.runs["r"]["state"], ledger.runs["r"]["reason"]) == ("failed", "again")
    assert claim(ledger, "a", 4)["run"] == "s"
    ledger.apply(FailRun(run="s", attempt=1, reason="hopeless", retry=False), 5)
    assert ledger.runs["s"]["state"] == "failed"


def test_a_run_whose_last_owner_went_silent_has_failed() -> None:
    ledger = RunLedger()
    ledger.apply(CreateRun(run="r", max_attempts=1), 0)
    assert claim(ledger, "a", 0)["attempt"] == 1
    assert claim(ledger, "b", 11) is None
    assert (ledger.runs["r"]["state"], ledger.runs["r"]["reason"]) == ("failed", "no sign of life from 'a'")


def test_bad_numbers_are_refused() -> None:
    with pytest.raises(ConfigError, match="max_attempts: got 0"):
        RunLedger().apply(CreateRun(run="r", max_attempts=0), 0)
    for lease_s in (0.0, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match="lease_s: got"):
            RunLedger().apply(ClaimRun(owner="a", lease_s=lease_s), 0)


def test_ended_runs_are_forgotten_the_oldest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "KEEP_ENDED", 2)
    ledger = RunLedger()
    for name in "abcd":
        ledger.apply(CreateRun(run=name), 0)
        held = claim(ledger, "x", 0)
        ledger.apply(FinishRun(run=held["run"], attempt=1), 0)
    ledger.apply(CreateRun(run="waiting"), 0)
    assert list(ledger.runs) == ["c", "d", "waiting"]
