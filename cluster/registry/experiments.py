"""The tracker's port: experiments, their runs, and what the runs reported."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any


class RunStatus(StrEnum):
    """How a run stands."""

    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    KILLED = "killed"


@dataclass(frozen=True, kw_only=True)
class TrackedRun:
    """One run of an experiment.

    Parameters
    ----------
    id
        Given by the tracker.
    experiment, name
        As started.
    status
        How it stands.
    parameters
        As started, all values as text.
    tags
        As started and added.
    metrics
        The last value of each.
    started_at_s, ended_at_s
        Seconds since the epoch; no end while it runs.
    """

    id: str
    experiment: str
    name: str
    status: RunStatus
    parameters: Mapping[str, str]
    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    started_at_s: float
    ended_at_s: float | None = None

    @property
    def duration_s(self) -> float | None:
        """Seconds from start to end; None while it runs."""
        return None if self.ended_at_s is None else self.ended_at_s - self.started_at_s


@dataclass(frozen=True, kw_only=True)
class Point:
    """A metric at a step.

    Parameters
    ----------
    step
        As logged.
    value
        In the metric's unit.
    """

    step: int
    value: float


@dataclass(frozen=True, kw_only=True)
class WholeRun:
    """A run that is over, to be recorded in one go.

    Parameters
    ----------
    experiment, name
        As for start_run.
    parameters, tags
        As for start_run.
    curves
        Metric -> its values.
    status
        How it ended.
    started_at_s, ended_at_s
        Seconds since the epoch.
    """

    experiment: str
    name: str
    parameters: Mapping[str, Any]
    tags: Mapping[str, str]
    curves: Mapping[str, Sequence[Point]]
    status: RunStatus
    started_at_s: float
    ended_at_s: float


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A named group of runs.

    Parameters
    ----------
    name
        As given to start_run.
    runs
        How many it has.
    created_at_s
        Seconds since the epoch.
    """

    name: str
    runs: int
    created_at_s: float


class Tracker(ABC):
    """Records what was tried and what came out."""

    @abstractmethod
    def start_run(
        self,
        experiment: str,
        name: str,
        parameters: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> str:
        """Start a run and return its id; the experiment is made where it is new."""

    @abstractmethod
    def record(self, run: WholeRun, files: Sequence[Path] = ()) -> str:
        """Keep a whole run that is over, with copies of files, and return its id; cheaper than its parts."""

    @abstractmethod
    def log(self, run: str, metrics: Mapping[str, float], step: int = 0) -> None:
        """Add one value to each metric's curve."""

    @abstractmethod
    def log_points(self, run: str, curves: Mapping[str, Sequence[Point]]) -> None:
        """Add many values to each metric's curve at once."""

    @abstractmethod
    def log_file(self, run: str, path: Path) -> None:
        """Keep a copy of a file with the run."""

    @abstractmethod
    def tag(self, run: str, tags: Mapping[str, str]) -> None:
        """Add tags to the run, or give them other values."""

    @abstractmethod
    def finish(self, run: str, status: RunStatus = RunStatus.FINISHED) -> None:
        """Close the run."""

    @abstractmethod
    def runs(self, experiment: str) -> tuple[TrackedRun, ...]:
        """Return the runs, oldest first; raise UnknownNameError with the known experiments."""

    @abstractmethod
    def curve(self, run: str, metric: str) -> tuple[Point, ...]:
        """Return what was logged under a metric's name, by step; empty where nothing was."""

    @abstractmethod
    def experiments(self) -> tuple[Experiment, ...]:
        """Return the experiments, sorted by name."""
