"""What a study has tried, and what it found."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

import pandas as pd

from training.core.space import Draw
from tuning.goal import front
from tuning.spent import Spent

Part = dict[str, Any]
"""A catalog member with its parameters: `{"name": "ridge", "params": {"alpha": 0.1}}`."""


class TrialStatus(StrEnum):
    """How a trial ended."""

    FINISHED = "finished"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class TrialRecord:
    """One trial that has ended.

    Parameters
    ----------
    number
        From 0.
    model
        Catalog name.
    params
        The model's arguments as JSON has them: tuples are lists.
    draw
        What the sampler chose for them.
    status
        How it ended; `stopped` early where others were better at the same step, or the budget was spent.
    score
        The first objective; only of a finished trial.
    metrics
        All that a finished trial measured.
    feasible
        Whether it keeps the study's bounds.
    curve
        (step, value) as the work reported them: a model's own losses, or the mean score over the folds so far.
    duration_s
        Seconds from its start.
    cpu_s, gpu_s
        Processor seconds; seconds that its share of a GPU was reserved.
    energy_kwh
        Measured, or estimated where nothing measures.
    peak_memory_bytes
        The most resident memory of its worker up to its end.
    attempts
        How often it was begun: more than once where its worker was lost.
    moves
        Steps after which it went on from another trial's state, and whose; `params` are the last ones.
    ended_at_s
        Seconds since the epoch.
    wall_s
        Seconds that the study had run, over all its sittings, when the trial ended.
    error
        What ended a failed one.
    """

    number: int
    model: str
    params: dict[str, Any]
    draw: Draw
    status: TrialStatus
    score: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    feasible: bool = True
    curve: tuple[tuple[int, float], ...] = ()
    duration_s: float = 0.0
    cpu_s: float = 0.0
    gpu_s: float = 0.0
    energy_kwh: float = 0.0
    peak_memory_bytes: int = 0
    attempts: int = 1
    moves: tuple[tuple[int, int], ...] = ()
    ended_at_s: float = 0.0
    wall_s: float = 0.0
    error: str = ""

    @property
    def part(self) -> Part:
        """The model as a recipe's member."""
        return {"name": self.model, "params": self.params}

    def to_json(self) -> bytes:
        """Return JSON that `from_json` reads."""
        return json.dumps(asdict(self), allow_nan=False).encode()

    @classmethod
    def from_json(cls, data: bytes) -> TrialRecord:
        """Rebuild what `to_json` gave."""
        facts = json.loads(data)
        facts["status"] = TrialStatus(facts["status"])
        facts["curve"] = tuple((int(step), float(value)) for step, value in facts["curve"])
        facts["moves"] = tuple((int(step), int(donor)) for step, donor in facts.get("moves", ()))
        return cls(**facts)


def best_of(records: Mapping[int, TrialRecord]) -> TrialRecord | None:
    """Return the trial with the lowest score that keeps the bounds, the earlier of equals; None where none does."""
    scored = [(each.score, number) for number, each in records.items() if each.score is not None and each.feasible]
    return records[min(scored)[1]] if scored else None


@dataclass(frozen=True, kw_only=True)
class StudyResult:
    """What a study found.

    Parameters
    ----------
    name
        The study.
    best
        The finished trial with the lowest score among those that keep the bounds.
    trials
        All of them, by number.
    objectives
        Names of the metrics; the first one is the score.
    spent
        What all trials took.
    ended_by
        Why the search ended, in words.
    interrupted
        Whether somebody ended it.
    """

    name: str
    best: TrialRecord
    trials: tuple[TrialRecord, ...]
    objectives: tuple[str, ...] = ("wape",)
    spent: Spent = field(default_factory=Spent)
    ended_by: str = ""
    interrupted: bool = False

    def front(self) -> tuple[TrialRecord, ...]:
        """Return the finished trials that keep the bounds and that no other one beats in every objective."""
        points = {
            each.number: tuple(each.metrics[name] for name in self.objectives)
            for each in self.trials
            if each.score is not None and each.feasible
        }
        chosen = front(points)
        return tuple(each for each in self.trials if each.number in chosen)

    def to_frame(self) -> pd.DataFrame:
        """Return a table of the trials: number, model, status, score, steps, duration_s, params, error."""
        rows = [
            {
                "number": each.number,
                "model": each.model,
                "status": each.status.value,
                "score": float("nan") if each.score is None else each.score,
                "steps": each.curve[-1][0] if each.curve else 0,
                "duration_s": each.duration_s,
                "params": json.dumps(each.params),
                "error": each.error,
            }
            for each in self.trials
        ]
        return pd.DataFrame(rows)
