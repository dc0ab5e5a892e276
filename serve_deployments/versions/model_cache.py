"""More models than fit: loaded when they are wanted, the least lately used put away, within a bound of memory."""

from __future__ import annotations

import pickle
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from cluster.errors import ConfigError, TransientError
from serve_deployments.cache.flight import SingleFlight

M = TypeVar("M")
RETRY_S = 1.0


class NoRoomError(TransientError):
    """All the memory for models is in use at this moment."""


class _Count:
    """A file that only counts."""

    def __init__(self) -> None:
        self.total_bytes = 0

    def write(self, data: bytes | memoryview) -> int:
        size = memoryview(data).nbytes
        self.total_bytes += size
        return size


def footprint_bytes(model: object) -> int:
    """Return what an object takes, measured by pickling it into nothing: arrays by their buffers, trees dumped.

    The memory of a process tells nothing about one model while others load beside it. What libraries keep besides
    (thread pools, code) is shared between models, and not counted.
    """
    count = _Count()

    def out_of_band(buffer: pickle.PickleBuffer) -> None:
        count.total_bytes += buffer.raw().nbytes

    pickle.Pickler(count, protocol=5, buffer_callback=out_of_band).dump(model)
    return count.total_bytes


@dataclass(frozen=True)
class _Held(Generic[M]):
    model: M
    size_bytes: int


class ModelCache(Generic[M]):
    """Models by key, bounded in bytes; what is in use stays.

    Callers who want the same model at the same time cause one load. Loads of different models run beside each
    other, where `ray.serve.multiplexed` holds one lock for all of them. A model's size is known when it is there,
    so that models that arrive at the same moment may exceed the bound until the least lately used are put away.

    Parameters
    ----------
    load
        Key -> model.
    measure
        Model -> bytes.
    max_bytes
        Bound of all models held.
    """

    def __init__(
        self,
        load: Callable[[str], Awaitable[M]],
        *,
        max_bytes: int,
        measure: Callable[[M], int] = footprint_bytes,
    ) -> None:
        if max_bytes < 1:
            raise ConfigError(f"model cache: got max_bytes={max_bytes}, expected 1 or more")
        self._load, self._measure, self._max_bytes = load, measure, max_bytes
        self._held: OrderedDict[str, _Held[M]] = OrderedDict()
        self._pins: Counter[str] = Counter()
        self._flights: SingleFlight[str, _Held[M]] = SingleFlight()
        self.loads = 0
        """Models loaded since the start."""

    def __contains__(self, key: str) -> bool:
        return key in self._held

    @property
    def total_bytes(self) -> int:
        """Of the models held."""
        return sum(held.size_bytes for held in self._held.values())

    @asynccontextmanager
    async def use(self, key: str) -> AsyncIterator[M]:
        """Give the model, which stays while the block runs.

        Raises
        ------
        NoRoomError
            It would fit, but not beside those in use.
        ConfigError
            It is larger than the bound.
        """
        self._pins[key] += 1
        try:
            held = self._held.get(key) or (await self._flights.fly(key, lambda: self._hold(key)))[0]
            self._held.move_to_end(key)
            yield held.model
        finally:
            self._pins[key] -= 1
            if not self._pins[key]:
                del self._pins[key]

    async def _hold(self, key: str) -> _Held[M]:
        model = await self._load(key)
        self.loads += 1
        held = _Held(model, self._measure(model))
        self._make_room(key, held.size_bytes)
        self._held[key] = held
        return held

    def _make_room(self, key: str, size_bytes: int) -> None:
        if size_bytes > self._max_bytes:
            raise ConfigError(
                f"model '{key}' does not fit: got {size_bytes} bytes, expected at most {self._max_bytes}; "
                "raise ML_MODEL_CACHE_BYTES"
            )
        for other in [other for other in self._held if other not in self._pins]:
            if self.total_bytes + size_bytes <= self._max_bytes:
                return
            del self._held[other]
        if self.total_bytes + size_bytes > self._max_bytes:
            raise NoRoomError(
                f"no room for model '{key}': got {self.total_bytes} bytes of models in use, expected "
                f"{self._max_bytes - size_bytes} or fewer; try again later or raise ML_MODEL_CACHE_BYTES",
                retry_after_s=RETRY_S,
            )
