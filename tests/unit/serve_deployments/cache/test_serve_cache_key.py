"""Two questions share a digest exactly where their answers are the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_deployments.cache.key import DIGEST_BYTES, windows_digest
from training.core.windows import Windows


def windows(
    ids: Sequence[str] = ("s",), rows: Any = ((1.0, 2.0), (3.0, 4.0)), first: str = "2024-01-01"
) -> Windows:
    table, n = np.tile(np.asarray(rows), (len(ids), 1)), len(ids)
    length = len(table) // n
    offsets = np.arange(0, (n + 1) * length, length)
    times = np.datetime64(first, "ns") + np.arange(len(table)) % length * np.timedelta64(3600, "s")
    return Windows(
        rows=table,
        times=times,
        segments=offsets,
        starts=offsets[:-1],
        length=length,
        columns=("a", "b")[: table.shape[1]],
        series=tuple(ids),
        frequency="h",
    )


SEEN = windows()
BASE = windows_digest(SEEN, 2, (0.1, 0.9))


def test_form_does_not_count() -> None:
    columns_first = np.array([[1, 3], [2, 4]]).T.astype(float)
    older = windows(rows=((9.0, 9.0), *SEEN.rows), first="2023-12-31T23:00")
    assert windows_digest(windows(rows=columns_first), 2, (0.1, 0.9)) == BASE
    assert windows_digest(older.tail(2), 2, (0.1, 0.9)) == BASE
    assert len(BASE) == DIGEST_BYTES


@pytest.mark.parametrize(
    "other",
    [
        windows_digest(SEEN, 1, (0.1, 0.9)),
        windows_digest(SEEN, 2, (0.1, 0.95)),
        windows_digest(SEEN, 2, (0.1, 0.5, 0.9)),
        windows_digest(windows(["s", "s"]), 2, (0.1, 0.9)),
        windows_digest(windows(["t"]), 2, (0.1, 0.9)),
        windows_digest(windows(first="2024-01-02"), 2, (0.1, 0.9)),
        windows_digest(windows(rows=((1.0, 3.0), (2.0, 4.0))), 2, (0.1, 0.9)),
        windows_digest(windows(rows=((1.0,), (2.0,), (3.0,), (4.0,))), 2, (0.1, 0.9)),
        windows_digest(replace(SEEN, ahead=windows(rows=((1.0, 2.0),))), 2, (0.1, 0.9)),
    ],
)
def test_whatever_changes_the_answer_changes_the_digest(other: bytes) -> None:
    assert other != BASE


@given(st.lists(st.floats(), min_size=1, max_size=6), st.integers(0, 5), st.floats())
def test_numbers_are_told_apart_by_their_bytes(numbers: list[float], row: int, other: float) -> None:
    changed = list(numbers)
    changed[row % len(numbers)] = other
    same = np.array(numbers).tobytes() == np.array(changed).tobytes()
    one, two = (windows_digest(windows(rows=np.array([each]).T), 1, (0.5,)) for each in (numbers, changed))
    assert (one == two) is same


@given(st.permutations(["x", "y", "z"]))
def test_the_order_of_the_series_counts_because_the_answer_follows_it(order: list[str]) -> None:
    one, two = (windows_digest(windows(each), 1, (0.5,)) for each in (["x", "y", "z"], order))
    assert (one == two) is (order == ["x", "y", "z"])


NAMES = st.lists(st.text(max_size=4), min_size=1, max_size=3)


@given(NAMES, NAMES)
def test_borders_between_names_count(one: list[str], other: list[str]) -> None:
    made = [windows_digest(windows(each), 1, (0.5,)) for each in (one, other)]
    assert (made[0] == made[1]) is (one == other)
