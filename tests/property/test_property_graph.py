"""Fused and spread, alone and in any company: a question's answer is the same to the last bit."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cluster.monitoring.metrics import Metrics
from serve_deployments.handlers.forecast import ForecastModel, compact
from serve_deployments.handlers.validate import Job
from serve_deployments.pipelines import Batching, FusedPipeline
from serve_deployments.servable import compute, member_each
from serve_deployments.spread import MemberCall, Output, SpreadPipeline
from training.core.panel import Panel
from training.core.splits import chronological_split
from training.models.ensemble import Ensemble

LEVELS = ((0.05, 0.5, 0.95), (0.1, 0.9))
BOUNDS = settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def model(hourly: Panel) -> ForecastModel:
    """Members of each arithmetic: a network, products of matrices, trees, copies."""
    ensemble = Ensemble(
        features=[{"name": "calendar"}],
        members=[
            {"name": "lstm", "params": {"window": 12, "hidden": (16, 8), "max_epochs": 1, "precision": "float32"}},
            {"name": "ridge", "params": {"window": 24, "covariates": True}},
            {"name": "xgboost", "params": {"rounds": 5}},
            {"name": "seasonal_naive", "params": {"season": 24}},
        ],
    )
    ensemble.fit_panel(hourly, horizon=6, split=chronological_split(hourly))
    return ForecastModel(name="nox", version="1.0.0", ensemble=ensemble, schema=hourly.schema, metrics={})


@st.composite
def batches(draw: st.DrawFn) -> list[tuple[list[int], int, int]]:
    """Requests: which windows, how many steps, which levels."""
    one = st.tuples(st.lists(st.integers(0, 400), min_size=1, max_size=3), st.integers(1, 6), st.integers(0, 1))
    return draw(st.lists(one, min_size=1, max_size=9))


def _jobs(model: ForecastModel, hourly: Panel, wanted: Sequence[tuple[list[int], int, int]]) -> list[Job]:
    windows = hourly.windows(model.ensemble.context)
    return [
        Job(context=compact(windows[np.array(rows)]), steps=steps, levels=LEVELS[levels])
        for rows, steps, levels in wanted
    ]


def _members(model: ForecastModel, size: int) -> list[MemberCall]:
    """Members as if elsewhere: features travel by pickle, and share a call with the features before them.

    They say that they would take `size` rows at once.
    """
    import pickle

    def call(index: int) -> MemberCall:
        before: list[Any] = []

        async def predict(features: Any) -> Output:
            before.append(pickle.loads(pickle.dumps(features)))
            return Output(member_each(model, index, before[-3:])[-1], size)

        return predict

    return [call(index) for index in range(len(model.members))]


def _same(one: Any, other: Any) -> None:
    assert one.ids == other.ids
    for field in ("origins", "timestamps", "point", "values", "confidence"):
        np.testing.assert_array_equal(getattr(one, field), getattr(other, field))


def test_alone_fused_and_spread_give_the_same(model: ForecastModel, hourly: Panel) -> None:
    pool = ThreadPoolExecutor(1)
    batching = Batching(target_s=1.0, max_rows=64, max_waiting=100)
    fused = FusedPipeline([model], pool, batching=batching, metrics=Metrics())
    # Groups that members keep small, and groups of all who are there.
    few, many = (
        SpreadPipeline([model], {model.key: _members(model, size)}, pool, batching=batching, metrics=Metrics())
        for size in (2, 64)
    )

    @BOUNDS
    @given(wanted=batches())
    def run(wanted: list[tuple[list[int], int, int]]) -> None:
        jobs = _jobs(model, hourly, wanted)

        async def both() -> None:
            ways = [
                await asyncio.gather(*(pipeline.run(model, job) for job in jobs)) for pipeline in (fused, few, many)
            ]
            for job, *answers in zip(jobs, *ways, strict=True):
                (alone,) = compute(model, [job])
                for answer in answers:
                    _same(answer.value, alone)

        asyncio.run(both())

    run()
