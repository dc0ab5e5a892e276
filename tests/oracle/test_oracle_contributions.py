"""Contributions of boosted trees against Shapley values summed over every coalition."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import lightgbm
import numpy as np
import pytest
import xgboost

from training.core.candidate import Candidate, planned_panel
from training.models import MODELS
from training.models.boosting_table import Singles
from training.models.gradient_boosting import GradientBoosting


@dataclass
class Node:
    """A leaf, or a split with two children; `cover` is how much of the training rows came by."""

    cover: float
    value: float = 0.0
    feature: int = -1
    goes_left: Callable[[float], bool] | None = None
    left: Node | None = None
    right: Node | None = None


def expected(node: Node, row: Singles, coalition: frozenset[int]) -> float:
    """Return what a tree answers when the coalition's inputs alone are known."""
    if node.left is None or node.right is None or node.goes_left is None:
        return node.value
    if node.feature in coalition:
        child = node.left if node.goes_left(row[node.feature]) else node.right
        return expected(child, row, coalition)
    sides = node.left.cover * expected(node.left, row, coalition)
    sides += node.right.cover * expected(node.right, row, coalition)
    return sides / (node.left.cover + node.right.cover)


def used(node: Node) -> set[int]:
    if node.left is None or node.right is None:
        return set()
    return {node.feature} | used(node.left) | used(node.right)


def shapley(node: Node, row: Singles) -> dict[int, float]:
    """Return input -> Shapley value, from the definition."""
    players = sorted(used(node))
    values = dict.fromkeys(players, 0.0)
    for player in players:
        others = [each for each in players if each != player]
        for size in range(len(others) + 1):
            share = math.factorial(size) * math.factorial(len(others) - size) / math.factorial(len(players))
            for chosen in combinations(others, size):
                without = expected(node, row, frozenset(chosen))
                values[player] += share * (expected(node, row, frozenset({*chosen, player})) - without)
    return values


def lightgbm_trees(text: str) -> list[Node]:
    def node(told: dict[str, Any]) -> Node:
        if "leaf_value" in told:
            return Node(cover=told.get("leaf_count", 1), value=told["leaf_value"])
        threshold = told["threshold"]
        return Node(
            cover=told["internal_count"],
            feature=told["split_feature"],
            goes_left=lambda value: value <= threshold,
            left=node(told["left_child"]),
            right=node(told["right_child"]),
        )

    dumped = lightgbm.Booster(model_str=text).dump_model()
    return [node(tree["tree_structure"]) for tree in dumped["tree_info"]]


def xgboost_trees(raw: bytes) -> list[tuple[int, Node]]:
    booster = xgboost.Booster()
    booster.load_model(bytearray(raw))
    model = json.loads(booster.save_raw("json"))["learner"]["gradient_booster"]["model"]

    def node(tree: dict[str, Any], at: int) -> Node:
        left, right = tree["left_children"][at], tree["right_children"][at]
        cover, number = tree["sum_hessian"][at], np.float32(tree["split_conditions"][at])
        if left < 0:
            return Node(cover=cover, value=float(number))
        return Node(
            cover=cover,
            feature=tree["split_indices"][at],
            goes_left=lambda value: bool(value < number),
            left=node(tree, left),
            right=node(tree, right),
        )

    return [(output, node(tree, 0)) for output, tree in zip(model["tree_info"], model["trees"], strict=True)]


def trees_of(model: GradientBoosting) -> list[tuple[int, Node]]:
    """Return each tree with the output that it adds to."""
    trees = model.learned()["trees"]
    if model.name == "xgboost":
        return xgboost_trees(trees["booster"].tobytes())
    texts = [text.tobytes().decode() for text in trees["models"]]
    return [(output, tree) for output, text in enumerate(texts) for tree in lightgbm_trees(text)]


@pytest.mark.parametrize("strategy", ["direct", "pooled"])
@pytest.mark.parametrize("name", ["xgboost", "lightgbm"])
def test_contributions_are_shapley_values(name: str, strategy: str) -> None:
    size: dict[str, Any] = {"depth": 3} if name == "xgboost" else {"leaves": 6}
    candidate = Candidate(MODELS, name)
    panel = planned_panel()
    model = candidate.fit(panel, strategy=strategy, rounds=3, learning_rate=0.5, seasons=(12,), **size)
    assert isinstance(model, GradientBoosting)
    context = model.split(candidate.test_windows(panel, model))[0][slice(None, None, 60)]
    told = model.contributions(context)

    ahead = context.tail(model.context).looking_ahead(model.horizon, model.known)
    _, made = next(model._tables(ahead, told.point))
    rows = made.values.reshape(-1, len(made.sources))
    outputs = len(model.learned()["scale"])
    slow = np.zeros((len(rows), outputs, len(told.columns)))
    mean = np.zeros((len(rows), outputs))
    for output, tree in trees_of(model):
        for number, row in enumerate(rows):
            mean[number, output] += expected(tree, row, frozenset())
            for feature, value in shapley(tree, row).items():
                slow[number, output, told.columns.index(made.sources[feature])] += value
    scale, usual = model.learned()["scale"], model.learned()["usual"]
    slow = (slow * scale[:, None]).reshape(told.values.shape)
    for target, column in enumerate(model.targets):
        slow[..., target, told.columns.index(column)] += made.own[..., target] - usual[target]
    np.testing.assert_allclose(told.values, slow, atol=1e-4)
    np.testing.assert_allclose(told.base, (mean * scale).reshape(told.base.shape) + usual, atol=1e-4)
    np.testing.assert_allclose(told.point, model.predict(context), atol=1e-4)
    assert len(np.unique(np.abs(told.values) > 0.01)) == 2
