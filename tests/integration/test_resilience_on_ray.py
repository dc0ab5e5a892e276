"""Real replicas under faults: answers kept and thrown away, callers who leave, a spike, a killed replica."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from typer.testing import CliRunner

from apps.cli.main import app
from cluster.lifecycle import Cluster
from cluster.settings import Settings
from serve_deployments.deploy import Served, serve_graph, stop
from serve_deployments.graph import GraphSpec, Scaling, ServedModel
from serve_deployments.question_routes import FORECAST_PATH
from serve_deployments.schemas import ModelStatus, Problem

pytestmark = pytest.mark.ray
DEADLINE_S = 120.0
NOTICED_S = 5.0
"""A process that is killed is known to be gone within so long, be the machine never so slow."""
REPLICAS = 2
HEADERS = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def served(
    ray_cluster: Cluster, ensemble_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("resilience")
    settings = Settings.from_environment({"ML_HOME": str(home), "ML_HTTP_PORT": "0"})
    models = [
        ServedModel(name="nox", version=version, uri=str(ensemble_folder), metrics={"accuracy": 0.9})
        for version in ("2.0.0", "1.0.0")
    ]
    spec = replace(
        GraphSpec.from_settings(settings, models),
        scaling=Scaling(min_replicas=REPLICAS),
        health_check_period_s=30.0,
        # Small, so that a spike of this machine's size meets the bound.
        limits=replace(
            GraphSpec.from_settings(settings, models).limits, max_concurrent_requests=4, max_queued_requests=4
        ),
    )
    made = serve_graph(spec, settings)
    yield made
    stop(made)


def until(condition: Callable[[], Any], what: str) -> Any:
    deadline_s = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline_s:
        if found := condition():
            return found
        time.sleep(0.05)
    pytest.fail(f"not within {DEADLINE_S:g} s: {what}")


def sample(served: Served, name: str, *labels: str) -> float:
    text = httpx.get(f"{served.url}/metrics", timeout=30).text
    lines = [line for line in text.splitlines() if line.startswith((name + "{", name + " "))]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if all(label in line for label in labels))


def body(good: dict[str, Any], number: int) -> bytes:
    """Return a request that no other number's equals."""
    changed = orjson.loads(orjson.dumps(good))
    changed["series"][0]["values"]["AT"][0] += number * 1e-6
    return orjson.dumps(changed)


def test_answers_are_kept_by_each_replica_and_thrown_away_by_all(
    served: Served, good_request: dict[str, Any]
) -> None:
    with httpx.Client(base_url=served.url, timeout=30) as http:
        seen = Counter(http.post(FORECAST_PATH, json=good_request).headers["x-cache"] for _ in range(12))
        assert 1 <= seen["computed"] <= REPLICAS
        assert seen["hit"] == 12 - seen["computed"]
        told = http.post("/api/cache/forget", params={"reason": "drift"})
        assert told.json() == {"replicas": REPLICAS}
        assert http.post(FORECAST_PATH, json=good_request).headers["x-cache"] == "computed"
    said = CliRunner().invoke(app, ["cache", "forget", "features", "--endpoint", served.url])
    assert (said.exit_code, said.output.split()[-1]) == (0, str(REPLICAS)), said.output
    until(lambda: sample(served, "ml_cache_requests_total", 'source="hit"') == seen["hit"], "the hits on /metrics")
    assert sample(served, "ml_cache_hit_ratio") > 0
    counted = partial(sample, served, "ml_cache_invalidations_total")
    until(lambda: counted('reason="drift"') == counted('reason="features"') == REPLICAS, "both reasons on /metrics")


def test_every_version_is_active_after_a_warm_up_at_each_batch_size(served: Served) -> None:
    told = ModelStatus.model_validate_json(httpx.get(f"{served.url}/api/models/nox/status").content)
    assert [version.version for version in told.versions] == ["2.0.0", "1.0.0"]
    for version in told.versions:
        assert [step.stage for step in version.steps] == ["LOAD", "WARM", "ACTIVE"]
        assert version.reason.startswith("warmed up at ")


@dataclass(frozen=True, kw_only=True)
class Told:
    """What came of a request: when it was sent and ended, its status (0: no answer), and why where not 200."""

    sent_s: float
    ended_s: float
    status: int
    reason: str


def reason_of(answer: httpx.Response) -> str:
    """Return why a request was refused: the service's problem document, or Serve's text where that was first."""
    if answer.headers.get("content-type") != "application/problem+json":
        return answer.text
    problem = Problem.model_validate_json(answer.content)
    return f"{problem.type}: {problem.detail}"


