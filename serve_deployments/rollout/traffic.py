"""One replica's view of splits, and what it has counted since it last told anybody. Pure."""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from serve_deployments.experiments.exposure_log import Exposure
from serve_deployments.rollout.split import Split
from serve_deployments.rollout.tally import Tally, Tree

MAX_EXPOSURES = 10_000
"""Exposures kept until they are told; more within a second are dropped and counted."""
MAX_FORECASTS = 2_000
MAX_WORST = 20
MAX_WITNESSES = 50_000
"""Sticky units remembered; the oldest are forgotten first, and would count once more."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What a replica tells at once.

    Parameters
    ----------
    number
        Rises; a batch whose answer was lost is sent again under its number.
    tallies
        (owner, revision, counts) since the batch before.
    exposures
        Requests of experiments.
    forecasts
        Answered forecasts that truth may come for: request id, owner, revision, side, points by series and target.
    worst
        Owner -> pairs of answers that differ most.
    dropped
        Exposures and forecasts there was no room for.
    """

    number: int
    tallies: Sequence[tuple[str, str, Tree]] = ()
    exposures: Sequence[Exposure] = ()
    forecasts: Sequence[Mapping[str, Any]] = ()
    worst: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    dropped: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return plain data, none of it copied: it is made between answers, and nobody changes what was told."""
        return vars(self) | {"exposures": [vars(each) for each in self.exposures]}


class Traffic:
    """Splits by model, counts, exposures. Bounded: what nobody fetches is dropped."""

    def __init__(self) -> None:
        self._splits: dict[str, list[Split]] = {}
        self._told: Any = None
        self._witnesses: OrderedDict[tuple[str, ...], None] = OrderedDict()
        self._number = 0
        self._unanswered: Batch | None = None
        self._clear()

    def _clear(self) -> None:
        self._tallies: dict[tuple[str, str], Tally] = {}
        self._exposures: list[Exposure] = []
        self._forecasts: list[Mapping[str, Any]] = []
        self._worst: dict[str, list[tuple[float, str, Mapping[str, Any]]]] = {}
        self._dropped = 0

    def update(self, splits: Sequence[Mapping[str, Any]]) -> None:
        """Take over the splits as the board has them."""
        if splits == self._told:
            return
        found: dict[str, list[Split]] = {}
        # Experiments first: a rollout divides what takes part in none, so that neither sees the other's arms.
        for split in sorted(map(Split.from_json, splits), key=lambda each: not each.exposed):
            found.setdefault(split.model, []).append(split)
        self._splits, self._told = found, splits

    def splits(self, model: str) -> Sequence[Split]:
        """Return the splits of a model's requests."""
        return self._splits.get(model, ())

    def tally(self, split: Split, key: str) -> Tally:
        """Return where answers under a split are counted; `key` as `Split.tallies` gave it."""
        return self._tallies.setdefault((split.owner, key), Tally())

    def first_failure(self, split: Split, unit: str) -> bool:
        """Say whether a sticky unit's failure is its first: a unit that repeats itself is one witness, not many."""
        return self._first(split, "failed", unit)

    def first_answer(self, split: Split, version: str, unit: str) -> bool:
        """Say whether it is a sticky unit's first answer of a version: its later ones resemble that."""
        return self._first(split, version, unit)

    def _first(self, split: Split, what: str, unit: str) -> bool:
        if split.unit == "request":
            return True
        key = (split.owner, what, unit)
        if key in self._witnesses:
            return False
        self._witnesses[key] = None
        if len(self._witnesses) > MAX_WITNESSES:
            self._witnesses.popitem(last=False)
        return True

    def expose(self, exposure: Exposure) -> None:
        """Note a request of an experiment."""
        if len(self._exposures) < MAX_EXPOSURES:
            self._exposures.append(exposure)
        else:
            self._dropped += 1

    def keep_forecast(self, forecast: Mapping[str, Any]) -> None:
        """Keep a forecast until its truth may come."""
        if len(self._forecasts) < MAX_FORECASTS:
            self._forecasts.append(forecast)
        else:
            self._dropped += 1

    def keep_pair(self, owner: str, case: Mapping[str, Any]) -> None:
        """Keep a pair of answers if it is among those that differ most."""
        worst = self._worst.setdefault(owner, [])
        entry = (float(case["difference_ratio"]), str(case["request_id"]), case)
        if len(worst) < MAX_WORST:
            heapq.heappush(worst, entry)
        else:
            heapq.heappushpop(worst, entry)

    def batch(self) -> Batch:
        """Return what is to be told: the batch that was not answered, or a new one."""
        if self._unanswered is None:
            self._number += 1
            self._unanswered = Batch(
                number=self._number,
                tallies=[(*key, tally.counts) for key, tally in self._tallies.items()],
                exposures=self._exposures,
                forecasts=self._forecasts,
                worst={owner: [case for *_, case in cases] for owner, cases in self._worst.items()},
                dropped=self._dropped,
            )
            self._clear()
        return self._unanswered

    def answered(self, reply: Mapping[str, Any]) -> None:
        """Take note that the batch arrived, and of the splits that came back."""
        self._unanswered = None
        self.update(reply["splits"])
