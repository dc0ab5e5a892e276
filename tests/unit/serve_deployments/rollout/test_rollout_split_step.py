"""The split in the served path: real versions, real requests through the HTTP application, in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cluster.clock import ManualClock
from cluster.errors import DataError, PermanentError, TransientError, UnknownNameError
from cluster.monitoring.metrics import Metrics
from serve_deployments.admission import Limits
from serve_deployments.experiments.assignment import Slot
from serve_deployments.handlers.forecast import ForecastModel
from serve_deployments.handlers.kinds import load
from serve_deployments.handlers.shelf import Shelf
from serve_deployments.ingress import build_api
from serve_deployments.question_routes import FORECAST_PATH
from serve_deployments.rollout.board import SplitBoard
from serve_deployments.rollout.link import Link
from serve_deployments.rollout.split import Split
from serve_deployments.rollout.split_step import SplitStep
from serve_deployments.rollout.tally import OTHERS
from serve_deployments.rollout.traffic import MAX_EXPOSURES, MAX_WITNESSES, Traffic
from serve_deployments.rollout.traits import difference_ratio, segment
from serve_deployments.rollout.truth import ForecastsKept, accuracy_of
from serve_deployments.service import fused_service
from serve_deployments.steps import Answer, Call


class Broken:
    """A step behind the split that makes one version fail."""

    def __init__(self) -> None:
        self.version, self.error = "", PermanentError("broken on purpose")

    async def __call__(self, asked: Call, next: Callable[[Call], Awaitable[Answer]]) -> Answer:  # noqa: A002
        if asked.servable.version == self.version:
            raise self.error
        return await next(asked)


class Bench:
    """A served application with two versions and a split step."""

    def __init__(self, folder: Path, connect: Callable[[Any], Any]) -> None:
        first = load(folder, kind="forecast", name="nox", version="1", metrics={})
        assert isinstance(first, ForecastModel)
        shelf, self.traffic, self.broken = Shelf([first, replace(first, version="2")]), Traffic(), Broken()
        clock = ManualClock(1.7e9)
        step = SplitStep(self.traffic, shelf, clock, timeout_s=30.0)
        service = fused_service(
            shelf,
            limits=Limits(
                max_body_bytes=200_000, request_timeout_s=30, max_concurrent_requests=4, max_queued_requests=4
            ),
            target_s=0.05,
            max_batch_size=8,
            threads=2,
            metrics=Metrics(),
            clock=clock,
            steps=[step, self.broken],
        )
        self.client = connect(build_api(service))

    def split(self, weight: float, **more: Any) -> None:
        fields: dict[str, Any] = {
            "model": "nox", "owner": "r", "revision": 1, "salt": "r", "arms": {"2": weight, "1": 1 - weight}
        }  # fmt: skip
        self.traffic.update([Split(**(fields | more)).to_json()])

    def counts(self) -> Any:
        return self.traffic.batch().tallies[0][2]


@pytest.fixture
def bench(ensemble_folder: Path, connect: Callable[[Any], Any]) -> Bench:
    return Bench(ensemble_folder, connect)


def ask(bench: Bench, request: dict[str, Any], times: int = 1, headers: dict[str, str] | None = None) -> list[str]:
    """Return the versions that answered, or problems' titles."""
    answers = [bench.client.post(FORECAST_PATH, json=request, headers=headers).json() for _ in range(times)]
    return [each["model"]["version"] if "model" in each else each["title"] for each in answers]


def test_without_a_split_the_default_answers_and_nothing_is_counted(
    bench: Bench, good_request: dict[str, Any]
) -> None:
    assert ask(bench, good_request) == ["1"]
    assert bench.traffic.batch().tallies == []


def test_the_split_divides_and_counts_with_quality(bench: Bench, good_request: dict[str, Any]) -> None:
    bench.split(0.5)
    versions = ask(bench, good_request, times=24)
    counts = bench.counts()
    for side, version in (("new", "2"), ("old", "1")):
        assert counts[side]["requests"] == versions.count(version) > 0
        assert sum(counts[side]["durations"]) == sum(counts[side]["widths"]) == versions.count(version)
        assert counts[side]["errors"] == counts[side]["out_of_range"] == 0


def test_testers_and_named_versions_go_where_they_say_and_count_nowhere(
    bench: Bench, good_request: dict[str, Any]
) -> None:
    bench.split(0.0)
    assert ask(bench, good_request, headers={"X-Model-Version": "2"}) == ["2"]
    assert ask(bench, good_request | {"version": "2"}) == ["2"]
    assert bench.client.post(FORECAST_PATH, json=good_request, headers={"X-Model-Version": "9"}).status_code == 404
    assert bench.traffic.batch().tallies == []


