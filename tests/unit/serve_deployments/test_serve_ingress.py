"""The HTTP API in process: answers, problem documents, keys, metrics."""

from __future__ import annotations

import copy
import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from httpx import Response

from cluster.security.access import Access
from cluster.security.key_file import KeyFile
from cluster.security.key_ring import KeyRing
from cluster.security.roles import Role
from serve_deployments.access_step import AccessStep
from serve_deployments.ingress import build_api
from serve_deployments.line import Batched
from serve_deployments.patience import Patience
from serve_deployments.pipelines import Pipeline
from serve_deployments.question_routes import FORECAST_PATH
from serve_deployments.schemas import (
    EXAMPLE_REQUEST,
    MAX_EXPLAINED,
    ForecastRequest,
    ForecastResponse,
    ModelList,
    ModelStatus,
    Problem,
)
from serve_deployments.service import Service
from training.core.panel import Panel
from training.models.ensemble import Ensemble

Connect = Callable[[Any], Any]


@pytest.fixture
def client(service: Service, connect: Connect) -> Any:
    return connect(build_api(service))


def problem(response: Response, status: int) -> Problem:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    found = Problem.model_validate_json(response.content)
    assert found.status == status
    assert found.request_id == response.headers["x-request-id"]
    return found


def changed(request: dict[str, Any], place: tuple[Any, ...], value: Any) -> dict[str, Any]:
    """Return the request with another value at `place`; a missing one where the value is `...`."""
    made = copy.deepcopy(request)
    at = made
    for step in place[:-1]:
        at = at[step]
    if value is ...:
        del at[place[-1]]
    else:
        at[place[-1]] = value
    return made


def test_the_answer_is_what_the_ensemble_says(
    client: Any, good_request: dict[str, Any], ensemble: Ensemble, hourly: Panel
) -> None:
    response = client.post(FORECAST_PATH, json=good_request, headers={"X-Request-ID": "abc-1"})
    assert response.status_code == 200
    answer = ForecastResponse.model_validate_json(response.content)
    expected = ensemble.forecast(hourly)
    assert answer.request_id == response.headers["x-request-id"] == "abc-1"
    assert answer.created_at == "2023-11-14T22:13:20.000+00:00"
    assert answer.interval_level == 0.9
    assert (answer.model.name, answer.model.version) == ("nox", "1.0.0")
    assert [(each.series_id, each.target, each.unit) for each in answer.forecasts] == [
        ("plant-1", "NOX", "mg/m3"),
        ("plant-2", "NOX", "mg/m3"),
    ]
    for n, each in enumerate(answer.forecasts):
        assert [step.prediction for step in each.steps] == expected.point[n, :, 0].tolist()
        assert [list(step.quantiles.values()) for step in each.steps] == expected.values[n, :, 0].tolist()
        assert [step.confidence for step in each.steps] == expected.confidence[n, :, 0].tolist()
        assert [np.datetime64(step.timestamp, "ns") for step in each.steps] == list(expected.timestamps[n])
        assert all(step.lower <= step.prediction <= step.upper for step in each.steps)


def test_horizon_and_levels_are_the_callers_choice(client: Any, good_request: dict[str, Any]) -> None:
    body = {**good_request, "horizon": 2, "levels": [0.1, 0.25, 0.9]}
    answer = ForecastResponse.model_validate_json(client.post(FORECAST_PATH, json=body).content)
    assert [len(each.steps) for each in answer.forecasts] == [2, 2]
    assert list(answer.forecasts[0].steps[0].quantiles) == ["0.1", "0.25", "0.9"]
    assert answer.interval_level == 0.8


