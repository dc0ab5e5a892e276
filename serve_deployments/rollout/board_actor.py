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
from serve_deployments.experiments.experiment import Experiment
from serve_deployments.experiments.exposure_log import Exposure, ExposureLog
from serve_deployments.experiments.log_archive import LogArchive
from serve_deployments.experiments.reading import read
from serve_deployments.rollout.board import SplitBoard
from serve_deployments.rollout.split import Split
from serve_deployments.rollout.tally import Tree
from serve_deployments.rollout.traffic_spec import TrafficSpec
from serve_deployments.rollout.truth import ForecastsKept

log = logging.getLogger(__name__)
SHIP_S = 10.0


class BoardActor:
    """Shell over `SplitBoard`, `ExposureLog` with its `LogArchive`, and `ForecastsKept`."""

    def __init__(self, log_file: str, storage_url: str) -> None:
        self._board, self._log, self._forecasts = SplitBoard(), ExposureLog(Path(log_file)), ForecastsKept()
        # With a connection of its own, in a thread: whoever writes or asks does not wait for the storage.
        archive = LogArchive(ExposureLog(Path(log_file)), Storage(storage_url), SystemClock())
        threading.Thread(target=_keep, args=(archive,), name="archive", daemon=True).start()

    def exchange(self, source: str, batch: dict[str, Any]) -> dict[str, Any]:
        """Take in a replica's batch and return the splits."""
        self._log.expose(Exposure(**each) for each in batch["exposures"])
        self._forecasts.keep(batch["forecasts"])
        for owner, cases in batch["worst"].items():
            self._board.keep_worst(owner, cases)
        if "holds" in batch:
            self._board.holds(source, *batch["holds"])
        return self._board.exchange(source, batch["number"], batch["tallies"])

    def publish(self, owner: str, splits: Sequence[Mapping[str, Any]]) -> None:
        """Replace an owner's splits."""
        self._board.publish(owner, splits)

    def want(self, models: Sequence[Mapping[str, Any]]) -> None:
        """Replace the versions that replicas are to serve."""
        self._board.want(models)

    def holders(self, key: str) -> tuple[int, list[str]]:
        """Return how many replicas followed these versions, and what kept them from it."""
        return self._board.holders(key)

    def counts(self) -> tuple[str, dict[str, dict[str, Tree]]]:
        """Return epoch and tallies."""
        return self._board.counts()

    def worst(self, owner: str) -> list[dict[str, Any]]:
        """Return the pairs of answers that differ most."""
        return self._board.worst(owner)

    def record(self, request_id: str, outcomes: Mapping[str, float]) -> int:
        """Note outcomes of a request."""
        return self._log.record_outcomes({request_id: outcomes})

    def judge(self, request_id: str, truth: Any, enough_ratio: float) -> float:
        """Join a truth with its forecast and return the accuracy."""
        accuracy, tally = self._forecasts.judge(request_id, truth, enough_ratio=enough_ratio)
        self._board.count(*tally)
        return accuracy

    def describe_units(self, experiment: str, covariates: Mapping[str, float]) -> int:
        """Note what was known of units before an experiment."""
        return self._log.describe_units(experiment, covariates)

    def read(self, experiment: dict[str, Any]) -> Any:
        """Return what the log says of an experiment."""
        return read(self._log, Experiment.from_json(experiment))


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
    """The board as a controller sees it."""

    def __init__(self, handle: Any, timeout_s: float = 10.0) -> None:
        self._handle, self._timeout_s = handle, timeout_s

    def publish(self, owner: str, splits: Sequence[Split]) -> None:
        """Replace an owner's splits."""
        self.call("publish", owner, [split.to_json() for split in splits])

    def want(self, models: Sequence[Mapping[str, Any]]) -> None:
        """Replace the versions that replicas are to serve."""
        self.call("want", [dict(model) for model in models])

    def counts(self) -> tuple[str, Mapping[str, Mapping[str, Tree]]]:
        """Return epoch and tallies."""
        found: tuple[str, Mapping[str, Mapping[str, Tree]]] = self.call("counts")
        return found

    def call(self, method: str, *arguments: Any) -> Any:
        """Call the actor; raise TransientError where it does not answer, and its own errors as they are."""
        from ray.exceptions import GetTimeoutError, RayActorError, RayTaskError

        from cluster.errors import HeliotropeError, TransientError

        try:
            return ray.get(getattr(self._handle, method).remote(*arguments), timeout=self._timeout_s)
        except RayTaskError as error:
            raise (error.cause if isinstance(error.cause, HeliotropeError) else error) from error
        except (GetTimeoutError, RayActorError) as error:
            raise TransientError(f"the board does not answer: {type(error).__name__}") from error
