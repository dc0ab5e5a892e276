"""Who answers when a model cannot, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from serve_deployments.resilience.breaker import BreakerSpec


@dataclass(frozen=True, kw_only=True)
class FallbackSpec:
    """The fallback ladder of a graph, and the breakers of its versions.

    Parameters
    ----------
    enabled
        Off: a model's failure is the caller's.
    failures, open_s, half_open_calls
        See `BreakerSpec`.
    patience_s
        A version that has not answered after so long is given up, and the next rung asked; its breaker counts it.
    defaults
        Model -> target -> the value that an operator states for when nothing else can answer.
    """

    enabled: bool = False
    failures: int = 3
    open_s: float = 30.0
    half_open_calls: int = 10
    patience_s: float = 10.0
    defaults: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def breaker(self) -> BreakerSpec:
        """Of each version."""
        return BreakerSpec(failures=self.failures, open_s=self.open_s, half_open_calls=self.half_open_calls)
