"""The nodes of a forecast: stacking changes nothing, a bad request of a batch fails alone."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cluster.errors import SchemaError, UnknownNameError
from serve_deployments.handlers.forecast import ForecastModel, compact, stack
from serve_deployments.handlers.shelf import Shelf
from serve_deployments.handlers.validate import Job
from serve_deployments.schemas import ForecastRequest, read_request
from serve_deployments.servable import compute, compute_each, member_each
from serve_deployments.service import Service
from training.core.panel import Panel
from training.core.windows import Floats, Windows
from training.models.ensemble import Ensemble


@pytest.fixture
def model(service: Service) -> ForecastModel:
    found = service.shelf.pick("nox")
    assert isinstance(found, ForecastModel)
    return found


@pytest.fixture
def jobs(model: ForecastModel, hourly: Panel) -> list[Job]:
    context = hourly.last(model.ensemble.context)
    return [Job(context=compact(context[np.array([i])]), steps=6, levels=(0.1, 0.9)) for i in (0, 1, 0)]


def test_compact_and_stack_keep_values_times_and_ids(hourly: Panel) -> None:
    whole = hourly.last(30)
    parts = [compact(whole[np.array([i])]) for i in range(2)]
    assert [len(part.rows) for part in parts] == [30, 30]
    stacked = stack(parts)
    np.testing.assert_array_equal(stacked.values, whole.values)
    np.testing.assert_array_equal(stacked.timestamps, whole.timestamps)
    assert stacked.ids == whole.ids


def test_nodes_one_after_another_are_the_ensemble(model: ForecastModel, hourly: Panel, ensemble: Ensemble) -> None:
    context = compact(hourly.last(model.ensemble.context))
    (result,) = compute(model, [Job(context=context, steps=6, levels=(0.05, 0.5, 0.95))])
    np.testing.assert_array_equal(result.point, ensemble.predict(context))
    np.testing.assert_array_equal(result.values, ensemble.forecast(hourly).values)


def like(model: ForecastModel, kind: type[ForecastModel]) -> ForecastModel:
    return kind(
        name=model.name,
        version=model.version,
        ensemble=model.ensemble,
        schema=model.schema,
        metrics=model.metrics,
    )


class Picky(ForecastModel):
    """Breaks on plant-2: the whole batch, as a model does."""

    def member(self, index: int, features: Windows) -> Floats:
        if "plant-2" in features.series:
            raise RuntimeError("this one")
        return super().member(index, features)


def test_a_bad_request_of_a_batch_fails_alone(model: ForecastModel, jobs: list[Job]) -> None:
    picky = like(model, Picky)
    answers = compute_each(picky, jobs)
    assert isinstance(answers[1], RuntimeError)
    expected = compute(model, jobs)
    for at in (0, 2):
        np.testing.assert_array_equal(answers[at].values, expected[at].values)
    features = [picky.prepare([job]) for job in jobs]
    outputs = member_each(picky, 0, features)
    assert isinstance(outputs[1], RuntimeError)
    np.testing.assert_array_equal(outputs[0], model.member(0, features[0]))


def test_a_row_that_is_not_finite_fails_alone(model: ForecastModel, jobs: list[Job]) -> None:
    combined = np.ones((3, 6, 1))
    combined[1, 2] = np.inf
    results = model.describe(jobs, combined)
    assert [isinstance(result, Exception) for result in results] == [False, True, False]


def test_a_batch_is_split_as_it_was_sent(model: ForecastModel, jobs: list[Job]) -> None:
    both = replace(jobs[0], context=stack([jobs[0].context, jobs[1].context]), steps=2)
    calls: list[int] = []

    class Counting(ForecastModel):
        def member(self, index: int, features: Windows) -> Floats:
            calls.append(len(features))
            return super().member(index, features)

    counting = like(model, Counting)
    results: Sequence[Any] = compute(counting, [jobs[0], both, jobs[2]])
    assert calls == [4, 4, 4]
    assert [result.point.shape for result in results] == [(1, 6, 1), (2, 2, 1), (1, 6, 1)]
    outputs = member_each(counting, 0, [counting.prepare([job]) for job in (jobs[0], both)])
    assert [len(output) for output in outputs] == [1, 2]


def test_a_probe_is_a_valid_job_of_its_model(model: ForecastModel) -> None:
    context = model.probe().context
    assert context.values.shape == (1, model.ensemble.context, 3)
    for column, values in zip(model.schema.columns, context.values[0].T, strict=True):
        assert column.low is None or column.low <= values[0]
        assert column.high is None or values[0] <= column.high
    assert np.isfinite(compute(model, [model.probe()])[0].values).all()


def test_the_first_version_of_a_name_is_the_default(model: ForecastModel) -> None:
    shelf = Shelf([replace(model, version="2.0.0"), model])
    assert shelf.pick("nox").version == "2.0.0"
    assert shelf.pick("nox", "1.0.0").version == "1.0.0"
    assert [info["default"] for info in shelf.infos()] == [True, False]
    with pytest.raises(UnknownNameError, match=r"1\.0\.0, 2\.0\.0"):
        shelf.pick("nox", "3.0.0")


def test_a_model_of_another_kind_is_unknown_to_a_route(model: ForecastModel) -> None:
    shelf = Shelf([model])
    assert shelf.pick("nox", kind="forecast") is model
    with pytest.raises(UnknownNameError):
        shelf.pick("nox", kind="detect")


def test_columns_come_in_any_order(model: ForecastModel, good_request: dict[str, Any]) -> None:
    expected = model.validate(ForecastRequest.model_validate(good_request)).context.values
    for series in good_request["series"]:
        series["values"] = dict(reversed(series["values"].items()))
    np.testing.assert_array_equal(
        model.validate(ForecastRequest.model_validate(good_request)).context.values, expected
    )


def test_a_missing_column_says_its_unit_and_range(model: ForecastModel, good_request: dict[str, Any]) -> None:
    del good_request["series"][0]["values"]["NOX"]
    with pytest.raises(
        SchemaError, match=r"body\.series\[0\]\.values\.NOX: got nothing, expected .* 0 \.\. 200 mg/m3"
    ):
        model.validate(ForecastRequest.model_validate(good_request))


def test_without_its_weights_a_version_validates_and_tells_the_same(
    model: ForecastModel, good_request: dict[str, Any]
) -> None:
    face, question = model.asleep(), read_request(good_request)
    one, other = face.validate(question), model.validate(question)
    assert face.identity(one) == model.identity(other) and (one.steps, one.levels) == (other.steps, other.levels)
    assert face.info(default=True) == model.info(default=True) and face.kind == model.kind
    (result,) = compute(model, [one])
    assert face.plain(result) == model.plain(result) and face.table(result).equals(model.table(result))
    assert face.may_be_kept(question) and face.members == model.members and face.asleep() is None
    assert len(pickle.dumps(face)) < len(pickle.dumps(model)) / 10
