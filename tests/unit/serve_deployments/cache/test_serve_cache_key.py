"""Two questions share a digest exactly where their answers are the same."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_deployments.cache.key import DIGEST_BYTES, series_digest


@dataclass(frozen=True)
class Asked:
    """A series as asked."""

    series_id: str = "s"
    timestamps: tuple[str, ...] = ("2024-01-01T00:00:00", "2024-01-01T01:00:00")
    values: dict[str, list[float]] = field(default_factory=lambda: {"a": [1.0, 3.0], "b": [2.0, 4.0]})
    future: dict[str, list[float]] | None = None


SERIES = Asked()
BASE = series_digest([SERIES], 2, (0.1, 0.9))


def test_form_does_not_count() -> None:
    integers = replace(SERIES, values={"b": [2, 4], "a": [1, 3]})
    arrays = replace(SERIES, values={"a": np.array([1.0, 3.0]), "b": np.array([2.0, 4.0], dtype=">f8")})  # type: ignore[dict-item]
    assert series_digest([integers], 2, (0.1, 0.9)) == BASE
    assert series_digest([arrays], 2, (0.1, 0.9)) == BASE
    assert series_digest([replace(SERIES, future={})], 2, (0.1, 0.9)) == BASE
    assert len(BASE) == DIGEST_BYTES


@pytest.mark.parametrize(
    "other",
    [
        series_digest([SERIES], 1, (0.1, 0.9)),
        series_digest([SERIES], 2, (0.1, 0.95)),
        series_digest([SERIES], 2, (0.1, 0.5, 0.9)),
        series_digest([SERIES, SERIES], 2, (0.1, 0.9)),
        series_digest([replace(SERIES, series_id="t")], 2, (0.1, 0.9)),
        series_digest([replace(SERIES, timestamps=("2024-01-01T00:00:00", "2024-01-01T02:00:00"))], 2, (0.1, 0.9)),
        series_digest([replace(SERIES, values={"a": [1.0, 3.0], "c": [2.0, 4.0]})], 2, (0.1, 0.9)),
        series_digest([replace(SERIES, values={"a": [1.0, 2.0], "b": [3.0, 4.0]})], 2, (0.1, 0.9)),
        series_digest([replace(SERIES, values={"a": [2.0, 4.0], "b": [1.0, 3.0]})], 2, (0.1, 0.9)),
        series_digest([replace(SERIES, future={"a": [1.0]})], 2, (0.1, 0.9)),
        series_digest([replace(SERIES, series_id="s2", timestamps=("024-01-01T00:00:00",))], 2, (0.1, 0.9)),
    ],
)
def test_whatever_changes_the_answer_changes_the_digest(other: bytes) -> None:
    assert other != BASE


@given(st.lists(st.floats(), min_size=1, max_size=6), st.integers(0, 5), st.floats())
def test_numbers_are_told_apart_by_their_bytes(numbers: list[float], row: int, other: float) -> None:
    changed = list(numbers)
    changed[row % len(numbers)] = other
    same = struct.pack(f"{len(numbers)}d", *numbers) == struct.pack(f"{len(numbers)}d", *changed)
    one, two = (series_digest([Asked(values={"a": each})], 1, (0.5,)) for each in (numbers, changed))
    assert (one == two) is same


@given(st.permutations(["x", "y", "z"]))
def test_the_order_of_the_series_counts_because_the_answer_follows_it(order: list[str]) -> None:
    one, two = (series_digest([Asked(series_id=name) for name in each], 1, (0.5,)) for each in ("xyz", order))
    assert (one == two) is (order == ["x", "y", "z"])


TEXTS = st.lists(st.text(max_size=4), min_size=1, max_size=3)


@given(TEXTS, TEXTS)
def test_borders_between_words_count(one: list[str], other: list[str]) -> None:
    made = [series_digest([Asked(each[0], tuple(each[1:]), {})], 1, (0.5,)) for each in (one, other)]
    assert (made[0] == made[1]) is (one == other)
