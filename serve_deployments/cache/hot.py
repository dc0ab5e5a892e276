"""Which inputs will be asked again soon, as their past says."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from heapq import nlargest
from typing import Generic, TypeVar

from cluster.clock import Clock
from cluster.errors import ConfigError
from serve_deployments.cache.key import CacheKey

R = TypeVar("R")


@dataclass(frozen=True, kw_only=True)
class HotSpec:
    """What counts as hot, and how much of it is kept warm.

    Parameters
    ----------
    half_life_s
        An access counts half after so long: short follows fashions, long remembers.
    max_keys
        Inputs whose past is remembered.
    max_bytes
        Of the remembered requests, which warming asks again.
    least_accesses
        Accesses expected within an answer's life, from which on it is renewed; with 1 the saving is about the cost.
    """

    half_life_s: float = 600.0
    max_keys: int = 1000
    max_bytes: int = 16 * 2**20
    least_accesses: float = 2.0

    def __post_init__(self) -> None:
        if not (self.half_life_s > 0 and self.max_keys >= 1 and self.max_bytes >= 0 and self.least_accesses > 0):
            raise ConfigError(f"hot keys: got {self}, expected times and counts above 0")


@dataclass
class _Past(Generic[R]):
    count: float
    seen_s: float
    request: R
    size_bytes: int


class HotKeys(Generic[R]):
    """Decayed access counts of inputs, the coldest forgotten first.

    The decayed count of a steady stream settles at rate x half-life / ln 2, so that count x ln 2 / half-life is an
    estimate of the rate, and the rate times an answer's life the accesses to expect within it.

    Parameters
    ----------
    spec
        Its numbers.
    clock
        Measures time.
    measure
        Request -> bytes.
    """

    def __init__(self, spec: HotSpec, clock: Clock, measure: Callable[[R], int]) -> None:
        self.spec, self._clock, self._measure = spec, clock, measure
        self._pasts: dict[CacheKey, _Past[R]] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._pasts)

    def __contains__(self, key: CacheKey) -> bool:
        return key in self._pasts

    @property
    def total_bytes(self) -> int:
        """Of the remembered requests."""
        return self._bytes

    def seen(self, key: CacheKey, make_request: Callable[[], R]) -> None:
        """Count one access; of a new key, `make_request` returns what asks for it again."""
        now_s = self._clock.now_s()
        past = self._pasts.get(key)
        if past is not None:
            past.count, past.seen_s = self._decayed(past, now_s) + 1.0, now_s
            return
        request = make_request()
        size_bytes = self._measure(request)
        if size_bytes > self.spec.max_bytes:
            return
        self._pasts[key] = _Past(1.0, now_s, request, size_bytes)
        self._bytes += size_bytes
        if len(self._pasts) > self.spec.max_keys or self._bytes > self.spec.max_bytes:
            self._forget_cold(keep=key)

    def rate(self, key: CacheKey) -> float:
        """Return the estimated accesses a second."""
        past = self._pasts.get(key)
        return (
            0.0 if past is None else self._decayed(past, self._clock.now_s()) * math.log(2) / self.spec.half_life_s
        )

    def request(self, key: CacheKey) -> R:
        """Return what asks for `key` again."""
        return self._pasts[key].request

    def due(
        self, left_s: Callable[[CacheKey], float], *, ttl_s: float, lead_s: float, limit: int
    ) -> list[CacheKey]:
        """Return the inputs whose answers should be renewed now, the hottest first.

        Parameters
        ----------
        left_s
            How long a key's answer still lives; 0 where there is none.
        ttl_s
            An answer's life.
        lead_s
            Answers that live longer than this are left alone.
        limit
            Most of them.
        """
        least = self.spec.least_accesses / ttl_s
        rates = {key: self.rate(key) for key in self._pasts if left_s(key) <= lead_s}
        return nlargest(limit, (key for key, rate in rates.items() if rate >= least), key=rates.__getitem__)

    def hottest(self, limit: int) -> list[CacheKey]:
        """Return the most asked inputs."""
        return nlargest(limit, self._pasts, key=self.rate)

    def forget(self, key: CacheKey) -> None:
        """Forget an input."""
        past = self._pasts.pop(key, None)
        if past is not None:
            self._bytes -= past.size_bytes

    def _decayed(self, past: _Past[R], now_s: float) -> float:
        return past.count * math.exp2((past.seen_s - now_s) / self.spec.half_life_s)

    def _forget_cold(self, keep: CacheKey) -> None:
        """Forget the coldest tenth, and more while there is no room: rarely, so that an access stays cheap."""
        order = sorted((key for key in self._pasts if key != keep), key=self.rate)
        least = max(1, self.spec.max_keys // 10)
        for done, key in enumerate(order):
            if done >= least and self._bytes <= self.spec.max_bytes:
                break
            self.forget(key)
