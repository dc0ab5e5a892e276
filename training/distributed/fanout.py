"""Many independent tasks, each done once: here or on Ray, at most so many at a time, kept as they end."""

from __future__ import annotations

import time
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from cluster import errors
from cluster.errors import ConfigError, HeliotropeError, PermanentError, TransientError
from cluster.storage.files import write_whole
from training.core.artifact import from_bytes, to_bytes
from training.core.component import State

Work = Callable[[Any, Any], State]
"""A module-level function of the shared data and a task's own work to a small state."""
Result = State | HeliotropeError

POLL_S = 0.5
TASK_S = 1800.0
"""A task that takes longer than this on Ray is given up: half an hour, where tasks take seconds."""
DEATHS = 2
"""Deaths of a worker that are made good before its task is reported as failed."""
QUEUED = 2
"""Tasks sent ahead of the free processors, so that none waits for the driver."""


@dataclass(frozen=True)
class Shared:
    """Data that several tasks work on; made when the first of them starts, dropped after the last one.

    Parameters
    ----------
    make
        Returns the data; called once, in the driver.
    """

    make: Callable[[], Any]

    @cached_property
    def data(self) -> Any:
        """What the tasks get."""
        return self.make()


@dataclass(frozen=True, kw_only=True)
class Task:
    """One piece of work.

    Parameters
    ----------
    key
        Says what is done to which data: the same key has the same result, in any run.
    shared
        The data; tasks of the same data come one after another.
    work
        What to do with it; small and picklable.
    """

    key: str
    shared: Shared
    work: Any


class Done(NamedTuple):
    """A task that has ended.

    Attributes
    ----------
    task
        Which.
    result
        What it gave, or its error.
    kept
        Whether an earlier run had done it.
    """

    task: Task
    result: Result
    kept: bool = False


class Results:
    """Finished tasks in a folder, one file each: there whole or not at all.

    Parameters
    ----------
    folder
        On storage that the driver sees; made where it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, key: str) -> State | None:
        """Return what a task of this key gave, or None; a file that cannot be read counts as none."""
        try:
            return from_bytes(self._path(key).read_bytes())
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None

    def put(self, key: str, state: State) -> None:
        """Keep what a task gave."""
        write_whole(self._path(key), to_bytes(state))

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.npz"


class Fanout(ABC):
    """Does tasks and yields each with its result, in the order in which they end.

    A task that fails yields its error, and the others go on. With `results`, tasks that are kept there are yielded
    first and not done again, whoever did them: a killed run goes on where it was. Errors are not kept: what failed
    is tried again, since what it lacked (memory, a library) may be there by then.

    Parameters
    ----------
    results
        Where finished tasks are kept; nowhere when None.
    """

    def __init__(self, results: Results | None = None) -> None:
        self.results = results

    def run(self, function: Work, tasks: Iterable[Task]) -> Iterator[Done]:
        """Yield all tasks with their results."""
        left = []
        for task in tasks:
            kept = self.results.get(task.key) if self.results else None
            if kept is None:
                left.append(task)
            else:
                yield Done(task, kept, kept=True)
        for done in self._do(function, left):
            if self.results and not isinstance(done.result, HeliotropeError):
                self.results.put(done.task.key, done.result)
            yield done

    @abstractmethod
    def _do(self, function: Work, tasks: list[Task]) -> Iterator[Done]:
        """Yield each task with its result; hold no more than a few tasks' data at a time."""


class LocalFanout(Fanout):
    """Does one task after another in this process."""

    def _do(self, function: Work, tasks: list[Task]) -> Iterator[Done]:
        tasks.reverse()
        while tasks:
            task = tasks.pop()  # the list lets go of a task, and with the last of them of its data
            yield Done(task, attempt(function, task.shared.data, task.work))


