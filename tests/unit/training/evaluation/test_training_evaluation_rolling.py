from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cluster.errors import ConfigError, DataError, InsufficientHistoryError, UnknownNameError
from training.core.panel import Panel
from training.core.schema import Column, Schema
from training.distributed.fanout import LocalFanout, Results
from training.evaluation.origins import Block, borders, naive_scale, only_series, spans
from training.evaluation.rolling import Family, Rolling, RollingPlan, rolling_backtest
from training.models.ridge import Ridge

SCHEMA = Schema(
    name="many", frequency="h", targets=(Column(name="y"),), covariates=(Column(name="x"),), season_length=6
)
NAIVE, RIDGE = Family.of("seasonal_naive", season=6), Family.of("ridge", window=12)
PLAN = RollingPlan(horizon=4, cutoffs=3)


def many(sizes: tuple[int, ...] = (90, 70, 80), late: tuple[int, ...] | None = None) -> Panel:
    rng = np.random.default_rng(3)
    frames = []
    for number, size in enumerate(sizes):
        end = (late or sizes)[number] if late else max(sizes)
        hours = np.arange(end - size, end)
        frames.append(
            pd.DataFrame(
                {
                    "series_id": f"s{number}",
                    "timestamp": pd.Timestamp("2024-01-01") + pd.to_timedelta(hours, unit="h"),
                    "y": 20 + 5 * np.sin(hours / 6 * 2 * np.pi) + rng.normal(0, 1, size),
                    "x": rng.normal(0, 1, size),
                }
            )
        )
    return Panel(pd.concat(frames, ignore_index=True), SCHEMA)


def same(one: Rolling, other: Rolling) -> bool:
    return np.array_equal(one.points, other.points, equal_nan=True) and np.array_equal(
        one.actual, other.actual, equal_nan=True
    )


def test_forecasts_are_those_of_a_model_fitted_by_hand() -> None:
    panel = many()
    got = rolling_backtest(panel, [NAIVE, RIDGE], PLAN)
    assert got.points.shape == (2, 3, 3, 4, 1)
    assert got.points.dtype == np.float32
    for k, moment in enumerate(got.moments):
        before = panel.before(moment)
        model = Ridge(window=12).fit(before.windows(16), horizon=4, targets=("y",))
        expected = model.predict(before.last(12))
        assert np.allclose(got.points[1, :, k], expected, rtol=1e-5)
        for s, name in enumerate(got.series):
            rows = panel.frame[panel.frame["series_id"] == name].set_index("timestamp")["y"]
            assert np.allclose(got.actual[s, k, :, 0], rows[moment:].iloc[:4], rtol=1e-6)
            assert np.allclose(got.points[0, s, k, :, 0], rows[: moment - np.timedelta64(1, "h")].iloc[-6:-2])


def test_the_last_cutoff_leaves_one_horizon_and_none_overlap() -> None:
    times = np.arange("2024-01-01", "2024-01-05", dtype="datetime64[h]")
    moments = RollingPlan(horizon=6, cutoffs=3).moments(times)
    assert list(times.searchsorted(moments)) == [len(times) - 18, len(times) - 12, len(times) - 6]
    with pytest.raises(InsufficientHistoryError, match=r"got 96 distinct times, expected at least 194"):
        RollingPlan(horizon=6, cutoffs=32).moments(times)


@pytest.mark.parametrize("refit", [True, False])
def test_nothing_after_a_cutoff_changes_its_forecasts(refit: bool) -> None:
    panel = many()
    plan = RollingPlan(horizon=4, cutoffs=3, refit=refit)
    one = rolling_backtest(panel, [RIDGE], plan)
    frame = panel.frame.copy()
    frame.loc[frame["timestamp"] >= one.moments[-1], ["y", "x"]] = 1e6
    other = rolling_backtest(Panel(frame, SCHEMA), [RIDGE], plan)
    assert np.array_equal(one.points, other.points)
    frame = panel.frame.copy()
    frame.loc[frame["timestamp"] >= one.moments[0], ["y", "x"]] *= 3
    third = rolling_backtest(Panel(frame, SCHEMA), [RIDGE], plan)
    assert np.array_equal(one.points[:, :, 0], third.points[:, :, 0])


def test_bounded_training_rows_forget_the_beginning() -> None:
    panel = many()
    plan = RollingPlan(horizon=4, cutoffs=2, train_rows=40)
    one = rolling_backtest(panel, [RIDGE], plan)
    frame = panel.frame.copy()
    last = frame.groupby("series_id")["timestamp"].transform("max")
    frame.loc[frame["timestamp"] < last - pd.Timedelta(hours=48), "y"] *= 9
    other = rolling_backtest(Panel(frame, SCHEMA), [RIDGE], plan)
    assert np.array_equal(one.points, other.points)


def test_a_bad_series_is_reported_and_the_others_go_on() -> None:
    panel = many()
    good = rolling_backtest(Panel(panel.frame[panel.frame["series_id"] != "s1"], SCHEMA), [RIDGE], PLAN)
    frame = panel.frame.copy()
    at = frame.index[frame["series_id"] == "s1"][5]
    frame.loc[at, "x"] = np.inf
    got = rolling_backtest(Panel(frame, SCHEMA), [RIDGE], PLAN)
    assert np.array_equal(got.points[:, [0, 2]], good.points)
    assert np.isnan(got.points[:, 1]).all()
    (fault,) = got.faults
    assert fault.series == ("s1",)
    assert isinstance(fault.error, DataError)
    assert "column 'x', row 5: got inf" in fault.error.message


