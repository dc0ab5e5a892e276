"""Each model's space, drawn from by the sampler and turned back into parameters."""

from __future__ import annotations

import inspect
import json

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.core.component import build
from training.core.space import Choice, Dimension, Real, Space, Whole, parameters, starting_draw
from training.models import MODELS
from tuning.spaces import distribution, suggest

SEARCHED = [name for name in MODELS if MODELS.load(name).search_space()]


def _inside(dimension: Dimension, value: object) -> bool:
    if isinstance(dimension, Choice):
        return value in dimension.values
    assert isinstance(value, int if isinstance(dimension, Whole) else float)
    return dimension.low <= value <= dimension.high


@pytest.mark.parametrize("model", SEARCHED)
def test_what_is_drawn_lies_inside_and_builds_the_model(model: str) -> None:
    space = MODELS.load(model).search_space()
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(20):
        draw = suggest(study.ask(), space, f"{model}.")
        params = parameters(space, json.loads(json.dumps(draw)))
        assert set(params) == set(space)
        assert all(_inside(space[name], value) for name, value in params.items())
        assert (
            build(MODELS, model, params).params().items()
            >= {name: value for name, value in params.items() if not isinstance(value, tuple)}.items()
        )


@pytest.mark.parametrize("model", SEARCHED)
def test_the_defaults_are_a_start(model: str) -> None:
    kind = MODELS.load(model)
    defaults = {name: parameter.default for name, parameter in inspect.signature(kind).parameters.items()}
    space = kind.search_space()
    start = starting_draw(space, defaults)
    assert set(start) == set(space)
    for name, value in parameters(space, start).items():
        dimension = space[name]
        if isinstance(dimension, Choice):
            assert value == defaults[name]
        else:
            assert value == min(max(defaults[name], dimension.low), dimension.high)


def test_at_least_three_families_are_searched() -> None:
    assert {"lstm", "ridge", "xgboost"} <= set(SEARCHED)


@given(st.floats(-1e6, 1e6), st.floats(0.001, 1e6), st.floats(0, 1))
def test_a_distribution_contains_exactly_the_range(low: float, width: float, share: float) -> None:
    high = low + width
    inside = distribution(Real(low, high))
    assert inside._contains(min(low + share * width, high))
    assert not inside._contains(high + width)


@pytest.mark.parametrize(
    ("dimension", "value"),
    [
        (Whole(1, 9), True),
        (Real(0.1, 0.9), None),
        (Real(0.1, 0.9), inspect.Parameter.empty),
        (Choice(("a", "b")), "c"),
    ],
)
def test_a_default_that_is_no_point_of_the_space_is_left_out(dimension: Dimension, value: object) -> None:
    assert starting_draw({"x": dimension}, {"x": value, "unsearched": 1}) == {}


def test_a_number_beyond_the_range_starts_at_its_end() -> None:
    space: Space = {"l1": Real(1e-3, 10.0, log=True), "k": Whole(1, 9)}
    assert starting_draw(space, {"l1": 0.0, "k": 10}) == {"l1": 1e-3, "k": 9}
