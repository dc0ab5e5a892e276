"""A worker's inside, call by call; its threads wait for nothing but queues."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from tuning.crew import Assignment, Ended, Report, Reported
from tuning.lane import Lane


def trial(number: int = 0, **params: Any) -> Assignment:
    return Assignment(number=number, model="m", params=params)


def countdown(assignment: Assignment, report: Report) -> Mapping[str, float]:
    for step in range(1, assignment.params["steps"] + 1):
        report(step, 1.0 / step)
    return {"wape": 0.25}


def ended(event: Reported | Ended) -> Ended:
    assert isinstance(event, Ended)
    return event


def test_a_trial_pauses_at_each_report() -> None:
    lane = Lane(countdown)
    assert lane.begin(trial(steps=2)) == Reported(step=1, value=1.0)
    assert lane.proceed(stop=False) == Reported(step=2, value=0.5)
    done = ended(lane.proceed(stop=False))
    assert (done.metrics, done.error) == ({"wape": 0.25}, "")
    assert done.usage.peak_memory_bytes > 10**6


def test_a_stopped_trial_ends_without_metrics_and_the_lane_goes_on() -> None:
    lane = Lane(countdown)
    lane.begin(trial(steps=9))
    done = ended(lane.proceed(stop=True))
    assert (done.metrics, done.error) == (None, "")
    assert ended(lane.begin(trial(1, steps=0))).metrics == {"wape": 0.25}


def test_a_stop_passes_through_work_that_catches_errors() -> None:
    def stubborn(assignment: Assignment, report: Report) -> Mapping[str, float]:
        try:
            report(1, 1.0)
        except Exception:  # noqa: BLE001 - as models do
            return {"wape": 0.0}
        return {"wape": 0.1}

    lane = Lane(stubborn)
    lane.begin(trial())
    assert ended(lane.proceed(stop=True)).metrics is None


@pytest.mark.parametrize(
    ("error", "told"),
    [(ValueError("no"), "ValueError: no"), (SystemExit(3), "SystemExit: 3"), (KeyError("a"), "KeyError: 'a'")],
)
def test_what_the_work_raises_is_told(error: BaseException, told: str) -> None:
    def failing(assignment: Assignment, report: Report) -> Mapping[str, float]:
        raise error

    assert ended(Lane(failing).begin(trial())).error == told


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the bound is the kernel's")
def test_an_allocation_beyond_the_bound_fails_the_trial_and_the_next_one_runs() -> None:
    def greedy(assignment: Assignment, report: Report) -> Mapping[str, float]:
        return {"wape": float(np.ones(assignment.params["bytes"] // 8)[0])}

    lane = Lane(greedy, memory_bytes=64 * 2**20)
    told = ended(lane.begin(trial(bytes=256 * 2**20))).error
    assert told.startswith("MemoryError: Unable to allocate 256. MiB")
    assert told.endswith("; a trial of this study may take 64 MiB")
    assert ended(lane.begin(trial(bytes=2**20))).metrics == {"wape": 1.0}
