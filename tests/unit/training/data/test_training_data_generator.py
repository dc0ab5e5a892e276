"""The generated data hold the truth they are said to hold."""

from __future__ import annotations

from dataclasses import asdict, replace

import holidays
import numpy as np
import pytest

from cluster.errors import ConfigError, UnknownNameError
from training.core.panel import Panel
from training.core.validation import TIME
from training.data.generator import DEFAULT_TRUTH, EmissionsTruth, ScopeTruth, generate_emissions
from training.data.schemas import EMISSIONS

ALL_EFFECTS = EmissionsTruth(
    scope1=ScopeTruth(
        base_tco2e=200.0,
        unit_tco2e=0.03,
        grid_kwh_tco2e=0.0002,
        heating_degree_tco2e=0.9,
        index_point_tco2e=-0.7,
        yearly_amplitude_tco2e=6.0,
        weekly_amplitude_tco2e=-3.0,
        holiday_tco2e=11.0,
        noise_tco2e=2.5,
    )
)


def regress(panel: Panel, target: str, heating_below_c: float) -> tuple[dict[str, float], dict[str, float]]:
    """Return (coefficient, its standard error) of each effect by ordinary least squares."""
    frame = panel.frame
    day = frame[TIME].dt.dayofyear
    design = {
        "base_tco2e": np.ones(len(frame)),
        "unit_tco2e": frame["production_units"],
        "grid_kwh_tco2e": frame["energy_kwh"] - frame["renewable_kwh"],
        "heating_degree_tco2e": (heating_below_c - frame["temperature_c"]).clip(lower=0),
        "index_point_tco2e": frame["economic_index"] - 100,
        "yearly_amplitude_tco2e": np.cos(2 * np.pi * (day - 15) / 365.25),
        "weekly_amplitude_tco2e": np.cos(2 * np.pi * frame["day_of_week"] / 7),
        "holiday_tco2e": frame["holiday"],
    }
    x = np.column_stack([np.asarray(column, dtype=float) for column in design.values()])
    y = frame[target].to_numpy()
    found = np.linalg.lstsq(x, y, rcond=None)[0]
    noise = float(np.std(y - x @ found, ddof=len(design)))
    errors = noise * np.sqrt(np.diag(np.linalg.inv(x.T @ x)))
    coefficients = dict(zip(design, found.tolist(), strict=True)) | {"noise_tco2e": noise}
    return coefficients, dict(zip(design, errors.tolist(), strict=True)) | {
        "noise_tco2e": noise / np.sqrt(2 * len(y))
    }


@pytest.mark.parametrize("truth", [DEFAULT_TRUTH, ALL_EFFECTS])
@pytest.mark.parametrize("target", ["scope1", "scope2", "scope3"])
def test_a_regression_finds_the_known_effects(truth: EmissionsTruth, target: str) -> None:
    panel, told = generate_emissions(sites=8, days=1500, seed=11, truth=truth)
    assert told == truth
    found, errors = regress(panel, target, truth.heating_below_c)
    for name, known in asdict(getattr(truth, target)).items():
        assert abs(found[name] - known) < 4.5 * errors[name], (name, found[name], known)


def test_production_falls_on_weekends_and_holidays_as_told() -> None:
    truth = replace(DEFAULT_TRUTH, weekend_ratio=0.5, holiday_ratio=0.25)
    frame = generate_emissions(sites=20, days=1000, seed=3, truth=truth)[0].frame
    level = frame["production_units"] / frame["economic_index"]
    working = level[(frame["day_of_week"] < 5) & (frame["holiday"] == 0)].mean()
    weekend = level[(frame["day_of_week"] >= 5) & (frame["holiday"] == 0)].mean()
    assert weekend / working == pytest.approx(0.5, rel=0.02)
    assert level[frame["holiday"] == 1].mean() / working == pytest.approx(0.25, rel=0.02)


def test_calendar_columns_are_those_of_the_timestamps() -> None:
    frame = generate_emissions(sites=2, days=800, seed=5, country="FR")[0].frame
    times = frame[TIME].dt
    public = holidays.country_holidays("FR")
    assert (frame["day_of_week"] == times.weekday).all()
    assert (frame["month"] == times.month).all()
    assert (frame["holiday"] == [int(day in public) for day in times.date]).all()
    assert generate_emissions(sites=1, days=400, seed=5, country=None)[0].frame["holiday"].sum() == 0


def test_the_panel_is_valid_and_physical() -> None:
    panel, _ = generate_emissions(sites=5, days=400, seed=7, start="1999-12-30")
    panel.validate(minimum_rows=400)
    assert panel.schema == EMISSIONS
    assert panel.series == tuple(f"site-00{i}" for i in range(1, 6))
    assert (panel.frame["renewable_kwh"] <= panel.frame["energy_kwh"]).all()
    silent = replace(DEFAULT_TRUTH, scope1=ScopeTruth(noise_tco2e=50.0))
    assert generate_emissions(sites=1, days=400, seed=7, truth=silent)[0].frame["scope1"].min() == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"sites": 0}, "sites: got 0, expected 1 or more"),
        ({"days": 0}, "days: got 0, expected 1 or more"),
        ({"start": "soon"}, "start and days: got 'soon'"),
        ({"start": "1800-01-01"}, "start and days: got '1800-01-01'"),
        ({"days": 10**9}, "start and days"),
    ],
)
def test_a_wrong_argument_is_named(arguments: dict[str, int | str], words: str) -> None:
    given: dict[str, int | str] = {"sites": 1, "days": 1, **arguments}
    with pytest.raises(ConfigError, match=words):
        generate_emissions(
            sites=int(given["sites"]),
            days=int(given["days"]),
            seed=1,
            start=str(given.get("start", "2021-01-01")),
        )


def test_an_unknown_country_is_named() -> None:
    with pytest.raises(UnknownNameError, match="unknown country 'ZZ'"):
        generate_emissions(sites=1, days=10, seed=1, country="ZZ")
