"""What became of a point that was tried, and what a search makes of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cluster.errors import ConfigError
from training.core.cube import Floats

STOPPED_AT_SHARE = 0.75
"""A stopped trial counts as this quantile of the finished ones. Successive halving stops the worse two thirds at
each rung: the middle of the worse half is near the middle of those."""
EVENNESS = 0.05
"""Weight of the sum beside the largest of several objectives, as Knowles (2006) has it."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a trial ended: finished with values, stopped early with what it had then, or failed without any.

    Parameters
    ----------
    values
        One an objective, lower is better; empty where the trial failed.
    stopped_at
        The step at which it was stopped; None where it went to its end.
    excess
        By how much each constraint is exceeded; 0 or less where it is kept.
    """

    values: tuple[float, ...] = ()
    stopped_at: int | None = None
    excess: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not all(math.isfinite(number) for number in (*self.values, *self.excess)):
            raise ConfigError(
                f"an outcome is not finite: got values {self.values}, excess {self.excess}, expected finite "
                "numbers; a trial without them has failed: Outcome()"
            )

    @property
    def failed(self) -> bool:
        """Whether nothing was measured."""
        return not self.values

    @property
    def finished(self) -> bool:
        """Whether it went to its end."""
        return bool(self.values) and self.stopped_at is None

    @property
    def feasible(self) -> bool:
        """Whether all constraints are kept."""
        return all(number <= 0 for number in self.excess)

    def to_json(self) -> dict[str, Any]:
        """Return JSON values that `from_json` reads."""
        return {"values": list(self.values), "stopped_at": self.stopped_at, "excess": list(self.excess)}

    @classmethod
    def from_json(cls, facts: dict[str, Any]) -> Outcome:
        """Rebuild what `to_json` gave."""
        return cls(
            values=tuple(facts["values"]), stopped_at=facts["stopped_at"], excess=tuple(facts.get("excess", ()))
        )


def merits(outcomes: Sequence[Outcome], rng: np.random.Generator) -> Floats | None:
    """Return (N,) one number an outcome, lower is better; None where no trial has finished.

    Of several objectives a random one of their weighted trade-offs is taken, another at each call, so that the
    calls together cover the Pareto front (ParEGO). What keeps the constraints is better than what does not, which
    is ordered by its excess. A stopped trial counts as one of the worse half, a failed one as the worst.

    References
    ----------
    Knowles (2006), ParEGO. Deb (2000), An efficient constraint handling method for genetic algorithms.
    """
    finished = np.array([each.finished for each in outcomes], dtype=bool)
    if not finished.any():
        return None
    found = np.full(len(outcomes), np.nan)
    found[finished] = _traded([each.values for each in outcomes if each.finished], rng)
    found[finished] = _penalised(found[finished], [each for each in outcomes if each.finished])
    known = found[finished]
    for at, each in enumerate(outcomes):
        if not each.finished:
            found[at] = known.max() if each.failed else np.quantile(known, STOPPED_AT_SHARE)
    return found


def _traded(values: Sequence[tuple[float, ...]], rng: np.random.Generator) -> Floats:
    table = np.array(values, dtype=np.float64)
    if table.shape[1] == 1:
        return table[:, 0]
    spread = np.ptp(table, axis=0)
    shares = (table - table.min(axis=0)) / np.where(spread > 0, spread, 1.0)
    weighted = shares * rng.dirichlet(np.ones(table.shape[1]))
    traded: Floats = weighted.max(axis=1) + EVENNESS * weighted.sum(axis=1)
    return traded


def _penalised(found: Floats, outcomes: Sequence[Outcome]) -> Floats:
    excess = np.array([sum(max(number, 0.0) for number in each.excess) for each in outcomes])
    if not excess.any():
        return found
    kept = found[excess == 0] if (excess == 0).any() else np.zeros(1)
    spread = float(np.ptp(kept)) or 1.0
    return np.where(excess > 0, kept.max() + spread * (0.1 + excess / excess.max()), found)
