"""The actor that looks after rollouts and experiments, about once a second. Imported only where Ray runs."""

from __future__ import annotations

import json
import logging
import os
import threading
import urllib.request
from collections.abc import Mapping
from functools import cache
from typing import Any

import ray

from apps.rollouts.round import Round
from apps.rollouts.world import PlatformWorld
from apps.running import find_running
from cluster.actors import detached
from cluster.actors.state import SharedState
from cluster.errors import HeliotropeError
from cluster.registry.registry import Registry
from cluster.settings import Settings
from cluster.state.desired import DesiredState
from serve_deployments.experiments.machine import Experiments
from serve_deployments.rollout import board_actor
from serve_deployments.rollout.machine import Rollouts
from serve_deployments.rollout.traffic_spec import TrafficSpec

log = logging.getLogger(__name__)
TICK_S = 1.0
TELL_TIMEOUT_S = 5.0
HUMBLE = 4
"""Steps of priority behind the replicas: what the office does can wait for a processor, answers cannot."""


def shared(machine: Any, storage_url: str) -> SharedState[Any]:
    """Return the durable state that replicas, commands and the office share."""
    return SharedState(machine, storage_url, namespace=detached.NAMESPACE, detached=True)


class RolloutOffice:
    """Shell over `Round`; Ray starts it anew after a death, and it goes on from the durable states.

    Parameters
    ----------
    settings
        Of the platform.
    application
        The served one.
    """

    def __init__(self, settings: Settings, application: str, traffic: TrafficSpec) -> None:
        os.nice(HUMBLE)
        self._settings, self._application = settings, application
        wanted: SharedState[Any] = SharedState(DesiredState, settings.storage_url)
        world = PlatformWorld(
            registry=cache(self._open_registry),
            settings=settings,
            wanted=wanted,
            deployed=self._deployed,
            serving_fault=self._serving_fault,
            tell=self._tell,
        )
        board = board_actor.RayBoard(board_actor.get_or_create(application, traffic))
        rollouts, experiments = (shared(machine, settings.storage_url) for machine in (Rollouts, Experiments))
        self._round = Round(rollouts, experiments, board, world)
        self._ended = threading.Event()
        threading.Thread(target=self._run, name="rollouts", daemon=True).start()

    def _run(self) -> None:
        while not self._ended.wait(TICK_S):
            try:
                self._round.tick()
            except HeliotropeError as error:
                log.warning("%s: %s", type(error).__name__, error)

    def pid(self) -> int:
        """Return the id of the process."""
        return os.getpid()

    def _open_registry(self) -> Registry:
        from cluster.registry.mlflow_registry import open_registry

        return open_registry(self._settings)

    def _deployed(self) -> tuple[int, str]:
        running = find_running(self._settings)
        return (running.deployed, running.fault) if running else (0, "")

    def _serving_fault(self) -> str:
        from ray import serve
        from ray.serve.schema import ApplicationStatus

        found = serve.status().applications.get(self._application)
        broken = (ApplicationStatus.UNHEALTHY, ApplicationStatus.DEPLOY_FAILED)
        return f"application {found.status.value}: {found.message}" if found and found.status in broken else ""

    def _tell(self, message: Mapping[str, Any]) -> None:
        log.warning("rollout %s", json.dumps(message, default=str))
        url = self._settings.notify_url
        if not url:
            return
        body = json.dumps(message, default=str).encode()
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})  # noqa: S310 - checked in settings
        try:
            with urllib.request.urlopen(request, timeout=TELL_TIMEOUT_S) as answer:  # noqa: S310 - checked in settings
                answer.read()
        except OSError as error:
            # Who is told must not hold up a rollback; the history has it all.
            log.warning("nobody was told at %s: %s", url, error)


def open_office(settings: Settings, application: str, traffic: TrafficSpec) -> Any:
    """Start the office, or return the one that works already."""
    return (
        ray.remote(RolloutOffice)
        .options(
            name=f"rollouts.{application}", get_if_exists=True, num_cpus=0, max_restarts=-1, max_task_retries=-1
        )
        .remote(settings, application, traffic)
    )


def close_office(office: Any, settings: Settings) -> None:
    """End the office and the actors of its states; the states stay in storage."""
    ray.kill(office, no_restart=True)
    for machine in (Rollouts, Experiments):
        shared(machine, settings.storage_url).close()
