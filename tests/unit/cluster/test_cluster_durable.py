"""Durable state: cut at every step of every command, restarted, asked again; nothing lost, nothing doubled."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from cluster.clock import ManualClock
from cluster.errors import ArtifactCorrupt, ConfigError, TransientError
from cluster.state import durable as durable_module
from cluster.state.desired import DesiredState, Drop, Want
from cluster.state.durable import Durable
from cluster.state.machine import Json, Machine
from cluster.state.runs import ClaimRun, CreateRun, FailRun, FinishRun, Heartbeat, RunLedger
from cluster.state.schedules import ClaimDue, Plan, Schedules, Unplan
from cluster.storage import files
from cluster.storage.files import ASIDE, Storage

STEPS = ("before apply", "after apply", "before write", "half written", "written aside", "written", "before reply")


class Crash(BaseException):
    """The process is gone: no handler may run on."""


class Plug:
    """Pulled at one step, once."""

    step: ClassVar[str | None] = None

    @classmethod
    def at(cls, step: str) -> None:
        if cls.step == step:
            cls.step = None
            raise Crash(step)


class CutStorage(Storage):
    """Real files on a real disk, with a plug on each step of a write."""

    def write_bytes(self, path: str, data: bytes) -> None:
        assert self.local is not None
        target = self.local / path
        target.parent.mkdir(parents=True, exist_ok=True)
        Plug.at("before write")
        if Plug.step in ("half written", "written aside"):
            # What a power cut leaves behind: the file aside, in part or whole, not yet renamed.
            part = data[: len(data) // 2] if Plug.step == "half written" else data
            (target.parent / f"{ASIDE}{len(list(target.parent.iterdir()))}").write_bytes(part)
            Plug.at(Plug.step)
        super().write_bytes(path, data)
        Plug.at("written")


def cut(kind: type[Machine[Any]]) -> type[Machine[Any]]:
    """The machine with a plug before and after each command."""

    class Cut(kind):  # type: ignore[misc, valid-type]  # the base is an argument
        def apply(self, command: Any, now_s: float) -> Json:
            Plug.at("before apply")
            answer = super().apply(command, now_s)
            Plug.at("after apply")
            return answer

    return Cut


class Process:
    """A durable in a process that may die; `ask` restarts it and asks again with the same id, as a client does."""

    def __init__(self, kind: type[Machine[Any]], folder: Path, clock: ManualClock) -> None:
        self._parts = (cut(kind), CutStorage(str(folder)), "state.json", clock)
        self._asked = 0
        self.restart()

    def ask(self, command: Any, die_at: str | None = None) -> Json:
        self._asked += 1
        Plug.step = die_at
        for _ in range(2):
            try:
                answer = self.durable.do(command, f"command-{self._asked}")
                Plug.at("before reply")
                return answer
            except Crash:
                self.restart()
        raise AssertionError("the plug is pulled once only")

    def restart(self) -> None:
        self.durable: Durable[Any] = Durable(*self._parts)


SCRIPTS: dict[type[Machine[Any]], list[Any]] = {
    DesiredState: [
        Want(name="a", spec={"n": 1}),
        Want(name="a", spec={"n": 2}),
        Want(name="a", spec={"n": 2}),
        Want(name="b", spec={}),
        Drop(name="a"),
        Drop(name="nothing"),
    ],
    Schedules: [
        Plan(name="a", every_s=3, payload=1),
        Plan(name="b", every_s=5),
        ClaimDue(limit=2),
        ClaimDue(),
        ClaimDue(),
        Unplan(name="a"),
        ClaimDue(),
    ],
    RunLedger: [
        CreateRun(run="r"),
        ClaimRun(owner="x", lease_s=1.5),
        ClaimRun(owner="y", lease_s=100),
        ClaimRun(owner="z", lease_s=100),
        Heartbeat(run="r", attempt=1),
        Heartbeat(run="r", attempt=2),
        FailRun(run="r", attempt=2, reason="oom"),
        ClaimRun(owner="x", lease_s=100),
        FinishRun(run="r", attempt=3, result=1),
    ],
}


@pytest.fixture(autouse=True)
def _plug_in() -> Iterator[None]:
    Plug.step = None
    yield
    Plug.step = None


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("kind", SCRIPTS, ids=lambda kind: kind.kind)
def test_a_death_at_any_step_of_any_command_changes_nothing(
    kind: type[Machine[Any]], step: str, tmp_path: Path
) -> None:
    """Whatever command it hits: the same answers and the same state as without any death."""
    expected = _play(kind, tmp_path / "calm")
    for victim in range(len(SCRIPTS[kind])):
        assert _play(kind, tmp_path / str(victim), victim, step) == expected


def _play(
    kind: type[Machine[Any]], folder: Path, victim: int = -1, step: str | None = None
) -> tuple[list[Json], Json]:
    clock = ManualClock(1_000.0)
    process = Process(kind, folder, clock)
    answers = []
    for index, command in enumerate(SCRIPTS[kind]):
        clock.advance(2)
        answers.append(process.ask(command, step if index == victim else None))
    process.restart()
    return answers, process.durable.state()


class Battered(RuleBasedStateMachine):
    """Random commands, times, deaths and restarts on three machines, against twins that never die."""

    folder: tempfile.TemporaryDirectory[str]

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.clock = ManualClock(1_000.0)
        kinds: list[type[Machine[Any]]] = [DesiredState, Schedules, RunLedger]
        self.real = {k: Process(k, Path(self.folder.name) / k.kind, self.clock) for k in kinds}
        self.twin: dict[type[Machine[Any]], Machine[Any]] = {k: k() for k in kinds}

    @rule(
        command=st.one_of(
            st.builds(Want, name=st.sampled_from("ab"), spec=st.dictionaries(st.just("n"), st.integers(0, 2))),
            st.builds(Drop, name=st.sampled_from("ab")),
            st.builds(Plan, name=st.sampled_from("ab"), every_s=st.floats(1, 20)),
            st.builds(Unplan, name=st.sampled_from("ab")),
            st.builds(ClaimDue, limit=st.integers(1, 5)),
            st.builds(CreateRun, run=st.sampled_from("ab"), max_attempts=st.just(2)),
            st.builds(ClaimRun, owner=st.sampled_from("xy"), lease_s=st.floats(1, 20)),
        ),
        die_at=st.none() | st.sampled_from(STEPS),
    )
    def command(self, command: Any, die_at: str | None) -> None:
        kind: type[Machine[Any]] = RunLedger
        if isinstance(command, Want | Drop):
            kind = DesiredState
        elif isinstance(command, Plan | Unplan | ClaimDue):
            kind = Schedules
        assert self.real[kind].ask(command, die_at) == self.twin[kind].apply(command, self.clock.now_s())

    @rule(run=st.sampled_from("ab"), attempt=st.integers(1, 3), die_at=st.none() | st.sampled_from(STEPS))
    def end(self, run: str, attempt: int, die_at: str | None) -> None:
        ledger = self.twin[RunLedger]
        assert isinstance(ledger, RunLedger)
        if run in ledger.runs:
            self.command(FailRun(run=run, attempt=attempt, reason="no"), die_at)

    @rule(seconds=st.floats(0, 30))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule()
    def restart(self) -> None:
        for process in self.real.values():
            process.restart()

    @invariant()
    def same(self) -> None:
        for kind, twin in getattr(self, "twin", {}).items():
            assert self.real[kind].durable.state() == twin.to_json()

    def teardown(self) -> None:
        Plug.step = None
        if hasattr(self, "folder"):
            self.folder.cleanup()


TestBattered = Battered.TestCase
TestBattered.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)


def durable_in(folder: Path) -> Durable[Want | Drop]:
    return Durable(DesiredState, Storage(str(folder)), "state/desired.json", ManualClock())


def test_a_change_is_in_storage_before_it_is_answered(tmp_path: Path) -> None:
    state = durable_in(tmp_path)
    assert not (tmp_path / "state").exists()
    state.do(Want(name="a", spec={}), "1")
    stored = json.loads((tmp_path / "state" / "desired.json").read_text())
    assert stored["state"]["applications"]["a"]["version"] == 1
    assert stored["answers"] == {"1": {"version": 1}}


def test_a_failing_storage_leaves_the_state_and_the_retry_succeeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = durable_in(tmp_path)
    state.do(Want(name="a", spec={"n": 1}), "1")

    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(files, "write_whole", full)
        with pytest.raises(TransientError, match="No space left"):
            state.do(Want(name="a", spec={"n": 2}), "2")
        assert state.state()["applications"]["a"] == {"spec": {"n": 1}, "version": 1}
        assert state.do(Want(name="a", spec={"n": 1}), "1") == {"version": 1}
    assert state.do(Want(name="a", spec={"n": 2}), "2") == {"version": 2}
    assert durable_in(tmp_path).state() == state.state()


def test_a_refused_command_changes_nothing(tmp_path: Path) -> None:
    schedules = Durable(Schedules, Storage(str(tmp_path)), "s.json", ManualClock())
    with pytest.raises(ConfigError):
        schedules.do(Plan(name="a", every_s=0), "1")
    assert schedules.state() == {}
    assert list(tmp_path.iterdir()) == []


def test_answers_are_kept_for_a_bounded_number_of_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durable_module, "REMEMBERED", 3)
    state = durable_in(tmp_path)
    for n in range(5):
        state.do(Want(name="a", spec={"n": n}), str(n))
    stored = json.loads((tmp_path / "state" / "desired.json").read_text())
    assert list(stored["answers"]) == ["2", "3", "4"]
    assert durable_in(tmp_path).do(Want(name="a", spec={"n": "x"}), "2") == {"version": 3}


def test_the_state_handed_out_is_a_copy(tmp_path: Path) -> None:
    state = durable_in(tmp_path)
    state.do(Want(name="a", spec={}), "1")
    state.state()["applications"].clear()
    assert "a" in state.state()["applications"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 1}', '{"format": 2, "kind": "desired-state"}'])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "desired.json").write_text(text)
    with pytest.raises(ArtifactCorrupt, match=r"state/desired\.json: got .*, expected layout 1 of a desired-state"):
        durable_in(tmp_path)


def test_the_file_of_another_machine_is_refused(tmp_path: Path) -> None:
    durable_in(tmp_path).do(Want(name="a", spec={}), "1")
    with pytest.raises(ArtifactCorrupt, match=r"layout 1 of a desired-state'.*expected layout 1 of a schedules"):
        Durable(Schedules, Storage(str(tmp_path)), "state/desired.json", ManualClock())
