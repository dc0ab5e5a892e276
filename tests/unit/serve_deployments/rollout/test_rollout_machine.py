"""Rollouts from the first request to the last, and a controller that is killed at every step of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cluster.clock import ManualClock
from cluster.errors import ConfigError, GateRefused, PermanentError, TransientError, UnknownNameError
from cluster.state.durable import Durable
from cluster.storage.files import Storage
from serve_deployments.rollout.board import MAX_WORST, SplitBoard
from serve_deployments.rollout.controller import Controller
from serve_deployments.rollout.faults import LASTING_S
from serve_deployments.rollout.judge import ALPHA_SHARES, JudgeSpec
from serve_deployments.rollout.machine import Deploy, Done, Look, Order, RolloutCommand, Rollouts, active, splits
from serve_deployments.rollout.policies import build_policy
from serve_deployments.rollout.rollout import RolloutSpec
from serve_deployments.rollout.split import Split
from serve_deployments.rollout.tally import Tally

TICK_S, REQUESTS = 60.0, 120
LADDER = (0.10, 0.50, 1.0)
CANARY = {"name": "canary", "parameters": {"weights": LADDER, "min_stage_s": 60.0, "min_requests": 1}}


class KilledError(Exception):
    """The controller died here."""


class Fuse:
    """Kills whoever passes for the n-th time."""

    def __init__(self, passes: int = 10**9) -> None:
        self.left, self.again, self.burnt = passes, 0, False

    def burn(self) -> None:
        self.left -= 1
        if self.left == 0:
            self.left, self.again, self.burnt = self.again, 0, True
            raise KilledError


class Simulation:
    """A board with replicas that answer, and a world that remembers what was done to it."""

    def __init__(self, folder: Path, *, new_errors: float, fuse: Fuse, faults: tuple[str, ...] = ()) -> None:
        self.clock, self.storage, self.fuse = ManualClock(1000.0), Storage(str(folder)), fuse
        self.board, self.rng = SplitBoard(), np.random.default_rng(3)
        self.new_errors, self.old_errors, self.accuracy = new_errors, 0.005, 0.0
        self.broken, self.batch = faults, 0
        self.served: set[str] = {"1"}
        self.production, self.unstable, self.messages = "1", "", list[str]()
        self.refused: dict[str, Exception] = {}
        self.orders: dict[str, int] = {}
        self.revive()

    def revive(self) -> None:
        self.durable = Durable(Rollouts, self.storage, "rollouts.json", self.clock)
        self.controller = Controller(self, self, self)

    # RolloutState, with a fuse before and after each write

    def do(self, command: RolloutCommand, command_id: str) -> Any:
        self.fuse.burn()
        answer = self.durable.do(command, command_id)
        self.fuse.burn()
        return answer

    def state(self) -> Any:
        return self.durable.state()

    # Board

    def publish(self, owner: str, splits: Sequence[Split]) -> None:
        self.fuse.burn()
        self.board.publish(owner, [split.to_json() for split in splits])
        self.fuse.burn()

    def counts(self) -> tuple[str, Mapping[str, Mapping[str, Any]]]:
        return self.board.counts()

    # World

    def carry_out(self, rollout: Any, effect: Any) -> None:
        self.fuse.burn()
        if effect["kind"] in self.refused:
            raise self.refused[effect["kind"]]
        spec = rollout["spec"]
        match effect["kind"]:
            case "serve_both":
                self.served = {spec["old"], spec["new"]}
            case "serve_new":
                self.served = {spec["new"]}
            case "serve_old":
                self.served = {spec["old"]}
            case "promote":
                self.production = spec["new"]
            case "mark_unstable":
                self.unstable = effect["reason"]
            case "notify" | "retrain":
                self.messages.append(f"{effect['kind']} {effect.get('event', '')}".strip())
        self.fuse.burn()

    def faults(self, rollout: Any) -> tuple[str, ...]:
        return self.broken

    # Replicas

    def traffic(self) -> None:
        answer = self.board.exchange("replica", self.batch, [])
        self.batch += 1
        for told in answer["splits"]:
            split, tally = Split.from_json(told), Tally()
            for place in range(REQUESTS):
                request = f"{self.batch}-{place}"
                version = split.pick(request)
                assert version in self.served
                new = version == "2"
                failed = bool(self.rng.random() < (self.new_errors if new else self.old_errors))
                tally.answered("new" if new else "old", duration_s=0.01, failed=failed)
                if self.accuracy and new:
                    tally.truth("new", float(self.rng.normal(self.accuracy, 0.01)), enough_ratio=0.85)
            self.board.exchange("replica", self.batch, [(split.owner, str(split.revision), tally.counts)])
            self.batch += 1

    def run(self, ticks: int = 120) -> None:
        """Tick until all is over; a killed controller comes back at the next tick."""
        for _ in range(ticks):
            self.traffic()
            self.clock.advance(TICK_S)
            self.order()
            try:
                self.controller.tick()
            except KilledError:
                self.revive()
            self.check()
            if self.state() and not active(self.state()):
                return
        raise AssertionError(f"no end: {self.state()}")

    def order(self) -> None:
        """Somebody gives the orders, each when the rollout has come so far."""
        for word, revision in self.orders.items():
            if self.state()["r"]["state"] == "running" and self.state()["r"]["revision"] == revision:
                self.durable.do(Order(rollout="r", word=word, by="bob", why="by hand"), word)  # type: ignore[arg-type]

    def check(self) -> None:
        """Every state that can be seen is legal."""
        for rollout in self.state().values():
            assert sum(rollout["weights"].values()) == pytest.approx(1.0)
            climbed = [step["weight"] for step in rollout["revisions"].values() if step["weight"] > 0.0]
            policy = build_policy(rollout["spec"]["policy"]["name"], rollout["spec"]["policy"]["parameters"])
            if not any(step["what"] == "promoted" and step["by"] for step in rollout["history"]):
                assert climbed == [*(stage.weight for stage in policy.stages), 1.0][: len(climbed)]
        assert len(splits(self.state())) <= 1

    def story(self, name: str = "r") -> list[str]:
        return [step["what"] for step in self.state()[name]["history"]]


def spec(**more: Any) -> RolloutSpec:
    fields: dict[str, Any] = {
        "id": "r",
        "model": "nox",
        "old": "1",
        "new": "2",
        "policy": CANARY,
        "judge": JudgeSpec(),
        "by": "ann",
    }
    return RolloutSpec(**(fields | more))


def started(folder: Path, *, new_errors: float = 0.005, fuse: Fuse | None = None, **more: Any) -> Simulation:
    faults = more.pop("faults", ())
    made = Simulation(folder, new_errors=new_errors, fuse=fuse or Fuse(), faults=faults)
    made.durable.do(Deploy(spec=spec(**more)), "deploy")
    return made


def test_a_good_version_climbs_every_step_and_is_promoted(tmp_path: Path) -> None:
    made = started(tmp_path)
    made.run()
    assert made.story() == ["created", "started"] + ["advanced"] * 2 + ["promoted"]
    assert (made.production, made.served, made.unstable) == ("2", {"2"}, "")
    assert made.messages == ["notify started", "notify promoted"]
    assert made.state()["r"]["weights"] == {"2": 1.0, "1": 0.0}


def test_a_bad_version_is_rolled_back_verified_and_marked(tmp_path: Path) -> None:
    made = started(tmp_path, new_errors=1.0)
    made.run()
    end = made.state()["r"]
    assert made.story() == ["created", "started", "rolling back", "rolled back"]
    assert end["verification"]["verified"] and "verified" in end["verification"]["detail"]
    assert (made.production, made.served) == ("1", {"1"})
    assert made.unstable.startswith("error_rate: new 1, old 0.0")
    assert end["findings"][0]["breached"] and end["judge"] is None and len(end["curve"]) >= 1


SCENES: Mapping[str, dict[str, Any]] = {
    "a good canary": {},
    "a bad canary": {"new_errors": 1.0},
    "rolling": {"policy": {"name": "rolling", "parameters": {"steps": 2}}},
    "rolled back by hand": {"orders": {"rollback": 2}},
    "promoted by hand": {"orders": {"promote": 1}},
    "a version that cannot be served": {"refused": {"serve_both": PermanentError("artifact corrupt")}},
}


def scene(folder: Path, name: str) -> Simulation:
    asked = dict(SCENES[name])
    orders, refused = asked.pop("orders", {}), asked.pop("refused", {})
    made = started(folder, **asked)
    made.orders, made.refused = orders, refused
    return made


def same_end(made: Simulation, whole: Simulation) -> None:
    """Nothing is forgotten: the same story, the same world, and everybody was told at least once."""
    assert made.story() == whole.story()
    assert (made.production, made.served, bool(made.unstable)) == (
        whole.production, whole.served, bool(whole.unstable)
    )  # fmt: skip
    assert set(made.messages) == set(whole.messages)
    assert [split.to_json() for split in splits(made.state()).values()] == []


@pytest.mark.parametrize("name", SCENES)
def test_killed_at_any_step_it_ends_where_it_would_have_ended(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before and after every durable write, every publication, every effect; once, and twice in a row."""
    # Processes die here, not the machine: what was written is there without waiting for the disk.
    monkeypatch.setattr("os.fsync", lambda _: None)
    whole = scene(tmp_path / "whole", name)
    whole.fuse.left = 10**6
    whole.run()
    steps = 10**6 - whole.fuse.left
    assert steps > 6
    rng = np.random.default_rng(11)
    pairs = [(int(first), int(more)) for first, more in rng.integers(1, steps, (5, 2))]
    for kill, again in [*((step, 0) for step in range(1, steps + 1)), *pairs]:
        made = scene(tmp_path / f"{kill}-{again}", name)
        made.fuse.left, made.fuse.again = kill, again
        made.run()
        assert made.fuse.left <= 0 or made.fuse.burnt
        same_end(made, whole)


