"""Blue-green: the new version is warmed and compared in the shadow, then takes everything at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from serve_deployments.rollout.policy import RolloutPolicy, Stage, check_ladder


@dataclass(frozen=True, kw_only=True)
class BlueGreenPolicy(RolloutPolicy):
    """Compare off the users' path, switch once, keep the old version for an instant way back.

    Parameters
    ----------
    shadow
        Share of the requests copied to the new version before the switch, in (0, 1].
    min_pairs
        Requests both versions must have answered before the switch.
    min_shadow_s, keep_s
        Shortest stay before the switch; how long the old version stays warm after it.
    """

    name: ClassVar[str] = "blue_green"
    shadow: float = 0.25
    min_pairs: int = 1000
    min_shadow_s: float = 600.0
    keep_s: float = 1800.0

    def __post_init__(self) -> None:
        check_ladder(self)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Shadow, then everything."""
        return (
            Stage(weight=0.0, shadow=self.shadow, min_s=self.min_shadow_s, min_pairs=self.min_pairs),
            Stage(weight=1.0, min_s=self.keep_s),
        )
