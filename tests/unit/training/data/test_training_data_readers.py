"""Each fault of a table is named: row, column, got, expected."""

from __future__ import annotations

import datetime as dt
import decimal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster.errors import (
    DataError,
    HeliotropeError,
    InsufficientHistoryError,
    PayloadTooLargeError,
    SchemaError,
    UnknownNameError,
)
from training.core.panel import Panel
from training.core.schema import Column, Schema
from training.core.validation import ID, TIME
from training.data.bundled import load_sample
from training.data.readers import read_frame, read_panel
from training.data.schemas import GAS_TURBINE

SCHEMA = Schema(
    name="plant",
    frequency="h",
    targets=(Column(name="NOX", unit="mg/m3", low=0, high=500),),
    covariates=(Column(name="AT", unit="degC", low=-60, high=60), Column(name="flag", kind="int", low=0, high=1)),
)
ROWS = tuple(f"2024-01-01 {hour:02d}:00,{60 + hour}.5,{hour}.25,{hour % 2}" for hour in range(10))
HEADER = "timestamp,NOX,AT,flag"


def text(rows: tuple[str, ...] | list[str] = ROWS, header: str = HEADER) -> str:
    return "\n".join([header, *rows]) + "\n"


def changed(line: int, old: str, new: str) -> str:
    """Return the good file with `old` replaced in its line `line`; the header is line 1."""
    lines = text().splitlines()
    assert old in lines[line - 1]
    lines[line - 1] = lines[line - 1].replace(old, new, 1)
    return "\n".join(lines)


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str | bytes], Path]:
    def to_file(content: str | bytes, name: str = "plant.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return to_file


Write = Callable[..., Path]


def good() -> Panel:
    frame = pd.DataFrame(
        {
            ID: "plant",
            TIME: pd.date_range("2024-01-01", periods=10, freq="h"),
            "NOX": 60.5 + np.arange(10.0),
            "AT": 0.25 + np.arange(10.0),
            "flag": np.arange(10) % 2,
        }
    )
    return Panel(frame, SCHEMA)


def assert_good(panel: Panel) -> None:
    pd.testing.assert_frame_equal(panel.frame, good().frame)
    assert panel.schema == SCHEMA


# -- what is read ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(text(), id="plain"),
        pytest.param(text().rstrip("\n"), id="no last newline"),
        pytest.param(text().replace("\n", "\r\n"), id="windows newlines"),
        pytest.param(text().replace("\n", "\r"), id="old mac newlines"),
        pytest.param("\ufeff" + text(), id="byte order mark"),
        pytest.param(text().replace("\n", "\n\n"), id="blank lines"),
        pytest.param(text().replace(",", ";"), id="semicolons"),
        pytest.param(text().replace(",", "\t"), id="tabs"),
        pytest.param(text().replace(",", "|"), id="bars"),
        pytest.param(text(header="timestamp, NOX, AT , flag"), id="blanks around names"),
        pytest.param(text([f'"{row.replace(",", chr(34) + "," + chr(34))}"' for row in ROWS]), id="quotes"),
        pytest.param(text([row + ",müll" for row in ROWS], HEADER + ",extra"), id="an extra column"),
        pytest.param(text([row.replace(":00,", ":00Z,") for row in ROWS]), id="UTC"),
        pytest.param(text([row.replace(" ", "T").replace(":00,", ":00:00.000+00:00,") for row in ROWS]), id="ISO"),
        pytest.param(text([row + ",plant" for row in ROWS], HEADER + ",series_id"), id="one series with an id"),
    ],
)
def test_a_csv_file_is_read(write: Write, content: str) -> None:
    assert_good(read_panel(write(content), SCHEMA))


