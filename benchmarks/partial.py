"""Results kept as they come, so that a long benchmark that is interrupted goes on where it was."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.measure import RESULTS

FOLDER = RESULTS / "partial"
ROOT = Path(__file__).parents[1]


def kept(benchmark: str, key: str, compute: Callable[[], Any]) -> Any:
    """Return the JSON value kept under `key`, or compute and keep it."""
    path = FOLDER / f"{benchmark}.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    if key not in known:
        found = compute()
        # Read again: another part of the same benchmark may have written meanwhile.
        known = json.loads(path.read_text()) if path.exists() else {}
        known[key] = found
        FOLDER.mkdir(parents=True, exist_ok=True)
        aside = path.with_suffix(".tmp")
        aside.write_text(json.dumps(known))
        aside.replace(path)
    return known[key]


@cache
def code_hash(patterns: tuple[str, ...]) -> str:
    """Return what changes with the files that these patterns match: what other code found does not count."""
    paths = sorted(path for pattern in patterns for path in ROOT.glob(pattern))
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()[:12]
