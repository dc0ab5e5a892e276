"""What travels over HTTP. The only module with pydantic in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, FailFast, Field, ValidationError

MAX_SERIES = 256
MAX_ROWS = 20_000
MAX_COLUMNS = 256
MAX_HORIZON = 10_000
MAX_LEVELS = 33
MAX_NAME = 200
MAX_EXPLAINED = 8

EXAMPLE_REQUEST: dict[str, Any] = {
    "model": "gas-turbine-nox",
    "series": [
        {
            "series_id": "plant-1",
            "timestamps": ["2015-06-01T00:00:00", "2015-06-01T01:00:00", "2015-06-01T02:00:00"],
            "values": {"NOX": [63.1, 62.8, 64.0], "AT": [18.2, 17.9, 17.5]},
        }
    ],
    "horizon": 24,
    "levels": [0.05, 0.5, 0.95],
}

Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME)]
Numbers = Annotated[list[float], FailFast(), Field(max_length=MAX_ROWS)]
Instants = Annotated[list[Annotated[str, Field(max_length=32)]], FailFast(), Field(max_length=MAX_ROWS)]


class Wire(BaseModel):
    """What every body is: strict, frozen, without unknown fields."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class Series(Wire):
    """One series' history, column by column: small on the wire, and one array each on arrival."""

    series_id: Name
    timestamps: Instants = Field(
        min_length=1,
        description="ISO 8601 without time zone, one a row, in order, at the model's frequency",
    )
    values: dict[Annotated[str, Field(max_length=MAX_NAME)], Numbers] = Field(
        min_length=1,
        max_length=MAX_COLUMNS,
        description="column name -> numbers, one a row, in the unit that GET /api/models tells",
    )
    future: dict[Annotated[str, Field(max_length=MAX_NAME)], Numbers] | None = Field(
        default=None,
        max_length=MAX_COLUMNS,
        description="column that the model knows ahead -> numbers, one for each step of its whole horizon",
    )


class ForecastRequest(Wire):
    """Ask for a forecast after the end of each series."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE_REQUEST]})

    model: Name = Field(description="registered name; GET /api/models lists them")
    version: Name | None = Field(default=None, description="the model's default version where left out")
    series: Annotated[list[Series], FailFast(), Field(min_length=1, max_length=MAX_SERIES)]
    horizon: int | None = Field(
        default=None, ge=1, le=MAX_HORIZON, description="steps ahead, at most the model's horizon (the default)"
    )
    levels: Annotated[list[float], Field(min_length=2, max_length=MAX_LEVELS)] | None = Field(
        default=None,
        description="quantile levels, increasing within (0, 1); the first and the last bound the interval",
    )
    explain: bool = Field(
        default=False,
        description=f"also tell what moved each forecast; at most {MAX_EXPLAINED} series, and not in a millisecond",
    )


class BulkOptions(BaseModel):
    """What the query of a table says: a forecast request without its series."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    model: Name
    version: Name | None = None
    horizon: int | None = Field(default=None, ge=1, le=MAX_HORIZON)
    levels: Annotated[list[float], Field(min_length=2, max_length=MAX_LEVELS)] | None = None


class Factor(Wire):
    """What one driver contributed to a forecast, summed over its steps."""

    series_id: str
    target: str
    driver: str
    contribution: float = Field(description="in the target's unit; base + contributions are the forecast")
    share: float = Field(description="its size over all sizes")
    standard_error: float = Field(description="0 where it is exact")


class ModelRef(Wire):
    """Which version of which model answered."""

    name: str
    version: str


class Step(Wire):
    """The forecast of one point in time, in the target's unit."""

    timestamp: str
    prediction: float
    lower: float = Field(description="quantile at the lowest level")
    upper: float = Field(description="quantile at the highest level")
    confidence: float = Field(
        ge=0, le=1, description="share of calibration forecasts at this step within 10 % of this prediction"
    )
    quantiles: dict[str, float] = Field(description="level -> value")


class TargetForecast(Wire):
    """One target of one series."""

    series_id: str
    target: str
    unit: str
    steps: list[Step]


class ForecastResponse(Wire):
    """The forecasts of one request."""

    request_id: str
    model: ModelRef
    created_at: str = Field(description="UTC")
    rung: Literal["primary", "previous", "rule-based", "default"] = Field(
        description="who answered: the wanted version, or who stood in for it"
    )
    fallback_reason: str | None = Field(description="why the rungs above did not answer; none on the primary")
    interval_level: float = Field(description="share of true values that lower .. upper is calibrated to hold")
    forecasts: list[TargetForecast]
    explanation: list[Factor] | None = Field(default=None, description="where asked for; the largest first")