def frame_with(**columns: Any) -> pd.DataFrame:
    return good().frame.drop(columns=ID).assign(**columns)


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(frame_with(), id="plain"),
        pytest.param(frame_with(flag=good().frame["flag"] == 1), id="booleans"),
        pytest.param(frame_with(NOX=[decimal.Decimal(f"{60 + i}.5") for i in range(10)]), id="decimals"),
        pytest.param(frame_with(NOX=[f"{60 + i}.5" for i in range(10)]), id="numbers as text"),
        pytest.param(frame_with(AT=good().frame["AT"].astype("float32")), id="float32"),
        pytest.param(frame_with(flag=good().frame["flag"].astype("Int8")), id="nullable integers"),
        pytest.param(frame_with(timestamp=good().frame[TIME].astype(str)), id="times as text"),
        pytest.param(frame_with(timestamp=good().frame[TIME].astype("datetime64[ms]")), id="milliseconds"),
        pytest.param(
            frame_with(timestamp=good().frame[TIME].dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo")), id="zone"
        ),
        pytest.param(frame_with(series_id=pd.Categorical(["plant"] * 10)), id="categories"),
        pytest.param(frame_with().set_axis(list("abcdefghij"), axis=0), id="labels"),
    ],
)
def test_data_frames_arrow_tables_and_files_are_read(tmp_path: Path, frame: pd.DataFrame) -> None:
    before = frame.copy()
    assert_good(read_panel(frame, SCHEMA))
    pd.testing.assert_frame_equal(frame, before)
    table = pa.Table.from_pandas(frame, preserve_index=False)
    assert_good(read_panel(table, SCHEMA))
    pq.write_table(table, tmp_path / "plant.parquet")
    assert_good(read_panel(tmp_path / "plant.parquet", SCHEMA))
    for name, start in (("plant.feather", pa.ipc.new_file), ("plant.arrows", pa.ipc.new_stream)):
        with start(str(tmp_path / name), table.schema) as writer:
            writer.write_table(table)
        assert_good(read_panel(str(tmp_path / name), SCHEMA))


def test_dates_are_times() -> None:
    schema = Schema(name="daily", frequency="D", targets=(Column(name="NOX"),))
    days = [dt.date(2024, 2, 27) + dt.timedelta(days=i) for i in range(4)]
    panel = read_panel(pa.table({"timestamp": days, "NOX": [1, 2, 3, 4]}), schema)
    assert panel.frame[TIME].iloc[-1] == pd.Timestamp("2024-03-01")


def test_columns_may_be_called_otherwise(write: Write) -> None:
    path = write(text(header="when,nitrogen oxides,AT,flag"))
    assert_good(read_panel(path, SCHEMA, timestamp="when", columns={"nitrogen oxides": "NOX"}))
    for new, words in (
        ("-1", "column 'nitrogen oxides', row 5: got -1.0"),
        ("abc", "column 'nitrogen oxides', row 5"),
    ):
        wrong = write(changed(5, "63.5", new).replace(HEADER, "when,nitrogen oxides,AT,flag"))
        with pytest.raises(DataError, match=words):
            read_panel(wrong, SCHEMA, timestamp="when", columns={"nitrogen oxides": "NOX"})
    with pytest.raises(DataError, match="a timestamp is doubled: column 'when', row 8"):
        read_panel(write(changed(8, "06:00", "05:00").replace("timestamp", "when")), SCHEMA, timestamp="when")
    with pytest.raises(UnknownNameError, match="unknown column of schema 'plant' 'NOx'"):
        read_panel(path, SCHEMA, columns={"nitrogen oxides": "NOx"})


def test_interleaved_series_are_put_together(write: Write) -> None:
    rows = [f"{row},{site}" for row in ROWS for site in ("b", "a")]
    panel = read_panel(write(text(rows, HEADER + ",site")), SCHEMA, series_id="site")
    assert panel.series == ("b", "a")
    assert panel.table.segments.tolist() == [0, 10, 20]
    assert panel.frame.index.equals(pd.RangeIndex(20))
    rows[7] = rows[7].replace("03:00", "03:30")
    with pytest.raises(DataError, match=r"series 'a': .* row 9: got 2024-01-01 03:30:00"):
        read_panel(write(text(rows, HEADER + ",site")), SCHEMA, series_id="site")