def test_a_sticky_series_stays_and_its_failures_count_once(bench: Bench, good_request: dict[str, Any]) -> None:
    bench.split(0.5, unit="series", exposed=True)
    assert len(set(ask(bench, good_request, times=5))) == 1
    batch = bench.traffic.batch()
    assert {each.unit for each in batch.exposures} == {good_request["series"][0]["series_id"]}
    bench.traffic.answered({"splits": []})
    bench.split(1.0, unit="series", revision=2)
    bench.broken.version = "2"
    ask(bench, good_request, times=5)
    assert (bench.counts()["new"]["requests"], bench.counts()["new"]["errors"]) == (5, 1)


def test_a_sticky_series_is_one_witness_of_each_version(bench: Bench, good_request: dict[str, Any]) -> None:
    bench.split(0.0, unit="series")
    ask(bench, good_request, times=5)
    counts = bench.counts()["old"]
    assert (counts["requests"], sum(counts["durations"]), sum(counts["widths"])) == (5, 1, 1)
    bench.split(1.0, unit="series", revision=2)
    bench.traffic.answered({"splits": [each.to_json() for each in bench.traffic.splits("nox")]})
    ask(bench, good_request, times=5)
    assert sum(bench.counts()["new"]["durations"]) == 1


def test_who_falls_to_an_arm_that_was_taken_out_gets_the_default_and_takes_no_part(
    bench: Bench, good_request: dict[str, Any]
) -> None:
    bench.split(1.0, exposed=True, control="1", dropped=("2",))
    assert ask(bench, good_request, times=3) == ["1"] * 3
    batch = bench.traffic.batch()
    assert (batch.tallies, batch.exposures) == ([], [])


def test_a_rollout_divides_what_takes_part_in_no_experiment(bench: Bench, good_request: dict[str, Any]) -> None:
    rollout = Split(model="nox", owner="r", revision=1, salt="r", arms={"2": 1.0, "1": 0.0})
    slot = Slot(low=0.0, high=0.5)
    experiment = Split(model="nox", owner="e", revision=1, salt="e", arms={"1": 1.0}, slot=slot, exposed=True)
    bench.traffic.update([rollout.to_json(), experiment.to_json()])
    versions = ask(bench, good_request, times=20)
    batch = bench.traffic.batch()
    counted = {owner: counts["new"]["requests"] for owner, _, counts in batch.tallies}
    assert counted == {"e": versions.count("1"), "r": versions.count("2")}
    assert len(batch.exposures) == versions.count("1") > 0


def test_a_users_requests_go_the_same_way(bench: Bench, good_request: dict[str, Any]) -> None:
    bench.split(0.5, unit="user")
    for user in ("ann", "bob", "cy"):
        assert len(set(ask(bench, good_request, times=3, headers={"X-User-Id": user}))) == 1


def test_failures_and_refusals_are_counted_apart(bench: Bench, good_request: dict[str, Any]) -> None:
    bench.split(1.0)
    bench.broken.version = "2"
    assert ask(bench, good_request) == ["Trying again does not help; somebody has to look"]
    bench.broken.version = ""
    assert ask(bench, good_request | {"horizon": 999}) != ["2"]
    counts = bench.counts()["new"]
    assert (counts["requests"], counts["errors"], counts["refused"]) == (2, 1, 1)
    assert sum(counts["durations"]) == 0


def test_a_version_that_is_not_there_is_the_default(bench: Bench, good_request: dict[str, Any]) -> None:
    bench.split(0.0, arms={"3": 1.0, "1": 0.0})
    assert ask(bench, good_request) == ["1"]
    assert bench.traffic.batch().tallies == []


def test_the_shadow_answers_behind_the_users_back(bench: Bench, good_request: dict[str, Any]) -> None:
    bench.split(0.0, shadow="2", shadow_ratio=1.0)
    for _ in range(4):
        assert ask(bench, good_request) == ["1"]
        settle(bench)
    ask(bench, good_request | {"horizon": 1})
    settle(bench)
    batch = bench.traffic.batch()
    pairs = batch.tallies[0][2]["pairs"]
    assert pairs["count"] == 5 and pairs["differences"] == [5, 0.0, 0.0]
    assert batch.tallies[0][2]["old"]["requests"] == 0
    assert {case["difference_ratio"] for case in batch.worst["r"]} == {0.0}


