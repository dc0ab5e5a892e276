"""What makes two requests the same: one digest over what the model sees of them."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple

import numpy as np

from training.core.windows import Windows

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


def windows_digest(windows: Windows, steps: int, levels: Sequence[float]) -> bytes:
    """Return the digest of a question about series, from what the model sees of it.

    Canonical is: the rows the model looks at as little-endian float64 in the order of its columns, and their times.
    So `1` and `1.0` are the same, and so are other orders of columns, other white space, and older rows that the
    model does not look at. The order of the series counts, because the answer follows it, and so do their names,
    which it carries. Numbers are told apart by their bytes, so that 0.0 and -0.0 differ: that costs a computation,
    never a wrong answer.

    Parameters
    ----------
    windows
        Validated, as a servable's jobs hold them.
    steps, levels
        As asked, defaults filled in.
    """
    hasher = blake2b(digest_size=DIGEST_BYTES)
    hasher.update(struct.pack(f"<qq{len(levels)}d", steps, len(levels), *levels))
    _add_windows(hasher, windows)
    return hasher.digest()


def _add_windows(hasher: blake2b, windows: Windows) -> None:
    ahead = windows.ahead
    hasher.update(struct.pack("<qqq?", len(windows), windows.length, len(windows.columns), ahead is not None))
    _add_words(hasher, windows.ids)
    hasher.update(np.ascontiguousarray(windows.values, "<f8").data)
    hasher.update(np.ascontiguousarray(windows.timestamps).view("<i8").data)
    if ahead is not None:
        _add_windows(hasher, ahead)


def _add_words(hasher: blake2b, words: Sequence[str]) -> None:
    """Add words and where each ends: ("ab", "c") and ("a", "bc") differ."""
    encoded = [word.encode() for word in words]
    hasher.update(struct.pack(f"<q{len(encoded)}q", len(encoded), *map(len, encoded)))
    hasher.update(b"".join(encoded))
