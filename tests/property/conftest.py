"""The served application with every route and a model of each kind, in this process and without Ray."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cluster.clock import ManualClock
from cluster.monitoring.metrics import Metrics
from cluster.security.access import Access
from cluster.storage.files import Storage
from serve_deployments.access_step import AccessStep, ModelAccessStep
from serve_deployments.admission import Limits
from serve_deployments.anomalies.connection import StreamLimits, Streams, stream_routes
from serve_deployments.anomalies.feedback_route import feedback_routes
from serve_deployments.anomalies.servable import AlarmServable
from serve_deployments.handlers.kinds import load
from serve_deployments.handlers.shelf import Shelf
from serve_deployments.ingress import Ingress, build_api
from serve_deployments.resilience.net import SafetyNet
from serve_deployments.resilience.safety_spec import SafetySpec
from serve_deployments.rollout.routes import rollout_routes
from serve_deployments.rows.servable import RowsServable
from serve_deployments.service import fused_service
from serve_deployments.steps import DoorStep
from training.alarms.alarm_model import AlarmModel
from training.core.panel import Panel
from training.core.schema import Column, Schema
from training.core.table import Feature, TableSchema
from training.core.validation import ID, TIME
from training.tabular.blend import Blend
from training.tabular.encoding import TableEncoder
from training.tabular.ensemble import Member, TabularEnsemble
from training.tabular.linear import LinearRegressor

NOW_S = 1_700_000_000.0
LIMITS = Limits(max_body_bytes=200_000, request_timeout_s=30, max_concurrent_requests=4, max_queued_requests=4)
SITE = Schema(
    name="site", frequency="h", targets=(Column(name="kwh", unit="kWh"),), covariates=(), season_length=24
)


def rows_model() -> RowsServable:
    """Return a fitted model of rows: a price from a size, a colour and a day."""
    rng, count = np.random.default_rng(1), 80
    frame = pd.DataFrame(
        {
            "size": rng.normal(size=count),
            "colour": rng.choice(["red", "blue"], count),
            "built": pd.date_range("2020-01-01", periods=count).astype(str),
        }
    )
    features = [("size", "number"), ("colour", "category"), ("built", "date")]
    schema = TableSchema(
        name="goods",
        features=tuple(Feature(name=name, kind=kind) for name, kind in features),  # type: ignore[arg-type]
        target="cost",
        task="regression",
    )
    cost = (frame["size"] * 3 + (frame["colour"] == "red")).to_numpy(dtype=np.float64)
    encoder = TableEncoder(view="robust")
    inputs = encoder.fit_transform(schema.read(frame), cost, 0)
    member = Member(model=LinearRegressor().fit(inputs, cost), encoder=0, candidate=0, bend={})
    blend = Blend(kind="vote", weights=np.array([1.0]), bias=np.zeros(1))
    ensemble = TabularEnsemble.of(schema, [encoder], [member], blend, np.linspace(-1, 1, 50))
    return RowsServable.of(ensemble, schema, name="goods", version="1.0.0", metrics={})


def alarm_model() -> AlarmServable:
    """Return a fitted model of alarms."""
    hours = np.arange(400)
    usual = 100 + 20 * np.sin(hours / 24 * 2 * np.pi) + np.random.default_rng(2).normal(0, 2, len(hours))
    times = pd.date_range("2024-01-01", periods=len(hours), freq="h")
    frame = pd.DataFrame({ID: "a", TIME: times, "kwh": usual})
    model = AlarmModel(detector="moving_average", detector_params={"window": 24}).fit(Panel(frame, SITE))
    return AlarmServable.of(model, SITE, name="meters", version="1.0.0", metrics={})


class Whole:
    """Builds the application.

    Parameters
    ----------
    forecaster
        Artifact of `nox`.
    office_in
        Makes rollouts and experiments in a folder.
    """

    def __init__(self, forecaster: Path, office_in: Callable[[Path], Any]) -> None:
        self._office_in = office_in
        nox = load(forecaster, kind="forecast", name="nox", version="1.0.0", metrics={})
        self._models = [nox, rows_model(), alarm_model()]

    def build(
        self,
        folder: Path,
        *,
        access: Access | None = None,
        outside: Sequence[DoorStep] = (),
        inside: Sequence[DoorStep] = (),
    ) -> Ingress:
        """Return it with states in a folder; `access` switches keys on, between the door's other steps."""
        clock, metrics, shelf = ManualClock(NOW_S), Metrics(), Shelf(self._models)
        net = SafetyNet(SafetySpec(), application="t", replica="r", shelf=shelf, metrics=metrics, clock=clock)
        service = fused_service(
            shelf,
            limits=LIMITS,
            target_s=0.05,
            max_batch_size=8,
            threads=2,
            metrics=metrics,
            clock=clock,
            steps=[ModelAccessStep(access), *net.steps] if access else net.steps,
        )
        desk = self._office_in(folder).desk(profile="development", act=_unrecorded)
        more = [
            stream_routes(Streams(StreamLimits()), access),
            feedback_routes(Storage(str(folder / "events")), clock),
            net.routes(),
            rollout_routes(lambda: desk),
        ]
        door = [*outside, *([AccessStep(access)] if access else []), *inside]
        app = build_api(service, door=door, more=more)
        assert isinstance(app, Ingress)
        return app


def _unrecorded(actor: str, action: str, target: str, details: Mapping[str, Any]) -> None:
    """Let every act pass: what is put on record has its own tests."""


@pytest.fixture(scope="session")
def whole(ensemble_folder: Path, office_in: Callable[[Path], Any]) -> Whole:
    """Build the application with every route and a model of each kind."""
    return Whole(ensemble_folder, office_in)
