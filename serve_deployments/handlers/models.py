"""The models a process serves, and how a request picks one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cluster.errors import SignatureMismatch, UnknownNameError
from training.core.artifact import load_artifact
from training.core.schema import Column, Schema
from training.core.windows import Windows, future_times
from training.models import MODELS
from training.models.ensemble import Ensemble

PROBE_ORIGIN = "2019-12-31T00:00:00"


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A version in memory.

    Parameters
    ----------
    name, version
        As registered.
    ensemble
        What computes.
    schema
        What requests must look like.
    metrics
        As measured before registration; `accuracy` is 1 - WAPE.
    """

    name: str
    version: str
    ensemble: Ensemble
    schema: Schema
    metrics: Mapping[str, float]

    @property
    def key(self) -> str:
        """Name and version in one word."""
        return f"{self.name}@{self.version}"

    def info(self, *, default: bool) -> dict[str, Any]:
        """Return what GET /api/models tells."""
        return {
            "name": self.name,
            "version": self.version,
            "default": default,
            "targets": list(self.ensemble.targets),
            "horizon": self.ensemble.horizon,
            "context": self.ensemble.context,
            "frequency": self.schema.frequency,
            "columns": [
                {"name": c.name, "unit": c.unit, "kind": c.kind, "low": c.low, "high": c.high}
                for c in self.schema.columns
            ],
            "known": list(self.ensemble.known),
            "members": [member.name for member in self.ensemble.members],
            "metrics": {name: value for name, value in self.metrics.items() if np.isfinite(value)},
        }


def load(folder: Path, *, name: str, version: str, metrics: Mapping[str, float]) -> LoadedModel:
    """Verify an artifact folder and load it.

    Raises
    ------
    ArtifactCorrupt
        A file does not have its digest.
    SignatureMismatch
        The artifact is no ensemble, or its schema has other columns.
    """
    component, manifest = load_artifact(folder, MODELS)
    if not isinstance(component, Ensemble):
        raise SignatureMismatch(
            f"model '{name}' {version} cannot be served: got an artifact of '{manifest.model}', expected 'ensemble'"
        )
    schema = Schema.from_json(manifest.schema)
    if schema.names != component.columns:
        raise SignatureMismatch(
            f"model '{name}' {version} does not fit its own schema: got columns {schema.names}, "
            f"expected {component.columns}"
        )
    return LoadedModel(
        name=name,
        version=version,
        ensemble=component,
        schema=schema,
        metrics=dict(metrics),
    )


class Shelf:
    """The served versions; of each name the one listed first is the default.

    Parameters
    ----------
    models
        In order of preference.
    """

    def __init__(self, models: Sequence[LoadedModel]) -> None:
        self._by_name: dict[str, dict[str, LoadedModel]] = {}
        for model in models:
            self._by_name.setdefault(model.name, {})[model.version] = model

    def __iter__(self) -> Iterator[LoadedModel]:
        return (model for versions in self._by_name.values() for model in versions.values())

    def pick(self, name: str, version: str | None = None) -> LoadedModel:
        """Return the wanted version; raise UnknownNameError with the known ones."""
        versions = self.versions(name)
        if version is None:
            return next(iter(versions.values()))
        if version not in versions:
            raise _unknown("version", "body.version", version, versions)
        return versions[version]

    def versions(self, name: str, field: str = "body.model") -> Mapping[str, LoadedModel]:
        """Return the served versions of a name, the default first."""
        if name not in self._by_name:
            raise _unknown("model", field, name, self._by_name)
        return self._by_name[name]

    def infos(self) -> list[dict[str, Any]]:
        """Return what GET /api/models lists."""
        return [
            model.info(default=place == 0)
            for versions in self._by_name.values()
            for place, model in enumerate(versions.values())
        ]


def _unknown(kind: str, field: str, got: str, known: Mapping[str, Any]) -> UnknownNameError:
    error = UnknownNameError.of(kind, got[:100], known)
    error.context.update(field=field, got=got[:100], expected=f"one of {', '.join(sorted(known))}")
    return error


def probe(model: LoadedModel) -> Windows:
    """Return a context in the middle of the schema's ranges, to see whether the model answers."""
    context = _middling(model, model.schema.names, model.ensemble.context, np.datetime64(PROBE_ORIGIN, "ns"))
    known = model.ensemble.known
    if not known:
        return context
    return replace(context, ahead=_middling(model, known, model.ensemble.horizon, context.last_times[0]))


def _middling(model: LoadedModel, names: tuple[str, ...], rows: int, after: np.datetime64) -> Windows:
    """Return one window of the middles of some columns' ranges."""
    row = np.array([_middle(model.schema.column(name)) for name in names])
    return Windows(
        rows=np.tile(row, (rows, 1)),
        times=future_times(np.array([after]), rows, model.schema.frequency)[0],
        segments=np.array([0, rows], dtype=np.int64),
        starts=np.zeros(1, dtype=np.int64),
        length=rows,
        columns=names,
        series=("probe",),
        frequency=model.schema.frequency,
    )


def _middle(column: Column) -> float:
    low = column.low if column.low is not None else (column.high or 0.0) - 2.0
    high = column.high if column.high is not None else low + 2.0
    middle = (low + high) / 2
    return float(np.floor(middle)) if column.kind == "int" else middle