def test_without_traffic_a_rollback_ends_and_says_that_it_is_not_verified(tmp_path: Path) -> None:
    made = started(tmp_path, faults=())
    made.controller.tick()
    made.durable.do(Order(rollout="r", word="rollback", by="bob", why="smells"), "order")
    for _ in range(5):
        made.clock.advance(TICK_S / 3)
        made.controller.tick()
    end = made.state()["r"]
    assert end["state"] == "rolled_back" and not end["verification"]["verified"]
    assert "0 requests on the old version" in end["verification"]["detail"]
    assert [step["by"] for step in end["history"] if step["what"] == "rolling back"] == ["bob"]


def test_a_health_check_that_goes_on_failing_rolls_back_without_statistics(tmp_path: Path) -> None:
    made = started(tmp_path)
    made.controller.tick()
    made.broken = ("version 2 does not answer its health check",)
    made.controller.tick()
    assert made.state()["r"]["state"] == "running"
    made.clock.advance(LASTING_S)
    made.controller.tick()
    assert made.state()["r"]["state"] == "verifying"
    made.broken = ()
    made.run()
    assert "for 30 s: version 2 does not answer its health check" in made.unstable and made.production == "1"


def test_a_crash_loop_rolls_back_and_one_crash_does_not(tmp_path: Path) -> None:
    made = started(tmp_path)
    made.controller.tick()
    for broken in (("replica died",), (), ()):
        made.broken = broken
        made.controller.tick()
        made.revive()
    assert made.state()["r"]["state"] == "running", "a process may die once: a machine may have been lost"
    made.broken = ("replica died",)
    made.controller.tick()
    assert made.state()["r"]["state"] == "verifying"
    made.broken = ()
    made.run()
    assert made.unstable == "crash loop, 2 times: replica died" and made.served == {"1"}


