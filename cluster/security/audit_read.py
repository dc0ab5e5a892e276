"""The audit log in the order of time, newest first, over all writers, in little memory."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cluster.security.audit_chain import read_line

_BLOCK = 1 << 16


def records(folder: Path, day: str | None = None) -> Iterator[dict[str, Any]]:
    """Yield records, the newest first; it does not check them.

    Parameters
    ----------
    folder
        The audit folder.
    day
        ISO 8601; all days where None.
    """
    days = sorted((each for each in folder.glob("????-??-??") if day in (None, each.name)), reverse=True)
    for each in days:
        writers = [_backwards(path) for path in sorted(each.glob("*.jsonl"))]
        yield from heapq.merge(*writers, key=lambda record: str(record.get("time", "")), reverse=True)


def _backwards(path: Path) -> Iterator[dict[str, Any]]:
    for raw in _lines_backwards(path):
        line = read_line(raw)
        if line is not None:
            yield line.entry


def _lines_backwards(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        left, rest = file.seek(0, 2), b""
        while left:
            step = min(_BLOCK, left)
            left -= step
            file.seek(left)
            rest, *lines = (file.read(step) + rest).split(b"\n")
            yield from reversed(lines)
        yield rest
