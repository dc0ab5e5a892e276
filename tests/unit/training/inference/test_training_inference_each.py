"""Bad input: one exact error each, and the good series beside it still has its forecast."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cluster.errors import (
    ConfigError,
    DataError,
    HeliotropeError,
    InsufficientHistoryError,
    NotFittedError,
    SchemaError,
    UserError,
)
from training.core.panel import Panel
from training.core.schema import Column, Schema
from training.core.splits import chronological_split
from training.inference.each import forecast_each
from training.models.ridge import Ridge

SCHEMA = Schema(
    name="plant",
    frequency="h",
    targets=(Column(name="y", unit="kg", low=0),),
    covariates=(Column(name="load", role="known"), Column(name="wind")),
    season_length=6,
)
HORIZON, ROWS = 4, 60
GOOD = ("before", "after")
Spoil = Callable[[pd.DataFrame], pd.DataFrame]


def series(name: str, rows: int = ROWS) -> pd.DataFrame:
    hours = np.arange(rows)
    rng = np.random.default_rng(len(name))
    times = pd.date_range("2024-01-01", periods=rows, freq="h")
    load = np.sin(hours / 6 * 2 * np.pi)
    return pd.DataFrame(
        {
            "series_id": name,
            "timestamp": times,
            "y": 20 + 5 * load + rng.normal(0, 0.5, rows),
            "load": load,
            "wind": rng.normal(0, 1, rows),
        }
    )


def ahead(name: str) -> pd.DataFrame:
    return series(name, ROWS + HORIZON).iloc[ROWS:][["series_id", "timestamp", "load"]]


@pytest.fixture(scope="module")
def model() -> Ridge:
    panel = Panel(pd.concat([series("fit", 300), series("other", 300)], ignore_index=True), SCHEMA)
    return Ridge(window=12).fit_panel(panel, horizon=HORIZON, split=chronological_split(panel))


def cell(row: int, column: str, value: Any) -> Spoil:
    def spoil(frame: pd.DataFrame) -> pd.DataFrame:
        frame = frame.copy()
        frame.iloc[row, list(frame.columns).index(column)] = value
        return frame

    return spoil


def same(frame: pd.DataFrame) -> pd.DataFrame:
    return frame


def half_hours(frame: pd.DataFrame) -> pd.DataFrame:
    late = pd.date_range("2024-01-03 01:30", periods=10, freq="30min")
    return frame.assign(timestamp=[*frame["timestamp"].iloc[:50], *late])


@dataclass(frozen=True)
class Case:
    error: type[HeliotropeError] | None
    says: tuple[str, ...] = ()
    history: Spoil = same
    future: Spoil = field(default=same)


CASES = {
    "unsorted": Case(
        DataError,
        ("series 'odd': a timestamp is not sorted", "column 'timestamp', row 88", "got 2024-01-02 04:00:00 after"),
        history=lambda frame: pd.concat([frame[:27], frame[28:29], frame[27:28], frame[29:]]),
    ),
    "turned": Case(DataError, ("a timestamp is not sorted", "row 118"), history=lambda frame: frame[::-1]),
    "doubled": Case(
        DataError,
        ("series 'odd': a timestamp is doubled", "row 65", "got 2024-01-01 05:00:00 after 2024-01-01 05:00:00"),
        history=lambda frame: pd.concat([frame[:6], frame[5:]]),
    ),
    "gap": Case(
        DataError,
        (
            "series 'odd': a timestamp is missing (a gap)",
            "row 70",
            "got 2024-01-01 10:00:00 after 2024-01-01 08:00:00",
            "expected 2024-01-01 09:00:00 (step h)",
        ),
        history=lambda frame: frame.drop(frame.index[9]),
    ),
    "mixed frequencies": Case(
        DataError,
        ("series 'odd': a timestamp is off the step", "row 110", "got 2024-01-03 01:30:00", "(step h)"),
        history=half_hours,
    ),
    "a time is missing": Case(
        DataError, ("a timestamp is missing", "row 63", "expected a time"), history=cell(3, "timestamp", pd.NaT)
    ),
    "infinity": Case(
        DataError,
        ("a value is not finite: column 'y', row 119", "got inf", "expected a finite number"),
        history=cell(-1, "y", np.inf),
    ),
    "minus infinity in a covariate": Case(
        DataError, ("column 'wind', row 60: got -inf",), history=cell(0, "wind", -np.inf)
    ),
    "all missing": Case(
        DataError,
        ("a value is not finite: column 'y', row 60: got nan",),
        history=lambda frame: frame.assign(y=np.nan),
    ),
    "impossible": Case(
        DataError,
        ("a value is impossible: column 'y', row 64: got -1.0", "0 .. inf kg"),
        history=cell(4, "y", -1.0),
    ),
    "one row": Case(
        InsufficientHistoryError,
        ("series 'odd'", "got 1 rows, expected at least 12"),
        history=lambda frame: frame[-1:],
    ),
    "constant": Case(None, history=lambda frame: frame.assign(y=7.0, load=0.0, wind=1.0)),
    "constant zero": Case(None, history=lambda frame: frame.assign(y=0.0, load=0.0, wind=0.0)),
    "future missing": Case(
        DataError, ("future: series 'odd' is missing", "got 0 of 4 rows"), future=lambda frame: frame[:0]
    ),
    "future too short": Case(
        DataError,
        ("future: series 'odd' is too short", "got 2 of 4 rows, none at 2024-01-03 14:00:00"),
        future=lambda frame: frame[:2],
    ),
    "future late": Case(
        DataError,
        ("future: series 'odd' is too short", "got 3 of 4 rows, none at 2024-01-03 12:00:00"),
        future=lambda frame: frame.assign(timestamp=frame["timestamp"] + pd.Timedelta(hours=1)),
    ),
    "future doubled": Case(
        DataError, ("future: series 'odd' has a doubled row",), future=lambda frame: pd.concat([frame, frame[:1]])
    ),
    "future infinite": Case(
        DataError, ("future: a value is not finite", "column 'load'", "got inf"), future=cell(1, "load", np.inf)
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_bad_series_has_its_error_and_the_good_ones_their_forecast(model: Ridge, name: str) -> None:
    case = CASES[name]
    frames = [series("before"), case.history(series("odd").set_index(np.arange(60, 120)).copy()), series("after")]
    frame = pd.concat(frames)
    future = pd.concat([ahead("before"), case.future(ahead("odd")), ahead("after")])
    got = forecast_each(model, frame, SCHEMA, future=future)
    assert got.prediction is not None
    if case.error is None:
        assert got.errors == {}
        assert got.prediction.ids == ("before", "odd", "after")
        assert np.isfinite(got.prediction.values).all()
        return
    assert list(got.errors) == ["odd"]
    error = got.errors["odd"]
    assert type(error) is case.error
    for words in case.says:
        assert words in error.message
    assert got.prediction.ids == GOOD
    alone = forecast_each(model, pd.concat([frames[0], frames[2]]), SCHEMA, future=future)
    assert alone.prediction is not None
    assert np.allclose(got.prediction.point, alone.prediction.point, rtol=1e-12)
    assert np.array_equal(got.prediction.timestamps, alone.prediction.timestamps)


REQUESTS: dict[str, tuple[dict[str, Any], type[HeliotropeError], str]] = {
    "horizon 0": ({"horizon": 0}, UserError, "horizon: got 0, expected 1 .. 4"),
    "negative horizon": ({"horizon": -3}, UserError, "horizon: got -3, expected 1 .. 4"),
    "huge horizon": ({"horizon": 10**9}, UserError, "horizon: got 1000000000, expected 1 .. 4"),
    "level 0": ({"levels": (0.0, 0.5)}, ConfigError, "quantile levels: got (0.0, 0.5), expected increasing"),
    "level 1": ({"levels": (0.5, 1.0)}, ConfigError, "quantile levels: got (0.5, 1.0)"),
    "level 95": ({"levels": (5.0, 95.0)}, ConfigError, "quantile levels: got (5.0, 95.0)"),
    "no number": ({"levels": (float("nan"),)}, ConfigError, "quantile levels: got (nan,)"),
    "falling levels": ({"levels": (0.9, 0.1)}, ConfigError, "quantile levels: got (0.9, 0.1)"),
    "no levels": ({"levels": ()}, ConfigError, "quantile levels: got ()"),
    "no future": ({"future": None}, UserError, "future: got no future, expected 4 rows of ('load',)"),
    "future without the column": (
        {"future": ahead("a")[["series_id", "timestamp"]]},
        SchemaError,
        "future: a column is missing: column 'load': got columns series_id, timestamp",
    ),
    "future without ids": (
        {"future": ahead("a")[["timestamp", "load"]]},
        SchemaError,
        "future: a column is missing: column 'series_id'",
    ),
    "no column": ({"frame": series("a").drop(columns="y")}, SchemaError, "a column is missing: column 'y'"),
    "text": (
        {"frame": series("a").assign(y="high")},
        SchemaError,
        "values are not numbers: column 'y': got object, expected float in kg",
    ),
    "no times": ({"frame": series("a").assign(timestamp="today")}, SchemaError, "timestamps are not times"),
    "empty": ({"frame": series("a")[:0]}, DataError, "the table is empty: column 'series_id': got nothing"),
    "no id": (
        {"frame": cell(0, "series_id", None)(series("a"))},
        DataError,
        "a series id is missing: column 'series_id', row 0: got nothing",
    ),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_what_is_wrong_with_the_whole_request_is_said_once(model: Ridge, name: str) -> None:
    asked, kind, says = REQUESTS[name]
    words: dict[str, Any] = {"frame": pd.concat([series("a"), series("b")]), "future": ahead("a")} | asked
    with pytest.raises(kind) as caught:
        forecast_each(model, words.pop("frame"), SCHEMA, **words)
    assert type(caught.value) is kind
    assert says in caught.value.message


def test_an_unfitted_model_says_so() -> None:
    with pytest.raises(NotFittedError, match="call fit"):
        forecast_each(Ridge(window=12), series("a"), SCHEMA, future=ahead("a"))


def test_many_series_a_few_bad_ones_scattered_rows(model: Ridge) -> None:
    names = [f"s{number}" for number in range(40)]
    bad = {"s0", "s17", "s18", "s39"}
    frame = pd.concat([series(name).assign(y=np.nan) if name in bad else series(name) for name in names])
    shuffled = frame.sort_values(["timestamp", "series_id"], kind="stable")
    future = pd.concat([ahead(name) for name in names])
    got = forecast_each(model, frame, SCHEMA, future=future)
    assert set(got.errors) == bad
    assert got.prediction is not None
    assert got.prediction.ids == tuple(name for name in names if name not in bad)
    again = forecast_each(model, shuffled, SCHEMA, future=future, horizon=2, levels=(0.1, 0.9))
    assert again.prediction is not None
    assert again.prediction.point.shape == (36, 2, 1)
    assert again.prediction.values.shape == (36, 2, 1, 2)
    where = [again.prediction.ids.index(name) for name in got.prediction.ids]
    assert np.allclose(again.prediction.point[where], got.prediction.point[:, :2], rtol=1e-12)


def test_no_good_series_is_no_prediction(model: Ridge) -> None:
    got = forecast_each(model, series("a").assign(y=np.nan), SCHEMA, future=ahead("a"))
    assert got.prediction is None
    assert set(got.errors) == {"a"}
