"""A study as it lies on storage, for those who read it later: to explain it, draw it, or begin from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from cluster.errors import UnknownNameError
from cluster.storage.files import Storage
from training.core.space import Choice, Dimension, Real, Space, When, Whole
from tuning.journal import HEAD, STUDIES, Journal
from tuning.records import TrialRecord, best_of

_KINDS: Mapping[str, type[Dimension]] = {"real": Real, "whole": Whole, "choice": Choice}


@dataclass(frozen=True, kw_only=True)
class History:
    """What a study searched and tried.

    Parameters
    ----------
    name
        The study.
    spaces
        Model -> what was searched; a choice's values are what JSON makes of them.
    objectives
        Names of metrics; the first one is the score.
    about
        What else was kept: the data's fingerprint where there is one.
    records
        Trials by number.
    """

    name: str
    spaces: Mapping[str, Space]
    objectives: tuple[str, ...]
    about: Mapping[str, Any]
    records: Mapping[int, TrialRecord]

    @classmethod
    def read(cls, storage: Storage, name: str) -> Self:
        """Read a study; UnknownNameError lists those that are there."""
        if name not in (known := studies(storage)):
            raise UnknownNameError.of("study", name, known)
        journal = Journal(storage, name)
        head = journal.head()
        return cls(
            name=name,
            spaces={model: _space(each) for model, each in head["about"].get("spaces", {}).items()},
            objectives=tuple(head["facts"]["goal"]["objectives"]),
            about=head["about"],
            records=journal.read(),
        )

    @property
    def best(self) -> TrialRecord | None:
        """The best trial so far."""
        return best_of(self.records)

    def finished(self) -> tuple[TrialRecord, ...]:
        """Return the trials that have a score, by number."""
        return tuple(each for _, each in sorted(self.records.items()) if each.score is not None)


def studies(storage: Storage) -> tuple[str, ...]:
    """Return the names of the studies on storage."""
    heads = [path for path in storage.list(STUDIES) if path.endswith(f"/{HEAD}")]
    return tuple(path.removeprefix(f"{STUDIES}/").removesuffix(f"/{HEAD}") for path in heads)


def space_facts(space: Mapping[str, Dimension]) -> dict[str, Any]:
    """Return a space as JSON values."""
    return {name: {"kind": type(each).__name__.lower(), **asdict(each)} for name, each in space.items()}


def _space(facts: Mapping[str, Any]) -> Space:
    return {name: _dimension(each) for name, each in facts.items()}


def _dimension(facts: Mapping[str, Any]) -> Dimension:
    values = {name: _hashable(value) for name, value in facts.items() if name not in ("kind", "when")}
    when = facts.get("when")
    found: Dimension = _KINDS[facts["kind"]](**values)
    return replace(found, when=When(when["parent"], _hashable(when["values"]))) if when else found


def _hashable(value: Any) -> Any:
    """Return JSON's lists as tuples."""
    return tuple(_hashable(each) for each in value) if isinstance(value, list) else value
