"""A model that knows columns ahead: requests bring them, and each fault has its place."""

from __future__ import annotations

import re
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from cluster.errors import UserError
from serve_deployments.handlers.arrow import BulkQuestion
from serve_deployments.handlers.forecast import ForecastModel
from serve_deployments.schemas import BulkOptions, read_request
from serve_deployments.servable import compute
from training.core.future import future_of
from training.core.panel import Panel
from training.core.splits import chronological_split
from training.models.ensemble import Ensemble

HORIZON = 6


@pytest.fixture(scope="module")
def panel(hourly: Panel) -> Panel:
    return hourly.with_roles(known=["AT"])


@pytest.fixture(scope="module")
def model(panel: Panel) -> ForecastModel:
    ensemble = Ensemble(
        features=[{"name": "calendar"}],
        members=[
            {"name": "ridge", "params": {"window": 24, "ahead": ["AT"]}},
            {"name": "seasonal_naive", "params": {"season": 24}},
        ],
    )
    ensemble.fit_panel(panel, horizon=HORIZON, split=chronological_split(panel))
    return ForecastModel(name="nox", version="1.0.0", ensemble=ensemble, schema=panel.schema, metrics={})


@pytest.fixture
def history(panel: Panel) -> Panel:
    times = np.sort(panel.frame["timestamp"].unique())
    return panel.before(times[-HORIZON])


@pytest.fixture
def body(panel: Panel, history: Panel) -> dict[str, Any]:
    series = []
    for name, rows in history.frame.groupby("series_id", sort=False):
        later = panel.frame[panel.frame["series_id"] == name].tail(HORIZON)
        series.append(
            {
                "series_id": name,
                "timestamps": [time.isoformat() for time in rows["timestamp"]],
                "values": {column: rows[column].astype(float).tolist() for column in panel.schema.names},
                "future": {"AT": later["AT"].tolist()},
            }
        )
    return {"model": "nox", "series": series}


def test_a_request_is_answered_as_the_model_forecasts(
    model: ForecastModel, body: dict[str, Any], panel: Panel, history: Panel
) -> None:
    (served,) = compute(model, [model.validate(read_request(body))])
    direct = model.ensemble.forecast(history, future=future_of(panel, ["AT"]))
    np.testing.assert_array_equal(served.point, direct.point)
    assert model.ensemble.known == ("AT",)
    assert model.info(default=True)["known"] == ["AT"]


@pytest.fixture
def table(panel: Panel) -> pd.DataFrame:
    frame = panel.frame.astype({"DAY": float}).reset_index(drop=True)
    last = frame.groupby("series_id", sort=False).cumcount(ascending=False) < HORIZON
    frame.loc[last, ["NOX", "DAY"]] = np.nan
    return frame


def asked(frame: pd.DataFrame) -> BulkQuestion:
    return BulkQuestion(options=BulkOptions(model="nox"), table=pa.Table.from_pandas(frame, preserve_index=False))


def test_a_table_that_goes_on_after_the_history_is_answered_as_the_same_in_json(
    model: ForecastModel, body: dict[str, Any], table: pd.DataFrame
) -> None:
    by_json, by_table = compute(model, [model.validate(read_request(body)), model.validate(asked(table))])
    np.testing.assert_array_equal(by_table.values, by_json.values)
    sent = [len(each["timestamps"]) for each in body["series"]]
    assert [len(each.values["NOX"]) for each in asked(table).series] == sent


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda frame: frame.dropna(), "body.NOX.*6 rows without NOX at the end of each series"),
        (lambda frame: frame.assign(NOX=frame["NOX"].fillna(1.0)), "body.NOX.*got 1"),
        (lambda frame: frame.drop(index=frame.index[-1]), "body.NOX.*6 rows without NOX"),
        (lambda frame: frame.assign(AT=frame["AT"].where(frame["NOX"].notna())), "body.AT.*not finite"),
        (lambda frame: frame.assign(AT=frame["AT"].where(frame["NOX"].notna(), 99.0)), "body.AT.*impossible"),
        (lambda frame: frame.assign(DAY=frame["DAY"].fillna(3.0)), "body.DAY.*ahead it knows AT"),
        (lambda frame: frame.tail(HORIZON), "empty"),
        (
            lambda frame: frame.assign(
                timestamp=frame["timestamp"].where(frame["NOX"].notna(), frame["timestamp"] + pd.Timedelta("1h"))
            ),
            "body.timestamp.*does not follow",
        ),
        (
            lambda frame: pd.concat([frame.dropna(), frame[frame["NOX"].isna()].iloc[::-1]]),
            "body.series_id.*does not follow",
        ),
        (
            lambda frame: pd.concat([frame, frame.tail(HORIZON).assign(series_id="plant-3")]),
            "body.series_id.*does not follow",
        ),
    ],
)
def test_a_table_with_another_future_is_refused(
    model: ForecastModel, table: pd.DataFrame, spoil: Callable[[pd.DataFrame], pd.DataFrame], words: str
) -> None:
    with pytest.raises(UserError) as raised:
        model.validate(asked(spoil(table)))
    assert re.search(words, f"{raised.value.context.get('field')} {raised.value.message}"), raised.value.message


def test_what_is_known_travels_with_a_batch(model: ForecastModel, body: dict[str, Any]) -> None:
    jobs = [model.validate(read_request(dict(body, series=[series]))) for series in body["series"]]
    together, alone = compute(model, jobs), [compute(model, [job])[0] for job in jobs]
    for got, expected in zip(together, alone, strict=True):
        np.testing.assert_array_equal(got.values, expected.values)
    assert np.isfinite(compute(model, [model.probe()])[0].values).all()


@pytest.mark.parametrize(
    ("spoil", "field", "words"),
    [
        (lambda series: series.pop("future"), "future.AT", "a future column is missing"),
        (lambda series: series["future"].update(AT=[1.0]), "future.AT", "got 1 values, expected 6 values"),
        (lambda series: series["future"].update(DAY=[1.0] * 6), "future.DAY", "a future column is unknown"),
        (lambda series: series["future"]["AT"].__setitem__(4, 99.0), "future.AT[4]", "a value is impossible"),
    ],
)
def test_faults_have_their_place(
    model: ForecastModel, body: dict[str, Any], spoil: Any, field: str, words: str
) -> None:
    bad = deepcopy(body)
    spoil(bad["series"][1])
    with pytest.raises(UserError, match=words) as caught:
        model.validate(read_request(bad))
    assert caught.value.context["field"] == f"body.series[1].{field}"


def test_a_model_that_knows_nothing_ahead_refuses_a_future(model: ForecastModel, body: dict[str, Any]) -> None:
    naive = model.ensemble.members[1]
    plain = Ensemble.of([], [naive], columns=naive.columns)
    other = ForecastModel(name="nox", version="2.0.0", ensemble=plain, schema=model.schema, metrics={})
    with pytest.raises(UserError, match="knows nothing ahead"):
        other.validate(read_request(body))
