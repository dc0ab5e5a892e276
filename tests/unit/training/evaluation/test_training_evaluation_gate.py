"""Scorecards and the gate: a decision, its reasons, by how much."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from cluster.errors import ConfigError, GateRefused
from training.evaluation.backtest import LEVELS, Backtest
from training.evaluation.gate import Gate
from training.evaluation.scorecard import Scorecard


def test_of(error: float, *, targets: int = 1, model: str = "m", level: float = 100.0) -> Backtest:
    """Return forecasts that are `error` too high and then too low, of a truth that goes up and down by 1."""
    n, h = 40, 3
    steps = np.arange(n)[:, None] + np.arange(h)
    actual = np.repeat((level + np.where(steps % 2, 1.0, -1.0))[..., None], targets, axis=2)
    point = actual + np.where(np.arange(n) % 2, error, -error)[:, None, None]
    shifts = np.array([-2.0, -1.0, 0.0, 1.0, 2.0]) * error
    times = np.datetime64("2024-01-01", "ns") + np.arange(n + h) * np.timedelta64(1, "h")
    return Backtest(
        model=model,
        targets=tuple("ab"[:targets]),
        ids=("s",) * n,
        origins=times[:n],
        timestamps=np.lib.stride_tricks.sliding_window_view(times[1:], h),
        actual=actual,
        point=point,
        levels=LEVELS,
        quantiles=point[..., None] + shifts,
        last=np.full((n, targets), level),
        naive_mae=np.full(targets, 2.0),
    )


test_of.__test__ = False  # type: ignore[attr-defined]


def card(error: float, **more: object) -> Scorecard:
    return Scorecard.of(test_of(error, **more))  # type: ignore[arg-type]


def test_the_figures_are_what_was_built_in() -> None:
    figures = card(5.0).overall
    assert figures.mae == pytest.approx(5)
    assert figures.rmse == pytest.approx(5)
    assert figures.mase == pytest.approx(2.5)
    assert figures.wape == pytest.approx(0.05, rel=1e-3)
    assert figures.accuracy == 1 - figures.wape
    assert figures.bias == pytest.approx(0)
    assert figures.r2 == pytest.approx(1 - 25, rel=1e-2)
    assert (figures.coverage_90, figures.coverage_95) == (1, 1)
    assert figures.width_90 == pytest.approx(10)
    assert figures.width_95 == pytest.approx(20)


def test_each_step_has_its_own_figures() -> None:
    worse = test_of(5.0)
    worse.point[:, 2] += 100
    figures = Scorecard.of(worse)
    assert [round(step.bias, 9) for step in figures.steps] == [0, 0, 100]
    assert figures.overall.bias == pytest.approx(100 / 3)
    assert [step.coverage_90 for step in figures.steps] == [1, 1, 1]  # the quantiles stayed


def test_targets_count_the_same_whatever_their_unit() -> None:
    both = test_of(5.0, targets=2)
    both.actual[..., 1] *= 1000
    both.point[..., 1] = both.actual[..., 1] * 1.2
    figures = Scorecard.of(both)
    assert figures.targets["b"].wape == pytest.approx(0.2)
    assert figures.overall.wape == pytest.approx((figures.targets["a"].wape + 0.2) / 2)


def test_what_is_not_defined_is_null_in_json_and_left_out_of_metrics() -> None:
    still = test_of(1.0)
    still.actual[:] = 0
    figures = Scorecard.of(still)
    stored = json.loads(json.dumps(figures.to_json(), allow_nan=False))
    assert stored["overall"]["wape"] is None
    assert {"wape", "accuracy", "r2"} & set(figures.metrics()) == set()
    assert figures.metrics()["coverage_90"] >= 0
    assert stored["origins"] == 40
    assert stored["last_origin"] == "2024-01-02T15:00:00"


def test_a_good_candidate_passes_with_its_margins() -> None:
    verdict = Gate().judge(card(5.0, model="good"), card(8.0, model="naive"))
    assert verdict.passed
    verdict.require()
    accuracy, wape = verdict.bars
    assert accuracy.margin == pytest.approx(0.1, abs=1e-4)
    assert wape.margin == pytest.approx(0.03, abs=1e-4)
    assert verdict.summary() == (
        "passed: accuracy 0.9500 is 0.1000 above the minimum 0.8500; WAPE 0.0500 is 0.0300 below naive's 0.0800"
    )


def test_a_refusal_says_by_how_much_each_bar_was_missed() -> None:
    verdict = Gate().judge(card(20.0, model="bad"), card(18.0, model="naive"))
    with pytest.raises(GateRefused) as refusal:
        verdict.require()
    message = str(refusal.value)
    assert "'bad' may not be registered" in message
    assert "accuracy 0.8000 is 0.0500 below the minimum 0.8500" in message
    assert "WAPE 0.2000 is 0.0200 above naive's 0.1800" in message
    assert json.loads(json.dumps(refusal.value.context))["verdict"] == verdict.to_json()


def test_a_refusal_names_only_the_bars_that_were_missed() -> None:
    summary = Gate().judge(card(9.0), card(8.0, model="naive")).summary()
    assert "accuracy" not in summary
    assert "0.0100 above naive's" in summary


def test_as_good_as_the_baseline_is_not_better() -> None:
    verdict = Gate().judge(card(5.0), card(5.0, model="naive"))
    assert not verdict.passed
    assert "is equal to naive's" in verdict.summary()


@pytest.mark.parametrize("who", ["candidate", "baseline"])
def test_a_figure_that_is_not_a_number_is_refused(who: str) -> None:
    cards = {"candidate": card(1.0), "baseline": card(8.0)}
    figures = replace(cards[who].overall, wape=float("nan"), accuracy=float("nan"))
    cards[who] = replace(cards[who], overall=figures)
    verdict = Gate().judge(cards["candidate"], cards["baseline"])
    assert not verdict.passed
    assert "WAPE cannot be judged" in verdict.summary()
    json.dumps(verdict.to_json(), allow_nan=False)
    with pytest.raises(GateRefused, match="expected finite numbers"):
        verdict.require()


def test_figures_of_different_tests_are_not_compared() -> None:
    other = replace(card(8.0), origins=39)
    with pytest.raises(ConfigError, match="not judged on the same forecasts"):
        Gate().judge(card(5.0), other)
    with pytest.raises(ConfigError, match="not judged on the same forecasts"):
        Gate().judge(card(5.0), card(5.0, targets=2))


@pytest.mark.parametrize("minimum", [-0.1, 1.1, float("nan")])
def test_a_bar_out_of_range_is_refused(minimum: float) -> None:
    with pytest.raises(ConfigError, match="'minimum_accuracy'"):
        Gate(minimum_accuracy=minimum)
