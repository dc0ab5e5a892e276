"""Fits spread over a Ray cluster: an actor a worker, each with the data and its own encoders."""

from __future__ import annotations

from typing import Any

from cluster.clock import Clock, SystemClock
from cluster.errors import ConfigError
from training.core.parameters import whole
from tuning.automl.trial import Assigned, Material, Trials
from tuning.automl.workers import Ended, Failed, Workers, attempt


class _Worker:
    def __init__(self, material: Material) -> None:
        self._trials = Trials(material=material, clock=SystemClock())

    def do(self, assigned: Assigned) -> Ended:
        """Do a fit."""
        return attempt(self._trials, assigned)


class RayWorkers(Workers):
    """Does several fits at a time on the connected Ray; a worker that dies fails its fit, and is replaced.

    Parameters
    ----------
    material
        Data and folds; travel to the cluster once.
    clock
        Not used: workers measure by their machine's.
    count
        Fits at a time, a processor each.
    """

    def __init__(self, material: Material, clock: Clock, *, count: int) -> None:  # noqa: ARG002
        import ray

        if not ray.is_initialized():
            raise ConfigError("fits on Ray need one: got none connected, expected a Cluster.open(...) before")
        self._ray = ray
        self._material = ray.put(material)
        self._make = ray.remote(num_cpus=1, max_restarts=0)(_Worker)
        self._idle: list[Any] = [self._worker() for _ in range(whole("count", count, low=1))]
        self._running: dict[Any, tuple[Assigned, Any]] = {}

    @property
    def free(self) -> bool:
        """Whether an actor is idle."""
        return bool(self._idle)

    @property
    def busy(self) -> bool:
        """Whether an actor works."""
        return bool(self._running)

    def submit(self, assigned: Assigned) -> None:
        """Give an idle actor a fit."""
        worker = self._idle.pop()
        self._running[worker.do.remote(assigned)] = (assigned, worker)

    def wait(self, timeout_s: float) -> Ended | None:
        """Return the first fit that ends in the time."""
        ready, _ = self._ray.wait(list(self._running), timeout=timeout_s)
        if not ready:
            return None
        assigned, worker = self._running.pop(ready[0])
        try:
            ended: Ended = self._ray.get(ready[0])
        except self._ray.exceptions.RayError as error:
            self._ray.kill(worker)
            self._idle.append(self._worker())
            return Failed(assigned=assigned, error=f"{type(error).__name__}: {error}")
        self._idle.append(worker)
        return ended

    def close(self) -> None:
        """End the actors; fits on their way are lost."""
        for worker in [*self._idle, *(worker for _, worker in self._running.values())]:
            self._ray.kill(worker)
        self._idle.clear()
        self._running.clear()

    def _worker(self) -> Any:
        return self._make.remote(self._material)
