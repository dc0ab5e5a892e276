from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cluster.errors import ConfigError, DataError, PermanentError, TransientError
from training.core.component import State
from training.distributed.fanout import LocalFanout, RayFanout, Results, Shared, Task

DONE: list[int] = []


def double(data: Any, work: Any) -> State:
    DONE.append(work)
    if work == 3:
        raise DataError("three is bad", column="x")
    if work == 4:
        raise ZeroDivisionError("four")
    if work == 5:
        raise TransientError("later")
    return {"twice": np.asarray(data, dtype=np.float32) * work}


def tasks(made: list[str], count: int = 6) -> list[Task]:
    def make() -> list[float]:
        made.append("made")
        return [1.0, 2.0]

    shared = Shared(make)
    return [Task(key=f"task-{number}", shared=shared, work=number) for number in range(count)]


@pytest.fixture(autouse=True)
def _none_done() -> None:
    DONE.clear()


def test_one_fault_is_not_the_others_and_data_is_made_once() -> None:
    made: list[str] = []
    got = {done.task.work: done.result for done in LocalFanout().run(double, tasks(made))}
    assert made == ["made"]
    assert np.array_equal(got[2]["twice"], [2, 4])  # type: ignore[index]
    assert isinstance(got[3], DataError)
    assert isinstance(got[4], PermanentError)
    assert str(got[4]) == "ZeroDivisionError: four"
    assert isinstance(got[5], TransientError)


def test_kept_tasks_are_not_done_again_but_failed_ones_are(tmp_path: Path) -> None:
    results = Results(tmp_path)
    list(LocalFanout(results).run(double, tasks([])))
    DONE.clear()
    made: list[str] = []
    again = list(LocalFanout(results).run(double, tasks(made, 7)))
    assert DONE == [3, 4, 5, 6]
    assert [done.task.work for done in again if done.kept] == [0, 1, 2]
    kept = {done.task.work: done.result for done in again}
    assert np.array_equal(kept[2]["twice"], np.array([2, 4], dtype=np.float32))  # type: ignore[index]
    assert made == ["made"]


def test_a_run_that_is_left_goes_on_where_it_was(tmp_path: Path) -> None:
    run = LocalFanout(Results(tmp_path)).run(double, tasks([]))
    next(run), next(run)
    run.close()  # type: ignore[attr-defined]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["task-0.npz", "task-1.npz"]


def test_a_torn_file_counts_as_none(tmp_path: Path) -> None:
    results = Results(tmp_path)
    results.put("a", {"x": np.arange(3)})
    whole = (tmp_path / "a.npz").read_bytes()
    for size in (0, 10, len(whole) // 2, len(whole) - 5):
        (tmp_path / "a.npz").write_bytes(whole[:size])
        assert results.get("a") is None


def test_ray_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(ConfigError, match="no Ray cluster"):
        list(RayFanout().run(double, tasks([])))
