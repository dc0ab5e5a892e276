"""Versions of which only as many are in memory as a budget allows: the others sleep, and are loaded when asked."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from cluster.clock import Clock
from cluster.errors import TransientError
from cluster.monitoring.model_cache_metrics import ModelCacheMetrics
from serve_deployments.admission import RETRY_AFTER_S, OverloadedError
from serve_deployments.servable import Asleep, Servable
from serve_deployments.versions.life_cycle import Stage
from serve_deployments.versions.lives import Lives
from serve_deployments.versions.residents import Residents
from serve_deployments.versions.room import WAIT_S, NoRoomError, Room
from serve_deployments.versions.weight import KNOB, Weight, check_fit, give_back

logger = logging.getLogger(__name__)
LOADS_AT_ONCE = 2
"""Loads are mostly Python and copying: more of them at once take the processor from requests, and end no sooner."""
RETRY_LOAD_S = 5.0
"""After a failed load the next is tried; until then requests are refused at once."""


class ModelLoadError(TransientError):
    """A version that slept could not be loaded."""


class Lanes(Protocol):
    """Where versions compute; `FusedPipeline`."""

    def add(self, servable: Servable) -> None:
        """Take a version in."""
        ...

    def rest(self, servable: Servable) -> None:
        """Let go of a version that will come back."""
        ...

    def remove(self, servable: Servable) -> None:
        """Forget a version."""
        ...


@dataclass(frozen=True, kw_only=True)
class Known:
    """A version that is served, asleep or not.

    Parameters
    ----------
    load
        Verifies, loads and tries it; called in a thread.
    weight
        What it takes.
    """

    load: Callable[[], Servable]
    weight: Weight


class ModelCache:
    """Keeps the versions that were used last in memory, and wakes the others when they are asked.

    A request holds a lease while it computes; what is leased stays. One load serves all who wait for a version, and
    none of them ends it by leaving.

    Parameters
    ----------
    residents
        Who is in memory.
    lives
        Life cycles: a version that cannot be loaded any more is in ERROR until it can.
    meter
        Counts loads and evictions.
    clock
        One that never goes back.
    max_waiting
        Requests that may wait for loads; a further one is refused.
    room_wait_s
        How long a load waits for room.
    """

    def __init__(
        self,
        residents: Residents,
        lives: Lives,
        meter: ModelCacheMetrics,
        clock: Clock,
        *,
        max_waiting: int,
        room_wait_s: float = WAIT_S,
    ) -> None:
        self._residents, self.lives, self._meter, self._clock = residents, lives, meter, clock
        self._room = Room(residents, self._gone, self._tell, wait_s=room_wait_s)
        self._max_waiting, self._waiting = max_waiting, 0
        self._loaders = ThreadPoolExecutor(LOADS_AT_ONCE, thread_name_prefix="load")
        self._known: dict[str, Known] = {}
        self._awake: dict[str, Servable] = {}
        self._faults: dict[str, tuple[str, float]] = {}
        self._loads: dict[str, list[asyncio.Future[Servable]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._lanes: Lanes | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    # -- versions that come and go -----------------------------------------------------------------------------

    def take_in(self, servable: Servable, size_bytes: int, load: Callable[[], Servable]) -> Servable:
        """Take in a version that has just been loaded; return what stands on the shelf for it.

        Before requests come it stays in memory where there is room, else it sleeps until it is asked. A kind that
        cannot sleep stays, and takes its bytes from the others.

        Parameters
        ----------
        servable
            The version.
        size_bytes
            What it takes.
        load
            Loads it again.

        Raises
        ------
        ConfigError
            It is larger than the budget.
        """
        face = servable.asleep()
        weight = Weight(key=servable.key, size_bytes=size_bytes, stays=face is None)
        others = [known.weight for known in list(self._known.values()) if known.weight.key != weight.key]
        check_fit([*others, weight], self._residents.budget_bytes)
        new = servable.key not in self._known
        self._known[servable.key] = Known(load=load, weight=weight)
        if face is None and new:
            self._set_aside(size_bytes)
        if face is not None and self._lanes is None and self._residents.fits(size_bytes):
            self._residents.admit(servable.key, size_bytes)
            self._awake[servable.key] = servable
        return face or servable

    def _set_aside(self, size_bytes: int) -> None:
        if self._loop is None:
            self._residents.set_aside(size_bytes)
        else:  # versions are taken in by a thread, once requests come
            self._loop.call_soon_threadsafe(self._residents.set_aside, size_bytes)

    @property
    def awake(self) -> tuple[Servable, ...]:
        """The versions in memory that may sleep."""
        return tuple(self._awake.values())

    @property
    def total_bytes(self) -> int:
        """What the versions in memory take."""
        return self._residents.total_bytes

    def open(self, lanes: Lanes) -> None:
        """Let versions be asked; they compute in `lanes`, which has those that are awake."""
        self._lanes = lanes
        self._tell(self._residents)

    def add(self, servable: Servable) -> None:
        """Open the lane of a version that never sleeps; others get theirs when they wake. Called in a thread."""
        if not isinstance(servable, Asleep):
            self._open_lanes.add(servable)

    def remove(self, servable: Servable) -> None:
        """Forget a version that is served no more, and that nobody is inside of."""
        known = self._known.pop(servable.key, None)
        if known is not None and known.weight.stays:
            self._residents.set_aside(-known.weight.size_bytes)
        self._faults.pop(servable.key, None)
        self._awake.pop(servable.key, None)
        self._open_lanes.remove(servable)
        self._room.drop(servable.key)

    @property
    def _open_lanes(self) -> Lanes:
        if self._lanes is None:
            raise RuntimeError("the model cache is not open: got a question, expected open() before")
        return self._lanes

    def _gone(self, key: str) -> None:
        self._open_lanes.rest(self._awake.pop(key))
        self._meter.evicted()

    def _tell(self, residents: Residents) -> None:
        self._meter.holds(len(residents), residents.total_bytes)

    # -- what is told of them ----------------------------------------------------------------------------------

    def sleeps(self, servable: Servable) -> bool:
        """Return whether a version would have to be loaded."""
        return isinstance(servable, Asleep) and servable.key not in self._awake

    def size_bytes(self, servable: Servable) -> int:
        """Return what a version takes in memory, where it is there."""
        return self._known[servable.key].weight.size_bytes

    def fault(self, servable: Servable) -> str:
        """Return why the last load of a version failed; empty where it did not."""
        return self._faults.get(servable.key, ("", 0.0))[0]

    @contextmanager
    def look_in(self, servable: Servable) -> Iterator[Servable | None]:
        """Hold a version without using it; None where it sleeps: a probe wakes nobody, and makes nobody stay."""
        if not isinstance(servable, Asleep):
            yield servable
        elif servable.key not in self._awake:
            yield None
        else:
            self._residents.look_in(servable.key)
            try:
                yield self._awake[servable.key]
            finally:
                self._room.leave(servable.key)

    # -- requests ----------------------------------------------------------------------------------------------

    def lease(self, servable: Servable) -> Lease:
        """Return a context that holds a version in memory and gives it, loaded where it slept.

        Entering raises NoRoomError, ModelLoadError, or OverloadedError where too many wait for loads.
        """
        return Lease(self, servable)

    async def enter(self, key: str) -> Servable:
        """Go inside a version that may sleep; see `lease`."""
        servable = self._awake.get(key)
        if servable is None:
            return await self._woken(key)
        self._residents.enter(key)
        return servable

    def leave(self, key: str) -> None:
        """Come out again."""
        self._room.leave(key)

    async def _woken(self, key: str) -> Servable:
        """Wait for a version's load, the one under way or a new one; the request is inside when it returns."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._begin(loop)
        self._refuse(key)
        landing: asyncio.Future[Servable] = loop.create_future()
        if key in self._loads:
            self._loads[key].append(landing)
        else:
            self._loads[key] = [landing]
            task = loop.create_task(self._load(key))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self._waiting += 1
        try:
            return await landing
        except asyncio.CancelledError:
            if landing.done() and not landing.cancelled() and landing.exception() is None:
                self.leave(key)  # it left at the moment it was let in
            raise
        finally:
            self._waiting -= 1

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Forget the loads of a loop that has ended: they never end."""
        self._loop, self._waiting = loop, 0
        self._loads.clear()
        self._room.begin()
        for key in self._residents.keys:
            if key not in self._awake:
                self._residents.drop(key)

    def _refuse(self, key: str) -> None:
        """Raise where waiting for a load makes no sense."""
        self._check_served(key)
        reason, since_s = self._faults.get(key, ("", 0.0))
        left_s = since_s + RETRY_LOAD_S - self._clock.now_s()
        if reason and left_s > 0:
            raise ModelLoadError(f"model '{key}' could not be loaded: {reason}", retry_after_s=left_s)
        if self._waiting >= self._max_waiting:
            raise OverloadedError(
                f"too many requests wait for models to be loaded: got {self._waiting}, expected fewer than "
                f"{self._max_waiting}; try again later, or raise {KNOB}",
                retry_after_s=RETRY_AFTER_S,
            )

    async def _load(self, key: str) -> None:
        """Load a version for all who wait for it; whatever comes of it, all are told."""
        begun_s = time.perf_counter()
        try:
            self._awake[key] = await self._loaded(key)
        except NoRoomError as error:
            self._tell_waiting(key, error)
            outcome = "no_room"
        except Exception as error:
            logger.exception("model %s cannot be loaded", key)
            self._failed(key, f"{type(error).__name__}: {error}")
            outcome = "failed"
        else:
            self._let_in(key)
            outcome = "loaded"
        self._meter.woke(outcome, time.perf_counter() - begun_s)

    async def _loaded(self, key: str) -> Servable:
        """Return a version that has a place and a lane; the place is held until all who wait are inside."""
        known = self._known[key]
        await self._room.take(key, known.weight.size_bytes)
        loop = asyncio.get_running_loop()
        try:
            servable = await loop.run_in_executor(self._loaders, self._prepared, known)
            self._check_served(key, known)
        except BaseException:
            self._room.drop(key)
            raise
        return servable

    def _check_served(self, key: str, known: Known | None = None) -> None:
        """Raise where a version has gone, be it that another has come in its place."""
        if key not in self._known or self._known[key] is not (known or self._known[key]):
            raise ModelLoadError(f"model '{key}' is served no more: ask for another version")

    def _prepared(self, known: Known) -> Servable:
        give_back()
        servable = known.load()
        self._open_lanes.add(servable)
        return servable

    def _let_in(self, key: str) -> None:
        self._faults.pop(key, None)
        life = self.lives.of(key)
        if life.stage is Stage.ERROR:
            for stage in (Stage.LOAD, Stage.WARM, Stage.ACTIVE):
                life.move(stage, "loaded again")
        for landing in self._loads.pop(key):
            if not landing.done():
                self._residents.enter(key)
                landing.set_result(self._awake[key])
        self._room.leave(key)

    def _failed(self, key: str, reason: str) -> None:
        self._faults[key] = reason, self._clock.now_s()
        self.lives.of(key).move(Stage.ERROR, reason)
        self._tell_waiting(
            key, ModelLoadError(f"model '{key}' could not be loaded: {reason}", retry_after_s=RETRY_LOAD_S)
        )

    def _tell_waiting(self, key: str, error: Exception) -> None:
        for landing in self._loads.pop(key):
            if not landing.done():
                landing.set_exception(error)


class Lease:
    """Holds a version in memory while the block runs: `async with cache.lease(servable) as awake`."""

    __slots__ = ("_cache", "_servable")

    def __init__(self, cache: ModelCache, servable: Servable) -> None:
        self._cache, self._servable = cache, servable

    async def __aenter__(self) -> Servable:
        """Return the version in memory."""
        if not isinstance(self._servable, Asleep):
            return self._servable
        return await self._cache.enter(self._servable.key)

    async def __aexit__(self, *_: object) -> None:
        """Let the version go, where nobody else is inside."""
        if isinstance(self._servable, Asleep):
            self._cache.leave(self._servable.key)
