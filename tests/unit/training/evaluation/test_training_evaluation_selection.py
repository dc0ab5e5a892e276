from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cluster.errors import ConfigError, InsufficientHistoryError, UnknownNameError
from training.core.panel import Panel
from training.core.schema import Column, Schema
from training.core.splits import chronological_split
from training.evaluation.chosen import fit_choice, panel_of
from training.evaluation.greedy import greedy_weights
from training.evaluation.groups import groups_by_look, look_of, season_strength
from training.evaluation.rolling import Family, Rolling, RollingPlan, rolling_backtest
from training.evaluation.selection import select

NAIVE, MEAN = Family.of("seasonal_naive", season=12), Family.of("seasonal_mean", season=12)
RIDGE = Family.of("ridge", window=24)


def made_up(errors: np.ndarray[Any, Any], labels: list[str]) -> Rolling:
    """Return a backtest whose (F, S, K, H) errors are given; the truth is 10."""
    series, cutoffs, horizon = errors.shape[1:]
    return Rolling(
        plan=RollingPlan(horizon=horizon, cutoffs=cutoffs),
        families=tuple(Family.of("ridge", label=label) for label in labels),
        series=tuple(f"s{number}" for number in range(series)),
        targets=("y",),
        moments=np.datetime64("2024-01-01", "ns") + np.arange(cutoffs) * np.timedelta64(1, "D"),
        actual=np.full((series, cutoffs, horizon, 1), 10, dtype=np.float32),
        points=(10 + errors[..., None]).astype(np.float32),
        scale=np.full((series, 1), 2.0),
        faults=(),
        seconds=dict.fromkeys(labels, 0.0),
    )


def noise(*sizes: float, cutoffs: int = 8, seed: int = 0, shared: float = 0.0) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(seed)
    common = rng.normal(0, shared, (5, cutoffs, 6)) if shared else 0
    return np.stack([common + rng.normal(0, size, (5, cutoffs, 6)) for size in sizes])


def test_a_clear_winner_is_taken_and_the_figures_say_why() -> None:
    (choice,) = select(made_up(noise(2.0, 0.2, 1.0), ["naive", "ridge", "trees"])).choices
    assert choice.weights == {"ridge": 1.0}
    assert choice.group == "all"
    assert [score.family for score in choice.scores] == ["ridge", "trees", "naive"]
    best, second = choice.scores[:2]
    said = f"ridge {best.score:.4f} +- {best.spread:.4f} beats trees {second.score:.4f} on 8 of 8 cut-offs, by"
    assert said in choice.reasons[0]
    assert choice.forecasts == 40
    assert best.score == pytest.approx(np.abs(noise(2.0, 0.2, 1.0)[1]).mean() / 2, rel=1e-3)


def test_a_tiny_gain_buys_no_complexity() -> None:
    errors = noise(1.0, shared=1.0)
    twin = np.sign(errors) * (np.abs(errors) - np.random.default_rng(1).normal(0.01, 0.3, errors.shape))
    (choice,) = select(made_up(np.concatenate([errors, twin]), ["simple", "complex"])).choices
    assert choice.weights == {"simple": 1.0}
    swapped = select(made_up(np.concatenate([errors, errors - 0.5 * np.sign(errors)]), ["simple", "complex"]))
    assert swapped.choices[0].weights == {"complex": 1.0}


def test_an_equal_family_loses_the_tie() -> None:
    errors = np.repeat(noise(1.0), 2, axis=0)
    (choice,) = select(made_up(errors, ["simple", "twin"])).choices
    assert choice.weights == {"simple": 1.0}


def test_two_independent_families_make_an_ensemble() -> None:
    (choice,) = select(made_up(noise(1.0, 1.0, 3.0), ["a", "b", "bad"])).choices
    assert set(choice.weights) == {"a", "b"}
    assert sum(choice.weights.values()) == pytest.approx(1)
    assert 0.35 < choice.weights["a"] < 0.65
    assert "gains" in choice.reasons[-1]
    assert choice.reasons[-1].endswith("taken")


def test_an_ensemble_that_only_fits_its_own_cutoffs_is_not_taken() -> None:
    rng = np.random.default_rng(0)
    common = rng.normal(0, 1, (1, 1, 6, 6))
    errors = common + rng.normal(0, 0.15, (4, 1, 6, 6))
    (choice,) = select(made_up(errors, ["a", "b", "c", "d"])).choices
    assert choice.weights == {"a": 1.0}
    assert "not taken, a alone is as good" in choice.reasons[-1]


def test_a_family_without_enough_forecasts_is_not_compared() -> None:
    errors = noise(1.0, 0.1)
    errors[1, :3] = np.nan
    (choice,) = select(made_up(errors, ["a", "gaps"])).choices
    assert choice.weights == {"a": 1.0}
    assert choice.left_out == {"gaps": "it has 16 of 40 forecasts"}
    assert "gaps was not compared" in choice.reasons[-1]
    errors = noise(1.0, 0.1)
    errors[1, 0, :2] = np.nan
    (choice,) = select(made_up(errors, ["a", "gap"])).choices
    assert choice.forecasts == 38
    assert choice.weights == {"gap": 1.0}


