"""The routes that models answer: one line a kind of question."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cluster.security.roles import Permission
from serve_deployments.anomalies.schemas import (
    DetectRequest,
    DetectResponse,
    ExplainRequest,
    ExplainResponse,
    read_detect,
    read_explain,
)
from serve_deployments.anomalies.servable import AlarmServable
from serve_deployments.handlers import arrow
from serve_deployments.handlers.forecast import ForecastModel
from serve_deployments.rows.schemas import PredictRequest, PredictResponse, read_predict
from serve_deployments.rows.servable import RowsServable
from serve_deployments.schemas import ForecastRequest, ForecastResponse, Wire, read_request

FORECAST_PATH = "/v1/emissions/forecast"


@dataclass(frozen=True, kw_only=True)
class QuestionRoute:
    """A POST route whose body is a question to a model.

    Parameters
    ----------
    path
        Without parameters.
    kind
        Of the servables that answer.
    permission
        What a key needs.
    read
        JSON value -> typed question, with the attributes `model` and `version`; raises UnreadableError.
    read_table
        (body, query string) -> the same of an Arrow stream; None where only JSON is taken.
    request, response
        Their schemas, for the OpenAPI document.
    summary
        One sentence of the OpenAPI document.
    """

    path: str
    kind: str
    permission: Permission
    read: Callable[[Any], Any]
    read_table: Callable[[bytes, str], Any] | None = None
    request: type[Wire]
    response: type[Wire]
    summary: str


QUESTIONS: tuple[QuestionRoute, ...] = (
    QuestionRoute(
        path=FORECAST_PATH,
        kind=ForecastModel.kind,
        permission=Permission.FORECAST,
        read=read_request,
        read_table=arrow.read,
        request=ForecastRequest,
        response=ForecastResponse,
        summary="Forecast each series of the request, with intervals.",
    ),
    QuestionRoute(
        path="/v1/anomalies/detect",
        kind=AlarmServable.kind,
        permission=Permission.DETECT,
        read=read_detect,
        request=DetectRequest,
        response=DetectResponse,
        summary="Score each row, and tell the events that are strange within the model's budget of false alarms.",
    ),
    QuestionRoute(
        path="/v1/anomalies/explain",
        kind=AlarmServable.kind,
        permission=Permission.EXPLAIN,
        read=read_explain,
        request=ExplainRequest,
        response=ExplainResponse,
        summary="Tell why events are what they are, what would have been normal, and what to do.",
    ),
    QuestionRoute(
        path="/v1/predict",
        kind=RowsServable.kind,
        permission=Permission.FORECAST,
        read=read_predict,
        request=PredictRequest,
        response=PredictResponse,
        summary="Predict the target of each row: a number with its interval, or classes with probabilities.",
    ),
)
