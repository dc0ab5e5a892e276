"""Many series in one request: rows a second as Arrow tables, against the same series as JSON.

A row is a row of the table that is sent: 30 rows make one forecast. Baseline and ours are seconds a million rows.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import orjson
import pyarrow as pa

from benchmarks.measure import Benchmark, Pair
from benchmarks.serving.contenders import CACHE, Contender, ours_running
from benchmarks.serving.load import SLOT
from benchmarks.serving.model import NAME, ROWS, make, request
from serve_deployments.handlers.arrow import MEDIA_TYPE

SERIES_JSON, SERIES_ARROW = 250, 1000
CONNECTIONS, SECONDS = 2, 6.0


def _one() -> dict[str, object]:
    series: dict[str, object] = orjson.loads(request().replace(SLOT, b"0000000"))["series"][0]
    return series


def json_body(count: int) -> bytes:
    """Return a request of many series."""
    one = _one()
    made = orjson.dumps({"model": NAME, "series": [{**one, "series_id": f"plant-{n}"} for n in range(count)]})
    return made.replace(b"[12.0,", b"[12." + SLOT + b",", 1)  # so that no cache answers


def arrow_body(count: int) -> bytes:
    """Return the same as a table."""
    one = _one()
    columns: dict[str, object] = {
        "series_id": [f"plant-{n}" for n in range(count) for _ in range(ROWS)],
        "timestamp": pa.array(list(one["timestamps"]) * count).cast(pa.timestamp("ns")),  # type: ignore[call-overload]
    }
    values: dict[str, list[float]] = one["values"]  # type: ignore[assignment]
    table = pa.table(columns | {name: column * count for name, column in values.items()})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def _rows_per_s(server: Contender, body: bytes, count: int, folder: Path, **changes: object) -> float:
    file = folder / "bulk"
    file.write_bytes(body)
    asked = replace(server, body=str(file), **changes)  # type: ignore[arg-type]
    asked.load(rate=0, seconds=1, connections=CONNECTIONS)
    told = asked.load(rate=0, seconds=SECONDS, connections=CONNECTIONS)
    return float(told["rps"]) * count * ROWS


def pair(seed: int, baseline_first: bool) -> Pair:
    """Send both, in turn."""
    found: dict[str, float] = {}
    with ours_running(make(CACHE / "model")) as server, tempfile.TemporaryDirectory() as folder:
        for kind in ("json", "arrow") if baseline_first else ("arrow", "json"):
            if kind == "json":
                found[kind] = _rows_per_s(server, json_body(SERIES_JSON), SERIES_JSON, Path(folder))
            else:
                path, headers = f"{server.path}?model={NAME}", {**server.headers, "content-type": MEDIA_TYPE}
                found[kind] = _rows_per_s(
                    server, arrow_body(SERIES_ARROW), SERIES_ARROW, Path(folder), path=path, headers=headers
                )
    notes = {f"{kind}_rows_per_s": round(rows) for kind, rows in found.items()}
    return Pair(seed=seed, baseline=1e6 / found["json"], ours={"arrow": 1e6 / found["arrow"]}, notes=notes)


BENCHMARK = Benchmark(
    name="serving_bulk",
    question="seconds a million rows of history sent in bulk: Arrow over JSON (notes: rows a second)",
    goal=1.0,
    pair=pair,
)
