"""How much a search may take, in whatever is short: trials, time, processors, energy, carbon."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from cluster.errors import ConfigError, UnknownNameError
from training.core.parameters import real, whole
from tuning.spent import Spent


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Bounds of a search; it ends at the first that is reached, and what has ended by then counts.

    Trials that run when the clock's bound is reached are ended at once, those that run when another one is reached
    are stopped at their next report; what was spent on them counts.

    Parameters
    ----------
    trials
        At most so many in all.
    wall_s
        Seconds, over all sittings of the study.
    cpu_s, gpu_s
        Seconds of processors and of GPUs, all workers together.
    energy_kwh, co2e_kg
        Of the workers.
    """

    trials: int | None = None
    wall_s: float | None = None
    cpu_s: float | None = None
    gpu_s: float | None = None
    energy_kwh: float | None = None
    co2e_kg: float | None = None

    def __post_init__(self) -> None:
        bounds = self.bounds()
        if not bounds:
            raise ConfigError(f"a budget bounds something: got nothing, expected one of {', '.join(_NAMES)}")
        for name, bound in bounds.items():
            whole(name, bound, low=1) if name == "trials" else real(name, bound, low=0, above=True)

    def bounds(self) -> dict[str, float]:
        """Return what is bounded."""
        return {name: bound for name in _NAMES if (bound := getattr(self, name)) is not None}

    def reached(self, spent: Spent) -> str | None:
        """Return which bound is reached, in words; None where none is."""
        for name, bound in self.bounds().items():
            if getattr(spent, name) >= bound:
                return f"{name} {getattr(spent, name):.6g} of {bound:g}"
        return None

    def share(self, spent: Spent) -> float:
        """Return how much of the scarcest bound is spent, at most 1."""
        shares: list[float] = [getattr(spent, name) / bound for name, bound in self.bounds().items()]
        return min(max(shares), 1.0)

    def left_s(self, spent: Spent) -> float | None:
        """Return the seconds that are left on the clock; None where it is no bound."""
        return None if self.wall_s is None else max(self.wall_s - spent.wall_s, 0.0)


_NAMES = tuple(each.name for each in fields(Budget))
PRESETS: Mapping[str, Budget] = {
    "quick": Budget(trials=12, wall_s=120),
    "balanced": Budget(trials=50, wall_s=1800),
    "thorough": Budget(trials=200, wall_s=4 * 3600),
}
"""A coffee, a meeting, an afternoon. Twelve trials are the defaults of two families and five proposals for each."""


def budget_of(preset: str, **free: Any) -> Budget:
    """Return a preset with some bounds given freely; a bound of None stays as the preset has it."""
    if preset not in PRESETS:
        raise UnknownNameError.of("budget", preset, PRESETS)
    return replace(PRESETS[preset], **{name: bound for name, bound in free.items() if bound is not None})
