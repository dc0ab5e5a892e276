"""Who runs trials: what a worker is told, what it answers, and the contract between them and a search."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """A trial, as its worker gets it.

    Parameters
    ----------
    number
        Of the trial in its study.
    model
        Catalog name, or whatever the work calls what it tries.
    params
        Its arguments.
    state
        Where training goes on from; from its start where None.
    """

    number: int
    model: str
    params: Mapping[str, Any]
    state: Any = None


@dataclass(frozen=True)
class Started:
    """A worker has taken the trial: its time runs from here."""


@dataclass(frozen=True, kw_only=True)
class Reported:
    """A trial has come a step further and waits for a verdict.

    Parameters
    ----------
    step
        From 1.
    value
        Lower is better.
    fold
        Whether the step is a fold's score, comparable between models, and not a model's own loss.
    state
        The training's state where the work gave one.
    """

    step: int
    value: float
    fold: bool = False
    state: Any = None


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What a trial took.

    Parameters
    ----------
    cpu_s
        Processor seconds of its worker.
    peak_memory_bytes
        The most resident memory that its worker has ever had.
    energy_kwh
        As measured; None where nothing measures.
    """

    cpu_s: float = 0.0
    peak_memory_bytes: int = 0
    energy_kwh: float | None = None


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A trial's work is over.

    Parameters
    ----------
    metrics
        What it measured; None where it failed or was stopped.
    error
        What it raised, in one line; empty where it did not.
    usage
        What it took.
    """

    metrics: Mapping[str, float] | None = None
    error: str = ""
    usage: Usage = Usage()


@dataclass(frozen=True, kw_only=True)
class Lost:
    """A trial's worker is gone: its process or its machine died.

    Parameters
    ----------
    reason
        What is known of it.
    """

    reason: str


Event = Started | Reported | Ended | Lost


class Report(Protocol):
    """How the work tells of a step; the call returns when the trial shall go on."""

    def __call__(self, step: int, value: float, *, fold: bool = False, state: Any = None) -> None:
        """Tell a step; it does not return where the trial is to stop."""
        ...


class Work(Protocol):
    """What a trial does: picklable, since it travels to the workers once."""

    def __call__(self, assignment: Assignment, report: Report) -> Mapping[str, float]:
        """Return what was measured."""
        ...


class Crew(ABC):
    """Workers that run trials beside each other, one each."""

    @abstractmethod
    def begin(self, assignment: Assignment) -> None:
        """Give a trial to a free worker, or to a new one where none is free."""

    @abstractmethod
    def proceed(self, number: int, *, stop: bool) -> None:
        """Let a trial that has reported go on, or stop."""

    @abstractmethod
    def wait(self, timeout_s: float | None) -> tuple[int, Event] | None:
        """Return the next event and its trial's number; None where none came in time."""

    @abstractmethod
    def end(self, number: int) -> None:
        """End the worker of a trial, whatever it is doing; no more of the trial is heard."""

    @abstractmethod
    def close(self) -> None:
        """End all workers."""
