"""The schemas that ship: two plants with real measurements, and the emissions of organisations."""

from __future__ import annotations

from cluster.errors import UnknownNameError
from training.core.schema import Column, Schema

GAS_TURBINE = Schema(
    name="gas_turbine",
    frequency="h",
    season_length=24,
    targets=(
        Column(name="NOX", unit="mg/m3", low=0, high=1000),
        Column(name="CO", unit="mg/m3", low=0, high=1000),
    ),
    covariates=(
        Column(name="AT", unit="degC", low=-60, high=60),
        Column(name="AP", unit="mbar", low=800, high=1100),
        Column(name="AH", unit="%", low=0, high=110),  # sensors in fog read a little above 100
        Column(name="AFDP", unit="mbar", low=0, high=50),
        Column(name="GTEP", unit="mbar", low=0, high=200),
        Column(name="TIT", unit="degC", low=-60, high=2000),
        Column(name="TAT", unit="degC", low=-60, high=1200),
        Column(name="TEY", unit="MWh", low=0, high=1000),
        Column(name="CDP", unit="bar", low=0, high=50),
    ),
)
"""A gas-fired power plant by the hour: flue gas, and the turbine's state and weather."""

STEEL = Schema(
    name="steel_industry",
    frequency="15min",
    season_length=96,
    targets=(Column(name="energy_kwh", unit="kWh", low=0, high=10_000),),
    covariates=(
        Column(name="lagging_reactive_power_kvarh", unit="kVArh", low=0, high=10_000),
        Column(name="leading_reactive_power_kvarh", unit="kVArh", low=0, high=10_000),
        Column(name="co2_tco2", unit="tCO2", low=0, high=100),
        Column(name="lagging_power_factor_percent", unit="%", low=0, high=100),
        Column(name="leading_power_factor_percent", unit="%", low=0, high=100),
    ),
)
"""A steel plant by the quarter hour: energy drawn, reactive power and the CO2 behind it."""

EMISSIONS = Schema(
    name="emissions",
    frequency="D",
    season_length=7,
    targets=(
        Column(name="scope1", unit="tCO2e", low=0, high=1e7),
        Column(name="scope2", unit="tCO2e", low=0, high=1e7),
        Column(name="scope3", unit="tCO2e", low=0, high=1e8),
    ),
    covariates=(
        Column(name="energy_kwh", unit="kWh", low=0, high=1e10),
        Column(name="renewable_kwh", unit="kWh", low=0, high=1e10),
        Column(name="production_units", unit="units", low=0, high=1e10),
        Column(name="temperature_c", unit="degC", low=-90, high=60),
        Column(name="day_of_week", kind="int", low=0, high=6),  # 0 is Monday
        Column(name="month", kind="int", low=1, high=12),
        Column(name="holiday", kind="int", low=0, high=1),
        Column(name="economic_index", unit="index", low=0, high=10_000),
    ),
)
"""An organisation's sites by the day: greenhouse gases by scope, and what drives them."""


class _Schemas(dict[str, Schema]):
    """Name -> schema; an unknown name is an UnknownNameError that lists the known ones."""

    def __missing__(self, name: str) -> Schema:
        raise UnknownNameError.of("schema", name, self)


SCHEMAS = _Schemas({schema.name: schema for schema in (GAS_TURBINE, STEEL, EMISSIONS)})
"""The shipped schemas by name."""
