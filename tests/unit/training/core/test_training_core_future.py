"""What is known ahead: roles of columns, windows that carry it, and tables that users bring."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from cluster.errors import DataError, SchemaError, UserError
from training.core.candidate import HORIZON, SCHEMA, easy_panel
from training.core.future import future_of, rows_ahead
from training.core.panel import Panel
from training.core.windows import Windows
from training.features.calendar import Calendar

PANEL = easy_panel()
HISTORY = PANEL.before(PANEL.frame["timestamp"].max() - pd.Timedelta(hours=HORIZON - 1))


def test_roles_are_replaced_and_static_columns_checked() -> None:
    assert (SCHEMA.known_names, SCHEMA.static_names) == (("plan",), ("size",))
    assert SCHEMA.with_roles(known=["load"]).known_names == ("load",)
    assert Panel(PANEL.frame, SCHEMA).validate().with_roles(static=["plan"]).schema.static_names == ("plan",)
    with pytest.raises(DataError, match=r"series 'plant-0': a static column changes.*'plan'"):
        PANEL.with_roles(static=["plan"]).validate()
    with pytest.raises(SchemaError, match="a target with role 'known'"):
        SCHEMA.with_roles(known=["used"])


def test_split_carries_the_known_columns_of_the_future_alone() -> None:
    windows = PANEL.windows(10)
    context, future = windows.split(4, ["plan"])
    assert context.ahead is not None
    assert context.ahead.columns == ("plan",)
    assert np.array_equal(context.ahead.values[..., 0], future.select(["plan"])[..., 0])
    some = context[np.array([3, 1])].tail(2)
    assert some.ahead is not None
    assert np.array_equal(some.ahead.timestamps, future.timestamps[[3, 1]])
    assert context.head(3).ahead is None
    assert windows.split(4)[0].ahead is None


def test_a_table_of_the_future_is_what_the_panel_would_have_held() -> None:
    context = HISTORY.last(5)
    shuffled = future_of(PANEL, ["plan"]).sample(frac=1, random_state=0)
    ahead = rows_ahead(shuffled, context, SCHEMA, ["plan"], HORIZON)
    expected = PANEL.last(HORIZON)
    assert np.array_equal(ahead.values, expected.select(["plan"]))
    assert np.array_equal(ahead.timestamps, expected.timestamps)


def test_what_follows_from_the_time_is_known_ahead() -> None:
    calendar = Calendar()
    context: Windows = calendar.transform(HISTORY.last(5).looking_ahead(HORIZON, ()))
    later = calendar.transform(PANEL.last(HORIZON))
    assert context.ahead is not None
    assert context.ahead.columns == calendar.added()
    assert np.array_equal(context.ahead.values, later.select(calendar.added()))


@pytest.mark.parametrize(
    ("spoil", "error", "words"),
    [
        (lambda f: f.drop(columns="plan"), SchemaError, "a column is missing: column 'plan'"),
        (lambda f: f.assign(plan="much"), SchemaError, "values are not numbers"),
        (lambda f: f.assign(timestamp=f["timestamp"].astype(str)), SchemaError, "timestamps are not times"),
        (lambda f: f.groupby("series_id").head(400), DataError, "series 'plant-0' is too short"),
        (lambda f: f[f["series_id"] != "plant-2"], DataError, "series 'plant-2' is missing"),
        (lambda f: pd.concat([f, f.tail(1)]), DataError, "series 'plant-2' has a doubled row"),
        (lambda f: f.assign(plan=np.inf), DataError, "a value is not finite"),
        (lambda f: f.assign(timestamp=f["timestamp"] + pd.Timedelta(minutes=1)), DataError, "too short"),
    ],
)
def test_faults_of_the_future_are_named(
    spoil: Callable[[pd.DataFrame], pd.DataFrame], error: type[UserError], words: str
) -> None:
    with pytest.raises(error) as caught:
        rows_ahead(spoil(future_of(PANEL, ["plan"])), HISTORY.last(5), SCHEMA, ["plan"], HORIZON)
    assert words in str(caught.value)
