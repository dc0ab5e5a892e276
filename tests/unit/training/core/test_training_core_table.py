"""Tables: what a cell may be, and how one that may not is named."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from cluster.errors import DataError, SchemaError
from training.core.table import Feature, TableSchema

FEATURES = (
    Feature(name="n", kind="number"),
    Feature(name="c", kind="category"),
    Feature(name="d", kind="date"),
)
SCHEMA = TableSchema(name="t", features=FEATURES, target="y", task="classification", classes=("1", "2"))


def frame(**more: object) -> pd.DataFrame:
    return pd.DataFrame({"n": [1, None], "c": ["a", None], "d": ["2024-03-01", None], "y": [1, 2.0]} | more)


def test_cells_become_what_the_schema_says() -> None:
    table = SCHEMA.read(frame(n=["true", "2.5"], extra=[1, 2]))
    assert table.columns["n"].tolist() == [1.0, 2.5]
    assert table.columns["c"].tolist() == ["a", None]
    assert np.isnat(table.columns["d"]).tolist() == [False, True]
    assert SCHEMA.read_target(frame()).tolist() == [0, 1]
    assert len(table.take(np.array([1]))) == 1


def test_numbers_as_categories_have_one_name_however_they_are_stored() -> None:
    whole, floats = SCHEMA.read(frame(c=[3, 4])), SCHEMA.read(frame(c=[3.0, 4.0]))
    assert whole.columns["c"].tolist() == floats.columns["c"].tolist() == ["3", "4"]
    assert whole.digest() == floats.digest()
    assert whole.digest() != SCHEMA.read(frame()).digest()


@pytest.mark.parametrize(
    ("cells", "names"),
    [
        ({"n": [1, "many"]}, r"column 'n', row 1: got 'many', expected a number"),
        ({"n": [np.inf, 1]}, r"column 'n', row 0: got inf, expected a finite number"),
        ({"d": ["2024-03-01", "soon"]}, r"column 'd', row 1: got 'soon', expected a date"),
    ],
)
def test_a_bad_cell_is_named(cells: dict[str, object], names: str) -> None:
    with pytest.raises(DataError, match=names):
        SCHEMA.read(frame(**cells))


def test_a_bad_target_is_named() -> None:
    with pytest.raises(DataError, match=r"column 'y', row 1: got 3, expected one of 1, 2"):
        SCHEMA.read_target(frame(y=[1, 3]))
    with pytest.raises(SchemaError, match="column 'y'"):
        SCHEMA.read_target(frame().drop(columns="y"))
    with pytest.raises(SchemaError, match="column 'd'"):
        SCHEMA.read(frame().drop(columns="d"))


def test_schemas_survive_json_and_refuse_nonsense() -> None:
    again = TableSchema.from_json(json.loads(json.dumps(SCHEMA.to_json())))
    assert again == SCHEMA
    assert again.digest() == SCHEMA.digest()
    with pytest.raises(SchemaError, match="doubled"):
        TableSchema(name="t", features=FEATURES, target="n", task="regression")
    with pytest.raises(SchemaError, match="0 classes"):
        TableSchema(name="t", features=FEATURES, target="y", task="classification")
