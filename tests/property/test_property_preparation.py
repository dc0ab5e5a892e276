"""Preparation loses nothing, invents nothing in silence, and looks ahead only where it says so."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.core.schema import Column, Schema
from training.core.validation import ID, TIME
from training.data.gaps import LOOKS_AHEAD, Filling
from training.data.preparation import Preparation, Prepared, prepare

SCHEMA = Schema(
    name="site",
    frequency="h",
    season_length=24,
    targets=(Column(name="kwh", unit="kWh"),),
    covariates=(Column(name="temperature", unit="degC"),),
)
ZONES = (
    *("Europe/Berlin", "America/New_York", "Australia/Melbourne", "Australia/Lord_Howe", "Africa/Casablanca"),
    *("America/Santiago", "Asia/Kolkata", "Pacific/Chatham"),
)
FILLINGS: tuple[Filling, ...] = ("linear", "seasonal", "previous", "zero")


def table(rows: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    day = np.sin(np.arange(rows) / 24 * 2 * np.pi)
    return pd.DataFrame(
        {
            ID: "a",
            TIME: pd.date_range("2023-05-01", periods=rows, freq="h"),
            "kwh": 100 + 20 * day + rng.normal(0, 3, rows),
            "temperature": 10 + 5 * day + rng.normal(0, 1, rows),
        }
    )


def holed(rows: int, seed: int) -> pd.DataFrame:
    """Return a table without some of its rows and some of its values; the first and the last row are whole."""
    frame, rng = table(rows, seed), np.random.default_rng(seed + 1)
    for column in ("kwh", "temperature"):
        frame.loc[1 + rng.choice(rows - 2, rows // 20, replace=False), column] = np.nan
    kept = np.setdiff1d(np.arange(rows), 1 + rng.choice(rows - 2, rows // 15, replace=False))
    return frame.iloc[kept]


def same(first: Prepared, second: Prepared) -> None:
    pd.testing.assert_frame_equal(first.panel.frame, second.panel.frame)
    assert not second.report.findings


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("step", ["h", "15min"])
def test_no_moment_of_a_year_is_lost_or_doubled(zone: str, step: str) -> None:
    utc = pd.date_range("2024-01-01", "2025-01-01", freq=step, tz="UTC")
    frame = pd.DataFrame(
        {TIME: utc.tz_convert(zone).tz_localize(None), "kwh": np.arange(len(utc), dtype=float), "temperature": 0.0}
    )
    schema = Schema(name="s", frequency=step, targets=SCHEMA.targets, covariates=SCHEMA.covariates)
    for clock in ("utc", "standard"):
        prepared = prepare(frame, schema, Preparation(zone=zone, clock=clock))
        times = prepared.panel.frame[TIME]
        assert len(times) == len(utc)
        if clock == "utc":
            np.testing.assert_array_equal(times.to_numpy(), utc.tz_localize(None).as_unit("ns").to_numpy())
        assert times.diff().dropna().nunique() == 1
        np.testing.assert_array_equal(prepared.panel.frame["kwh"], frame["kwh"])


@pytest.mark.parametrize("gaps", FILLINGS)
@settings(max_examples=10, deadline=None)
@given(rows=st.integers(60, 300), seed=st.integers(0, 2**31))
def test_known_cells_stay_filled_ones_are_marked_and_again_changes_nothing(
    gaps: Filling, rows: int, seed: int
) -> None:
    frame = holed(rows, seed)
    policy = Preparation(gaps=gaps)
    prepared = prepare(frame, SCHEMA, policy)
    assert len(prepared.panel) == rows
    for column in SCHEMA.names:
        known = ~prepared.filled[column]
        np.testing.assert_array_equal(prepared.panel.frame[column][known], frame[column].dropna())
    assert prepared.filled.to_numpy().sum() == sum(finding.count for finding in prepared.report.of("gaps"))
    same(prepared, prepare(prepared.panel.frame, SCHEMA, policy))


@pytest.mark.parametrize("gaps", sorted(set(FILLINGS) - LOOKS_AHEAD))
@settings(max_examples=10, deadline=None)
@given(rows=st.integers(100, 400), seed=st.integers(0, 2**31), data=st.data())
def test_a_causal_policy_gives_the_past_the_same_whatever_comes(
    gaps: Filling, rows: int, seed: int, data: st.DataObject
) -> None:
    policy = Preparation(gaps=gaps, outliers="winsorise", outlier_deviations=2.0, causal=True)
    assert not policy.looks_ahead
    frame = holed(rows, seed)
    cut = data.draw(st.integers(5, len(frame) - 1))
    later = frame.copy()
    later.iloc[cut:, 2:] = later.iloc[cut:, 2:] * 7 + 1
    border = frame[TIME].iloc[cut]
    before, after = (prepare(each, SCHEMA, policy).panel.before(border).frame for each in (frame, later))
    pd.testing.assert_frame_equal(before, after)
    # A row that is added at the end changes nothing either.
    shorter = prepare(frame.iloc[:cut], SCHEMA, policy).panel.frame
    pd.testing.assert_frame_equal(shorter, before.iloc[: len(shorter)])


def test_the_exam_catches_a_policy_that_looks_ahead() -> None:
    frame = table(60, 1).drop(index=[30])
    later = frame.copy()
    later.loc[31:, "kwh"] += 50
    policy = Preparation(gaps="linear")
    first, second = (prepare(each, SCHEMA, policy).panel.frame["kwh"][30] for each in (frame, later))
    assert first != second
    assert policy.looks_ahead == ("gaps=linear",)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_winsorising_a_year_of_days_and_converting_units_again_changes_nothing(seed: int) -> None:
    frame = table(24 * 40, seed)
    spiked = np.random.default_rng(seed).choice(len(frame), 5, replace=False)
    frame.loc[spiked, "kwh"] += 200
    frame.loc[500:, "kwh"] *= 1000
    policy = Preparation(outliers="winsorise", units="convert")
    once = prepare(frame, SCHEMA, policy)
    twice = prepare(once.panel.frame, SCHEMA, policy)
    np.testing.assert_allclose(twice.panel.frame["kwh"], once.panel.frame["kwh"], rtol=1e-3)
    assert not twice.report.of("units")
