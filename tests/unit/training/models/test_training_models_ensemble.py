"""The ensemble: what its nodes give one by one, its weights, members that are fitted already."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cluster.errors import (
    ConfigError,
    InsufficientHistoryError,
    NotFittedError,
    SignatureMismatch,
    UnknownNameError,
)
from training.core.candidate import HORIZON, Candidate, easy_panel
from training.core.component import build
from training.core.metrics import mae
from training.core.splits import chronological_split
from training.core.windows import Windows
from training.features import TRANSFORMS
from training.models import MODELS
from training.models.ensemble import Ensemble
from training.models.ridge import Ridge
from training.models.seasonal_naive import SeasonalNaive

PANEL = easy_panel().with_roles()
SPLIT = chronological_split(PANEL)
FEATURES: list[dict[str, Any]] = [
    {"name": "calendar"},
    {"name": "lags", "params": {"steps": (1, 5), "columns": ("used",)}},
]
MEMBERS: list[dict[str, Any]] = [
    {"name": "seasonal_naive", "params": {"season": 12}},
    {"name": "ridge", "params": {"window": 20, "covariates": True, "ahead": None}},
    {"name": "seasonal_naive", "params": {"season": 5}},
]


@pytest.fixture(scope="module")
def ensemble() -> Ensemble:
    return Ensemble(features=FEATURES, members=MEMBERS).fit_panel(PANEL, horizon=HORIZON, split=SPLIT)


def parts(model: Ensemble) -> tuple[Windows, Windows, Windows]:
    """Training, validation and test windows."""
    windows = PANEL.windows(model.context + HORIZON)
    return (
        windows.ahead_within(HORIZON, until=SPLIT.validation_start),
        windows.ahead_within(HORIZON, since=SPLIT.validation_start, until=SPLIT.calibration_start),
        windows.ahead_within(HORIZON, since=SPLIT.test_start),
    )


def test_its_context_covers_the_longest_member_and_the_features(ensemble: Ensemble) -> None:
    assert ensemble.context == 20 + 5
    assert Ensemble(members=MEMBERS).context == 20


def test_node_by_node_is_the_whole_to_the_last_bit(ensemble: Ensemble) -> None:
    context = parts(ensemble)[2].head(ensemble.context)
    inner = ensemble.prepare(context)
    points = [member.predict(inner) for member in ensemble.members]
    assert np.array_equal(ensemble.combine(points), ensemble.predict(context))


def test_weights_are_not_negative_sum_to_one_and_leave_out_the_bad(ensemble: Ensemble) -> None:
    assert ensemble.weights.min() >= 0
    assert ensemble.weights.sum() == pytest.approx(1)
    assert ensemble.weights[2] < 0.05


@pytest.mark.parametrize("loss", ["absolute", "squared"])
def test_on_the_validation_windows_it_is_no_worse_than_any_member(loss: Any) -> None:
    model = Ensemble(features=FEATURES, members=MEMBERS, loss=loss).fit_panel(PANEL, horizon=HORIZON, split=SPLIT)
    context, future = parts(model)[1].split(HORIZON)
    actual, inner = future.select(model.targets), model.prepare(context)
    unit = np.abs(np.mean([member.predict(inner) for member in model.members], axis=0) - actual).mean(axis=(0, 1))

    def error(point: np.ndarray) -> float:
        scaled = (point - actual) / unit
        return float(np.abs(scaled).mean() if loss == "absolute" else np.square(scaled).mean())

    assert error(model.predict(context)) <= min(error(member.predict(inner)) for member in model.members) + 1e-9


def test_each_step_may_have_weights_of_its_own(ensemble: Ensemble) -> None:
    assert ensemble.step_weights.shape == (3, 1)
    context, future = parts(ensemble)[1].split(HORIZON)
    actual = future.select(ensemble.targets)
    split = Ensemble.of(ensemble.features, ensemble.members, columns=PANEL.schema.names, by_step=True)
    split.weigh(parts(ensemble)[1])
    assert split.step_weights.shape == (3, HORIZON)
    assert split.step_weights.sum(axis=0) == pytest.approx(np.ones(HORIZON))
    assert split.weights == pytest.approx(split.step_weights.mean(axis=1))
    points = [member.predict(split.prepare(context)) for member in split.members]
    for step in range(HORIZON):
        mean = sum(
            weight * point[:, step] for weight, point in zip(split.step_weights[:, step], points, strict=True)
        )
        np.testing.assert_allclose(split.predict(context)[:, step], mean)
    unit = np.abs(np.mean(points, axis=0) - actual).mean(axis=(0, 1))
    whole, each = (np.abs((model.predict(context) - actual) / unit).mean() for model in (ensemble, split))
    assert each <= whole + 1e-9
    again = build(MODELS, "ensemble", split.params())
    again.restore(split.state())
    assert np.array_equal(again.predict(context), split.predict(context))
    assert split.take_weights([1, 1, 2]).step_weights.tolist() == [[0.25], [0.25], [0.5]]


def test_without_validation_windows_weights_are_equal() -> None:
    model = Ensemble(members=MEMBERS)
    model.fit(parts(model)[0], horizon=HORIZON, targets=("emitted", "used"))
    assert model.weights == pytest.approx([1 / 3] * 3)


def test_a_single_member_is_served_as_it_is() -> None:
    model = Ensemble(members=MEMBERS[1:2]).fit_panel(PANEL, horizon=HORIZON, split=SPLIT)
    context = parts(model)[2].head(model.context)
    assert model.weights.tolist() == [1.0]
    assert np.array_equal(model.predict(context), model.members[0].predict(context))


def test_fitted_members_are_not_fitted_again(ensemble: Ensemble) -> None:
    _, validation, test = parts(ensemble)
    taken = Ensemble.of(ensemble.features, ensemble.members[:2], columns=PANEL.schema.names)
    assert taken.members == ensemble.members[:2]
    assert taken.weights.tolist() == [0.5, 0.5]
    taken.weigh(validation)
    context, future = test.split(HORIZON)
    actual = future.select(taken.targets)
    assert mae(actual, taken.predict(context)) == pytest.approx(mae(actual, ensemble.predict(context)), rel=0.01)
    with pytest.raises(NotFittedError, match="no intervals"):
        taken.forecast(PANEL)
    assert taken.calibrate(test).forecast(PANEL).point.shape == (3, HORIZON, 2)


def test_what_is_taken_can_be_built_again(ensemble: Ensemble) -> None:
    taken = Ensemble.of(ensemble.features, ensemble.members, columns=PANEL.schema.names)
    assert taken.params() == ensemble.params()
    assert build(MODELS, "ensemble", taken.params()).params() == taken.params()
    expected = {"window": 20, "alpha": 1e-3, "covariates": True, "ahead": None}
    assert taken.params()["members"][1]["params"] == expected


def test_members_that_do_not_fit_together_are_refused(ensemble: Ensemble) -> None:
    data = PANEL.windows(40)
    other = SeasonalNaive(season=3).fit(data, horizon=2, targets=("used",))
    with pytest.raises(SignatureMismatch, match="member 'seasonal_naive' does not fit into the ensemble"):
        Ensemble.of(ensemble.features, [ensemble.members[0], other], columns=PANEL.schema.names)
    with pytest.raises(SignatureMismatch, match="columns"):
        Ensemble.of((), ensemble.members, columns=PANEL.schema.names)
    with pytest.raises(NotFittedError):
        Ensemble.of((), [Ridge()], columns=PANEL.schema.names)


def test_new_weights_void_the_intervals(ensemble: Ensemble) -> None:
    _, validation, test = parts(ensemble)
    taken = Ensemble.of(ensemble.features, ensemble.members, columns=PANEL.schema.names).calibrate(test)
    taken.weigh(validation)
    with pytest.raises(NotFittedError, match="no intervals"):
        _ = taken.intervals


def test_fitting_again_starts_from_fresh_parts(ensemble: Ensemble) -> None:
    model = Ensemble(features=FEATURES, members=MEMBERS).fit_panel(PANEL, horizon=HORIZON, split=SPLIT)
    members = model.members
    model.fit_panel(PANEL, horizon=2, split=SPLIT)
    assert members[0].horizon == HORIZON
    assert {member.horizon for member in model.members} == {2}


def test_faults_are_found_at_construction() -> None:
    with pytest.raises(ConfigError, match="needs members"):
        Ensemble()
    with pytest.raises(ConfigError, match="'loss': got 'huber'"):
        Ensemble(members=MEMBERS, loss="huber")  # type: ignore[arg-type]
    with pytest.raises(UnknownNameError, match="unknown model 'naive'"):
        Ensemble(members=[{"name": "naive"}])
    with pytest.raises(ConfigError, match="transform 'lags' has no parameter 'step'"):
        Ensemble(features=[{"name": "lags", "params": {"step": 1}}], members=MEMBERS)


def test_nothing_to_weigh_on_is_refused(ensemble: Ensemble) -> None:
    with pytest.raises(InsufficientHistoryError, match="cannot be weighed"):
        ensemble.weigh(parts(ensemble)[1][slice(0, 0)])
    with pytest.raises(NotFittedError, match="no weights"):
        _ = Ensemble(members=MEMBERS).weights


def test_an_ensemble_may_be_a_member() -> None:
    inner = {"name": "ensemble", "params": Candidate(MODELS, "ensemble").kind.example_params()}
    model = Ensemble(members=[inner, MEMBERS[0]]).fit_panel(PANEL, horizon=HORIZON, split=SPLIT)
    assert model.context == 24
    assert build(TRANSFORMS, "calendar", {}).lookback == 0
    assert np.isfinite(model.forecast(PANEL).point).all()