class ColumnInfo(Wire):
    """A column that a request carries."""

    name: str
    unit: str
    kind: str
    low: float | None
    high: float | None


class ModelInfo(Wire):
    """A served version."""

    name: str
    version: str
    default: bool = Field(description="answers requests without a version")
    targets: list[str]
    horizon: int
    context: int = Field(description="rows of history that a series needs")
    frequency: str
    columns: list[ColumnInfo]
    known: list[str] = Field(description="columns that each series' `future` must hold")
    members: list[str]
    metrics: dict[str, float]
    kind: str = Field(default="forecast", description="what it answers")
    series: list[str] | None = Field(default=None, description="of an alarm model: those that it can judge")
    online: bool | None = Field(default=None, description="of an alarm model: whether streams can be judged")


class ModelList(Wire):
    """What is served."""

    models: list[ModelInfo]


class LifeStep(Wire):
    """A stage that a version has arrived at."""

    stage: Literal["LOAD", "WARM", "ACTIVE", "DEGRADED", "ERROR"]
    since: str = Field(description="UTC")
    reason: str


class VersionStatus(LifeStep):
    """Whether a served version answers, as just tried."""

    version: str
    ready: bool
    detail: str
    predictions: int = Field(description="forecasts answered by the replica that replies")
    resident: bool = Field(description="in that replica's memory; if not, it is loaded when it is asked")
    memory_bytes: int | None = Field(description="what it takes there; null where memory is not bounded")
    steps: list[LifeStep] = Field(description="its last stages, oldest first")


class ModelStatus(Wire):
    """Whether a model's versions answer."""

    name: str
    versions: list[VersionStatus]


class Health(Wire):
    """A sign of life."""

    status: str


class FieldFault(BaseModel):
    """One fault and its place."""

    field: str
    got: str
    expected: str
    row: int | None = None


class Problem(BaseModel):
    """An RFC 9457 problem document, with the faults' places."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    request_id: str
    errors: list[FieldFault] = []


class UnreadableError(ValueError):
    """A value does not have the form of a request.

    Attributes
    ----------
    faults
        pydantic's list: `type`, `loc`, `msg`, `input` of each.
    root
        Where in the request the value stood.
    """

    def __init__(self, faults: list[Any], root: str = "body") -> None:
        super().__init__(f"{len(faults)} faults")
        self.faults, self.root = faults, root


def read_request(value: Any) -> ForecastRequest:
    """Return the request that a JSON value holds; raise UnreadableError."""
    try:
        return ForecastRequest.model_validate(value)
    except ValidationError as error:
        raise UnreadableError(list(error.errors(include_url=False))) from error


def read_options(value: Mapping[str, Any]) -> BulkOptions:
    """Return the options that a query holds; raise UnreadableError."""
    try:
        return BulkOptions.model_validate(value)
    except ValidationError as error:
        raise UnreadableError(list(error.errors(include_url=False)), root="query") from error


def openapi_components(reference: str, requests: Sequence[type[BaseModel]]) -> dict[str, Any]:
    """Return the JSON schemas of requests and of problems.

    Parameters
    ----------
    reference
        How one refers to another, with `{model}` for its name.
    requests
        Classes of this module that bodies are read as.
    """
    components: dict[str, Any] = {}
    kinds: list[type[BaseModel]] = [*requests, Problem]
    for kind in kinds:
        schema = kind.model_json_schema(ref_template=reference)
        components.update(schema.pop("$defs", {}))
        components[kind.__name__] = schema
    return components


def table_options(description: str) -> dict[str, dict[str, Any]]:
    """Return name -> what OpenAPI says of each option in the query of a table."""
    levels = {"type": "string", "examples": ["0.1,0.5,0.9"]}  # one text, with commas between
    plain = {
        "model": {"type": "string", "maxLength": MAX_NAME},
        "version": {"type": "string", "maxLength": MAX_NAME},
        "horizon": {"type": "integer", "minimum": 1, "maximum": MAX_HORIZON},
        "levels": levels,
    }
    return {name: {"schema": schema, "description": description} for name, schema in plain.items()}
