"""Gradient boosting: stopping, resuming, diverging."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from cluster.errors import ConfigError, TrainingDiverged
from training.core.candidate import HORIZON, Candidate, WatchedRunner
from training.core.component import State
from training.core.runner import Run
from training.models import MODELS
from training.models.gradient_boosting import GradientBoosting, boost

CANDIDATE = Candidate(MODELS, "xgboost")


class Alone(Run):
    """One process without checkpoints."""

    def __init__(self) -> None:
        self.metrics: list[Mapping[str, float]] = []

    def resumed(self) -> State | None:
        return None

    def report(self, step: int, metrics: Mapping[str, float], checkpoint: State | None = None) -> None:
        self.metrics.append(metrics)


def job(*, late: int = 60) -> State:
    rng = np.random.default_rng(3)
    inputs = rng.normal(size=(300, 4)).astype(np.float32)
    outputs = rng.normal(size=(300, 2)).astype(np.float32)  # nothing to learn: the validation error soon rises
    return {
        "inputs": inputs,
        "outputs": outputs,
        "validation_inputs": inputs[:late] + 0.5,
        "validation_outputs": rng.normal(size=(late, 2)).astype(np.float32),
        "rounds": 60,
        "patience": 5,
        "booster": GradientBoosting(learning_rate=0.3)._booster_parameters(),
    }


def kept_rounds(state: State) -> int:
    import xgboost

    booster = xgboost.Booster()
    booster.load_model(bytearray(state["booster"].tobytes()))
    return int(booster.num_boosted_rounds())


def test_it_stops_early_and_keeps_the_best_round() -> None:
    run = Alone()
    kept = kept_rounds(boost(run, job()))
    assert kept + 5 < 60
    assert all(set(metrics) == {"validation_loss"} for metrics in run.metrics)


def test_without_validation_it_does_all_rounds() -> None:
    run = Alone()
    assert kept_rounds(boost(run, job(late=0))) == 60
    losses = [metrics["training_loss"] for metrics in run.metrics]
    assert len(losses) == 6
    assert losses == sorted(losses, reverse=True)


def test_a_run_that_is_resumed_after_its_end_does_nothing_more() -> None:
    whole = WatchedRunner()
    first = CANDIDATE.fit(CANDIDATE.panel, whole)
    again = WatchedRunner(start=whole.checkpoints[-1])
    second = CANDIDATE.fit(CANDIDATE.panel, again)
    assert not again.steps
    assert CANDIDATE.digest(first) == CANDIDATE.digest(second)


@pytest.mark.parametrize("part", ["outputs", "validation_outputs"])
def test_outputs_that_are_not_finite_are_refused(part: str) -> None:
    broken = job()
    broken[part][7, 1] = np.inf
    with pytest.raises(TrainingDiverged, match="output 1 of window 7 is inf"):
        boost(Alone(), broken)


def test_covariates_may_be_left_out() -> None:
    model = CANDIDATE.fit(CANDIDATE.panel, covariates=False)
    changed = CANDIDATE.panel.frame.assign(load=-7.0)
    other = type(CANDIDATE.panel)(changed, CANDIDATE.panel.schema)
    assert np.array_equal(model.forecast(CANDIDATE.panel).point, model.forecast(other).point)
    reads = CANDIDATE.model
    assert not np.array_equal(reads.forecast(CANDIDATE.panel).point, reads.forecast(other).point)


def test_its_forecast_has_every_step_of_every_target() -> None:
    assert CANDIDATE.model.forecast(CANDIDATE.panel).point.shape == (3, HORIZON, 2)


@pytest.mark.parametrize(
    "params",
    [{"rounds": 0}, {"depth": 13}, {"learning_rate": 0.0}, {"subsample": 1.1}, {"l2": -1.0}, {"window": 1}],
)
def test_it_refuses_what_makes_no_sense(params: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"'{next(iter(params))}'"):
        GradientBoosting(**params)  # type: ignore[arg-type]
