"""The unit cube: there and back again, never out of bounds, each value of a bin with the chance it should have."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from training.core.cube import Cube
from training.core.families import FAMILY, joined, parted, whole_draw
from training.core.space import Choice, Dimension, Real, Space, When, Whole, exists, parameters, starting_draw

shares = st.floats(0, 1)


@st.composite
def reals(draw: Any) -> Real:
    if draw(st.booleans()):
        low = draw(st.floats(1e-9, 1e3))
        return Real(low, low * draw(st.floats(1.001, 1e9)), log=True)
    low = draw(st.floats(-1e6, 1e6))
    return Real(low, low + draw(st.floats(1e-3, 1e6)))


@st.composite
def wholes(draw: Any) -> Whole:
    log = draw(st.booleans())
    low = draw(st.integers(1 if log else -1000, 1000))
    return Whole(low, low + draw(st.integers(1, 5000)), log=log)


choices = st.integers(1, 7).map(lambda count: Choice(tuple(f"value {at}" for at in range(count))))


@st.composite
def spaces(draw: Any) -> Space:
    space: Space = {}
    for at in range(draw(st.integers(1, 6))):
        dimension: Dimension = draw(st.one_of(reals(), wholes(), choices))
        parents = [name for name, each in space.items() if isinstance(each, Choice)]
        if parents and draw(st.booleans()):
            parent = draw(st.sampled_from(parents))
            options = space[parent].values  # type: ignore[union-attr]
            when = When(parent, tuple(draw(st.sets(st.sampled_from(options), min_size=1))))
            dimension = type(dimension)(**{**vars(dimension), "when": when})
        space[f"p{at}"] = dimension
    return space


@st.composite
def points(draw: Any) -> tuple[Cube, np.ndarray[Any, np.dtype[np.float64]]]:
    cube = Cube(draw(spaces()))
    return cube, np.array([draw(shares) for _ in cube.names])


@given(points())
def test_a_draw_survives_the_cube_and_json(case: tuple[Cube, np.ndarray[Any, np.dtype[np.float64]]]) -> None:
    cube, point = case
    draw = cube.decode(point)
    assert json.loads(json.dumps(draw)) == draw
    again = cube.decode(cube.encode(draw))
    assert again.keys() == draw.keys()
    for name, drawn in draw.items():
        dimension = cube.space[name]
        if isinstance(dimension, Real):
            assert abs(again[name] - drawn) <= 1e-9 * max(abs(dimension.low), abs(dimension.high))
        else:
            assert again[name] == drawn


@given(points())
def test_a_draw_is_within_its_bounds_and_has_what_exists(
    case: tuple[Cube, np.ndarray[Any, np.dtype[np.float64]]],
) -> None:
    cube, point = case
    draw = cube.decode(point)
    assert all(exists(dimension, cube.space, draw) == (name in draw) for name, dimension in cube.space.items())
    for name, value in parameters(cube.space, draw).items():
        dimension = cube.space[name]
        assert (
            value in dimension.values if isinstance(dimension, Choice) else dimension.low <= value <= dimension.high
        )
    encoded = cube.encode(draw)
    assert ((encoded >= 0) & (encoded <= 1)).all()


@given(points())
def test_many_points_are_snapped_as_each_alone(case: tuple[Cube, np.ndarray[Any, np.dtype[np.float64]]]) -> None:
    cube, point = case
    several = np.vstack([point, 1 - point, point[::-1]])
    snapped, there = cube.snap(several)
    for row, each in enumerate(several):
        draw = cube.decode(each)
        np.testing.assert_array_equal(snapped[row], cube.encode(draw))
        assert there[row].tolist() == [name in draw for name in cube.names]


@given(points(), st.floats(0, 10))
def test_what_lies_beyond_the_cube_is_moved_to_its_edge(
    case: tuple[Cube, np.ndarray[Any, np.dtype[np.float64]]], beyond: float
) -> None:
    cube, point = case
    ends = np.round(point)
    assert cube.decode(ends + np.where(ends > 0, beyond, -beyond)) == cube.decode(ends)


@given(wholes(), shares)
def test_a_whole_number_is_the_nearest_one(dimension: Whole, share: float) -> None:
    cube = Cube({"k": dimension})
    drawn = cube.decode(np.array([share]))["k"]
    low, high = dimension.low - 0.5, dimension.high + 0.5
    exact = low * (high / low) ** share if dimension.log else low + share * (high - low)
    assert abs(drawn - exact) <= 0.5 + 1e-6 * abs(exact)


@given(st.one_of(wholes().filter(lambda each: not each.log), choices))
def test_uniform_shares_fall_on_each_value_equally_often(dimension: Whole | Choice) -> None:
    count = len(dimension.values) if isinstance(dimension, Choice) else dimension.high - dimension.low + 1
    cube = Cube({"k": dimension})
    middles = (np.arange(3 * count) + 0.5) / (3 * count)
    _, often = np.unique(cube.snap(middles[:, None])[0], return_counts=True)
    assert often.tolist() == [3] * count


@given(st.floats(1e-9, 1e3), st.floats(1.1, 1e6), shares)
def test_a_log_scale_has_equal_factors_for_equal_steps(low: float, factor: float, share: float) -> None:
    dimension = Real(low, low * factor, log=True)
    drawn = Cube({"r": dimension}).decode(np.array([share]))["r"]
    assert np.isclose(drawn, low * factor**share)


@given(spaces(), spaces(), st.booleans(), st.data())
def test_families_are_joined_and_parted(one: Space, other: Space, second: bool, data: Any) -> None:
    families = {"one": one, "other": other}
    cube = Cube(joined(families))
    draw = cube.decode(np.array([data.draw(shares) for _ in cube.names]))
    family, own = parted(families, draw)
    assert family == cube.space[FAMILY].values[int(draw[FAMILY])]  # type: ignore[union-attr]
    Cube(families[family]).encode(own)
    assert whole_draw(families, family, own) == draw


@given(points())
def test_defaults_that_lie_in_the_space_are_the_start(
    case: tuple[Cube, np.ndarray[Any, np.dtype[np.float64]]],
) -> None:
    cube, point = case
    draw = cube.decode(point)
    assert starting_draw(cube.space, parameters(cube.space, draw)) == draw
    assert cube.complete(draw) == draw
    cube.encode(cube.complete({}))
