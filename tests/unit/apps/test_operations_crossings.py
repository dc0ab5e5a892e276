"""Crossings of limits on paths that one can count by hand."""

from __future__ import annotations

import numpy as np
import pytest

from apps.operations.crossings import Crossings, first_runs
from apps.operations.limits import Limit, check_limits
from cluster.errors import ConfigError, DataError, UnknownNameError
from training.core.schema import Column, Schema
from training.core.windows import Floats
from training.inference.paths import Paths

CPU, MEMORY = Limit(column="cpu", value=80), Limit(column="memory", value=90)


def paths(values: list[list[list[float]]], recent: list[list[float]]) -> Paths:
    """Return paths of cpu and memory: values (S, H, 2), recent (R, 2)."""
    made: Floats = np.array(values, dtype=float)
    times = np.datetime64("2024-01-01", "ns") + np.arange(made.shape[1]) * np.timedelta64(1, "h")
    return Paths(
        series="host",
        times=times,
        columns=("cpu", "memory"),
        point=made.mean(axis=0),
        values=made,
        recent=np.array(recent, dtype=float),
        independent=float(len(made)),
    )


FOUR = paths(
    [
        [[70, 50], [81, 50], [70, 95]],  # cpu at step 2, memory at 3
        [[70, 90], [70, 50], [99, 50]],  # memory at 1, cpu at 3
        [[85, 91], [85, 91], [85, 91]],  # both at 1
        [[10, 10], [10, 10], [10, 10]],  # none
    ],
    [[60, 60], [70, 70]],
)


def test_probabilities_steps_and_shares_are_counted() -> None:
    found = Crossings.of(FOUR, [CPU, MEMORY])
    assert found.first.tolist() == [[2, 3], [3, 1], [1, 1], [4, 4]]
    assert found.by_step.tolist() == [[0.25, 0.5], [0.5, 0.5], [0.75, 0.75]]
    assert found.probability.tolist() == [0.75, 0.75]
    assert found.any_probability == 0.75
    assert found.shares.tolist() == [0.375, 0.375]  # one each, and half of the tie
    assert found.health == 25
    assert found.steps((0.1, 0.5, 0.9)) == [[1, 2, None], [1, 1, None]]


def test_tables_say_the_same() -> None:
    found = Crossings.of(FOUR, [CPU, MEMORY])
    capacity = found.capacity()
    assert capacity["crossed_by_q0.5"].tolist() == [FOUR.times[1], FOUR.times[0]]
    assert capacity["crossed_by_q0.9"].isna().all()
    assert found.health_parts()["points_lost"].sum() == 100 - found.health
    assert found.bottleneck()["headroom_now"].tolist() == [10, 20]
    assert found.bottleneck()["least_headroom_median"].tolist() == [-3, -0.5]
    assert len(found.to_frame()) == 6


def test_several_steps_in_a_row_make_a_crossing_and_known_rows_count() -> None:
    two = Crossings.of(FOUR, [CPU, MEMORY], consecutive=2)
    assert two.first.tolist() == [[4, 4], [4, 4], [2, 2], [4, 4]]
    led = paths([[[85, 10], [85, 10], [10, 10]]], [[70, 10], [85, 10]])
    assert Crossings.of(led, [CPU], consecutive=3).first.tolist() == [[2]]  # now, 1 and 2
    assert Crossings.of(led, [CPU], consecutive=2).first.tolist() == [[1]]
    assert not Crossings.of(led, [CPU], consecutive=2).now[0]


def test_what_is_crossed_now_is_crossed_from_step_1_in_all_paths() -> None:
    over = paths([[[10, 10], [10, 10]], [[10, 95], [10, 10]]], [[85, 10]])
    found = Crossings.of(over, [CPU, MEMORY])
    assert found.now.tolist() == [True, False]
    assert found.by_step[:, 0].tolist() == [1, 1]
    assert found.shares.tolist() == [0.75, 0.25]  # the second path reaches memory's limit at step 1 too
    assert found.health == 0


def test_a_limit_to_keep_above_is_crossed_from_above() -> None:
    least = Limit.parse("cpu > 20")
    found = Crossings.of(FOUR, [least])
    assert found.first.tolist() == [[4], [4], [4], [1]]
    assert found.bottleneck()["headroom_now"].tolist() == [50]


def test_runs() -> None:
    row = np.array([[True, False, True, True, True], [False] * 5])
    assert first_runs(row, 1).tolist() == [1, 6]
    assert first_runs(row, 2).tolist() == [4, 6]
    assert first_runs(row, 6).tolist() == [6, 6]


@pytest.mark.parametrize("text", ["cpu", "cpu=", "cpu=high", "=80", "cpu=nan", "cpu=80=90", "cpu=inf", ""])
def test_a_limit_that_cannot_be_read_shows_one_that_can(text: str) -> None:
    with pytest.raises(ConfigError, match="expected column=number"):
        Limit.parse(text)


SCHEMA = Schema(name="host", frequency="h", targets=(Column(name="cpu", unit="%", low=0, high=100),))


def test_limits_are_checked_against_the_schema() -> None:
    assert check_limits([CPU], SCHEMA)[0].text == "below 80 %"
    assert check_limits([Limit(column="cpu", value=100)], SCHEMA)
    for value in (0, -5, 101):
        with pytest.raises(DataError, match=r"outside what the column can be: column 'cpu'.*0 \.\. 100 %"):
            check_limits([Limit(column="cpu", value=value)], SCHEMA)
    with pytest.raises(UnknownNameError, match="unknown column 'memory'"):
        check_limits([MEMORY], SCHEMA)
    with pytest.raises(ConfigError, match="two for 'cpu'"):
        check_limits([CPU, Limit(column="cpu", value=90)], SCHEMA)
    with pytest.raises(ConfigError, match="got none"):
        check_limits([], SCHEMA)


def test_faults_of_a_question() -> None:
    with pytest.raises(ConfigError, match="'consecutive': got 4"):
        Crossings.of(FOUR, [CPU], consecutive=4)
    with pytest.raises(UnknownNameError, match="unknown column 'disk'"):
        Crossings.of(FOUR, [Limit(column="disk", value=1)])
    with pytest.raises(ConfigError, match="got none"):
        Crossings.of(FOUR, [])
