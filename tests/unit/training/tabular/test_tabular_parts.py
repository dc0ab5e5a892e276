"""Parts of tabular models: bent targets, blends, columns that cannot say anything."""

from __future__ import annotations

import numpy as np
import pytest

from training.core.table import Feature, Table
from training.tabular.bending import SKEWED, bent, learn_bend, skewness, unbent
from training.tabular.blend import Blend
from training.tabular.encoding import TableEncoder

RNG = np.random.default_rng(4)


def test_bending_is_undone_and_takes_the_tail_off() -> None:
    target = np.exp(RNG.normal(3, 1, 500))
    bend = learn_bend(target)
    np.testing.assert_allclose(unbent(bent(target, bend), bend), target, rtol=1e-9)
    assert abs(skewness(bent(target, bend))) < SKEWED < skewness(target)
    assert np.isfinite(unbent(np.array([1e9, -1e9]), bend)).all()
    assert skewness(np.ones(5)) == 0.0


@pytest.mark.parametrize("pool", ["linear", "log"])
def test_blends_of_probabilities_are_probabilities_and_survive_their_state(pool: str) -> None:
    outputs = RNG.dirichlet([0.3, 0.3, 0.3], size=(2, 50))
    blend = Blend.from_state(
        {"kind": "stack", "pool": pool, "weights": np.array([0.7, 0.6]), "bias": np.zeros(3), "temperature": 1.0}
    )
    answers = blend.apply(outputs)
    np.testing.assert_allclose(answers.sum(axis=1), 1)
    np.testing.assert_array_equal(Blend.from_state(blend.state()).apply(outputs), answers)


def test_constant_and_repeated_columns_are_left_out() -> None:
    values = RNG.normal(size=40)
    columns = {"a": values, "b": values.copy(), "c": np.full(40, 2.0), "d": np.full(40, np.nan)}
    table = Table(columns, tuple(Feature(name=name, kind="number") for name in columns))
    encoder = TableEncoder()
    assert encoder.fit_transform(table, values).shape == (40, 1)
    assert encoder.columns == ("a",)


def test_a_table_that_says_nothing_at_all_is_still_a_column() -> None:
    table = Table({"c": np.full(40, 2.0)}, (Feature(name="c", kind="number"),))
    for view in ("plain", "standard"):
        assert TableEncoder(view=view).fit_transform(table, RNG.normal(size=40)).shape == (40, 1)
