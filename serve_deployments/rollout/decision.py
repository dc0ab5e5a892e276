"""What a rollout policy may decide."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Hold:
    """Stay in the stage.

    Parameters
    ----------
    waiting_for
        What is missing for the next step, for people.
    """

    waiting_for: str


@dataclass(frozen=True, kw_only=True)
class Advance:
    """Go to the next stage.

    Parameters
    ----------
    weight
        The new version's share of requests there.
    """

    weight: float


@dataclass(frozen=True, kw_only=True)
class Rollback:
    """Give all requests to the old version.

    Parameters
    ----------
    reason
        Which guardrail or check spoke, with its numbers.
    """

    reason: str


@dataclass(frozen=True, kw_only=True)
class Promote:
    """Make the new version the one in production."""


RolloutDecision = Hold | Advance | Rollback | Promote
