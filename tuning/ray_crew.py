"""Workers on a Ray cluster: one actor each, used again for trial after trial."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from training.core.parameters import real, whole
from tuning.crew import Assignment, Crew, Ended, Event, Lost, Started, Work
from tuning.lane import Lane
from tuning.meter import meter_named


@dataclass(frozen=True, kw_only=True)
class WorkerSpec:
    """What each worker asks of the cluster.

    Parameters
    ----------
    cpus, gpus
        Shares are fine: four workers with 0.25 use one.
    custom
        Further resources by name.
    memory_bytes
        The most that one trial may allocate; unbounded where None.
    meter
        What measures energy: `codecarbon`, `estimate`, or `auto`, the first where it is installed.
    """

    cpus: float = 1.0
    gpus: float = 0.0
    custom: Mapping[str, float] = field(default_factory=dict)
    memory_bytes: int | None = None
    meter: str = "estimate"

    def __post_init__(self) -> None:
        meter_named(self.meter)
        for name in ("cpus", "gpus"):
            real(name, getattr(self, name), low=0)
        if self.memory_bytes is not None:
            whole("memory_bytes", self.memory_bytes, low=1)

    def options(self) -> dict[str, Any]:
        """Return the actor's options: spread over the nodes, one call at a time, never restarted in secret."""
        needs = {"num_cpus": self.cpus, "num_gpus": self.gpus, "resources": dict(self.custom)}
        return needs | {"scheduling_strategy": "SPREAD", "max_restarts": 0, "enable_task_events": False}


@dataclass
class _Worker:
    actor: Any
    ready: bool = False
    number: int | None = None


class RayCrew(Crew):
    """Actors on the Ray that this process is connected to; the work travels to each node once.

    Parameters
    ----------
    work
        What a trial does.
    spec
        What a worker asks for.
    """

    def __init__(self, work: Work, spec: WorkerSpec) -> None:
        import ray

        self._work = ray.put(work)
        self._spec = spec
        self._kind = ray.remote(Lane).options(**spec.options())
        self._busy: dict[int, _Worker] = {}
        self._free: list[_Worker] = []
        self._waiting: dict[Any, int] = {}
        self._told: deque[tuple[int, Event]] = deque()

    def begin(self, assignment: Assignment) -> None:
        """Give a trial to a free worker, or to a new one."""
        worker = self._free.pop() if self._free else self._hire()
        worker.number = assignment.number
        self._busy[assignment.number] = worker
        if worker.ready:
            self._told.append((assignment.number, Started()))
        else:
            self._waiting[worker.actor.__ray_ready__.remote()] = assignment.number
        self._waiting[worker.actor.begin.remote(assignment)] = assignment.number

    def proceed(self, number: int, *, stop: bool) -> None:
        """Let a trial go on, or stop."""
        self._waiting[self._busy[number].actor.proceed.remote(stop=stop)] = number

    def wait(self, timeout_s: float | None) -> tuple[int, Event] | None:
        """Return the next event."""
        import ray

        if self._told:
            return self._told.popleft()
        done, _ = ray.wait(list(self._waiting), num_returns=1, timeout=timeout_s)
        return self._hear(done[0]) if done else None

    def end(self, number: int) -> None:
        """Kill the actor of a trial by its id."""
        self._forget(number)
        self._dismiss(self._busy.pop(number))

    def close(self) -> None:
        """Kill all actors."""
        for worker in (*self._busy.values(), *self._free):
            self._dismiss(worker)
        self._busy.clear()
        self._free.clear()
        self._waiting.clear()
        self._told.clear()

    def _hire(self) -> _Worker:
        return _Worker(self._kind.remote(self._work, memory_bytes=self._spec.memory_bytes, meter=self._spec.meter))

    def _hear(self, ref: Any) -> tuple[int, Event]:
        import ray
        from ray.exceptions import RayActorError, RayError

        number = self._waiting.pop(ref)
        worker = self._busy[number]
        try:
            found = ray.get(ref)
        except RayError as error:
            # A dead worker is gone already; one that could not even unpickle the work is ended here.
            self.end(number)
            if isinstance(error, RayActorError):
                return number, Lost(reason=_first_line(error))
            raise
        if found is True:
            worker.ready = True
            return number, Started()
        worker.ready = True
        return self._heard(number, worker, found)

    def _heard(self, number: int, worker: _Worker, event: Event) -> tuple[int, Event]:
        if isinstance(event, Ended):
            self._forget(number)
            worker.number = None
            self._free.append(self._busy.pop(number))
        return number, event

    def _forget(self, number: int) -> None:
        self._waiting = {ref: at for ref, at in self._waiting.items() if at != number}
        self._told = deque(each for each in self._told if each[0] != number)

    def _dismiss(self, worker: _Worker) -> None:
        import ray

        ray.kill(worker.actor, no_restart=True)


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