def test_more_history_than_needed_changes_nothing(client: Any, good_request: dict[str, Any], hourly: Panel) -> None:
    rows = hourly.frame.groupby("series_id", sort=False).tail(400)
    longer = copy.deepcopy(good_request)
    for series in longer["series"]:
        group = rows[rows["series_id"] == series["series_id"]]
        series["timestamps"] = [time.isoformat() for time in group["timestamp"]]
        series["values"] = {name: group[name].tolist() for name in hourly.schema.names}
    short, long = (client.post(FORECAST_PATH, json=body).json() for body in (good_request, longer))
    assert short["forecasts"] == long["forecasts"]


S = ("series", 1)
FAULTS: dict[str, tuple[tuple[Any, ...], Any, int, str, str]] = {
    "no model": (("model",), ..., 422, "body.model", "this field"),
    "model of a wrong type": (("model",), 7, 422, "body.model", "valid string"),
    "unknown model": (("model",), "nix", 404, "body.model", "nox"),
    "unknown version": (("version",), "9.9.9", 404, "body.version", "1.0.0"),
    "unknown field": (("horizn",), 3, 422, "body.horizn", "no such field"),
    "no series": (("series",), [], 422, "body.series", "at least 1"),
    "horizon of zero": (("horizon",), 0, 422, "body.horizon", "greater than or equal to 1"),
    "horizon as text": (("horizon",), "6", 422, "body.horizon", "valid integer"),
    "horizon too long": (("horizon",), 7, 400, "body.horizon", "1 .. 6"),
    "levels not increasing": (("levels",), [0.9, 0.1], 400, "body.levels", "increasing"),
    "levels out of range": (("levels",), [0.0, 1.0], 400, "body.levels", "between 0 and 1"),
    "one level": (("levels",), [0.5], 422, "body.levels", "at least 2"),
    "wrong type of a value": ((*S, "values", "NOX", 3), "7", 422, "body.series[1].values.NOX[3]", "valid number"),
    "no value": ((*S, "values", "NOX", 3), None, 422, "body.series[1].values.NOX[3]", "valid number"),
    "truth as a value": ((*S, "values", "NOX", 3), True, 422, "body.series[1].values.NOX[3]", "valid number"),
    "impossible value": ((*S, "values", "NOX", 3), 5000, 422, "body.series[1].values.NOX[3]", "0 .. 200 mg/m3"),
    "value below the range": ((*S, "values", "AT", 0), -273.2, 422, "body.series[1].values.AT[0]", "-60 .. 60"),
    "not whole": ((*S, "values", "DAY", 2), 2.5, 422, "body.series[1].values.DAY[2]", "whole number"),
    "missing column": ((*S, "values", "AT"), ..., 422, "body.series[1].values.AT", "deg C"),
    "unknown column": ((*S, "values", "CO"), [1.0], 422, "body.series[1].values.CO", "NOX, AT, DAY"),
    "short column": ((*S, "values", "AT"), [1.0], 422, "body.series[1].values.AT", "one a timestamp"),
    "column of a wrong type": ((*S, "values", "AT"), 1.0, 422, "body.series[1].values.AT", "valid list"),
    "not a time": ((*S, "timestamps", 2), "soon", 422, "body.series[1].timestamps[2]", "ISO 8601"),
    "a time that does not exist": (
        (*S, "timestamps", 2),
        "2015-02-30T00:00:00",
        422,
        "body.series[1].timestamps[2]",
        "ISO 8601",
    ),
    "a time with a zone": (
        (*S, "timestamps", 2),
        "2015-01-28T02:00:00Z",
        422,
        "body.series[1].timestamps[2]",
        "without time zone",
    ),
    "a time beyond the calendar": (
        (*S, "timestamps", 2),
        "9999-01-01T00:00:00",
        422,
        "body.series[1].timestamps[2]",
        "years",
    ),
    "a gap": ((*S, "timestamps", 23), "2015-01-29T05:00:00", 422, "body.series[1].timestamps[23]", "step h"),
    "a doubled series": ((*S, "series_id"), "plant-1", 422, "body.series[1].series_id", "once"),
    "an empty id": ((*S, "series_id"), "", 422, "body.series[1].series_id", "at least 1"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_a_problem_that_names_field_got_and_expected(
    name: str, client: Any, good_request: dict[str, Any]
) -> None:
    place, value, status, field, expected = FAULTS[name]
    found = problem(client.post(FORECAST_PATH, json=changed(good_request, place, value)), status)
    assert found.errors[0].field.startswith(field)
    assert expected in found.errors[0].expected
    assert found.errors[0].got
    assert found.detail
    assert client.post(FORECAST_PATH, json=good_request).status_code == 200


def test_too_little_history_says_how_much_is_needed(client: Any, good_request: dict[str, Any]) -> None:
    series = good_request["series"][1]
    series["timestamps"] = series["timestamps"][-3:]
    series["values"] = {name: numbers[-3:] for name, numbers in series["values"].items()}
    found = problem(client.post(FORECAST_PATH, json=good_request), 422)
    assert found.type == "urn:heliotrope:problem:insufficient-history"
    assert found.errors[0].field == "body.series[1].timestamps"
    assert (found.errors[0].got, found.errors[0].expected) == ("3 rows", "24")


def test_unsorted_rows_are_named(client: Any, good_request: dict[str, Any]) -> None:
    times = good_request["series"][0]["timestamps"]
    times[4], times[5] = times[5], times[4]
    found = problem(client.post(FORECAST_PATH, json=good_request), 422)
    assert found.errors[0].field.startswith("body.series[0].timestamps[")


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"null", 422),
        (b"[]", 422),
        (b'"x"', 422),
        (b"NaN", 400),
        (b"\xff\xfe\x00", 400),
        (b'{"model": "nox", "model": "nox"}', 400),
        (b"[" * 50_000, 400),
    ],
)
def test_a_body_that_is_no_request_is_a_problem(content: bytes, status: int, client: Any) -> None:
    response = client.post(FORECAST_PATH, content=content, headers={"content-type": "application/json"})
    assert problem(response, status).errors[0].field.startswith("body")


