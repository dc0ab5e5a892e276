"""Rows over HTTP: what is asked is checked and named, what is answered is the ensemble's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cluster.clock import ManualClock
from cluster.errors import DataError, SignatureMismatch, UnknownNameError
from cluster.monitoring.metrics import Metrics
from serve_deployments.admission import Limits
from serve_deployments.handlers.kinds import load
from serve_deployments.handlers.shelf import Shelf
from serve_deployments.ingress import build_api
from serve_deployments.rows.schemas import PredictRequest, PredictResponse, RowPrediction, read_predict
from serve_deployments.rows.servable import RowsServable
from serve_deployments.schemas import UnreadableError
from serve_deployments.servable import compute
from serve_deployments.service import fused_service
from training.core.artifact import save_artifact
from training.core.table import Feature, TableSchema
from training.core.tabular import Classifier, Regressor
from training.tabular.blend import Blend
from training.tabular.encoding import TableEncoder
from training.tabular.ensemble import Member, TabularEnsemble, TabularPrediction
from training.tabular.linear import LinearClassifier, LinearRegressor
from training.tabular.nearest import NearestClassifier, NearestRegressor

FEATURES = (Feature(name="size", kind="number"), Feature(name="colour", kind="category"))


def servable(classes: tuple[str, ...] = ()) -> RowsServable:
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"size": rng.normal(size=80), "colour": rng.choice(["red", "blue"], 80)})
    schema = TableSchema(
        name="goods",
        features=FEATURES,
        target="cost",
        task="classification" if classes else "regression",
        classes=classes,
    )
    table, cost = schema.read(frame), (frame["size"] * 3 + (frame["colour"] == "red")).to_numpy(dtype=np.float64)
    encoder = TableEncoder(view="robust")
    labels = (cost > 0).astype(np.int64)
    inputs = encoder.fit_transform(table, labels if classes else cost, len(classes))
    models: list[Regressor | Classifier]
    if classes:
        models = [
            LinearClassifier().fit(inputs, labels, classes=2),
            NearestClassifier().fit(inputs, labels, classes=2),
        ]
    else:
        models = [LinearRegressor().fit(inputs, cost), NearestRegressor().fit(inputs, cost)]
    members = [Member(model=model, encoder=0, candidate=at, bend={}) for at, model in enumerate(models)]
    blend = Blend(kind="vote", weights=np.array([0.5, 0.5]), bias=np.zeros(max(len(classes), 1)))
    errors = np.empty(0) if classes else np.linspace(-1, 1, 50)
    ensemble = TabularEnsemble.of(schema, [encoder], members, blend, errors)
    return RowsServable.of(ensemble, schema, name="goods-cost", version="1.0.0", metrics={"rmse": 1.0})


def answers(model: RowsServable, *asked: PredictRequest) -> list[TabularPrediction]:
    found = compute(model, [model.validate(each) for each in asked])
    kept = [each for each in found if isinstance(each, TabularPrediction)]
    assert len(kept) == len(asked)
    return kept


def ask(*rows: dict[str, object]) -> PredictRequest:
    return read_predict({"model": "goods-cost", "rows": list(rows)})


def test_the_nodes_answer_what_the_ensemble_does_in_any_company() -> None:
    model = servable()
    rows: list[dict[str, object]] = [
        {"size": 1.0, "colour": "red"},
        {"size": -2, "colour": None},
        {"colour": "green"},
    ]
    alone, together = ask(rows[0]), ask(*rows[1:])
    one, two = answers(model, alone, together)
    expected = model.ensemble.predict(pd.DataFrame(rows)).values
    np.testing.assert_allclose(np.concatenate([one.values, two.values]), expected)
    assert model.members == ("linear", "nearest")
    fields = model.plain(two)
    assert len(fields["predictions"]) == 2
    answer = PredictResponse(
        request_id="r",
        model={"name": model.name, "version": model.version},  # type: ignore[arg-type]
        created_at="2024-01-01T00:00:00",
        rung="primary",
        fallback_reason=None,
        **fields,
    )
    first = answer.predictions[0]
    assert first.lower is not None
    assert first.upper is not None
    assert first.lower < float(first.prediction) < first.upper


def test_classes_have_names_and_probabilities() -> None:
    model = servable(("cheap", "dear"))
    (result,) = answers(model, ask({"size": 2.0, "colour": "red"}))
    (row,) = model.plain(result)["predictions"]
    assert RowPrediction(**row).prediction == "dear"
    assert sum(row["probabilities"].values()) == pytest.approx(1)


def test_what_cannot_be_read_is_named_by_its_place() -> None:
    model = servable()
    with pytest.raises(DataError) as bad:
        model.validate(ask({"size": 1.0}, {"size": "large"}))
    assert bad.value.context["field"] == "body.rows[1].size"
    with pytest.raises(UnknownNameError, match="Did you mean 'colour'") as unknown:
        model.validate(ask({"color": "red"}))
    assert unknown.value.context["field"] == "body.rows[0]"


@pytest.mark.parametrize(
    "body",
    [{}, {"model": "m", "rows": []}, {"model": "m", "rows": [{"a": [1]}]}, {"model": "m", "rows": [{}], "x": 1}],
)
def test_other_bodies_are_unreadable(body: dict[str, object]) -> None:
    with pytest.raises(UnreadableError):
        read_predict(body)


def test_it_answers_its_own_probe_and_tells_what_it_is() -> None:
    model = servable()
    (result,) = compute(model, [model.probe()])
    assert isinstance(result, TabularPrediction)
    assert np.isfinite(result.values).all()
    told = model.info(default=True)
    assert told["kind"] == "predict"
    assert [column["name"] for column in told["columns"]] == ["size", "colour"]


def test_an_artifact_of_something_else_is_refused() -> None:
    model = servable()
    other = TableSchema(name="other", features=FEATURES, target="cost", task="regression")
    with pytest.raises(SignatureMismatch, match="cannot be served"):
        RowsServable.of(model.ensemble, other, name="n", version="1.0.0", metrics={})


def over_http(model: RowsServable, folder: Path, connect: Callable[[Any], Any]) -> Any:
    """Save the version, load it as a replica does, and serve it in this process."""
    save_artifact(model.ensemble, model.ensemble.schema, folder / "artifact")
    loaded = load(folder / "artifact", kind="predict", name=model.name, version=model.version, metrics={})
    limits = Limits(max_body_bytes=100_000, request_timeout_s=30, max_concurrent_requests=4, max_queued_requests=4)
    service = fused_service(
        Shelf([loaded]),
        limits=limits,
        target_s=0.05,
        max_batch_size=8,
        threads=2,
        metrics=Metrics(),
        clock=ManualClock(1_700_000_000.0),
    )
    return connect(build_api(service))


def test_rows_are_predicted_over_http_and_faults_have_their_place(
    tmp_path: Path, connect: Callable[[Any], Any]
) -> None:
    model = servable()
    http = over_http(model, tmp_path, connect)
    rows = [{"size": 1.0, "colour": "red"}, {"size": None, "colour": "blue"}]
    answer = http.post("/v1/predict", json={"model": "goods-cost", "rows": rows})
    assert answer.status_code == 200, answer.text
    said = PredictResponse.model_validate(answer.json())
    expected = model.ensemble.predict(pd.DataFrame(rows)).values
    got = np.array([float(each.prediction) for each in said.predictions])
    np.testing.assert_allclose(got, np.asarray(expected, dtype=np.float64))
    bad = http.post("/v1/predict", json={"model": "goods-cost", "rows": [{"size": "large"}]})
    assert bad.status_code == 422
    assert "body.rows[0].size" in bad.text
    assert http.post("/v1/predict", json={"model": "goods-cost", "rows": []}).status_code in (400, 422)
    assert http.post("/v1/predict", json={"model": "nobody", "rows": rows}).status_code == 404


@pytest.mark.parametrize("classes", [(), ("a", "b")])
def test_without_its_weights_a_version_validates_and_tells_the_same(classes: tuple[str, ...]) -> None:
    model, question = servable(classes), ask({})
    face = model.asleep()
    (result,) = compute(model, [face.validate(question)])
    assert isinstance(result, TabularPrediction)
    assert face.plain(result) == model.plain(result)
    assert face.info(default=False) == model.info(default=False)
    assert (face.kind, face.members, face.weight(face.probe())) == (model.kind, model.members, 1)
