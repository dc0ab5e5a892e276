"""What each transform adds, by hand-made numbers, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cluster.errors import ConfigError, HeliotropeError, NotFittedError, SchemaError, UnknownNameError
from training.core.component import build
from training.core.windows import Floats, Windows, cut
from training.data.bundled import load_sample
from training.features import TRANSFORMS
from training.features.calendar import Calendar
from training.features.lags import Lags
from training.features.ratios import Ratios
from training.features.rolling import Rolling


def one_series(columns: dict[str, list[float]]) -> Windows:
    size = len(next(iter(columns.values())))
    table = Windows(
        rows=np.column_stack([np.asarray(values, dtype=float) for values in columns.values()]),
        times=np.datetime64("2024-12-24T22", "ns") + np.timedelta64(1, "h") * np.arange(size),
        segments=np.array([0, size]),
        starts=np.empty(0, dtype=np.int64),
        length=0,
        columns=tuple(columns),
        series=("s",),
        frequency="h",
    )
    return cut(table, length=size)


def column(windows: Windows, name: str) -> Floats:
    values: Floats = windows.select((name,))[0, :, 0]
    return values


def test_lags_are_the_values_of_earlier_rows() -> None:
    windows = one_series({"NOX": [1, 2, 3, 4, 5], "CO": [10, 20, 30, 40, 50]})
    out = Lags(steps=(1, 3), columns=("NOX",)).fit(windows).transform(windows)
    assert out.columns == ("NOX", "CO", "NOX_lag_1", "NOX_lag_3")
    np.testing.assert_array_equal(out.values[0], [[4, 40, 3, 1], [5, 50, 4, 2]])


def test_rolling_statistics_are_over_the_last_rows_with_this_one() -> None:
    windows = one_series({"NOX": [1, 2, 6, 4]})
    out = Rolling(windows=(2, 3)).fit(windows).transform(windows)
    assert out.columns == (
        *("NOX", "NOX_rolling_mean_2", "NOX_rolling_std_2", "NOX_rolling_min_2", "NOX_rolling_max_2"),
        *("NOX_rolling_mean_3", "NOX_rolling_std_3", "NOX_rolling_min_3", "NOX_rolling_max_3"),
    )
    expected = [[6, 4, np.sqrt(8), 2, 6, 3, np.sqrt(7), 1, 6], [4, 5, np.sqrt(2), 4, 6, 4, 2, 2, 6]]
    np.testing.assert_allclose(out.values[0], expected, rtol=1e-15)


def test_features_are_named_after_row_and_steps_of_the_issue() -> None:
    assert (Lags().steps, Lags().lookback) == ((1, 7, 30), 30)
    assert (Rolling().windows, Rolling().lookback) == ((7, 14, 30), 29)
    assert Rolling().statistics == ("mean", "std", "min", "max")


def test_calendar_knows_the_holidays_of_its_country_only() -> None:
    windows = one_series({"NOX": [0.0] * 30})
    for country, christmas_eve, christmas in (("DE", 0, 1), ("TR", 0, 0), ("CZ", 1, 1)):
        holiday = column(Calendar(country=country).transform(windows), "calendar_holiday")
        assert holiday[:2].tolist() == [christmas_eve] * 2
        assert holiday[2:26].tolist() == [christmas] * 24
    assert "calendar_holiday" not in Calendar().columns(("NOX",))


def test_ratios_and_their_zero_denominators() -> None:
    windows = one_series(
        {"scope1": [6, 1, 1], "made": [2, 0, 1e-320], "kwh": [4, 0, 8], "green": [1, 0, 2], "scope2": [2, 1, 1e300]}
    )
    ratios = Ratios(emissions=("scope1", "scope2"), production="made", energy="kwh", renewable="green")
    out = ratios.transform(windows)
    assert column(out, "emissions_intensity").tolist() == [4, 0, 0]
    assert column(out, "energy_efficiency").tolist() == [0.5, 0, 1e-320 / 8]
    assert column(out, "renewable_share").tolist() == [0.25, 0, 0.25]


def test_ratios_leave_out_what_has_no_columns() -> None:
    assert Ratios(emissions=("NOX",), production="TEY", energy=None).added() == ("emissions_intensity",)
    assert Ratios(emissions=(), production=None).added() == ("renewable_share",)


def test_columns_are_learned_where_none_are_named() -> None:
    windows = one_series({"NOX": [1, 2], "CO": [3, 4]})
    lags = Lags(steps=(1,))
    with pytest.raises(NotFittedError, match="'lags' is not fitted"):
        lags.transform(windows)
    assert lags.fit(windows).transform(windows).columns == ("NOX", "CO", "NOX_lag_1", "CO_lag_1")
    assert lags.state() == {"described": ["NOX", "CO"]}
    assert lags.params() == {"steps": (1,), "columns": None}


@pytest.mark.parametrize(
    ("name", "params", "kind", "words"),
    [
        ("lags", {"steps": []}, ConfigError, r"steps: got \[\], expected distinct whole numbers of 1 or more"),
        ("lags", {"steps": [0]}, ConfigError, r"steps: got \[0\]"),
        ("lags", {"steps": [2, 2]}, ConfigError, r"steps: got \[2, 2\]"),
        ("lags", {"columns": "NOX"}, ConfigError, "got the text 'NOX', expected a list"),
        ("rolling", {"windows": [1]}, ConfigError, r"windows: got \[1\], expected .* 2 or more"),
        ("rolling", {"statistics": ["median"]}, UnknownNameError, "unknown statistic 'median'"),
        ("rolling", {"statistics": []}, ConfigError, "statistics: got"),
        ("calendar", {"country": "GERMANY"}, UnknownNameError, "unknown country 'GERMANY'"),
        ("ratios", {"production": None, "energy": None}, ConfigError, "nothing to compute"),
        ("ratios", {"emissions": "scope1"}, ConfigError, "got the text 'scope1'"),
    ],
)
def test_a_wrong_parameter_is_named(
    name: str, params: dict[str, Any], kind: type[HeliotropeError], words: str
) -> None:
    with pytest.raises(kind, match=words):
        build(TRANSFORMS, name, params)


def test_an_unknown_column_is_named() -> None:
    windows = one_series({"NOX": [1, 2]})
    with pytest.raises(UnknownNameError, match=r"unknown column 'NOx'\. Did you mean 'NOX'"):
        Rolling(windows=(2,), columns=("NOx",)).fit(windows)
    with pytest.raises(UnknownNameError, match="unknown column 'scope1'"):
        Ratios().transform(windows)


def test_a_column_that_is_taken_is_named() -> None:
    windows = one_series({"NOX": [1, 2, 3]})
    once = Calendar().transform(windows)
    with pytest.raises(SchemaError, match="'calendar' adds a column that is there: column 'calendar_hour'"):
        Calendar().transform(once)


def test_all_features_on_the_gas_turbine_are_finite_in_every_window() -> None:
    windows = load_sample("gas_turbine").windows(100, stride=1000)
    for name, params in (
        ("calendar", {"country": "TR"}),
        ("lags", {"columns": ["NOX", "CO"]}),
        ("rolling", {"columns": ["NOX", "CO"]}),
        ("ratios", {"emissions": ["NOX"], "production": "TEY", "energy": None}),
    ):
        windows = build(TRANSFORMS, name, params).fit(windows).transform(windows)
    assert windows.length == 100 - 30 - 29
    assert len(windows.columns) == 55
    assert np.isfinite(windows.values).all()
