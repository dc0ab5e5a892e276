"""A damaged file is read or refused by name; no other exception comes out of the readers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from cluster.errors import HeliotropeError
from training.core.panel import Panel
from training.core.schema import Column, Schema
from training.data.readers import read_panel

SCHEMA = Schema(
    name="plant",
    frequency="h",
    targets=(Column(name="NOX", unit="mg/m3", low=0, high=500),),
    covariates=(Column(name="AT", unit="degC", low=-60, high=60), Column(name="flag", kind="int", low=0, high=1)),
)
LINES = ["series_id,timestamp,NOX,AT,flag"] + [
    f"{site},2024-01-01 {hour:02d}:00,{60 + hour}.5,{hour - 3}.25,{hour % 2}" for site in "ab" for hour in range(12)
]
GOOD = "\n".join(LINES) + "\n"
TRAPS = (
    "",
    "abc",
    "nan",
    "NaT",
    "inf",
    "-1e999",
    '"',
    ",",
    "\n",
    "\r",
    "\0",
    "\ufeff",
    "é",
    "1_0",
    "0x10",
    "now",
    " ",
)
RELAXED = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@st.composite
def damaged_bytes(draw: st.DrawFn, good: bytes) -> bytes:
    """Replace some runs of bytes by others."""
    data = bytearray(good)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        stop = at + draw(st.integers(0, 6))
        data[at:stop] = draw(st.one_of(st.binary(max_size=6), st.sampled_from([t.encode() for t in TRAPS])))
    return bytes(data)


@st.composite
def damaged_tables(draw: st.DrawFn) -> bytes:
    """Drop, double and swap lines, and replace whole fields."""
    rows = [line.split(",") for line in LINES]
    for _ in range(draw(st.integers(1, 4))):
        at, other = (draw(st.integers(0, len(rows) - 1)) for _ in range(2))
        kind = draw(st.sampled_from(["drop", "double", "swap", "field", "cut", "grow"]))
        if kind == "drop" and len(rows) > 1:
            del rows[at]
        elif kind == "double":
            rows.insert(other, list(rows[at]))
        elif kind == "swap":
            rows[at], rows[other] = rows[other], rows[at]
        elif kind == "field" and rows[at]:
            rows[at][draw(st.integers(0, len(rows[at]) - 1))] = draw(st.sampled_from(TRAPS))
        elif kind == "cut":
            rows[at] = rows[at][:-1]
        elif kind == "grow":
            rows[at] = [*rows[at], draw(st.sampled_from(TRAPS))]
    return "\n".join(",".join(row) for row in rows).encode()


def read_or_refuse(path: Path, content: bytes) -> Panel | None:
    """Return a panel that stands its check, or None where the reader named a fault."""
    path.write_bytes(content)
    try:
        panel = read_panel(path, SCHEMA)
    except HeliotropeError as error:
        assert str(error)
        return None
    return panel.validate()


@RELAXED
@given(content=st.one_of(damaged_bytes(GOOD.encode()), damaged_tables(), st.binary(max_size=300)))
@example(content=GOOD.replace("2024", "9999", 1).encode())
@example(content=GOOD.replace("2024-01-01 00:00", "2262-04-11 23:30").encode())
def test_a_damaged_csv_is_read_or_refused(tmp_path: Path, content: bytes) -> None:
    good = read_or_refuse(tmp_path / "plant.csv", GOOD.encode())
    assert good is not None
    panel = read_or_refuse(tmp_path / "plant.csv", content)
    if panel is not None and content == GOOD.encode():
        assert panel.digest() == good.digest()


def packed(kind: str) -> bytes:
    frame = pd.read_csv(pa.BufferReader(GOOD.encode()), parse_dates=["timestamp"])
    table, sink = pa.Table.from_pandas(frame, preserve_index=False), pa.BufferOutputStream()
    if kind == "parquet":
        pq.write_table(table, sink)
    else:
        with (pa.ipc.new_file if kind == "arrow" else pa.ipc.new_stream)(sink, table.schema) as writer:
            writer.write_table(table)
    content: bytes = sink.getvalue().to_pybytes()
    return content


@pytest.mark.parametrize("kind", ["parquet", "arrow", "stream"])
@RELAXED
@given(data=st.data())
def test_a_damaged_parquet_or_arrow_file_is_read_or_refused(tmp_path: Path, kind: str, data: st.DataObject) -> None:
    good = packed(kind)
    assert read_or_refuse(tmp_path / "plant", good) is not None
    read_or_refuse(tmp_path / "plant", data.draw(damaged_bytes(good)))


@RELAXED
@given(
    values=st.lists(
        st.one_of(
            st.none(),
            st.booleans(),
            st.integers(),
            st.floats(),
            st.text(max_size=5),
            st.datetimes(),
            st.binary(max_size=3),
        ),
        min_size=1,
        max_size=4,
    ),
    column=st.sampled_from(["timestamp", "NOX", "flag", "series_id"]),
)
def test_a_frame_of_anything_is_read_or_refused(values: list[Any], column: str) -> None:
    size = len(values)
    frame = pd.DataFrame(
        {
            "series_id": ["a"] * size,
            "timestamp": pd.date_range("2024-01-01", periods=size, freq="h"),
            "NOX": np.ones(size),
            "AT": np.ones(size),
            "flag": np.ones(size),
        }
    )
    frame[column] = pd.Series(values, dtype=object)
    try:
        read_panel(frame, SCHEMA).validate()
    except HeliotropeError as error:
        assert str(error)
