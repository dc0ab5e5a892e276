"""What makes two requests the same: one digest over the packed numbers that the model will see."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from training.core.windows import Windows

DIGEST_BYTES = 32
"""No two inputs will ever share one, not even where somebody tries to make them."""


@dataclass(frozen=True)
class CacheKey:
    """One input of one version.

    Parameters
    ----------
    model
        `name@version`.
    digest
        Of the canonical input, `DIGEST_BYTES` long.
    """

    model: str
    digest: bytes


def canonical_digest(context: Windows, steps: int, levels: Sequence[float], asked: Sequence[str] = ()) -> bytes:
    """Return the digest of what a model computes an answer from.

    Canonical is what is left of a request once it is validated: the rows that the model looks back on, as float64
    in little-endian bytes, with columns in the schema's order. So `1` and `1.0` are the same, and the order of
    columns, white space and rows older than the model's context do not count. The order of the series does, because
    the answer follows it; so do the series' names and times, because the answer carries them. Numbers are compared
    by their bytes: 0.0 and -0.0 differ, which costs a computation and never a wrong answer.

    Parameters
    ----------
    context
        N windows, and what is known ahead of them.
    steps, levels
        As asked.
    asked
        Further words that change the answer: its form, or parts that were asked for.
    """
    hasher = blake2b(digest_size=DIGEST_BYTES)
    _add_words(hasher, asked)
    hasher.update(struct.pack(f"<qq{len(levels)}d", steps, len(levels), *levels))
    _add_windows(hasher, context)
    hasher.update(b"\0" if context.ahead is None else b"\1")
    if context.ahead is not None:
        _add_windows(hasher, context.ahead)
    return hasher.digest()


def bytes_digest(*parts: bytes) -> bytes:
    """Return the digest of some byte strings, their borders included."""
    hasher = blake2b(struct.pack(f"<{len(parts)}q", *map(len, parts)), digest_size=DIGEST_BYTES)
    for part in parts:
        hasher.update(part)
    return hasher.digest()


def _add_windows(hasher: blake2b, windows: Windows) -> None:
    _add_words(hasher, (*windows.columns, *windows.ids, windows.frequency))
    _add_array(hasher, windows.values, "<f8")
    _add_array(hasher, windows.timestamps.astype("datetime64[ns]", copy=False).view(np.int64), "<i8")


def _add_words(hasher: blake2b, words: Sequence[str]) -> None:
    """Add words and where each ends: ("ab", "c") and ("a", "bc") differ."""
    encoded = [word.encode() for word in words]
    hasher.update(struct.pack(f"<q{len(encoded)}q", len(encoded), *map(len, encoded)))
    hasher.update(b"".join(encoded))


def _add_array(hasher: blake2b, array: npt.NDArray[Any], kind: str) -> None:
    hasher.update(struct.pack(f"<q{array.ndim}q", array.ndim, *array.shape))
    hasher.update(np.ascontiguousarray(array, dtype=kind).data)
