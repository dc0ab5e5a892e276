"""One worker's inside: trials one after the other, each in a thread that pauses at every report. Knows no Ray."""

from __future__ import annotations

import resource
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from tuning.crew import Assignment, Ended, Reported, Usage, Work
from tuning.meter import open_meter


class StoppedEarly(BaseException):
    """Raised by a report in the thread of a trial that is to stop."""


class Lane:
    """Runs trials step by step: each call returns at the trial's next report or at its end.

    Parameters
    ----------
    work
        What a trial does.
    memory_bytes
        The most that a trial may allocate on top of what the process has; unbounded where None. The kernel keeps
        it (RLIMIT_DATA): an allocation beyond it is a MemoryError in the trial. Shared memory does not count.
    meter
        Name of what measures energy.
    """

    def __init__(self, work: Work, *, memory_bytes: int | None = None, meter: str = "estimate") -> None:
        self._work = work
        self._meter = open_meter(meter)
        self._memory_bytes = memory_bytes
        self._tasks = count()
        self._events: SimpleQueue[Reported | Ended] = SimpleQueue()
        self._verdicts: SimpleQueue[bool] = SimpleQueue()

    def begin(self, assignment: Assignment) -> Reported | Ended:
        """Start a trial and return what comes first."""
        threading.Thread(target=self._run, args=(assignment,), daemon=True, name="trial").start()
        return self._events.get()

    def proceed(self, *, stop: bool) -> Reported | Ended:
        """Answer the last report and return what comes next."""
        self._verdicts.put(stop)
        return self._events.get()

    def _run(self, assignment: Assignment) -> None:
        task = f"{assignment.number}-{next(self._tasks)}"
        self._meter.start(task)
        began_s = time.process_time()
        metrics, error = None, ""
        try:
            with bounded_memory(self._memory_bytes):
                metrics = dict(self._work(assignment, self._report))
        except StoppedEarly:
            pass
        except MemoryError as caught:
            error = f"MemoryError: {caught or 'no memory left'}; {self._bound()}"
        except BaseException as caught:  # noqa: BLE001 - told to the study, whatever it is
            error = f"{type(caught).__name__}: {caught}"
        cpu_s = time.process_time() - began_s
        usage = Usage(cpu_s=cpu_s, peak_memory_bytes=peak_memory_bytes(), energy_kwh=self._meter.stop(task))
        self._events.put(Ended(metrics=metrics, error=error, usage=usage))

    def _report(self, step: int, value: float, *, fold: bool = False, state: Any = None) -> None:
        self._events.put(Reported(step=step, value=value, fold=fold, state=state))
        if self._verdicts.get():
            raise StoppedEarly

    def _bound(self) -> str:
        if self._memory_bytes is None:
            return "the trial has no bound of its own"
        return f"a trial of this study may take {self._memory_bytes / 2**20:.0f} MiB"


@contextmanager
def bounded_memory(more_bytes: int | None) -> Iterator[None]:
    """Let this process allocate at most `more_bytes` on top of what it has, within the block."""
    if more_bytes is None or not sys.platform.startswith("linux"):
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = _data_bytes() + more_bytes
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def peak_memory_bytes() -> int:
    """Return the most resident memory this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in KiB


def _data_bytes() -> int:
    """Return what RLIMIT_DATA counts: private writable memory, as the kernel tells it in KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData"))
