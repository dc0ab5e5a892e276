"""Scenarios against the generator's known effects, and everything that is refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cluster.errors import ConfigError, DataError, UnknownNameError, UserError
from training.core.panel import Panel
from training.core.splits import chronological_split
from training.core.validation import ID, TIME
from training.core.windows import Floats
from training.data.generator import EmissionsTruth, ScopeTruth, expected_emissions, generate_emissions
from training.inference.evidence import Evidence, Limits
from training.inference.scenarios import Change, Scenario
from training.inference.what_if import ScenarioResult, what_if
from training.models.ensemble import Ensemble
from training.models.lstm import LSTM
from training.models.ridge import Ridge
from training.models.seasonal_naive import SeasonalNaive
from training.models.xgboost_trees import XGBoost

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
    scope1=ScopeTruth(base_tco2e=20.0, unit_tco2e=0.04, heating_degree_tco2e=1.2, noise_tco2e=2.0),
    heating_below_c=60.0,
)
"""Effects that a linear model can express and that no column it lacks is confounded with: without the kink at 15
degrees and the yearly wave, which temperature would stand in for."""
UP, GREEN, WARM = (
    Scenario.parse("production up: production_units*=1.1"),
    Scenario.parse("renewable: renewable_kwh=0.6*energy_kwh"),
    Scenario.parse("warm: temperature_c=8,9,10,11,12,11,10"),
)


@dataclass(frozen=True)
class World:
    """Generated sites, cut before their last week."""

    history: Panel
    future: pd.DataFrame
    model: Ridge

    def truth(self, **columns: Any) -> Floats:
        """Return (N, H, 3) the true difference that changed columns make."""
        made = expected_emissions(self.future.assign(**columns), LINEAR) - expected_emissions(self.future, LINEAR)
        difference: Floats = made.to_numpy().reshape(-1, HORIZON, 3)
        return difference

    def ask(
        self,
        *scenarios: Scenario,
        count: int = 20,
        levels: tuple[float, ...] = (0.05, 0.5, 0.95),
        limits: Limits | None = None,
    ) -> ScenarioResult:
        return what_if(self.model, self.history, self.future, scenarios, levels=levels, limits=limits, count=count)


def world(seed: int) -> World:
    panel, _ = generate_emissions(sites=2, days=900, seed=seed, truth=LINEAR, start="2020-10-01")
    panel = panel.with_roles(known=KNOWN)
    first = panel.frame[TIME].max() - pd.Timedelta(days=HORIZON - 1)
    history = Panel(panel.before(first).frame.reset_index(drop=True), panel.schema)
    model = Ridge(window=7, alpha=1e-5, covariates=True)
    model.fit_panel(history, horizon=HORIZON, split=chronological_split(history))
    return World(history, panel.since(first).frame.reset_index(drop=True), model)


@pytest.fixture(scope="module")
def known_world() -> World:
    return world(0)


def test_differences_are_the_truths_within_their_intervals() -> None:
    inside = []
    for seed in range(4):
        one = world(seed)
        found = one.ask(UP, GREEN, WARM, count=60, levels=(0.025, 0.5, 0.975))
        path = np.tile((8.0, 9, 10, 11, 12, 11, 10), 2)
        truths = (
            one.truth(production_units=one.future["production_units"] * 1.1),
            one.truth(renewable_kwh=one.future["energy_kwh"] * 0.6),
            one.truth(temperature_c=path),
        )
        for response, truth in zip(found.responses, truths, strict=True):
            total = truth.sum(axis=1)
            inside.append((total >= response.total_values[..., 0]) & (total <= response.total_values[..., 2]))
            moved = np.abs(total) > 1
            assert (np.sign(response.total[moved]) == np.sign(total[moved])).all()
            np.testing.assert_allclose(response.total[moved], total[moved], rtol=0.25)
    assert np.mean(inside) >= 0.85  # 72 totals of 95 % intervals, the two sites of a seed share their model


def test_a_result_reads_as_tables(known_world: World) -> None:
    found = known_world.ask(UP, GREEN)
    table, totals = found.to_frame(), found.totals()
    assert len(table) == 2 * 2 * HORIZON * 3
    np.testing.assert_allclose(table["forecast"] - table["baseline"], table["difference"], atol=1e-9)
    assert list(totals.columns) == [
        *("scenario", ID, "target", "baseline", "difference", "q0.05", "q0.5", "q0.95", "extrapolates")
    ]
    summed = table.groupby(["scenario", ID, "target"], sort=False)["difference"].sum().to_numpy()
    np.testing.assert_allclose(summed, totals["difference"], rtol=1e-9)
    assert (totals["q0.05"] <= totals["q0.5"]).all()
    assert (totals["q0.5"] <= totals["q0.95"]).all()
    again = known_world.ask(UP, GREEN).totals()
    pd.testing.assert_frame_equal(totals, again)


def test_what_does_not_differ_cancels(known_world: World) -> None:
    """The same change asked twice, and no change at all: errors are common to baseline and scenario."""
    still = Scenario.parse("still: production_units*=1")
    twice = Scenario.parse("twice: production_units*=1.1")
    found = known_world.ask(still, UP, twice)
    assert not found.responses[0].values.any()
    np.testing.assert_array_equal(found.responses[1].values, found.responses[2].values)
    width = np.ptp(found.responses[1].total_values, axis=-1)
    noise = np.ptp(found.baseline.values.sum(axis=1), axis=-1)
    assert (width < noise).all()


def test_the_lstm_answers_with_its_own_draws_and_only_members_that_look_ahead_matter(known_world: World) -> None:
    schema = known_world.history.schema
    small = {"window": 7, "hidden": (8, 8), "dense": 8, "max_epochs": 2, "stride": 4, "precision": "float32"}
    ensemble = Ensemble(
        members=[{"name": "lstm", "params": small}, {"name": "seasonal_naive", "params": {"season": 7}}]
    )
    ensemble.fit_panel(known_world.history, horizon=HORIZON, split=chronological_split(known_world.history))
    ensemble.take_weights([1, 1]).calibrate(known_world.history.windows(7 + HORIZON))
    found = what_if(ensemble, known_world.history, known_world.future, [UP], count=8)
    lstm = ensemble.members[0]
    assert isinstance(lstm, LSTM)
    alone = what_if(
        lstm.calibrate(known_world.history.windows(7 + HORIZON)),
        known_world.history,
        known_world.future,
        [UP],
        count=8,
    )
    np.testing.assert_allclose(found.responses[0].values, 0.5 * alone.responses[0].values, rtol=1e-4, atol=1e-4)
    assert np.ptp(alone.responses[0].values, axis=-1).min() > 0
    assert schema.known_names == KNOWN


def test_a_member_without_weight_is_not_fitted_again_and_progress_is_told(known_world: World) -> None:
    history, split = known_world.history, chronological_split(known_world.history)
    ridge = {"window": 7, "covariates": True}
    costly = {"name": "xgboost", "params": {**XGBoost.example_params(), "window": 7}}
    ensemble = Ensemble(members=[{"name": "ridge", "params": ridge}, costly])
    ensemble.fit_panel(history, horizon=HORIZON, split=split)
    assert all(member.known for member in ensemble.members)
    told: list[tuple[str, int, int]] = []

    def asked(weights: list[float]) -> set[str]:
        told.clear()
        ensemble.take_weights(weights).calibrate(history.windows(ensemble.context + HORIZON))
        what_if(ensemble, history, known_world.future, [UP], count=3, tell=lambda *said: told.append(said))
        return {family for family, _, _ in told}

    assert asked([1, 1]) == {"ridge", "xgboost"}
    assert asked([1, 0]) == {"ridge"}
    assert told == [("ridge", done, 3) for done in range(4)]


def test_models_that_cannot_answer_say_so(known_world: World) -> None:
    history, future = known_world.history, known_world.future
    split = chronological_split(history)
    naive = SeasonalNaive(season=7).fit_panel(history, horizon=HORIZON, split=split)
    with pytest.raises(UserError, match="'seasonal_naive' ignores over the horizon: it looks ahead at nothing"):
        what_if(naive, history, future, [UP])
    few = Ridge(window=7, covariates=True, ahead=("temperature_c",)).fit_panel(
        history, horizon=HORIZON, split=split
    )
    with pytest.raises(UserError, match=r"changes 'production_units', which 'ridge' ignores.*temperature_c"):
        what_if(few, history, future, [UP])
    numb = Ridge(window=7, covariates=True).fit_panel(history, horizon=HORIZON, split=split)
    inputs = np.array(numb._sources()) == "production_units"
    numb._weights[inputs] = 0
    with pytest.raises(UserError, match="'ridge' has learned to ignore: no forecast moves between"):
        what_if(numb, history, future, [UP])


def test_a_range_is_flagged_then_refused(known_world: World) -> None:
    top = known_world.history.frame.groupby(ID)["economic_index"].max().min()
    edge = known_world.future["economic_index"].max()
    by = float(top - edge + 2)
    found = known_world.ask(
        Scenario(name="boom", changes=(Change(column="economic_index", operation="offset", value=by),))
    )
    flags = [flag for flag in found.responses[0].flags if flag.kind == "range"]
    assert flags
    assert flags[0].high == pytest.approx(top)
    assert flags[0].asked > flags[0].high
    assert "range seen" in flags[0].text()
    assert found.totals()["extrapolates"].all()
    with pytest.raises(
        UserError, match=r"'economic_index' of series 'site-001' is asked to be .*; range seen .* widths"
    ):
        known_world.ask(Scenario.parse("far: economic_index=500"))
    wide = known_world.ask(
        Scenario.parse("far: economic_index=500"), limits=Limits(range_share=100, combination_ratio=1000)
    )
    assert wide.responses[0].flags


def test_values_in_range_that_never_met_are_refused(known_world: World) -> None:
    """Production falls to a low it has had while energy stays: each value has been seen, the two together never."""
    low = float(known_world.history.frame["production_units"].quantile(0.02))
    scenario = Scenario(name="alone", changes=(Change(column="production_units", operation="set", value=low),))
    with pytest.raises(
        UserError, match=r"times as far from any row seen.*'production_units' is asked.*beside such values"
    ):
        known_world.ask(scenario)
    together = Scenario.parse("together: energy_kwh=energy_kwh*0.95; production_units*=0.95; renewable_kwh*=0.95")
    assert not known_world.ask(together).responses[0].flags


def test_a_driver_that_never_varied_is_refused(known_world: World) -> None:
    frame = known_world.history.frame.assign(renewable_kwh=1000.0)
    still = Panel(frame, known_world.history.schema)
    with pytest.raises(
        UserError, match="'renewable_kwh' of series 'site-001', which never varied in the history: got"
    ):
        what_if(known_world.model, still, known_world.future.assign(renewable_kwh=1000.0), [GREEN])


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("a: temperature_c=1,2,3", ConfigError, "got 3 values, expected 1 or 7"),
        ("a: temperature_c=99", DataError, "scenario 'a': a value is impossible.*temperature_c"),
        ("a: holiday=0.5", DataError, "not whole"),
        ("a: renewable_kwh=energy_kwh/0", DataError, "not finite"),
        ("a: renewable_kwh=0.6*energie_kwh", UnknownNameError, "Did you mean 'energy_kwh'"),
        ("a: month=3", UserError, "'month', which 'ridge' ignores"),
        ("a: renewable_kwh=__import__('os')", ConfigError, "is not allowed"),
        ("a: renewable_kwh=energy_kwh**9", ConfigError, "is not allowed"),
        ("a: renewable_kwh=(1", ConfigError, "cannot be read"),
    ],
)
def test_faulty_scenarios_have_exact_errors(
    known_world: World, text: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        known_world.ask(Scenario.parse(text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no colon", "expected 'name: change; change'"),
        ("a:", "0 changes"),
        (": x=1", "expected a name"),
        ("a: x", "such as production_units"),
        ("a: x*=y", "expected a number after"),
    ],
)
def test_scenarios_that_cannot_be_read_show_one_that_can(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Scenario.parse(text)


def test_two_scenarios_of_one_name_are_refused(known_world: World) -> None:
    with pytest.raises(ConfigError, match="different names"):
        known_world.ask(UP, UP)


def test_changes_see_earlier_ones_and_formulas_know_min_and_max() -> None:
    columns = {"a": np.array([[1.0, 2.0]]), "b": np.array([[10.0, 20.0]])}
    scenario = Scenario.parse("s: a*=2; b=max(a, 3) - -b / 10; a+=1,2")
    changed = scenario.apply(columns)
    assert changed["b"].tolist() == [[4, 6]]
    assert changed["a"].tolist() == [[3, 6]]
    assert columns["a"].tolist() == [[1, 2]]
    assert scenario.columns == ("a", "b")


def test_evidence_is_kept_a_series(known_world: World) -> None:
    found = Evidence.of(known_world.history, ("production_units",))
    for name, one in found.items():
        rows = known_world.history.frame.loc[known_world.history.frame[ID] == name, "production_units"]
        assert np.array_equal(one.rows[:, 0], rows)
