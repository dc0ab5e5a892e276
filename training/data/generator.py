"""Emissions of organisations with a known truth: for tests, and for those who want to look first."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from cluster.errors import ConfigError
from training.core.panel import Panel
from training.core.validation import EARLIEST, ID, LATEST, TIME
from training.core.windows import Floats, Times
from training.data.public_holidays import check_country, is_holiday
from training.data.schemas import EMISSIONS

YEAR_DAYS = 365.25
COLDEST_DAY = 15
"""Day of the year on which temperature is lowest and the yearly wave is at its top."""


@dataclass(frozen=True, kw_only=True)
class ScopeTruth:
    """How one scope comes about; emissions are the sum of all terms, never below 0.

    Parameters
    ----------
    base_tco2e
        Each day, whatever happens.
    unit_tco2e
        For each unit produced.
    grid_kwh_tco2e
        For each kWh that is not renewable.
    heating_degree_tco2e
        For each degree C below `EmissionsTruth.heating_below_c`.
    index_point_tco2e
        For each point of the economic index above 100.
    yearly_amplitude_tco2e
        Of a cosine over the year, highest on day 15.
    weekly_amplitude_tco2e
        Of a cosine over the week, highest on Monday.
    holiday_tco2e
        Added on public holidays.
    noise_tco2e
        Standard deviation of the normal noise.
    """

    base_tco2e: float = 0.0
    unit_tco2e: float = 0.0
    grid_kwh_tco2e: float = 0.0
    heating_degree_tco2e: float = 0.0
    index_point_tco2e: float = 0.0
    yearly_amplitude_tco2e: float = 0.0
    weekly_amplitude_tco2e: float = 0.0
    holiday_tco2e: float = 0.0
    noise_tco2e: float = 1.0


@dataclass(frozen=True, kw_only=True)
class EmissionsTruth:
    """All effects behind the generated data.

    Parameters
    ----------
    scope1, scope2, scope3
        Effects on each target.
    heating_below_c
        Daily mean temperature below which a site heats, degree C.
    units
        Production of a site of size 1 on a working day, at an index of 100.
    kwh_per_unit
        Energy that a unit takes.
    weekend_ratio, holiday_ratio
        Production on such a day to that of a working day; the smaller one holds where both are.
    renewable_ratio
        Mean renewable share of the energy.
    """

    scope1: ScopeTruth = field(
        default_factory=lambda: ScopeTruth(
            base_tco2e=20.0, unit_tco2e=0.04, heating_degree_tco2e=1.2, yearly_amplitude_tco2e=4.0, noise_tco2e=2.0
        )
    )
    scope2: ScopeTruth = field(
        default_factory=lambda: ScopeTruth(base_tco2e=5.0, grid_kwh_tco2e=0.0004, noise_tco2e=1.0)
    )
    scope3: ScopeTruth = field(
        default_factory=lambda: ScopeTruth(
            base_tco2e=60.0,
            unit_tco2e=0.08,
            index_point_tco2e=0.5,
            weekly_amplitude_tco2e=5.0,
            holiday_tco2e=-8.0,
            noise_tco2e=4.0,
        )
    )
    heating_below_c: float = 15.0
    units: float = 1000.0
    kwh_per_unit: float = 120.0
    weekend_ratio: float = 0.6
    holiday_ratio: float = 0.4
    renewable_ratio: float = 0.3


DEFAULT_TRUTH = EmissionsTruth()


def generate_emissions(
    *,
    sites: int,
    days: int,
    seed: int,
    truth: EmissionsTruth = DEFAULT_TRUTH,
    country: str | None = "DE",
    start: str = "2021-01-01",
) -> tuple[Panel, EmissionsTruth]:
    """Return daily emissions of some sites, and the truth they were made with.

    Weather, business cycle, production, energy and renewables are drawn first; the scopes follow from them by
    the truth's effects. The same arguments give the same bytes.

    Parameters
    ----------
    sites, days
        Series, and rows in each; 1 or more.
    seed
        Of all random draws.
    truth
        The effects.
    country
        Whose public holidays count; None knows none.
    start
        First day.

    Raises
    ------
    ConfigError, UnknownNameError
        A count, the dates or the country cannot be.
    """
    times = _days(sites, days, start)
    if country is not None:
        check_country(country)
    rng = np.random.default_rng(seed)
    drivers = _drivers(rng, sites, times, truth, country)
    columns = drivers | {
        name: _scope(rng, drivers, times, scope, truth.heating_below_c)
        for name, scope in (("scope1", truth.scope1), ("scope2", truth.scope2), ("scope3", truth.scope3))
    }
    frame = pd.DataFrame({name: columns[name].ravel() for name in EMISSIONS.names})
    frame = frame.astype({column.name: "int64" for column in EMISSIONS.columns if column.kind == "int"})
    frame.insert(0, ID, np.repeat([f"site-{i:03d}" for i in range(1, sites + 1)], days))
    frame.insert(1, TIME, np.tile(times.astype("datetime64[ns]"), sites))
    return Panel(frame, EMISSIONS).validate(), truth


def _days(sites: int, days: int, start: str) -> Times:
    for name, value in (("sites", sites), ("days", days)):
        if value < 1:
            raise ConfigError(f"{name}: got {value}, expected 1 or more", parameter=name, got=value)
    try:
        first = pd.Timestamp(start)
        last = first + pd.Timedelta(days=days)
    except (ValueError, OverflowError) as error:
        raise ConfigError(f"start and days: got '{start}' and {days} ({error}), expected a date") from error
    if not EARLIEST <= first < last <= LATEST:
        raise ConfigError(f"start and days: got '{start}' and {days}, expected days from {EARLIEST} to {LATEST}")
    return np.datetime64(first, "D") + np.arange(days)


def _drivers(
    rng: np.random.Generator, sites: int, times: Times, truth: EmissionsTruth, country: str | None
) -> dict[str, Floats]:
    """Return the covariates, each (sites, days)."""
    shape = (sites, len(times))
    size = np.exp(rng.normal(0, 0.3, (sites, 1)))
    weekday = (times.astype(np.int64) + 3) % 7  # 1970-01-01 was a Thursday
    holiday = is_holiday(times, country) if country else np.zeros(len(times), dtype=bool)
    working = np.minimum(
        np.where(weekday >= 5, truth.weekend_ratio, 1.0), np.where(holiday, truth.holiday_ratio, 1.0)
    )
    temperature = np.clip(10 - 9 * _yearly(times) + rng.normal(0, 2, (sites, 1)) + _weather(rng, shape), -60, 55)
    index = np.maximum(100 + 8 * np.sin(2 * np.pi * np.arange(len(times)) / 900) + _walk(rng, len(times)), 10)
    production = size * truth.units * working * index / 100 * np.exp(rng.normal(0, 0.08, shape))
    energy = truth.kwh_per_unit * production + 8000 * size + 900 * np.maximum(temperature - 20, 0)
    energy = energy * np.exp(rng.normal(0, 0.05, shape))
    share = truth.renewable_ratio * (1 - 0.5 * _yearly(times)) * np.exp(rng.normal(0, 0.3, shape))
    return {
        "energy_kwh": energy,
        "renewable_kwh": np.clip(share, 0, 1) * energy,
        "production_units": production,
        "temperature_c": temperature,
        "day_of_week": np.broadcast_to(weekday, shape),
        "month": np.broadcast_to(times.astype("datetime64[M]").astype(np.int64) % 12 + 1, shape),
        "holiday": np.broadcast_to(holiday, shape),
        "economic_index": np.broadcast_to(index, shape),
    }


def expected_emissions(frame: pd.DataFrame, truth: EmissionsTruth = DEFAULT_TRUTH) -> pd.DataFrame:
    """Return scope1, scope2 and scope3 of each row as its drivers make them, without noise: the true response.

    Parameters
    ----------
    frame
        `timestamp` and the covariates of the emissions schema, as they are or as a scenario changes them.
    truth
        The effects that the emissions were generated with.
    """
    drivers = {column.name: frame[column.name].to_numpy(dtype=np.float64) for column in EMISSIONS.covariates}
    times = frame[TIME].to_numpy(dtype="datetime64[D]")
    scopes = {"scope1": truth.scope1, "scope2": truth.scope2, "scope3": truth.scope3}
    made = {name: _expected(drivers, times, scope, truth.heating_below_c).clip(0) for name, scope in scopes.items()}
    return pd.DataFrame(made, index=frame.index)


def _scope(
    rng: np.random.Generator, drivers: dict[str, Floats], times: Times, scope: ScopeTruth, heating_below_c: float
) -> Floats:
    """Return (sites, days) tCO2e."""
    total = _expected(drivers, times, scope, heating_below_c)
    return np.maximum(total + rng.normal(0, scope.noise_tco2e, total.shape), 0)


def _expected(drivers: dict[str, Floats], times: Times, scope: ScopeTruth, heating_below_c: float) -> Floats:
    """Return the sum of all effects, without noise."""
    total: Floats = (
        scope.base_tco2e
        + scope.unit_tco2e * drivers["production_units"]
        + scope.grid_kwh_tco2e * (drivers["energy_kwh"] - drivers["renewable_kwh"])
        + scope.heating_degree_tco2e * np.maximum(heating_below_c - drivers["temperature_c"], 0)
        + scope.index_point_tco2e * (drivers["economic_index"] - 100)
        + scope.yearly_amplitude_tco2e * _yearly(times)
        + scope.weekly_amplitude_tco2e * np.cos(2 * np.pi * drivers["day_of_week"] / 7)
        + scope.holiday_tco2e * drivers["holiday"]
    )
    return total


def _yearly(times: Times) -> Floats:
    """Return (days,) a cosine over the year, 1 on its coldest day."""
    day = (times - times.astype("datetime64[Y]")).astype(np.int64) + 1
    wave: Floats = np.cos(2 * np.pi * (day - COLDEST_DAY) / YEAR_DAYS)
    return wave


def _weather(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """Return (sites, days) of noise that holds on for some days: a mean of five draws, 3 degrees wide."""
    draws = rng.normal(0, 3 * np.sqrt(5), (shape[0], shape[1] + 4))
    weather: Floats = np.lib.stride_tricks.sliding_window_view(draws, 5, axis=1).mean(axis=2)
    return weather


def _walk(rng: np.random.Generator, days: int) -> Floats:
    """Return (days,) a slow random walk."""
    return np.cumsum(rng.normal(0, 0.1, days))
