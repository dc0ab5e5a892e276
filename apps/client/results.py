"""What the API answers, typed; `raw` holds all of it, with what newer services add."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from cluster.errors import UserError
from training.core.schema import Column, Schema

if TYPE_CHECKING:
    import pandas as pd

Json = Mapping[str, Any]


ROWS_KIND = "predict"
"""What GET /api/models calls a model of rows."""


@dataclass(frozen=True, kw_only=True)
class ServedInfo:
    """What a client must know of a served version.

    Parameters
    ----------
    name, version
        As registered.
    kind
        What it answers: `forecast`, `detect`, or `predict` for a model of rows.
    columns
        Names of the columns that its requests hold.
    context, horizon
        Rows of history it needs, steps it forecasts at most.
    known
        Columns that it knows ahead: each series' `future` holds them.
    raw
        The whole entry.
    """

    name: str
    version: str
    kind: str
    columns: tuple[str, ...]
    context: int
    horizon: int
    known: tuple[str, ...] = ()
    raw: Json = field(repr=False, compare=False)

    @classmethod
    def from_json(cls, info: Json) -> Self:
        """Read an entry of GET /api/models."""
        return cls(
            name=info["name"],
            version=info["version"],
            kind=info.get("kind", "forecast"),
            columns=tuple(column["name"] for column in info["columns"]),
            context=info["context"],
            horizon=info["horizon"],
            known=tuple(info.get("known", ())),
            raw=info,
        )

    @cached_property
    def schema(self) -> Schema:
        """What the series of its requests look like; raises UserError for a model of rows, which has no series."""
        if self.kind == ROWS_KIND:
            raise UserError(
                f"'{self.name}' predicts rows and has no series: send them with `Client.predict` or "
                "POST /v1/predict"
            )
        columns = [Column(**column) for column in self.raw["columns"]]
        targets = self.raw["targets"]
        return Schema(
            name=self.name,
            frequency=self.raw["frequency"],
            targets=tuple(column for column in columns if column.name in targets),
            covariates=tuple(column for column in columns if column.name not in targets),
        )


@dataclass(frozen=True, kw_only=True)
class ForecastStep:
    """The forecast of one point in time, in the target's unit.

    Parameters
    ----------
    timestamp
        ISO 8601, as the history's.
    prediction, lower, upper
        The forecast and its interval.
    confidence
        Share of calibration forecasts at this step within 10 % of this prediction.
    quantiles
        Level -> value.
    """

    timestamp: str
    prediction: float
    lower: float
    upper: float
    confidence: float
    quantiles: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class TargetForecast:
    """One target of one series.

    Parameters
    ----------
    series_id, target, unit
        What is forecast.
    steps
        In order of time.
    """

    series_id: str
    target: str
    unit: str
    steps: tuple[ForecastStep, ...]


@dataclass(frozen=True, kw_only=True)
class ForecastResult:
    """The forecasts of one request.

    Parameters
    ----------
    request_id
        As in the service's logs.
    model, version
        Who answered.
    created_at
        UTC, ISO 8601.
    interval_level
        Share of true values that lower .. upper is calibrated to hold.
    forecasts
        One a series and target.
    raw
        The whole answer.
    """

    request_id: str
    model: str
    version: str
    created_at: str
    interval_level: float
    forecasts: tuple[TargetForecast, ...]
    raw: Json = field(repr=False, compare=False)

    @classmethod
    def from_json(cls, answer: Json) -> Self:
        """Read the answer of POST /v1/emissions/forecast."""
        return cls(
            request_id=answer["request_id"],
            model=answer["model"]["name"],
            version=answer["model"]["version"],
            created_at=answer["created_at"],
            interval_level=answer["interval_level"],
            forecasts=tuple(map(_target, answer["forecasts"])),
            raw=answer,
        )

    def to_frame(self) -> pd.DataFrame:
        """Return a row for each series, target and step."""
        import pandas as pd

        return pd.DataFrame(
            {
                "series_id": each.series_id,
                "target": each.target,
                "unit": each.unit,
                "timestamp": step.timestamp,
                "prediction": step.prediction,
                "lower": step.lower,
                "upper": step.upper,
                "confidence": step.confidence,
            }
            for each in self.forecasts
            for step in each.steps
        )


@dataclass(frozen=True, kw_only=True)
class RowPrediction:
    """The answer to one row.

    Parameters
    ----------
    prediction
        A number, or the most probable class.
    lower, upper
        Nine of ten true numbers lie between; None for classes.
    probabilities
        Of each class; None for numbers.
    """

    prediction: float | str
    lower: float | None
    upper: float | None
    probabilities: Mapping[str, float] | None


@dataclass(frozen=True, kw_only=True)
class PredictResult:
    """The predictions of rows, all by one version.

    Parameters
    ----------
    request_id
        As in the service's logs; of the first part, where many rows were asked about in parts.
    model, version
        Who answered.
    target, task
        What is predicted: `regression`, a number, or `classification`, one of the classes.
    predictions
        One a row, in their order.
    raw
        The whole answers, one a part.
    """

    request_id: str
    model: str
    version: str
    target: str
    task: str
    predictions: tuple[RowPrediction, ...]
    raw: tuple[Json, ...] = field(repr=False, compare=False)

    @classmethod
    def from_json(cls, answers: Sequence[Json]) -> Self:
        """Read the answers of POST /v1/predict to the parts of one table."""
        first = answers[0]
        return cls(
            request_id=first["request_id"],
            model=first["model"]["name"],
            version=first["model"]["version"],
            target=first["target"],
            task=first["task"],
            predictions=tuple(
                RowPrediction(**{name: row[name] for name in RowPrediction.__dataclass_fields__})
                for answer in answers
                for row in answer["predictions"]
            ),
            raw=tuple(answers),
        )

    def to_frame(self) -> pd.DataFrame:
        """Return a row for each prediction: with its interval, or with the probability of each class."""
        import pandas as pd

        if self.task == "regression":
            return pd.DataFrame(
                [{self.target: row.prediction, "lower": row.lower, "upper": row.upper} for row in self.predictions]
            )
        return pd.DataFrame(
            [
                {self.target: row.prediction}
                | {f"p({name})": share for name, share in (row.probabilities or {}).items()}
                for row in self.predictions
            ]
        )


def _target(found: Json) -> TargetForecast:
    return TargetForecast(
        series_id=found["series_id"],
        target=found["target"],
        unit=found["unit"],
        steps=tuple(
            ForecastStep(**{name: step[name] for name in ForecastStep.__dataclass_fields__})
            for step in found["steps"]
        ),
    )
