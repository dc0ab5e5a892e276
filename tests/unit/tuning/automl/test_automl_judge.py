"""What is no better than a constant answer on rows held out is not registered, and by how much is told."""

from __future__ import annotations

import numpy as np
import pytest

from cluster.errors import GateRefused
from training.core.table import Feature, Table, TableSchema, TableTask, Values
from training.tabular.blend import Blend
from training.tabular.encoding import TableEncoder
from training.tabular.ensemble import Member, TabularEnsemble
from training.tabular.linear import LinearClassifier, LinearRegressor
from tuning.automl.judge import judge_table

RNG = np.random.default_rng(6)
FEATURES = (Feature(name="x", kind="number"),)


def table(count: int) -> Table:
    return Table({"x": RNG.normal(size=count)}, FEATURES)


def ensemble(learned: Table, target: Values, classes: tuple[str, ...] = ()) -> TabularEnsemble:
    task: TableTask = "classification" if classes else "regression"
    schema = TableSchema(name="t", features=FEATURES, target="y", task=task, classes=classes)
    encoder = TableEncoder(view="standard")
    inputs = encoder.fit_transform(learned, target, len(classes))
    model = (
        LinearClassifier(strength=100.0).fit(inputs, target, classes=len(classes))
        if classes
        else LinearRegressor().fit(inputs, target)
    )
    blend = Blend(kind="single", weights=np.ones(1), bias=np.zeros(max(1, len(classes))))
    members = [Member(model=model, encoder=0, candidate=0, bend={})]
    return TabularEnsemble.of(schema, [encoder], members, blend, np.linspace(-0.5, 0.5, 9))


def test_a_good_one_passes_with_its_figures() -> None:
    learned, later = table(200), table(100)
    target, truth = 3 * learned.columns["x"], 3 * later.columns["x"] + RNG.normal(0, 0.2, 100)
    judged = judge_table(ensemble(learned, target), later, truth, target)
    judged.verdict.require()
    assert judged.metrics["r2"] > 0.95
    assert judged.metrics["coverage_90"] > 0.9
    assert judged.baseline["r2"] < 0.05
    assert {row["figure"] for row in judged.figures("m")} == {"rmse", "mae", "r2", "coverage 90"}


def test_one_that_learned_the_opposite_is_refused_by_how_much() -> None:
    learned, later = table(200), table(100)
    target = 3 * learned.columns["x"]
    judged = judge_table(ensemble(learned, target), later, -3 * later.columns["x"], target)
    with pytest.raises(GateRefused, match=r"rmse .* above the constant answer's"):
        judged.verdict.require()


def test_classes_are_judged_by_log_loss() -> None:
    learned, later = table(300), table(200)
    labels = (learned.columns["x"] > 0).astype(np.int64)
    model = ensemble(learned, labels, ("no", "yes"))
    truth = (later.columns["x"] > 0).astype(np.int64)
    judged = judge_table(model, later, truth, labels)
    judged.verdict.require()
    assert judged.metrics["accuracy"] > 0.9
    with pytest.raises(GateRefused, match="log loss"):
        judge_table(model, later, 1 - truth, labels).verdict.require()