def test_a_sample_survives_a_trip_through_csv(tmp_path: Path) -> None:
    panel = load_sample("gas_turbine")
    panel.frame.to_csv(tmp_path / "gas.csv", index=False)
    again = read_panel(tmp_path / "gas.csv", GAS_TURBINE)
    assert again.digest() == panel.digest()


def test_read_frame_gives_the_whole_table(write: Write, tmp_path: Path) -> None:
    frame = read_frame(write(text([row + ",x" for row in ROWS], HEADER + ",note")))
    assert list(frame) == ["timestamp", "NOX", "AT", "flag", "note"]
    assert frame["NOX"].dtype == "float64"
    frame.to_parquet(tmp_path / "plant.parquet")
    assert len(read_frame(tmp_path / "plant.parquet")) == 10
    with pytest.raises(DataError, match="row 3: got 3 fields, expected 4 fields"):
        read_frame(write(changed(3, ",1.25", "")))


# -- faults of values: line, column, got, expected ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "column", "row", "got", "expected"),
    [
        pytest.param(changed(5, "63.5", "abc"), "NOX", 5, "'abc'", "a number in mg/m3", id="text"),
        pytest.param(changed(5, "63.5", '"63,5"'), "NOX", 5, "'63,5'", "a number in mg/m3", id="decimal comma"),
        pytest.param(changed(5, "63.5", "nan"), "NOX", 5, "nan", "a finite number", id="NaN"),
        pytest.param(changed(5, "63.5", ""), "NOX", 5, "nan", "a finite number", id="nothing"),
        pytest.param(changed(6, "4.25", "inf"), "AT", 6, "inf", "a finite number", id="infinity"),
        pytest.param(changed(6, "4.25", "-inf"), "AT", 6, "-inf", "a finite number", id="minus infinity"),
        pytest.param(changed(6, "4.25", "1e999"), "AT", 6, "inf", "a finite number", id="overflow"),
        pytest.param(changed(7, "5.25", "-273.2"), "AT", 7, "-273.2", "-60 .. 60 degC", id="impossible"),
        pytest.param(changed(7, "65.5", "501"), "NOX", 7, "501.0", "0 .. 500 mg/m3", id="too high"),
        pytest.param(changed(7, ",1", ",0.5"), "flag", 7, "0.5", "a whole number", id="not whole"),
        pytest.param(
            changed(8, "2024-01-01 06", "01/13/2024 06"),
            "timestamp",
            8,
            "'01/13/2024 06:00'",
            "an ISO 8601 time such as 2024-03-31 13:00",
            id="not a time",
        ),
        pytest.param(changed(8, "2024-01-01 06:00", ""), "timestamp", 8, "NaT", "a time", id="no time"),
        pytest.param(
            changed(8, "2024", "1066"),
            "timestamp",
            8,
            "'1066-01-01 06:00'",
            "an ISO 8601 time such as 2024-03-31 13:00",
            id="before what a timestamp can hold",
        ),
        pytest.param(
            changed(8, "2024", "1724"),
            "timestamp",
            8,
            "1724-01-01 06:00:00",
            "a time from 1900 to 2199",
            id="long ago",
        ),
        pytest.param(
            changed(8, "06:00", "05:00"),
            "timestamp",
            8,
            "2024-01-01 05:00:00 after 2024-01-01 05:00:00",
            "2024-01-01 06:00:00 (step h)",
            id="doubled",
        ),
        pytest.param(
            changed(8, "06:00", "03:00"),
            "timestamp",
            8,
            "2024-01-01 03:00:00 after 2024-01-01 05:00:00",
            "2024-01-01 06:00:00 (step h)",
            id="back in time",
        ),
        pytest.param(
            text([*ROWS[:4], *ROWS[5:]]),
            "timestamp",
            6,
            "2024-01-01 05:00:00 after 2024-01-01 03:00:00",
            "2024-01-01 04:00:00 (step h)",
            id="gap",
        ),
    ],
)
def test_a_wrong_value_is_named(write: Write, content: str, column: str, row: int, got: str, expected: str) -> None:
    with pytest.raises(DataError) as caught:
        read_panel(write(content), SCHEMA)
    context = caught.value.context
    assert (context["column"], context["row"], context["got"], context["expected"]) == (column, row, got, expected)
    assert f"column '{column}', row {row}: got {got}, expected {expected}" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (changed(8, "06:00", "05:00"), "a timestamp is doubled"),
        (text([*ROWS[:4], *ROWS[5:]]), r"a timestamp is missing \(a gap\)"),
        (text([*ROWS[:4], ROWS[5], ROWS[4], *ROWS[6:]]), "a timestamp is not sorted"),
        (text(list(reversed(ROWS))), "a timestamp is not sorted"),
    ],
)
def test_a_wrong_order_is_called_by_its_name(write: Write, content: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        read_panel(write(content), SCHEMA)


def test_blank_lines_count_as_lines(write: Write) -> None:
    for new, got in (("nan", "nan"), ("abc", "'abc'")):
        content = changed(5, "63.5", new).replace("00:00,", "00:00,", 1).replace("\n", "\n\n", 2)
        with pytest.raises(DataError, match=f"column 'NOX', row 7: got {got}"):
            read_panel(write(content), SCHEMA)


def test_a_row_of_a_data_frame_is_its_label() -> None:
    labels = pd.Index([f"day-{i}" for i in range(10)])
    frame = frame_with(NOX=[1.0] * 6 + ["abc"] + [1.0] * 3).set_index(labels)
    with pytest.raises(DataError, match="column 'NOX', row day-6: got 'abc', expected a number in mg/m3"):
        read_panel(frame, SCHEMA)
    frame["NOX"] = [1.0] * 6 + [-1.0] * 4
    with pytest.raises(DataError, match=r"column 'NOX', row day-6: got -1.0, expected 0 .. 500 mg/m3"):
        read_panel(frame, SCHEMA)


# -- faults of shape --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "column", "got"),
    [
        (frame_with(timestamp=range(10)), "timestamp", "int64"),
        (frame_with(NOX=good().frame[TIME]), "NOX", "datetime64[ns]"),
        (frame_with(NOX=1 + 2j), "NOX", "complex128"),
    ],
)
def test_a_column_of_a_wrong_type_is_named(frame: pd.DataFrame, column: str, got: str) -> None:
    with pytest.raises(SchemaError) as caught:
        read_panel(frame, SCHEMA)
    assert (caught.value.context["column"], caught.value.context["got"]) == (column, got)


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("timestamp,NOx,AT,flag", "a column is missing: column 'NOX': got columns timestamp, NOx, AT, flag"),
        ("time,NOX,AT,flag", "a column is missing: column 'timestamp': got columns time, NOX, AT, flag"),
        ("timestamp,NOX,NOX,flag", "a column appears more than once: column 'NOX'"),
        (ROWS[0], "a column is missing: column 'timestamp': got columns 2024-01-01 00:00"),
    ],
)
def test_a_missing_or_doubled_column_is_named(write: Write, header: str, words: str) -> None:
    with pytest.raises(SchemaError, match=words):
        read_panel(write(text(header=header)), SCHEMA)


