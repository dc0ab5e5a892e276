"""A row a candidate: how well it did, and what it costs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from training.core.artifact import to_bytes
from tuning.automl.seen import Seen
from tuning.automl.trial import Fit
from tuning.energy import EnergyModel

CALLS = 3
"""Calls with one row, the quickest of which is the latency: the others were disturbed."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One candidate.

    Parameters
    ----------
    candidate, family
        Which.
    score
        Root of the mean squared error, or log loss, on rows not seen; lower is better.
    weight
        In the blend; 0 where it is left out.
    fit_s
        Seconds of all its fits, encoding included.
    latency_ms
        Of one row, by all its models after another.
    size_bytes
        Of what its models learned.
    energy_kwh, co2e_kg
        Estimated of its fits, from processor seconds.
    """

    candidate: str
    family: str
    score: float
    weight: float
    fit_s: float
    latency_ms: float
    size_bytes: int
    energy_kwh: float
    co2e_kg: float

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)


def rows_of(
    seen: Seen,
    numbers: Sequence[int],
    weights: Mapping[int, float],
    folds: Sequence[int],
    energy: EnergyModel,
) -> tuple[Row, ...]:
    """Return the rows of some candidates; the folds are those that they were judged on."""
    rows = []
    for number in numbers:
        fits = seen.chosen(number)
        judged = seen.fits[number][folds[0]]
        spent_s = sum(fit.fit_s for fit in seen.fits[number].values())
        kwh = energy.energy_kwh(cpu_s=spent_s, gpu_s=0.0)
        rows.append(
            Row(
                candidate=judged.assigned.candidate.label,
                family=judged.assigned.candidate.family,
                score=seen.scores[number],
                weight=weights.get(number, 0.0),
                fit_s=spent_s,
                latency_ms=_latency_ms(judged) * len(fits),
                size_bytes=len(to_bytes(judged.model.state())) * len(fits),
                energy_kwh=kwh,
                co2e_kg=energy.co2e_kg(kwh),
            )
        )
    return tuple(rows)


def _latency_ms(fit: Fit) -> float:
    """Return the least milliseconds of one row."""
    member, row = fit.member(0, 0), np.ascontiguousarray(fit.inputs[:1])
    took = []
    for _ in range(CALLS):
        started = time.perf_counter()
        member.outputs(row)
        took.append(time.perf_counter() - started)
    return min(took) * 1000
