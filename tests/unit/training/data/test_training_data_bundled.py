"""The samples are what their sources say, and fit their schemas."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from cluster.errors import DataError, UnknownNameError
from training.core.validation import TIME
from training.data import build_samples
from training.data.bundled import SAMPLES, load_sample, sample_names
from training.data.schemas import EMISSIONS, GAS_TURBINE, SCHEMAS, STEEL, VIC_ELECTRICITY


def test_the_samples_are_listed_and_licensed() -> None:
    assert set(sample_names()) == set(build_samples.SOURCES)
    licences = (SAMPLES / "LICENSES.md").read_text()
    for name in sample_names():
        assert f"`{name}.parquet`" in licences
    for word in (
        "CC BY 4.0",
        "https://doi.org/10.24432/C5WC95",
        "https://doi.org/10.24432/C52G8C",
        "BSD-3",
        "tsibbledata",
        "zenodo.14564847",
    ):
        assert word in licences


def test_the_samples_are_small() -> None:
    for path in SAMPLES.iterdir():
        assert path.stat().st_size < 2_000_000, path.name


def test_gas_turbine_is_five_years_of_hours() -> None:
    panel = load_sample("gas_turbine")
    assert panel.schema == GAS_TURBINE
    assert panel.schema.target_names == ("NOX", "CO")
    assert len(panel) == 36_733
    assert (
        panel.table.times[[0, -1]].tolist()
        == np.array(["2011-01-01T00", "2015-03-11T12"], dtype="datetime64[ns]").tolist()
    )
    means = panel.frame[["NOX", "CO", "TEY"]].mean()
    np.testing.assert_allclose(means, [65.2931, 2.3725, 133.5064], atol=1e-4)


def test_steel_is_a_year_of_quarter_hours_and_runs_smoothly_over_midnight() -> None:
    panel = load_sample("steel_industry")
    assert panel.schema == STEEL
    assert len(panel) == 35_040 == 365 * 96
    times = panel.frame[TIME]
    assert times.iloc[[0, -1]].tolist() == [pd.Timestamp("2018-01-01 00:15"), pd.Timestamp("2019-01-01 00:00")]
    energy = panel.frame["energy_kwh"].to_numpy()
    midnight = np.flatnonzero((times.dt.hour == 0) & (times.dt.minute == 0))[:-1]
    # At the head of its own day, where its label would put it, the row would jump by 4.1 kWh.
    assert np.abs(energy[midnight] - energy[midnight - 1]).mean() < 1.3
    assert np.abs(energy[midnight + 1] - energy[midnight]).mean() < 1.4


def test_victoria_is_three_local_years_of_half_hours_on_a_clock_without_daylight_saving() -> None:
    panel = load_sample("vic_electricity")
    assert panel.schema == VIC_ELECTRICITY
    assert panel.schema.known_names == ("temperature_c", "holiday")
    local = panel.frame[TIME].dt.tz_localize("UTC").dt.tz_convert("Australia/Melbourne")
    assert local.iloc[[0, -1]].dt.strftime("%Y-%m-%d %H:%M").tolist() == ["2012-01-01 00:00", "2014-12-31 23:30"]
    assert len(panel) == 52_608 == (366 + 365 + 365) * 48
    rows_a_day = local.dt.date.value_counts().value_counts().to_dict()
    assert rows_a_day == {48: 1090, 46: 3, 50: 3}  # each year one day of 23 hours and one of 25
    np.testing.assert_allclose(panel.frame["demand_mwh"].mean(), 4665.4328, atol=1e-3)
    holidays = local[panel.frame["holiday"] == 1].dt.strftime("%Y-%m-%d").unique()
    assert len(holidays) == 31
    assert {"2012-01-26", "2013-12-25", "2014-11-04"} <= set(holidays)


@pytest.mark.parametrize(
    ("name", "rows", "last", "cpu"),
    [
        ("google2019_machine_usage", 8064, "2019-05-28T23:55", 47.2823),
        ("alibaba2018_machine_usage", 22_415, "2018-01-08T18:47", 38.4535),
    ],
)
def test_a_cluster_trace_has_the_imposed_times(name: str, rows: int, last: str, cpu: float) -> None:
    panel = load_sample(name)
    assert len(panel) == rows
    assert panel.table.times[-1] == np.datetime64(last)
    assert panel.frame["cpu_util_percent"].mean() == pytest.approx(cpu, abs=1e-4)


def test_an_unknown_sample_or_schema_is_named() -> None:
    with pytest.raises(
        UnknownNameError, match=r"unknown sample 'steel'\. .*Known: alibaba2018_machine_usage, gas_turbine, "
    ):
        load_sample("steel")
    with pytest.raises(UnknownNameError, match="unknown schema 'gas'"):
        SCHEMAS["gas"]


def test_every_schema_has_units_and_ranges() -> None:
    assert set(SCHEMAS) == {*sample_names(), "emissions"}
    for schema in SCHEMAS.values():
        assert schema.season_length > 1
        for column in schema.columns:
            assert column.low is not None, column
            assert column.high is not None, column
            assert column.unit != "1" or column.kind == "int", column
    assert EMISSIONS.target_names == ("scope1", "scope2", "scope3")
    assert set(EMISSIONS.names) >= {
        *("energy_kwh", "renewable_kwh", "production_units", "temperature_c", "day_of_week", "month", "holiday"),
        "economic_index",
    }


STEEL_CSV = (
    "\ufeffdate,Usage_kWh,Lagging_Current_Reactive_Power_kVarh,Leading_Current_Reactive_Power_kVarh,CO2(tCO2),"
    "Lagging_Current_Power_Factor,Leading_Current_Power_Factor,NSM,WeekStatus,Day_of_week,Load_Type\n"
    "01/02/2018 23:45,3,1,0,0,73,100,85500,Weekday,Thursday,Light_Load\n"
    "01/02/2018 00:00,4,1,0,0,73,100,0,Weekday,Thursday,Light_Load\n"
    "02/02/2018 00:15,5,1,0,0,73,100,900,Weekday,Friday,Light_Load\n"
)


def test_the_builder_reads_days_first_and_puts_midnight_at_the_end_of_its_day(tmp_path: Path) -> None:
    path = tmp_path / "steel.csv"
    path.write_text(STEEL_CSV, encoding="utf-8")
    frame = build_samples.steel_industry(path).frame
    assert frame[TIME].astype(str).tolist() == ["2018-02-01 23:45:00", "2018-02-02 00:00:00", "2018-02-02 00:15:00"]
    assert frame["energy_kwh"].tolist() == [3, 4, 5]
    path.write_text(STEEL_CSV.replace("900", "901"), encoding="utf-8")
    with pytest.raises(DataError, match="the clock and NSM differ"):
        build_samples.steel_industry(path)


VICTORIA_CSV = (
    "Time,Demand,Temperature,Date,Holiday\n"
    "2011-12-31T13:00:00Z,4382.825174,21.4,2012-01-01,TRUE\n"
    "2011-12-31T13:30:00Z,4263.365526,21.05,2012-01-01,TRUE\n"
)


def test_the_builder_keeps_utc_and_checks_it_against_the_local_date(tmp_path: Path) -> None:
    path = tmp_path / "victoria.csv"
    path.write_text(VICTORIA_CSV)
    frame = build_samples.vic_electricity(path).frame
    assert frame[TIME].iloc[0] == pd.Timestamp("2011-12-31 13:00")
    assert frame["holiday"].tolist() == [1, 1]
    path.write_text(VICTORIA_CSV.replace("2012-01-01", "2011-12-31"))
    with pytest.raises(DataError, match="clock and date differ"):
        build_samples.vic_electricity(path)


@pytest.mark.parametrize("name", build_samples.SOURCES)
def test_a_sample_is_what_its_source_builds(name: str, data_dir: Path, tmp_path: Path) -> None:
    file, read = build_samples.SOURCES[name]
    if not (data_dir / file).is_file():
        pytest.skip(f"{file} is not in {data_dir}; ML_DATA_DIR may name another folder")
    built = read(data_dir / file)
    assert built.digest() == load_sample(name).digest()
    build_samples.write(built, tmp_path / f"{name}.parquet")
    again = pq.read_table(tmp_path / f"{name}.parquet")
    assert again.equals(pq.read_table(SAMPLES / f"{name}.parquet"))
    pd.testing.assert_frame_equal(again.to_pandas(), load_sample(name).frame, check_dtype=False)
