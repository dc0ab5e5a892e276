"""What a guardrail is: it takes in windows of counts and tells what speaks against the new version."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import exp, log
from typing import Any, ClassVar, Literal

from serve_deployments.rollout.tally import Tree

Consequence = Literal["rollback", "retrain"]


@dataclass(frozen=True, kw_only=True)
class Window:
    """What happened between two looks under one split.

    Parameters
    ----------
    share
        The new version's share of the requests that only one version answered; None where it had all or none.
    new, old, pairs
        Counts, see `tally`.
    past
        The old version's counts before this window, under any split: thresholds may come from it.
    """

    share: float | None
    new: Tree
    old: Tree
    pairs: Tree
    past: Tree


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A guardrail's evidence, in numbers.

    Parameters
    ----------
    guardrail
        Its name.
    segment
        The part of the series it speaks of; None for all.
    log_evidence, log_limit
        It is a breach where the first reaches the second.
    new, old
        What was measured of each version: a rate, or a mean.
    allowed
        What is accepted of the new version whatever the old one does.
    exact
        The chance of a false alarm is bounded as it stands; else in the limit of many observations.
    consequence
        What a breach asks for.
    """

    guardrail: str
    segment: str | None = None
    log_evidence: float
    log_limit: float
    new: float
    old: float
    allowed: float
    exact: bool = True
    consequence: Consequence = "rollback"

    @property
    def breached(self) -> bool:
        """Whether the evidence is enough, and the new version beyond what is allowed anyway."""
        return self.log_evidence >= self.log_limit

    def __str__(self) -> str:
        place = f" of segment '{self.segment}'" if self.segment else ""
        return (
            f"{self.guardrail}{place}: new {self.new:.4g}, old {self.old:.4g}, allowed {self.allowed:.4g}; "
            f"evidence 1 : {_odds(self.log_evidence)}, asked 1 : {_odds(self.log_limit)}"
        )


def _odds(log_evidence: float) -> str:
    return f"{exp(min(log_evidence, 20.0)):.3g}"


class Guardrail(ABC):
    """One question to the new version, asked all the time.

    Parameters
    ----------
    alpha
        Chance that it accuses a version that is not worse, over the whole rollout.
    """

    name: ClassVar[str]

    def __init__(self, alpha: float) -> None:
        self.log_limit = log(1.0 / alpha)

    @abstractmethod
    def update(self, window: Window) -> None:
        """Take in a window."""

    @abstractmethod
    def findings(self) -> list[Finding]:
        """Return the evidence as of now; where a guardrail asks many questions, the strongest first."""

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Return what was taken in."""

    @abstractmethod
    def restore(self, state: dict[str, Any]) -> None:
        """Take over what `to_json` gave."""


def rate(events: float, requests: float) -> float:
    """Return events over requests, 0 where there were none."""
    return events / requests if requests else 0.0
