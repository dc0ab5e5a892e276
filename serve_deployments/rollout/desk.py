"""What people and programs can ask of rollouts and experiments; each call may block, and is safe to repeat."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from cluster.errors import UnknownNameError
from cluster.state.machine import Json
from serve_deployments.experiments import machine as experiments
from serve_deployments.experiments.experiment import ExperimentSpec
from serve_deployments.rollout.judge import Judge, JudgeSpec
from serve_deployments.rollout.machine import Deploy, Order, Word
from serve_deployments.rollout.policies import build_policy, check_allowed
from serve_deployments.rollout.rollout import RolloutSpec

Act = Callable[[str, str, str, Mapping[str, Any]], None]
"""Actor, action, target, details: on record before the act is done, else TransientError."""


class State(Protocol):
    """A durable machine, as `SharedState` and `Durable` keep it."""

    def do(self, command: Any, command_id: str | None = None) -> Json:
        """Run a command and return the answer."""
        ...

    def state(self) -> Json:
        """Return the whole state."""
        ...


class Log(Protocol):
    """What the board keeps of requests: `TrafficBoard`, here or as an actor."""

    def worst(self, owner: str) -> Sequence[Mapping[str, Any]]:
        """Return the pairs of answers that differ most."""
        ...

    def record(self, request_id: str, outcomes: Mapping[str, float]) -> int:
        """Note outcomes of a request; return how many were new."""
        ...

    def judge(self, request_id: str, truth: Any, enough_ratio: float) -> float:
        """Join a truth with its forecast and return the accuracy."""
        ...

    def describe_units(self, experiment: str, covariates: Mapping[str, float]) -> int:
        """Note what was known of units before an experiment; return how many were new."""
        ...


class Desk:
    """The door to rollouts and experiments behind HTTP and the command line.

    Parameters
    ----------
    rollouts, experiments_
        Durable `Rollouts` and `Experiments`.
    board
        Log of outcomes.
    profile
        Decides which policies need a reason.
    act
        Puts an act on record before it is done.
    """

    def __init__(self, rollouts: State, experiments_: State, board: Log, *, profile: str, act: Act) -> None:
        self._rollouts, self._experiments, self._board = rollouts, experiments_, board
        self._profile, self._act = profile, act

    # Rollouts

    def deploy(self, spec: RolloutSpec, *, forced_because: str = "") -> Json:
        """Begin a rollout; refuse what the profile does not allow."""
        policy = build_policy(spec.policy["name"], spec.policy.get("parameters"))
        check_allowed(policy, profile=self._profile, forced_because=forced_because)
        details = {"model": spec.model, "old": spec.old, "new": spec.new, "policy": policy.name, "why": spec.why}
        self._act(
            spec.by, "rollout.deploy", spec.id, details | ({"forced": forced_because} if forced_because else {})
        )
        return self._rollouts.do(Deploy(spec=spec))

    def order(self, rollout: str, word: Word, *, by: str, why: str) -> Json:
        """Approve, promote, roll back, pause or resume."""
        self._find(rollout)
        self._act(by, f"rollout.{word}", rollout, {"why": why})
        return self._rollouts.do(Order(rollout=rollout, word=word, by=by, why=why))

    def rollouts(self) -> list[Json]:
        """Return all rollouts, oldest first, in short."""
        return [_short(each) for each in self._rollouts.state().values()]

    def rollout(self, name: str) -> Json:
        """Return one rollout with its evidence, its curve, its history and the worst pairs of answers."""
        found = self._find(name)
        more: dict[str, Any] = {"worst_pairs": self._board.worst(name)}
        if found["judge"] is not None:
            judge = Judge.from_json(JudgeSpec(**found["spec"]["judge"]), found["judge"])
            more["ratio_intervals"] = {
                name: [low, high if high < float("inf") else None]
                for name, (low, high) in judge.ratio_intervals().items()
            }
        kept = ("findings", "curve", "history", "revisions", "verification", "effects")
        return _short(found) | {key: found[key] for key in kept} | more

    def _find(self, name: str) -> Json:
        state = self._rollouts.state()
        if name not in state:
            raise UnknownNameError.of("deployment", name, state)
        return state[name]

    # Experiments

    def begin(self, spec: ExperimentSpec, traffic: float) -> Json:
        """Begin an experiment."""
        self._act(spec.by, "experiment.begin", spec.id, {"model": spec.model, "arms": dict(spec.arms)})
        return self._experiments.do(experiments.Begin(spec=replace(spec), traffic=traffic))

    def stop(self, name: str, *, by: str, why: str) -> Json:
        """End an experiment by hand."""
        self._act(by, "experiment.stop", name, {"why": why})
        return self._experiments.do(experiments.Stop(experiment=name, by=by, why=why))

    def experiments(self) -> list[Json]:
        """Return all experiments, oldest first."""
        return list(self._experiments.state().values())

    def experiment(self, name: str) -> Json:
        """Return one experiment."""
        state = self._experiments.state()
        if name not in state:
            raise UnknownNameError.of("experiment", name, state)
        return state[name]

    def describe_units(self, name: str, covariates: Mapping[str, float]) -> Json:
        """Note what was known of an experiment's units before it."""
        self.experiment(name)
        return {"recorded": self._board.describe_units(name, covariates)}

    # What came of requests

    def outcome(self, request_id: str, outcomes: Mapping[str, float], truth: Mapping[str, Any]) -> Json:
        """Note outcomes of a request, and judge its forecast by the truth."""
        told: dict[str, Any] = {"recorded": 0}
        if outcomes:
            told["recorded"] = self._board.record(request_id, outcomes)
        if truth:
            told["accuracy"] = self._board.judge(request_id, truth, JudgeSpec().accuracy_ratio)
        return told


def _short(rollout: Json) -> Json:
    spec = rollout["spec"]
    kept = ("state", "stage", "paused", "weights", "waiting_for", "created_s", "changed_s")
    told = {key: spec[key] for key in ("id", "model", "old", "new", "policy", "by", "why", "approval")}
    return told | {key: rollout[key] for key in kept}
