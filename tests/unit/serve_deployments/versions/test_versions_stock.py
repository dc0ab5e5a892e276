"""Versions come and go in a process that answers all the time; what cannot be loaded changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cluster.clock import ManualClock
from cluster.errors import ArtifactCorrupt, TransientError
from cluster.monitoring.metrics import Metrics
from serve_deployments.handlers.forecast import ForecastModel
from serve_deployments.handlers.kinds import load
from serve_deployments.handlers.shelf import Shelf
from serve_deployments.pipelines import Batching, FusedPipeline
from serve_deployments.rollout.board import MAX_SOURCES, SplitBoard
from serve_deployments.rollout.link import Link
from serve_deployments.rollout.traffic import Traffic
from serve_deployments.servable import Servable
from serve_deployments.versions.lives import Lives
from serve_deployments.versions.stock import Stock, key_of


def model(version: str) -> dict[str, Any]:
    return {"name": "nox", "version": version, "uri": "", "kind": "forecast", "metrics": {}}


class Process:
    """A shelf, its lanes and a stock that follows; versions 1 and 2 can be loaded, 9 is corrupt."""

    def __init__(self, folder: Path, *, grace_s: float = 60.0) -> None:
        first = load(folder, kind="forecast", name="nox", version="1", metrics={})
        assert isinstance(first, ForecastModel)
        self._first, self.loaded = first, list[str]()
        self.shelf, self.metrics = Shelf([first], Lives(ManualClock(0.0))), Metrics()
        batching = Batching(target_s=0.05, max_rows=8, max_waiting=16)
        self.lanes = FusedPipeline(self.shelf, ThreadPoolExecutor(1), batching=batching, metrics=self.metrics)
        self.stock = Stock([model("1")], self.shelf, self.lanes, self._load, self.metrics, grace_s=grace_s)

    def _load(self, wanted: Mapping[str, Any]) -> Servable | Exception:
        self.loaded.append(wanted["version"])
        if wanted["version"] == "9":
            return ArtifactCorrupt("state.json has another digest")
        return replace(self._first, version=wanted["version"])

    async def bring(self, *versions: str) -> list[str]:
        self.stock.want([model(version) for version in versions])
        await self.stock.settled()
        return list(self.shelf.versions("nox"))

    async def answers(self, version: str) -> bool:
        servable = self.shelf.pick("nox", version)
        return (await self.lanes.run(servable, servable.probe())).requests == 1


@pytest.fixture
def process(ensemble_folder: Path) -> Process:
    return Process(ensemble_folder)


def test_a_version_comes_becomes_the_default_and_the_old_one_goes(process: Process) -> None:
    async def story() -> None:
        assert await process.bring("1", "2") == ["1", "2"] and process.shelf.pick("nox").version == "1"
        assert await process.answers("2")
        assert await process.bring("2", "1") == ["2", "1"] and process.shelf.pick("nox").version == "2"
        assert await process.bring("2") == ["2"] and await process.answers("2")
        assert process.loaded == ["2"] and process.stock.holds == key_of([model("2")])

    asyncio.run(story())


def test_requests_that_have_picked_a_version_are_answered_after_it_went(process: Process) -> None:
    async def story() -> None:
        await process.bring("1", "2")
        gone = process.shelf.pick("nox", "1")
        await process.bring("2")
        assert (await process.lanes.run(gone, gone.probe())).requests == 1

    asyncio.run(story())


def test_after_the_grace_a_version_that_went_is_forgotten_and_one_that_came_back_is_not(
    ensemble_folder: Path,
) -> None:
    async def story() -> None:
        process = Process(ensemble_folder, grace_s=0.0)
        await process.bring("2")
        await process.bring("1", "2")
        for _ in range(3):
            await asyncio.sleep(0)
        assert await process.answers("1") and await process.answers("2")
        gone = process.shelf.pick("nox", "1")
        await process.bring("2")
        for _ in range(3):
            await asyncio.sleep(0)
        with pytest.raises(KeyError):
            await process.lanes.run(gone, gone.probe())

    asyncio.run(story())


def test_what_cannot_be_loaded_changes_nothing_and_is_told(process: Process) -> None:
    async def story() -> None:
        assert await process.bring("9", "2") == ["1"]
        assert process.stock.fault == "nox 9: ArtifactCorrupt: state.json has another digest"
        assert process.stock.holds == key_of([model("9"), model("2")])
        await process.bring("9", "2")
        assert process.loaded == ["9"], "told again, it is not tried again"
        assert await process.bring("1", "2") == ["1", "2"] and process.stock.fault == ""

    asyncio.run(story())


def test_what_is_wanted_last_is_followed(process: Process) -> None:
    async def story() -> None:
        for versions in (["1", "2"], ["2"], ["2", "1"]):
            process.stock.want([model(version) for version in versions])
        await process.stock.settled()
        assert list(process.shelf.versions("nox")) == ["2", "1"]

    asyncio.run(story())


def test_a_replica_that_starts_anew_answers_with_the_versions_of_now(process: Process) -> None:
    board = SplitBoard()
    board.want([model("2")])

    async def exchange(batch: dict[str, Any]) -> dict[str, Any]:
        board.holds("replica", *batch["holds"])
        return board.exchange("replica", batch["number"], batch["tallies"])

    async def story() -> None:
        link = Link(Traffic(), exchange, 3600.0)
        link.stock = process.stock
        async with link.beside():
            assert [each.version for each in process.shelf] == ["2"]
        assert board.holders(key_of([model("2")])) == (1, [])
        assert board.holders(key_of([model("1")])) == (0, [])

    asyncio.run(story())


def test_without_the_board_it_answers_with_what_it_has(process: Process) -> None:
    async def exchange(batch: dict[str, Any]) -> dict[str, Any]:
        raise TransientError("away")

    async def story() -> None:
        link = Link(Traffic(), exchange, 3600.0)
        link.stock = process.stock
        async with link.beside():
            assert [each.version for each in process.shelf] == ["1"]

    asyncio.run(story())


def test_the_board_remembers_a_bounded_number_of_replicas_and_their_faults() -> None:
    board, key = SplitBoard(), key_of([model("1")])
    for place in range(MAX_SOURCES + 10):
        board.holds(str(place), key, "no room" if place % 2 else "")
    assert board.holders(key) == (MAX_SOURCES, ["no room"])
