"""The contract of a rollout policy: what is observed goes in, a decision comes out, and nothing else happens."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from cluster.errors import ConfigError
from serve_deployments.rollout.decision import Advance, Hold, Promote, Rollback, RolloutDecision


@dataclass(frozen=True, kw_only=True)
class Observation:
    """A rollout as it stands at one look.

    Parameters
    ----------
    stage
        Position in the policy's stages, from 0.
    stage_s
        Seconds in this stage.
    new_requests
        Requests that the new version answered in this stage.
    pairs
        Requests of this stage that both versions answered (shadow).
    breaches
        Guardrails that spoke, in words; empty while nothing did.
    faults
        What is broken without statistics: a failed health check, a crash loop.
    """

    stage: int
    stage_s: float
    new_requests: int = 0
    pairs: int = 0
    breaches: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One step of a rollout.

    Parameters
    ----------
    weight
        The new version's share of the requests, in [0, 1].
    shadow
        Share of the old version's requests that are copied to the new one, off the user's path, in [0, 1].
    min_s
        Shortest stay.
    min_requests
        Requests the new version must have answered here.
    min_pairs
        Requests both versions must have answered here.
    """

    weight: float
    shadow: float = 0.0
    min_s: float = 0.0
    min_requests: int = 0
    min_pairs: int = 0

    def __post_init__(self) -> None:
        if not (0.0 <= self.weight <= 1.0 and 0.0 <= self.shadow <= 1.0):
            raise ConfigError(f"stage: got weight {self.weight}, shadow {self.shadow}; expected shares in [0, 1]")
        if min(self.min_s, self.min_requests, self.min_pairs) < 0:
            raise ConfigError(f"stage: got {self}, expected minima of 0 or more")

    def missing(self, seen: Observation) -> str:
        """Return what the stage still asks for; empty where it has seen enough."""
        wanted = (
            ("s", self.min_s, seen.stage_s),
            ("requests", self.min_requests, seen.new_requests),
            ("pairs", self.min_pairs, seen.pairs),
        )
        return ", ".join(f"{got:.0f} of {least:g} {what}" for what, least, got in wanted if got < least)


class RolloutPolicy(ABC):
    """A ladder of stages, climbed one at a time; any breach or fault ends it.

    A policy is data (frozen, keyword-only fields) and `stages`; its decision is a pure function of the observation.
    """

    name: ClassVar[str]
    unattended: ClassVar[bool] = True
    """May be used outside development without being forced."""

    @property
    @abstractmethod
    def stages(self) -> tuple[Stage, ...]:
        """The steps, first to last; weights never fall, and the last is 1."""

    def decide(self, seen: Observation) -> RolloutDecision:
        """Return what to do: fall back on a breach, stay while evidence is missing, else climb one step."""
        if trouble := (*seen.faults, *seen.breaches):
            return Rollback(reason="; ".join(trouble))
        if missing := self.stages[seen.stage].missing(seen):
            return Hold(waiting_for=missing)
        if seen.stage + 1 < len(self.stages):
            return Advance(weight=self.stages[seen.stage + 1].weight)
        return Promote()

    def to_json(self) -> dict[str, Any]:
        """Return the name and the fields."""
        return {"name": self.name, "parameters": asdict(self)}  # type: ignore[call-overload]  # members are dataclasses


def check_ladder(policy: RolloutPolicy) -> None:
    """Raise ConfigError unless weights climb to 1."""
    weights = [stage.weight for stage in policy.stages]
    if not weights or weights != sorted(weights) or weights[-1] != 1.0:
        raise ConfigError(f"{policy.name}: got weights {weights}, expected shares that rise to 1.0")
