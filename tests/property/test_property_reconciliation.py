"""Reconciliation of any tree: what it must keep, whatever the errors were."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from training.inference.hierarchy import Hierarchy
from training.inference.reconciliation import JointErrors, Method, Reconciler


@st.composite
def problems(draw: st.DrawFn) -> tuple[Hierarchy, JointErrors, np.random.Generator]:
    """A tree of some depth, and joint error rows of very different sizes, some nodes without any."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    series = [f"s{i}" for i in range(draw(st.integers(2, 6)))]
    targets = [f"t{i}" for i in range(draw(st.integers(1, 3)))]
    groups = draw(st.integers(0, 3))
    parents = {each: f"g{rng.integers(groups)}" for each in series if groups and rng.random() < 0.7}
    if len(set(parents.values())) > 1 and draw(st.booleans()):
        parents |= {sorted(set(parents.values()))[0]: "top"}
    tree = Hierarchy.of(series, targets, parents=parents, target_totals=draw(st.booleans()))
    rows = rng.normal(0, 1, (draw(st.integers(10, 40)), draw(st.integers(1, 4)), len(tree)))
    rows *= 10.0 ** rng.integers(-2, 3, len(tree))
    if draw(st.booleans()):
        rows[..., rng.integers(len(tree))] = 0
    return tree, JointErrors(rows=rows), rng


methods = st.sampled_from(("bottom_up", "mint"))


@settings(max_examples=60, deadline=None)
@given(problems(), methods, st.booleans())
def test_points_and_samples_add_up(
    problem: tuple[Hierarchy, JointErrors, np.random.Generator], method: Method, per_step: bool
) -> None:
    tree, errors, rng = problem
    reconciler = Reconciler.fit(tree, errors, method=method, per_step=per_step)
    base = rng.normal(0, 100, (5, errors.rows.shape[1], len(tree)))
    assert tree.incoherence(reconciler.points(base)) < 1e-9
    assert tree.incoherence(reconciler.points(base, non_negative=True)) < 1e-9
    assert tree.incoherence(reconciler.spread) < 1e-9


@settings(max_examples=60, deadline=None)
@given(problems(), methods, st.booleans())
def test_what_adds_up_is_left_as_it_is(
    problem: tuple[Hierarchy, JointErrors, np.random.Generator], method: Method, per_step: bool
) -> None:
    tree, errors, rng = problem
    reconciler = Reconciler.fit(tree, errors, method=method, per_step=per_step)
    base = rng.normal(0, 100, (errors.rows.shape[1], len(tree.leaves))) @ tree.summing.T
    np.testing.assert_allclose(reconciler.points(base), base, rtol=0, atol=1e-9 * np.abs(base).max())