@pytest.mark.parametrize(
    ("accuracy", "guardrails", "asked", "accused"),
    [
        (0.95, ALPHA_SHARES, 0, ""),
        (0.88, ALPHA_SHARES, 1, ""),
        (0.70, ALPHA_SHARES, 0, "inaccurate"),
        (0.70, {"accuracy_floor": 1.0}, 1, "accuracy_floor"),
    ],
)
def test_late_truth_goes_all_the_way(
    tmp_path: Path, accuracy: float, guardrails: Mapping[str, float], asked: int, accused: str
) -> None:
    slow = {"name": "canary", "parameters": {"weights": LADDER, "min_stage_s": 60.0, "min_requests": 250}}
    made = started(tmp_path, policy=slow, judge=JudgeSpec(shares=dict(guardrails)))
    made.accuracy = accuracy
    made.run()
    assert made.production == ("1" if accused else "2")
    assert made.unstable.startswith(accused) and bool(made.unstable) == bool(accused)
    assert made.messages.count("retrain") == made.story().count("training asked for") == asked


def test_an_old_version_that_fails_by_nature_is_verified_by_its_own_usual(tmp_path: Path) -> None:
    made = started(tmp_path, new_errors=0.3)
    made.old_errors = 0.03
    made.run()
    assert made.story()[-2:] == ["rolling back", "rolled back"]
    assert made.state()["r"]["verification"]["verified"]


def test_a_version_that_cannot_be_served_is_rolled_back_before_it_begins(tmp_path: Path) -> None:
    made = started(tmp_path)
    made.refused["serve_both"] = PermanentError("artifact corrupt")
    made.run()
    assert made.story() == ["created", "rolled back"]
    assert "artifact corrupt" in made.unstable and made.served == {"1"}


