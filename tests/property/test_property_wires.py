"""Bodies that mean harm, on every route that takes one: an answer below 500, soon, and no memory kept."""

from __future__ import annotations

import json
import struct
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

MOST_S = 20.0
"""Of one request on a machine that others load too; usual are milliseconds."""
MOST_KEPT_BYTES = 4 << 20
QUESTIONS = ("/v1/emissions/forecast", "/v1/predict", "/v1/anomalies/detect", "/v1/anomalies/explain")
ARROW = "application/vnd.apache.arrow.stream"
WORDS = (0, 1, 2, 8, 64, 2**16, 2**20, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**64 - 1)
BOUNDS = settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

Post = Callable[..., int]


@pytest.fixture
def post(whole: Any, tmp_path: Any, connect: Callable[[Any], Any]) -> Post:
    caller = connect(whole.build(tmp_path))

    def send(path: str, body: bytes, kind: str = "application/json", **headers: str) -> int:
        begun_s = time.perf_counter()
        answer = caller.post(path, content=body, headers={"content-type": kind, **headers})
        assert answer.status_code < 500, answer.text
        assert time.perf_counter() - begun_s < MOST_S
        if answer.status_code != 200:
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["detail"]
        return int(answer.status_code)

    return send


def nested(depth: int, opened: str, closed: str) -> bytes:
    return (opened * depth + "1" + closed * depth).encode()


HARM: dict[str, bytes] = {
    "nothing": b"",
    "deep lists": nested(60_000, "[", "]"),
    "deep objects": nested(20_000, '{"a":', "}"),
    "never closed": b"[" * 150_000,
    "a number of 100,000 digits": b'{"model": ' + b"9" * 100_000 + b"}",
    "an exponent out of range": b'{"model": "nox", "horizon": 1e999999}',
    "NaN": b'{"model": "nox", "horizon": NaN}',
    "UTF-16": json.dumps({"model": "nox"}).encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf{}",
    "half a surrogate": b'{"model": "\\ud800"}',
    "bytes that are no UTF-8": b'{"model": "\xff\xfe"}',
    "a zero byte": b'{"model": "nox\x00"}',
    "a key twice": b'{"model": "nox", "model": "goods"}',
    "20,000 equal keys": b"{" + b'"model": 1, ' * 15_000 + b'"model": 1}',
    "10,000 keys": json.dumps({f"k{at}": at for at in range(10_000)}).encode(),
    "a long list": b"[" + b"1," * 90_000 + b"1]",
    "many series": json.dumps({"model": "nox", "series": [{}] * 50_000}).encode()[:190_000],
    "one long text": json.dumps({"model": "a" * 190_000}).encode(),
    "too large": b" " * 200_001,
}


@pytest.mark.parametrize("path", [*QUESTIONS, "/v1/anomalies/feedback", "/api/deployments", "/api/outcomes"])
def test_json_that_means_harm(post: Post, path: str) -> None:
    for what, body in HARM.items():
        assert post(path, body) >= 400, what
    assert post(path, b"{}", **{"content-encoding": "gzip"}) == 415


def test_lines_that_mean_harm(post: Post) -> None:
    for body in HARM.values():
        post("/v1/anomalies/stream?model=meters", body, "application/x-ndjson")
        many = body[:20_000].replace(b",", b"\n")
        post("/v1/anomalies/stream?model=meters", many, "application/x-ndjson")


def test_nothing_of_refused_bodies_is_kept(post: Post) -> None:
    bodies = [body for body in HARM.values() if len(body) > 10_000]
    for body in bodies:
        post(QUESTIONS[0], body)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for body in bodies * 2:
            post(QUESTIONS[0], body)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < MOST_KEPT_BYTES


CELLS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(["2024-02-30", "9999-12-31T23:59:59Z", "-1", "1e400", "nan", "\x00", "red", "٣"]),
    st.lists(st.integers(), max_size=2),
)