def test_nan_in_the_numbers_is_refused_with_its_position(client: Any, good_request: dict[str, Any]) -> None:
    content = json.dumps(changed(good_request, ("series", 0, "values", "NOX", 3), float("nan")))
    found = problem(client.post(FORECAST_PATH, content=content, headers={"content-type": "application/json"}), 400)
    assert "column" in found.errors[0].got


def test_a_body_over_the_limit_is_413_also_without_a_length(client: Any) -> None:
    headers = {"content-type": "application/json"}
    announced = client.post(FORECAST_PATH, content=b" " * 300_000, headers=headers)
    assert problem(announced, 413).errors[0].field == "body"
    read = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal read
        for _ in range(1000):
            read += 1
            yield b" " * 50_000

    assert problem(client.post(FORECAST_PATH, content=chunks(), headers=headers), 413).title
    assert read == 5


@pytest.mark.parametrize("headers", [{}, {"content-type": "text/csv"}])
def test_another_content_type_is_415(headers: dict[str, str], client: Any) -> None:
    found = problem(client.post(FORECAST_PATH, content=b"{}", headers=headers), 415)
    assert found.errors[0].field == "header.content-type"


def test_unknown_paths_and_methods_are_problems(client: Any) -> None:
    assert problem(client.get("/nowhere"), 404).instance == "/nowhere"
    found = problem(client.get(FORECAST_PATH), 405)
    assert "POST" in found.errors[0].expected
    assert problem(client.get("/api/models/nix/status"), 404).errors[0].expected == "one of nox"


def test_a_request_id_that_could_do_harm_is_replaced(client: Any) -> None:
    given = client.get("/healthz", headers={"X-Request-ID": "a\tb" * 100}).headers["x-request-id"]
    assert len(given) == 32


class Broken(Pipeline):
    async def run(self, servable: Any, job: Any) -> Any:
        raise RuntimeError("secret path /srv/models")


