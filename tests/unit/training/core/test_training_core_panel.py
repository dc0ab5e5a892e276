"""A panel's table, its windows and its fingerprint."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cluster.errors import InsufficientHistoryError, UnknownNameError
from training.core.panel import Panel
from training.data.generator import generate_emissions


@pytest.fixture(scope="module")
def panel() -> Panel:
    return generate_emissions(sites=3, days=20, seed=1)[0]


def test_the_table_holds_the_columns_of_the_schema_and_the_borders(panel: Panel) -> None:
    table = panel.table
    assert panel.series == ("site-001", "site-002", "site-003")
    assert table.segments.tolist() == [0, 20, 40, 60]
    assert table.columns == panel.schema.names
    np.testing.assert_array_equal(table.rows[:, 0], panel.frame["scope1"])


def test_windows_stay_within_their_series(panel: Panel) -> None:
    windows = panel.windows(15)
    assert len(windows) == 3 * 6
    for window, name in zip(windows.timestamps, windows.ids, strict=True):
        assert (np.diff(window) == np.timedelta64(1, "D")).all()
        assert name in panel.series


def test_last_gives_the_end_of_each_series(panel: Panel) -> None:
    last = panel.last(7)
    assert last.ids == panel.series
    assert (last.last_times == np.datetime64("2021-01-20")).all()
    with pytest.raises(InsufficientHistoryError, match="series 'site-001' has too little history: got 20 rows"):
        panel.last(21)


def test_before_and_since_part_the_rows(panel: Panel) -> None:
    early, late = panel.before("2021-01-05"), panel.since("2021-01-05")
    assert (len(early), len(late)) == (12, 48)
    assert early.frame["timestamp"].max() < pd.Timestamp("2021-01-05") == late.frame["timestamp"].min()


def test_an_empty_panel_says_so(panel: Panel) -> None:
    empty = panel.before("1999-01-01")
    assert (len(empty), empty.series) == (0, ())
    with pytest.raises(InsufficientHistoryError, match="the panel is empty: got 0 rows, expected at least 7"):
        empty.last(7)
    with pytest.raises(InsufficientHistoryError, match="no series is long enough: the longest has 0 rows"):
        empty.windows(7)


def test_one_target_makes_the_others_covariates(panel: Panel) -> None:
    alone = panel.for_target("scope2")
    assert alone.schema.target_names == ("scope2",)
    assert set(alone.schema.names) == set(panel.schema.names)
    with pytest.raises(UnknownNameError, match="unknown column 'scope4'"):
        panel.for_target("scope4")


def test_the_digest_is_that_of_values_ids_times_and_schema(panel: Panel) -> None:
    digest = panel.digest()
    assert digest == Panel(panel.frame.copy(), panel.schema).digest()
    assert digest == Panel(panel.frame.assign(ignored=1).set_index(np.arange(60) + 9), panel.schema).digest()
    others = [
        panel.frame.assign(scope1=panel.frame["scope1"] + 1e-9),
        panel.frame.assign(timestamp=panel.frame["timestamp"] + pd.Timedelta(days=1)),
        panel.frame.assign(series_id=panel.frame["series_id"].str.upper()),
    ]
    assert all(Panel(other, panel.schema).digest() != digest for other in others)
    assert panel.for_target("scope1").digest() != digest
