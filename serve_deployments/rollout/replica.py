"""A replica's part in rollouts and experiments. Imported only where Ray runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from ray.exceptions import RayActorError

from cluster.actors import detached
from cluster.actors.state import SharedState
from cluster.clock import Clock
from cluster.errors import TransientError
from serve_deployments.api import Api
from serve_deployments.experiments.machine import Experiments
from serve_deployments.handlers.shelf import Shelf
from serve_deployments.rollout import board_actor
from serve_deployments.rollout.desk import Act, Desk
from serve_deployments.rollout.link import Link
from serve_deployments.rollout.machine import Rollouts
from serve_deployments.rollout.routes import rollout_routes
from serve_deployments.rollout.split_step import SplitStep
from serve_deployments.rollout.traffic import Traffic
from serve_deployments.rollout.traffic_spec import TrafficSpec
from serve_deployments.service import Service
from serve_deployments.versions.stock import Stock

EXCHANGE_TIMEOUT_S = 5.0


class ReplicaTraffic:
    """The split step, the routes and the link of one replica.

    Parameters
    ----------
    spec
        What is on.
    application, replica
        Names; the replica's is unlike any other's.
    shelf, clock
        Of the replica.
    act
        Puts an act on record before it is done.
    timeout_s
        Of a request.
    """

    def __init__(
        self,
        spec: TrafficSpec,
        *,
        application: str,
        replica: str,
        shelf: Shelf,
        clock: Clock,
        act: Act,
        timeout_s: float,
    ) -> None:
        traffic = Traffic()
        self._spec, self._application, self._replica, self._act = spec, application, replica, act
        self.step = SplitStep(traffic, shelf, clock, timeout_s=timeout_s)
        self.link = Link(traffic, self._exchange, spec.exchange_s)
        self._board: Any = None

    def follow(self, stock: Stock) -> None:
        """Let a stock follow the versions that the board names."""
        self.link.stock = stock

    @property
    def routes(self) -> Callable[[Api, Service], None]:
        """Adds the routes."""
        return rollout_routes(cache(self._desk))

    def _desk(self) -> Desk:
        states = [
            SharedState(machine, self._spec.storage_url, namespace=detached.NAMESPACE, detached=True)
            for machine in (Rollouts, Experiments)
        ]
        board = board_actor.RayBoard(self._handle())
        return Desk(states[0], states[1], board, profile=self._spec.profile, act=self._act)

    async def _exchange(self, batch: dict[str, Any]) -> Mapping[str, Any]:
        try:
            call = self._handle().exchange.remote(self._replica, batch)
            reply: Mapping[str, Any] = await asyncio.wait_for(call, EXCHANGE_TIMEOUT_S)
        except (RayActorError, TimeoutError) as error:
            self._board = None
            raise TransientError(f"the board does not answer: {type(error).__name__}") from error
        return reply

    def _handle(self) -> Any:
        if self._board is None:
            self._board = board_actor.get_or_create(self._application, self._spec)
        return self._board
