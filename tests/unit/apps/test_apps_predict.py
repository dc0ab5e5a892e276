"""`heliotrope predict` where the model is one of rows: what of a file is sent, and what becomes of the answer."""

from __future__ import annotations

from pathlib import Path

import httpx
import orjson
import pytest

from apps.cli.predict import SHOWN_ROWS, predict_rows
from apps.client.client import Client
from apps.client.results import ServedInfo
from cluster.errors import SchemaError

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