def test_a_named_series_column_must_be_there(write: Write) -> None:
    with pytest.raises(SchemaError, match="a column is missing: column 'site'"):
        read_panel(write(text()), SCHEMA, series_id="site")


def test_a_missing_series_id_is_named(write: Write) -> None:
    rows = [row + ("," if i == 3 else ",a") for i, row in enumerate(ROWS)]
    with pytest.raises(DataError, match="a series id is missing: column 'series_id', row 5"):
        read_panel(write(text(rows, HEADER + ",series_id")), SCHEMA)


def test_too_little_history_is_named(write: Write) -> None:
    path = write(text())
    assert len(read_panel(path, SCHEMA, minimum_rows=10)) == 10
    with pytest.raises(
        InsufficientHistoryError, match="series 'plant' is too short: got 10 rows, expected at least 11"
    ):
        read_panel(path, SCHEMA, minimum_rows=11)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(b"", "'plant.csv' is empty: got 0 bytes", id="empty"),
        pytest.param(b" \n \n", "'plant.csv' is empty", id="blank"),
        pytest.param(HEADER.encode(), "the table is empty: got 0 rows, expected at least 1 row", id="header only"),
        pytest.param((HEADER + "\n").encode(), "the table is empty: got 0 rows", id="header line only"),
        pytest.param(b"\n" + text().encode(), "has no header: row 1: got a blank line", id="blank first line"),
        pytest.param(b"\x89PNG\r\n\x1a\n" + bytes(99), "not a table: got a PNG image, expected CSV", id="image"),
        pytest.param(b"<!DOCTYPE html><html></html>", "not a table: got HTML or XML", id="HTML"),
        pytest.param(b'{"timestamp": []}', "not a table: got JSON", id="JSON"),
        pytest.param(b"PK\x03\x04" + bytes(99), "a zip archive or an Excel workbook", id="Excel"),
        pytest.param(text().encode("utf-16"), "not a table: got UTF-16 text", id="UTF-16"),
        pytest.param(bytes(range(1, 255)) * 9 + b"\0", "not a table: got binary data", id="binary"),
        pytest.param(b"PAR1" + bytes(99), "'plant.csv' is damaged: got .*, expected parquet", id="torn Parquet"),
        pytest.param(b"ARROW1" + bytes(99), "'plant.csv' is damaged: got .*, expected arrow_file", id="torn Arrow"),
        pytest.param(
            changed(4, ",2.25", "").encode(),
            "a row is ragged: row 4: got 3 fields, expected 4 fields",
            id="short row",
        ),
        pytest.param(
            changed(4, ",2.25", ",2.25,9").encode(), "row 4: got 5 fields, expected 4 fields", id="long row"
        ),
        pytest.param(
            text().replace("flag", "größe").encode("latin-1"),
            "another encoding: row 1: .* expected UTF-8",
            id="header",
        ),
        pytest.param(
            text([row + ",é" for row in ROWS], HEADER + ",series_id").encode("latin-1"),
            "another encoding: row 2: .* expected UTF-8",
            id="Latin-1",
        ),
        pytest.param(
            changed(4, "62.5", '"' + "6" * 200_000).encode(),
            "cannot be read as CSV: .* field larger",
            id="open quote",
        ),
    ],
)
def test_what_is_no_table_is_named(write: Write, content: bytes, words: str) -> None:
    with pytest.raises(DataError, match=words):
        read_panel(write(content), SCHEMA)


