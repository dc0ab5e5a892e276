"""Both clients: the same surface, the same retries, the same errors; answers come from the real wire format."""

from __future__ import annotations

import asyncio
import inspect
import random
from collections.abc import Callable, Sequence
from typing import Any

import httpx
import numpy as np
import orjson
import pandas as pd
import pyarrow as pa
import pytest

from apps.client.async_client import AsyncClient
from apps.client.calls import PART_ROWS, Ask, Wait, answered, series_of
from apps.client.client import Client
from apps.client.connection import Connection
from apps.client.intake import Intake, UnboundedAnswerError
from apps.client.results import ForecastResult, ServedInfo
from apps.client.retry import Retries, RetryBudget, RetryPolicy
from cluster.errors import (
    ConfigError,
    DataError,
    ForbiddenError,
    GateRefused,
    HeliotropeError,
    InsufficientHistoryError,
    PermanentError,
    RateLimitedError,
    TransientError,
    UnknownNameError,
    UserError,
)
from serve_deployments.ingress import build_api
from serve_deployments.service import Service
from training.core.panel import Panel
from training.data.bundled import load_sample
from training.models.ensemble import Ensemble

Respond = Callable[[httpx.Request], httpx.Response]
ANSWER = {
    "request_id": "r1",
    "model": {"name": "nox", "version": "1.0.0"},
    "created_at": "2026-01-01T00:00:00.000+00:00",
    "interval_level": 0.9,
    "forecasts": [
        {
            "series_id": "plant-1",
            "target": "NOX",
            "unit": "mg/m3",
            "steps": [
                {
                    "timestamp": "2015-01-01T00:00:00",
                    "prediction": 60.0,
                    "lower": 55.0,
                    "upper": 66.0,
                    "confidence": 0.8,
                    "quantiles": {"0.05": 55.0, "0.95": 66.0},
                    "added_later": 1,
                }
            ],
        }
    ],
}
INFO = {
    "name": "m",
    "version": "1.0.0",
    "frequency": "h",
    "targets": ["y"],
    "context": 3,
    "horizon": 2,
    "columns": [
        {"name": "x", "unit": "m", "kind": "float", "low": 0, "high": None},
        {"name": "y", "unit": "kg", "kind": "float", "low": None, "high": None},
    ],
}


