"""The platform as rollouts and experiments see it: what is served, what the registry says, when it waits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from apps.rollouts.round import READ_EVERY, Round
from apps.rollouts.world import UNSTABLE, PlatformWorld, evidence_gate
from cluster.clock import ManualClock
from cluster.errors import GateRefused, PermanentError, TransientError, UnknownNameError
from cluster.registry.registry import APPROVAL, EVALUATION, Registry, check_gate
from cluster.registry.version import Lineage, ModelVersion, SemanticVersion, Stage
from cluster.settings import Settings
from cluster.state.desired import DesiredState
from cluster.state.durable import Durable
from cluster.state.machine import Machine
from cluster.storage.files import Storage
from serve_deployments.experiments.analysis import MetricSpec
from serve_deployments.experiments.experiment import Experiment, ExperimentSpec
from serve_deployments.experiments.exposure_log import Exposure, ExposureLog
from serve_deployments.experiments.machine import Begin, Experiments, Stop
from serve_deployments.experiments.reading import read
from serve_deployments.graph import GraphSpec, ServedModel
from serve_deployments.rollout.board import SplitBoard
from serve_deployments.rollout.judge import JudgeSpec
from serve_deployments.rollout.machine import Deploy, Order, Rollouts
from serve_deployments.rollout.rollout import RolloutSpec
from serve_deployments.rollout.split import Split


class Kept(Registry):
    """Versions in memory; promotions ask for the evidence that the real registry asks for."""

    def __init__(self) -> None:
        lineage = Lineage(
            data_digest="d", schema_digest="s", parameters={}, seed=1, code_revision="r", libraries={}
        )
        first = ModelVersion(
            name="nox", version=SemanticVersion(1, 0, 0), stage=Stage.PRODUCTION, lineage=lineage,
            metrics={"accuracy": 0.9}, owner="ann", files={"a": "0"}, uri="u1", created_at_s=0.0,
            evidence={EVALUATION: {"passed": True}},
        )  # fmt: skip
        second = replace(first, version=SemanticVersion(1, 1, 0), stage=Stage.STAGING, uri="u2")
        bare = replace(second, version=SemanticVersion(1, 2, 0), evidence={})
        self.kept = {each.version: each for each in (first, second, bare)}

    def register(self, name: str, folder: Path, **more: Any) -> ModelVersion:
        raise NotImplementedError

    def names(self) -> tuple[str, ...]:
        return ("nox",)

    def versions(self, name: str) -> tuple[ModelVersion, ...]:
        return tuple(self.kept.values())

    def get(self, name: str, version: SemanticVersion | None = None) -> ModelVersion:
        if version is None:
            return next(each for each in self.kept.values() if each.stage is Stage.PRODUCTION)
        if version not in self.kept:
            raise UnknownNameError.of("version", str(version), map(str, self.kept))
        return self.kept[version]

    def promote(
        self, name: str, version: SemanticVersion, stage: Stage, evidence: Mapping[str, Any] | None = None
    ) -> ModelVersion:
        found = self.get(name, version)
        told = {**found.evidence, **(evidence or {})}
        check_gate(found, stage, told)
        if stage is Stage.PRODUCTION:
            before = self.get(name)
            self.kept[before.version] = replace(before, stage=Stage.ARCHIVED)
        self.kept[version] = replace(self.kept[version], stage=stage, evidence=told)
        return self.kept[version]

    def fetch(self, version: ModelVersion, folder: Path) -> Path:
        raise NotImplementedError


class LocalBoard:
    """A board and a log in this process."""

    def __init__(self, folder: Path) -> None:
        self.board, self.log = SplitBoard(), ExposureLog(folder / "log.sqlite")

    def publish(self, owner: str, splits: Sequence[Split]) -> None:
        self.board.publish(owner, [split.to_json() for split in splits])

    def want(self, models: Sequence[Mapping[str, Any]]) -> None:
        self.board.want(models)

    def counts(self) -> Any:
        return self.board.counts()

    def read(self, experiment: Mapping[str, Any]) -> Any:
        return read(self.log, Experiment.from_json(experiment))

    def splits(self) -> list[Split]:
        return [Split.from_json(each) for each in self.board.exchange("r", -1, [])["splits"]]


class Platform:
    """A round over durable states, and a deployment that is carried out when the test says so."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.clock, self.registry, self.told = ManualClock(100.0), Kept(), list[Mapping[str, Any]]()
        self.deployed, self.fault, self.broken = 0, "", ""
        self._folder = folder
        self.wanted = self._state(DesiredState)
        self.rollouts, self.experiments = self._state(Rollouts), self._state(Experiments)
        self.board = LocalBoard(folder)
        self.world = PlatformWorld(
            registry=lambda: self.registry,
            settings=settings,
            wanted=Ids(self.wanted),
            deployed=lambda: (self.deployed, self.fault),
            serving_fault=lambda: self.broken,
            tell=self.told.append,
        )
        self.round = Round(self.rollouts, self.experiments, self.board, self.world)

    def _state(self, machine: type[Machine[Any]]) -> Durable[Any]:
        return Durable(machine, Storage(str(self._folder)), f"{machine.kind}.json", self.clock)

    def tick(self, deploy: bool = True) -> None:
        """One round; deploy what is wanted first where told so."""
        if deploy:
            self.deployed = self.wanted.state()["version"]
        self.clock.advance(5.0)
        self.round.tick()

    @property
    def served(self) -> list[str]:
        models = self.wanted.state()["applications"]["heliotrope"]["spec"]["models"]
        return [model["version"] for model in models]


