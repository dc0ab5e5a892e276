"""Immediate: everything at once, for development and for emergencies that somebody answers for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from serve_deployments.rollout.policy import RolloutPolicy, Stage


@dataclass(frozen=True, kw_only=True)
class ImmediatePolicy(RolloutPolicy):
    """Switch without looking; outside development it must be forced, with a reason, and that is audited."""

    name: ClassVar[str] = "immediate"
    unattended: ClassVar[bool] = False

    @property
    def stages(self) -> tuple[Stage, ...]:
        """One."""
        return (Stage(weight=1.0),)
