"""The versions a process serves, exchanged while it goes on answering: nothing is restarted, no request is lost."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Protocol

from cluster.monitoring.metrics import Metrics
from serve_deployments.handlers.shelf import Shelf
from serve_deployments.servable import Servable

logger = logging.getLogger(__name__)
Models = Sequence[Mapping[str, Any]]
"""Versions as the spec has them; of each name the first is the default."""


class Lanes(Protocol):
    """Where versions compute; `FusedPipeline`."""

    def add(self, servable: Servable) -> None:
        """Warm a version up and take it in."""
        ...

    def remove(self, servable: Servable) -> None:
        """Forget a version."""
        ...


def key_of(models: Models) -> str:
    """Return a name for a list of versions, the same in every process."""
    return blake2b(json.dumps(list(models), sort_keys=True).encode(), digest_size=8).hexdigest()


class Stock:
    """Follows what is wanted: loads and warms what is missing beside the traffic, then changes at once.

    Where a version cannot be loaded, everything stays as it was, and `fault` tells why.

    Parameters
    ----------
    models
        What is on the shelf now.
    shelf
        The served versions.
    lanes
        Where they compute.
    load
        Returns a version, loaded and warmed, or what went wrong; called in a thread.
    metrics
        Of the process.
    grace_s
        How long a version that went may still be at work for requests that have picked it.
    """

    def __init__(
        self,
        models: Models,
        shelf: Shelf,
        lanes: Lanes,
        load: Callable[[Mapping[str, Any]], Servable | Exception],
        metrics: Metrics,
        *,
        grace_s: float,
    ) -> None:
        self._held = self._wanted = list(models)
        self._shelf, self._lanes, self._load, self._metrics, self._grace_s = shelf, lanes, load, metrics, grace_s
        self._following: asyncio.Task[None] | None = None
        self.fault = ""

    @property
    def holds(self) -> str:
        """Name of the list that was followed last."""
        return key_of(self._held)

    def want(self, models: Models) -> None:
        """Follow a list of versions; one that is followed already, or was, changes nothing."""
        self._wanted = list(models)
        if self._held != self._wanted and (self._following is None or self._following.done()):
            self._following = asyncio.get_running_loop().create_task(self._follow())

    async def settled(self) -> None:
        """Wait until what is wanted was followed."""
        if self._following is not None:
            await self._following

    async def _follow(self) -> None:
        while self._held != self._wanted:
            wanted = self._wanted
            self.fault = await self._bring(wanted)
            self._held = wanted

    async def _bring(self, models: Models) -> str:
        """Bring shelf and lanes in line; return what is in the way."""
        wanted = [(each["name"], each["version"]) for each in models]
        there = {(each.name, each.version) for each in self._shelf}
        for place, model in zip(wanted, models, strict=True):
            if place in there:
                continue
            found = await asyncio.to_thread(self._load, model)
            if isinstance(found, Exception):
                logger.error("%s %s is not served: %s", *place, found)
                return f"{model['name']} {model['version']}: {type(found).__name__}: {found}"
            await asyncio.to_thread(self._lanes.add, found)
            self._shelf.put(found)
            self._metrics.serves(found.name, found.version)
            if "accuracy" in found.metrics:
                self._metrics.accuracy(found.name, found.version, found.metrics["accuracy"])
        for gone in self._shelf.arrange(wanted):
            asyncio.get_running_loop().call_later(self._grace_s, self._forget, gone)
        return ""

    def _forget(self, gone: Servable) -> None:
        """Stop a version's lane, unless the version has come back since."""
        if all(each.key != gone.key for each in self._shelf):
            self._lanes.remove(gone)