def test_each_group_has_its_own_choice() -> None:
    errors = noise(1.0, 1.0)
    errors[0, :2] *= 0.1
    errors[1, 2:] *= 0.1
    groups = {"s0": "x", "s1": "x", "s2": "y", "s3": "y", "s4": "y"}
    selection = select(made_up(errors, ["a", "b"]), groups=groups)
    assert selection.choice("x").weights == {"a": 1.0}
    assert selection.choice("y").weights == {"b": 1.0}
    assert selection.choice("x").series == ("s0", "s1")
    with pytest.raises(UnknownNameError, match="group"):
        selection.choice("z")


def test_the_measure_makes_series_comparable() -> None:
    rolling = made_up(noise(1.0, 1.2), ["a", "b"])
    by_mase, by_wape = select(rolling), select(rolling, measure="wape")
    assert by_wape.choices[0].scores[0].score == pytest.approx(by_mase.choices[0].scores[0].score * 2 / 10)
    with pytest.raises(ConfigError, match="mase or wape"):
        select(rolling, measure="mape")  # type: ignore[arg-type]


def test_one_cutoff_cannot_say_how_sure_it_is() -> None:
    with pytest.raises(ConfigError, match="2 cut-offs or more"):
        select(made_up(noise(1.0, cutoffs=1), ["a"]))


def test_nothing_to_compare_says_so() -> None:
    rolling = made_up(noise(1.0), ["a"])
    with pytest.raises(InsufficientHistoryError, match="no family could be compared"):
        select(replace(rolling, points=np.full_like(rolling.points, np.nan)))


def test_json_has_every_reason() -> None:
    selection = select(made_up(noise(1.0, 1.0, 3.0), ["a", "b", "bad"]))
    told = json.loads(json.dumps(selection.to_json(), allow_nan=False))
    assert told["choices"][0]["reasons"] == list(selection.choices[0].reasons)
    assert told["families"][0] == {"label": "a", "model": "ridge", "params": {}}


def test_greedy_weights_are_near_the_best_on_the_simplex() -> None:
    rng = np.random.default_rng(2)
    errors = rng.normal(0, [[1.0], [2.0], [1.5]], (3, 4000))
    weights = greedy_weights(errors)
    assert weights.sum() == pytest.approx(1)
    grid = [(a / 20, b / 20, (20 - a - b) / 20) for a in range(21) for b in range(21 - a)]
    least = min(np.abs(np.array(each) @ errors).mean() for each in grid)
    assert np.abs(weights @ errors).mean() <= least * 1.005
    assert np.array_equal(greedy_weights(errors[:1]), [1.0])
    assert np.array_equal(greedy_weights(np.zeros((2, 5))), [1.0, 0.0])


def yearly(seed: int = 0, rows: int = 400) -> Panel:
    rng = np.random.default_rng(seed)
    frames = []
    for number in range(4):
        hours = np.arange(rows)
        wave = 10 * np.sin(hours / 12 * 2 * np.pi) if number < 2 else 0
        y = 50 + wave + (np.cumsum(rng.normal(0, 1, rows)) if number >= 2 else rng.normal(0, 2, rows))
        times = pd.date_range("2024-01-01", periods=rows, freq="h")
        frames.append(pd.DataFrame({"series_id": f"s{number}", "timestamp": times, "y": y}))
    schema = Schema(name="two", frequency="h", targets=(Column(name="y"),), season_length=12)
    return Panel(pd.concat(frames, ignore_index=True), schema)


def test_a_selection_becomes_a_model_for_each_group() -> None:
    panel = yearly()
    split = chronological_split(panel)
    groups = groups_by_look(panel.before(split.test_start))
    assert groups == {"s0": "seasonal", "s1": "seasonal", "s2": "plain", "s3": "plain"}
    rolling = rolling_backtest(
        panel, [NAIVE, MEAN, RIDGE], RollingPlan(horizon=6), groups=groups, until=split.test_start
    )
    selection = select(rolling, groups=groups)
    for group in ("seasonal", "plain"):
        model = fit_choice(selection, group, panel, split)
        shares = {member.name: float(w) for member, w in zip(model.members, model.weights, strict=True)}
        assert shares == pytest.approx(dict(selection.choice(group).weights))
        theirs = panel_of(panel, selection.choice(group).series)
        prediction = model.forecast(theirs)
        assert prediction.ids == selection.choice(group).series
        assert np.isfinite(prediction.values).all()


def test_looks() -> None:
    rng = np.random.default_rng(0)
    assert season_strength(np.tile(np.arange(12.0), 10), 12) == pytest.approx(1)
    assert season_strength(rng.normal(0, 1, 1200), 12) < 0.1
    assert season_strength(np.full(120, 3.0), 12) == 0
    assert season_strength(np.arange(20.0), 12) == 0
    assert season_strength(np.arange(20.0), 1) == 0
    assert look_of(np.zeros(30), 12).group(12) == "short"
    assert look_of(np.where(np.arange(100) % 3, 0.0, 1.0), 12).group(12) == "intermittent"
