"""The NAB series of TSB-AD-U that are public here: which file each is, and what is strange in it.

TSB-AD-U's evaluation list names 23 NAB series. Eleven of them are in the public folder `anomaly/nab`: found by
their length and the index of their first strange row, which TSB-AD's file names and table tell. The other twelve
are not there (its folder has no traffic, tweets and exchanges); two more of the folder's files are in TSB-AD's
tuning list. For six of the eleven TSB-AD mended NAB's windows, so that its table counts more strange rows than
they have. The ends here are those that make up that count; with them the published VUS-PR of Sub-PCA and isolation
forest is met to the third digit on each file.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks.public_data import public_file
from cluster.errors import ConfigError
from training.core.panel import Panel
from training.core.schema import Column, Schema
from training.core.validation import ID, TIME

SCHEMA = Schema(name="nab", frequency="5min", targets=(Column(name="value"),))
START = pd.Timestamp("2014-01-01")


@dataclass(frozen=True, kw_only=True)
class Watched:
    """One series.

    Parameters
    ----------
    number
        In TSB-AD-U's evaluation list; None where it is not there.
    file
        Under `anomaly/nab/data`.
    events
        Half-open ranges of strange rows, where row 0 is the file's second: TSB-AD drops the first.
    train_rows
        The first rows, which TSB-AD gives to detectors that learn from usual rows alone: `tr` in its file names.
    """

    number: int | None
    file: str
    events: tuple[tuple[int, int], ...]
    train_rows: int = 1007

    @property
    def name(self) -> str:
        """The file's own name."""
        return self.file.rpartition("/")[2].removesuffix(".csv")

    def values(self) -> npt.NDArray[np.float64]:
        """Return the values without the first."""
        frame = pd.read_csv(public_file(f"anomaly/nab/data/{self.file}"))
        return frame["value"].to_numpy(dtype=np.float64)[1:]

    def panel(self) -> Panel:
        """Return the values at even steps, as TSB-AD reads them."""
        values = self.values()
        times = pd.date_range(START, periods=len(values), freq=SCHEMA.frequency)
        return Panel(pd.DataFrame({ID: self.name, TIME: times, "value": values}), SCHEMA)

    def labels(self, rows: int) -> npt.NDArray[np.int64]:
        """Return (rows,) 1 where a row is strange."""
        labels = np.zeros(rows, dtype=np.int64)
        for first, last in self.events:
            labels[first:last] = 1
        return labels


SERIES = (
    Watched(
        number=6,
        file="realKnownCause/nyc_taxi.csv",
        events=((5839, 6045), (7080, 7286), (8423, 8629), (8731, 8937), (9977, 10183)),
        train_rows=2579,
    ),
    Watched(number=8, file="artificialWithAnomaly/art_load_balancer_spikes.csv", events=((2734, 3136),)),
    Watched(number=11, file="realAWSCloudwatch/ec2_cpu_utilization_825cc2.csv", events=((1526, 2000),)),
    Watched(number=15, file="artificialWithAnomaly/art_daily_jumpsdown.csv", events=((2787, 3300),)),
    Watched(
        number=16,
        file="realKnownCause/ambient_temperature_system_failure.csv",
        events=((3540, 3902), (5999, 6361)),
        train_rows=1816,
    ),
    Watched(number=17, file="artificialWithAnomaly/art_increase_spike_density.csv", events=((1805, 2207),)),
    Watched(number=20, file="artificialWithAnomaly/art_daily_flatmiddle.csv", events=((2679, 3300),)),
    Watched(
        number=22,
        file="realAWSCloudwatch/rds_cpu_utilization_cc0c53.csv",
        events=((2980, 3300), (3479, 3679)),
    ),
    Watched(
        number=23,
        file="realKnownCause/cpu_utilization_asg_misconfiguration.csv",
        events=((16551, 18049),),
        train_rows=4512,
    ),
    Watched(number=24, file="artificialWithAnomaly/art_daily_jumpsup.csv", events=((2787, 3300),)),
    Watched(number=28, file="realAWSCloudwatch/ec2_cpu_utilization_24ae8d.csv", events=((3447, 3877),)),
)


def others() -> list[Watched]:
    """Return the labelled files that are not in TSB-AD-U's evaluation list, with NAB's own windows as events."""
    told = json.loads(public_file("anomaly/nab/labels/combined_windows.json").read_text())
    known = {watched.file for watched in SERIES}
    wanted = {file: windows for file, windows in told.items() if windows and file not in known}
    return [
        Watched(number=None, file=file, events=_events(file, windows))
        for file, windows in sorted(wanted.items())
        if public_folder_has(f"anomaly/nab/data/{file}")
    ]


def _events(file: str, windows: list[tuple[str, str]]) -> tuple[tuple[int, int], ...]:
    """Return half-open ranges [start, end) of rows, by TSB-AD's rule: as indices of the whole file."""
    times = pd.read_csv(public_file(f"anomaly/nab/data/{file}"), parse_dates=["timestamp"])["timestamp"]
    ends = [(pd.Timestamp(start), pd.Timestamp(end)) for start, end in windows]
    return tuple((int((times < start).sum()), int((times < end).sum())) for start, end in ends)


def public_folder_has(name: str) -> bool:
    """Return whether a public file is there."""
    try:
        public_file(name)
    except ConfigError:
        return False
    return True
