"""Where the members of a model train, and how far they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apps.pipelines.progress import Progress
from training.core.component import State
from training.core.runner import Backend, Loop, Runner
from training.distributed.local import LocalRunner, OnReport

PHASES: Mapping[Backend, str] = {"torch": "fit LSTM", "xgboost": "fit XGBoost"}


@dataclass(frozen=True, kw_only=True)
class Workers:
    """How the loops run.

    Parameters
    ----------
    count
        Ray Train workers; 0 runs the loop in this process.
    storage
        Folder for checkpoints that the driver and all workers see.
    run
        Name of the run: the same name, data and parameters go on from its last checkpoint.
    """

    count: int
    storage: Path
    run: str

    def runner(self, backend: Backend, on_report: OnReport) -> Runner:
        """Return the runner for one loop."""
        if self.count == 0:
            return LocalRunner(on_report)
        from training.distributed.ray_runner import RayRunner

        return RayRunner(
            num_workers=self.count, storage=self.storage, name=f"{self.run}-{backend}", on_report=on_report
        )


class ShownRunner(Runner):
    """Runs each loop on `workers` and shows its steps.

    Parameters
    ----------
    workers
        Where.
    progress
        Who is told.
    steps
        The most steps a loop of this kind reports: epochs, rounds.
    """

    def __init__(self, workers: Workers, progress: Progress, steps: Mapping[Backend, int]) -> None:
        self.workers = workers
        self.progress = progress
        self.steps = steps

    def run(self, loop: Loop, job: dict[str, Any], *, backend: Backend) -> State:
        """Return what the loop returned."""
        phase, total = PHASES[backend], float(self.steps[backend])
        where = f"on {self.workers.count} Ray Train workers" if self.workers.count else "in this process"
        self.progress.update(phase, 0, total, where)
        note = ""

        def tell(step: int, metrics: Mapping[str, float]) -> None:
            nonlocal note
            shown = ", ".join(f"{name} {value:.4g}" for name, value in metrics.items())
            note = f"step {step}: {shown}"
            self.progress.update(phase, min(step, total), total, note)

        state = self.workers.runner(backend, tell).run(loop, job, backend=backend)
        self.progress.update(phase, total, total, note)
        return state