def test_what_cannot_be_done_now_is_tried_again(tmp_path: Path) -> None:
    made = started(tmp_path)
    made.refused["serve_both"] = TransientError("no room")
    for _ in range(3):
        made.controller.tick()
    assert made.state()["r"]["state"] == "preparing"
    made.refused.clear()
    made.run()
    assert made.production == "2"


def test_while_paused_it_does_not_climb_but_guardrails_act(tmp_path: Path) -> None:
    made = started(tmp_path)
    made.controller.tick()
    made.durable.do(Order(rollout="r", word="pause", by="bob", why="lunch"), "pause")
    for _ in range(10):
        made.traffic()
        made.clock.advance(TICK_S)
        made.controller.tick()
    assert (made.state()["r"]["stage"], made.state()["r"]["waiting_for"]) == (0, "resume")
    made.new_errors = 0.5
    made.run()
    assert made.production == "1" and "rolling back" in made.story()


def test_by_hand_it_is_promoted_and_resumed(tmp_path: Path) -> None:
    made = started(tmp_path)
    made.controller.tick()
    made.durable.do(Order(rollout="r", word="pause", by="bob"), "1")
    made.durable.do(Order(rollout="r", word="resume", by="bob"), "2")
    made.durable.do(Order(rollout="r", word="promote", by="bob"), "3")
    made.run()
    assert made.production == "2"
    with pytest.raises(GateRefused, match="state 'promoted'"):
        made.durable.do(Order(rollout="r", word="rollback", by="bob"), "4")


def test_approval_is_somebody_elses(tmp_path: Path) -> None:
    made = started(tmp_path, approval=True)
    made.controller.tick()
    assert made.state()["r"]["state"] == "waiting" and made.served == {"1"}
    with pytest.raises(GateRefused, match="somebody else"):
        made.durable.do(Order(rollout="r", word="approve", by="ann"), "own")
    made.durable.do(Order(rollout="r", word="approve", by="bob", why="figures are good"), "other")
    made.run()
    assert made.production == "2"
    assert ["approved", "bob"] in [[step["what"], step["by"]] for step in made.state()["r"]["history"]]


def test_one_rollout_a_model_at_a_time_and_the_same_twice_is_one(tmp_path: Path) -> None:
    made = started(tmp_path)
    made.durable.do(Deploy(spec=spec()), "again")
    with pytest.raises(GateRefused, match="'r'"):
        made.durable.do(Deploy(spec=spec(id="q")), "q")
    with pytest.raises(ConfigError, match="other data"):
        made.durable.do(Deploy(spec=spec(new="3")), "r3")
    with pytest.raises(ConfigError, match="twice"):
        made.durable.do(Deploy(spec=spec(id="q", model="co", new="1")), "same")
    with pytest.raises(UnknownNameError, match="'q'"):
        made.durable.do(Look(rollout="q"), "look")
    assert made.durable.do(Done(rollout="r", effect="none"), "done")["state"] == "preparing"


def test_counts_that_began_anew_are_not_subtracted(tmp_path: Path) -> None:
    made = started(tmp_path)
    made.controller.tick()
    for _ in range(2):
        made.traffic()
        made.controller.tick()
    before = made.state()["r"]["total"]["old"]["requests"]
    made.board = SplitBoard()
    made.controller.tick()
    made.traffic()
    made.controller.tick()
    after = made.state()["r"]["total"]["old"]["requests"]
    assert before < after <= before + REQUESTS


def test_a_batch_that_is_sent_twice_counts_once() -> None:
    board, tally = SplitBoard(), Tally()
    tally.answered("new", duration_s=0.1, failed=False)
    for _ in range(2):
        board.exchange("replica", 0, [("r", "1", tally.counts)])
    board.exchange("replica", 1, [("r", "1", tally.counts)])
    assert board.counts()[1]["r"]["1"]["new"]["requests"] == 2


def test_the_worst_pairs_are_kept_once_and_in_order() -> None:
    board = SplitBoard()
    cases = [{"request_id": str(place), "difference_ratio": place / 100} for place in range(50)]
    board.keep_worst("r", cases[:30])
    board.keep_worst("r", cases)
    assert [case["request_id"] for case in board.worst("r")] == [
        str(place) for place in range(49, 49 - MAX_WORST, -1)
    ]
    assert board.worst("q") == []