class Ids:
    """Gives ids to commands that have none."""

    def __init__(self, durable: Durable[Any]) -> None:
        self._durable, self._number = durable, 0

    def do(self, command: Any, command_id: str | None = None) -> Any:
        self._number += 1
        return self._durable.do(command, command_id or str(self._number))

    def state(self) -> Any:
        return self._durable.state()


@pytest.fixture
def platform(settings: Settings, tmp_path: Path) -> Platform:
    return Platform(settings, tmp_path)


def wish(new: str = "1.1.0") -> RolloutSpec:
    policy = {"name": "canary", "parameters": {}}
    return RolloutSpec(id="r", model="nox", old="1.0.0", new=new, policy=policy, judge=JudgeSpec(), by="ann")


def test_both_versions_are_served_before_the_first_request_and_one_after_the_last(platform: Platform) -> None:
    platform.rollouts.do(Deploy(spec=wish()), "deploy")
    platform.tick(deploy=False)
    assert platform.served == ["1.0.0", "1.1.0"] and platform.board.splits() == []
    platform.tick()
    platform.tick()
    assert platform.board.splits()[0].arms == {"1.1.0": 0.05, "1.0.0": 0.95}
    platform.rollouts.do(Order(rollout="r", word="promote", by="bob"), "promote")
    for _ in range(3):
        platform.tick()
    assert platform.registry.get("nox").version == SemanticVersion(1, 1, 0)
    assert platform.registry.get("nox").evidence[APPROVAL]["by"] == "bob"
    assert platform.served == ["1.1.0"] and platform.board.splits() == []
    assert [each["event"] for each in platform.told] == ["started", "promoted"]


def test_the_board_is_told_again_and_again_what_replicas_are_to_serve(platform: Platform) -> None:
    platform.tick()
    assert platform.board.board.exchange("r", -1, [])["models"] is None, "nothing was ever wanted"
    platform.rollouts.do(Deploy(spec=wish()), "deploy")
    platform.tick()
    platform.board.board = SplitBoard()
    platform.tick()
    told = platform.board.board.exchange("r", -1, [])["models"]
    assert [model["version"] for model in told] == ["1.0.0", "1.1.0"] == platform.served


def test_versions_are_exchanged_in_place_where_nothing_else_changes(settings: Settings) -> None:
    def spec(*versions: str, name: str = "nox", **more: Any) -> GraphSpec:
        models = [ServedModel(name=name, version=version, uri="") for version in versions]
        return replace(GraphSpec.from_settings(settings, models), **more)

    before = spec("1.0.0")
    assert before.exchanges_versions(spec("1.0.0", "1.1.0")) and before.exchanges_versions(spec("1.1.0"))
    others = [spec("1.1.0", name="co"), spec("1.1.0", max_batch_size=8), spec("1.1.0", traffic=None)]
    assert not any(before.exchanges_versions(other) for other in others)
    spread = spec("1.0.0", placement="spread")
    assert not spread.exchanges_versions(spec("1.1.0", placement="spread"))


