"""All rollouts as one durable state: commands of people, looks of the controller, effects that were carried out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from cluster.errors import ConfigError, GateRefused, UnknownNameError
from cluster.state.machine import Json, Machine, plain
from serve_deployments.rollout.policies import build_policy
from serve_deployments.rollout.rollout import ENDED, Rollout, RolloutSpec
from serve_deployments.rollout.split import Split
from serve_deployments.rollout.tally import Tree

KEEP_ENDED = 50
"""Ended rollouts that are remembered; the oldest are forgotten first."""
Word = Literal["approve", "promote", "rollback", "pause", "resume"]


@dataclass(frozen=True, kw_only=True)
class Deploy:
    """Begin a rollout; the same one again changes nothing."""

    spec: RolloutSpec


@dataclass(frozen=True, kw_only=True)
class Order:
    """What somebody wants of a rollout.

    Parameters
    ----------
    rollout
        Its id.
    word
        What to do.
    by, why
        Who, and the reason.
    """

    rollout: str
    word: Word
    by: str
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class Look:
    """What the controller saw of a rollout.

    Parameters
    ----------
    rollout
        Its id.
    epoch
        Changes when counting began anew.
    tallies
        Revision -> tally over all replicas, cumulative since the epoch began.
    faults
        What is broken without statistics.
    """

    rollout: str
    epoch: str = ""
    tallies: Mapping[str, Tree] = field(default_factory=dict)
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Done:
    """An effect was carried out; told twice, it changes nothing."""

    rollout: str
    effect: str


RolloutCommand = Deploy | Order | Look | Done


class Rollouts(Machine[RolloutCommand]):
    """Rollout id -> rollout. A model has one rollout at a time."""

    kind = "rollouts"

    def __init__(self) -> None:
        self.rollouts: dict[str, dict[str, Any]] = {}

    def apply(self, command: RolloutCommand, now_s: float) -> Json:
        """Answer with the rollout's state after the command."""
        if isinstance(command, Deploy):
            return self._deploy(command.spec, now_s)
        rollout = self._get(command.rollout)
        match command:
            case Order():
                _obey(rollout, command, now_s)
            case Look():
                rollout.look(command.epoch, command.tallies, command.faults, now_s)
            case Done():
                rollout.done(command.effect, now_s)
        return self._put(rollout)

    def _deploy(self, spec: RolloutSpec, now_s: float) -> Json:
        known = self.rollouts.get(spec.id)
        if known is not None:
            if plain(known["spec"]) != plain(spec.to_json()):
                raise ConfigError(f"rollout '{spec.id}' is there already with other data; choose another id")
            return _told(known)
        if spec.old == spec.new:
            raise ConfigError(
                f"rollout of '{spec.model}': got version {spec.new} twice, expected a new and an old one"
            )
        for other in self.rollouts.values():
            if other["spec"]["model"] == spec.model and not _over(other):
                raise GateRefused(
                    f"'{spec.model}' is being rolled out already: got rollout '{spec.id}', expected the end of "
                    f"'{other['spec']['id']}'; wait for it or roll it back",
                    rollout=other["spec"]["id"],
                )
        build_policy(spec.policy["name"], spec.policy.get("parameters"))
        return self._put(Rollout(spec, now_s))

    def _get(self, name: str) -> Rollout:
        if name not in self.rollouts:
            raise UnknownNameError.of("rollout", name, self.rollouts)
        return Rollout.from_json(self.rollouts[name])

    def _put(self, rollout: Rollout) -> Json:
        self.rollouts[rollout.spec.id] = rollout.to_json()
        ended = [name for name, each in self.rollouts.items() if _over(each)]
        for name in ended[: max(0, len(ended) - KEEP_ENDED)]:
            del self.rollouts[name]
        return _told(self.rollouts.get(rollout.spec.id, rollout.to_json()))

    def to_json(self) -> Json:
        """Return the whole state."""
        return self.rollouts

    @classmethod
    def from_json(cls, state: Json) -> Self:
        """Rebuild what `to_json` gave."""
        self = cls()
        self.rollouts = state
        return self


def _obey(rollout: Rollout, order: Order, now_s: float) -> None:
    match order.word:
        case "approve":
            rollout.approve(order.by, order.why, now_s)
        case "promote":
            rollout.promote(order.by, order.why, now_s)
        case "rollback":
            rollout.roll_back(order.by, order.why, now_s)
        case "pause" | "resume":
            rollout.pause(order.word == "pause", order.by, order.why, now_s)


def _over(rollout: Mapping[str, Any]) -> bool:
    return rollout["state"] in ENDED and not rollout["effects"]


def _told(rollout: Mapping[str, Any]) -> Json:
    return {key: rollout[key] for key in ("state", "stage", "weights", "paused", "revision", "waiting_for")} | {
        "id": rollout["spec"]["id"]
    }


def active(state: Json) -> list[str]:
    """Return the ids of rollouts that a controller has to look after, oldest first."""
    return [name for name, each in state.items() if not _over(each)]


def splits(state: Json) -> dict[str, Split]:
    """Return model -> split of all rollouts that divide traffic."""
    found = [Rollout.from_json(each).split() for each in state.values() if not _over(each)]
    return {split.model: split for split in found if split is not None}
