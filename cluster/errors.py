"""The error tree: a class answers what the caller can do.

    HeliotropeError
    ├── UserError 4xx             mend the request, the data or the settings
    │   ├── ConfigError 400
    │   ├── DataError 422
    │   │   └── SchemaError 422
    │   ├── InsufficientHistoryError 422
    │   ├── LookAheadError 422
    │   ├── NotFittedError 409
    │   ├── UnknownNameError 404
    │   ├── PayloadTooLargeError 413
    │   ├── UnauthenticatedError 401
    │   └── ForbiddenError 403
    ├── GateRefused 409           the candidate is not good enough; the message says by how much
    ├── TransientError 503        try again after `retry_after_s`
    │   └── RateLimitedError 429
    └── PermanentError 500        trying again does not help
        ├── ArtifactCorrupt
        ├── SignatureMismatch
        └── TrainingDiverged

A message says what happened, what was got, what was expected, and which knob to turn.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, ClassVar, Self


class HeliotropeError(Exception):
    """Root of the tree: a message for people, and a context for programs.

    Parameters
    ----------
    message
        What happened, got, expected, and what to do.
    **context
        JSON-able facts (`column=`, `row=`, `got=`, `expected=` …). They travel into problem documents.
    """

    http_status: ClassVar[int] = 500

    def __init__(self, message: str, **context: Any) -> None:
        super().__init__(message)
        self.message = message
        self.context = context

    def __reduce__(self) -> tuple[Any, ...]:
        """Survive a trip between processes with the context."""
        return _rebuild, (type(self), self.message, self.context)

    def __str__(self) -> str:
        return self.message


def _rebuild(kind: type[HeliotropeError], message: str, context: dict[str, Any]) -> HeliotropeError:
    error = kind.__new__(kind)
    HeliotropeError.__init__(error, message, **context)
    return error


class UserError(HeliotropeError):
    """The caller can mend it."""

    http_status = 400


class ConfigError(UserError):
    """A setting or option is unknown, missing or out of range."""


class DataError(UserError):
    """A value in the data is not what the schema allows."""

    http_status = 422

    @classmethod
    def at(
        cls, what: str, *, got: Any, expected: str, column: str | None = None, row: Any = None, **more: Any
    ) -> Self:
        """Build the standard message `what: column C, row R: got G, expected E`."""
        named = {"column": column and f"'{column}'", "row": row}
        place = ", ".join(f"{key} {value}" for key, value in named.items() if value is not None)
        message = f"{what}: {place + ': ' if place else ''}got {got}, expected {expected}"
        return cls(message, column=column, row=row, got=str(got), expected=expected, **more)


class SchemaError(DataError):
    """The table's shape is wrong: a column is missing, doubled or of the wrong type."""


class InsufficientHistoryError(UserError):
    """The history is shorter than the model needs."""

    http_status = 422


class LookAheadError(UserError):
    """A computation would have seen the future."""

    http_status = 422


class NotFittedError(UserError):
    """The estimator was asked before it was fitted."""

    http_status = 409


class UnknownNameError(UserError):
    """A name is not in the list; the message shows the list."""

    http_status = 404

    @classmethod
    def of(cls, kind: str, name: str, known: Iterable[str]) -> Self:
        """Build the message with the known names and the nearest of them."""
        names = sorted(known)
        near = get_close_matches(name, names, n=1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        listed = ", ".join(names) or "none yet"
        return cls(f"unknown {kind} '{name}'.{hint} Known: {listed}", kind=kind, name=name, known=names)


class PayloadTooLargeError(UserError):
    """The request is larger than the limit."""

    http_status = 413


class UnauthenticatedError(UserError):
    """No valid key came with the request."""

    http_status = 401


class ForbiddenError(UserError):
    """The key is valid, its role does not allow this."""

    http_status = 403


class GateRefused(HeliotropeError):  # noqa: N818 - a refusal is an answer, not a fault
    """A candidate did not pass its gate."""

    http_status = 409


class TransientError(HeliotropeError):
    """Try again after `retry_after_s` seconds."""

    http_status = 503

    def __init__(self, message: str, *, retry_after_s: float = 1.0, **context: Any) -> None:
        super().__init__(message, retry_after_s=retry_after_s, **context)

    @property
    def retry_after_s(self) -> float:
        """Seconds to wait before the next try."""
        return float(self.context["retry_after_s"])


class RateLimitedError(TransientError):
    """A caller asks more often than it may; the others are served."""

    http_status = 429


class PermanentError(HeliotropeError):
    """Trying again does not help; somebody has to look."""


class ArtifactCorrupt(PermanentError):  # noqa: N818
    """A file of an artifact does not have the digest in its manifest."""


class SignatureMismatch(PermanentError):  # noqa: N818
    """An artifact does not fit the code or the schema that loads it."""


class TrainingDiverged(PermanentError):  # noqa: N818
    """The loss became NaN or infinite."""
