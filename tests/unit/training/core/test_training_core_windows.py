"""Windows: positions over one table, cut, split, chosen by time."""

from __future__ import annotations

import numpy as np
import pytest

from cluster.errors import InsufficientHistoryError, UnknownNameError
from training.core.panel import Panel
from training.core.windows import Windows, cut, future_times


def table(*sizes: int, frequency: str = "h") -> Windows:
    rows = sum(sizes)
    start = np.datetime64("2024-01-31T00", "ns")
    return Windows(
        rows=np.arange(rows * 2, dtype=np.float64).reshape(rows, 2),
        times=np.concatenate([start + np.arange(size) * np.timedelta64(1, "h") for size in sizes]),
        segments=np.cumsum([0, *sizes]),
        starts=np.empty(0, dtype=np.int64),
        length=0,
        columns=("a", "b"),
        series=tuple(f"s{i}" for i in range(len(sizes))),
        frequency=frequency,
    )


def test_cut_never_crosses_a_border() -> None:
    windows = cut(table(5, 2, 4), length=3)
    assert windows.starts.tolist() == [0, 1, 2, 7, 8]
    assert windows.ids == ("s0", "s0", "s0", "s2", "s2")


def test_a_stride_keeps_the_last_window() -> None:
    assert cut(table(8), length=3, stride=2).starts.tolist() == [1, 3, 5]
    assert cut(table(8), length=3, stride=100).starts.tolist() == [5]


def test_cutting_what_is_not_there_names_the_longest() -> None:
    with pytest.raises(InsufficientHistoryError, match="longest has 5 rows, 6 are needed"):
        cut(table(5, 2), length=6)


def test_values_of_consecutive_windows_are_a_view() -> None:
    windows = cut(table(50), length=10)
    assert np.shares_memory(windows.values, windows.rows)
    assert not np.shares_memory(windows[np.array([3, 1])].values, windows.rows)


@pytest.mark.parametrize("index", [slice(2, 5), np.array([4, 0, 0]), slice(0, 0)])
def test_values_are_the_rows_from_each_start(index: slice | np.ndarray) -> None:
    windows = cut(table(9, 7), length=4)[index]
    expected = [windows.rows[start : start + 4] for start in windows.starts]
    assert np.array_equal(windows.values, np.array(expected).reshape(-1, 4, 2))
    assert np.array_equal(windows.select(("b",)), windows.values[:, :, [1]])
    assert np.array_equal(windows.select(("b", "a")), windows.values[:, :, [1, 0]])
    assert windows.timestamps.shape == (len(windows), 4)


def test_split_is_context_and_future() -> None:
    windows = cut(table(6), length=5)
    context, future = windows.split(2)
    assert np.array_equal(np.concatenate([context.values, future.values], axis=1), windows.values)
    assert np.array_equal(context.last_times, windows.timestamps[:, 2])
    with pytest.raises(InsufficientHistoryError, match="5 rows is too short: 6"):
        windows.split(5)


def test_ahead_within_looks_at_the_future_alone() -> None:
    windows = cut(table(10), length=5)
    times = windows.times
    kept = windows.ahead_within(2, since=times[5], until=times[8])
    assert kept.starts.tolist() == [2, 3]
    assert kept.timestamps[:, -2].min() == times[5]
    assert kept.last_times.max() == times[7]


def test_with_rows_cuts_off_what_a_transform_ate() -> None:
    windows = cut(table(6), length=5)
    shorter = windows.with_rows(windows.rows[:, :1], ("a",), lookback=2)
    assert np.array_equal(shorter.values, windows.values[:, 2:, :1])
    with pytest.raises(InsufficientHistoryError):
        windows.with_rows(windows.rows, windows.columns, lookback=5)


def test_unknown_columns_are_named() -> None:
    with pytest.raises(UnknownNameError, match="unknown column 'c'"):
        table(3).positions(("a", "c"))


@pytest.mark.parametrize(
    ("frequency", "expected"),
    [
        ("h", ["2024-01-31T01:00", "2024-01-31T02:00"]),
        ("15min", ["2024-01-31T00:15", "2024-01-31T00:30"]),
        ("D", ["2024-02-01T00:00", "2024-02-02T00:00"]),
        ("ME", ["2024-02-29T00:00", "2024-03-31T00:00"]),
        ("B", ["2024-02-01T00:00", "2024-02-02T00:00"]),
    ],
)
def test_future_times_follow_the_frequency(frequency: str, expected: list[str]) -> None:
    last = np.array(["2024-01-31"], dtype="datetime64[ns]")
    assert future_times(last, 2, frequency).astype("datetime64[m]").astype(str).tolist() == [expected]


def test_future_times_of_no_window() -> None:
    assert future_times(np.empty(0, dtype="datetime64[ns]"), 3, "MS").shape == (0, 3)


def test_the_last_rows_of_each_series(hourly: Panel) -> None:
    last = hourly.last(24)
    assert last.ids == hourly.series
    assert np.array_equal(last.values[1], hourly.table.rows[-24:])
