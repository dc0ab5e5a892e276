"""Where a training loop runs: in this process, or on workers of a cluster. The loop does not know which."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Literal

from training.core.component import State

Backend = Literal["torch", "xgboost"]


class Run(ABC):
    """What a loop sees of the place it runs in.

    Attributes
    ----------
    rank, world_size
        This worker's number and how many there are; 0 and 1 in one process.
    """

    rank: int = 0
    world_size: int = 1

    @abstractmethod
    def resumed(self) -> State | None:
        """Return the newest checkpoint's state, or None at the first start."""

    @abstractmethod
    def report(self, step: int, metrics: Mapping[str, float], checkpoint: State | None = None) -> None:
        """Tell the metrics of a finished step (an epoch, some boosting rounds) and save its checkpoint.

        Every worker calls it once a step. When it returns, the checkpoint is on storage.
        """


Loop = Callable[[Run, dict[str, Any]], State]
"""A plain function of a run and its job (arrays and settings) to the learned state; the same on each rank."""


class Runner(ABC):
    """Runs a loop to its end."""

    @abstractmethod
    def run(self, loop: Loop, job: dict[str, Any], *, backend: Backend) -> State:
        """Return what `loop` returned on rank 0.

        Parameters
        ----------
        loop
            A module-level function.
        job
            What it works on; picklable. Arrays travel once through shared memory where there are workers.
        backend
            Which collective library the loop uses between its workers.

        Raises
        ------
        TrainingDiverged
            The loss became NaN or infinite.
        """
