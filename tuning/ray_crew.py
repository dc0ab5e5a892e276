"""Workers on a Ray cluster: one actor each, used again for trial after trial."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cluster.errors import ConfigError, TransientError
from training.core.parameters import real, whole
from tuning.crew import Assignment, Crew, Ended, Event, Lost, Started, Work
from tuning.lane import Lane
from tuning.meter import meter_named

START_TIMEOUT_S = 300.0
"""A worker imports its libraries and waits for processors that others hold; nobody free for so long is a fault."""
LOOK_S = 5.0


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


class RayCrew(Crew):
    """Actors on the Ray that this process is connected to; the work travels to each node once.

    A trial waits for whichever actor is ready first: where the cluster has room for fewer actors than there are
    trials at a time, those that it has room for do all the work.

    Parameters
    ----------
    work
        What a trial does.
    spec
        What a worker asks for.

    Raises
    ------
    ConfigError
        No node of the cluster could ever run such a worker.
    """

    def __init__(self, work: Work, spec: WorkerSpec) -> None:
        import ray

        _refuse_what_fits_nowhere(spec, ray.nodes())
        self._work = ray.put(work)
        self._spec = spec
        self._kind = ray.remote(Lane).options(**spec.options())
        self._queue: deque[Assignment] = deque()
        self._hired: dict[Any, Any] = {}
        self._free: list[Any] = []
        self._busy: dict[int, Any] = {}
        self._waiting: dict[Any, int] = {}
        self._told: deque[tuple[int, Event]] = deque()
        self._alone_since_s = time.monotonic()

    def begin(self, assignment: Assignment) -> None:
        """Give a trial to the first worker that is free."""
        self._queue.append(assignment)
        self._hand_out()
        if len(self._queue) > len(self._hired):
            self._hire()

    def proceed(self, number: int, *, stop: bool) -> None:
        """Let a trial go on, or stop."""
        self._waiting[self._busy[number].proceed.remote(stop=stop)] = number

    def wait(self, timeout_s: float | None) -> tuple[int, Event] | None:
        """Return the next event."""
        import ray

        deadline_s = math.inf if timeout_s is None else time.monotonic() + timeout_s
        while not self._told:
            left_s = min(max(deadline_s - time.monotonic(), 0.0), LOOK_S)
            done, _ = ray.wait([*self._hired, *self._waiting], num_returns=1, timeout=left_s)
            if done:
                self._hear(done[0])
            elif time.monotonic() >= deadline_s:
                return None
            else:
                self._refuse_to_wait_for_ever()
        return self._told.popleft()

    def end(self, number: int) -> None:
        """Kill the actor of a trial by its id."""
        self._queue = deque(each for each in self._queue if each.number != number)
        self._waiting = {ref: at for ref, at in self._waiting.items() if at != number}
        self._told = deque(each for each in self._told if each[0] != number)
        if number in self._busy:
            _kill(self._busy.pop(number))

    def close(self) -> None:
        """Kill all actors."""
        for actor in (*self._busy.values(), *self._free, *self._hired.values()):
            _kill(actor)
        for kept in (self._busy, self._free, self._hired, self._waiting, self._told, self._queue):
            kept.clear()

    def _refuse_to_wait_for_ever(self) -> None:
        import ray

        waited_s = time.monotonic() - self._alone_since_s
        if not self._busy and waited_s > START_TIMEOUT_S:
            raise TransientError(
                f"no worker has started for {waited_s:.0f} s: got {ray.available_resources()} free, expected "
                f"{self._spec.cpus:g} CPUs and {self._spec.gpus:g} GPUs; ask for less, or end what holds them",
                retry_after_s=60.0,
            )

    def _hire(self) -> None:
        actor = self._kind.remote(self._work, memory_bytes=self._spec.memory_bytes, meter=self._spec.meter)
        self._hired[actor.__ray_ready__.remote()] = actor

    def _hand_out(self) -> None:
        while self._queue and self._free:
            assignment, actor = self._queue.popleft(), self._free.pop()
            self._busy[assignment.number] = actor
            self._told.append((assignment.number, Started()))
            self._waiting[actor.begin.remote(assignment)] = assignment.number

    def _hear(self, ref: Any) -> None:
        self._alone_since_s = time.monotonic()
        if ref in self._hired:
            self._meet(ref)
            return
        number = self._waiting.pop(ref)
        event = _answer(ref)
        self._told.append((number, event))
        if isinstance(event, Lost):
            del self._busy[number]
        elif isinstance(event, Ended):
            self._free.append(self._busy.pop(number))
        self._hand_out()

    def _meet(self, ref: Any) -> None:
        """Take a new worker in; where it died at its start, the trial that waits longest is lost with it."""
        actor, event = self._hired.pop(ref), _answer(ref)
        if not isinstance(event, Lost):
            self._free.append(actor)
            self._hand_out()
        elif self._queue:
            self._told.append((self._queue.popleft().number, event))


def trials_that_fit(spec: WorkerSpec, train_workers: int) -> int:
    """Return how many trials the cluster can train at a time where each has Ray Train workers of one CPU beside it.

    Raises
    ------
    ConfigError
        Not even one: it would wait for its own workers for ever.
    """
    import ray

    have = float(ray.cluster_resources().get("CPU", 0.0))
    needs = spec.cpus + train_workers
    if needs > have:
        raise ConfigError(
            f"a trial with {train_workers} training workers: got {have:g} CPUs in the cluster, expected {needs:g}; "
            "ask for fewer workers, or give the trial itself a smaller share"
        )
    return int(have // needs)


def _answer(ref: Any) -> Any:
    """Return what an actor answered; Lost where it is dead."""
    import ray
    from ray.exceptions import RayActorError

    try:
        return ray.get(ref)
    except RayActorError as error:
        lines = (line.strip() for line in str(error).splitlines())
        return Lost(reason=next((line for line in lines if line), type(error).__name__))


def _kill(actor: Any) -> None:
    import ray

    ray.kill(actor, no_restart=True)


def _refuse_what_fits_nowhere(spec: WorkerSpec, nodes: Sequence[Mapping[str, Any]]) -> None:
    needs = {"CPU": spec.cpus, "GPU": spec.gpus, **spec.custom}
    have = [node["Resources"] for node in nodes if node["Alive"]]
    if not any(all(each.get(name, 0.0) >= amount for name, amount in needs.items()) for each in have):
        largest = {name: max((each.get(name, 0.0) for each in have), default=0.0) for name in needs}
        raise ConfigError(
            f"a trial's worker fits on no node: got {needs}, expected at most {largest}; ask for less or add a node"
        )
