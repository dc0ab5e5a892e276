"""Two requests share a digest exactly where their answers are the same."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_deployments.cache.key import DIGEST_BYTES, bytes_digest, canonical_digest
from training.core.windows import Windows


def windows(rows: Any = ((1.0, 2.0), (3.0, 4.0)), **more: Any) -> Windows:
    """Return one window over all rows."""
    values = np.asarray(rows, dtype=np.float64)
    made = Windows(
        rows=values,
        times=np.datetime64("2024-01-01", "ns") + np.arange(len(values)) * np.timedelta64(1, "h"),
        segments=np.array([0, len(values)]),
        starts=np.array([0]),
        length=len(values),
        columns=("a", "b"),
        series=("s",),
        frequency="h",
    )
    return replace(made, **more)


BASE = canonical_digest(windows(), 2, (0.1, 0.9))


def test_the_same_input_has_the_same_digest_wherever_it_lies_in_memory() -> None:
    longer = windows(((9.0, 9.0), (1.0, 2.0), (3.0, 4.0)))
    last = replace(longer, times=longer.times - np.timedelta64(1, "h"), starts=np.array([1]), length=2)
    assert canonical_digest(last, 2, (0.1, 0.9)) == BASE
    assert canonical_digest(windows(rows=np.asfortranarray([[1, 2], [3, 4]], dtype=float)), 2, (0.1, 0.9)) == BASE
    assert len(BASE) == DIGEST_BYTES


@pytest.mark.parametrize(
    "other",
    [
        canonical_digest(windows(), 1, (0.1, 0.9)),
        canonical_digest(windows(), 2, (0.1, 0.95)),
        canonical_digest(windows(), 2, (0.1, 0.5, 0.9)),
        canonical_digest(windows(), 2, (0.1, 0.9), ("explain",)),
        canonical_digest(windows(series=("t",)), 2, (0.1, 0.9)),
        canonical_digest(windows(columns=("ab", "")), 2, (0.1, 0.9)),
        canonical_digest(windows(frequency="D"), 2, (0.1, 0.9)),
        canonical_digest(windows(times=windows().times + np.timedelta64(1, "h")), 2, (0.1, 0.9)),
        canonical_digest(windows(ahead=windows()), 2, (0.1, 0.9)),
        canonical_digest(windows(((1.0, 3.0), (2.0, 4.0))), 2, (0.1, 0.9)),
    ],
)
def test_whatever_changes_the_answer_changes_the_digest(other: bytes) -> None:
    assert other != BASE


@given(
    st.lists(st.tuples(st.floats(), st.floats()), min_size=1, max_size=6),
    st.integers(0, 5),
    st.integers(0, 1),
    st.floats(),
)
def test_numbers_are_told_apart_by_their_bytes(
    rows: list[tuple[float, float]], row: int, column: int, other: float
) -> None:
    changed = np.array(rows)
    changed[row % len(rows), column] = other
    same = changed.tobytes() == np.array(rows).tobytes()
    assert (canonical_digest(windows(changed), 1, (0.5,)) == canonical_digest(windows(rows), 1, (0.5,))) is same


@given(st.permutations([0, 1, 2]))
def test_the_order_of_the_series_counts_because_the_answer_follows_it(order: list[int]) -> None:
    rows = np.arange(12.0).reshape(3, 2, 2)
    made = [
        windows(
            rows[list(each)].reshape(6, 2),
            series=tuple("xyz"[n] for n in each),
            segments=np.array([0, 2, 4, 6]),
            starts=np.array([0, 2, 4]),
            length=2,
            times=np.tile(windows().times, 3),
        )
        for each in ((0, 1, 2), order)
    ]
    first, second = (canonical_digest(each, 1, (0.5,)) for each in made)
    assert (first == second) is (order == [0, 1, 2])


@given(st.lists(st.binary(max_size=4), max_size=3), st.lists(st.binary(max_size=4), max_size=3))
def test_borders_between_byte_strings_count(one: list[bytes], other: list[bytes]) -> None:
    assert (bytes_digest(*one) == bytes_digest(*other)) is (one == other)
