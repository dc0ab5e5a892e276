"""The runner of one process: for notebooks, tests, search trials, and machines without a cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from training.core.component import State
from training.core.runner import Backend, Loop, Run, Runner
from training.distributed.checkpoints import CheckpointFolder

OnReport = Callable[[int, Mapping[str, float]], None]
"""Called with a step, counted from 1, and its metrics; what it raises ends the training."""


class LocalRunner(Runner):
    """Runs a loop right here, with one worker.

    Parameters
    ----------
    on_report
        Hears of each finished step.
    checkpoints
        Where to save and resume; nothing is saved when None.
    """

    def __init__(self, on_report: OnReport | None = None, checkpoints: CheckpointFolder | None = None) -> None:
        self.on_report = on_report
        self.checkpoints = checkpoints

    def run(self, loop: Loop, job: dict[str, Any], *, backend: Backend) -> State:  # noqa: ARG002 - alone, no collective
        """Return what `loop` returned."""
        checkpoints = self.checkpoints.of_job(loop, job) if self.checkpoints else None
        return loop(LocalRun(self.on_report, checkpoints), job)


class LocalRun(Run):
    """The only worker of a run in this process."""

    def __init__(self, on_report: OnReport | None, checkpoints: CheckpointFolder | None) -> None:
        self._on_report = on_report
        self._checkpoints = checkpoints

    def resumed(self) -> State | None:
        """Return the newest checkpoint's state, or None."""
        found = self._checkpoints.newest() if self._checkpoints else None
        return found.state if found else None

    def report(self, step: int, metrics: Mapping[str, float], checkpoint: State | None = None) -> None:
        """Save the checkpoint, then tell `on_report`."""
        if self._checkpoints and checkpoint is not None:
            self._checkpoints.save(step, checkpoint)
        if self._on_report:
            self._on_report(step, metrics)
