"""What travels over HTTP where rows of a table are predicted."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, FailFast, Field, ValidationError

from serve_deployments.schemas import MAX_COLUMNS, MAX_NAME, ModelRef, Name, UnreadableError, Wire

MAX_PREDICTED = 5000
MAX_TEXT = 1000

EXAMPLE: dict[str, Any] = {
    "model": "houses-price",
    "rows": [{"area_m2": 84.0, "built": "1998-05-01", "district": "north", "lift": True}],
}

ColumnName = Annotated[str, Field(max_length=MAX_NAME)]
Value = float | int | bool | Annotated[str, Field(max_length=MAX_TEXT)] | None
TableRow = Annotated[dict[ColumnName, Value], Field(max_length=MAX_COLUMNS)]


class PredictRequest(Wire):
    """Ask for the target of some rows."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    model: Name = Field(description="registered name of a model of rows")
    version: Name | None = Field(default=None, description="the model's default version where left out")
    rows: Annotated[list[TableRow], FailFast(), Field(min_length=1, max_length=MAX_PREDICTED)] = Field(
        description="column name -> value; a column that is null or left out is missing"
    )


class RowPrediction(Wire):
    """The answer to one row."""

    prediction: float | str = Field(description="a number, or the most probable class")
    lower: float | None = Field(
        description="nine of ten true numbers lie between lower and upper; null for classes"
    )
    upper: float | None
    probabilities: dict[str, float] | None = Field(description="of each class; null for numbers")


class PredictResponse(Wire):
    """The predictions of one request, in the order of its rows."""

    request_id: str
    model: ModelRef
    created_at: str = Field(description="UTC")
    rung: Literal["primary", "previous"] = Field(
        description="who answered: the wanted version, or the one that stood in for it"
    )
    fallback_reason: str | None = Field(description="why the wanted version did not answer; none on the primary")
    target: str
    task: str
    predictions: list[RowPrediction]


def read_predict(value: Any) -> PredictRequest:
    """Return the request that a JSON value holds; raise UnreadableError."""
    try:
        return PredictRequest.model_validate(value)
    except ValidationError as error:
        raise UnreadableError(list(error.errors(include_url=False))) from error
