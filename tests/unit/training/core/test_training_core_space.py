"""The door of a search space: what is refused, and by which words."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cluster.errors import ConfigError
from training.core.cube import Cube
from training.core.space import Choice, Real, Space, When, Whole, ordered, starting_draw


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Real(2.0, 1.0), "got low=2.0, high=1.0, log=False, expected low below high"),
        (lambda: Whole(3, 3), "expected low below high"),
        (lambda: Real(0.0, 1.0, log=True), "expected low above 0, because its logarithm is taken"),
        (lambda: Whole(-4, 8, log=True), "expected low above 0"),
        (lambda: Real(0.0, math.inf), "expected finite ends"),
        (lambda: Real(math.nan, 1.0), "expected finite ends"),
        (lambda: Whole(1, 2.5), "expected whole numbers; use Real"),  # type: ignore[arg-type]
        (lambda: Choice(()), "a choice needs values: got none"),
        (lambda: Choice(("a", "b", "a")), "names each value once"),
        (lambda: When("kind", ()), "a condition on 'kind' needs values"),
    ],
)
def test_a_dimension_that_is_not_usable_is_refused(make: Callable[[], Any], words: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        make()
    assert words in str(refusal.value)


@pytest.mark.parametrize(
    ("space", "words"),
    [
        ({}, "a search space is empty: got no parameters"),
        ({"x": Real(0, 1, when=When("kind", ("a",)))}, "'x' depends on 'kind': got no such parameter"),
        ({"y": Real(0, 1), "x": Real(0, 1, when=When("y", (0.5,)))}, "'x' depends on 'y': got a Real"),
        ({"k": Choice(("a",)), "x": Real(0, 1, when=When("k", ("b",)))}, "'x' exists where 'k' is 'b'"),
        ({"k": Whole(1, 3), "x": Real(0, 1, when=When("k", (4,)))}, "'x' exists where 'k' is 4"),
        (
            {"a": Choice((1, 2), when=When("b", (1,))), "b": Choice((1, 2), when=When("a", (1,))), "c": Real(0, 1)},
            "conditions go round in a circle: got 'a', 'b'",
        ),
    ],
)
def test_a_space_that_is_not_usable_is_refused(space: Space, words: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        Cube(space)
    assert words in str(refusal.value)


def test_parents_come_before_what_depends_on_them() -> None:
    space: Space = {
        "c": Real(0, 1, when=When("b", (True,))),
        "b": Choice((False, True), when=When("a", (2, 3))),
        "a": Whole(1, 3),
    }
    assert ordered(space) == ("a", "b", "c")
    assert list(Cube(space).decode(np.array([0.5, 0.9, 0.9]))) == ["c", "b", "a"]


def test_a_start_leaves_out_what_does_not_exist_there() -> None:
    space: Space = {"kind": Choice(("sgd", "adam")), "momentum": Real(0.0, 0.99, when=When("kind", ("sgd",)))}
    assert starting_draw(space, {"kind": "adam", "momentum": 0.9}) == {"kind": 1}
    assert starting_draw(space, {"kind": "sgd", "momentum": 2.0}) == {"kind": 0, "momentum": 0.99}


def test_a_space_is_counted_where_it_is_finite() -> None:
    space: Space = {"a": Whole(1, 3), "b": Choice(("x", "y"), when=When("a", (3,)))}
    assert list(Cube(space).draws(10) or ()) == [{"a": 1}, {"a": 2}, {"a": 3, "b": 0}, {"a": 3, "b": 1}]
    assert Cube(space).draws(5) is None
    assert Cube(space | {"r": Real(0, 1)}).draws(10**9) is None


@pytest.mark.parametrize(
    ("draw", "words"),
    [
        ({"a": 1, "b": 0}, "'b' does not exist there"),
        ({"a": 3}, "'b' is missing"),
        ({"a": 9}, "'a' got 9"),
        ({"a": 1.5}, "'a' got 1.5"),
        ({"a": 3, "b": 2}, "'b' got 2"),
        ({"a": 1, "z": 0}, "got z, expected a, b"),
    ],
)
def test_what_is_no_draw_of_a_space_is_refused(draw: dict[str, float], words: str) -> None:
    with pytest.raises(ConfigError, match="no draw of this space") as refusal:
        Cube({"a": Whole(1, 3), "b": Choice(("x", "y"), when=When("a", (3,)))}).encode(draw)
    assert words in str(refusal.value)