def test_short_and_ended_series_are_named_family_by_family() -> None:
    panel = many((90, 15, 80), late=(90, 90, 70))
    got = rolling_backtest(panel, [NAIVE, RIDGE], PLAN)
    told = {(fault.family, fault.series, fault.cutoffs): fault.error.message for fault in got.faults}
    assert ("seasonal_naive", ("s1",), (0,)) in told
    assert "got 3 rows before and 12 after, expected 12 and 4" in told["ridge", ("s1",), (0,)]
    assert ("ridge", ("s2",), (2,)) in told
    assert np.isfinite(got.points[:, 0]).all()
    assert all(isinstance(fault.error, InsufficientHistoryError) for fault in got.faults)


def test_a_failing_family_is_reported_and_the_others_go_on() -> None:
    got = rolling_backtest(many(), [NAIVE, Family.of("ridge", window=500)], PLAN)
    assert np.isfinite(got.points[0]).all()
    assert np.isnan(got.points[1]).all()
    assert {fault.family for fault in got.faults} == {"ridge"}
    assert "504 are needed" in got.faults[0].error.message


def test_groups_are_fitted_apart_and_blocks_bound_them() -> None:
    panel = many()
    groups = {"s0": "a", "s1": "b", "s2": "b"}
    got = rolling_backtest(panel, [RIDGE], PLAN, groups=groups)
    alone = rolling_backtest(Panel(panel.frame[panel.frame["series_id"] == "s0"], SCHEMA), [RIDGE], PLAN)
    assert np.array_equal(got.points[:, :1], alone.points)
    single = rolling_backtest(panel, [RIDGE], RollingPlan(horizon=4, cutoffs=3, block=1))
    assert np.array_equal(single.points[:, :1], alone.points)
    with pytest.raises(UnknownNameError, match="'s2'"):
        rolling_backtest(panel, [RIDGE], PLAN, groups={"s0": "a", "s1": "a"})


def test_finished_tasks_are_kept_by_what_they_depend_on(tmp_path: Path) -> None:
    def run(panel: Panel, plan: RollingPlan = PLAN, until: object = None) -> tuple[Rolling, list[int]]:
        heard: list[int] = []
        got = rolling_backtest(
            panel,
            [NAIVE, RIDGE],
            plan,
            until=until,
            fanout=LocalFanout(Results(tmp_path)),
            on_task=lambda done, total, kept: heard.append(kept),
        )
        return got, heard

    panel = many()
    first, heard = run(panel)
    assert heard == [0] * 6
    again, heard = run(panel)
    assert heard == [1, 2, 3, 4, 5, 6]
    assert same(first, again)
    assert run(panel, RollingPlan(horizon=4, cutoffs=3, train_rows=50))[1][-1] == 0
    changed = panel.frame.assign(y=panel.frame["y"] + 1)
    assert run(Panel(changed, SCHEMA))[1][-1] == 0


def test_features_stand_before_a_family() -> None:
    behind = [each.behind([{"name": "calendar", "params": {}}]) for each in (NAIVE, RIDGE)]
    assert [each.model for each in behind] == ["ensemble", "ensemble"]
    assert [each.label for each in behind] == ["seasonal_naive", "ridge"]
    assert NAIVE.behind([]) is NAIVE
    plain, featured = rolling_backtest(many(), [NAIVE, RIDGE], PLAN), rolling_backtest(many(), behind, PLAN)
    assert np.array_equal(plain.points[0], featured.points[0])  # which looks at no feature
    assert np.isfinite(featured.points[1]).all()
    assert not np.allclose(plain.points[1], featured.points[1])


def test_early_stopping_looks_at_the_newest_rows_before_the_cutoff() -> None:
    trees = Family.of("xgboost", window=12, rounds=10, depth=2, learning_rate=0.3)
    got = rolling_backtest(many(), [trees], RollingPlan(horizon=4, cutoffs=2))
    assert np.isfinite(got.points).all()


@pytest.mark.parametrize("labels", [[], [RIDGE, RIDGE]])
def test_labels_are_distinct(labels: list[Family]) -> None:
    with pytest.raises(ConfigError, match="expected one or more, each once"):
        rolling_backtest(many(), labels, PLAN)


def test_scales_are_those_of_each_series_alone() -> None:
    panel = many()
    moment = np.datetime64("2024-01-03T12")
    got = naive_scale(panel.table, ("y",), 6, moment)
    for s, name in enumerate(panel.series):
        rows = panel.frame[(panel.frame["series_id"] == name) & (panel.frame["timestamp"] < moment)]["y"]
        assert got[s, 0] == pytest.approx(np.abs(rows.to_numpy()[6:] - rows.to_numpy()[:-6]).mean())
    still = Panel(panel.frame.assign(y=5.0), SCHEMA)
    assert np.array_equal(naive_scale(still.table, ("y",), 6, moment), np.full((3, 1), 5.0))
    zero = Panel(panel.frame.assign(y=0.0), SCHEMA)
    assert np.array_equal(naive_scale(zero.table, ("y",), 6, moment), np.ones((3, 1)))


def test_pieces_of_tables() -> None:
    assert spans(np.array([5, 9, 2]), np.array([2, -1, 3])).tolist() == [5, 6, 2, 3, 4]
    assert spans(np.array([], dtype=np.int64), np.array([], dtype=np.int64)).tolist() == []
    panel = many()
    some = only_series(panel.table, np.array([2, 0]))
    assert some.series == ("s2", "s0")
    assert np.array_equal(some.rows[:80], panel.table.rows[160:])
    moment = panel.table.times[75]
    assert borders(panel.table, moment).tolist() == [75, 90 + 55, 160 + 65]
    block = Block(table=some, targets=("y",), known=())
    assert block.digest() != Block(table=some, targets=("x",), known=()).digest()
