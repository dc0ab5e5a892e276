"""What makes two requests the same: one digest over what was asked, numbers packed as they are in memory."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from itertools import chain
from typing import Any, NamedTuple, Protocol

import numpy as np

DIGEST_BYTES = 32
"""No two inputs will ever share one, not even where somebody tries to make them."""


class CacheKey(NamedTuple):
    """One input of one version; a tuple, whose hash is made without Python.

    Parameters
    ----------
    model
        `name@version`.
    digest
        Of the canonical input, `DIGEST_BYTES` long.
    """

    model: str
    digest: bytes


class AskedSeries(Protocol):
    """What of a series' history an answer follows from; see `schemas.Series`."""

    @property
    def series_id(self) -> str:
        """Its name, which the answer carries."""

    @property
    def timestamps(self) -> Sequence[str]:
        """One a row, as sent."""

    @property
    def values(self) -> Mapping[str, Sequence[float]]:
        """Column -> numbers, one a row."""

    @property
    def future(self) -> Mapping[str, Sequence[float]] | None:
        """Column -> numbers, one a step."""


def series_digest(series: Sequence[AskedSeries], steps: int, levels: Sequence[float]) -> bytes:
    """Return the digest of a question about series.

    Canonical is: float64 numbers as little-endian bytes, columns in the order of their names, series and rows in
    the order they were sent, times as they were written. So `1` and `1.0` are the same, and so are other orders of
    columns and other white space. The order of the series counts, because the answer follows it. Numbers are told
    apart by their bytes, so that 0.0 and -0.0 differ: that costs a computation, never a wrong answer. Nothing is
    validated here: an answer is kept under a digest only where the question was valid, so an equal one is as well.

    Parameters
    ----------
    series
        As asked.
    steps, levels
        As asked, defaults filled in.
    """
    hasher = blake2b(digest_size=DIGEST_BYTES)
    hasher.update(struct.pack(f"<qqq{len(levels)}d", steps, len(series), len(levels), *levels))
    for each in series:
        _add_words(hasher, (each.series_id, *each.timestamps))
        _add_columns(hasher, each.values)
        _add_columns(hasher, each.future or {})
    return hasher.digest()


def _add_columns(hasher: blake2b, columns: Mapping[str, Any]) -> None:
    names = sorted(columns)
    _add_words(hasher, names)
    lengths = [len(columns[name]) for name in names]
    hasher.update(struct.pack(f"<{len(lengths)}q", *lengths))
    # One array of all numbers: three times as fast as one a column.
    numbers = np.fromiter(chain.from_iterable(map(columns.__getitem__, names)), "<f8", sum(lengths))
    hasher.update(numbers.data)


def _add_words(hasher: blake2b, words: Sequence[str]) -> None:
    """Add words and where each ends: ("ab", "c") and ("a", "bc") differ."""
    encoded = [word.encode() for word in words]
    hasher.update(struct.pack(f"<q{len(encoded)}q", len(encoded), *map(len, encoded)))
    hasher.update(b"".join(encoded))
