"""Problem documents back into the errors they were made of."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import orjson

from apps.client.retry import retry_after_s
from cluster import errors
from cluster.errors import (
    DataError,
    ForbiddenError,
    GateRefused,
    HeliotropeError,
    PayloadTooLargeError,
    PermanentError,
    RateLimitedError,
    TransientError,
    UnauthenticatedError,
    UnknownNameError,
    UserError,
)

PROBLEM = "urn:heliotrope:problem:"
_BY_STATUS: dict[int, type[HeliotropeError]] = {
    401: UnauthenticatedError,
    403: ForbiddenError,
    404: UnknownNameError,
    409: GateRefused,
    413: PayloadTooLargeError,
    422: DataError,
    429: RateLimitedError,
    502: TransientError,
    503: TransientError,
    504: TransientError,
}


def error_of(outcome: httpx.Response | httpx.RequestError, endpoint: str) -> HeliotropeError:
    """Return the error that an answer or a broken connection stands for.

    Its class is the one the service raised, where the tree has it, or else what the status says; its context holds
    the problem document as `problem`, and its `request_id`.
    """
    if isinstance(outcome, httpx.RequestError):
        return TransientError(
            f"{endpoint} does not answer ({outcome or type(outcome).__name__}): is the platform up? "
            "See `heliotrope status`",
            endpoint=endpoint,
        )
    problem = _problem(outcome)
    detail = problem.get("detail") or outcome.text[:200]
    message = f"{outcome.status_code} {problem.get('title', outcome.reason_phrase)}: {detail}"
    context: dict[str, Any] = {"problem": problem, "request_id": outcome.headers.get("x-request-id", "")}
    kind = _kind(outcome.status_code, str(problem.get("type", "")))
    if issubclass(kind, TransientError):
        context["retry_after_s"] = retry_after_s(outcome) or 1.0
    return kind(message, **context)


@contextmanager
def reading(response: httpx.Response, endpoint: str) -> Iterator[None]:
    """Turn what goes wrong while an answer is read into the error that says what was answered."""
    try:
        yield
    except HeliotropeError:
        raise
    except (ValueError, LookupError, TypeError, AttributeError, OSError) as error:
        kind = response.headers.get("content-type", "nothing")
        raise PermanentError(
            f"{endpoint} answered {response.status_code} with what cannot be read: got {len(response.content)} "
            f"bytes of {kind[:80]} ({type(error).__name__}), expected what /openapi.json describes. Is this the "
            "API of Heliotrope, and of this version?",
            endpoint=endpoint,
            request_id=response.headers.get("x-request-id", ""),
        ) from error


def _kind(status: int, problem_type: str) -> type[HeliotropeError]:
    name = "".join(word.title() for word in problem_type.removeprefix(PROBLEM).split("-"))
    for candidate in (getattr(errors, f"{name}Error", None), getattr(errors, name, None) if name else None):
        if isinstance(candidate, type) and issubclass(candidate, HeliotropeError):
            return candidate
    return _BY_STATUS.get(status, UserError if status < 500 else PermanentError)


def _problem(response: httpx.Response) -> dict[str, Any]:
    if "json" not in response.headers.get("content-type", ""):
        return {}
    try:
        found = orjson.loads(response.content)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
