"""Forecasts that cannot be true: not finite, impossible, or with an interval that has exploded."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cluster.errors import ConfigError
from serve_deployments.resilience.quality import QualityPolicy
from training.core.panel import Panel
from training.core.prediction import Prediction
from training.models.ensemble import Ensemble

LEVELS = (0.05, 0.5, 0.95)


@pytest.fixture(scope="module")
def policy(ensemble: Ensemble, hourly: Panel) -> QualityPolicy:
    return QualityPolicy.of(ensemble.intervals, hourly.schema, ensemble.targets)


@pytest.fixture(scope="module")
def good(ensemble: Ensemble, hourly: Panel) -> Prediction:
    return ensemble.forecast(hourly, levels=LEVELS)


def test_a_models_own_forecasts_are_fine(policy: QualityPolicy, good: Prediction) -> None:
    assert policy.fault(good) == ""


def test_the_usual_width_is_the_calibrations(policy: QualityPolicy, ensemble: Ensemble) -> None:
    errors = ensemble.intervals.errors
    count = len(errors)
    low, high = int(np.floor((count + 1) * 0.05)) - 1, int(np.ceil((count + 1) * 0.95)) - 1
    np.testing.assert_allclose(policy.usual_width(2, LEVELS), (errors[high] - errors[low])[:2])


@pytest.mark.parametrize("field", ["point", "values"])
def test_what_is_not_finite_is_named(policy: QualityPolicy, good: Prediction, field: str) -> None:
    broken = getattr(good, field).copy()
    broken[1, 2] = np.nan
    assert policy.fault(replace(good, **{field: broken})) == "series 'plant-2': got a forecast that is not finite"


@pytest.mark.parametrize("level", [0, 1, 2])
def test_no_quantile_may_be_without_a_number(policy: QualityPolicy, good: Prediction, level: int) -> None:
    values = good.values.copy()
    values[0, 1, 0, level] = np.nan
    assert policy.fault(replace(good, values=values)).endswith("not finite")


def test_an_impossible_value_is_a_fault_beyond_the_usual_error(policy: QualityPolicy, good: Prediction) -> None:
    usual = policy.usual_width(1, LEVELS)[0, 0]
    near, far = good.point.copy(), good.point.copy()
    near[0, 0, 0], far[0, 0, 0] = -0.9 * usual, -1.1 * usual
    assert policy.fault(replace(good, point=near)) == ""
    assert policy.fault(replace(good, point=far)).startswith("series 'plant-1': got -")
    assert policy.fault(replace(good, point=far)).endswith("of NOX, expected 0 .. 200")


def test_an_interval_explodes_beyond_ten_times_the_usual(policy: QualityPolicy, good: Prediction) -> None:
    usual = policy.usual_width(good.point.shape[1], LEVELS)
    wide, wider = good.values.copy(), good.values.copy()
    wide[0, ..., -1] = wide[0, ..., 0] + 9.9 * usual
    wider[0, ..., -1] = wider[0, ..., 0] + 10.1 * usual
    assert policy.fault(replace(good, values=wide)) == ""
    assert "got an interval 10.1 times as wide as usual" in policy.fault(replace(good, values=wider))


def test_a_ratio_that_every_forecast_exceeds_is_refused(policy: QualityPolicy) -> None:
    with pytest.raises(ConfigError, match="widest_ratio"):
        replace(policy, widest_ratio=1.0)