def test_an_unexpected_fault_is_500_without_internals(
    connect: Connect, service: Service, good_request: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    service._pipeline = Broken()
    client = connect(build_api(service))
    response = client.post(FORECAST_PATH, json=good_request)
    found = problem(response, 500)
    assert "secret" not in response.text
    assert found.request_id in caplog.text
    assert "secret path" in caplog.text
    assert problem(client.get("/readyz"), 503).type.endswith("not-ready")
    assert client.get("/healthz").status_code == 200
    assert client.get("/api/models/nox/status").json()["versions"][0]["ready"] is False


def test_readiness_models_and_status(client: Any, good_request: dict[str, Any]) -> None:
    assert client.get("/healthz").json() == {"status": "alive"}
    assert client.get("/readyz").json() == {"status": "ready"}
    listed = ModelList.model_validate_json(client.get("/api/models").content).models
    assert [(each.name, each.version, each.default, each.horizon, each.context) for each in listed] == [
        ("nox", "1.0.0", True, 6, 24)
    ]
    assert (listed[0].columns[0].unit, listed[0].columns[0].high) == ("mg/m3", 200)
    assert listed[0].metrics["accuracy"] == 0.92
    assert listed[0].members == ["ridge", "seasonal_naive", "xgboost"]
    client.post(FORECAST_PATH, json=good_request)
    status = client.get("/api/models/nox/status").json()
    (version,) = ModelStatus.model_validate(status).versions
    assert (version.version, version.ready, version.detail, version.predictions) == ("1.0.0", True, "answers", 1)
    assert (version.stage, [step.stage for step in version.steps]) == ("ACTIVE", ["LOAD", "WARM", "ACTIVE"])


def test_metrics_count_answers_and_refusals(client: Any, good_request: dict[str, Any]) -> None:
    for _ in range(3):
        client.post(FORECAST_PATH, json=good_request)
    client.post(FORECAST_PATH, json={})
    client.get("/any/thing")
    text = client.get("/metrics").text
    labels = '{model_name="nox",model_version="1.0.0"}'
    assert f"ml_predictions_total{labels} 3.0" in text
    assert f"ml_model_accuracy{labels} 0.92" in text
    assert 'ml_requests_rejected_total{reason="unreadable-request"} 1.0' in text
    assert 'ml_requests_rejected_total{reason="not-found"} 1.0' in text
    assert 'ml_requests_total{method="GET",route="unknown",status="404"} 1.0' in text


def test_keys_and_roles(connect: Connect, service: Service, good_request: dict[str, Any], tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "keys.json")
    reader = file.change(lambda book: book.create("dashboard", Role.VIEWER, now_s=0)).text
    caller = file.change(lambda book: book.create("app", Role.PREDICTOR, now_s=0)).text
    access = Access(keys=KeyRing(file), required=True, roles=True)
    client = connect(build_api(service, door=[AccessStep(access)]))

    def post(**headers: str) -> Response:
        response: Response = client.post(FORECAST_PATH, json=good_request, headers=headers)
        return response

    missing = post()
    assert problem(missing, 401).errors[0].got == "no key"
    assert missing.headers["www-authenticate"] == "Bearer"
    assert problem(post(**{"X-API-Key": "wrong"}), 401).errors[0].got == "a text that is no key"
    assert problem(post(**{"X-API-Key": reader}), 403).errors[0].expected == "predictor"
    assert post(Authorization=f"Bearer {caller}").status_code == 200
    assert post(**{"X-API-Key": caller}).status_code == 200
    assert problem(client.get("/metrics"), 401)
    assert client.get("/metrics", headers={"X-API-Key": reader}).status_code == 200
    assert client.get("/healthz").status_code == 200
    assert client.get("/readyz").status_code == 200


def test_without_required_keys_anonymous_may_come_in_but_a_wrong_key_may_not(
    connect: Connect, service: Service, good_request: dict[str, Any], tmp_path: Path
) -> None:
    file = KeyFile(tmp_path / "keys.json")
    file.change(lambda book: book.create("app", Role.PREDICTOR, now_s=0))
    client = connect(build_api(service, door=[AccessStep(Access(keys=KeyRing(file)))]))
    assert client.post(FORECAST_PATH, json=good_request).status_code == 200
    wrong = client.post(FORECAST_PATH, json=good_request, headers={"X-API-Key": "wrong"})
    assert problem(wrong, 401)


def test_openapi_describes_the_request_and_its_example_is_valid(client: Any) -> None:
    document = client.get("/openapi.json").json()
    body = document["paths"][FORECAST_PATH]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body == {"$ref": "#/components/schemas/ForecastRequest"}
    schemas = document["components"]["schemas"]
    assert {"ForecastRequest", "Series", "ForecastResponse", "Problem", "FieldFault"} <= set(schemas)
    references = set(_references(document))
    assert references <= {f"#/components/schemas/{name}" for name in schemas}
    assert ForecastRequest.model_validate(EXAMPLE_REQUEST)
    assert client.get("/docs").status_code == 200


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)


