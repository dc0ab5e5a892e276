"""Who does the fits: this process, one after the other; or a Ray cluster, see `ray_workers`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass

from cluster.clock import Clock
from tuning.automl.trial import Assigned, Fit, Material, Trials


@dataclass(frozen=True, kw_only=True)
class Failed:
    """A fit that raised.

    Parameters
    ----------
    assigned
        What was asked for.
    error
        What it raised, in words.
    """

    assigned: Assigned
    error: str


Ended = Fit | Failed


class Workers(ABC):
    """Does fits; a failed one is an answer like any other."""

    @property
    @abstractmethod
    def free(self) -> bool:
        """Whether another fit can be begun."""

    @property
    @abstractmethod
    def busy(self) -> bool:
        """Whether a fit is on its way."""

    @abstractmethod
    def submit(self, assigned: Assigned) -> None:
        """Begin a fit."""

    @abstractmethod
    def wait(self, timeout_s: float) -> Ended | None:
        """Return a fit that has ended; None where none did in the time."""

    def close(self) -> None:  # noqa: B027 - of workers that hold nothing
        """Let go of what the workers hold; fits on their way are lost."""


class InProcess(Workers):
    """Does one fit after the other, when it is waited for.

    Parameters
    ----------
    material
        Data and folds.
    clock
        Measures the fits, and ends them in time.
    """

    def __init__(self, material: Material, clock: Clock) -> None:
        self._trials = Trials(material=material, clock=clock)
        self._waiting: deque[Assigned] = deque()

    @property
    def free(self) -> bool:
        """Whether nothing waits."""
        return not self._waiting

    @property
    def busy(self) -> bool:
        """Whether something waits."""
        return bool(self._waiting)

    def submit(self, assigned: Assigned) -> None:
        """Note a fit."""
        self._waiting.append(assigned)

    def wait(self, timeout_s: float) -> Ended | None:  # noqa: ARG002 - a fit's own limit bounds it
        """Do the fit that waits."""
        return attempt(self._trials, self._waiting.popleft()) if self._waiting else None


def attempt(trials: Trials, assigned: Assigned) -> Ended:
    """Do a fit; a fault of the family or the data belongs to this candidate, and the others go on."""
    try:
        return trials.run(assigned)
    except Exception as error:  # noqa: BLE001 - whatever a library raises is told of its candidate, and counted
        return Failed(assigned=assigned, error=f"{type(error).__name__}: {error}")
