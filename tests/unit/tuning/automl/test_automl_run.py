"""A whole run with scripted workers and a clock moved by hand: time is kept, faults are borne."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cluster.clock import Clock, ManualClock
from cluster.errors import PermanentError
from training.core.artifact import load_artifact, save_artifact
from training.core.table import Feature, TableSchema
from training.tabular import TABULAR_MODELS
from training.tabular.ensemble import TabularEnsemble
from tuning.automl.automl import AutoML, AutoMLResult, AutoMLSpec
from tuning.automl.trial import Assigned, Fit, Material
from tuning.automl.workers import Ended, Failed, InProcess

FEATURES = (
    Feature(name="size", kind="number"),
    Feature(name="colour", kind="category"),
    Feature(name="made", kind="date"),
)


def rows(count: int, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "size": rng.normal(size=count),
            "colour": rng.choice(["red", "green", "blue"], count),
            "made": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 500, count), unit="D"),
        }
    )
    frame.loc[::11, "size"] = np.nan
    cost = 10 + 3 * frame["size"].fillna(0) + 2 * (frame["colour"] == "red") + rng.normal(0, 0.3, count)
    return frame.assign(cost=cost, dear=np.where(cost > 11, "yes", "no"))


def schema(task: str) -> TableSchema:
    if task == "regression":
        return TableSchema(name="goods", features=FEATURES, target="cost", task="regression")
    return TableSchema(name="goods", features=FEATURES, target="dear", task="classification", classes=("no", "yes"))


class Slow(InProcess):
    """Does the real fits of families without libraries, and lets the clock run as told for each."""

    def __init__(
        self, material: Material, clock: Clock, *, took_s: float, broken: str = "", most: int = 10_000
    ) -> None:
        super().__init__(material, clock)
        self._most = most
        assert isinstance(clock, ManualClock)
        self._hand, self._took_s, self._broken = clock, took_s, broken
        self.done: list[Assigned] = []

    def wait(self, timeout_s: float) -> Ended | None:
        if len(self.done) == self._most:
            raise KeyboardInterrupt
        assigned = self._waiting[0]
        self.done.append(assigned)
        self._hand.advance(self._took_s)
        if assigned.candidate.family in (self._broken, "lightgbm", "xgboost") or self._broken == "all":
            self._waiting.popleft()
            return Failed(assigned=assigned, error="MemoryError: scripted")
        ended = super().wait(timeout_s)
        return replace(ended, fit_s=self._took_s) if isinstance(ended, Fit) else ended


def run(
    task: str, *, budget_s: float, took_s: float, broken: str = "", ordered: bool = False, most: int = 10_000
) -> tuple[AutoMLResult, float, Slow]:
    clock = ManualClock()
    made: list[Slow] = []

    def workers(material: Material, its_clock: Clock) -> Slow:
        made.append(Slow(material, its_clock, took_s=took_s, broken=broken, most=most))
        return made[0]

    spec, frame = AutoMLSpec(budget_s=budget_s, search="random", ordered=ordered), rows(160)
    found = AutoML(spec, workers=workers, clock=clock).fit(
        schema(task).read(frame), schema(task).read_target(frame), schema(task)
    )
    return found, clock.now_s(), made[0]


@pytest.mark.parametrize(("budget_s", "took_s"), [(8.0, 0.5), (60.0, 5.0), (10.0, 1.4)])
def test_the_time_is_kept_to_a_tenth(budget_s: float, took_s: float) -> None:
    found, ended_s, _ = run("regression", budget_s=budget_s, took_s=took_s)
    assert ended_s <= budget_s * 1.1
    assert found.elapsed_s == ended_s
    assert found.ensemble.predict(rows(5, seed=1)).values.shape == (5,)


def test_the_time_is_kept_where_winners_are_fitted_again() -> None:
    found, ended_s, workers = run("regression", budget_s=30.0, took_s=2.0, ordered=True)
    assert ended_s <= 33.0
    assert workers.done[-1].fold == -1, "the winner was not fitted on all rows"
    assert found.ensemble.task == "regression"


def test_a_run_ends_with_a_servable_ensemble_and_a_leaderboard(tmp_path: Path) -> None:
    found, _, _ = run("classification", budget_s=10.0, took_s=0.4)
    later = rows(50, seed=2)
    answers = found.ensemble.predict(later)
    assert answers.probabilities is not None
    assert (answers.to_frame()["prediction"] == later["dear"]).mean() > 0.8
    scores = [row.score for row in found.leaderboard]
    assert scores == sorted(scores)
    assert sum(row.weight > 0 for row in found.leaderboard) == len(found.ensemble.blend.weights)
    assert json.loads(json.dumps([row.to_json() for row in found.leaderboard]))
    save_artifact(found.ensemble, found.ensemble.schema, tmp_path / "artifact")
    loaded, manifest = load_artifact(tmp_path / "artifact", TABULAR_MODELS)
    assert isinstance(loaded, TabularEnsemble)
    assert manifest.model == "tabular_ensemble"
    np.testing.assert_array_equal(loaded.predict(later).probabilities, answers.probabilities)


def test_failed_candidates_are_counted_and_the_others_go_on() -> None:
    found, _, _ = run("regression", budget_s=8.0, took_s=0.7, broken="kernel")
    assert found.failed > 0
    assert {row.family for row in found.leaderboard} <= {"linear", "forest", "nearest"}


def test_where_all_fail_the_first_cause_is_told() -> None:
    with pytest.raises(PermanentError, match="scripted"):
        run("regression", budget_s=5.0, took_s=0.5, broken="all")


def test_intervals_hold_about_nine_of_ten() -> None:
    found, _, _ = run("regression", budget_s=8.0, took_s=0.5)
    later = rows(400, seed=5)
    said = found.ensemble.predict(later)
    inside = ((later["cost"] >= said.low) & (later["cost"] <= said.high)).mean()
    assert 0.8 < inside < 0.99


def test_a_budget_for_hardly_a_fit_still_gives_an_answer() -> None:
    found, ended_s, workers = run("regression", budget_s=1.0, took_s=0.45)
    assert len(workers.done) <= 3
    assert ended_s <= 1.4
    assert found.ensemble.predict(rows(5, seed=1)).values.shape == (5,)


def test_ctrl_c_leaves_what_was_found_by_then() -> None:
    found, ended_s, workers = run("regression", budget_s=100.0, took_s=0.3, most=40)
    assert ended_s < 15
    assert len(workers.done) == 40
    assert found.ensemble.predict(rows(5, seed=1)).values.shape == (5,)
    with pytest.raises(KeyboardInterrupt):
        run("regression", budget_s=100.0, took_s=0.3, most=1)
