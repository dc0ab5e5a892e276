"""The kinds of servables, one line each: which catalog an artifact is loaded by, and what wraps it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.errors import UnknownNameError
from serve_deployments.anomalies.servable import AlarmServable
from serve_deployments.handlers.forecast import ForecastModel
from serve_deployments.rows.servable import RowsServable
from serve_deployments.servable import Servable
from training.alarms.alarm_model import ALARM_MODELS
from training.core.artifact import load_artifact
from training.core.catalog import Catalog
from training.core.schema import Schema
from training.core.table import TableSchema
from training.models import MODELS
from training.tabular import TABULAR_MODELS


@dataclass(frozen=True, kw_only=True)
class Kind:
    """How a kind's artifacts become servables.

    Parameters
    ----------
    catalog
        Of the components that an artifact may name.
    wrap
        (component, schema, name=, version=, metrics=) -> servable; raises SignatureMismatch where it does not fit.
    schema
        Reads the manifest's schema.
    """

    catalog: Catalog[Any]
    wrap: Callable[..., Servable]
    schema: Callable[[dict[str, Any]], Any] = Schema.from_json


KINDS: Mapping[str, Kind] = {
    ForecastModel.kind: Kind(catalog=MODELS, wrap=ForecastModel.of),
    AlarmServable.kind: Kind(catalog=ALARM_MODELS, wrap=AlarmServable.of),
    RowsServable.kind: Kind(catalog=TABULAR_MODELS, wrap=RowsServable.of, schema=TableSchema.from_json),
}


def load(folder: Path, *, kind: str, name: str, version: str, metrics: Mapping[str, float]) -> Servable:
    """Verify an artifact folder and load it.

    Raises
    ------
    ArtifactCorrupt
        A file does not have its digest.
    SignatureMismatch
        The artifact is of another kind, or its schema has other columns.
    UnknownNameError
        There is no such kind.
    """
    if kind not in KINDS:
        raise UnknownNameError.of("kind of model", kind, KINDS)
    component, manifest = load_artifact(folder, KINDS[kind].catalog)
    schema = KINDS[kind].schema(manifest.schema)
    return KINDS[kind].wrap(component, schema, name=name, version=version, metrics=metrics)