def test_a_forecast_that_is_not_finite_is_the_request_s_fault_and_names_the_series(
    service: Service, connect: Connect, good_request: dict[str, Any]
) -> None:
    class Overflowing(Pipeline):
        async def run(self, servable: Any, job: Any) -> Batched[Any]:
            (result,) = servable.describe([job], np.array([[[1.0]] * 6, [[np.inf]] * 6]))
            raise result

    service._pipeline = Overflowing()
    found = problem(connect(build_api(service)).post(FORECAST_PATH, json=good_request), 422)
    assert found.errors[0].field == "body.series[1].values"
    assert found.errors[0].got == "a forecast that is not finite"


def test_a_slow_forecast_is_given_up_with_retry_after(
    connect: Connect, service: Service, good_request: dict[str, Any]
) -> None:
    class Slow(Pipeline):
        async def run(self, servable: Any, job: Any) -> Any:
            import asyncio

            await asyncio.Event().wait()

    service._pipeline = Slow()
    service._patience = Patience(0.05)
    client = connect(build_api(service))
    response = client.post(FORECAST_PATH, json=good_request)
    assert problem(response, 503).type.endswith("too-slow")
    assert response.headers["retry-after"] == "1"


def test_a_forecast_is_explained_where_asked(
    client: Any, good_request: dict[str, Any], hourly: Panel, ensemble: Ensemble
) -> None:
    rows = hourly.frame.groupby("series_id", sort=False).tail(ensemble.context + 40)
    for series in good_request["series"]:
        group = rows[rows["series_id"] == series["series_id"]]
        series["timestamps"] = [time.isoformat() for time in group["timestamp"]]
        series["values"] = {name: group[name].tolist() for name in hourly.schema.names}
    plain = client.post(FORECAST_PATH, json=good_request).json()
    answer = client.post(FORECAST_PATH, json={**good_request, "explain": True})
    told = ForecastResponse.model_validate_json(answer.content)
    assert answer.json()["forecasts"] == plain["forecasts"]
    assert "explanation" not in plain
    assert told.explanation is not None
    assert {factor.series_id for factor in told.explanation} == {"plant-1", "plant-2"}
    sizes = [abs(factor.contribution) for factor in told.explanation if factor.series_id == "plant-1"]
    assert sizes == sorted(sizes, reverse=True)
    assert "NOX history" in {factor.driver for factor in told.explanation}


def test_too_many_series_are_not_explained(client: Any, good_request: dict[str, Any]) -> None:
    one = good_request["series"][0]
    many = [{**one, "series_id": f"plant-{n}"} for n in range(MAX_EXPLAINED + 1)]
    found = problem(client.post(FORECAST_PATH, json={**good_request, "series": many, "explain": True}), 400)
    assert found.errors[0].field == "body.explain"
