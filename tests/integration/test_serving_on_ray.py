"""The graph on a real Ray Serve: the same answers fused and spread, batches, overload, kills, keys, metrics."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import ray

from apps.client.client import Client
from cluster.actors import detached
from cluster.lifecycle import Cluster
from cluster.security.api_key import ApiKey
from cluster.security.audit_chain import Signer
from cluster.security.audit_check import check_folder
from cluster.security.audit_read import records
from cluster.security.key_file import KeyFile
from cluster.security.leases import chunk_of
from cluster.security.quota import Quota
from cluster.security.roles import Role
from cluster.settings import Placement, Settings
from serve_deployments.deploy import Served, serve_graph, stop
from serve_deployments.graph import GraphSpec, ServedModel
from serve_deployments.guard_spec import GuardSpec
from serve_deployments.question_routes import FORECAST_PATH
from serve_deployments.schemas import ForecastResponse, Problem
from training.core.panel import Panel
from training.models.ensemble import Ensemble

pytestmark = pytest.mark.ray
DEADLINE_S = 60.0


@pytest.fixture(scope="module")
def spec(ensemble_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> GraphSpec:
    home = tmp_path_factory.mktemp("serving")
    # Many tests ask the same again and count what was computed.
    settings = Settings.from_environment(
        {"ML_HOME": str(home), "ML_HTTP_PORT": "0", "ML_PREDICTION_CACHE": "off", "ML_ENABLE_FALLBACK": "false"}
    )
    model = ServedModel(name="nox", version="1.0.0", uri=str(ensemble_folder), metrics={"accuracy": 0.92})
    made = GraphSpec.from_settings(settings, [model])
    return replace(
        made,
        limits=replace(made.limits, max_concurrent_requests=32, max_queued_requests=32),
        health_check_period_s=1.0,
    )


@contextmanager
def serving(spec: GraphSpec) -> Iterator[Served]:
    served = serve_graph(spec, Settings.from_environment({"ML_HTTP_PORT": "0"}))
    try:
        yield served
    finally:
        stop(served)


@pytest.fixture(scope="module", params=["fused", "spread"])
def placement(request: pytest.FixtureRequest) -> Placement:
    chosen: Placement = request.param
    return chosen


@pytest.fixture(scope="module")
def served(ray_cluster: Cluster, spec: GraphSpec, placement: Placement) -> Iterator[Served]:
    with serving(replace(spec, placement=placement)) as made:
        yield made


@pytest.fixture
def http(served: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.url, timeout=30) as client:
        yield client


def until(condition: Callable[[], Any], what: str) -> Any:
    """Return the condition's first true value; fail at the deadline."""
    deadline_s = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline_s:
        if found := condition():
            return found
        time.sleep(0.05)
    pytest.fail(f"not within {DEADLINE_S:g} s: {what}")


def sample(http: httpx.Client, name: str) -> float:
    """Return the sum of a metric's samples on /metrics."""
    text = http.get("/metrics").text
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name + "{"))


def many(url: str, count: int, **more: Any) -> list[httpx.Response]:
    """Send `count` forecasts at once."""
    limits = httpx.Limits(max_connections=count)
    with httpx.Client(base_url=url, timeout=60, limits=limits) as client, ThreadPoolExecutor(count) as pool:
        return list(pool.map(lambda _: client.post(FORECAST_PATH, **more), range(count)))


def replica_pids(cluster: Cluster, deployment: str) -> dict[int, str]:
    """Return pid -> class of the live replicas of the deployments whose name holds `deployment`."""
    from ray.util.state import list_actors

    actors = list_actors(address=cluster.dashboard_url, filters=[("state", "=", "ALIVE")], detail=True, limit=1000)
    return {
        a.pid: a.class_name
        for a in actors
        if a.class_name.startswith("ServeReplica:") and deployment in a.class_name
    }


def test_the_answer_over_http_is_the_ensembles_to_the_last_bit(
    http: httpx.Client, good_request: dict[str, Any], ensemble: Ensemble, hourly: Panel
) -> None:
    response = http.post(FORECAST_PATH, json=good_request, headers={"X-Request-ID": "trace-7"})
    assert response.status_code == 200, response.text
    assert response.headers.get_list("x-request-id") == ["trace-7"]
    answer, expected = ForecastResponse.model_validate_json(response.content), ensemble.forecast(hourly)
    assert answer.request_id == "trace-7"
    for n, each in enumerate(answer.forecasts):
        assert [step.prediction for step in each.steps] == expected.point[n, :, 0].tolist()
        assert [list(step.quantiles.values()) for step in each.steps] == expected.values[n, :, 0].tolist()


