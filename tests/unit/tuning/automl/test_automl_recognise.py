"""A table says what it asks for, and every decision has its reason."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cluster.errors import ConfigError, DataError, UnknownNameError
from tuning.automl.recognise import recognise

COUNT = 400
RNG = np.random.default_rng(0)
TIMES = pd.date_range("2024-01-01", periods=COUNT, freq="h")


def table(**more: object) -> pd.DataFrame:
    columns = {
        "area": RNG.normal(80, 20, COUNT),
        "district": RNG.choice(["north", "south"], COUNT),
        "price": RNG.normal(300, 50, COUNT),
    }
    return pd.DataFrame(columns | more)


def test_a_number_with_many_values_is_a_regression() -> None:
    found = recognise(table(), name="houses", target="price")
    assert found.task == "regression"
    assert found.reasons == (f"'price' is a number with {COUNT} values",)
    assert found.schema is not None
    assert {each.name: each.kind for each in found.schema.features} == {"area": "number", "district": "category"}


@pytest.mark.parametrize(
    ("values", "classes"),
    [
        (RNG.choice(["yes", "no"], COUNT), ("no", "yes")),
        (RNG.random(COUNT) > 0.5, ("False", "True")),
        (RNG.integers(0, 3, COUNT), ("0", "1", "2")),
        (RNG.integers(0, 12, COUNT).astype(float), tuple(str(each) for each in range(12))),
    ],
    ids=["text", "flags", "whole", "whole as float"],
)
def test_labels_are_a_classification(values: object, classes: tuple[str, ...]) -> None:
    found = recognise(table(sold=values), name="houses", target="sold")
    assert found.task == "classification"
    assert found.schema is not None
    assert found.schema.classes == classes
    assert "labels" in found.reasons[0] or "classes" in found.reasons[0]


def test_a_number_that_goes_on_in_time_is_forecast_unless_named() -> None:
    frame = table(at=TIMES)
    found = recognise(frame, name="houses", target="price")
    assert (found.task, found.time, found.schema) == ("forecasting", "at", None)
    assert "one step" in found.reasons[0]
    named = recognise(frame, name="houses", target="price", task="regression")
    assert (named.task, named.time) == ("regression", "at")
    assert "judged on later rows" in named.reasons[1]


def test_dates_without_order_are_features() -> None:
    frame = table(built=RNG.permutation(TIMES.strftime("%Y-%m-%d %H:%M").to_numpy()))
    found = recognise(frame, name="houses", target="price")
    assert (found.task, found.time) == ("regression", None)
    assert found.schema is not None
    assert found.schema.features[2].kind == "date"


def test_rows_in_time_without_a_target_are_watched() -> None:
    found = recognise(table(at=TIMES), name="houses")
    assert (found.task, found.time) == ("anomaly", "at")


def test_columns_that_say_nothing_are_left_out_with_the_reason() -> None:
    frame = table(number=range(COUNT), country="AT", owner=[f"person {at}" for at in range(COUNT)])
    found = recognise(frame, name="houses", target="price")
    assert found.schema is not None
    assert found.schema.names == ("area", "district")
    told = " ".join(found.reasons)
    assert all(
        why in told for why in ("'number' is left out: it counts", "'country' is left out: it is always", "'owner'")
    )


@pytest.mark.parametrize(
    ("asked", "error", "names"),
    [
        ({"target": "prise"}, UnknownNameError, "Did you mean 'price'"),
        ({"target": "price", "task": "clustering"}, ConfigError, "clustering"),
        ({"task": "regression"}, ConfigError, "--target"),
        ({}, ConfigError, "neither a target nor"),
        ({"target": "owner", "task": "classification"}, DataError, "400 labels"),
        ({"target": "country", "task": "classification"}, DataError, "1 labels"),
    ],
)
def test_what_cannot_be_done_is_named(asked: dict[str, str], error: type[Exception], names: str) -> None:
    frame = table(owner=[f"person {at}" for at in range(COUNT)], country="AT")
    with pytest.raises(error, match=names):
        recognise(frame, name="houses", **asked)