class Server:
    """Answers one after the other, the last one for ever, and keeps what was asked."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self._answers = answers
        self.asked: list[httpx.Request] = []
        self.slept: list[float] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        answer = self._answers[min(len(self.asked), len(self._answers) - 1)]
        self.asked.append(request)
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer.status_code, content=answer.content, headers=answer.headers)

    def client(self, **more: Any) -> Client:
        return Client("http://test", transport=httpx.MockTransport(self), sleep=self.slept.append, **more)

    def async_client(self, **more: Any) -> AsyncClient:
        async def sleep(seconds: float) -> None:
            self.slept.append(seconds)

        return AsyncClient("http://test", transport=httpx.MockTransport(self), sleep=sleep, **more)


def refusal(status: int, slug: str = "", **headers: str) -> httpx.Response:
    body = {"title": "No", "detail": "because", "type": f"urn:heliotrope:problem:{slug}"}
    return httpx.Response(
        status, json=body, headers={name.replace("_", "-"): text for name, text in headers.items()}
    )


def test_the_surface_is_small_and_both_clients_have_the_same() -> None:
    def surface(kind: type[Any]) -> dict[str, Any]:
        return {name: value for name, value in vars(kind).items() if not name.startswith("_")}

    blocking, awaited = surface(Client), surface(AsyncClient)
    assert (
        list(blocking)
        == list(awaited)
        == [
            "close",
            "get",
            "post",
            "models",
            "model",
            "forecast",
            "forecast_table",
            "predict",
        ]
    )
    for name, method in blocking.items():
        assert inspect.signature(method) == inspect.signature(awaited[name]), name
    ours, theirs = inspect.signature(Client).parameters, inspect.signature(AsyncClient).parameters
    assert list(ours) == list(theirs)
    assert list(ours) == ["endpoint", "api_key", "timeout_s", "ca_file", "retry", "transport", "sleep"]


def test_a_forecast_is_typed_and_keeps_what_is_new() -> None:
    server = Server(httpx.Response(200, json=ANSWER))
    with server.client(api_key="hel_x") as client:
        result = client.forecast("nox", [{"series_id": "plant-1"}], horizon=1, levels=(0.05, 0.95))
    step = result.forecasts[0].steps[0]
    assert (result.model, result.version, result.interval_level) == ("nox", "1.0.0", 0.9)
    assert (step.prediction, step.quantiles["0.95"]) == (60.0, 66.0)
    assert result.raw["forecasts"][0]["steps"][0]["added_later"] == 1
    row = result.to_frame().to_dict("records")[0]
    assert (row["series_id"], row["unit"], row["upper"]) == ("plant-1", "mg/m3", 66.0)
    assert server.asked[0].headers["authorization"] == "Bearer hel_x"
    assert b'"version"' not in server.asked[0].content


def test_the_awaited_client_does_the_same() -> None:
    server = Server(refusal(503), httpx.Response(200, json=ANSWER), httpx.Response(200, json={"models": [INFO]}))

    async def ask() -> tuple[ForecastResult, ServedInfo]:
        async with server.async_client() as client:
            return await client.forecast("nox", []), await client.model("m")

    result, info = asyncio.run(ask())
    assert result == ForecastResult.from_json(ANSWER)
    assert info.horizon == 2
    assert len(server.slept) == 1


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (refusal(404), UnknownNameError),
        (refusal(422), UserError),
        (refusal(422, "insufficient-history"), InsufficientHistoryError),
        (refusal(403, "forbidden"), ForbiddenError),
        (refusal(409, "gate-refused"), GateRefused),
        (refusal(429, "rate-limited"), RateLimitedError),
        (refusal(503, "overloaded"), TransientError),
        (refusal(500, "internal"), PermanentError),
        (refusal(418, "any"), UserError),
        (httpx.Response(502, text="<html>Bad Gateway</html>"), TransientError),
        (httpx.Response(500, headers={"content-type": "application/json"}, content=b"{"), PermanentError),
    ],
)
def test_problem_documents_become_the_errors_they_were(answer: httpx.Response, kind: type[HeliotropeError]) -> None:
    with pytest.raises(kind) as caught:
        Server(answer).client(retry=RetryPolicy(attempts=1)).get("/x")
    assert str(answer.status_code) in caught.value.message


def test_an_error_keeps_the_document_the_request_and_the_time_to_wait() -> None:
    answer = refusal(429, "rate-limited", Retry_After="7", X_Request_ID="r9")
    with pytest.raises(RateLimitedError, match="because") as caught:
        Server(answer).client(retry=RetryPolicy(attempts=1)).get("/x")
    assert (caught.value.retry_after_s, caught.value.context["request_id"]) == (7, "r9")
    assert caught.value.context["problem"]["title"] == "No"


def test_nobody_listening_is_transient_after_a_few_tries() -> None:
    server = Server(httpx.ConnectError("refused"))
    with pytest.raises(TransientError, match="does not answer"):
        server.client().get("/healthz")
    assert len(server.asked) == RetryPolicy().attempts


@pytest.mark.parametrize(
    "fault",
    [
        refusal(429),
        refusal(502),
        refusal(503),
        refusal(504),
        httpx.ConnectError("x"),
        httpx.ReadError("x"),
        httpx.RemoteProtocolError("Server disconnected without sending a response."),
    ],
)
def test_what_may_pass_is_asked_again(fault: httpx.Response | Exception) -> None:
    server = Server(fault, fault, httpx.Response(200, json=ANSWER))
    assert server.client().forecast("nox", []).model == "nox"
    assert len(server.asked) == 3
    assert all(0 <= wait_s <= most_s for wait_s, most_s in zip(server.slept, (0.1, 0.2), strict=True))


@pytest.mark.parametrize("fault", [refusal(500), refusal(422), refusal(401), httpx.ReadTimeout("x")])
def test_what_stays_or_may_still_be_worked_on_is_not(fault: httpx.Response | Exception) -> None:
    server = Server(fault)
    with pytest.raises(HeliotropeError):
        server.client().forecast("nox", [])
    assert (len(server.asked), server.slept) == (1, [])


def outcomes(ask: Ask, faults: Sequence[httpx.Response | httpx.TransportError]) -> int:
    """Return how many requests a call makes that meets these faults."""
    call, asked = answered(ask, Retries(RetryPolicy()), "http://test"), 0
    wanted = next(call)
    with pytest.raises(HeliotropeError):
        while True:
            if isinstance(wanted, Wait):
                wanted = call.send(None)
            else:
                asked += 1
                wanted = call.send(faults[min(asked, len(faults)) - 1])
    return asked


def test_what_changes_something_is_repeated_only_where_it_never_arrived() -> None:
    act = Ask(method="POST", path="/act", repeatable=False)
    assert outcomes(act, [refusal(503)]) == 1
    assert outcomes(act, [httpx.ReadError("x")]) == 1
    assert outcomes(act, [httpx.ConnectError("x"), refusal(503)]) == 2


def test_a_retry_after_is_waited_for_or_handed_on_at_once() -> None:
    server = Server(refusal(429, "rate-limited", Retry_After="3"), httpx.Response(200, json=ANSWER))
    server.client().forecast("nox", [])
    assert 3 <= server.slept[0] <= 3.1
    server = Server(refusal(429, "rate-limited", Retry_After="3600"))
    with pytest.raises(RateLimitedError) as caught:
        server.client().get("/x")
    assert (server.slept, caught.value.retry_after_s) == ([], 3600)


def test_a_service_that_is_ill_gets_few_more_requests() -> None:
    server = Server(refusal(503))
    client = server.client()
    for _ in range(100):
        with pytest.raises(TransientError):
            client.get("/x")
    assert len(server.asked) <= 100 + 10 + 0.1 * 100


def test_waits_grow_are_bounded_and_differ() -> None:
    policy = RetryPolicy(attempts=20, first_s=1, factor=2, most_s=10, patience_s=1000)
    longest = [policy.delay_s(tries, refusal(503), 0, 1.0) for tries in range(1, 7)]
    assert longest == [1, 2, 4, 8, 10, 10]
    dice = random.Random(7)
    drawn = [policy.delay_s(4, refusal(503), 0, dice.random()) or 0 for _ in range(50)]
    assert 0 <= min(drawn) < 2 < 6 < max(drawn) <= 8
    assert policy.delay_s(20, refusal(503), 0, 0.5) is None
    assert policy.delay_s(1, refusal(503), 999.9, 0.5) is None


def test_a_budget_earns_and_spends() -> None:
    budget = RetryBudget(ratio=0.5, most=1)
    assert [budget.spend(), budget.spend()] == [True, False]
    budget.earn()
    assert not budget.spend()
    budget.earn()
    budget.earn()
    assert [budget.spend(), budget.spend()] == [True, False]


@pytest.mark.parametrize(
    "wrong",
    [
        {"endpoint": "localhost:8000"},
        {"endpoint": "http://"},
        {"endpoint": "http://x", "api_key": "hel_\u0436"},
        {"endpoint": "http://x", "api_key": "hel_a\r\nx: y"},
        {"endpoint": "http://x", "api_key": ""},
    ],
)
def test_a_connection_that_cannot_be_is_refused_before_anything_is_sent(wrong: dict[str, str]) -> None:
    with pytest.raises(ConfigError) as caught:
        Connection(**wrong)  # type: ignore[arg-type]
    assert "hel_" not in caught.value.message


def test_neither_a_connection_nor_an_error_shows_the_key() -> None:
    assert "secret" not in repr(Connection(endpoint="http://x", api_key="secret"))
    with pytest.raises(TransientError) as caught:
        Server(httpx.ConnectError("refused")).client(api_key="secret").get("/x")
    assert "secret" not in f"{caught.value!r} {caught.value.context}"


@pytest.mark.parametrize("wrong", [{"attempts": 0}, {"first_s": -1}, {"factor": 0.5}, {"patience_s": -1}])
def test_a_policy_has_sense(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="at least one attempt"):
        RetryPolicy(**wrong)


def test_an_unknown_model_names_the_served_ones() -> None:
    server = Server(httpx.Response(200, json={"models": [INFO]}))
    with pytest.raises(UnknownNameError, match=r"m 1\.0\.0"):
        server.client().model("n")


def test_series_travel_column_by_column() -> None:
    panel = load_sample("gas_turbine")
    sent = series_of(Panel(panel.frame.head(3), panel.schema))
    assert len(sent) == 1
    assert sent[0]["timestamps"][0] == "2011-01-01T00:00:00"
    assert set(sent[0]["values"]) == set(panel.schema.names)


def test_served_info_rebuilds_the_schema() -> None:
    served = ServedInfo.from_json(INFO)
    assert served.schema.target_names == ("y",)
    assert served.schema.names == ("y", "x")


ROWS_INFO = {
    "name": "goods",
    "version": "2.0.0",
    "kind": "predict",
    "frequency": "",
    "targets": ["cost"],
    "context": 1,
    "horizon": 0,
    "columns": [{"name": "size", "unit": "1", "kind": "number", "low": None, "high": None}],
}


def priced(count: int, version: str = "2.0.0") -> httpx.Response:
    row = {"prediction": 1.5, "lower": 1.0, "upper": 2.0, "probabilities": None}
    about = {"request_id": "r", "model": {"name": "goods", "version": version}, "target": "cost"}
    return httpx.Response(200, json={**about, "task": "regression", "predictions": [row] * count})


def test_a_model_of_rows_stands_beside_forecasters() -> None:
    infos = Server(httpx.Response(200, json={"models": [ROWS_INFO, INFO]})).client().models()
    assert [info.kind for info in infos] == ["predict", "forecast"]
    assert infos[1].schema.target_names == ("y",)
    with pytest.raises(UserError, match=r"Client\.predict"):
        _ = infos[0].schema


def test_many_rows_are_asked_in_parts_of_one_version() -> None:
    server = Server(priced(PART_ROWS), priced(1))
    rows = pd.DataFrame({"size": [0.5] * PART_ROWS + [np.nan], "built": pd.Timestamp("2020-02-01")})
    found = server.client().predict("goods", rows)
    bodies = [orjson.loads(request.content) for request in server.asked]
    assert [len(body["rows"]) for body in bodies] == [PART_ROWS, 1]
    assert [body.get("version") for body in bodies] == [None, "2.0.0"]
    assert bodies[1]["rows"] == [{"size": None, "built": "2020-02-01 00:00:00"}]
    assert list(found.to_frame()) == ["cost", "lower", "upper"]
    assert len(found.predictions) == PART_ROWS + 1


def test_classes_have_their_probabilities() -> None:
    row = {"prediction": "red", "lower": None, "upper": None, "probabilities": {"red": 0.75, "blue": 0.25}}
    about = {"request_id": "r", "model": {"name": "m", "version": "1.0.0"}, "target": "colour"}
    server = Server(httpx.Response(200, json={**about, "task": "classification", "predictions": [row]}))
    frame = server.client().predict("m", [{"size": 1}]).to_frame()
    assert frame.to_dict(orient="records") == [{"colour": "red", "p(red)": 0.75, "p(blue)": 0.25}]


@pytest.mark.parametrize(
    "rubbish",
    [
        httpx.Response(200, text="<html>hello</html>"),
        httpx.Response(200, content=b""),
        httpx.Response(200, json=[]),
        httpx.Response(200, json={"models": [{"name": 1}], "forecasts": None}),
        httpx.Response(200, content=b'{"models": NaN'),
        httpx.Response(200, json={"models": 3, "model": {}, "predictions": [{}]}),
        httpx.Response(204),
    ],
)
def test_what_is_no_answer_says_what_was_got(rubbish: httpx.Response) -> None:
    calls: tuple[Callable[[Client], object], ...] = (
        Client.models,
        lambda client: client.forecast("m", []),
        lambda client: client.predict("m", []),
        lambda client: client.forecast_table("m", pa.table({"a": [1]})),
    )
    for call in calls:
        with pytest.raises(PermanentError, match=r"answered 20[04] with what cannot be read"):
            call(Server(rubbish).client())


def test_an_answer_that_cannot_be_unpacked_is_an_error_of_ours() -> None:
    def respond(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=b"no gzip", headers={"content-encoding": "gzip"})

    with pytest.raises(HeliotropeError, match="does not answer"):
        Client("http://test", transport=httpx.MockTransport(respond)).get("/")


def test_an_answer_without_an_end_is_left() -> None:
    times = iter([0.0, 1.0, 9.0, 11.0])
    slow = Intake(httpx.Response(200), most_s=10, now_s=lambda: next(times))
    slow.take(b"a")
    slow.take(b"b")
    with pytest.raises(UnboundedAnswerError, match="within 10 s"):
        slow.take(b"c")
    long = Intake(httpx.Response(200), most_s=10, most_bytes=3)
    long.take(b"abc")
    with pytest.raises(UnboundedAnswerError, match="more than 3 bytes"):
        long.take(b"d")


def test_tables_travel_both_ways_and_give_the_same_forecast(
    service: Service, hourly: Panel, ensemble: Ensemble
) -> None:
    rows = hourly.frame.groupby("series_id", sort=False).tail(ensemble.context)
    history = Panel(rows.reset_index(drop=True), hourly.schema)

    async def ask() -> tuple[ForecastResult, Any]:
        transport = httpx.ASGITransport(app=build_api(service))
        async with AsyncClient("http://test", transport=transport) as client:
            told = await client.forecast("nox", history, horizon=2)
            return told, await client.forecast_table(
                "nox", history, version="1.0.0", horizon=2, levels=(0.05, 0.95)
            )

    told, table = asyncio.run(ask())
    frame = told.to_frame()
    assert table.num_rows == len(frame) == 4
    assert table.column("prediction").to_pylist() == frame["prediction"].tolist()
    assert table.column("series_id").to_pylist() == frame["series_id"].tolist()


def test_a_body_is_written_with_numpy_and_what_cannot_be_is_refused() -> None:
    wanted = Ask(method="POST", path="/", json={"a": np.float64(1.5), "b": np.array([1, 2]), "c": float("nan")})
    assert wanted.options()["content"] == b'{"a":1.5,"b":[1,2],"c":null}'
    with pytest.raises(DataError, match="cannot be written as JSON"):
        Ask(method="POST", path="/", json={"a": object()}).options()


AHEAD_INFO = {**INFO, "name": "nox", "targets": ["NOX"], "known": ["AT"], "context": 24, "horizon": 6}


@pytest.fixture
def parted(hourly: Panel) -> tuple[Panel, pd.DataFrame]:
    """History and future of two series, the future with more than is asked for and in another order."""
    times = np.sort(hourly.frame["timestamp"].unique())
    future = hourly.frame[hourly.frame["timestamp"] >= times[-8]]
    return hourly.before(times[-8]), future.sample(frac=1.0, random_state=3)


def test_what_is_known_ahead_goes_with_its_series(parted: tuple[Panel, pd.DataFrame]) -> None:
    history, future = parted
    server = Server(httpx.Response(200, json={"models": [AHEAD_INFO]}), httpx.Response(200, json=ANSWER))
    server.client().forecast("nox", history, future=future)
    sent = {each["series_id"]: each["future"] for each in orjson.loads(server.asked[-1].content)["series"]}
    for series, rows in future.sort_values("timestamp").groupby("series_id"):
        assert sent[series] == {"AT": rows["AT"].head(6).tolist()}


def test_a_future_that_does_not_fit_is_refused_before_it_is_sent(parted: tuple[Panel, pd.DataFrame]) -> None:
    history, future = parted
    later = future[future["timestamp"] > future["timestamp"].min()]
    for info, asked, ahead, words in (
        (AHEAD_INFO, history, later, "5 of 6 rows|none at"),
        (AHEAD_INFO, history, future.drop(columns="AT"), "a column is missing"),
        (AHEAD_INFO, [{"series_id": "a"}], future, "expected a Panel"),
        ({**AHEAD_INFO, "known": []}, history, future, "knows nothing ahead"),
    ):
        server = Server(httpx.Response(200, json={"models": [info]}))
        with pytest.raises(UserError, match=words):
            server.client().forecast("nox", asked, future=ahead)
        assert len(server.asked) == 1
