"""All experiments as one durable state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from cluster.errors import ConfigError, UnknownNameError
from cluster.state.machine import Json, Machine
from serve_deployments.experiments.assignment import Slot, free_slot
from serve_deployments.experiments.experiment import Experiment, ExperimentSpec, Reading
from serve_deployments.rollout.split import Split
from serve_deployments.rollout.tally import Tree

KEEP_ENDED = 200
"""Ended experiments that are remembered; the oldest are forgotten first."""


@dataclass(frozen=True, kw_only=True)
class Begin:
    """Begin an experiment on a share of its model's units that no other has; the same one again changes nothing.

    Parameters
    ----------
    spec
        What is asked; its slot is given here.
    traffic
        Share of the model's units, in (0, 1].
    """

    spec: ExperimentSpec
    traffic: float


@dataclass(frozen=True, kw_only=True)
class Read:
    """What the log says of an experiment."""

    experiment: str
    reading: Reading


@dataclass(frozen=True, kw_only=True)
class Look:
    """What replicas counted of an experiment's arms.

    Parameters
    ----------
    experiment
        Its id.
    epoch
        Changes when counting began anew.
    tallies
        Phase and arm -> tally over all replicas, cumulative since the epoch began.
    """

    experiment: str
    epoch: str
    tallies: Mapping[str, Tree] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Stop:
    """End an experiment by hand."""

    experiment: str
    by: str
    why: str = ""


ExperimentCommand = Begin | Read | Look | Stop


class Experiments(Machine[ExperimentCommand]):
    """Experiment id -> experiment; those of one model share its units without overlap."""

    kind = "model-experiments"

    def __init__(self) -> None:
        self.experiments: dict[str, dict[str, Any]] = {}

    def apply(self, command: ExperimentCommand, now_s: float) -> Json:
        """Answer with the experiment's state after the command."""
        if isinstance(command, Begin):
            return self._begin(command, now_s)
        experiment = self._get(command.experiment)
        match command:
            case Read():
                experiment.read(command.reading, now_s)
            case Look():
                experiment.look(command.epoch, command.tallies, now_s)
            case Stop():
                experiment.stop(command.by, command.why, now_s)
        return self._put(experiment)

    def _begin(self, command: Begin, now_s: float) -> Json:
        spec = command.spec
        if (known := self.experiments.get(spec.id)) is not None:
            had = ExperimentSpec.from_json(known["spec"])
            if had.asked() != spec.asked():
                raise ConfigError(f"experiment '{spec.id}' is there already with other data; choose another id")
            return _told(known)
        taken = [
            Slot(**each["spec"]["slot"])
            for each in self.experiments.values()
            if each["ending"] is None and each["spec"]["model"] == spec.model
        ]
        return self._put(Experiment(spec.within(free_slot(taken, command.traffic)), now_s))

    def _get(self, name: str) -> Experiment:
        if name not in self.experiments:
            raise UnknownNameError.of("experiment", name, self.experiments)
        return Experiment.from_json(self.experiments[name])

    def _put(self, experiment: Experiment) -> Json:
        self.experiments[experiment.spec.id] = experiment.to_json()
        ended = [name for name, each in self.experiments.items() if each["ending"] is not None]
        for name in ended[: max(0, len(ended) - KEEP_ENDED)]:
            del self.experiments[name]
        return _told(experiment.to_json())

    def to_json(self) -> Json:
        """Return the whole state."""
        return self.experiments

    @classmethod
    def from_json(cls, state: Json) -> Self:
        """Rebuild what `to_json` gave."""
        self = cls()
        self.experiments = state
        return self


def _told(experiment: Json) -> Json:
    kept = ("ending", "winner", "detail", "shares", "units", "dropped")
    return {"id": experiment["spec"]["id"], "slot": experiment["spec"]["slot"]} | {k: experiment[k] for k in kept}


def splits(state: Json) -> list[Split]:
    """Return the splits of all experiments in progress."""
    found = [Experiment.from_json(each).split() for each in state.values() if each["ending"] is None]
    return [split for split in found if split is not None]
