"""Where each served version stands on its way from the disk to the traffic, since when, and why."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TypeVar

from cluster.clock import Clock
from cluster.errors import PermanentError

T = TypeVar("T")
KEPT_STEPS = 20
"""Moves remembered of a version: an hour of one flapping each three minutes."""


class Stage(StrEnum):
    """Where a version stands."""

    LOAD = "LOAD"
    WARM = "WARM"
    ACTIVE = "ACTIVE"
    DEGRADED = "DEGRADED"
    ERROR = "ERROR"


MOVES: Mapping[Stage, frozenset[Stage]] = {
    Stage.LOAD: frozenset({Stage.WARM, Stage.ERROR}),
    Stage.WARM: frozenset({Stage.ACTIVE, Stage.ERROR}),
    Stage.ACTIVE: frozenset({Stage.DEGRADED, Stage.ERROR}),
    Stage.DEGRADED: frozenset({Stage.ACTIVE, Stage.ERROR}),
    Stage.ERROR: frozenset({Stage.LOAD}),
}
"""Stage -> the stages that may follow. Traffic never meets a version that was not warmed: only LOAD leads to WARM,
only WARM to a first ACTIVE, and out of ERROR there is no way but to load again."""
SERVING = frozenset({Stage.ACTIVE, Stage.DEGRADED})
"""Stages in which a version answers: at its best, or on a lower rung of its ladder."""


class IllegalMoveError(PermanentError):
    """A version was moved to a stage that cannot follow the one it is in."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One arrival at a stage.

    Parameters
    ----------
    stage
        Where the version arrived.
    since_s
        When, seconds since the epoch.
    reason
        Why, in words.
    """

    stage: Stage
    since_s: float
    reason: str

    def to_json(self) -> dict[str, Any]:
        """Return what the status page tells."""
        since = datetime.fromtimestamp(self.since_s, UTC).isoformat(timespec="milliseconds")
        return {"stage": self.stage.value, "since": since, "reason": self.reason}


class LifeCycle:
    """The stages one version has been through.

    Parameters
    ----------
    clock
        Dates the steps.
    reason
        Why it is loaded.
    """

    def __init__(self, clock: Clock, reason: str = "asked for") -> None:
        self._clock = clock
        self._steps: deque[Step] = deque(maxlen=KEPT_STEPS)
        self._arrive(Stage.LOAD, reason)

    @property
    def stage(self) -> Stage:
        """Where the version stands."""
        return self._steps[-1].stage

    @property
    def reason(self) -> str:
        """Why it stands there."""
        return self._steps[-1].reason

    @property
    def steps(self) -> tuple[Step, ...]:
        """The last moves, oldest first."""
        return tuple(self._steps)

    @property
    def serves(self) -> bool:
        """Whether it may get traffic."""
        return self.stage in SERVING

    def to_json(self) -> dict[str, Any]:
        """Return where it stands, and how it came there."""
        return {**self._steps[-1].to_json(), "steps": [step.to_json() for step in self._steps]}

    def move(self, stage: Stage, reason: str) -> None:
        """Go to `stage`; where it stands there already, nothing changes and the first reason stays.

        Raises
        ------
        IllegalMoveError
            No way leads there from here.
        """
        if stage == self.stage:
            return
        if stage not in MOVES[self.stage]:
            ways = ", ".join(sorted(MOVES[self.stage]))
            raise IllegalMoveError(f"life cycle: got {self.stage} -> {stage}, expected {self.stage} -> {ways}")
        self._arrive(stage, reason)

    def activate(self) -> None:
        """Go on to ACTIVE, for a version that was loaded elsewhere; where it serves already, nothing changes."""
        if self.stage is Stage.ERROR:
            self.move(Stage.LOAD, "loaded again")
        if self.stage is Stage.LOAD:
            self.move(Stage.WARM, "loaded elsewhere")
        if self.stage is Stage.WARM:
            self.move(Stage.ACTIVE, "taken in as it is")

    def _arrive(self, stage: Stage, reason: str) -> None:
        self._steps.append(Step(stage=stage, since_s=self._clock.now_s(), reason=reason))


def load_and_warm(
    life: LifeCycle, load: Callable[[], T], warm: Callable[[T], str], retry_reason: str = "loaded again"
) -> T | Exception:
    """Take a version from LOAD (or ERROR) to ACTIVE and return it, or to ERROR and return why.

    Parameters
    ----------
    life
        Of the version.
    load
        Verifies, loads and returns it.
    warm
        Runs it at every size it will meet; returns what that showed, in words.
    retry_reason
        Why it is loaded once more, where it stands in ERROR.
    """
    life.move(Stage.LOAD, retry_reason)
    try:
        loaded = load()
        life.move(Stage.WARM, "loaded, its files have their digests")
        life.move(Stage.ACTIVE, warm(loaded))
    except Exception as error:  # noqa: BLE001 - whatever it was is the version's state, and the caller's to judge
        life.move(Stage.ERROR, f"{type(error).__name__}: {error}")
        return error
    return loaded
