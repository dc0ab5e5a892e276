"""What a study has tried: one small file a finished trial, so that a killed study goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import pandas as pd

from cluster.errors import ArtifactCorrupt, ConfigError
from cluster.storage.files import Storage
from training.core.space import Draw

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
        How it ended; `stopped` early where others of its family were better at the same step.
    score
        WAPE on the validation part; only of a finished trial.
    curve
        (step, validation metric) as the training loop reported them.
    duration_s
        Seconds from its start.
    error
        What ended a failed one.
    """

    number: int
    model: str
    params: dict[str, Any]
    draw: Draw
    status: TrialStatus
    score: float | None = None
    curve: tuple[tuple[int, float], ...] = ()
    duration_s: float = 0.0
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
        return cls(**facts)


def best_of(records: Mapping[int, TrialRecord]) -> TrialRecord | None:
    """Return the finished trial with the lowest score, the earlier of equals; None where none has finished."""
    scored = [(each.score, number) for number, each in records.items() if each.score is not None]
    return records[min(scored)[1]] if scored else None


@dataclass(frozen=True, kw_only=True)
class StudyResult:
    """What a study found.

    Parameters
    ----------
    name
        The study.
    best
        The finished trial with the lowest WAPE.
    trials
        All of them, by number.
    """

    name: str
    best: TrialRecord
    trials: tuple[TrialRecord, ...]

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


class Journal:
    """The records of one study under `studies/<name>`.

    A record is written when its trial ends and never again; whoever opens the same study later finds them all.

    Parameters
    ----------
    storage
        Where.
    name
        The study.
    """

    def __init__(self, storage: Storage, name: str) -> None:
        self._storage = storage
        self._folder = f"studies/{name}"

    def open(self, facts: Mapping[str, Any]) -> dict[int, TrialRecord]:
        """Return the records so far; a study of that name made from other `facts` is a ConfigError."""
        head = f"{self._folder}/study.json"
        wanted = json.loads(json.dumps(facts))
        if not self._storage.exists(head):
            self._storage.write_bytes(head, json.dumps(wanted, indent=2).encode())
            return {}
        known = self._read(head, json.loads)
        for fact in wanted:
            if known.get(fact) != wanted[fact]:
                raise ConfigError(
                    f"{self._folder} is there already with another {fact}: got {wanted[fact]}, expected "
                    f"{known.get(fact)}; choose another name, or ask for the same study to go on",
                    fact=fact,
                )
        paths = [path for path in self._storage.list(self._folder) if path != head]
        records = [self._read(path, TrialRecord.from_json) for path in paths]
        return {record.number: record for record in records}

    def write(self, record: TrialRecord) -> None:
        """Keep a trial that has ended."""
        self._storage.write_bytes(f"{self._folder}/trial-{record.number:05d}.json", record.to_json())

    def _read(self, path: str, parse: Any) -> Any:
        try:
            return parse(self._storage.read_bytes(path))
        except (ValueError, KeyError, TypeError) as error:
            raise ArtifactCorrupt(
                f"study record {path} cannot be read ({error}); remove it to run its trial again", file=path
            ) from error
