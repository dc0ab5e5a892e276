"""The schemas that ship: plants, a state's electricity, two clusters, and the emissions of organisations."""

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

VIC_ELECTRICITY = Schema(
    name="vic_electricity",
    frequency="30min",
    season_length=48,
    targets=(Column(name="demand_mwh", unit="MWh", low=0, high=20_000),),
    covariates=(
        Column(name="temperature_c", unit="degC", low=-60, high=60, role="known"),
        Column(name="holiday", kind="int", low=0, high=1, role="known"),
    ),
)
"""Victoria, Australia, by the half-hour of UTC: electricity drawn, temperature in Melbourne, public holidays.

The temperature is the measured one; taken as known ahead it stands for a perfect weather forecast.
"""


def _percent(*names: str) -> tuple[Column, ...]:
    return tuple(Column(name=name, unit="%", low=0, high=100) for name in names)


GOOGLE_CLUSTER = Schema(
    name="google2019_machine_usage",
    frequency="300s",
    season_length=288,
    targets=_percent("cpu_util_percent", "mem_util_percent", "assigned_mem_percent"),
    covariates=(Column(name="cycles_per_instruction", unit="cycles/100 instructions", low=0, high=10_000),),
)
"""Google's clusters in May 2019 by 5 minutes, the mean of all machines; the times are imposed."""

ALIBABA_CLUSTER = Schema(
    name="alibaba2018_machine_usage",
    frequency="30s",
    season_length=2880,
    targets=_percent("cpu_util_percent", "mem_util_percent", "net_in", "net_out", "disk_io_percent"),
)
"""An Alibaba cluster in 2018 by 30 seconds, the mean of all machines; the times are imposed.

Network traffic is normalised: 100 is not known to be the link's limit.
"""

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


SHIPPED = (GAS_TURBINE, STEEL, VIC_ELECTRICITY, GOOGLE_CLUSTER, ALIBABA_CLUSTER, EMISSIONS)

SCHEMAS = _Schemas({schema.name: schema for schema in SHIPPED})
"""The shipped schemas by name."""