def test_it_is_ready_and_tells_what_it_serves(http: httpx.Client, served: Served) -> None:
    assert http.get("/healthz").json() == {"status": "alive"}
    assert http.get("/readyz").json() == {"status": "ready"}
    assert [model["name"] for model in http.get("/api/models").json()["models"]] == ["nox"]
    assert http.get("/api/models/nox/status").json()["versions"][0]["ready"] is True
    assert httpx.get(served.docs_url).status_code == 200
    assert "ml_model_accuracy{" in http.get("/metrics").text


def test_metrics_count_what_was_sent_and_concurrent_requests_share_batches(
    http: httpx.Client, served: Served, good_request: dict[str, Any]
) -> None:
    count = 24
    before, shared = sample(http, "ml_predictions_total"), sample(http, "ml_batch_requests_sum")
    answers = many(served.url, count, json=good_request)
    assert [answer.status_code for answer in answers] == [200] * count
    until(lambda: sample(http, "ml_predictions_total") == before + count, f"{count} more predictions on /metrics")
    assert sample(http, "ml_batch_requests_sum") - shared > count, "no request shared a batch"
    points = {step["prediction"] for answer in answers for step in answer.json()["forecasts"][0]["steps"][:1]}
    assert max(points) - min(points) <= 1e-9 * max(points)


def test_damaged_bodies_are_problems_and_the_service_goes_on(
    http: httpx.Client, good_request: dict[str, Any]
) -> None:
    whole, chance = json.dumps(good_request).encode(), random.Random(11)
    for _ in range(40):
        body = bytearray(whole)
        for _ in range(chance.randint(1, 3)):
            at = chance.randrange(len(body))
            body[at : at + chance.randint(0, 5)] = chance.randbytes(chance.randint(0, 5))
        response = http.post(FORECAST_PATH, content=bytes(body), headers={"content-type": "application/json"})
        assert response.status_code == 200 or 400 <= response.status_code < 500, response.text
        if response.status_code != 200:
            assert response.headers["content-type"] == "application/problem+json"
            assert Problem.model_validate_json(response.content).errors[0].field
    assert http.post(FORECAST_PATH, json=good_request).status_code == 200


def test_a_body_without_a_length_is_cut_off_at_the_limit(http: httpx.Client, good_request: dict[str, Any]) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(80):
            yield b" " * 65_536

    response = http.post(FORECAST_PATH, content=chunks(), headers={"content-type": "application/json"})
    assert response.status_code == 413
    assert Problem.model_validate_json(response.content).errors[0].field == "body"
    assert http.post(FORECAST_PATH, json=good_request).status_code == 200


def test_a_killed_replica_is_replaced_and_no_count_is_lost(
    ray_cluster: Cluster, http: httpx.Client, good_request: dict[str, Any], placement: Placement
) -> None:
    http.post(FORECAST_PATH, json=good_request)
    counted = until(lambda: sample(http, "ml_predictions_total"), "a count")
    victim = "Ingress" if placement == "fused" else "nox.1.0.0.0.ridge"
    (pid,) = replica_pids(ray_cluster, victim)
    os.kill(pid, signal.SIGKILL)
    seen = [_status(http, good_request)]
    until(lambda: set(replica_pids(ray_cluster, victim)) - {pid}, "a new replica")
    until(lambda: _ask_again(http, good_request, seen) == 200, "an answer after the kill")
    if placement == "spread":
        assert set(seen) <= {200, 503}, "a dead member is the ingress's to explain, not a 500"
    assert [_status(http, good_request) for _ in range(5)] == [200] * 5
    assert sample(http, "ml_predictions_total") >= counted


def _ask_again(http: httpx.Client, body: dict[str, Any], seen: list[int]) -> int:
    seen.append(_status(http, body))
    return seen[-1]


def _status(http: httpx.Client, body: dict[str, Any]) -> int:
    return http.post(FORECAST_PATH, json=body).status_code


def test_an_update_loses_no_request(ray_cluster: Cluster, spec: GraphSpec, good_request: dict[str, Any]) -> None:
    with serving(spec) as served, ThreadPoolExecutor(1) as pool:
        enough = threading.Event()

        def ask() -> list[int]:
            with httpx.Client(base_url=served.url, timeout=30) as client:
                return [_status(client, good_request) for _ in iter(enough.is_set, True)]

        asking = pool.submit(ask)
        try:
            newer = replace(spec, models=(replace(spec.models[0], version="2.0.0"),))
            serve_graph(newer, Settings.from_environment({"ML_HTTP_PORT": "0"}))
        finally:
            enough.set()
        statuses = asking.result()
        assert statuses
        assert set(statuses) == {200}
        listed = httpx.get(served.url + "/api/models").json()["models"]
        assert [model["version"] for model in listed] == ["2.0.0"]


