"""An alarm model beside a forecaster on a real Ray Serve: each of its members a deployment, and a stream."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest

from cluster.lifecycle import Cluster
from cluster.settings import Settings
from serve_deployments.anomalies.schemas import DetectRequest
from serve_deployments.anomalies.servable import AlarmServable, Found
from serve_deployments.deploy import serve_graph, stop
from serve_deployments.graph import GraphSpec, ServedModel
from serve_deployments.question_routes import FORECAST_PATH
from serve_deployments.servable import compute
from training.alarms.alarm_model import AlarmModel
from training.core.artifact import save_artifact
from training.core.panel import Panel
from training.core.schema import Column, Schema
from training.core.validation import ID, TIME

SCHEMA = Schema(name="meter", frequency="h", targets=(Column(name="kwh", unit="kWh"),), season_length=24)
ROWS, LEARNED = 700, 500


def meter() -> pd.DataFrame:
    hours = np.arange(ROWS)
    kwh = 100 + 20 * np.sin(hours / 24 * 2 * np.pi) + np.random.default_rng(0).normal(0, 2, ROWS)
    kwh[600:604] += 80
    return pd.DataFrame({ID: "a", TIME: pd.date_range("2024-01-01", periods=ROWS, freq="h"), "kwh": kwh})


@pytest.fixture(scope="module")
def alarms() -> AlarmModel:
    rows = [
        {"name": name, "params": params} for name, params in (("z_score", {}), ("moving_average", {"window": 24}))
    ]
    return AlarmModel(detector_params={"members": rows}).fit(Panel(meter().head(LEARNED), SCHEMA))


@pytest.fixture(scope="module")
def url(
    ray_cluster: Cluster, alarms: AlarmModel, ensemble_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    home = tmp_path_factory.mktemp("anomalies")
    save_artifact(alarms, SCHEMA, home / "alarms")
    settings = Settings.from_environment({"ML_HOME": str(home), "ML_HTTP_PORT": "0"})
    models = [
        ServedModel(name="nox", version="1.0.0", uri=str(ensemble_folder)),
        ServedModel(name="meter", version="1.0.0", uri=str(home / "alarms"), kind="anomalies"),
    ]
    served = serve_graph(GraphSpec.from_settings(settings, models, placement="spread"), settings)
    try:
        yield served.url
    finally:
        stop(served)


@pytest.mark.ray
def test_detectors_are_nodes_beside_a_forecaster(
    url: str, alarms: AlarmModel, good_request: dict[str, Any]
) -> None:
    late = meter().iloc[LEARNED - 48 :]
    times = late[TIME].dt.strftime("%Y-%m-%dT%H:%M:%S").tolist()
    rows = {"series_id": "a", "timestamps": times, "values": {"kwh": late["kwh"].tolist()}}
    wanted = {"model": "meter", "series": [rows]}
    with httpx.Client(base_url=url, timeout=30) as client:
        found = client.post("/v1/anomalies/detect", json=wanted)
        assert found.status_code == 200, found.text
        servable = AlarmServable.of(alarms, SCHEMA, name="meter", version="1.0.0", metrics={})
        (here,) = compute(servable, [servable.validate(DetectRequest.model_validate(wanted))])
        assert isinstance(here, Found)
        assert found.json()["series"] == servable.plain(here)["series"]
        assert any(found.json()["series"][0]["alarm"])
        why = client.post("/v1/anomalies/explain", json=wanted).json()["events"][0]
        assert why["factors"][0]["sentence"].startswith("kwh")
        assert client.post(FORECAST_PATH, json=good_request).status_code == 200
        assert client.get("/readyz").status_code == 200
        bad = client.post("/v1/anomalies/detect", json={**wanted, "series": [{**rows, "series_id": "z"}]})
        assert (bad.status_code, bad.json()["errors"][0]["field"]) == (404, "body.series[0].series_id")


@pytest.mark.ray
def test_a_stream_answers_each_row_before_the_next_comes(url: str) -> None:
    """The next row is sent when the answer to the one before is here: nothing on the way waits for the end."""
    frame = meter().iloc[560:610]
    rows = [
        json.dumps({"series_id": "a", "timestamp": time.isoformat(), "values": {"kwh": kwh}})
        for time, kwh in zip(frame[TIME], frame["kwh"], strict=True)
    ]
    rows[10] = "nonsense"
    answers = talk(url, rows)
    assert [each["row"] for each in answers] == list(range(1, 51))
    assert answers[10]["error"]["status"] == 400
    assert [place for place, each in enumerate(answers) if each.get("strange")][:1] == [40]


def talk(url: str, rows: list[str]) -> list[dict[str, Any]]:
    """Send rows over one connection, each after the answer to the one before."""
    host = url.removeprefix("http://")
    connection = HTTPConnection(host, timeout=30)
    connection.putrequest("POST", "/v1/anomalies/stream?model=meter")
    connection.putheader("Transfer-Encoding", "chunked")
    connection.endheaders()
    answers: list[dict[str, Any]] = []
    stream: Any = None
    for row in rows:
        line = row.encode() + b"\n"
        connection.send(b"%x\r\n%s\r\n" % (len(line), line))
        stream = stream or connection.getresponse()
        answers.append(json.loads(stream.readline()))
    connection.send(b"0\r\n\r\n")
    assert stream.read() == b""
    connection.close()
    return answers
