"""Real data that ships with the package; sources and licences in `samples/LICENSES.md`."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

from cluster.errors import UnknownNameError
from training.core.panel import Panel
from training.data.schemas import SCHEMAS

SAMPLES = Path(__file__).parent / "samples"


def sample_names() -> tuple[str, ...]:
    """Return the names that `load_sample` knows."""
    return tuple(sorted(path.stem for path in SAMPLES.glob("*.parquet")))


def load_sample(name: str) -> Panel:
    """Return a bundled sample as a validated panel.

    Parameters
    ----------
    name
        `gas_turbine` (UCI 551: 36,733 hours), `steel_industry` (UCI 851: 35,040 quarter hours),
        `vic_electricity` (Victoria 2012-2014: 52,608 half-hours), `google2019_machine_usage` (8,064 times 5
        minutes), `alibaba2018_machine_usage` (22,415 times 30 seconds).

    Raises
    ------
    UnknownNameError
        There is no such sample; the message lists them.
    """
    if name not in sample_names():
        raise UnknownNameError.of("sample", name, sample_names())
    schema = SCHEMAS[name]
    frame = pq.read_table(SAMPLES / f"{name}.parquet").to_pandas()
    wide = {column.name: "int64" if column.kind == "int" else "float64" for column in schema.columns}
    return Panel(frame.astype(wide), schema).validate()
