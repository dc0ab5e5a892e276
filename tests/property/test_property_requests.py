"""Whatever is sent, the answer is a forecast or a problem document that names a field, and the service goes on."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serve_deployments.handlers.forecast import ForecastModel
from serve_deployments.handlers.quick import QuickReader
from serve_deployments.handlers.validate import read_by_table
from serve_deployments.ingress import build_api
from serve_deployments.question_routes import FORECAST_PATH
from serve_deployments.schemas import ForecastResponse, Problem, UnreadableError, read_request
from serve_deployments.service import Service

NUMBERS = st.one_of(
    st.integers(-(10**400), 10**400),
    st.integers(-5, 5),
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([0.0, -0.0, 1e308, -1e308, 5e-324, 2**63, 2**64, 1e16]),
)
LEAVES = st.one_of(st.none(), st.booleans(), NUMBERS, st.text(max_size=30), st.binary(max_size=5).map(repr))
JSON = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=10), inner, max_size=4)),
    max_leaves=12,
)
TIMES = st.one_of(
    st.datetimes().map(lambda time: time.isoformat()),
    st.text(max_size=25),
    st.sampled_from(
        ["", "0000-00-00", "2015-01-28", "20150128T00", "2015-W05-3", "2262-04-12T00:00:00", "now", "NaT"]
    ),
)


def _places(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return every place in a JSON value; of a long list only its first items and its last."""
    found = [here] if here else []
    if isinstance(value, dict):
        for key, item in value.items():
            found += _places(item, (*here, key))
    elif isinstance(value, list) and value:
        for index in sorted({*range(min(3, len(value))), len(value) - 1}):
            found += _places(value[index], (*here, index))
    return found


@st.composite
def mutated(draw: st.DrawFn, good: dict[str, Any]) -> dict[str, Any]:
    """A right request with one to three things replaced, taken away, doubled, swapped or added."""
    body = copy.deepcopy(good)
    for _ in range(draw(st.integers(1, 3))):
        places = _places(body)
        if not places:
            break
        place = draw(st.sampled_from(places))
        holder: Any = body
        for step in place[:-1]:
            holder = holder[step]
        last = place[-1]
        what = draw(st.sampled_from(["replace", "number", "time", "remove", "double", "swap", "add"]))
        if what == "remove":
            del holder[last]
        elif what == "double" and isinstance(holder, list):
            holder.insert(last, copy.deepcopy(holder[last]))
        elif what == "swap" and isinstance(holder, list):
            holder[0], holder[last] = holder[last], holder[0]
        elif what == "add" and isinstance(holder, dict):
            holder[draw(st.text(max_size=8))] = draw(JSON)
        else:
            holder[last] = draw({"number": NUMBERS, "time": TIMES}.get(what, JSON))
    return body


def check(status: int, content: bytes, media_type: str) -> None:
    """Fail unless this is a right forecast or a 4xx problem that names a field."""
    if status == 200:
        answer = ForecastResponse.model_validate_json(content)
        for each in answer.forecasts:
            for step in each.steps:
                assert all(map(math.isfinite, (step.prediction, step.lower, step.upper, step.confidence)))
                assert list(step.quantiles.values()) == sorted(step.quantiles.values())
        return
    assert 400 <= status < 500, content
    assert media_type == "application/problem+json"
    problem = Problem.model_validate_json(content)
    assert problem.status == status
    assert problem.errors, content
    assert all(fault.field and fault.got and fault.expected for fault in problem.errors), content


@pytest.fixture
def send(service: Service, connect: Callable[[Any], Any]) -> Callable[[bytes], None]:
    caller = connect(build_api(service))

    def call(content: bytes) -> None:
        response = caller.post(FORECAST_PATH, content=content, headers={"content-type": "application/json"})
        check(response.status_code, response.content, response.headers["content-type"])

    return call


BOUNDS = settings(
    max_examples=250, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def _answers_still(send: Callable[[bytes], None], good: dict[str, Any]) -> None:
    send(json.dumps(good).encode())


def test_mutated_requests(send: Callable[[bytes], None], good_request: dict[str, Any]) -> None:
    @BOUNDS
    @given(body=mutated(good_request))
    def run(body: dict[str, Any]) -> None:
        send(json.dumps(body).encode())

    run()
    _answers_still(send, good_request)


def test_any_json(send: Callable[[bytes], None], good_request: dict[str, Any]) -> None:
    @BOUNDS
    @given(body=JSON)
    def run(body: Any) -> None:
        send(json.dumps(body).encode())

    run()
    _answers_still(send, good_request)


def test_any_bytes_and_torn_bodies(send: Callable[[bytes], None], good_request: dict[str, Any]) -> None:
    whole = json.dumps(good_request).encode()

    @BOUNDS
    @given(noise=st.binary(max_size=40), at=st.integers(0, len(whole) - 1), keep=st.booleans())
    def run(noise: bytes, at: int, keep: bool) -> None:
        send(whole[:at] + noise + (whole[at + len(noise) :] if keep else b""))

    run()
    _answers_still(send, good_request)


def test_any_values_in_the_schemas_range(send: Callable[[bytes], None], good_request: dict[str, Any]) -> None:
    rows = len(good_request["series"][0]["timestamps"])

    @BOUNDS
    @given(
        nox=st.lists(st.floats(0, 200), min_size=rows, max_size=rows),
        day=st.lists(st.one_of(st.integers(-(2**70), 2**70), st.floats()), min_size=rows, max_size=rows),
        levels=st.lists(st.floats(0, 1), min_size=2, max_size=4),
    )
    def run(nox: list[float], day: list[float], levels: list[float]) -> None:
        body = copy.deepcopy(good_request)
        body["series"][0]["values"] |= {"NOX": nox, "DAY": day}
        send(json.dumps({**body, "levels": levels}).encode())

    run()
    _answers_still(send, good_request)


def test_the_quick_way_reads_what_the_table_reads(service: Service, good_request: dict[str, Any]) -> None:
    model = service.shelf.pick("nox")
    assert isinstance(model, ForecastModel)
    quick, read = QuickReader(model.schema, model.ensemble.context), 0

    @BOUNDS
    @given(body=mutated(good_request))
    def run(body: dict[str, Any]) -> None:
        nonlocal read
        try:
            request = read_request(orjson.loads(orjson.dumps(body)))
        except (UnreadableError, TypeError, ValueError):
            return
        windows = quick.read(request.series)
        if windows is None:
            return
        read += 1
        table = read_by_table(request, model.schema, model.outline)
        assert (windows.series, windows.length, windows.columns) == (table.series, table.length, table.columns)
        for name in ("rows", "times", "segments", "starts"):
            np.testing.assert_array_equal(getattr(windows, name), getattr(table, name))

    run()
    assert read > 10
    assert quick.read(read_request(good_request).series) is not None
