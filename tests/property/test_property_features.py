"""Every transform of the catalog: no look-ahead, no crossing of borders, one result in training and serving."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.core.artifact import from_bytes, to_bytes
from training.core.component import build, pack, unpack
from training.core.transform import Transform
from training.core.windows import Floats, Windows, cut
from training.features import TRANSFORMS
from training.features.added import AddedColumns, Block
from training.features.selection import Selection

COLUMNS = ("emitted", "made", "energy", "green")
CASES: dict[str, list[dict[str, Any]]] = {
    "calendar": [{}, {"country": "DE"}, {"zone": "Europe/Berlin", "country": "DE"}, {"year": True}],
    "degree_days": [{}, {"below": (), "above": (-1.5, 20.0), "columns": ("made",)}],
    "interactions": [{}, {"columns": ("made", "energy"), "squares": True}],
    "lags": [{}, {"steps": (2, 5), "columns": ("made",)}],
    "rolling": [
        {"columns": ("emitted", "energy")},
        {"windows": (1, 3, 11), "statistics": ("max", "mean")},
        {"windows": (2, 6), "statistics": ("std",), "columns": ("made",)},
    ],
    "ratios": [
        {"emissions": ("emitted",), "production": "made", "energy": "energy", "renewable": "green"},
        {"emissions": ("emitted", "green"), "production": "made", "energy": None, "renewable": None},
    ],
    "selection": [
        {"targets": ("emitted",), "sample": 100},
        {"targets": ("made", "emitted"), "keep": 3, "horizon": 4, "sample": 100},
    ],
}
EACH = [
    pytest.param(name, params, id=f"{name}-{i}") for name, cases in CASES.items() for i, params in enumerate(cases)
]
CHAIN = [("calendar", CASES["calendar"][1]), ("lags", CASES["lags"][1]), ("ratios", CASES["ratios"][0])]


def table(sizes: list[int], seed: int, *, zeros: bool = False) -> Windows:
    """Return series of the given sizes, hourly, one after another."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(0, 10.0 ** rng.integers(-3, 6), (sum(sizes), len(COLUMNS)))
    if zeros:
        rows[rng.random(rows.shape) < 0.3] = 0.0
    begin = np.datetime64("2023-12-20T05", "ns")
    times = [begin + np.timedelta64(1, "h") * np.arange(size) for size in sizes]
    return Windows(
        rows=rows,
        times=np.concatenate(times),
        segments=np.cumsum([0, *sizes]),
        starts=np.empty(0, dtype=np.int64),
        length=0,
        columns=COLUMNS,
        series=tuple(f"s{i}" for i in range(len(sizes))),
        frequency="h",
    )


def fitted(name: str, params: dict[str, Any], windows: Windows) -> Transform:
    return build(TRANSFORMS, name, params).fit(windows)


def test_every_transform_of_the_catalog_is_examined() -> None:
    assert set(CASES) == set(TRANSFORMS)


sizes_drawn = st.one_of(
    st.lists(st.integers(45, 90), min_size=1, max_size=4),
    st.builds(lambda count, size: [size] * count, st.integers(1, 4), st.integers(45, 90)),
)


@pytest.mark.parametrize(("name", "params"), EACH)
@settings(max_examples=25, deadline=None)
@given(sizes=sizes_drawn, seed=st.integers(0, 2**32 - 1), data=st.data())
def test_no_row_sees_the_future_or_another_series(
    name: str, params: dict[str, Any], sizes: list[int], seed: int, data: st.DataObject
) -> None:
    windows = cut(table(sizes, seed, zeros=True), length=45)
    series = data.draw(st.integers(0, len(sizes) - 1))
    row = data.draw(st.integers(0, sizes[series] - 1))
    check_sees_only_its_past(fitted(name, params, windows), windows, series, row, table(sizes, seed + 1).rows)


def check_sees_only_its_past(transform: Transform, windows: Windows, series: int, row: int, other: Floats) -> None:
    """Replace all rows but those of `series` up to `row` by `other`, and see these come out unchanged."""
    kept = slice(int(windows.segments[series]), int(windows.segments[series]) + row + 1)
    changed = other.copy()
    changed[kept] = windows.rows[kept]
    before = transform.transform(windows).rows[kept]
    after = transform.transform(replace(windows, rows=changed)).rows[kept]
    np.testing.assert_array_equal(before, after)


class Seer(AddedColumns):
    """Adds the next row's value: what must not be."""

    name = "seer"

    def added(self) -> tuple[str, ...]:
        return ("next",)

    def compute_added(self, block: Block) -> Floats:
        return np.roll(block.values[:, :, :1], -1, axis=1)


