"""Rolling: equal steps, each as soon as the one before is healthy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cluster.errors import ConfigError
from serve_deployments.rollout.policy import RolloutPolicy, Stage, check_ladder


@dataclass(frozen=True, kw_only=True)
class RollingPolicy(RolloutPolicy):
    """Replace the old version in equal steps.

    Parameters
    ----------
    steps
        How many, 2 or more.
    min_step_s
        Shortest stay in each.
    """

    name: ClassVar[str] = "rolling"
    steps: int = 4
    min_step_s: float = 60.0

    def __post_init__(self) -> None:
        if self.steps < 2:
            raise ConfigError(f"rolling: got {self.steps} steps, expected 2 or more; `immediate` has one")
        check_ladder(self)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Equal steps up to 1."""
        return tuple(Stage(weight=step / self.steps, min_s=self.min_step_s) for step in range(1, self.steps + 1))
