"""Build the bundled Parquet samples from their public CSV sources.

    python -m training.data.build_samples FOLDER

`FOLDER` holds the files of `SOURCES`, unchanged from where `samples/LICENSES.md` says; without it the environment's
ML_DATA_DIR is taken. Run it when a source or a schema changes, and commit the result.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from cluster.errors import DataError
from training.core.panel import Panel
from training.core.schema import Schema
from training.core.validation import ID, TIME
from training.data.bundled import SAMPLES
from training.data.schemas import ALIBABA_CLUSTER, GAS_TURBINE, GOOGLE_CLUSTER, STEEL, VIC_ELECTRICITY

STEEL_NAMES = {
    "Usage_kWh": "energy_kwh",
    "Lagging_Current_Reactive_Power_kVarh": "lagging_reactive_power_kvarh",
    "Leading_Current_Reactive_Power_kVarh": "leading_reactive_power_kvarh",
    "CO2(tCO2)": "co2_tco2",
    "Lagging_Current_Power_Factor": "lagging_power_factor_percent",
    "Leading_Current_Power_Factor": "leading_power_factor_percent",
}


def gas_turbine(source: Path) -> Panel:
    """Read UCI 551; its hourly timestamps were re-imposed on the chronological order by the data's keepers."""
    frame = pd.read_csv(source).rename(columns={"datetime": TIME})
    frame[TIME] = pd.to_datetime(frame[TIME], format="%Y-%m-%d %H:%M:%S")
    return _panel(frame, GAS_TURBINE)


def steel_industry(source: Path) -> Panel:
    """Read UCI 851; a day's 00:00 is its last row and ends the day, so it becomes 00:00 of the next day.

    The rows decide it: energy changes by 1.3 kWh a step around that row in the order of the file, and by 4.1 kWh
    when the row is moved to the start of its day.
    """
    frame = pd.read_csv(source, encoding="utf-8-sig").rename(columns=STEEL_NAMES)
    stamp = pd.to_datetime(frame["date"], format="%d/%m/%Y %H:%M")
    seconds = stamp.dt.hour * 3600 + stamp.dt.minute * 60
    if not seconds.equals(frame["NSM"].astype(seconds.dtype)):
        raise DataError.at("the clock and NSM differ", column="NSM", got="other seconds", expected="as in 'date'")
    frame[TIME] = stamp + pd.to_timedelta((seconds == 0).astype("int64"), unit="D")
    return _panel(frame, STEEL)


def vic_electricity(source: Path) -> Panel:
    """Read tsibbledata's half-hours of Victoria, on the clock that the source has: UTC.

    That clock runs on over daylight saving, so no half-hour is lost or doubled: 52,608 of them are three years of
    local time in Melbourne, the first at 2011-12-31 13:00 UTC. The holiday flag belongs to the local date.
    """
    frame = pd.read_csv(source).rename(columns={"Demand": "demand_mwh", "Temperature": "temperature_c"})
    times = pd.to_datetime(frame["Time"], format="%Y-%m-%dT%H:%M:%SZ")
    local = times.dt.tz_localize("UTC").dt.tz_convert("Australia/Melbourne").dt.strftime("%Y-%m-%d")
    if not local.equals(frame["Date"]):
        raise DataError.at("clock and date differ", column="Date", got="other days", expected="Melbourne's days")
    frame[TIME] = times
    frame["holiday"] = frame["Holiday"].astype("int64")
    return _panel(_single(frame, VIC_ELECTRICITY), VIC_ELECTRICITY)


def google_cluster(source: Path) -> Panel:
    """Read the mean use of Google's clusters of May 2019; the times are imposed, the source has none."""
    return _trace(source, GOOGLE_CLUSTER, start="2019-05-01", step_s=300)


def alibaba_cluster(source: Path) -> Panel:
    """Read the mean use of an Alibaba cluster of 2018; the times are imposed, the source has none."""
    return _trace(source, ALIBABA_CLUSTER, start="2018-01-01", step_s=30)


def _trace(source: Path, schema: Schema, *, start: str, step_s: int) -> Panel:
    frame = pd.read_csv(source)
    frame[TIME] = pd.date_range(start, periods=len(frame), freq=pd.Timedelta(seconds=step_s)).as_unit("ns")
    return _panel(_single(frame, schema), schema)


def _single(frame: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """Round the measurements to single precision, 7 digits: half the bytes, and far finer than a meter."""
    names = [column.name for column in schema.columns if column.kind == "float"]
    return frame.assign(**frame[names].astype("float32").astype("float64"))


def _panel(frame: pd.DataFrame, schema: Schema) -> Panel:
    frame[ID] = schema.name
    return Panel(frame[[ID, TIME, *schema.names]], schema).validate()


def write(panel: Panel, path: Path) -> None:
    """Write a panel as zstd Parquet, aside first; each column in the narrowest type that holds it exactly."""
    narrow = panel.frame.assign(**{name: _narrow(panel.frame[name]) for name in panel.schema.names})
    table = pa.Table.from_pandas(narrow, preserve_index=False).replace_schema_metadata(None)
    single = [field.name for field in table.schema if field.type == pa.float32()]
    others = [name for name in table.column_names if name not in single]
    aside = path.with_suffix(".part")
    pq.write_table(
        table,
        aside,
        compression="zstd",
        compression_level=19,
        use_dictionary=others,
        use_byte_stream_split=single,
    )
    aside.replace(path)


def _narrow(values: pd.Series[float]) -> pd.Series[float]:
    if values.dtype.kind == "i":
        return pd.to_numeric(values, downcast="integer")
    single = values.astype("float32")
    return single if np.array_equal(single.to_numpy(), values.to_numpy()) else values


SOURCES: dict[str, tuple[str, Callable[[Path], Panel]]] = {
    "gas_turbine": ("emissions/gas_turbine.csv", gas_turbine),
    "steel_industry": ("emissions/steel_industry.csv", steel_industry),
    "vic_electricity": ("energy/vic_electricity.csv", vic_electricity),
    "google2019_machine_usage": ("workload/google2019_machine_usage_300s.csv", google_cluster),
    "alibaba2018_machine_usage": ("workload/alibaba2018_machine_usage_30s.csv", alibaba_cluster),
}
"""Sample -> its source under the folder, and what reads it."""


def main() -> None:
    """Build every sample."""
    parser = argparse.ArgumentParser(description="Build the bundled samples from their public sources.")
    parser.add_argument("source", nargs="?", type=Path, default=os.environ.get("ML_DATA_DIR"))
    source = parser.parse_args().source
    if source is None:
        parser.error("name the folder of the sources, or set ML_DATA_DIR")
    for name, (file, read) in SOURCES.items():
        write(read(Path(source) / file), SAMPLES / f"{name}.parquet")


if __name__ == "__main__":
    main()