def test_the_exam_catches_a_transform_that_looks_ahead() -> None:
    windows = cut(table([60, 60], 1), length=45)
    with pytest.raises(AssertionError):
        check_sees_only_its_past(Seer(), windows, 1, 30, table([60, 60], 2).rows)


@pytest.mark.parametrize(("name", "params"), EACH)
@settings(max_examples=25, deadline=None)
@given(sizes=sizes_drawn, seed=st.integers(0, 2**32 - 1), context=st.integers(1, 10))
def test_serving_a_batch_of_histories_equals_training_to_the_last_bit(
    name: str, params: dict[str, Any], sizes: list[int], seed: int, context: int
) -> None:
    whole = table(sizes, seed)
    transform = fitted(name, params, cut(whole, length=45))
    windows = cut(whole, length=context + transform.lookback)
    trained = transform.transform(windows)
    served = transform.transform(histories(windows))
    assert np.isfinite(trained.values).all()
    np.testing.assert_array_equal(trained.values, served.values)
    np.testing.assert_array_equal(trained.timestamps, served.timestamps)
    assert trained.columns == served.columns


@settings(max_examples=25, deadline=None)
@given(sizes=sizes_drawn, seed=st.integers(0, 2**32 - 1))
def test_a_chain_of_transforms_serves_what_it_trained(sizes: list[int], seed: int) -> None:
    whole = table(sizes, seed)
    windows = cut(whole, length=12)
    trained, served = windows, histories(windows)
    for name, params in CHAIN:
        transform = fitted(name, params, trained)
        trained, served = transform.transform(trained), transform.transform(served)
    np.testing.assert_array_equal(trained.values, served.values)


def histories(windows: Windows) -> Windows:
    """Return each window as a series of its own: what a request brings."""
    count = len(windows)
    return replace(
        windows,
        rows=windows.values.reshape(-1, len(windows.columns)).copy(),
        times=windows.timestamps.ravel().copy(),
        segments=np.arange(count + 1) * windows.length,
        starts=np.arange(count) * windows.length,
        series=tuple(f"request-{i}" for i in range(count)),
    )


@pytest.mark.parametrize(("name", "params"), EACH)
@settings(max_examples=15, deadline=None)
@given(sizes=sizes_drawn, seed=st.integers(0, 2**32 - 1))
def test_inverse_gives_back_the_rows_that_are_left(
    name: str, params: dict[str, Any], sizes: list[int], seed: int
) -> None:
    windows = cut(table(sizes, seed), length=45)
    transform = fitted(name, params, windows)
    back = transform.inverse(transform.transform(windows))
    assert back.columns == (transform.kept if isinstance(transform, Selection) else windows.columns)
    np.testing.assert_array_equal(back.values, windows.tail(45 - transform.lookback).select(back.columns))


@pytest.mark.parametrize(("name", "params"), EACH)
def test_the_same_result_after_a_pickle_and_after_state_and_restore(name: str, params: dict[str, Any]) -> None:
    windows = cut(table([60, 47], 3), length=45)
    transform = fitted(name, params, windows)
    expected = transform.transform(windows)
    stored = unpack(from_bytes(to_bytes(pack(transform))), TRANSFORMS)
    for copy in (pickle.loads(pickle.dumps(transform)), stored):
        again = copy.transform(windows)
        np.testing.assert_array_equal(again.rows, expected.rows)
        assert again.columns == expected.columns
        assert copy.lookback == transform.lookback


@pytest.mark.parametrize(("name", "params"), EACH)
def test_fitting_learns_nothing_from_rows_outside_the_training_windows(name: str, params: dict[str, Any]) -> None:
    whole = table([90], 5)
    train = cut(whole, length=45)[:10]
    covered = int(train.starts[-1]) + train.length
    changed = whole.rows.copy()
    changed[covered:] = 1e6
    first = to_bytes(pack(fitted(name, params, train)))
    assert first == to_bytes(pack(fitted(name, params, replace(train, rows=changed))))


@pytest.mark.parametrize(("name", "params"), EACH)
def test_what_is_known_ahead_is_what_the_transform_would_make_of_it(name: str, params: dict[str, Any]) -> None:
    windows = cut(table([90, 70], 6), length=45)
    transform = fitted(name, params, windows)
    context, future = windows.split(5, known=("made", "energy"))
    out = transform.transform(context).ahead
    assert out is not None
    assert out.columns == transform.ahead_columns(("made", "energy"))
    assert set(out.columns) <= set(transform.columns(COLUMNS))
    np.testing.assert_array_equal(out.values, transform.transform(windows).tail(5).select(out.columns))
    np.testing.assert_array_equal(out.timestamps, future.timestamps)
