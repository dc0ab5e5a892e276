"""Reconciled forecasts on generated emissions: sums, errors, coverage."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from cluster.errors import ConfigError, InsufficientHistoryError, UnknownNameError
from training.core import metrics
from training.core.panel import Panel
from training.core.prediction import Prediction
from training.core.splits import Split, chronological_split
from training.core.validation import ID
from training.core.windows import Floats
from training.data.generator import generate_emissions
from training.evaluation.backtest import Backtest, backtest
from training.inference.hierarchy import Hierarchy, Level, Rule
from training.inference.reconciliation import JointErrors, Reconciler
from training.models.ridge import Ridge

HORIZON = 7
LEVELS = (0.05, 0.5, 0.95)
RULES: dict[str, Rule] = {
    "production_units": "sum",
    "energy_kwh": "sum",
    "renewable_kwh": "sum",
    "temperature_c": "mean",
    "day_of_week": "mean",
    "holiday": "mean",
    "economic_index": "mean",
}
"""What a node knows ahead; the seed's drivers decide the emissions, each node's model sees its own sums of them."""


@dataclass(frozen=True)
class Case:
    """Nodes of generated emissions, each forecast by a model of its own."""

    tree: Hierarchy
    nodes: Panel
    split: Split
    models: dict[str, Ridge]
    errors: JointErrors
    tests: tuple[Backtest, ...]

    def node(self, name: str) -> Panel:
        rows = self.nodes.frame[self.nodes.frame[ID] == name]
        return Panel(rows.reset_index(drop=True), self.nodes.schema)

    def forecast(self, name: str) -> Prediction:
        """Return what a node's model says of the last week, whose drivers are known."""
        node = self.node(name)
        last = node.frame["timestamp"].iloc[-HORIZON]
        return self.models[name].forecast(node.before(last), future=node.since(last).frame, levels=LEVELS)

    def stacked(self, what: str) -> Floats:
        """Return (K, H, M) of the test part."""
        return np.stack([getattr(test, what)[..., 0] for test in self.tests], axis=-1)


@pytest.fixture(scope="module")
def case() -> Case:
    panel, _ = generate_emissions(sites=4, days=1500, seed=4)
    groups = {name: "north" if at < 2 else "south" for at, name in enumerate(panel.series)}
    tree = Hierarchy.of(panel.series, panel.schema.target_names, parents=groups)
    nodes = tree.panel(panel.with_roles(known=tuple(RULES)), covariates=RULES)
    split = chronological_split(nodes)
    one = {
        name: Panel(nodes.frame[nodes.frame[ID] == name].reset_index(drop=True), nodes.schema)
        for name in tree.nodes
    }
    models = {
        name: Ridge(window=14, alpha=0.01, covariates=True).fit_panel(one[name], horizon=HORIZON, split=split)
        for name in tree.nodes
    }
    late = [backtest(models[n], one[n], since=split.validation_start, until=split.test_start) for n in tree.nodes]
    tests = tuple(backtest(models[name], one[name], since=split.test_start) for name in tree.nodes)
    return Case(tree, nodes, split, models, JointErrors.of(tree, *late), tests)


@pytest.mark.parametrize("method", ["bottom_up", "mint"])
@pytest.mark.parametrize("non_negative", [False, True])
def test_points_and_samples_add_up_and_quantiles_are_ordered(case: Case, method: str, non_negative: bool) -> None:
    reconciler = Reconciler.fit(case.tree, case.errors, method=method)  # type: ignore[arg-type]
    base = [case.forecast(name) for name in case.tree.nodes]
    found = reconciler.reconcile(*base, levels=LEVELS, non_negative=non_negative)
    point = found.prediction.point[..., 0].T
    assert case.tree.incoherence(point) < 1e-9
    assert case.tree.incoherence(found.samples) < 1e-9
    assert found.samples.shape == (len(case.errors.rows), HORIZON, len(case.tree))
    assert found.prediction.values.shape == (len(case.tree), HORIZON, 1, 3)
    assert (np.diff(found.prediction.values, axis=-1) >= 0).all()
    assert found.prediction.ids == case.tree.nodes
    if non_negative:
        assert found.samples.min() >= 0
        assert found.prediction.values.min() >= 0
    table = found.prediction.to_frame()
    assert len(table) == len(case.tree) * HORIZON


def test_negative_leaves_become_zero_and_sums_follow(case: Case) -> None:
    reconciler = Reconciler.fit(case.tree, case.errors)
    base = np.full((HORIZON, len(case.tree)), -5.0)
    found = reconciler.points(base, non_negative=True)
    assert found.min() == 0
    assert case.tree.incoherence(found) < 1e-9


def test_mint_is_no_worse_than_its_base_at_any_level(case: Case) -> None:
    actual, base = case.stacked("actual"), case.stacked("point")
    points = {m: Reconciler.fit(case.tree, case.errors, method=m).points(base) for m in ("mint", "bottom_up")}
    levels: tuple[Level, ...] = ("root", "target", "group", "series", "leaf")
    for level in levels:
        at = case.tree.at(level)
        error = {
            name: metrics.rmse(actual[..., at], each[..., at]) for name, each in {"base": base, **points}.items()
        }
        assert error["mint"] <= error["base"], (level, error)
        assert error["mint"] <= error["bottom_up"], (level, error)
    assert metrics.rmse(actual, points["mint"]) < metrics.rmse(actual, base)


def test_intervals_cover_at_every_level(case: Case) -> None:
    reconciler = Reconciler.fit(case.tree, case.errors)
    actual, point = case.stacked("actual"), reconciler.points(case.stacked("point"))
    low, high = (np.quantile(reconciler.spread, level, axis=0) for level in (0.05, 0.95))
    for level in ("root", "target", "group", "series", "leaf"):
        at = case.tree.at(level)
        share = metrics.coverage(actual[..., at], (point + low)[..., at], (point + high)[..., at])
        assert 0.85 < share < 0.97, (level, share)


def test_a_covariance_a_step_reconciles_too(case: Case) -> None:
    actual, base = case.stacked("actual"), case.stacked("point")
    own = Reconciler.fit(case.tree, case.errors, per_step=True)
    assert not np.allclose(own.weights[0], own.weights[-1])
    assert metrics.rmse(actual, own.points(base)) < metrics.rmse(actual, base)


def test_what_cannot_be_learned_from_is_refused(case: Case) -> None:
    with pytest.raises(UnknownNameError, match="backtest of the node"):
        JointErrors.of(case.tree, *case.tests[1:])
    short = backtest(
        case.models["north"], case.node("north"), since=case.nodes.frame["timestamp"].max() - np.timedelta64(9, "D")
    )
    with pytest.raises(InsufficientHistoryError, match="got 4 origins"):
        JointErrors.of(case.tree, short, *(t for t in case.tests if t.ids[0] != "north"))
    with pytest.raises(ConfigError, match="expected bottom_up or mint"):
        Reconciler.fit(case.tree, case.errors, method="top_down")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="nodes"):
        Reconciler.fit(Hierarchy.of(("a", "b"), ("x",)), case.errors)
