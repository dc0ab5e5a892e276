"""Answers in this process's memory: the least lately used go first, none outlives its time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from cluster.clock import Clock
from cluster.errors import ConfigError
from serve_deployments.cache.key import CacheKey

V = TypeVar("V")
ENTRY_BYTES = 512
"""What an entry takes beside its value: key, digest, record and their places; a little more than Python 3.11 takes,
as tracemalloc sees it in the tests."""


@dataclass(frozen=True)
class _Entry(Generic[V]):
    value: V
    size_bytes: int
    expires_s: float


class ExpiringLRU(Generic[V]):
    """Values by key, bounded in bytes and in time.

    Parameters
    ----------
    measure
        Value -> bytes it takes.
    clock
        Tells when an entry is too old.
    max_bytes
        Bound of all entries, their keys and records counted; 0 or more.
    ttl_s
        An entry's life; above 0.
    """

    def __init__(self, measure: Callable[[V], int], clock: Clock, *, max_bytes: int, ttl_s: float) -> None:
        if max_bytes < 0 or not ttl_s > 0:
            raise ConfigError(f"cache: got max_bytes={max_bytes} and ttl_s={ttl_s}, expected 0 or more and above 0")
        self._measure, self._clock, self.max_bytes, self.ttl_s = measure, clock, max_bytes, ttl_s
        self._entries: OrderedDict[CacheKey, _Entry[V]] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: CacheKey) -> bool:
        return self.left_s(key) > 0

    @property
    def total_bytes(self) -> int:
        """What the entries take."""
        return self._bytes

    def get(self, key: CacheKey) -> V | None:
        """Return the value, as the one used last; None where there is none or it is too old."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.expires_s <= self._clock.now_s():
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        return entry.value

    def put(self, key: CacheKey, value: V) -> None:
        """Keep a value; one that alone exceeds the bound is not kept, and pushes nothing out."""
        self._drop(key)
        size_bytes = self._measure(value) + ENTRY_BYTES
        if size_bytes > self.max_bytes:
            return
        self._entries[key] = _Entry(value, size_bytes, self._clock.now_s() + self.ttl_s)
        self._bytes += size_bytes
        while self._bytes > self.max_bytes:
            self._drop(next(iter(self._entries)))

    def left_s(self, key: CacheKey) -> float:
        """Return how long an entry still lives; 0 where there is none."""
        entry = self._entries.get(key)
        return 0.0 if entry is None else max(0.0, entry.expires_s - self._clock.now_s())

    def forget(self, model: str | None = None) -> int:
        """Drop a version's entries, or all; return how many."""
        keys = [key for key in self._entries if model in (None, key.model)]
        for key in keys:
            self._drop(key)
        return len(keys)

    def _drop(self, key: CacheKey) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._bytes -= entry.size_bytes
