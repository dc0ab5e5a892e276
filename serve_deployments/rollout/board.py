"""Where replicas read how requests are divided, and leave what they counted. Pure; an actor makes it shared.

Splits and counts are not durable: splits are told again by their owners at every tick, and counts that were added
but not yet looked at when it dies (about a second's) are lost for both versions alike. The log of experiments is.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

from serve_deployments.experiments.experiment import Experiment, Reading
from serve_deployments.experiments.exposure_log import Exposure, ExposureLog
from serve_deployments.experiments.reading import read
from serve_deployments.rollout.split import Split
from serve_deployments.rollout.tally import Tree, add
from serve_deployments.rollout.truth import ForecastsKept

MAX_SOURCES = 256
"""Replicas whose last batch is remembered, to add no batch twice."""
MAX_TALLIES = 512
"""Tallies kept (owner and revision); the oldest go first, long after their rollout ended."""
MAX_WORST = 20


class SplitBoard:
    """The splits by owner, and tallies by owner and revision."""

    def __init__(self) -> None:
        self.epoch = uuid4().hex
        self.version = 0
        self._splits: dict[str, list[dict[str, Any]]] = {}
        self._tallies: OrderedDict[tuple[str, str], Tree] = OrderedDict()
        self._worst: dict[str, list[dict[str, Any]]] = {}
        self._last: OrderedDict[str, int] = OrderedDict()
        self._models: list[dict[str, Any]] | None = None
        self._held: OrderedDict[str, tuple[str, str]] = OrderedDict()

    def want(self, models: Sequence[Mapping[str, Any]]) -> None:
        """Replace the versions that replicas are to serve."""
        self._models = [dict(model) for model in models]

    def holders(self, key: str) -> tuple[int, list[str]]:
        """Return how many replicas have followed the versions of this key, and what kept them from it."""
        faults = [fault for held, fault in self._held.values() if held == key]
        return len(faults), sorted({fault for fault in faults if fault})

    def holds(self, source: str, key: str, fault: str) -> None:
        """Note which versions a replica has followed last, and what was in its way."""
        self._held[source] = (key, fault)
        self._held.move_to_end(source)
        while len(self._held) > MAX_SOURCES:
            self._held.popitem(last=False)

    def publish(self, owner: str, splits: Sequence[Mapping[str, Any]]) -> None:
        """Replace the splits of an owner."""
        told = [dict(split) for split in splits]
        if told != self._splits.get(owner, []):
            self._splits[owner] = told
            self.version += 1

    def exchange(self, source: str, batch: int, tallies: Sequence[tuple[str, str, Tree]]) -> dict[str, Any]:
        """Add a replica's batch of counts, once, and return the splits.

        Parameters
        ----------
        source
            The replica.
        batch
            Its number; a batch whose answer was lost is sent again under the same one.
        tallies
            Owner, revision, growth since the batch before.
        """
        if self._last.get(source, -1) < batch:
            self._last[source] = batch
            self._last.move_to_end(source)
            for each in tallies:
                self.count(*each)
        while len(self._last) > MAX_SOURCES:
            self._last.popitem(last=False)
        splits = [split for each in self._splits.values() for split in each]
        return {"version": self.version, "splits": splits, "models": self._models}

    def count(self, owner: str, revision: str, tree: Tree) -> None:
        """Add counts to a tally."""
        key = (owner, revision)
        self._tallies[key] = add(self._tallies.get(key), tree)
        self._tallies.move_to_end(key)
        while len(self._tallies) > MAX_TALLIES:
            self._tallies.popitem(last=False)

    def keep_worst(self, owner: str, cases: Sequence[Mapping[str, Any]]) -> None:
        """Keep the pairs of answers that differ most; `difference_ratio` says how much."""
        known = {case["request_id"]: dict(case) for case in [*self._worst.get(owner, []), *cases]}
        worst = sorted(known.values(), key=lambda case: -case["difference_ratio"])
        self._worst[owner] = worst[:MAX_WORST]

    def worst(self, owner: str) -> list[dict[str, Any]]:
        """Return the pairs of answers that differ most, the worst first."""
        return self._worst.get(owner, [])

    def counts(self) -> tuple[str, dict[str, dict[str, Tree]]]:
        """Return the epoch, and owner -> revision -> tally since it began."""
        found: dict[str, dict[str, Tree]] = {}
        for (owner, revision), tree in self._tallies.items():
            found.setdefault(owner, {})[revision] = tree
        return self.epoch, found


class TrafficBoard:
    """All that replicas, controllers and commands share of divided traffic.

    Parameters
    ----------
    log
        Where exposures and outcomes are kept.
    """

    def __init__(self, log: ExposureLog) -> None:
        self.splits, self.log, self.forecasts = SplitBoard(), log, ForecastsKept()

    def exchange(self, source: str, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Take in a replica's batch and return the splits."""
        self.log.expose(Exposure(**each) for each in batch["exposures"])
        self.forecasts.keep(batch["forecasts"])
        for owner, cases in batch["worst"].items():
            self.splits.keep_worst(owner, cases)
        if "holds" in batch:
            self.splits.holds(source, *batch["holds"])
        return self.splits.exchange(source, batch["number"], batch["tallies"])

    def publish(self, owner: str, splits: Sequence[Split]) -> None:
        """Replace the splits of an owner."""
        self.splits.publish(owner, [split.to_json() for split in splits])

    def want(self, models: Sequence[Mapping[str, Any]]) -> None:
        """Replace the versions that replicas are to serve."""
        self.splits.want(models)

    def holders(self, key: str) -> tuple[int, list[str]]:
        """Return how many replicas followed these versions, and what kept them from it."""
        return self.splits.holders(key)

    def counts(self) -> tuple[str, Mapping[str, Mapping[str, Tree]]]:
        """Return epoch and tallies."""
        return self.splits.counts()

    def worst(self, owner: str) -> list[dict[str, Any]]:
        """Return the pairs of answers that differ most."""
        return self.splits.worst(owner)

    def record(self, request_id: str, outcomes: Mapping[str, float]) -> int:
        """Note outcomes of a request; return how many were new."""
        return self.log.record_outcomes({request_id: outcomes})

    def judge(self, request_id: str, truth: Any, enough_ratio: float) -> float:
        """Join a truth with its forecast and return the accuracy."""
        accuracy, tally = self.forecasts.judge(request_id, truth, enough_ratio=enough_ratio)
        self.splits.count(*tally)
        return accuracy

    def describe_units(self, experiment: str, covariates: Mapping[str, float]) -> int:
        """Note what was known of units before an experiment; return how many were new."""
        return self.log.describe_units(experiment, covariates)

    def read(self, experiment: Mapping[str, Any]) -> Reading:
        """Return what the log says of an experiment."""
        return read(self.log, Experiment.from_json(experiment))