class RayFanout(Fanout):
    """Does tasks on the Ray that this process is connected to, one processor each.

    The data of a task's group is put into the object store once and read there by all its tasks without a copy;
    it is freed when the last of them is done. As many tasks as there are processors, and two more, are under way.

    Parameters
    ----------
    in_flight
        The most tasks under way; None for the cluster's processors and two.
    task_s
        Seconds that a task may take before it is given up as a TransientError.
    results
        See Fanout.
    """

    def __init__(
        self, results: Results | None = None, *, in_flight: int | None = None, task_s: float = TASK_S
    ) -> None:
        super().__init__(results)
        self.in_flight = in_flight
        self.task_s = task_s

    def _do(self, function: Work, tasks: list[Task]) -> Iterator[Done]:
        import ray

        if not ray.is_initialized():
            raise ConfigError("no Ray cluster: start or attach one before, or use LocalFanout")
        most = self.in_flight or max(1, int(ray.cluster_resources().get("CPU", 1))) + QUEUED
        flight = _Flight(function, self.task_s)
        tasks.reverse()
        try:
            while tasks or len(flight):
                while tasks and len(flight) < most:
                    flight.send(tasks.pop())
                yield from flight.landed()
        finally:
            flight.cancel()


class _Flight:
    """Tasks under way on Ray."""

    def __init__(self, function: Work, task_s: float) -> None:
        import ray

        self._function = function
        self._task_s = task_s
        self._remote = ray.remote(num_cpus=1, max_retries=DEATHS)(attempt)
        self._sent: dict[Any, tuple[Task, float]] = {}
        self._data: dict[int, tuple[Shared, Any]] = {}

    def __len__(self) -> int:
        return len(self._sent)

    def send(self, task: Task) -> None:
        """Start a task; its data is put into the store where it is not."""
        import ray

        place = id(task.shared)
        if place not in self._data:
            under_way = {id(sent.shared) for sent, _ in self._sent.values()}
            self._data = {key: pair for key, pair in self._data.items() if key in under_way}
            self._data[place] = (task.shared, ray.put(task.shared.make()))
        reference = self._remote.remote(self._function, self._data[place][1], task.work)
        self._sent[reference] = (task, time.monotonic())

    def landed(self) -> Iterator[Done]:
        """Wait a little, and yield what has ended or taken too long."""
        import ray

        ready, _ = ray.wait(list(self._sent), num_returns=1, timeout=POLL_S)
        for reference in ready:
            task, _ = self._sent.pop(reference)
            yield Done(task, _outcome(reference))
        late = time.monotonic() - self._task_s
        for reference, (task, started_s) in list(self._sent.items()):
            if started_s < late:
                del self._sent[reference]
                ray.cancel(reference, force=True)
                yield Done(task, TransientError(f"a task was given up after {self._task_s:g} s: {task.work}"))

    def cancel(self) -> None:
        """End what is still under way, because nobody waits for it any more."""
        import ray

        for reference in self._sent:
            ray.cancel(reference, force=True)
        self._sent.clear()


def _outcome(reference: Any) -> Result:
    import ray

    try:
        result: Result = ray.get(reference)
    except ray.exceptions.RayError as error:  # the worker died, not the function failed
        return TransientError(f"a worker died {DEATHS + 1} times at a task: {error}")
    return result


def attempt(function: Work, data: Any, work: Any) -> Result:
    """Return what `function` gives, or the error it raises: one task's fault is not the others'."""
    try:
        return function(data, work)
    except HeliotropeError as error:
        return error
    except Exception as error:  # noqa: BLE001 - a library's fault in one task; told by its name, not swallowed
        return PermanentError(f"{type(error).__name__}: {error}")


def told_of(error: HeliotropeError) -> dict[str, str]:
    """Return an error as JSON-able data."""
    return {"kind": type(error).__name__, "message": error.message}


def error_of(told: dict[str, str]) -> HeliotropeError:
    """Return the error that `told_of` told."""
    kind: type[HeliotropeError] = getattr(errors, told["kind"], PermanentError)
    return kind(told["message"])