async def open_loop(url: str, bodies: Iterator[bytes], rate: float, seconds: float) -> list[Told]:
    """Send at a given rate for a given time, whatever the answers do; return what came of each."""
    limits = httpx.Limits(max_connections=400, max_keepalive_connections=400)
    patience, answers = httpx.Timeout(DEADLINE_S), list[Told]()

    async with httpx.AsyncClient(base_url=url, timeout=patience, limits=limits) as http:

        async def ask() -> None:
            sent_s = time.monotonic()
            try:
                answer = await http.post(FORECAST_PATH, content=next(bodies), headers=HEADERS)
                status, reason = answer.status_code, "" if answer.status_code == 200 else reason_of(answer)
            except httpx.TransportError as error:
                status, reason = 0, repr(error)
            answers.append(Told(sent_s=sent_s, ended_s=time.monotonic(), status=status, reason=reason))

        tasks, start_s = list[asyncio.Task[None]](), time.monotonic()
        for number in range(round(rate * seconds)):
            await asyncio.sleep(max(0.0, start_s + number / rate - time.monotonic()))
            tasks.append(asyncio.create_task(ask()))
        await asyncio.gather(*tasks)
    return answers


def bodies(good: dict[str, Any], start: int) -> Iterator[bytes]:
    number = start
    while True:
        number += 1
        yield body(good, number)


USUAL_RPS = 15.0


def calm(served: Served, contents: Iterator[bytes]) -> bool:
    """Return whether a second of the usual load is answered without an exception."""
    return {told.status for told in asyncio.run(open_loop(served.url, contents, USUAL_RPS, 1.0))} == {200}


def test_a_spike_of_ten_times_is_answered_or_refused_with_a_reason(
    served: Served, good_request: dict[str, Any]
) -> None:
    contents = bodies(good_request, 0)
    until(lambda: calm(served, contents), "the usual load answered, before the spike")
    answers = asyncio.run(open_loop(served.url, contents, 10 * USUAL_RPS, 3.0))
    assert len(answers) == round(10 * USUAL_RPS * 3.0)
    seen = Counter((told.status, told.reason.partition(": ")[0]) for told in answers)
    assert {status for status, _ in seen} <= {200, 503}, seen
    assert all(told.reason for told in answers if told.status == 503), seen
    until(lambda: calm(served, contents), "the usual load answered, after the spike")


def test_a_killed_replica_costs_at_most_what_it_held(
    ray_cluster: Cluster, served: Served, good_request: dict[str, Any]
) -> None:
    from ray.util.state import list_actors

    def pids() -> set[int]:
        actors = list_actors(address=ray_cluster.dashboard_url, filters=[("state", "=", "ALIVE")], detail=True)
        return {
            actor.pid for actor in actors if "ServeReplica" in actor.class_name and "Ingress" in actor.class_name
        }

    before, contents = pids(), bodies(good_request, 10_000)
    assert len(before) == REPLICAS

    async def scenario() -> tuple[list[Told], float]:
        load = asyncio.create_task(open_loop(served.url, contents, 25.0, 5.0))
        await asyncio.sleep(2.0)
        killed_s = time.monotonic()
        os.kill(min(before), signal.SIGKILL)
        return await load, killed_s

    answers, killed_s = asyncio.run(scenario())
    failed = [told for told in answers if told.status not in (200, 503)]
    # What was inside the killed process may have no answer; everybody else has one.
    assert all(told.sent_s < killed_s + NOTICED_S and told.ended_s > killed_s for told in failed), failed
    until(lambda: len(pids() - {min(before)}) == REPLICAS, "a replica in place of the killed one")
    until(lambda: calm(served, contents), "the usual load answered, after the kill")


def heavy(good: dict[str, Any], number: int) -> bytes:
    """Return a request of 1,000 series, some hundred milliseconds of work, that no other number's equals."""
    first = good["series"][0]
    values = {**first["values"], "AT": [first["values"]["AT"][0] + number * 1e-6, *first["values"]["AT"][1:]]}
    series = [{**first, "series_id": f"s{n}", "values": values} for n in range(1000)]
    return orjson.dumps({**good, "version": "1.0.0", "series": series})


def test_when_callers_leave_their_work_leaves_too(served: Served, good_request: dict[str, Any]) -> None:
    """Long requests are cut off by their callers; what was still waiting is never computed.

    Each is more than a batch of its own. No health check comes between, it would be a batch too.
    """

    def batches() -> float:
        return sample(served, "ml_batches_released_total", 'node="nox@1.0.0"')

    before, contents = batches(), [heavy(good_request, number) for number in range(16)]

    async def leave() -> int:
        impatient = httpx.Timeout(30, read=0.03)
        async with httpx.AsyncClient(base_url=served.url, timeout=impatient) as http:
            asked = [http.post(FORECAST_PATH, content=content, headers=HEADERS) for content in contents]
            ended = await asyncio.gather(*asked, return_exceptions=True)
        return sum(isinstance(each, httpx.ReadTimeout) for each in ended)

    left, told = asyncio.run(leave()), sample(served, "ml_predictions_total", 'model_version="1.0.0"')
    assert left >= 8
    after = 2 * REPLICAS
    with httpx.Client(base_url=served.url, timeout=30) as http:
        for number in range(after):
            content = orjson.dumps({**orjson.loads(body(good_request, 50_000 + number)), "version": "1.0.0"})
            assert http.post(FORECAST_PATH, content=content, headers=HEADERS).status_code == 200
    # A replica tells all its counts at once: with these, those of before are there.
    until(
        lambda: sample(served, "ml_predictions_total", 'model_version="1.0.0"') >= told + after,
        "the later requests on /metrics",
    )
    assert batches() - before - after < left
