"""Schemas read off a table: step, season, columns."""

from __future__ import annotations

import pandas as pd
import pytest

from cluster.errors import DataError, SchemaError
from training.data.infer import infer_frequency, infer_schema, season_of


def table(frequency: str, rows: int = 60) -> pd.DataFrame:
    times = pd.date_range("2020-01-01", periods=rows, freq=frequency)
    return pd.DataFrame({"timestamp": times, "kwh": range(rows), "site": "A"})


@pytest.mark.parametrize(
    ("frequency", "season"),
    [("h", 24), ("15min", 96), ("D", 7), ("MS", 12), ("ME", 12), ("W-MON", 52), ("QS-OCT", 4), ("B", 5)],
)
def test_step_and_season(frequency: str, season: int) -> None:
    found = infer_frequency(table(frequency))
    assert found == frequency
    assert season_of(found) == season


def test_a_few_gaps_do_not_hide_the_step() -> None:
    assert infer_frequency(table("h").drop(index=[7, 30])) == "h"


def test_no_regular_step_is_named() -> None:
    frame = table("h").assign(timestamp=pd.to_datetime([f"2020-01-01T00:00:{i * i % 59:02d}" for i in range(60)]))
    with pytest.raises(DataError, match="no regular step"):
        infer_frequency(frame)


def test_numeric_columns_become_covariates() -> None:
    schema = infer_schema(table("h").assign(outside=1.5), name="mine", target="kwh", unit="kWh")
    assert schema.target_names == ("kwh",)
    assert schema.targets[0].unit == "kWh"
    assert schema.names == ("kwh", "outside")


@pytest.mark.parametrize("target", ["nothing", "site"])
def test_a_target_must_be_a_column_of_numbers(target: str) -> None:
    with pytest.raises(SchemaError, match=target):
        infer_schema(table("h"), name="mine", target=target)
