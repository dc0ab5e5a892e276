"""Key factors against the generator's known effects, for exact and for sampled contributions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cluster.errors import ConfigError, InsufficientHistoryError, UnknownNameError
from training.core.estimator import Forecaster
from training.core.panel import Panel
from training.core.splits import chronological_split
from training.core.validation import ID, TIME
from training.core.windows import Floats
from training.data.generator import EmissionsTruth, ScopeTruth, generate_emissions
from training.features import TRANSFORMS
from training.features.calendar import Calendar
from training.features.lags import Lags
from training.features.ratios import Ratios
from training.inference.drivers import driver_names, sources
from training.inference.factors import Factors, key_factors
from training.models import MODELS
from training.models.ensemble import Ensemble
from training.models.lstm import LSTM
from training.models.ridge import Ridge
from training.models.seasonal_naive import SeasonalNaive

HORIZON = 7
KNOWN = (
    "energy_kwh",
    "renewable_kwh",
    "production_units",
    "temperature_c",
    "day_of_week",
    "holiday",
    "economic_index",
)
LINEAR = EmissionsTruth(
    scope1=ScopeTruth(base_tco2e=20.0, unit_tco2e=0.06, heating_degree_tco2e=1.0, noise_tco2e=2.0),
    scope3=ScopeTruth(base_tco2e=60.0, unit_tco2e=0.01, heating_degree_tco2e=2.0, noise_tco2e=2.0),
    heating_below_c=60.0,
)
EFFECTS = {
    "scope1": {"production_units": 0.06, "temperature_c": -1.0},
    "scope2": {"energy_kwh": 0.0004, "renewable_kwh": -0.0004},
    "scope3": {"temperature_c": -2.0, "production_units": 0.01},
}
"""What moves each scope, by the truth: production .06 tCO2e a unit and so on; scopes 1 and 3 in opposite order."""


@dataclass(frozen=True)
class World:
    """Generated sites and a model of them."""

    panel: Panel
    model: Ridge

    def cut(self, weeks: int) -> tuple[Panel, pd.DataFrame]:
        """Return history and future, some weeks before the end."""
        first = self.panel.frame[TIME].max() - pd.Timedelta(days=7 * weeks - 1)
        history = Panel(self.panel.before(first).frame.reset_index(drop=True), self.panel.schema)
        return history, self.panel.since(first).frame

    def moved(self, column: str, weeks: int) -> Floats:
        """Return (N, H) how far a driver goes from its last known value."""
        history, future = self.cut(weeks)
        last = history.frame.groupby(ID)[column].last().to_numpy()
        ahead = future.groupby(ID)[column].apply(lambda rows: rows.to_numpy()[:HORIZON])
        moved: Floats = np.stack(list(ahead)) - last[:, None]
        return moved


@pytest.fixture(scope="module")
def world() -> World:
    panel, _ = generate_emissions(sites=2, days=900, seed=2, truth=LINEAR)
    panel = panel.with_roles(known=KNOWN)
    model = Ridge(window=7, alpha=1e-5, covariates=True)
    model.fit_panel(panel, horizon=HORIZON, split=chronological_split(panel))
    return World(panel, model)


def check_efficiency(found: Factors, model: Forecaster, history: Panel, future: pd.DataFrame | None) -> None:
    context = model.look_ahead(history.last(model.context), future, history.schema)
    point = model.predict(context)
    np.testing.assert_allclose(found.base + found.values.sum(-1), point, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found.shares.sum(-1), 1)


@pytest.mark.parametrize("sampled", [False, True])
def test_known_effects_are_found_in_order_and_sign(world: World, sampled: bool) -> None:
    weeks = range(1, 9)
    made = []
    for week in weeks:
        history, future = world.cut(week)
        made.append(key_factors(world.model, history, future, sampled=sampled, pairs=24))
        check_efficiency(made[-1], world.model, history, future)
        assert made[-1].exact is not sampled
    for t, (scope, effects) in enumerate(EFFECTS.items()):
        sizes, truth = {}, {}
        for column in KNOWN:
            moved = np.concatenate([world.moved(column, week) for week in weeks])
            given = np.concatenate([each.values[:, :, t, each.drivers.index(column)] for each in made])
            given -= given.mean()  # exact and sampled contributions are told against different backgrounds
            moved = moved - moved.mean()
            sizes[column] = np.abs(given).mean()
            if column in effects:
                truth[column] = np.abs(effects[column] * moved).mean()
                assert np.sign((given * moved).sum()) == np.sign(effects[column]), (scope, column)
        ranked = sorted(sizes, key=lambda column: -sizes[column])
        assert ranked[: len(effects)] == sorted(truth, key=lambda column: -truth[column]), (scope, sizes, truth)


def test_sampled_contributions_agree_with_exact_ones(world: World) -> None:
    """Both are Shapley values of a linear model; they differ by the background alone, the same at every origin."""
    differences = []
    for week in (1, 2, 3):
        history, future = world.cut(week)
        exact = key_factors(world.model, history, future)
        found = key_factors(world.model, history, future, sampled=True, pairs=400)
        assert set(found.drivers) <= set(exact.drivers)
        at = [exact.drivers.index(name) for name in found.drivers]
        differences.append((found.values - exact.values[..., at]) / np.maximum(found.errors, 1e-9))
        assert (found.errors > 0).all()
        assert (exact.errors == 0).all()
    spread = np.abs(differences[0] - differences[1])
    assert np.median(spread) < 2.5  # two samples' difference, in standard errors of one


def test_totals_are_sums_ranked_by_size(world: World) -> None:
    history, future = world.cut(1)
    found = key_factors(world.model, history, future)
    steps, totals = found.to_frame(), found.totals()
    assert list(steps.columns) == [ID, "target", TIME, "driver", "contribution", "share", "sign", "standard_error"]
    assert len(steps) == 2 * HORIZON * 3 * len(found.drivers)
    keys = [ID, "target", "driver"]
    joined = totals.merge(
        steps.groupby(keys, as_index=False)["contribution"].sum(), on=keys, suffixes=("", "_summed")
    )
    np.testing.assert_allclose(joined["contribution"], joined["contribution_summed"])
    assert (totals["sign"] == np.sign(totals["contribution"])).all()
    for _, group in totals.groupby([ID, "target"], sort=False):
        assert (group["share"].diff().dropna() <= 1e-12).all()
        assert group["share"].sum() == pytest.approx(1)


def test_features_belong_to_their_columns_and_the_calendar(world: World) -> None:
    history, future = world.cut(1)
    model = Ensemble(
        features=[
            {"name": "calendar", "params": {"country": "DE"}},
            {"name": "lags", "params": {"steps": [7], "columns": ["scope1", "economic_index"]}},
        ],
        members=[
            {"name": "ridge", "params": {"window": 7, "alpha": 1e-4, "covariates": True}},
            {"name": "xgboost", "params": MODELS.load("xgboost").example_params()},
        ],
    )
    model.fit_panel(history, horizon=HORIZON, split=chronological_split(history))
    model.take_weights([1, 1])
    exact = key_factors(model, history, future)
    assert exact.exact
    check_efficiency(exact, model, history, future)
    allowed = {"calendar", *history.schema.names, *(f"{name} history" for name in history.schema.target_names)}
    assert set(exact.drivers) <= allowed
    assert "calendar" in exact.drivers
    assert "scope1" not in exact.drivers
    drawn = key_factors(model, history, future, sampled=True, pairs=8)
    check_efficiency(drawn, model, history, future)
    assert "calendar" in drawn.drivers  # the time is switched as columns are
    first = exact.totals()
    top = first[(first["target"] == "scope2")].groupby(ID)["driver"].first()
    assert set(top) <= {"energy_kwh", "renewable_kwh", "scope2 history"}


def test_a_network_and_a_naive_member_are_sampled(world: World) -> None:
    history, future = world.cut(1)
    params: dict[str, Any] = {"window": 7, "hidden": (8, 8), "dense": 8, "max_epochs": 2, "precision": "float32"}
    network = LSTM(**params, channels=("scope1", "temperature_c"), stride=4)
    network.fit_panel(history, horizon=HORIZON, split=chronological_split(history))
    found = key_factors(network, history, future, pairs=8)
    assert not found.exact
    check_efficiency(found, network, history, future)
    naive = SeasonalNaive(season=7)
    naive.fit_panel(history, horizon=HORIZON, split=chronological_split(history))
    plain = key_factors(naive, history, pairs=4)
    assert plain.drivers == ("scope1 history", "scope2 history", "scope3 history")
    check_efficiency(plain, naive, history, None)
    own = np.eye(3, dtype=bool)
    assert (plain.values[..., ~own] == 0).all()


def test_samples_follow_the_seed(world: World) -> None:
    history, future = world.cut(1)
    a, b, c = (key_factors(world.model, history, future, sampled=True, pairs=4, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(a.values, b.values)
    assert not np.array_equal(a.values, c.values)


@pytest.mark.parametrize("sampled", [False, True])
def test_groups_are_read_as_one(world: World, sampled: bool) -> None:
    history, future = world.cut(1)
    groups = {"calendar": ("day_of_week", "holiday"), "power": ("energy_kwh", "renewable_kwh")}
    found = key_factors(world.model, history, future, groups=groups, sampled=sampled, pairs=8)
    assert {"calendar", "power"} <= set(found.drivers)
    assert not {"day_of_week", "energy_kwh"} & set(found.drivers)
    check_efficiency(found, world.model, history, future)
    with pytest.raises(UnknownNameError, match="Did you mean 'holiday'"):
        key_factors(world.model, history, future, groups={"calendar": ("holidays",)})
    with pytest.raises(ConfigError, match="'holiday' is in 'a' and in 'b'"):
        key_factors(world.model, history, future, groups={"a": ("holiday",), "b": ("holiday",)})


def test_sampling_needs_a_past_to_compare_with(world: World) -> None:
    history, future = world.cut(1)
    rows = history.frame.groupby(ID).tail(7).reset_index(drop=True)
    with pytest.raises(InsufficientHistoryError, match="14 are needed"):
        key_factors(world.model, Panel(rows, history.schema), future, sampled=True)
    ragged = pd.concat([history.frame[history.frame[ID] == "site-001"], rows[rows[ID] == "site-002"]])
    with pytest.raises(InsufficientHistoryError, match="'site-002' has nothing to compare"):
        key_factors(world.model, Panel(ragged.reset_index(drop=True), history.schema), future, sampled=True)
    with pytest.raises(ConfigError, match="'pairs'"):
        key_factors(world.model, history, future, sampled=True, pairs=1)


def test_sources_are_found_by_trying(world: World) -> None:
    windows = world.panel.windows(20)
    features = [
        Calendar().fit(windows),
        Lags(steps=(3,), columns=["scope1"]),
        Ratios(emissions=("scope1", "scope2")),
    ]
    for feature in features:
        feature.fit(windows)
    found = sources(features, windows)
    assert found["calendar_hour_sin"] == found["calendar_month"] == ()
    assert found["scope1_lag_3"] == ("scope1",)
    assert found["emissions_intensity"] == ("scope1", "scope2", "production_units")
    assert found["temperature_c"] == ("temperature_c",)
    assert sources([], windows)["holiday"] == ("holiday",)
    assert driver_names(("NOX", "AT"), ("NOX",), None) == {"NOX": "NOX history", "AT": "AT"}
    assert "calendar" in TRANSFORMS
