"""What the API answers, typed; `raw` holds all of it, with what newer services add."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from training.core.schema import Column, Schema

if TYPE_CHECKING:
    import pandas as pd

Json = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class ServedInfo:
    """What a client must know of a served version.

    Parameters
    ----------
    name, version
        As registered.
    schema
        What its requests must hold.
    context, horizon
        Rows of history it needs, steps it forecasts at most.
    raw
        The whole entry.
    """

    name: str
    version: str
    schema: Schema
    context: int
    horizon: int
    raw: Json = field(repr=False, compare=False)

    @classmethod
    def from_json(cls, info: Json) -> Self:
        """Read an entry of GET /api/models."""
        columns = [Column(**column) for column in info["columns"]]
        schema = Schema(
            name=info["name"],
            frequency=info["frequency"],
            targets=tuple(column for column in columns if column.name in info["targets"]),
            covariates=tuple(column for column in columns if column.name not in info["targets"]),
        )
        return cls(
            name=info["name"],
            version=info["version"],
            schema=schema,
            context=info["context"],
            horizon=info["horizon"],
            raw=info,
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
