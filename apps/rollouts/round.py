"""One round of looking after rollouts and experiments. Pure: the actor around it only calls it again and again."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Protocol
from uuid import uuid4

from apps.rollouts.world import PlatformWorld
from cluster.errors import HeliotropeError, TransientError
from cluster.state.machine import Json
from serve_deployments.experiments import machine as experiments
from serve_deployments.experiments.experiment import Reading
from serve_deployments.rollout.controller import Board, Controller
from serve_deployments.rollout.judge import JudgeSpec
from serve_deployments.rollout.machine import Deploy
from serve_deployments.rollout.rollout import RolloutSpec

log = logging.getLogger(__name__)


SERVING = ("preparing", "running", "verifying")
"""States of a rollout in which both versions answer, or soon will."""


ASK_EVERY = 30
"""Looks after which the registry is asked anew what an experiment needs: its answers take tenths of a second."""
READ_EVERY = 10
"""Looks after which the log is summed anew: with a million exposures that takes seconds. Guardrails always look."""


class State(Protocol):
    """A durable machine."""

    def do(self, command: Any, command_id: str) -> Json:
        """Run a command once for its id and return the answer."""
        ...

    def state(self) -> Json:
        """Return the whole state."""
        ...


class ReadingBoard(Board, Protocol):
    """A board that also keeps the log of experiments, and the versions that replicas are to serve."""

    def want(self, models: Sequence[Mapping[str, Any]]) -> None:
        """Replace the versions that replicas are to serve."""
        ...

    def read(self, experiment: Mapping[str, Any]) -> Reading:
        """Return what the log says of an experiment."""
        ...


class Round:
    """Ticks the controller of rollouts, and reads the experiments.

    Parameters
    ----------
    rollouts, experiments_
        Durable `Rollouts` and `Experiments`.
    board
        Between replicas and this.
    world
        The platform.
    """

    owner = "experiments"

    def __init__(self, rollouts: State, experiments_: State, board: ReadingBoard, world: PlatformWorld) -> None:
        self._rollouts, self._experiments, self._board, self._world = rollouts, experiments_, board, world
        self._controller = Controller(rollouts, board, world)
        world.beside = self._beside
        self._looks, self._asked = 0, dict[str, int]()

    def tick(self) -> None:
        """Look at everything once; a fault of one part does not keep the other from its turn."""
        parts = (self._tell_versions, self._read_experiments, self._controller.tick)
        faults = [fault for part in parts if (fault := _tried(part))]
        if faults:
            raise TransientError("; ".join(map(str, faults)))

    def _tell_versions(self) -> None:
        """Tell the board again, which may have been started anew, what replicas are to serve."""
        if models := self._world.models():
            self._board.want(models)

    def _read_experiments(self) -> None:
        self._looks += 1
        going = _going(self._experiments.state())
        ready = {name: each for name, each in going.items() if self._served(name)}
        epoch, counts = self._board.counts() if ready else ("", {})
        for name, each in ready.items():
            self._do(experiments.Look(experiment=name, epoch=epoch, tallies=counts.get(name, {})))
            if self._looks % READ_EVERY == 0:
                self._do(experiments.Read(experiment=name, reading=self._board.read(each)))
        now = self._experiments.state()
        self._board.publish(self.owner, experiments.splits({name: now[name] for name in ready}))
        for each in now.values():
            self._promote_winner(each)

    def _do(self, command: Any) -> None:
        self._experiments.do(command, uuid4().hex)

    def _beside(self) -> dict[str, tuple[str, ...]]:
        """Return model -> versions that must be served beside those in production, as things stand now."""
        return _versions(_going(self._experiments.state()), self._rollouts.state())

    def _served(self, experiment: str) -> bool:
        """Say whether an experiment's versions are served; ask for it where not, and again now and then."""
        if self._looks - self._asked.get(experiment, -ASK_EVERY) < ASK_EVERY:
            return True
        try:
            self._world.serve({}, uuid4().hex)
        except TransientError:
            return False
        self._asked[experiment] = self._looks
        return True

    def _promote_winner(self, experiment: Json) -> None:
        """Begin a canary of a winner that is not the control, once."""
        spec, winner = experiment["spec"], experiment["winner"]
        name = f"{spec['id']}-winner"
        if not spec["promote"] or winner in (None, spec["control"]) or name in self._rollouts.state():
            return
        wish = RolloutSpec(
            id=name,
            model=spec["model"],
            old=spec["control"],
            new=winner,
            policy={"name": "canary", "parameters": {}},
            judge=JudgeSpec(),
            by=spec["by"],
            why=f"winner of experiment {spec['id']}: {experiment['detail']}",
        )
        self._rollouts.do(Deploy(spec=wish), name)


def _going(experiments_: Json) -> dict[str, Json]:
    return {name: each for name, each in experiments_.items() if each["ending"] is None}


def _versions(going: Mapping[str, Json], rollouts: Json) -> dict[str, tuple[str, ...]]:
    """Return model -> versions that must be served beside those in production, the default first."""
    found: dict[str, tuple[str, ...]] = {}
    for spec in (each["spec"] for each in rollouts.values() if each["state"] in SERVING):
        found[spec["model"]] = (spec["old"], spec["new"])
    for spec in (each["spec"] for each in going.values()):
        arms = sorted(spec["arms"], key=lambda arm: arm != spec["control"])
        found[spec["model"]] = tuple(dict.fromkeys((*found.get(spec["model"], ()), *arms)))
    return found


def _tried(part: Any) -> HeliotropeError | None:
    try:
        part()
    except HeliotropeError as error:
        return error
    return None
