"""Versions sleep and wake: one load for all who wait, nobody goes who is in use, and what fails is told."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from cluster.clock import ManualClock
from cluster.errors import ArtifactCorrupt, ConfigError
from cluster.monitoring.model_cache_metrics import (
    MODEL_EVICTIONS,
    MODEL_LOADS,
    MODELS_RESIDENT,
    MODELS_RESIDENT_BYTES,
    ModelCacheMetrics,
)
from serve_deployments.admission import OverloadedError
from serve_deployments.servable import Asleep, AsleepError, Servable
from serve_deployments.versions.life_cycle import Stage
from serve_deployments.versions.lives import Lives
from serve_deployments.versions.model_cache import RETRY_LOAD_S, ModelCache, ModelLoadError
from serve_deployments.versions.residents import Residents
from serve_deployments.versions.room import NoRoomError

SIZE = 10


class Face(Servable):
    """A version by its name alone."""

    kind = "forecast"

    def __init__(self, name: str) -> None:
        self.name, self.version, self.metrics = name, "1", {}

    @property
    def members(self) -> tuple[str, ...]:
        return ("only",)

    def validate(self, question: Any) -> Any:
        return question

    def plain(self, result: Any) -> dict[str, Any]:
        return {"result": result}

    def probe(self) -> Any:
        return "probe"

    def info(self, *, default: bool) -> dict[str, Any]:
        return {"name": self.name, "default": default}


class Sleeping(Face, Asleep):
    """Without weights."""


class Loaded(Face):
    """With weights."""

    def __init__(self, name: str, *, stays: bool = False) -> None:
        super().__init__(name)
        self._stays = stays

    def asleep(self) -> Servable | None:
        return None if self._stays else Sleeping(self.name)

    def prepare(self, jobs: Any) -> Any:
        return jobs

    def join(self, features: Any) -> Any:
        return features

    def member(self, index: int, features: Any) -> Any:
        return np.zeros(len(features))

    def combine(self, outputs: Any) -> Any:
        return outputs[0]

    def describe(self, jobs: Any, combined: Any) -> Any:
        return combined


class Lanes:
    """Who computes, as the cache has told."""

    def __init__(self) -> None:
        self.open: set[str] = set()

    def add(self, servable: Servable) -> None:
        self.open.add(servable.name)

    def rest(self, servable: Servable) -> None:
        self.open.remove(servable.name)

    def remove(self, servable: Servable) -> None:
        self.open.discard(servable.name)


class Replica:
    """A cache with room for two versions of a..d, whose loads can be held and broken."""

    def __init__(self, *names: str, room_wait_s: float = 30.0, max_waiting: int = 4) -> None:
        self.registry, self.clock, self.lanes = CollectorRegistry(), ManualClock(), Lanes()
        self.residents, self.loads, self.broken = Residents(2 * SIZE), list[str](), set[str]()
        self.gate = threading.Event()
        self.gate.set()
        self.cache = ModelCache(
            self.residents,
            Lives(self.clock),
            ModelCacheMetrics(self.registry, "r1"),
            self.clock,
            max_waiting=max_waiting,
            room_wait_s=room_wait_s,
        )
        self.shelf = {name: self.take_in(Loaded(name)) for name in names or "abcd"}
        for servable in self.cache.awake:
            self.lanes.add(servable)
        self.cache.open(self.lanes)

    def take_in(self, servable: Servable, size_bytes: int = SIZE) -> Servable:
        face = self.cache.take_in(servable, size_bytes, lambda: self._load(servable.name))
        self.cache.lives.of(servable.key).activate()
        return face

    def _load(self, name: str) -> Servable:
        self.loads.append(name)
        assert self.gate.wait(30)
        if name in self.broken:
            raise ArtifactCorrupt("state.json has another digest")
        return Loaded(name)

    async def ask(self, name: str) -> str:
        async with self.cache.lease(self.shelf[name]) as servable:
            assert isinstance(servable, Loaded) and name in self.lanes.open and name + "@1" in self.residents
            return servable.name

    def count(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(name, labels) or 0.0

    def check(self) -> None:
        """Nobody is inside, and all sides tell the same."""
        awake = {servable.name for servable in self.cache.awake}
        assert self.lanes.open == awake == {key.partition("@")[0] for key in self.residents.keys}
        assert self.count(MODELS_RESIDENT, replica="r1") == len(awake)
        assert self.count(MODELS_RESIDENT_BYTES, replica="r1") == SIZE * len(awake) <= self.residents.budget_bytes
        for name in self.shelf:  # whoever were still counted inside would keep its place
            if not self.cache.sleeps(self.shelf[name]):
                assert self.residents.admit("probe", 2 * SIZE) is not None
                break


async def until(happened: Callable[[], object]) -> None:
    """Let others run until something has happened."""
    async with asyncio.timeout(30):
        while not happened():
            await asyncio.sleep(0)


def run(story: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(story())  # type: ignore[arg-type]


def test_the_first_that_fit_stay_and_the_others_are_loaded_when_asked() -> None:
    replica = Replica()

    async def story() -> None:
        assert [replica.cache.sleeps(face) for face in replica.shelf.values()] == [False, False, True, True]
        assert [await replica.ask(name) for name in "abab"] == list("abab") and replica.loads == []
        assert [await replica.ask(name) for name in "caca"] == list("caca")
        assert replica.loads == ["c", "a"], "a was used before b, so c took its place, and then a took b's"
        assert await replica.ask("d") == "d" and replica.cache.sleeps(replica.shelf["c"])

    run(story)
    assert replica.count(MODEL_LOADS, outcome="loaded") == replica.count(MODEL_EVICTIONS) == 3
    replica.check()


def test_all_who_wait_share_a_load_that_none_of_them_ends_by_leaving() -> None:
    replica = Replica()
    replica.gate.clear()

    async def story() -> None:
        asked = [asyncio.create_task(replica.ask("c")) for _ in range(4)]
        await until(lambda: replica.loads)
        asked[0].cancel()  # the one that began it
        assert await replica.ask("b") == "b", "others go on meanwhile"
        replica.gate.set()
        assert await asyncio.gather(*asked[1:]) == ["c"] * 3
        assert replica.loads == ["c"]

    run(story)
    replica.check()


def test_a_load_goes_on_when_all_have_left_and_nobody_is_counted_inside() -> None:
    replica = Replica()
    replica.gate.clear()

    async def story() -> None:
        asked = asyncio.create_task(replica.ask("c"))
        await until(lambda: replica.loads)
        asked.cancel()
        replica.gate.set()
        await until(lambda: not replica.cache.sleeps(replica.shelf["c"]))
        assert await replica.ask("c") == "c" and replica.loads == ["c"]

    run(story)
    replica.check()


def test_who_leaves_as_it_is_let_in_is_counted_out() -> None:
    replica = Replica()
    replica.gate.clear()

    async def story() -> None:
        asked = asyncio.create_task(replica.ask("c"))
        await until(lambda: replica.loads)
        replica.gate.set()
        await until(lambda: not replica.cache.sleeps(replica.shelf["c"]))
        asked.cancel()  # its landing is done, it has not run since
        with pytest.raises(asyncio.CancelledError):
            await asked

    run(story)
    replica.check()


def test_what_is_in_use_stays_and_who_waits_for_its_room_gets_it() -> None:
    replica = Replica()

    async def story() -> None:
        async with replica.cache.lease(replica.shelf["a"]):
            async with replica.cache.lease(replica.shelf["b"]):
                waiting = asyncio.create_task(replica.ask("c"))
                await until(lambda: replica.residents.admit("probe", SIZE) is None and replica.cache._loads)
                assert replica.loads == [] and not replica.cache.sleeps(replica.shelf["a"])
            assert await waiting == "c", "b is out: its room is c's"
            assert replica.cache.sleeps(replica.shelf["b"]) and not replica.cache.sleeps(replica.shelf["a"])

    run(story)
    replica.check()


def test_where_all_is_in_use_a_load_is_refused_after_a_while_and_says_when_to_come_again() -> None:
    replica = Replica(room_wait_s=0.0)

    async def story() -> None:
        async with replica.cache.lease(replica.shelf["a"]), replica.cache.lease(replica.shelf["b"]):
            with pytest.raises(NoRoomError, match=r"got 20 bytes in use .* expected 10 free of 20") as refused:
                await replica.ask("c")
            assert refused.value.retry_after_s > 0 and isinstance(refused.value, OverloadedError)
            assert replica.cache.lives.of("c@1").stage is Stage.ACTIVE, "it is not the version's fault"
        assert await replica.ask("c") == "c"

    run(story)
    assert replica.count(MODEL_LOADS, outcome="no_room") == 1
    replica.check()


def test_a_bounded_number_of_requests_waits_for_loads() -> None:
    replica = Replica(max_waiting=2)
    replica.gate.clear()

    async def story() -> None:
        asked = [asyncio.create_task(replica.ask("c")) for _ in range(2)]
        await until(lambda: replica.loads)
        with pytest.raises(OverloadedError, match="got 2, expected fewer than 2"):
            await replica.ask("d")
        assert await replica.ask("b") == "b", "who need not wait is let in"
        replica.gate.set()
        assert await asyncio.gather(*asked) == ["c", "c"]

    run(story)
    replica.check()


def test_a_version_that_cannot_be_loaded_is_in_error_until_it_can() -> None:
    replica = Replica()
    replica.broken.add("c")
    face = replica.shelf["c"]

    def stage() -> Stage:
        return replica.cache.lives.of("c@1").stage

    async def story() -> None:
        told = await asyncio.gather(replica.ask("c"), replica.ask("c"), return_exceptions=True)
        assert [type(each) for each in told] == [ModelLoadError] * 2 and replica.loads == ["c"]
        assert stage() is Stage.ERROR and replica.cache.fault(face).startswith("ArtifactCorrupt: ")
        with pytest.raises(ModelLoadError) as refused:
            await replica.ask("c")
        assert replica.loads == ["c"], "it is not tried again at once"
        assert 0 < refused.value.retry_after_s <= RETRY_LOAD_S
        replica.broken.clear()
        replica.clock.advance(RETRY_LOAD_S)
        assert await replica.ask("c") == "c"
        assert stage() is Stage.ACTIVE and replica.cache.fault(face) == ""

    run(story)
    assert replica.count(MODEL_LOADS, outcome="failed") == 1
    replica.check()


def test_a_probe_wakes_nobody_and_makes_nobody_stay() -> None:
    replica = Replica()

    async def story() -> None:
        with replica.cache.look_in(replica.shelf["c"]) as sleeping:
            assert sleeping is None and replica.loads == []
        with replica.cache.look_in(replica.shelf["a"]) as awake:
            assert isinstance(awake, Loaded) and awake.name == "a"
        assert await replica.ask("c") == "c"
        assert replica.cache.sleeps(replica.shelf["a"]), "a was looked at last, and used first"

    run(story)
    replica.check()


def test_a_kind_that_cannot_sleep_stays_and_takes_its_bytes_from_the_others() -> None:
    replica = Replica("a", "b")
    stays = replica.take_in(Loaded("watch", stays=True))
    assert isinstance(stays, Loaded) and not replica.cache.sleeps(stays)

    async def story() -> None:
        async with replica.cache.lease(stays) as awake:
            assert awake is stays
        replica.shelf["c"] = replica.take_in(Loaded("c"))
        assert await replica.ask("c") == "c"

    run(story)
    assert replica.residents.keys == ("c@1",) and replica.residents.total_bytes == 2 * SIZE
    with pytest.raises(ConfigError, match=r"'big@1' does not fit .* got 11 bytes beside 10 bytes of"):
        replica.take_in(Loaded("big"), SIZE + 1)


def test_a_version_that_is_served_no_more_is_refused_and_leaves_nothing_behind() -> None:
    replica = Replica()
    replica.gate.clear()

    async def story() -> None:
        asked = asyncio.create_task(replica.ask("c"))
        await until(lambda: replica.loads)
        for name in "ca":
            replica.cache.remove(replica.shelf[name])
        replica.gate.set()
        with pytest.raises(ModelLoadError, match="served no more"):
            await asked
        with pytest.raises(ModelLoadError, match="served no more"):
            await replica.ask("a")

    run(story)
    assert {servable.name for servable in replica.cache.awake} == {"b"}
    assert replica.residents.keys == ("b@1",)


def test_loads_of_an_event_loop_that_has_ended_are_forgotten() -> None:
    replica = Replica()
    replica.gate.clear()

    async def left() -> None:
        asked = asyncio.create_task(replica.ask("c"))
        await until(lambda: replica.loads)
        asked.cancel()

    async def again() -> None:
        assert await replica.ask("c") == "c"

    run(left)
    replica.gate.set()
    run(again)
    replica.check()


def test_a_node_of_a_sleeping_version_says_that_it_sleeps() -> None:
    face = Sleeping("a")
    nodes: list[Callable[[], Any]] = [
        lambda: face.prepare([]),
        lambda: face.join([]),
        lambda: face.member(0, None),
        lambda: face.combine([]),
        lambda: face.describe([], np.zeros(0)),
    ]
    for node in nodes:
        with pytest.raises(AsleepError, match="a@1 sleeps"):
            node()
