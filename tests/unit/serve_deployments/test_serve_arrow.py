"""Tables in, tables out: the same forecasts as JSON gives, and bodies that could do harm are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from serve_deployments.handlers.arrow import MEDIA_TYPE
from serve_deployments.ingress import build_api
from serve_deployments.question_routes import FORECAST_PATH
from serve_deployments.schemas import Problem
from serve_deployments.service import Service
from training.core.panel import Panel
from training.models.ensemble import Ensemble

PATH = f"{FORECAST_PATH}?model=nox"
HEADERS = {"content-type": MEDIA_TYPE}


@pytest.fixture
def client(service: Service, connect: Callable[[Any], Any]) -> Any:
    return connect(build_api(service))


@pytest.fixture
def rows(hourly: Panel, ensemble: Ensemble) -> pd.DataFrame:
    return hourly.frame.groupby("series_id", sort=False).tail(ensemble.context + 3).reset_index(drop=True)


def stream(frame: pd.DataFrame, **options: Any) -> bytes:
    table = pa.Table.from_pandas(frame, preserve_index=False)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table, max_chunksize=20)
    return bytes(sink.getvalue())


def test_a_table_is_answered_as_the_same_series_in_json(
    client: Any, rows: pd.DataFrame, good_request: dict[str, Any]
) -> None:
    answer = client.post(PATH, content=stream(rows), headers=HEADERS)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == MEDIA_TYPE
    table = pa.ipc.open_stream(answer.content).read_all()
    found, plain = table.to_pandas(), client.post(FORECAST_PATH, json=good_request).json()
    steps = [(each["series_id"], each["target"], step) for each in plain["forecasts"] for step in each["steps"]]
    assert found["series_id"].tolist() == [series for series, _, _ in steps]
    assert found["target"].tolist() == [target for _, target, _ in steps]
    assert [time.isoformat() for time in found["timestamp"]] == [step["timestamp"] for _, _, step in steps]
    for column, of in (("prediction", "prediction"), ("confidence", "confidence"), ("q0.05", "lower")):
        np.testing.assert_array_equal(found[column], [step[of] for _, _, step in steps])
    assert json.loads(table.schema.metadata[b"model"]) == {"name": "nox", "version": "1.0.0"}
    assert json.loads(table.schema.metadata[b"request_id"]) == answer.headers["x-request-id"]


def test_the_answer_is_what_is_accepted(client: Any, rows: pd.DataFrame, good_request: dict[str, Any]) -> None:
    headers = {**HEADERS, "accept": "application/json"}
    answer = client.post(f"{PATH}&horizon=2&levels=0.1,0.9", content=stream(rows), headers=headers)
    assert [len(each["steps"]) for each in answer.json()["forecasts"]] == [2, 2]
    table = client.post(FORECAST_PATH, json=good_request, headers={"accept": MEDIA_TYPE})
    assert pa.ipc.open_stream(table.content).read_all().num_rows == 12


@pytest.mark.parametrize(
    ("spoil", "status", "field", "words"),
    [
        (lambda frame: frame.drop(columns="AT"), 422, "body", "does not have the model's columns"),
        (lambda frame: frame.assign(AT="warm"), 422, "body", "does not have the model's columns"),
        (lambda frame: frame.assign(NOX=900.0), 422, "body.NOX[0]", "impossible"),
        (lambda frame: frame.drop(index=5), 422, "body.timestamp[5]", "missing"),
        (lambda frame: frame.tail(3), 422, "body.series_id", "too short"),
        (lambda frame: frame.head(0).astype({"series_id": "string"}), 400, "body", "no rows"),
        (lambda frame: frame.assign(wind=1.0), 422, "body.wind", "a column is unknown"),
        (lambda frame: frame.assign(notes=None), 400, "body", "'notes' of type null"),
        (lambda frame: frame.assign(AT=[[1.0]] * len(frame)), 400, "body", "'AT' of type list"),
        (
            lambda frame: frame.assign(timestamp=frame["timestamp"].dt.tz_localize("UTC")),
            400,
            "body",
            "tz=UTC",
        ),
        (lambda frame: frame.assign(series_id=frame["series_id"].astype("category")), 400, "body", "dictionary"),
    ],
)
def test_faults_have_their_place(
    client: Any,
    rows: pd.DataFrame,
    spoil: Callable[[pd.DataFrame], pd.DataFrame],
    status: int,
    field: str,
    words: str,
) -> None:
    answer = client.post(PATH, content=stream(spoil(rows)), headers=HEADERS)
    assert answer.status_code == status, answer.text
    problem = Problem.model_validate_json(answer.content)
    assert problem.errors[0].field == field
    assert words in problem.detail


def test_compressed_tables_are_refused_before_they_are_unpacked(client: Any, rows: pd.DataFrame) -> None:
    answer = client.post(PATH, content=stream(rows, compression="zstd"), headers=HEADERS)
    assert answer.status_code == 400
    assert "a compressed record batch" in answer.json()["detail"]


def test_torn_and_altered_streams_are_problems(client: Any, rows: pd.DataFrame) -> None:
    whole, chance = stream(rows), np.random.default_rng(5)
    for _ in range(150):
        body = bytearray(whole)
        for at in chance.integers(0, len(body), chance.integers(1, 4)):
            body[at] = chance.integers(0, 256)
        cut = bytes(body[: chance.integers(0, len(body))]) if chance.random() < 0.3 else bytes(body)
        answer = client.post(PATH, content=cut, headers=HEADERS)
        assert answer.status_code in {200, 400, 422}, answer.text


def test_a_column_twice_or_in_a_name_that_is_no_text_is_refused(client: Any, rows: pd.DataFrame) -> None:
    table = pa.Table.from_pandas(rows, preserve_index=False)
    sink = pa.BufferOutputStream()
    twice = table.append_column("AT", table["AT"])
    with pa.ipc.new_stream(sink, twice.schema) as writer:
        writer.write_table(twice)
    bodies = {"a column name twice": bytes(sink.getvalue())}
    bodies["utf-8"] = stream(rows).replace(b"NOX", b"\xfdOX")
    for words, body in bodies.items():
        answer = client.post(PATH, content=body, headers=HEADERS)
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "body")
        assert words in answer.json()["detail"]


@pytest.mark.parametrize(
    "query",
    [
        "",
        "model=nox&horizon=0",
        f"model=nox&horizon={'9' * 5000}",
        "model=nox&colour=red",
        "model=nox&levels=a,b",
        "model=nox&levels=nan,0.9",
        "model=nox&levels=0.1,inf",
        "model=nox&horizon=%ff",
    ],
)
def test_a_query_that_asks_for_what_there_is_not(client: Any, rows: pd.DataFrame, query: str) -> None:
    answer = client.post(f"{FORECAST_PATH}?{query}", content=stream(rows), headers=HEADERS)
    problem = Problem.model_validate_json(answer.content)
    assert problem.status == 422
    assert all(fault.field.startswith("query") for fault in problem.errors)


def test_a_query_of_many_parts_is_a_problem(client: Any, rows: pd.DataFrame) -> None:
    answer = client.post(f"{PATH}&{'a=1&' * 50}", content=stream(rows), headers=HEADERS)
    assert Problem.model_validate_json(answer.content).errors[0].field == "query"