def test_a_name_that_promises_too_much_is_named(write: Write) -> None:
    with pytest.raises(DataError, match=r"'plant\.parquet' is not what its name says: got text, expected parquet"):
        read_panel(write(text(), "plant.parquet"), SCHEMA)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no such file: got nothing at .*gone\.csv"):
        read_panel(tmp_path / "gone.csv", SCHEMA)
    with pytest.raises(DataError, match="there is no such file: got the folder"):
        read_panel(tmp_path, SCHEMA)


def test_a_file_over_the_limit_is_refused(write: Write, tmp_path: Path) -> None:
    with pytest.raises(PayloadTooLargeError, match=r"got \d+ bytes, expected at most 100; .* raise maximum_bytes"):
        read_panel(write(text()), SCHEMA, maximum_bytes=100)
    zeros = pa.table({"timestamp": pa.nulls(10_000_000, pa.float64())})
    pq.write_table(zeros, tmp_path / "bomb.parquet", compression="zstd")
    with pytest.raises(PayloadTooLargeError, match="got 80000000 bytes unpacked"):
        read_panel(tmp_path / "bomb.parquet", SCHEMA, maximum_bytes=1_000_000)


def test_each_error_says_what_the_caller_can_do(write: Write) -> None:
    with pytest.raises(HeliotropeError) as caught:
        read_panel(write(changed(5, "63.5", "abc")), SCHEMA)
    assert caught.value.http_status == 422
