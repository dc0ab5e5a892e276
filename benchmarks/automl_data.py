"""Tables that AutoML is measured on: sklearn's bundled ones, plants and a grid in time, functions of known truth.

Each seed gives another split, or another stretch of time, or other draws. Nothing of AutoML was chosen on these:
its portfolio and policies were tried on Friedman's functions, on generated classes and on series that are not here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from training.core.table import Values
from training.data.bundled import load_sample

TEST_SHARE = 0.25
TRAIN_ROWS, TEST_ROWS = 9000, 3000
"""Rows of a stretch of time that are learned from, and those that follow."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One table, split.

    Parameters
    ----------
    rows
        All rows; text columns are categories.
    target
        (N,) numbers, or positions of classes.
    classes
        How many; 0 in a regression.
    train, test
        Positions.
    ordered
        Whether the test part comes after the training part.
    """

    rows: pd.DataFrame
    target: Values
    classes: int
    train: Values
    test: Values
    ordered: bool


def case(name: str, seed: int) -> Case:
    """Return a table by name, split by seed."""
    return SETS[name](seed)


def _shuffled(rows: pd.DataFrame, target: Values, classes: int, seed: int) -> Case:
    from sklearn.model_selection import train_test_split

    places = np.arange(len(rows))
    train, test = train_test_split(
        places, test_size=TEST_SHARE, random_state=seed, stratify=target if classes else None
    )
    return Case(rows=rows, target=target, classes=classes, train=train, test=test, ordered=False)


def _stretch(rows: pd.DataFrame, target: Values, seed: int) -> Case:
    """Return rows in time: a stretch that starts where the seed says, and what follows it."""
    start = int(np.random.default_rng(seed).integers(0, len(rows) - TRAIN_ROWS - TEST_ROWS + 1))
    stop = start + TRAIN_ROWS + TEST_ROWS
    part = rows.iloc[start:stop].reset_index(drop=True)
    places = np.arange(len(part))
    return Case(
        rows=part,
        target=target[start:stop],
        classes=0,
        train=places[:TRAIN_ROWS],
        test=places[TRAIN_ROWS:],
        ordered=True,
    )


def _bundled(loader: str) -> Callable[[int], Case]:
    def load(seed: int) -> Case:
        from sklearn import datasets

        data = getattr(datasets, f"load_{loader}")()
        rows = pd.DataFrame(data.data, columns=[f"x{at}" for at in range(data.data.shape[1])])
        classes = 0 if loader == "diabetes" else len(set(data.target))
        target = data.target.astype(np.int64 if classes else np.float64)
        return _shuffled(rows, target, classes, seed)

    return load


def _clock(times: pd.Series[pd.Timestamp]) -> dict[str, Values]:
    return {
        "hour": times.dt.hour.to_numpy() + times.dt.minute.to_numpy() / 60,
        "weekday": times.dt.dayofweek.to_numpy(),
        "day_of_year": times.dt.dayofyear.to_numpy(),
    }


def _gas_turbine(target: str) -> Callable[[int], Case]:
    """Return the emission of an hour from what the other sensors measure in it."""

    def load(seed: int) -> Case:
        frame = load_sample("gas_turbine").frame
        sensors = frame.drop(columns=["series_id", "timestamp", "NOX", "CO"])
        return _stretch(sensors, frame[target].to_numpy(dtype=np.float64), seed)

    return load


def _steel(seed: int) -> Case:
    """Return a quarter of an hour's energy from what is known of the plant's reactive power, and the clock."""
    frame = load_sample("steel_industry").frame
    rows = frame.drop(columns=["series_id", "timestamp", "energy_kwh", "co2_tco2"]).assign(
        **_clock(frame["timestamp"])
    )
    return _stretch(rows, frame["energy_kwh"].to_numpy(dtype=np.float64), seed)


def _victoria(seed: int) -> Case:
    """Return a half hour's demand from that of the days before, the temperature and the clock."""
    frame = load_sample("vic_electricity").frame
    demand = frame["demand_mwh"]
    lags = {f"lag_{lag}": demand.shift(lag).to_numpy() for lag in (48, 96, 336)}
    past = {"warm_yesterday": frame["temperature_c"].shift(48).to_numpy()}
    rows = frame[["temperature_c", "holiday"]].assign(**lags, **past, **_clock(frame["timestamp"]))
    return _stretch(rows.iloc[336:], demand.to_numpy(dtype=np.float64)[336:], seed)


def _steps(seed: int) -> Case:
    """Return a sum of boxes: what trees are made for."""
    rng = np.random.default_rng(seed)
    inputs = rng.uniform(size=(2500, 8))
    truth = np.zeros(len(inputs))
    for _ in range(12):
        columns, cuts = rng.choice(6, 2, replace=False), rng.uniform(0.2, 0.8, 2)
        truth += rng.normal() * ((inputs[:, columns] > cuts).all(axis=1))
    return _shuffled(_frame(inputs), truth + rng.normal(0, 0.3, len(truth)), 0, seed)


def _smooth(seed: int) -> Case:
    """Return a smooth function of five columns among ten."""
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(1500, 10))
    slopes = rng.normal(size=5)
    truth = np.tanh(inputs[:, 0] * inputs[:, 1]) + np.cos(1.5 * inputs[:, 2]) + inputs[:, :5] @ slopes / 3
    return _shuffled(_frame(inputs), truth + rng.normal(0, 0.2, len(truth)), 0, seed)


def _levels(seed: int) -> Case:
    """Return a skewed cost by two categories, one of many levels, with a tenth of the numbers missing."""
    rng = np.random.default_rng(seed)
    count = 2500
    site, kind = rng.integers(0, 80, count), rng.integers(0, 4, count)
    numbers = rng.normal(size=(count, 4))
    truth = np.exp(
        rng.normal(0, 0.6, 80)[site] + np.array([0.0, 0.3, -0.4, 0.8])[kind] + 0.5 * numbers[:, 0] * (kind > 1)
    )
    numbers[rng.random(numbers.shape) < 0.1] = np.nan
    rows = _frame(numbers).assign(site=[f"s{each}" for each in site], kind=[f"k{each}" for each in kind])
    return _shuffled(rows, truth * np.exp(rng.normal(0, 0.2, count)), 0, seed)


def _rare(seed: int) -> Case:
    """Return a fault that one row in ten has, which comes with rough surroundings and old age together."""
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(2500, 8))
    odds = -4.2 + 2.0 * np.abs(inputs[:, 0]) + 1.5 * inputs[:, 1] * (inputs[:, 2] > 0) + inputs[:, 3]
    target = (rng.random(len(odds)) < 1 / (1 + np.exp(-odds))).astype(np.int64)
    return _shuffled(_frame(inputs), target, 2, seed)


def _frame(inputs: Values) -> pd.DataFrame:
    return pd.DataFrame(inputs, columns=[f"x{at}" for at in range(inputs.shape[1])])


SETS: dict[str, Callable[[int], Case]] = {
    "diabetes": _bundled("diabetes"),
    "breast_cancer": _bundled("breast_cancer"),
    "wine": _bundled("wine"),
    "digits": _bundled("digits"),
    "iris": _bundled("iris"),
    "gas_turbine_nox": _gas_turbine("NOX"),
    "gas_turbine_co": _gas_turbine("CO"),
    "steel": _steel,
    "victoria": _victoria,
    "steps": _steps,
    "smooth": _smooth,
    "levels": _levels,
    "rare": _rare,
}
