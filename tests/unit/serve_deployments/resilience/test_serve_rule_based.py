"""The rungs without a model: seasonal naive with its own past errors, and the stated default."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_deployments.resilience.rule_based import NoRuleError, least_errors, rule, rule_based, stated_default
from training.core.panel import Panel
from training.core.prediction import Prediction
from training.core.schema import Column, Schema
from training.core.windows import Floats, Windows

LEVELS = (0.1, 0.5, 0.9)


def schema(season: int, low: float | None = None, high: float | None = None) -> Schema:
    return Schema(name="s", frequency="h", targets=(Column(name="y", low=low, high=high),), season_length=season)


def windows(values: Floats, made: Schema) -> Windows:
    """Return one window of a series (L,)."""
    times = pd.date_range("2024-01-01", periods=len(values), freq="h")
    frame = pd.DataFrame({"series_id": "a", "timestamp": times, "y": values})
    return Panel(frame, made).windows(len(values))


def ruled(values: Floats, made: Schema, steps: int, levels: tuple[float, ...]) -> Prediction:
    return rule_based([values[:, None]], windows(values, made), made, steps, levels)


@given(rows=st.integers(1, 200), season=st.integers(1, 24), steps=st.integers(1, 48))
def test_a_step_looks_back_on_whole_seasons_and_never_ahead(rows: int, season: int, steps: int) -> None:
    made = rule(rows, season, steps)
    ahead = np.arange(1, steps + 1)
    assert (made.lags % season == 0).all()
    assert (made.lags >= ahead).all()
    assert (made.lags - ahead < season).all()
    assert made.errors == rows - made.lags.max()


@pytest.mark.parametrize(("levels", "least"), [((0.05, 0.95), 19), ((0.1, 0.5, 0.9), 9), ((0.25, 0.75), 3)])
def test_the_outermost_level_says_how_many_errors_there_must_be(levels: tuple[float, ...], least: int) -> None:
    assert least_errors(levels) == least


def test_point_interval_and_confidence_are_those_of_the_plain_sum() -> None:
    """The slow twin: judge the rule row by row, as a reader would."""
    season, steps = 4, 6
    made = schema(season)
    series = np.random.default_rng(3).normal(50, 5, 40)
    got = ruled(series, made, steps, LEVELS)
    count = len(series) - 8  # the longest lag: step 6 looks two seasons back
    for step in range(steps):
        lag = season * (step // season + 1)
        point = series[len(series) + step - lag]
        assert got.point[0, step, 0] == point
        errors = sorted(series[row] - series[row - lag] for row in range(len(series) - count, len(series)))
        low, high = errors[int(np.floor((count + 1) * 0.1)) - 1], errors[int(np.ceil((count + 1) * 0.9)) - 1]
        np.testing.assert_allclose(got.values[0, step, 0, [0, 2]], [point + low, point + high])
        near = np.mean([abs(error) <= 0.1 * abs(point) for error in errors])
        assert got.confidence[0, step, 0] == pytest.approx(near)


def test_a_short_history_repeats_the_last_value_and_a_shorter_one_is_refused() -> None:
    made = schema(24)
    series = np.arange(20.0)
    assert (ruled(series, made, 3, LEVELS).point[0, :, 0] == 19.0).all()
    with pytest.raises(NoRuleError, match="got 20 rows, which leave 17 past errors at 3 steps"):
        ruled(series, made, 3, (0.05, 0.95))


@given(st.lists(st.floats(0, 100), min_size=14, max_size=40), st.integers(1, 4))
def test_quantiles_are_ordered_hold_the_point_and_stay_possible(numbers: list[float], steps: int) -> None:
    made = schema(2, low=0, high=100)
    got = ruled(np.array(numbers), made, steps, LEVELS)
    assert (np.diff(got.values, axis=-1) >= 0).all()
    assert (got.values[..., 0] <= got.point).all()
    assert (got.point <= got.values[..., -1]).all()
    assert (got.values >= 0).all()
    assert (got.values <= 100).all()
    assert ((got.confidence >= 0) & (got.confidence <= 1)).all()


def test_the_interval_covers_what_it_says_on_exchangeable_errors() -> None:
    made, rng, inside, tries = schema(1), np.random.default_rng(5), 0, 600
    for _ in range(tries):
        walk = np.cumsum(rng.normal(0, 1, 60))
        got = ruled(walk[:-1], made, 1, LEVELS)
        inside += got.values[0, 0, 0, 0] <= walk[-1] <= got.values[0, 0, 0, 2]
    assert 0.76 <= inside / tries <= 0.87  # 0.8 and its standard error, 0.016, twice


def test_the_default_is_the_stated_value_between_what_is_possible_with_no_confidence() -> None:
    made = schema(1, low=0, high=200)
    got = stated_default(windows(np.arange(3.0), made), made, 2, LEVELS, {"y": 60.0})
    assert got.point[0, :, 0].tolist() == [60.0, 60.0]
    assert got.values[0, 0, 0].tolist() == [0.0, 60.0, 200.0]
    assert not got.confidence.any()


@pytest.mark.parametrize(
    ("low", "high", "defaults"), [(0.0, 200.0, {}), (None, 200.0, {"y": 1.0}), (0.0, 200.0, {"y": 300.0})]
)
def test_no_default_is_made_up(low: float | None, high: float | None, defaults: dict[str, float]) -> None:
    made = schema(1, low=low, high=high)
    with pytest.raises(NoRuleError, match="no default for 'y'"):
        stated_default(windows(np.arange(3.0), made), made, 2, LEVELS, defaults)
