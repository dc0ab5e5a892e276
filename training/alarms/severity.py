"""How severe an event is, and why: points for rarity, for duration, for what it costs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

Severity = Literal["low", "medium", "high", "critical"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
FROM_POINTS = (0.0, 1.0, 2.0, 4.0)
"""Points from which each severity applies."""
MOST_RARITY, MOST_DURATION, MOST_IMPACT = 3.0, 2.0, 3.0


@dataclass(frozen=True, kw_only=True)
class Rating:
    """A severity and its reason.

    Parameters
    ----------
    severity
        low, medium, high, critical.
    points
        Sum of the three parts below.
    rarity
        A point for each factor of ten by which the event is rarer than the budget's alarms, at most 3.
    duration
        Half a point each time its length, counted in gaps, doubles: one point at 3 gaps, at most two.
    impact
        Estimated amount over what the series turns over in a day, at most 3.
    reason
        The same in words.
    """

    severity: Severity
    points: float
    rarity: float
    duration: float
    impact: float
    reason: str


def rate(
    *, event_chance: float, allowed_chance: float, duration_s: float, gap_s: float, impact_days: float
) -> Rating:
    """Rate an event.

    Parameters
    ----------
    event_chance, allowed_chance
        Events a row that are as strange, and that the level lets through, above 0.
    duration_s, gap_s
        How long it lasted, and the gap that joins strange rows, above 0.
    impact_days
        What it costs, in days of the series' usual turnover; 0 where nothing can be said.
    """
    decades = max(0.0, math.log10(max(allowed_chance, 1e-300) / max(event_chance, 1e-300)))
    rarity = min(MOST_RARITY, decades)
    duration = min(MOST_DURATION, math.log2(1.0 + duration_s / gap_s) / 2.0)
    impact = min(MOST_IMPACT, abs(impact_days))
    points = rarity + duration + impact
    severity = SEVERITIES[sum(points >= least for least in FROM_POINTS) - 1]
    worth = f", it amounts to {impact_days:.2g} usual days" if impact_days else ""
    reason = (
        f"{10 ** min(decades, 12):.3g} times rarer than an alarm has to be, lasts {_time(duration_s)}{worth}: "
        f"{points:.1f} points"
    )
    return Rating(severity=severity, points=points, rarity=rarity, duration=duration, impact=impact, reason=reason)


def _time(seconds: float) -> str:
    for unit, size in (("d", 86_400.0), ("h", 3_600.0), ("min", 60.0)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"
