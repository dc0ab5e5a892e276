"""A fitted model to ask, from the registry or a folder, and the data that it is asked about."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from apps.pipelines.source import load_rows
from apps.reports.words import steps_in_words
from cluster.errors import UserError
from cluster.registry.version import SemanticVersion
from cluster.settings import Settings
from training.core.artifact import load_artifact, verify
from training.core.estimator import Forecaster
from training.core.panel import Panel
from training.core.schema import Schema
from training.core.validation import ID, TIME
from training.models import MODELS


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A model in memory.

    Parameters
    ----------
    name
        Registered name and version, or the folder.
    forecaster
        Fitted and calibrated.
    schema
        Of the data it was fitted on.
    """

    name: str
    forecaster: Forecaster
    schema: Schema

    @classmethod
    def open(cls, model: str, settings: Settings, *, version: str | None = None) -> Fitted:
        """Load an artifact's folder, or a registered version: that in production, else the newest, when None.

        Raises
        ------
        UnknownNameError
            There is no such model or version.
        ArtifactCorrupt
            A file does not have its digest.
        UserError
            It forecasts nothing.
        """
        if Path(model).is_dir():
            return cls._load(Path(model), model)
        from cluster.registry.mlflow_registry import open_registry

        registry = open_registry(settings)
        found = registry.get(model, SemanticVersion.parse(version) if version else None)
        with tempfile.TemporaryDirectory() as folder:
            return cls._load(registry.fetch(found, Path(folder) / "artifact"), f"{found.name} {found.version}")

    @classmethod
    def _load(cls, folder: Path, name: str) -> Fitted:
        kind = verify(folder).model
        if kind not in MODELS:
            raise UserError(
                f"'{name}' forecasts nothing: got '{kind}', expected a model of series, one of {', '.join(MODELS)}"
            )
        forecaster, manifest = load_artifact(folder, MODELS)
        return cls(name=name, forecaster=forecaster, schema=Schema.from_json(manifest.schema))

    def span(self) -> str:
        """Return the horizon in words, such as `24 hours`."""
        return steps_in_words(self.forecaster.horizon, self.schema.frequency)

    def units(self) -> dict[str, str]:
        """Return target -> unit."""
        return {target: self.schema.column(target).unit for target in self.forecaster.targets}


@dataclass(frozen=True, kw_only=True)
class Situation:
    """Where a model is asked from.

    Parameters
    ----------
    history
        The rows up to now of each series.
    future
        What is known of the rows after; None where the model knows nothing ahead.
    """

    history: Panel
    future: pd.DataFrame | None

    @classmethod
    def load(
        cls, source: str, fitted: Fitted, *, future: Path | None, timestamp: str = TIME, series: str | None = None
    ) -> Situation:
        """Read what a fitted model is asked from; see `read`."""
        model = fitted.forecaster
        return cls.read(
            source,
            fitted.schema,
            context=model.context,
            known=model.known,
            horizon=model.horizon,
            future=future,
            timestamp=timestamp,
            series=series,
        )

    @classmethod
    def read(
        cls,
        source: str,
        schema: Schema,
        *,
        context: int,
        known: Sequence[str],
        horizon: int,
        future: Path | None,
        timestamp: str = TIME,
        series: str | None = None,
    ) -> Situation:
        """Read history and future.

        Where the model knows columns ahead and there is no file of them, the last rows of `source` are held back:
        what it knew of them is the future, and the history ends before.

        Parameters
        ----------
        context, known, horizon
            Rows of history that the model needs, columns that it knows ahead, rows that it knows of them.
        future
            A file of the rows ahead.

        Raises
        ------
        DataError
            A file has a fault.
        InsufficientHistoryError
            A series is too short.
        """
        held = horizon if known and future is None else 0
        rows = load_rows(source, schema, minimum_rows=context + held, timestamp=timestamp, series=series)
        if future is not None:
            columns = tuple(replace(schema.column(name), role="past") for name in known)
            ahead = replace(schema, targets=columns, covariates=()) if columns else schema
            return cls(history=rows, future=load_rows(str(future), ahead, timestamp=timestamp, series=series).frame)
        if not held:
            return cls(history=rows, future=None)
        last = rows.frame.groupby(ID, sort=False).cumcount(ascending=False) < held
        history = Panel(rows.frame[~last].reset_index(drop=True), schema)
        return cls(history=history, future=rows.frame[last].reset_index(drop=True))

    def ending(self, rows: int) -> Situation:
        """Return the same with no more than each series' last `rows` rows of history."""
        last = self.history.frame.groupby(ID, sort=False).tail(rows)
        return replace(self, history=Panel(last, self.history.schema))
