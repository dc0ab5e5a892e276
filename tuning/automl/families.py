"""Which family of forecasters is tried next, as long as there is time; the quick ones first."""

from __future__ import annotations

from dataclasses import dataclass, field

SLOWER = 4.0
"""The next family may take so many times as long as the slowest so far."""
FINAL = 2.8
"""Seconds of fitting and judging the winner at last for each second of its backtests, as measured on half-hours of
three years."""
FIRST_SHARE = 0.02
"""Of the budget: what a family is taken to need while none has shown more."""


@dataclass
class FamilyQueue:
    """Says which family is backtested next; knows neither data nor clock.

    Parameters
    ----------
    waiting
        The quickest first.
    budget_s
        Of the whole run, the last fit included.
    """

    waiting: list[str]
    budget_s: float
    took_s: dict[str, float] = field(default_factory=dict)

    def next(self, elapsed_s: float) -> str | None:
        """Return the next family; None where it may not be through in time. The first is always tried."""
        if not self.waiting:
            return None
        if self.took_s and elapsed_s + self._slowest_s() * SLOWER * (1 + FINAL) > self.budget_s:
            return None
        return self.waiting.pop(0)

    def tell(self, family: str, took_s: float) -> None:
        """Learn how long a family took."""
        self.took_s[family] = took_s

    def reason(self) -> str:
        """Say which families there was no time for."""
        return f"no time was left for {', '.join(self.waiting)}" if self.waiting else "every family was tried"

    def _slowest_s(self) -> float:
        return max(*self.took_s.values(), self.budget_s * FIRST_SHARE)
