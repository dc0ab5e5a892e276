"""Models come and go within a bound of bytes; none that is in use goes."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.errors import ConfigError
from serve_deployments.versions.model_cache import ModelCache, NoRoomError, footprint_bytes
from training.models.ensemble import Ensemble


class Disk:
    """Loads strings; a load waits until the key's gate is open."""

    def __init__(self) -> None:
        self.loaded: list[str] = []
        self.begun: list[str] = []
        self.gates: dict[str, asyncio.Event] = {}

    async def __call__(self, key: str) -> str:
        self.begun.append(key)
        if key in self.gates:
            await self.gates[key].wait()
        self.loaded.append(key)
        return f"model {key}"


def cache(disk: Disk, size: int = 10, max_bytes: int = 30) -> ModelCache[str]:
    return ModelCache(disk, max_bytes=max_bytes, measure=lambda _: size)


async def use(models: ModelCache[str], key: str) -> str:
    async with models.use(key) as model:
        return model


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@given(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=40))
def test_the_least_lately_used_goes_first_and_the_bound_holds(wanted: list[str]) -> None:
    async def scenario() -> None:
        disk, kept, loads = Disk(), list[str](), 0
        models = cache(disk)
        for key in wanted:
            loads += key not in kept
            kept = [*(other for other in kept if other != key), key][-3:]
            assert await use(models, key) == f"model {key}"
            assert models.total_bytes <= 30
            assert all(other in models for other in kept)
        assert models.loads == loads

    asyncio.run(scenario())


def test_simultaneous_wants_cause_one_load_and_different_models_load_beside_each_other() -> None:
    async def scenario() -> None:
        disk = Disk()
        disk.gates = {"slow": asyncio.Event()}
        models = cache(disk)
        slow = [asyncio.create_task(use(models, "slow")) for _ in range(5)]
        await turns()
        assert await use(models, "quick") == "model quick", "it waits for nobody"
        disk.gates["slow"].set()
        assert set(await asyncio.gather(*slow)) == {"model slow"}
        assert disk.begun == ["slow", "quick"]

    asyncio.run(scenario())


def test_what_is_in_use_stays_and_who_finds_no_room_is_told() -> None:
    async def scenario() -> None:
        models = cache(Disk())
        async with AsyncExitStack() as held:
            for key in "abc":
                await held.enter_async_context(models.use(key))
            with pytest.raises(NoRoomError, match="got 30 bytes of models in use, expected 20 or fewer"):
                await use(models, "d")
            assert all(key in models for key in "abc")
        assert await use(models, "d") == "model d"
        assert "a" not in models

    asyncio.run(scenario())


def test_a_model_larger_than_the_bound_is_refused_and_pushes_nothing_out() -> None:
    async def scenario() -> None:
        sizes = {"model small": 5, "model large": 50}
        models = ModelCache(Disk(), max_bytes=30, measure=sizes.__getitem__)
        await use(models, "small")
        with pytest.raises(ConfigError, match="got 50 bytes, expected at most 30"):
            await use(models, "large")
        assert "small" in models

    asyncio.run(scenario())


def test_a_failed_load_leaves_nothing_and_the_next_tries_again() -> None:
    async def scenario() -> None:
        tries = list[str]()

        async def load(key: str) -> str:
            tries.append(key)
            if len(tries) == 1:
                raise OSError("the disk")
            return key

        models = ModelCache(load, max_bytes=10, measure=len)
        with pytest.raises(OSError, match="the disk"):
            await use(models, "a")
        assert await use(models, "a") == "a"

    asyncio.run(scenario())


def test_the_footprint_is_that_of_the_arrays() -> None:
    array = np.zeros(1_000_000)
    assert array.nbytes < footprint_bytes({"weights": array}) < array.nbytes + 1000
    assert footprint_bytes({"a": array, "again": array}) < array.nbytes + 1000, "shared arrays count once"


def test_a_served_ensemble_can_be_measured(ensemble: Ensemble) -> None:
    assert 10_000 < footprint_bytes(ensemble) < 10_000_000
