"""Build the bundled Parquet samples from their public CSV sources.

    python -m training.data.build_samples FOLDER

`FOLDER` holds `emissions/gas_turbine.csv` (UCI 551) and `emissions/steel_industry.csv` (UCI 851); without it the
environment's ML_DATA_DIR is taken. Run it when a source or a schema changes, and commit the result.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from cluster.errors import DataError
from training.core.panel import Panel
from training.core.schema import Schema
from training.core.validation import ID, TIME
from training.data.bundled import SAMPLES
from training.data.schemas import GAS_TURBINE, STEEL

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


def _panel(frame: pd.DataFrame, schema: Schema) -> Panel:
    frame[ID] = schema.name
    return Panel(frame[[ID, TIME, *schema.names]], schema).validate()


def write(panel: Panel, path: Path) -> None:
    """Write a panel as zstd Parquet, aside first."""
    table = pa.Table.from_pandas(panel.frame, preserve_index=False).replace_schema_metadata(None)
    aside = path.with_suffix(".part")
    pq.write_table(table, aside, compression="zstd", compression_level=19)
    aside.replace(path)


def main() -> None:
    """Build both samples."""
    parser = argparse.ArgumentParser(description="Build the bundled samples from their public sources.")
    parser.add_argument("source", nargs="?", type=Path, default=os.environ.get("ML_DATA_DIR"))
    source = parser.parse_args().source
    if source is None:
        parser.error("name the folder of the sources, or set ML_DATA_DIR")
    folder = Path(source) / "emissions"
    write(gas_turbine(folder / "gas_turbine.csv"), SAMPLES / "gas_turbine.parquet")
    write(steel_industry(folder / "steel_industry.csv"), SAMPLES / "steel_industry.parquet")


if __name__ == "__main__":
    main()
