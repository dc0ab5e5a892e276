"""Blends are judged on rows they were not made on, so that the best on all rows has no head start."""

from __future__ import annotations

import numpy as np
import pytest

from training.core.tabular import log_loss, softmax
from training.core.windows import Floats
from tuning.automl.blending import choose_blend, row_losses

RNG = np.random.default_rng(3)
TRUTH = RNG.normal(size=600)


def outputs(*errors: Floats) -> Floats:
    return np.stack([TRUTH + error for error in errors])[:, :, None]


def noise(scale: float, seed: int) -> Floats:
    return np.random.default_rng([7, seed]).normal(0, scale, len(TRUTH))


def test_errors_that_differ_are_averaged_away() -> None:
    found = outputs(*(noise(1.0, seed) for seed in range(4)))
    blending = choose_blend(found, TRUTH, ["a", "b", "c", "d"])
    single = row_losses(found[0], TRUTH).mean()
    assert row_losses(blending.blend.apply(found), TRUTH).mean() < single / 2
    assert blending.losses["greedy"] < blending.losses["single"]
    assert (blending.blend.weights > 0.1).all()


def test_one_that_is_far_better_stands_alone() -> None:
    found = outputs(noise(0.1, 1), noise(2.0, 2), noise(2.0, 3))
    weights = choose_blend(found, TRUTH, ["a", "b", "c"]).blend.weights
    assert weights[0] > 0.9


def test_the_best_of_many_equals_by_chance_is_not_believed() -> None:
    """Among 24 that are equally good, the winner on all rows looks better than it is; crossed losses do not."""
    found = outputs(*(noise(1.0, seed) for seed in range(24)))
    order = np.argsort([row_losses(each, TRUTH).mean() for each in found])
    found = found[order]
    apparent = row_losses(found[0], TRUTH).mean()
    assert choose_blend(found, TRUTH, ["a"] * 24).losses["single"] > apparent


def test_stacking_mends_a_bias_that_all_share() -> None:
    found = outputs(noise(0.3, 1), noise(0.3, 2)) * 0.5 + 3.0
    blending = choose_blend(found, TRUTH, ["a", "b"])
    assert blending.blend.kind == "stack"
    assert "stack has the least loss" in blending.why
    assert row_losses(blending.blend.apply(found), TRUTH).mean() < 0.1


@pytest.mark.parametrize("classes", [2, 4])
def test_probabilities_stay_probabilities_and_too_sure_ones_are_calmed(classes: int) -> None:
    labels = RNG.integers(0, classes, 500).astype(np.int64)
    scores = np.eye(classes)[labels] * 2 + RNG.normal(0, 1.5, (500, classes))
    sure = np.stack([softmax(scores * 5), softmax(scores * 4 + RNG.normal(0, 0.1, scores.shape))])
    blend = choose_blend(sure, labels, ["a", "b"]).blend
    answers = blend.apply(sure)
    np.testing.assert_allclose(answers.sum(axis=1), 1)
    assert log_loss(labels, answers) < log_loss(labels, sure[0]) * 0.8


def test_a_lone_candidate_is_taken() -> None:
    blend = choose_blend(outputs(noise(1.0, 1)), TRUTH, ["a"]).blend
    assert blend.kind == "single"
    assert blend.only([0]).weights.tolist() == [1.0]