def test_what_is_broken_is_rolled_back_and_marked_unstable(platform: Platform) -> None:
    platform.rollouts.do(Deploy(spec=wish()), "deploy")
    for _ in range(3):
        platform.tick()
    for fault in ("application UNHEALTHY: replicas die", "", "application UNHEALTHY: replicas die", ""):
        platform.broken = fault
        platform.tick()
    for _ in range(25):
        platform.tick()
    found = platform.registry.get("nox", SemanticVersion(1, 1, 0))
    assert (found.stage, platform.served) == (Stage.ARCHIVED, ["1.0.0"])
    assert "replicas die" in found.evidence[UNSTABLE]["why"]
    assert "unstable" in [
        each["item"] for each in evidence_gate(platform.registry, "nox", found.version) if each["there"]
    ]


@pytest.mark.parametrize(("new", "reason"), [("1.2.0", "evaluation"), ("9.9.9", "unknown version")])
def test_a_version_that_could_not_be_promoted_is_not_even_begun(platform: Platform, new: str, reason: str) -> None:
    platform.rollouts.do(Deploy(spec=wish(new)), "deploy")
    for _ in range(4):
        platform.tick()
    end = platform.rollouts.state()["r"]
    assert end["state"] == "rolled_back" and reason in end["history"][-1]["why"]


def test_a_deployment_that_fails_ends_the_rollout(platform: Platform) -> None:
    platform.rollouts.do(Deploy(spec=wish()), "deploy")
    platform.tick(deploy=False)
    platform.deployed, platform.fault = 10**6, "no room"
    platform.tick(deploy=False)
    platform.fault = ""
    platform.tick(deploy=False)
    assert "no room" in str(platform.rollouts.state()["r"]["history"])
    with pytest.raises(PermanentError):
        platform.fault = "no room"
        platform.world.serve({}, "again")


def test_an_experiment_begins_when_its_versions_are_served_and_can_promote(platform: Platform) -> None:
    metric = MetricSpec(name="kept", kind="proportion", effect=0.05)
    spec = ExperimentSpec(
        id="e", model="nox", arms={"1.0.0": 0.5, "1.1.0": 0.5}, control="1.0.0", metrics=(metric,), promote=True,
        by="ann",
    )  # fmt: skip
    platform.experiments.do(Begin(spec=spec, traffic=1.0), "begin")
    platform.tick(deploy=False)
    assert platform.served == ["1.0.0", "1.1.0"] and platform.board.splits() == []
    platform.tick()
    split, rng = platform.board.splits()[0], np.random.default_rng(0)
    shown = [
        Exposure(request_id=unit, experiment="e", arm=split.pick(unit), unit=unit, phase=1, at_s=0.0)
        for unit in map(str, range(1500))
    ]
    platform.board.log.expose(shown)
    kept = {
        each.request_id: {"kept": 1.0} for each in shown if rng.random() < (0.5 if each.arm == "1.1.0" else 0.2)
    }
    platform.board.log.record_outcomes(kept)
    for _ in range(READ_EVERY):
        platform.tick()
    end = platform.experiments.state()["e"]
    assert (end["ending"], end["winner"]) == ("winner", "1.1.0")
    assert platform.rollouts.state()["e-winner"]["spec"]["new"] == "1.1.0"
    for _ in range(3):
        platform.tick()
    assert platform.board.splits()[0].owner == "e-winner"


def test_a_rollout_keeps_its_versions_while_an_experiment_comes_and_goes(platform: Platform) -> None:
    platform.rollouts.do(Deploy(spec=wish()), "deploy")
    for _ in range(3):
        platform.tick()
    metric = MetricSpec(name="kept", kind="proportion", effect=0.05)
    arms = {"1.0.0": 0.5, "1.2.0": 0.5}
    spec = ExperimentSpec(id="e", model="nox", arms=arms, control="1.0.0", metrics=(metric,))
    platform.experiments.do(Begin(spec=spec, traffic=0.5), "begin")
    platform.tick()
    assert platform.served == ["1.0.0", "1.1.0", "1.2.0"]
    platform.experiments.do(Stop(experiment="e", by="ann"), "stop")
    platform.tick()
    assert [split.owner for split in platform.board.splits()] == ["r"]


def test_one_parts_fault_does_not_keep_the_other_from_its_turn(platform: Platform) -> None:
    platform.rollouts.do(Deploy(spec=wish()), "deploy")

    def refuse(*_: Any) -> None:
        raise GateRefused("not now")

    platform.board.publish = refuse  # type: ignore[assignment,method-assign]
    with pytest.raises(TransientError, match="not now"):
        platform.round.tick()
