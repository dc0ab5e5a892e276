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
from training.models.xgboost_trees import XGBoost, boost

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
        "booster": XGBoost(learning_rate=0.3)._booster_parameters(),
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


def test_targets_that_are_not_finite_are_refused() -> None:
    frame = CANDIDATE.panel.frame.copy()
    frame.loc[100, "used"] = np.inf
    with (
        np.errstate(invalid="ignore"),
        pytest.raises(TrainingDiverged, match=r"output \d+ of row \d+ is (inf|nan)"),
    ):
        CANDIDATE.fit(type(CANDIDATE.panel)(frame, CANDIDATE.panel.schema))


def test_covariates_may_be_left_out() -> None:
    model = CANDIDATE.fit(CANDIDATE.panel, covariates=False)
    other = type(CANDIDATE.panel)(CANDIDATE.panel.frame.assign(load=-7.0), CANDIDATE.panel.schema)
    assert np.array_equal(CANDIDATE.forecast(model).point, CANDIDATE.forecast(model, other).point)
    assert not np.array_equal(CANDIDATE.forecast().point, CANDIDATE.forecast(panel=other).point)


def test_its_forecast_has_every_step_of_every_target() -> None:
    assert CANDIDATE.forecast().point.shape == (3, HORIZON, 2)


@pytest.mark.parametrize(
    "params",
    [{"rounds": 0}, {"depth": 13}, {"learning_rate": 0.0}, {"subsample": 1.1}, {"l2": -1.0}, {"window": 1}],
)
def test_it_refuses_what_makes_no_sense(params: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"'{next(iter(params))}'"):
        XGBoost(**params)  # type: ignore[arg-type]
