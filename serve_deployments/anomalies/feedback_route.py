"""`POST /v1/anomalies/feedback`: what an event turned out to be, kept for good, moving later thresholds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from fastapi import Request
from fastapi.responses import Response

from cluster.clock import Clock
from cluster.security.roles import Permission
from cluster.storage.files import Storage
from serve_deployments import problems
from serve_deployments.anomalies.schemas import (
    ExplainRequest,
    FeedbackRequest,
    FeedbackResponse,
    read_feedback,
)
from serve_deployments.anomalies.servable import AlarmServable
from serve_deployments.api import Api, json
from serve_deployments.handlers import body
from serve_deployments.schemas import UnreadableError
from serve_deployments.service import Service
from serve_deployments.steps import Visit
from training.alarms.event import Event
from training.alarms.feedback import Feedback, ThresholdChange

FEEDBACK_PATH = "/v1/anomalies/feedback"


def feedback_routes(storage: Storage, clock: Clock) -> Callable[[Api, Service], None]:
    """Return what adds the route to an application.

    Parameters
    ----------
    storage, clock
        Of the ledger; every replica writes there, each alone.
    """

    def keep(event: Event, asked: FeedbackRequest, by: str) -> ThresholdChange | None:
        feedback = Feedback(storage, clock)
        feedback.keep([event])
        return feedback.judge(event.id, asked.outcome, by=by, note=asked.note)

    def add(api: Api, service: Service) -> None:
        async def feedback(request: Request) -> Response:
            """Keep what an event turned out to be: its series' threshold and similar cases heed it from then on."""
            visit: Visit = request.scope["state"]["visit"]
            asked = await _read(visit, service)
            question = ExplainRequest.model_validate(asked.model_dump(exclude={"outcome", "note"}))
            answer = await service.answer(AlarmServable.kind, question, visit)
            (event,) = answer.result.events
            change = await asyncio.to_thread(keep, event, asked, visit.identity.name)
            said = f"event {event.id} was {asked.outcome} before: nothing changes"
            told = FeedbackResponse(
                request_id=visit.request_id,
                event=event.id,
                series_id=event.series,
                outcome=asked.outcome,
                alarms_factor=1.0 if change is None else change.factor,
                what=said if change is None else change.sentence(),
            )
            return json(told.model_dump())

        api.add(
            "POST",
            FEEDBACK_PATH,
            Permission.FEEDBACK,
            feedback,
            tag=AlarmServable.kind,
            response_model=FeedbackResponse,
            request=FeedbackRequest,
        )

    return add


async def _read(visit: Visit, service: Service) -> FeedbackRequest:
    raw = await service.read_body(visit)
    try:
        return read_feedback(body.parse(raw))
    except UnreadableError as error:
        raise problems.refused(error.faults, "body") from error
