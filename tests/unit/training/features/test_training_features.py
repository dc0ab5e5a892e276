"""What each transform adds, by hand-made numbers, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cluster.errors import (
    ConfigError,
    HeliotropeError,
    InsufficientHistoryError,
    NotFittedError,
    SchemaError,
    UnknownNameError,
)
from training.core.component import build
from training.core.windows import Floats, Windows, cut
from training.data.bundled import load_sample
from training.features import TRANSFORMS
from training.features.calendar import Calendar
from training.features.degree_days import DegreeDays
from training.features.interactions import Interactions
from training.features.lags import Lags
from training.features.ratios import Ratios
from training.features.rolling import Rolling
from training.features.selection import Selection


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


def test_degree_days_are_what_is_beyond_a_limit() -> None:
    windows = one_series({"warm": [10, 15, 18, 25], "NOX": [1, 2, 3, 4]})
    days = DegreeDays(below=(15.0,), above=(18.0, 20.5), columns=("warm",)).fit(windows)
    out = days.transform(windows)
    assert out.columns == ("warm", "NOX", "warm_below_15", "warm_above_18", "warm_above_20.5")
    np.testing.assert_array_equal(out.values[0, :, 2:], [[5, 0, 0], [0, 0, 0], [0, 0, 0], [0, 7, 4.5]])
    assert days.ahead_columns(("NOX",)) == ("NOX",)
    assert days.ahead_columns(("NOX", "warm")) == ("NOX", *out.columns[:1], *out.columns[2:])


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
        ("calendar", {"year": 1}, ConfigError, "'year': got 1, expected True or False"),
        ("degree_days", {"below": []}, ConfigError, "no limit"),
        ("degree_days", {"above": [20, 18]}, ConfigError, r"above: got \[20.0, 18.0\], expected limits that inc"),
        ("degree_days", {"below": [float("inf")]}, ConfigError, "'below': got inf"),
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


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Australia/Melbourne", "Asia/Kolkata"])
def test_the_calendar_of_a_zone_is_the_local_one_over_daylight_saving(zone: str) -> None:
    utc = pd.date_range("2024-01-01", periods=366 * 24, freq="h")
    table = replace(one_series({"x": [0.0] * len(utc)}), times=utc.to_numpy(dtype="datetime64[ns]"))
    out = Calendar(zone=zone, country="DE").transform(table)
    local = utc.tz_localize("UTC").tz_convert(zone)
    for name, expected in {
        "hour": local.hour,
        "weekday": local.weekday,
        "day_of_month": local.day,
        "month": local.month,
    }.items():
        np.testing.assert_array_equal(column(out, f"calendar_{name}"), expected)
    holiday = column(out, "calendar_holiday") == 1
    assert set(local[holiday].strftime("%m-%d")) == {
        *("01-01", "03-29", "04-01", "05-01", "05-09", "05-20", "10-03", "12-25", "12-26")
    }
    np.testing.assert_array_equal(
        column(out, "calendar_hour_sin"), np.sin(2 * np.pi * np.arange(1440) / 1440)[local.hour * 60 + local.minute]
    )


def test_a_zone_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match="zone: got 'CEST/Berlin', expected a name of the time zone database"):
        Calendar(zone="CEST/Berlin")


def test_interactions_are_the_products_of_two_columns() -> None:
    windows = one_series({"a": [1, 2], "b": [3, 4], "c": [5, 6]})
    out = Interactions().fit(windows).transform(windows)
    assert out.columns == ("a", "b", "c", "a*b", "a*c", "b*c")
    np.testing.assert_array_equal(out.values[0], [[1, 3, 5, 3, 5, 15], [2, 4, 6, 8, 12, 24]])
    squares = Interactions(columns=("a",), squares=True).fit(windows)
    assert squares.added() == ("a*a",)
    assert Interactions().fit(windows).ahead_columns(("a", "c")) == ("a", "c", "a*c")


def test_too_many_interactions_name_the_limit() -> None:
    windows = one_series({name: [1, 2] for name in "abcdef"})
    with pytest.raises(
        ConfigError, match="limit: got 15 products of 6 columns, expected 1 to 10; name the columns"
    ):
        Interactions(limit=10).fit(windows)
    with pytest.raises(ConfigError, match="limit: got 0 products of 1 columns, expected 1 to 10"):
        Interactions(columns=("a",), limit=10).fit(windows)


def told() -> Windows:
    """Return a target y that three steps later is told by a square of u and a little by v; w is noise, t is u."""
    rng = np.random.default_rng(8)
    u, v, w = rng.normal(size=(3, 1500))
    y = np.roll(u**2 + 0.3 * v, 3)
    return one_series({"y": list(y), "w": list(w), "t": list(2 * u + 1), "v": list(v), "u": list(u)})


def test_selection_keeps_what_tells_most_and_says_why_not_the_others() -> None:
    windows = told()
    selection = Selection(targets=("y",), keep=3, horizon=3, sample=1000).fit(windows)
    report = selection.report().set_index("feature")
    assert set(selection.kept) == {"y", "v", *selection.kept} - {"w"}
    assert len(selection.kept) == 3
    assert len({"t", "u"} & set(selection.kept)) == 1  # one repeats the other
    repeated = ({"t", "u"} - set(selection.kept)).pop()
    assert str(report["reason"][repeated]).startswith("repeats")
    assert report.loc["w", "reason"] == "beyond the best 3"
    assert report.loc["y", "reason"] == "target"
    # A square has no correlation with what it squares: a straight line would have dropped u.
    assert report["mutual_information"][["t", "u"]].min() > 2 * report["mutual_information"][["v", "w"]].max()
    assert abs(report["correlation_y"]["u"]) < 0.1 < report["correlation_y"]["v"]
    assert report["strongest"]["u"] == "t"
    assert report["strongest_correlation"]["u"] == pytest.approx(1.0)
    out = selection.transform(windows)
    assert out.columns == selection.kept == tuple(name for name in windows.columns if name in selection.kept)


def test_selection_keeps_at_most_fifty_of_many() -> None:
    panel = load_sample("gas_turbine").for_target("NOX")
    windows = panel.windows(200, stride=100)[:20]
    many = Interactions().fit(windows).transform(windows)
    selection = Selection(targets=("NOX",), horizon=24, sample=300).fit(many)
    assert len(many.columns) == 66
    assert len(selection.kept) <= 50
    assert "NOX" in selection.kept
    report = selection.report()
    assert report["kept"].sum() == len(selection.kept)
    assert (report["reason"] != "").all()


def test_selection_refuses_what_it_cannot_judge() -> None:
    with pytest.raises(ConfigError, match="targets: got 'y', expected a list of names"):
        Selection(targets="y")
    with pytest.raises(ConfigError, match="keep: got 1, expected 2 or more"):
        Selection(targets=("a", "b"), keep=1)
    with pytest.raises(ConfigError, match="redundancy: got 0, expected 0 to 1"):
        Selection(targets=("y",), redundancy=0)
    with pytest.raises(NotFittedError, match="'selection' is not fitted"):
        _ = Selection(targets=("y",)).kept
    with pytest.raises(InsufficientHistoryError, match="got 8 rows with a target 2 steps later"):
        Selection(targets=("y",), horizon=2).fit(one_series({"y": list(range(10))}))
    with pytest.raises(UnknownNameError, match="unknown column 'z'"):
        Selection(targets=("z",)).fit(told())
