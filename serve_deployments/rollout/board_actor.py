"""The board and the log of experiments as one named actor. Imported only where Ray runs."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ray

from cluster.actors import detached
from cluster.clock import SystemClock
from cluster.errors import HeliotropeError
from cluster.storage.files import Storage
from serve_deployments.experiments.experiment import Reading
from serve_deployments.experiments.exposure_log import ExposureLog
from serve_deployments.experiments.log_archive import LogArchive
from serve_deployments.rollout.board import TrafficBoard
from serve_deployments.rollout.split import Split
from serve_deployments.rollout.tally import Tree
from serve_deployments.rollout.traffic_spec import TrafficSpec

log = logging.getLogger(__name__)
SHIP_S = 10.0


class BoardActor(TrafficBoard):
    """The board as an actor, whose log of experiments is also kept in the platform's storage."""

    def __init__(self, log_file: str, storage_url: str) -> None:
        super().__init__(ExposureLog(Path(log_file)))
        # With a connection of its own, in a thread: whoever writes or asks does not wait for the storage.
        archive = LogArchive(ExposureLog(Path(log_file)), Storage(storage_url), SystemClock())
        threading.Thread(target=_keep, args=(archive,), name="archive", daemon=True).start()


def _keep(archive: LogArchive) -> None:
    """Take in what other machines have shipped, once, then ship what comes, for ever."""
    restored = False
    while True:
        try:
            if not restored:
                archive.restore()
                restored = True
            archive.ship()
        except HeliotropeError as error:
            log.warning("the log of experiments and the storage are apart: %s", error)
        time.sleep(SHIP_S)


def actor_name(application: str) -> str:
    """Return the name under which an application's board is found."""
    return f"board.{application}"


def get_or_create(application: str, spec: TrafficSpec) -> Any:
    """Return the handle of an application's board, which outlives who asks first and works on that machine."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    return detached.get_or_create(
        BoardActor, actor_name(application), spec.log_file, spec.storage_url, scheduling_strategy=here
    )


def remove(application: str) -> None:
    """End an application's board, if there is one."""
    detached.remove(actor_name(application))


class RayBoard:
    """The board's actor, called as if it were here.

    Each method raises TransientError where the actor does not answer, and the actor's own errors as they are.

    Parameters
    ----------
    handle
        The actor's.
    timeout_s
        Of a call.
    """

    def __init__(self, handle: Any, timeout_s: float = 10.0) -> None:
        self._handle, self._timeout_s = handle, timeout_s

    def publish(self, owner: str, splits: Sequence[Split]) -> None:
        """Replace the splits of an owner."""
        self._call("publish", owner, list(splits))

    def want(self, models: Sequence[Mapping[str, Any]]) -> None:
        """Replace the versions that replicas are to serve."""
        self._call("want", [dict(model) for model in models])

    def holders(self, key: str) -> tuple[int, list[str]]:
        """Return how many replicas followed these versions, and what kept them from it."""
        found: tuple[int, list[str]] = self._call("holders", key)
        return found

    def counts(self) -> tuple[str, Mapping[str, Mapping[str, Tree]]]:
        """Return the epoch, and owner -> revision -> tally since it began."""
        found: tuple[str, Mapping[str, Mapping[str, Tree]]] = self._call("counts")
        return found

    def worst(self, owner: str) -> list[dict[str, Any]]:
        """Return the pairs of answers that differ most."""
        found: list[dict[str, Any]] = self._call("worst", owner)
        return found

    def record(self, request_id: str, outcomes: Mapping[str, float]) -> int:
        """Note outcomes of a request; return how many were new."""
        return int(self._call("record", request_id, dict(outcomes)))

    def judge(self, request_id: str, truth: Any, enough_ratio: float) -> float:
        """Join a truth with its forecast and return the accuracy."""
        return float(self._call("judge", request_id, truth, enough_ratio))

    def describe_units(self, experiment: str, covariates: Mapping[str, float]) -> int:
        """Note what was known of units before an experiment; return how many were new."""
        return int(self._call("describe_units", experiment, dict(covariates)))

    def read(self, experiment: Mapping[str, Any]) -> Reading:
        """Return what the log says of an experiment."""
        found: Reading = self._call("read", dict(experiment))
        return found

    def _call(self, method: str, *arguments: Any) -> Any:
        from ray.exceptions import GetTimeoutError, RayActorError, RayTaskError

        from cluster.errors import HeliotropeError, TransientError

        try:
            return ray.get(getattr(self._handle, method).remote(*arguments), timeout=self._timeout_s)
        except RayTaskError as error:
            raise (error.cause if isinstance(error.cause, HeliotropeError) else error) from error
        except (GetTimeoutError, RayActorError) as error:
            raise TransientError(f"the board does not answer: {type(error).__name__}") from error
