"""How many requests go together, and how long one may wait for company: decided from what batches have cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Reason = Literal["full", "deadline", "idle"]
MEMORY = 0.98
"""Weight that a batch loses to each later one: about fifty count."""
BATCHES_AT_ONCE = 2
"""A request may find a batch at work and then goes with the next: it sees the cost of two."""
ROWS_OVER_FIXED = 8
"""A batch's rows may always take so many times its fixed cost: 8 / 9 of the throughput that is to be had."""


@dataclass(frozen=True, kw_only=True)
class BatchDecision:
    """What to do with the requests that wait.

    Parameters
    ----------
    size
        Most rows in the batch.
    wait_s
        How much longer to wait for more; 0 releases now.
    reason
        Why it is, or will be, released: `full`, `deadline` (it has waited its time), `idle` (the node is free, and
        waiting would not pay).
    """

    size: int
    wait_s: float
    reason: Reason


class BatchPolicy:
    """Learns what a batch of n rows costs, a + b n seconds, and chooses size and wait for a latency target.

    Size: the most rows of which two batches, the one at work and its own, fit the target; but never so few that
    the fixed cost is more than a ninth of the whole: smaller batches would lose throughput that a service which is
    late already needs most. Wait: at most the fixed cost `a`, since company saves no more than that, and of it as
    much as the node is short of rest: nothing while it works half of the time or less, all of it where it never
    rests. A node that has time to spare gains nothing from larger batches, and a lone caller never waits.

    Parameters
    ----------
    target_s
        Seconds from a request's arrival to its result.
    max_size
        Most rows in a batch whatever they cost.

    References
    ----------
    Crankshaw et al. (2017), Clipper, adapts the size alone, by additive increase and multiplicative decrease; ours
    reads it off the fitted cost. Karlin et al. (1988), Competitive snoopy caching, for waiting as long as it saves.
    """

    def __init__(self, *, target_s: float, max_size: int) -> None:
        self._target_s, self._max_size = target_s, max_size
        self._weight = self._rows = self._took = self._squares = self._products = self._rested = 0.0

    def learn(self, rows: int, took_s: float, rested_s: float = 0.0) -> None:
        """Note what a batch of some rows has cost, and how long the node had rested before."""
        for name, value in (
            ("_weight", 1.0),
            ("_rows", rows),
            ("_took", took_s),
            ("_squares", rows * rows),
            ("_products", rows * took_s),
            ("_rested", rested_s),
        ):
            setattr(self, name, MEMORY * getattr(self, name) + value)

    @property
    def cost(self) -> tuple[float, float]:
        """Fixed seconds a of a batch, and seconds b a row; zeros until batches of two sizes have been seen."""
        if not self._weight:
            return 0.0, 0.0
        rows, took = self._rows / self._weight, self._took / self._weight
        variance = self._squares / self._weight - rows * rows
        if variance < 1e-6 * rows * rows:
            return 0.0, 0.0  # all of one size: what is fixed cannot be told, so nothing is waited for or held back
        slope = max(0.0, (self._products / self._weight - rows * took) / variance)
        slope = min(slope, took / rows)
        return took - slope * rows, slope

    @property
    def size(self) -> int:
        """Most rows that a batch may have now."""
        fixed, slope = self.cost
        if not slope:
            return self._max_size
        room_s = max(self._target_s / BATCHES_AT_ONCE - fixed, ROWS_OVER_FIXED * fixed)
        return max(1, min(self._max_size, int(room_s / slope)))

    def decide(self, rows: int, oldest_wait_s: float, *, busy: bool) -> BatchDecision:
        """Return what to do now.

        Parameters
        ----------
        rows
            That wait.
        oldest_wait_s
            How long the first of them has waited.
        busy
            Whether they came while the last batch was at work.
        """
        size = self.size
        if rows >= size:
            return BatchDecision(size=size, wait_s=0.0, reason="full")
        if not busy:
            return BatchDecision(size=size, wait_s=0.0, reason="idle")
        fixed, slope = self.cost
        room_s = self._target_s - (fixed + slope * rows) - oldest_wait_s
        wait_s = max(0.0, min(fixed * self._short_of_rest, room_s))
        return BatchDecision(size=size, wait_s=wait_s, reason="deadline" if wait_s else "idle")

    @property
    def _short_of_rest(self) -> float:
        """Return 0 where the node works half of the time or less, up to 1 where it always does."""
        whole_s = self._took + self._rested
        return max(0.0, 2 * self._took / whole_s - 1) if whole_s else 0.0
