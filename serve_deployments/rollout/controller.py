"""Carries rollouts forward: looks, lets the durable machine decide, makes the world follow; remembers nothing."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Protocol
from uuid import uuid4

from cluster.errors import HeliotropeError, TransientError
from cluster.state.machine import Json
from serve_deployments.rollout.machine import Done, Look, RolloutCommand, active, splits
from serve_deployments.rollout.split import Split
from serve_deployments.rollout.tally import Tree

log = logging.getLogger(__name__)


class RolloutState(Protocol):
    """The durable rollouts, as `SharedState` and `Durable` keep them."""

    def do(self, command: RolloutCommand, command_id: str) -> Json:
        """Run a command once for its id and return the answer."""
        ...

    def state(self) -> Json:
        """Return the whole state."""
        ...


class Board(Protocol):
    """Where replicas read splits and leave their counts."""

    def publish(self, owner: str, splits: Sequence[Split]) -> None:
        """Replace the splits of this owner."""
        ...

    def counts(self) -> tuple[str, Mapping[str, Mapping[str, Tree]]]:
        """Return the epoch, and owner -> revision -> tally since it began."""
        ...


class World(Protocol):
    """What a rollout changes outside. Each effect may be carried out again and must then change nothing."""

    def carry_out(self, rollout: Json, effect: Json) -> None:
        """Do `serve_both`, `serve_new`, `serve_old`, `promote`, `mark_unstable`, `retrain` or `notify`.

        Raises
        ------
        TransientError
            Not now; it is tried again at the next tick.
        """
        ...

    def faults(self, rollout: Json) -> tuple[str, ...]:
        """Return what is broken about the new version without statistics: health, crash loops."""
        ...


class Controller:
    """One tick after the other; killed at any place, the next one goes on from the durable state.

    Splits and effects follow from the state (they are told again as long as the state asks for them), so nothing
    depends on this object having lived.

    Parameters
    ----------
    state
        Durable `Rollouts`.
    board
        Between it and the replicas.
    world
        Effects and health.
    """

    owner = "rollouts"

    def __init__(self, state: RolloutState, board: Board, world: World) -> None:
        self._state, self._board, self._world = state, board, world

    def tick(self) -> None:
        """Look at every active rollout, publish the splits, carry out what is asked for."""
        state = self._state.state()
        if looked := active(state):
            epoch, counts = self._board.counts()
            for name in looked:
                faults = self._world.faults(state[name])
                self._do(Look(rollout=name, epoch=epoch, tallies=counts.get(name, {}), faults=faults))
            state = self._state.state()
        self._board.publish(self.owner, list(splits(state).values()))
        for name in looked:
            self._carry_out(state[name])

    def _carry_out(self, rollout: Json) -> None:
        """Do a rollout's effects in order; one that must wait makes the rest wait, a message excepted."""
        for effect in rollout["effects"]:
            try:
                self._world.carry_out(rollout, effect)
            except TransientError as error:
                log.warning("rollout %s: %s waits: %s", rollout["spec"]["id"], effect["kind"], error)
                return
            except HeliotropeError as error:
                self._failed(rollout, effect, error)
                return
            self._do(Done(rollout=rollout["spec"]["id"], effect=effect["id"]))

    def _failed(self, rollout: Json, effect: Json, error: HeliotropeError) -> None:
        """Tell the state that an effect cannot be carried out: a version that cannot be served is rolled back."""
        told = f"{effect['kind']} failed: {error.message}"
        log.error("rollout %s: %s", rollout["spec"]["id"], told)
        if effect["kind"] == "serve_both":
            self._do(Look(rollout=rollout["spec"]["id"], faults=(told,)))
        self._do(Done(rollout=rollout["spec"]["id"], effect=effect["id"]))

    def _do(self, command: Any) -> None:
        self._state.do(command, uuid4().hex)