def test_a_guarded_graph_under_overload(
    ray_cluster: Cluster, spec: GraphSpec, good_request: dict[str, Any], tmp_path: Path, hourly: Panel
) -> None:
    keys, guard = tmp_path / "keys.json", _guard(tmp_path)
    key = KeyFile(keys).change(lambda book: book.create("test", Role.PREDICTOR, now_s=0))
    tight = replace(spec.limits, max_concurrent_requests=1, max_queued_requests=1, max_body_bytes=8_000_000)
    guarded = replace(spec, limits=tight, keys_file=str(keys), key_required=True, roles_checked=True, guard=guard)
    with serving(guarded) as served:
        refused = httpx.post(served.url + FORECAST_PATH, json=good_request)
        assert (refused.status_code, refused.headers["content-type"]) == (401, "application/problem+json")
        headers = {"Authorization": f"Bearer {key.text}"}
        # All different: equal ones would be computed once.
        bodies = [_heavy(good_request, hourly, number) for number in range(12)]
        kinds = {**headers, "content-type": "application/json"}
        with ThreadPoolExecutor(len(bodies)) as pool:
            asked = pool.map(lambda body: many(served.url, 1, content=body, headers=kinds), bodies)
            answers = [answer for (answer,) in asked]
        seen = {answer.status_code for answer in answers}
        assert seen == {200, 503}, seen
        for answer in answers:
            assert int(answer.headers["ratelimit-remaining"]) < 40
            if answer.status_code == 503:
                assert int(answer.headers["retry-after"]) >= 1
                assert Problem.model_validate_json(answer.content).type.endswith("overloaded")
        with Client(served.url, api_key=key.text) as client:
            assert client.forecast("nox", good_request["series"]).model == "nox"
            assert 'ml_requests_rejected_total{reason="overloaded"}' in client.get("/metrics").text
        with httpx.Client(base_url=served.url, headers=headers, timeout=30) as one_by_one:
            statuses = [one_by_one.post(FORECAST_PATH, json={}).status_code for _ in range(60)]
        assert statuses.count(429) >= 60 - 40 - chunk_of(QUOTA) - 10, statuses
    # Nothing of the application is left in the Ray, its rate limits neither.
    until(
        lambda: not any(f".{spec.application}." in f"{name}." for name in detached.names()), "the end of its actors"
    )
    _check_records(tmp_path, key, requests=1 + 12 + 1 + 60)


QUOTA = Quota(per_minute=6, burst=40)


def _guard(folder: Path) -> GuardSpec:
    return GuardSpec(
        quota=QUOTA, audit_dir=str(folder / "audit"), audit_key_file=str(folder / "audit.key"), log_format="json"
    )


def _check_records(folder: Path, key: ApiKey, *, requests: int) -> None:
    """What the replicas wrote down is whole, complete, and holds no secret; nor does any log of the session."""
    report = check_folder(folder / "audit", Signer.from_file(folder / "audit.key"))
    assert report.whole, report.findings
    told = [each for each in records(folder / "audit") if each["route"] == FORECAST_PATH]
    assert len(told) == requests
    assert {each["status"] for each in told} >= {200, 401, 422, 429, 503}
    assert {each["key"] for each in told} == {"unknown", key.key_id}
    session = Path(ray._private.worker._global_node.get_session_dir_path())
    logs = [path.read_text(errors="replace") for path in session.joinpath("logs").rglob("*") if path.is_file()]
    texts = [*logs, *(path.read_text() for path in folder.joinpath("audit").rglob("*.jsonl"))]
    assert any(f'"key":"{key.key_id}"' in log and '"model":"nox"' in log for log in logs)
    assert not any(key.text[-43:] in text for text in texts)


def _heavy(good: dict[str, Any], hourly: Panel, number: int) -> bytes:
    """Return a request of 100 long series, some hundred milliseconds of work, unlike that of another number."""
    rows = hourly.frame[hourly.frame["series_id"] == "plant-1"]
    series: dict[str, Any] = {
        "timestamps": [time.isoformat() for time in rows["timestamp"]],
        "values": {name: rows[name].round(3).tolist() for name in hourly.schema.names},
    }
    series["values"]["NOX"][-1] += number / 1000
    return json.dumps({**good, "series": [{"series_id": f"s{i}", **series} for i in range(100)]}).encode()