def test_a_broken_shadow_harms_nobody_and_is_counted(bench: Bench, good_request: dict[str, Any]) -> None:
    bench.split(0.0, shadow="2", shadow_ratio=1.0)
    bench.broken.version = "2"
    for _ in range(3):
        assert ask(bench, good_request) == ["1"]
        settle(bench)
    assert bench.counts()["pairs"]["new_errors"] == 3


def settle(bench: Bench) -> None:
    """Let background copies finish on the client's event loop."""
    loop = bench.client._runner.get_loop()
    while waiting := [task for task in asyncio.all_tasks(loop) if not task.done()]:
        loop.run_until_complete(asyncio.wait(waiting))


def test_batches_are_sent_again_until_they_are_answered() -> None:
    board, traffic, sent = SplitBoard(), Traffic(), list[int]()
    board.publish(
        "rollouts", [Split(model="nox", owner="r", revision=1, salt="r", arms={"2": 0.0, "1": 1.0}).to_json()]
    )

    async def exchange(batch: dict[str, Any]) -> Any:
        sent.append(batch["number"])
        answer = board.exchange("replica", batch["number"], batch["tallies"])
        if len(sent) == 2:
            raise TransientError("the answer was lost")
        return answer

    async def run() -> None:
        async with Link(traffic, exchange, period_s=1000.0).beside():
            split = traffic.splits("nox")[0]
            traffic.tally(split, "1").answered("new", duration_s=0.1, failed=False)
        traffic.tally(split, "1").answered("new", duration_s=0.1, failed=False)
        await Link(traffic, exchange, period_s=1000.0).once()
        await Link(traffic, exchange, period_s=1000.0).once()

    asyncio.run(run())
    assert sent == [1, 2, 2, 3]
    assert board.counts()[1]["r"]["1"]["new"]["requests"] == 2


def test_a_late_truth_is_joined_once_and_counted(bench: Bench, good_request: dict[str, Any]) -> None:
    bench.split(1.0)
    answer = bench.client.post(FORECAST_PATH, json=good_request).json()
    kept = ForecastsKept()
    kept.keep(bench.traffic.batch().forecasts)
    first = answer["forecasts"][0]
    values = [step["prediction"] * 1.1 for step in first["steps"]]
    truth = {first["series_id"]: {first["target"]: values}}
    accuracy, (owner, revision, counts) = kept.judge(answer["request_id"], truth, enough_ratio=0.95)
    assert accuracy == pytest.approx(1 - 0.1 / 1.1)
    assert (owner, revision, counts["new"]["inaccurate"]) == ("r", "1", 1)
    with pytest.raises(UnknownNameError, match="twice"):
        kept.judge(answer["request_id"], truth, enough_ratio=0.95)


@pytest.mark.parametrize("truth", [{"b": {"x": [1.0]}}, {"a": {"y": [1.0]}}, {"a": {"x": []}}, {"a": {"x": [0.0]}}])
def test_truths_that_fit_no_forecast_are_refused(truth: Any) -> None:
    with pytest.raises(DataError):
        accuracy_of({"a": {"x": [1.0, 2.0]}}, truth)
    assert accuracy_of({"a": {"x": [1.0, 2.0]}}, {"a": {"x": [2.0]}}) == 0.5


def test_memory_is_bounded() -> None:
    traffic = Traffic()
    for place in range(MAX_EXPOSURES + 3):
        traffic.keep_pair("r", {"difference_ratio": place / 1e6, "request_id": str(place)})
        traffic.expose(place)  # type: ignore[arg-type]  # only counted here
    batch = traffic.batch()
    assert (len(batch.exposures), batch.dropped) == (MAX_EXPOSURES, 3)
    assert min(case["difference_ratio"] for case in batch.worst["r"]) > (MAX_EXPOSURES - 20) / 1e6
    split = Split(model="m", owner="r", revision=1, salt="r", arms={"1": 1.0}, unit="user")
    assert traffic.first_failure(split, "ann") and not traffic.first_failure(split, "ann")
    for place in range(MAX_WITNESSES):
        traffic.first_failure(split, str(place))
    assert traffic.first_failure(split, "ann")


def test_segments_are_sites_or_tenths() -> None:
    assert [segment("graz/boiler-1"), segment("graz:2")] == ["graz", "graz"]
    assert {segment(f"plant-{place}") for place in range(500)} == {f"tenth-{place}" for place in range(10)}
    assert difference_ratio(None, None) is None and OTHERS not in segment("a")
