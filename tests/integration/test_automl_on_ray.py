"""AutoML's fits on a real Ray: the same answers as here, a dead worker costs one fit, the time is kept."""

from __future__ import annotations

import numpy as np
import pytest

from cluster.clock import SystemClock
from cluster.lifecycle import Cluster
from training.core.table import Feature, Table
from tuning.automl.candidate import Candidate
from tuning.automl.ray_workers import RayWorkers
from tuning.automl.rows import folds_of
from tuning.automl.trial import Assigned, Fit, Material, Trials
from tuning.automl.workers import Failed

pytestmark = pytest.mark.ray

FEATURES = (Feature(name="a", kind="number"), Feature(name="b", kind="number"))


def material() -> Material:
    rng = np.random.default_rng(1)
    table = Table({"a": rng.normal(size=120), "b": rng.normal(size=120)}, FEATURES)
    target = table.columns["a"] * 2 + rng.normal(0, 0.1, 120)
    folds = folds_of(target, classes=0, count=5)
    return Material(table=table, target=target, task="regression", classes=0, folds=folds, ordered=False, seed=0)


def assigned(number: int, family: str = "linear", **params: object) -> Assigned:
    candidate = Candidate(label=f"{family}-{number}", family=family, params=params)
    return Assigned(number=number, candidate=candidate, fold=number % 5, limit_s=30.0)


def test_fits_on_ray_are_those_of_this_process_and_faults_are_answers(ray_cluster: Cluster) -> None:
    data = material()
    workers = RayWorkers(data, SystemClock(), count=2)
    try:
        asked = [assigned(0), assigned(1, "kernel", landmarks=40), assigned(2, "linear", no_such=1)]
        ended: dict[int, Fit | Failed] = {}
        while len(ended) < len(asked):
            waiting = [each for each in asked if each.number not in ended]
            while workers.free and len(workers._running) < len(waiting):
                running = {each.number for each, _ in workers._running.values()}
                workers.submit(next(each for each in waiting if each.number not in running))
            found = workers.wait(60.0)
            assert found is not None, "no fit ended within a minute"
            ended[found.assigned.number] = found
        here = Trials(material=data, clock=SystemClock())
        for number in (0, 1):
            there = ended[number]
            assert isinstance(there, Fit)
            np.testing.assert_allclose(there.outputs, here.run(asked[number]).outputs, rtol=1e-9)
        broken = ended[2]
        assert isinstance(broken, Failed)
        assert "no_such" in broken.error
    finally:
        workers.close()


def test_a_worker_that_dies_costs_its_fit_and_is_replaced(ray_cluster: Cluster) -> None:
    import ray

    workers = RayWorkers(material(), SystemClock(), count=1)
    try:
        workers.submit(assigned(0, "forest", trees=2000))
        (_, worker) = next(iter(workers._running.values()))
        ray.kill(worker)
        died = workers.wait(60.0)
        assert isinstance(died, Failed)
        assert "Actor" in died.error
        workers.submit(assigned(1))
        assert isinstance(workers.wait(60.0), Fit)
        workers.submit(assigned(2, "forest", trees=2000))
        assert workers.wait(0.01) is None, "either a fit of 2,000 trees ended in 10 ms, or the end was waited for"
    finally:
        workers.close()
    assert not workers.busy
