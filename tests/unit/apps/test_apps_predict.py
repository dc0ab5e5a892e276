"""`heliotrope predict` where the model is one of rows: what of a file is sent, and what becomes of the answer."""

from __future__ import annotations

from pathlib import Path

import httpx
import orjson
import pandas as pd
import pytest

from apps.cli.predict import SHOWN_ROWS, _asked, predict_rows
from apps.client.client import Client
from apps.client.results import ServedInfo
from cluster.errors import SchemaError
from training.core.panel import Panel

SERVED = ServedInfo(
    name="goods", version="1.0.0", kind="predict", columns=("size", "colour"), context=1, horizon=0, raw={}
)


def answer(request: httpx.Request) -> httpx.Response:
    """Price rows by their size, as the service would write it."""
    asked = orjson.loads(request.content)
    assert all(set(row) == set(SERVED.columns) for row in asked["rows"])
    priced = [
        {"prediction": 2.0 * (row["size"] or 0), "lower": -1.0, "upper": 1.0, "probabilities": None}
        for row in asked["rows"]
    ]
    about = {"request_id": "r", "model": {"name": "goods", "version": "1.0.0"}, "target": "cost"}
    return httpx.Response(200, json={**about, "task": "regression", "predictions": priced})


@pytest.fixture
def client() -> Client:
    return Client("http://test", transport=httpx.MockTransport(answer))


def test_each_row_of_the_file_has_its_prediction_beside_it(client: Client, tmp_path: Path) -> None:
    file, count = tmp_path / "goods.csv", SHOWN_ROWS + 5
    file.write_text("note,size,colour\n" + "".join(f"n{at},{at},red\n" for at in range(count - 1)) + "last,,blue\n")
    found = predict_rows(client, SERVED, str(file), None)
    assert list(found.table) == ["note", "size", "colour", "cost predicted", "lower", "upper"]
    assert found.table["cost predicted"].tolist() == [2.0 * at for at in range(count - 1)] + [0.0]
    ((title, shown),) = found.shown
    assert title == f"cost of {count} rows, by goods 1.0.0, 90% interval"
    assert [row["row"] for row in shown] == list(range(SHOWN_ROWS))
    assert (found.left_out, len(found.raw["predictions"])) == (5, count)


def test_a_file_without_a_column_names_it(client: Client, tmp_path: Path) -> None:
    file = tmp_path / "goods.csv"
    file.write_text("size\n1\n")
    with pytest.raises(SchemaError, match="expected colour too"):
        predict_rows(client, SERVED, str(file), None)


def test_what_is_known_ahead_is_the_last_rows_or_another_file(tmp_path: Path, hourly: Panel) -> None:
    frame = hourly.frame[hourly.frame["series_id"] == "plant-1"].drop(columns="series_id")
    info = {
        "name": "nox", "version": "1.0.0", "kind": "forecast", "frequency": "h", "targets": ["NOX"],
        "known": ["AT"], "context": 24, "horizon": 6,
        "columns": [
            {"name": column.name, "unit": column.unit, "kind": column.kind, "low": column.low, "high": column.high}
            for column in hourly.schema.columns
        ],
    }  # fmt: skip
    served = ServedInfo.from_json(info)
    whole, past, ahead = tmp_path / "whole.csv", tmp_path / "past.csv", tmp_path / "ahead.csv"
    frame.to_csv(whole, index=False)
    frame.head(-6).to_csv(past, index=False)
    frame.tail(6)[["timestamp", "AT"]].to_csv(ahead, index=False)
    held, told = (
        _asked(served, str(file), future, "timestamp", None) for file, future in ((whole, None), (past, ahead))
    )
    assert held.future is not None and told.future is not None
    pd.testing.assert_frame_equal(held.history.frame, told.history.frame)
    assert len(told.history.frame) == served.context
    assert held.future["AT"].tolist() == told.future["AT"].tolist() == frame["AT"].tail(6).tolist()
    plain = _asked(ServedInfo.from_json({**info, "known": []}), str(whole), None, "timestamp", None)
    assert plain.future is None
    assert plain.history.frame["NOX"].tolist() == frame["NOX"].tail(24).tolist()
