"""No row that is judged has a say in its own features, nor in those of the rows that are learned from."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.core.table import Feature, Table, TableSchema
from training.tabular.encoding import VIEWS, TableEncoder

FEATURES = (
    Feature(name="number", kind="number"),
    Feature(name="few", kind="category"),
    Feature(name="many", kind="category"),
    Feature(name="day", kind="date"),
)
SCHEMA = TableSchema(name="t", features=FEATURES, target="y", task="regression")
COUNT, LEARNED = 90, 60


def table(seed: int) -> tuple[Table, np.ndarray[Any, Any]]:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "number": np.where(rng.random(COUNT) < 0.1, np.nan, rng.normal(size=COUNT)),
            "few": rng.choice(["a", "b", "c"], COUNT),
            "many": [f"level {each}" for each in rng.integers(0, 30, COUNT)],
            "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 900, COUNT), unit="D"),
        }
    )
    return SCHEMA.read(frame), rng.normal(size=COUNT)


def encoder(view: str) -> TableEncoder:
    return TableEncoder(view=view, products=0 if view == "plain" else 3, relevance=0.0 if view == "plain" else 0.5)


@pytest.mark.parametrize("view", VIEWS)
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 1000), other=st.integers(1001, 2000), row=st.integers(0, COUNT - LEARNED - 1))
def test_judged_rows_change_nothing_but_their_own_features(view: str, seed: int, other: int, row: int) -> None:
    rows, target = table(seed)
    strangers, _ = table(other)
    learned, judged = slice(0, LEARNED), slice(LEARNED, COUNT)
    made = encoder(view)
    train = made.fit_transform(rows.take(learned), target[learned])
    together = made.transform(rows.take(judged))
    # One judged row, alone and among strangers: its features are its own values', and those of training stay.
    alone = made.transform(rows.take(np.array([LEARNED + row])))
    np.testing.assert_array_equal(alone[0], together[row])
    made.transform(strangers)
    again = encoder(view)
    np.testing.assert_array_equal(again.fit_transform(rows.take(learned), target[learned]), train)
    np.testing.assert_array_equal(again.transform(rows.take(judged)), together)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000), row=st.integers(0, LEARNED - 1))
def test_no_training_row_sees_its_own_target(seed: int, row: int) -> None:
    """Another target of one row changes the level means of other rows, never its own."""
    rows, target = table(seed)
    learned = rows.take(slice(0, LEARNED))
    changed = target[:LEARNED].copy()
    changed[row] += 100.0
    before, after = TableEncoder(), TableEncoder()
    first = before.fit_transform(learned, target[:LEARNED])
    second = after.fit_transform(learned, changed)
    assert before.columns == after.columns
    np.testing.assert_array_equal(first[row], second[row])


@pytest.mark.parametrize("view", VIEWS)
def test_unknown_levels_and_missing_values_are_numbers_all_the_same(view: str) -> None:
    rows, target = table(1)
    made = encoder(view)
    made.fit_transform(rows, target)
    strange = SCHEMA.read(pd.DataFrame({"number": [None], "few": ["never"], "many": [None], "day": [None]}))
    found = made.transform(strange)
    assert found.shape == (1, len(made.columns))
    assert np.isfinite(found).all() or view == "plain"
