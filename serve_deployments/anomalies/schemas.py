"""What travels over HTTP where anomalies are asked for."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import ConfigDict, FailFast, Field, ValidationError

from serve_deployments.schemas import (
    MAX_COLUMNS,
    MAX_NAME,
    MAX_ROWS,
    MAX_SERIES,
    Instants,
    ModelRef,
    Name,
    UnreadableError,
    Wire,
)

W = TypeVar("W", bound=Wire)
MAX_WINDOWS = 64
MAX_TEXT = 500
ColumnName = Annotated[str, Field(max_length=MAX_NAME)]
Readings = Annotated[list[float | None], FailFast(), Field(max_length=MAX_ROWS)]
Instant = Annotated[str, Field(max_length=32)]

EXAMPLE: dict[str, Any] = {
    "model": "meters",
    "series": [
        {
            "series_id": "site-1",
            "timestamps": ["2024-06-01T00:00:00", "2024-06-01T01:00:00", "2024-06-01T02:00:00"],
            "values": {"kwh": [101.2, None, 180.4]},
        }
    ],
    "since": "2024-06-01T01:00:00",
}


class WatchedSeries(Wire):
    """Rows of one series, column by column."""

    series_id: Name
    timestamps: Instants = Field(
        min_length=1, description="ISO 8601 without time zone, one a row, in order; gaps are allowed"
    )
    values: dict[ColumnName, Readings] = Field(
        min_length=1,
        max_length=MAX_COLUMNS,
        description="column name -> numbers, one a row, null where a value is missing",
    )


class MaintenanceWindow(Wire):
    """A time in which nobody is told of events."""

    series: Name = Field(description="id, or a pattern with * and ?")
    start: Instant
    end: Instant
    reason: Annotated[str, Field(min_length=1, max_length=MAX_TEXT)]


class DetectRequest(Wire):
    """Ask which rows of some series are strange."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    model: Name = Field(description="registered name of an alarm model")
    version: Name | None = Field(default=None, description="the model's default version where left out")
    series: Annotated[list[WatchedSeries], FailFast(), Field(min_length=1, max_length=MAX_SERIES)]
    since: Instant | None = Field(
        default=None, description="rows before this time lead in and are not judged; all are judged where left out"
    )
    maintenance: list[MaintenanceWindow] = Field(default_factory=list, max_length=MAX_WINDOWS)


class ExplainRequest(DetectRequest):
    """Ask why the events of some rows are what they are."""

    event: Name | None = Field(default=None, description="an event's id; all events where left out")


class FeedbackRequest(DetectRequest):
    """Say what an event of some rows turned out to be; the rows are judged again, so that it can be kept."""

    event: Name = Field(description="an event's id, as detect and explain tell it")
    outcome: Literal["confirmed", "dismissed"]
    note: Annotated[str, Field(max_length=MAX_TEXT)] = Field(
        default="", description="what it was: shown with similar events later"
    )


class FeedbackResponse(Wire):
    """What a judgement changed."""

    request_id: str
    event: str
    series_id: str
    outcome: str
    alarms_factor: float = Field(description="alarms that the series' threshold lets through now over those before")
    what: str


class StreamRow(Wire):
    """One row of one series; one line of a stream."""

    series_id: Name
    timestamp: Instant
    values: dict[ColumnName, float | None] = Field(min_length=1, max_length=MAX_COLUMNS)


class EventInfo(Wire):
    """Rows that are strange together."""

    event: str = Field(description="the same for the same series and start")
    series_id: str
    start: str
    end: str
    peak: str
    rows: int
    score: float
    level: float = Field(description="the score had to be above it as the event began")
    p_value: float = Field(description="chance of such a score at a usual row")
    events_per_month: float = Field(description="how often events reach as high while all is as usual")
    type: str
    type_reason: str
    severity: str
    severity_reason: str
    status: str = Field(description="alarm: somebody is told; repeat, maintenance: only kept")
    status_reason: str


class SeriesScores(Wire):
    """The judged rows of one series, and their events."""

    series_id: str
    timestamps: list[str]
    scores: list[float | None] = Field(description="higher is stranger; null where a row cannot be judged")
    p_values: list[float | None]
    strange: list[bool]
    alarm: list[bool] = Field(description="the row lies in an event that somebody is told of")
    level: float = Field(description="as the model was fitted, moved by feedback; it follows the rows from there")
    budget_alarms_per_month: float
    events: list[EventInfo]


class DetectResponse(Wire):
    """What is strange."""

    request_id: str
    model: ModelRef
    created_at: str = Field(description="UTC")
    rung: str = Field(default="primary", description="who answered: the version itself, or what stood in for it")
    fallback_reason: str | None = None
    series: list[SeriesScores]


class FactorInfo(Wire):
    """One column's part in an event."""

    column: str
    unit: str
    share: float = Field(ge=0, le=1)
    contribution: float | None = Field(description="by how much it raised the score; null where it was not asked")
    deviation: float = Field(description="in standard deviations, given the time and the other columns")
    value: float | None
    normal_low: float = Field(description="what would have been normal, 95 %")
    normal_high: float
    sentence: str


class ImpactInfo(Wire):
    """What an event amounts to."""

    column: str
    amount: float
    unit: str
    days: float
    basis: str


class ActionInfo(Wire):
    """What to do, and the rule that says so."""

    text: str
    rule: str


class SimilarInfo(Wire):
    """A past event and what came of it."""

    event: str
    series: str
    similarity: float
    outcome: str
    note: str
    summary: str


class ExplainedEvent(EventInfo):
    """An event, and why."""

    types: dict[str, str]
    factors: list[FactorInfo]
    similar: list[SimilarInfo]
    actions: list[ActionInfo]
    impacts: list[ImpactInfo]


class ExplainResponse(Wire):
    """Why events are what they are, the most severe alarms first."""

    request_id: str
    model: ModelRef
    created_at: str = Field(description="UTC")
    rung: str = Field(default="primary", description="who answered: the version itself, or what stood in for it")
    fallback_reason: str | None = None
    events: list[ExplainedEvent]


def read_detect(value: Any) -> DetectRequest:
    """Return the request that a JSON value holds; raise UnreadableError."""
    return _read(DetectRequest, value)


def read_explain(value: Any) -> ExplainRequest:
    """Return the request that a JSON value holds; raise UnreadableError."""
    return _read(ExplainRequest, value)


def read_feedback(value: Any) -> FeedbackRequest:
    """Return the request that a JSON value holds; raise UnreadableError."""
    return _read(FeedbackRequest, value)


def read_row(value: Any) -> StreamRow:
    """Return the stream's row that a JSON value holds; raise UnreadableError."""
    return _read(StreamRow, value)


def _read(kind: type[W], value: Any) -> W:
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        raise UnreadableError(list(error.errors(include_url=False))) from error
