"""The nodes: stacking changes nothing, a bad request of a batch fails alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cluster.errors import SchemaError, UnknownNameError
from serve_deployments.handlers import forecast
from serve_deployments.handlers.models import LoadedModel, Shelf, probe
from serve_deployments.handlers.validate import validate
from serve_deployments.schemas import ForecastRequest
from serve_deployments.service import Service
from training.core.panel import Panel
from training.core.windows import Floats, Windows
from training.models.ensemble import Ensemble


@pytest.fixture
def model(service: Service) -> LoadedModel:
    return service.shelf.pick("nox")


def test_compact_and_stack_keep_values_times_and_ids(hourly: Panel) -> None:
    whole = hourly.last(30)
    parts = [forecast.compact(whole[np.array([i])]) for i in range(2)]
    assert [len(part.rows) for part in parts] == [30, 30]
    stacked = forecast.stack(parts)
    np.testing.assert_array_equal(stacked.values, whole.values)
    np.testing.assert_array_equal(stacked.timestamps, whole.timestamps)
    assert stacked.ids == whole.ids


def test_nodes_one_after_another_are_the_ensemble(model: LoadedModel, hourly: Panel, ensemble: Ensemble) -> None:
    context = forecast.compact(hourly.last(model.ensemble.context))
    np.testing.assert_array_equal(forecast.whole(model, context), ensemble.predict(context))


def test_a_bad_request_of_a_batch_fails_alone(hourly: Panel) -> None:
    rows = [forecast.compact(hourly.last(4)[np.array([i])]) for i in (0, 1, 0)]
    bad = rows[1].series

    def node(windows: Windows) -> Floats:
        if set(windows.series) & set(bad):
            raise RuntimeError("this one")
        return windows.values[:, :2, :1]

    answers = forecast.each(node, rows)
    assert isinstance(answers[1], RuntimeError)
    for at in (0, 2):
        np.testing.assert_array_equal(answers[at], rows[at].values[:, :2, :1])


def test_a_batch_is_split_as_it_was_sent(hourly: Panel) -> None:
    one, two = forecast.compact(hourly.last(4)[np.array([0])]), forecast.compact(hourly.last(4))
    calls: list[int] = []

    def node(windows: Windows) -> Floats:
        calls.append(len(windows))
        return windows.values

    answers = forecast.each(node, [one, two, one])
    assert calls == [4]
    assert [len(answer) for answer in answers if not isinstance(answer, Exception)] == [1, 2, 1]


def test_a_probe_is_a_valid_context_of_its_model(model: LoadedModel) -> None:
    context = probe(model)
    assert context.values.shape == (1, model.ensemble.context, 3)
    for column, values in zip(model.schema.columns, context.values[0].T, strict=True):
        assert column.low is None or column.low <= values[0]
        assert column.high is None or values[0] <= column.high
    assert np.isfinite(forecast.whole(model, context)).all()


def test_the_first_version_of_a_name_is_the_default(model: LoadedModel) -> None:
    from dataclasses import replace

    shelf = Shelf([replace(model, version="2.0.0"), model])
    assert shelf.pick("nox").version == "2.0.0"
    assert shelf.pick("nox", "1.0.0").version == "1.0.0"
    assert [info["default"] for info in shelf.infos()] == [True, False]
    with pytest.raises(UnknownNameError, match=r"1\.0\.0, 2\.0\.0"):
        shelf.pick("nox", "3.0.0")


def test_columns_come_in_any_order(model: LoadedModel, good_request: dict[str, Any]) -> None:
    expected = validate(ForecastRequest.model_validate(good_request), model).context.values
    for series in good_request["series"]:
        series["values"] = dict(reversed(series["values"].items()))
    np.testing.assert_array_equal(
        validate(ForecastRequest.model_validate(good_request), model).context.values, expected
    )


def test_a_missing_column_says_its_unit_and_range(model: LoadedModel, good_request: dict[str, Any]) -> None:
    del good_request["series"][0]["values"]["NOX"]
    with pytest.raises(
        SchemaError, match=r"body\.series\[0\]\.values\.NOX: got nothing, expected .* 0 \.\. 200 mg/m3"
    ):
        validate(ForecastRequest.model_validate(good_request), model)
