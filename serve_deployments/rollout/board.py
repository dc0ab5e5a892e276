"""Where replicas read how requests are divided, and leave what they counted. Pure; an actor makes it shared.

It is not durable: splits are told again by their owners at every tick, and counts that were added but not yet
looked at when it dies (about a second's) are lost for both versions alike.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

from serve_deployments.rollout.tally import Tree, add

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
