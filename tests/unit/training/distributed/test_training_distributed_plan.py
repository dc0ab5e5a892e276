"""Every window has its turn, no worker has more than another, and the rate goes up and down once."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cluster.errors import ConfigError
from training.distributed.plan import MIN_STEPS, TrainingPlan


def plan(**changed: float) -> TrainingPlan:
    numbers = {"windows": 10_000, "batch_size": 64, "stride": 4, "max_epochs": 8, "learning_rate": 1e-3, "seed": 3}
    return TrainingPlan(**{**numbers, **changed})  # type: ignore[arg-type]  # a dict of numbers, whole where it matters


def test_stride_epochs_visit_each_origin_at_most_once_and_nearly_all() -> None:
    p = plan()
    visited = np.concatenate([p.order(epoch).ravel() for epoch in range(1, 5)])
    assert len(set(visited.tolist())) == len(visited)
    assert len(visited) > 0.98 * 10_000
    assert {int(index) % 4 for index in p.order(1).ravel()} != {int(index) % 4 for index in p.order(2).ravel()}


@pytest.mark.parametrize("world_size", [2, 3, 4])
def test_workers_share_each_batch_equally(world_size: int) -> None:
    p = plan(world_size=world_size)
    shares = [p.order(5, rank) for rank in range(world_size)]
    assert len({share.shape for share in shares}) == 1
    together = np.stack(shares, axis=-1).reshape(p.steps, -1)
    assert len(set(together.ravel().tolist())) == together.size
    assert together.shape == (p.steps, p.used_batch_size)


def test_two_workers_go_through_the_batches_of_one() -> None:
    alone, pair = plan(), plan(world_size=2)
    shared = np.stack([pair.order(2, rank) for rank in range(2)], axis=-1).reshape(pair.steps, -1)
    np.testing.assert_array_equal(shared, alone.order(2))


def test_order_depends_on_seed_and_epoch_alone() -> None:
    np.testing.assert_array_equal(plan().order(7), plan().order(7))
    assert not np.array_equal(plan().order(7), plan(seed=4).order(7))
    assert plan().dropout_seed(1, 0) != plan().dropout_seed(1, 1) != plan().dropout_seed(2, 0)


@pytest.mark.parametrize("windows", [1, 2, 19, 20, 100, 1000])
def test_few_windows_still_make_steps(windows: int) -> None:
    p = plan(windows=windows)
    assert p.used_stride == 1
    assert p.steps >= min(windows, MIN_STEPS)
    assert p.order(1).shape == (p.steps, p.used_batch_size)


def test_more_workers_than_windows_are_refused() -> None:
    with pytest.raises(ConfigError, match="fewer workers"):
        plan(windows=3, world_size=4)


def test_rate_warms_up_peaks_and_falls() -> None:
    p = plan()
    rates = np.array([p.rate(step) for step in range(p.steps * p.max_epochs)])
    peak = int(rates.argmax())
    assert 0.1 < peak / len(rates) < 0.2
    assert (np.diff(rates[: peak + 1]) > 0).all()
    assert (np.diff(rates[peak:]) < 0).all()
    assert rates.max() == pytest.approx(1e-3 * math.sqrt(2))
    assert rates[-1] < 0.02 * rates.max()


def test_sample_is_of_different_windows_and_the_same_for_every_worker() -> None:
    sample = plan().sample(4096)
    assert len(set(sample.tolist())) == 4096
    np.testing.assert_array_equal(plan(world_size=2).sample(4096), sample)
    assert sorted(plan(windows=50).sample(4096).tolist()) == list(range(50))
