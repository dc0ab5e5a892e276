"""The chain of small steps around a request: each sees what is asked, calls the next, sees the answer.

A step is anything with `async def __call__(self, asked, next)`. Two chains are made of them: the *door* handles a
`Visit` (HTTP before the body is read: who asks, how often, what was answered) and returns a `Reply`; the *steps*
handle a `Call` (a typed question to a version: cache, fallback, circuit breaker, traffic split) and return an
`Answer`. Errors pass through both as exceptions and become problem documents outside. A step that is off is not in
the chain and costs nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import orjson

from cluster.security.identity import ANYBODY, Identity
from cluster.security.roles import Permission
from serve_deployments.servable import Servable

Q = TypeVar("Q")
A = TypeVar("A")
Q_contra = TypeVar("Q_contra", contravariant=True)
Next = Callable[[Q], Awaitable[A]]
Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
PRIMARY = "primary"


@dataclass(slots=True, kw_only=True)
class Visit:
    """One HTTP request at the door.

    Parameters
    ----------
    method, path
        As sent.
    route
        The route's pattern, never the path: what may label a metric. `unknown` where there is none.
    permission
        What the route asks of a key.
    headers
        Lower-case names; of a doubled one the first.
    client
        Host it came from.
    request_id
        In every answer and log line.
    identity
        Who asks, once a step has found out.
    connection
        The server's (scope, receive, send).
    body_bytes
        Size of the body, once it is read.
    reply_headers
        What steps add to the answer, be it a problem or not; set before calling the next step.
    """

    method: str
    path: str
    route: str
    permission: Permission
    headers: Mapping[str, str]
    client: str
    request_id: str
    connection: tuple[Scope, Receive, Send]
    identity: Identity = ANYBODY
    body_bytes: int = 0
    reply_headers: list[tuple[bytes, bytes]] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Reply:
    """What goes back.

    Parameters
    ----------
    status
        HTTP's.
    body
        All of it, or its pieces as they come; None where the framework has sent it already.
    media_type
        Of the body.
    headers
        Besides the usual ones.
    """

    status: int
    body: bytes | AsyncIterator[bytes] | None
    media_type: bytes = b"application/json"
    headers: Sequence[tuple[bytes, bytes]] = ()


async def _validate_here(call: Call) -> Any:
    return call.servable.validate(call.question)


@dataclass(slots=True, kw_only=True)
class Call:
    """A typed question to a version. Steps that try another version pass `dataclasses.replace(call, servable=...)`.

    Parameters
    ----------
    question
        As the wire's schema types it.
    servable
        Who shall answer.
    visit
        The request it came with.
    validate
        Makes the job of the question for the servable; in a thread where that takes long.
    """

    question: Any
    servable: Servable
    visit: Visit
    validate: Callable[[Call], Awaitable[Any]] = _validate_here
    _job: Any = field(default=None, init=False, repr=False)

    async def job(self) -> Any:
        """Return the servable's job of the question, made once; raise what `validate` raises."""
        if self._job is None:
            self._job = await self.validate(self)
        return self._job

    @property
    def subject(self) -> bytes | None:
        """What is asked, in a digest that equal questions share; None where that is not known."""
        if self._job is None or not self.servable.may_be_kept(self.question):
            return None
        return self.servable.identity(self._job)


@dataclass(slots=True, kw_only=True)
class Answer:
    """A result, and who gave it. The same object may answer several calls: it holds nothing of a request.

    Parameters
    ----------
    servable
        Who answered.
    result
        What its `describe` returned.
    rung
        Of the fallback ladder; `primary` where nothing failed.
    reason
        Why a lower rung answered; empty on the primary.
    batch_requests
        How many requests shared its batch.
    explanation
        What moved it, where asked for.
    written
        The result's fields, once they are made.
    written_bytes
        Size of their text, once it is written.
    """

    servable: Servable
    result: Any
    rung: str = PRIMARY
    reason: str = ""
    batch_requests: int = 1
    explanation: list[dict[str, Any]] | None = None
    written: dict[str, Any] | None = None
    written_bytes: int = 0

    def plain(self) -> dict[str, Any]:
        """Return the result's fields as orjson writes them, made once."""
        if self.written is None:
            self.written = self.servable.plain(self.result)
        return self.written

    def write(self) -> None:
        """Write the fields as text, so that each further answer only copies it."""
        if self.written_bytes == 0:
            # A copy: orjson's own bytes keep the room they grew in, several times their length.
            texts = {name: bytes(memoryview(orjson.dumps(value))) for name, value in self.plain().items()}
            self.written = {name: orjson.Fragment(text) for name, text in texts.items()}
            self.written_bytes = sum(map(len, texts.values()))


class Step(Protocol[Q_contra, A]):
    """One concern around a request; the two chains are `DoorStep`s and `CallStep`s."""

    async def __call__(self, asked: Q_contra, next: Callable[[Any], Awaitable[A]]) -> A:  # noqa: A002 - its word
        """Return the answer: the next step's, another, or none but an error."""
        ...


DoorStep = Step[Visit, Reply]
CallStep = Step[Call, Answer]


def chain(steps: Sequence[Step[Q, A]], end: Next[Q, A]) -> Next[Q, A]:
    """Return a function that runs the steps in order around `end`; `end` itself where there are none."""
    made = end
    for step in reversed(steps):
        made = _bound(step, made)
    return made


def _bound(step: Step[Q, A], following: Next[Q, A]) -> Next[Q, A]:
    async def run(asked: Q) -> A:
        return await step(asked, following)

    return run
