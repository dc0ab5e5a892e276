"""Alarm models as nodes of a graph: what they answer, why, and what they refuse; and the stream."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cluster.clock import ManualClock
from cluster.errors import ConfigError, HeliotropeError, SignatureMismatch, TransientError, UnknownNameError
from cluster.monitoring.metrics import Metrics
from cluster.storage.files import Storage
from serve_deployments.admission import Limits
from serve_deployments.anomalies.connection import StreamAnswer, StreamLimits, Streams, stream_routes
from serve_deployments.anomalies.feedback_route import feedback_routes
from serve_deployments.anomalies.lines import Lines
from serve_deployments.anomalies.schemas import (
    DetectRequest,
    DetectResponse,
    ExplainRequest,
    ExplainResponse,
    StreamRow,
    read_row,
)
from serve_deployments.anomalies.servable import AlarmServable, Found
from serve_deployments.anomalies.stream import AlarmStream
from serve_deployments.handlers.shelf import Shelf
from serve_deployments.ingress import build_api
from serve_deployments.question_routes import FORECAST_PATH
from serve_deployments.schemas import EXAMPLE_REQUEST, UnreadableError
from serve_deployments.servable import compute, compute_each, member_each
from serve_deployments.service import Service, fused_service
from training.alarms.alarm_model import AlarmModel
from training.alarms.feedback import Feedback
from training.alarms.past_events import FRESH_S, PastEvents
from training.core.panel import Panel
from training.core.schema import Column, Schema
from training.core.validation import ID, TIME

SCHEMA = Schema(
    name="site",
    frequency="h",
    targets=(Column(name="kwh", unit="kWh"), Column(name="steam", unit="t/h")),
    covariates=(Column(name="outside", unit="degC"),),
    season_length=24,
)
ROWS, LEARNED, SURGE = 1_000, 800, slice(900, 904)
EVENT_FIELDS = {"request_id": "r", "model": {"name": "m", "version": "1.0.0"}, "created_at": "now"}


def site(name: str, seed: int) -> pd.DataFrame:
    rng, hours = np.random.default_rng(seed), np.arange(ROWS)
    wave = np.sin(hours / 24 * 2 * np.pi)
    frame = pd.DataFrame({ID: name, TIME: pd.date_range("2024-01-01", periods=ROWS, freq="h")})
    frame["kwh"] = 100 + 20 * wave + rng.normal(0, 2, ROWS)
    frame["steam"] = 10 + wave + rng.normal(0, 0.2, ROWS)
    frame["outside"] = rng.normal(10, 1, ROWS)
    frame.loc[SURGE.start : SURGE.stop - 1, "kwh"] += 80
    return frame


FRAMES = {name: site(name, seed) for seed, name in enumerate("ab")}


def fitted(detector: str = "moving_average", params: Mapping[str, Any] | None = None) -> AlarmServable:
    taught = pd.concat([frame.head(LEARNED) for frame in FRAMES.values()], ignore_index=True)
    model = AlarmModel(detector=detector, detector_params=params or {}).fit(Panel(taught, SCHEMA))
    return AlarmServable.of(model, SCHEMA, name="m", version="1.0.0", metrics={})


@pytest.fixture(scope="module")
def servable() -> AlarmServable:
    return fitted(params={"window": 24})


def question(*names: str, first: int = LEARNED - 24, **more: Any) -> dict[str, Any]:
    series = []
    for name in names or ("a",):
        rows = FRAMES[name].iloc[first:]
        values = {column: rows[column].tolist() for column in SCHEMA.names}
        times = rows[TIME].dt.strftime("%Y-%m-%dT%H:%M:%S").tolist()
        series.append({"series_id": name, "timestamps": times, "values": values})
    since = FRAMES["a"][TIME][LEARNED].isoformat()
    return {"model": "m", "series": series, "since": since, **more}


def found_in(servable: AlarmServable, wanted: dict[str, Any], kind: type[DetectRequest] = DetectRequest) -> Found:
    (found,) = compute(servable, [servable.validate(kind.model_validate(wanted))])
    if isinstance(found, Exception):
        raise found
    assert isinstance(found, Found)
    return found


def asked(servable: AlarmServable, wanted: dict[str, Any], kind: type[DetectRequest] = DetectRequest) -> Any:
    return servable.plain(found_in(servable, wanted, kind))


def plain_of(servable: AlarmServable, found: Any) -> dict[str, Any]:
    assert isinstance(found, Found)
    return servable.plain(found)


def test_rows_get_scores_and_alarms(servable: AlarmServable) -> None:
    plain = asked(servable, question("a", "b"))
    DetectResponse.model_validate({**EVENT_FIELDS, **plain})
    for series in plain["series"]:
        assert len(series["timestamps"]) == len(series["scores"]) == len(series["alarm"]) == ROWS - LEARNED
        surge = slice(SURGE.start - LEARNED, SURGE.stop - LEARNED)
        assert series["strange"][surge.start]
        assert series["alarm"][surge.start]
        assert max(series["p_values"][surge][:2]) < 0.001
        worst = max(series["events"], key=lambda event: event["score"])
        assert worst["start"] == FRAMES["a"][TIME][SURGE.start].isoformat()
        assert worst["severity_reason"]
        assert worst["type_reason"]
        assert json.loads(json.dumps(series, allow_nan=False)) == series
    assert sum(map(len, (series["events"] for series in plain["series"]))) <= 4


def test_an_explanation_says_why(servable: AlarmServable) -> None:
    plain = asked(servable, question(), ExplainRequest)
    ExplainResponse.model_validate({**EVENT_FIELDS, **plain})
    event = plain["events"][0]
    factor = event["factors"][0]
    assert (factor["column"], factor["unit"]) == ("kwh", "kWh")
    assert factor["value"] > factor["normal_high"]
    assert factor["contribution"] > 1.0
    assert {each["column"]: each["contribution"] for each in event["factors"]}["outside"] is None
    assert event["impacts"][0]["unit"] == "kWh"
    assert event["impacts"][0]["amount"] == pytest.approx(80 * event["rows"], rel=0.1)
    assert event["actions"]
    one = asked(servable, question(event=event["event"]), ExplainRequest)["events"]
    assert [each["event"] for each in one] == [event["event"]]
    with pytest.raises(UnknownNameError) as caught:
        asked(servable, question(event="nope"), ExplainRequest)
    assert caught.value.context["field"] == "body.event"


def test_what_shares_a_batch_does_not_matter(servable: AlarmServable) -> None:
    jobs = [servable.validate(DetectRequest.model_validate(question(name))) for name in "ab"]
    together = [plain_of(servable, each) for each in compute_each(servable, jobs)]
    alone = [plain_of(servable, compute(servable, [job])[0]) for job in jobs]
    assert together == alone


def test_members_run_apart() -> None:
    piece = {"name": "sub_pca", "params": {"window": 12, "align": "end"}}
    rows: list[dict[str, Any]] = [{"name": name, "params": {}} for name in ("z_score", "moving_average")]
    ensemble = fitted("ensemble", {"members": [piece, *rows]})
    assert ensemble.members == ("sub_pca", "z_score", "moving_average")
    jobs = [ensemble.validate(DetectRequest.model_validate(question(name, first=600))) for name in "ab"]
    features = [ensemble.prepare([job]) for job in jobs]
    outputs = [member_each(ensemble, index, features) for index in range(len(ensemble.members))]
    assert {len(each) for each in outputs[0]} == {ROWS - 600}
    for at, job in enumerate(jobs):
        apart = ensemble.describe([job], ensemble.combine([each[at] for each in outputs]))[0]
        assert plain_of(ensemble, apart) == plain_of(ensemble, compute(ensemble, [job])[0])


def test_it_answers_its_own_probe(servable: AlarmServable) -> None:
    for each in (servable, fitted("sub_pca")):
        (found,) = compute(each, [each.probe()])
        assert not isinstance(found, Exception)
        assert np.isfinite(each.plain(found)["series"][0]["scores"][-1])
    assert servable.info(default=True)["series"] == ["a", "b"]


def test_maintenance_is_not_told(servable: AlarmServable) -> None:
    window = {"series": "*", "start": "2024-02-07T00:00:00", "end": "2024-02-09T00:00:00", "reason": "wash"}
    (series,) = asked(servable, question(maintenance=[window]))["series"]
    assert {event["status"] for event in series["events"]} == {"maintenance"}
    assert not any(series["alarm"])


def test_judgements_count_and_similar_events_are_told(servable: AlarmServable, tmp_path: Any) -> None:
    storage, clock = Storage(str(tmp_path)), ManualClock()
    feedback = Feedback(storage, clock)
    memory = PastEvents(storage, clock)
    known = AlarmServable.of(servable.model, SCHEMA, name="m", version="1.0.0", metrics={})
    known.memory = memory
    found = found_in(servable, question("b"), ExplainRequest)
    assert memory.events() == {}
    feedback.keep(found.events)
    feedback.judge(found.events[0].id, "dismissed", by="ana", note="a test run")
    assert asked(known, question(), ExplainRequest)["events"][0]["similar"] == []
    clock.advance(FRESH_S)
    similar = asked(known, question(), ExplainRequest)["events"][0]["similar"]
    assert (similar[0]["outcome"], similar[0]["note"]) == ("dismissed", "a test run")
    levels = [asked(each, question("b"))["series"][0]["level"] for each in (known, servable)]
    assert levels[0] > levels[1]
    assert memory.lean("b") > memory.lean("a") == 0


def spoiled(fault: str) -> dict[str, Any]:
    wanted = question()
    if fault == "few":
        wanted["since"] = None
    series = wanted["series"][0]
    values = series["values"]
    match fault:
        case "nothing":
            values["kwh"] = [None] * len(values["kwh"])
        case "text":
            values["kwh"][3] = "oops"
        case "few":
            series["timestamps"] = series["timestamps"][:5]
            series["values"] = {name: each[:5] for name, each in values.items()}
        case "new":
            values["gas"] = values["kwh"]
        case "missing":
            del values["steam"]
        case "covariate":
            del values["outside"]
        case "huge":
            values["kwh"][7] = 1e300
        case "clock":
            series["timestamps"][9] = series["timestamps"][2]
        case "ragged":
            values["kwh"] = values["kwh"][:-1]
        case "time":
            series["timestamps"][1] = "yesterday"
        case "series":
            series["series_id"] = "z"
        case "twice":
            wanted["series"].append(series)
        case "late":
            wanted["since"] = "2030-01-01T00:00:00"
        case "window":
            wanted["maintenance"] = [
                {"series": "*", "start": "2024-02-02T00:00:00", "end": "2024-02-01T00:00:00", "reason": "x"}
            ]
    return wanted


@pytest.mark.parametrize(
    ("fault", "field", "got", "expected"),
    [
        ("nothing", "body.series[0].values.kwh", "224 missing values", "at least 1 number"),
        ("few", "body.series[0].timestamps", "5 rows", "25"),
        ("new", "body.series[0].values.gas", "gas", "one of kwh, steam, outside"),
        ("missing", "body.series[0].values.steam", "nothing", "numbers in t/h"),
        ("covariate", "body.series[0].values.outside", "nothing", "numbers in degC"),
        ("huge", "body.series[0].values.kwh[7]", "1e+300", "a number from -1e+100 to 1e+100, or a missing one"),
        ("clock", "body.series[0].timestamps[9]", "2024-02-02 10:00:00", "a time after 2024-02-02 16:00:00"),
        ("ragged", "body.series[0].values.kwh", "223 values", "224 values, one a timestamp"),
        ("time", "body.series[0].timestamps[1]", "'yesterday'", "ISO 8601"),
        ("series", "body.series[0].series_id", "z", "one of a, b"),
        ("twice", "body.series[1].series_id", "also series[0]", "each series_id once"),
        ("late", "body.since", "224 rows before", "one or more"),
        ("window", "body.maintenance[0].end", "2024-02-01T00:00:00", "a time after 2024-02-02T00:00:00"),
    ],
)
def test_rubbish_is_refused_by_its_place(
    servable: AlarmServable, fault: str, field: str, got: str, expected: str
) -> None:
    with pytest.raises(HeliotropeError) as caught:
        servable.validate(DetectRequest.model_validate(spoiled(fault)))
    context = caught.value.context
    assert context["field"] == field
    assert str(context["got"]).startswith(got)
    assert expected in str(context["expected"])
    assert caught.value.http_status in (400, 404, 422)


def test_text_among_numbers_is_refused_by_the_schema() -> None:
    with pytest.raises(ValueError, match=r"values\.kwh\.3"):
        DetectRequest.model_validate(spoiled("text"))


def test_a_window_that_stands_still_is_judged(servable: AlarmServable) -> None:
    wanted = question()
    wanted["series"][0]["values"]["kwh"] = [100.0] * (ROWS - LEARNED + 24)
    (series,) = asked(servable, wanted)["series"]
    assert len(series["scores"]) == ROWS - LEARNED


def test_only_an_alarm_model_is_taken() -> None:
    with pytest.raises(SignatureMismatch, match="expected an alarm model"):
        AlarmServable.of(AlarmModel().recipe.make(), SCHEMA, name="m", version="1.0.0", metrics={})


def stream_rows(name: str = "a", first: int = LEARNED - 24) -> list[dict[str, Any]]:
    rows = FRAMES[name].iloc[first:]
    return [
        {"series_id": name, "timestamp": time.isoformat(), "values": dict(zip(SCHEMA.names, each, strict=True))}
        for time, *each in rows[[TIME, *SCHEMA.names]].itertuples(index=False)
    ]


def test_a_stream_says_what_a_batch_says(servable: AlarmServable) -> None:
    stream, batch = AlarmStream(servable.model), asked(servable, question("a", since=None))["series"][0]
    answers = [stream.answer(read_row(row)) for row in stream_rows()]
    assert [each["score"] for each in answers][24:] == pytest.approx(batch["scores"][24:])
    assert [each["strange"] for each in answers] == batch["strange"]
    (first, *_) = [each for each in answers if each["strange"]]
    assert first["timestamp"] == FRAMES["a"][TIME][SURGE.start].isoformat()
    event = first["event"]
    assert (event["begins"], event["factors"][0]["column"]) == (True, "kwh")
    assert stream.rows_kept == 24


def test_a_model_that_waits_has_no_stream() -> None:
    with pytest.raises(ConfigError, match="waits for later rows"):
        AlarmStream(fitted("sub_pca").model)


class Line:
    """A connection: pieces of a body in, pieces of an answer out."""

    def __init__(self, *pieces: bytes, hangs: bool = False) -> None:
        self.pieces, self.hangs, self.sent = list(pieces), hangs, bytearray()
        self.status = 0

    async def receive(self) -> dict[str, Any]:
        if self.pieces:
            piece = self.pieces.pop(0)
            return {"type": "http.request", "body": piece, "more_body": bool(self.pieces) or self.hangs}
        await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        self.status = message.get("status", self.status)
        self.sent += message.get("body", b"")

    def talk(self, model: AlarmModel, streams: Streams) -> list[dict[str, Any]]:
        async def all_of_it() -> None:
            await StreamAnswer(AlarmStream(model), streams, "r")({"type": "http"}, self.receive, self.send)

        asyncio.run(all_of_it())
        return [json.loads(line) for line in self.sent.splitlines()]


def test_a_bad_row_is_answered_and_the_stream_goes_on(servable: AlarmServable) -> None:
    rows = [json.dumps(row) for row in stream_rows()[:60]]
    bad = {
        3: "{not json",
        10: json.dumps({**json.loads(rows[10]), "timestamp": "2020-01-01T00:00:00"}),
        20: rows[20].replace('"kwh"', '"gas"'),
        30: json.dumps({**json.loads(rows[30]), "values": {"kwh": 1e300, "steam": 1.0, "outside": 1.0}}),
        40: json.dumps({**json.loads(rows[40]), "values": {"kwh": "x", "steam": 1.0, "outside": 1.0}}),
        45: json.dumps({**json.loads(rows[45]), "series_id": "z"}),
        50: "x" * 3_000,
    }
    text = "\n".join(bad.get(place, row) for place, row in enumerate(rows)).encode()
    line = Line(*(text[at : at + 700] for at in range(0, len(text), 700)))
    answers = line.talk(servable.model, Streams(StreamLimits(max_line_bytes=2_000)))
    assert [each["row"] for each in answers] == list(range(1, 61))
    faults = {each["row"] - 1: each["error"] for each in answers if "error" in each}
    assert set(faults) == set(bad)
    fields = {place: fault["errors"][0]["field"] for place, fault in faults.items()}
    assert fields[20] == "body.series[].values.steam" or "kwh" in fields[20]
    assert faults[10]["detail"].startswith("series 'a': the clock runs backwards")
    assert faults[40]["errors"][0]["field"] == "row.values.kwh"
    assert faults[45]["errors"][0]["expected"] == "one of a, b"
    assert faults[50]["status"] == 413
    clean = [json.dumps(row) for place, row in enumerate(stream_rows()[:60]) if place not in bad]
    told = Line("\n".join(clean).encode()).talk(servable.model, Streams(StreamLimits()))
    assert [each["score"] for each in told] == [each["score"] for each in answers if "error" not in each]


def test_streams_are_bounded_and_an_idle_one_ends(servable: AlarmServable) -> None:
    streams = Streams(StreamLimits(max_streams=1, idle_s=0.02))
    row = json.dumps(stream_rows()[0]).encode() + b"\n"
    line = Line(row, hangs=True)
    answers = line.talk(servable.model, streams)
    assert answers[-1]["error"]["type"] == "urn:heliotrope:problem:stream-idle"
    assert streams.open == 0
    with streams.place(), pytest.raises(TransientError, match="too many streams: got 1 open"):
        Line(row).talk(servable.model, streams)


def service_of(servable: AlarmServable) -> Service:
    limits = Limits(max_body_bytes=300_000, request_timeout_s=30, max_concurrent_requests=4, max_queued_requests=4)
    return fused_service(
        Shelf([servable]),
        limits=limits,
        target_s=0.05,
        max_batch_size=8,
        threads=2,
        metrics=Metrics(),
        clock=ManualClock(1_700_000_000.0),
    )


@pytest.fixture
def http(servable: AlarmServable, connect: Callable[[Any], Any]) -> Any:
    return connect(build_api(service_of(servable), more=[stream_routes(Streams(StreamLimits()), None)]))


def test_over_http(http: Any) -> None:
    found = http.post("/v1/anomalies/detect", json=question("a", "b"))
    assert found.status_code == 200, found.text
    answer = DetectResponse.model_validate_json(found.content)
    assert [each.series_id for each in answer.series] == ["a", "b"]
    told = http.post("/v1/anomalies/explain", json=question())
    event = ExplainResponse.model_validate_json(told.content).events[0]
    assert event.event in {each.event for each in answer.series[0].events}
    assert event.factors[0].column == "kwh"
    assert http.get("/readyz").status_code == 200
    (info,) = http.get("/api/models").json()["models"]
    assert (info["kind"], info["series"], info["online"]) == ("anomalies", ["a", "b"], True)


@pytest.mark.parametrize(
    ("fault", "status", "field"),
    [
        ("text", 422, "body.series[0].values.kwh[3]"),
        ("nothing", 422, "body.series[0].values.kwh"),
        ("few", 422, "body.series[0].timestamps"),
        ("new", 422, "body.series[0].values.gas"),
        ("missing", 422, "body.series[0].values.steam"),
        ("huge", 422, "body.series[0].values.kwh[7]"),
        ("clock", 422, "body.series[0].timestamps[9]"),
        ("series", 404, "body.series[0].series_id"),
    ],
)
def test_rubbish_over_http_is_one_fault(http: Any, fault: str, status: int, field: str) -> None:
    found = http.post("/v1/anomalies/detect", json=spoiled(fault))
    assert found.status_code == status, found.text
    assert found.headers["content-type"] == "application/problem+json"
    (error,) = found.json()["errors"]
    assert error["field"] == field
    assert error["got"]
    assert error["expected"]


def test_what_is_said_of_an_event_counts(
    servable: AlarmServable, connect: Callable[[Any], Any], tmp_path: Path
) -> None:
    storage, clock = Storage(str(tmp_path)), ManualClock()
    known = AlarmServable.of(servable.model, SCHEMA, name="m", version="1.0.0", metrics={})
    known.memory = PastEvents(storage, clock)
    http = connect(build_api(service_of(known), more=[feedback_routes(storage, clock)]))
    before = http.post("/v1/anomalies/detect", json=question()).json()["series"][0]
    said = {"event": before["events"][0]["event"], "outcome": "dismissed", "note": "a test run"}
    told = http.post("/v1/anomalies/feedback", json={**question(), **said})
    assert told.status_code == 200, told.text
    assert (told.json()["alarms_factor"], told.json()["series_id"]) == (0.5, "a")
    assert http.post("/v1/anomalies/feedback", json={**question(), **said}).json()["alarms_factor"] == 1.0
    clock.advance(FRESH_S)
    after = http.post("/v1/anomalies/detect", json=question()).json()["series"][0]
    assert after["level"] > before["level"]
    similar = http.post("/v1/anomalies/explain", json=question("b")).json()["events"][0]["similar"]
    assert (similar[0]["event"], similar[0]["note"]) == (said["event"], "a test run")
    ledger = Feedback(storage, clock).ledger
    assert ledger.events[said["event"]]["by"] == "anybody"
    for place, value, field in (("event", "nope", "body.event"), ("outcome", "maybe", "body.outcome")):
        bad = http.post("/v1/anomalies/feedback", json={**question(), **said, place: value})
        assert bad.json()["errors"][0]["field"] == field


def test_a_forecast_is_not_asked_of_an_alarm_model(http: Any) -> None:
    found = http.post(FORECAST_PATH, json={**EXAMPLE_REQUEST, "model": "m"})
    assert (found.status_code, found.json()["errors"][0]["field"]) == (404, "body.model")


def test_a_stream_over_http(http: Any) -> None:
    rows = [json.dumps(row) for row in stream_rows()[:40]]
    rows[5] = "[]"
    found = http.post("/v1/anomalies/stream?model=m", content="\n".join(rows).encode())
    assert found.headers["content-type"] == "application/x-ndjson"
    told = [json.loads(line) for line in found.content.splitlines()]
    assert len(told) == 40
    assert told[5]["error"]["status"] == 422
    assert told[39]["score"] is not None
    assert http.post("/v1/anomalies/stream?model=z", content=b"").status_code == 404
    assert http.post("/v1/anomalies/stream", content=b"").json()["errors"][0]["field"] == "request.query.model"


def test_lines_are_cut_whatever_the_pieces() -> None:
    text = b"one\n\ntwo\r\n" + b"x" * 50 + b"\nthree"
    for size in (1, 3, 7, 100):
        lines = Lines(20)
        found = [each for at in range(0, len(text), size) for each in lines.feed(text[at : at + size])]
        assert [each and each.strip() for each in found + lines.close()] == [b"one", b"two", None, b"three"]


def test_a_row_of_the_wrong_form_is_unreadable() -> None:
    with pytest.raises(UnreadableError):
        read_row({"series_id": "a", "timestamp": "2024-01-01T00:00:00", "values": {"kwh": True}})
    assert isinstance(read_row(stream_rows()[0]), StreamRow)