def test_rows_of_any_cells(post: Post) -> None:
    @BOUNDS
    @given(
        rows=st.lists(
            st.dictionaries(st.sampled_from(["size", "colour", "built", "other"]), CELLS, max_size=4), max_size=4
        )
    )
    def run(rows: list[dict[str, Any]]) -> None:
        post("/v1/predict", json.dumps({"model": "goods", "rows": rows}).encode())

    run()
    assert post("/v1/predict", b'{"model": "goods", "rows": [{"size": 1, "colour": "red"}]}') == 200


def streams(frame: pd.DataFrame) -> list[bytes]:
    """Return a table in every form that Arrow has for it, and with columns that nobody asked for."""
    plain = pa.Table.from_pandas(frame, preserve_index=False)
    count = len(frame)
    union = pa.UnionArray.from_sparse(pa.array([0] * count, pa.int8()), [pa.array(range(count))])
    runs = pa.RunEndEncodedArray.from_arrays(pa.array([count], pa.int32()), pa.array([1.0]))
    more: dict[str, Any] = {
        "null": pa.nulls(count),
        "list": pa.array([[1.0]] * count),
        "struct": pa.array([{"a": {"b": 1}}] * count),
        "map": pa.array([[(1, 2)]] * count, pa.map_(pa.int8(), pa.int8())),
        "union": union,
        "runs": runs,
        "view": pa.array(["a"] * count, pa.string_view()),
        "decimal": pa.array([1] * count, pa.decimal128(9, 2)),
        "dictionary": pa.array(["a"] * count).dictionary_encode(),
    }
    tables = [plain, plain.select([]), *(plain.append_column(name, column) for name, column in more.items())]
    tables.append(plain.replace_schema_metadata({"pandas": '{"columns": [', "ARROW:extension:name": "x"}))
    options: list[dict[str, Any]] = [{}] * len(tables) + [{"compression": "zstd"}, {"compression": "lz4"}]
    return [written(table, **kind) for table, kind in zip([*tables, plain, plain], options, strict=True)]


def written(table: pa.Table, **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table, max_chunksize=20)
    return bytes(sink.getvalue())


@st.composite
def altered(draw: st.DrawFn, bodies: list[bytes]) -> bytes:
    """Return a stream with bytes and words of its metadata changed, or torn, or with a part doubled."""
    body = bytearray(draw(st.sampled_from(bodies)))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(body) - 1))
        match draw(st.sampled_from(["byte", "word", "long", "cut", "double"])):
            case "byte":
                body[at] = draw(st.integers(0, 255))
            case "word":
                body[at & ~3 : (at & ~3) + 4] = struct.pack("<I", draw(st.sampled_from(WORDS)) & 0xFFFFFFFF)
            case "long":
                body[at & ~7 : (at & ~7) + 8] = struct.pack("<Q", draw(st.sampled_from(WORDS)))
            case "cut":
                del body[at + 1 :]
            case _:
                body[at:at] = body[at : at + 64]
    return bytes(body)


def test_tables_of_any_form_whole_and_altered(post: Post, hourly: Any, ensemble: Any) -> None:
    rows = hourly.frame.groupby("series_id", sort=False).tail(ensemble.context + 3).reset_index(drop=True)
    bodies = streams(rows)
    path = "/v1/emissions/forecast?model=nox"
    answered = [post(path, body, ARROW) for body in bodies]
    assert answered[0] == 200
    assert answered[-3] == 200, "metadata of a table's own writer"
    assert set(answered[1:-3] + answered[-2:]) <= {400, 422}

    @BOUNDS
    @given(body=altered(bodies))
    def run(body: bytes) -> None:
        post(path, body, ARROW)

    run()
    assert post(path, bodies[0], ARROW) == 200


def test_a_table_of_more_rows_than_bytes_is_refused_before_it_is_built(post: Post) -> None:
    count = 3_000_000
    table = pa.table({"series_id": pa.nulls(count), "timestamp": pa.nulls(count)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    body = bytes(sink.getvalue())
    assert len(body) < 10_000
    assert post("/v1/emissions/forecast?model=nox", body, ARROW) == 400
