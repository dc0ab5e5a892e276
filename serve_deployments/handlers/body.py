"""A request's bytes: read up to a limit, parsed as strict JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, NoReturn

import orjson
from starlette.requests import ClientDisconnect

from cluster.errors import PayloadTooLargeError, UserError
from serve_deployments.patience import Patience
from serve_deployments.steps import Receive, Visit

JSON = "application/json"
SHOWN_BYTES = 24
# Finds the end of every key, and now and then something inside a string: never fewer than there are keys.
_KEY_ENDS, _KEY_END = re.compile(rb'"\s*:'), b'":'
_QUOTE_BY_NUMBER = b"\\u0022"
_SPACES = (b" ", b"\t", b"\n", b"\r")


class MalformedBodyError(UserError):
    """The body is not JSON as RFC 8259 and this service want it."""


class UnsupportedMediaTypeError(UserError):
    """The body is not announced as plain JSON."""

    http_status = 415


class RequestTimeoutError(UserError):
    """The body did not arrive in time."""

    http_status = 408


def check_headers(
    content_type: str, content_encoding: str, content_length: str, limit_bytes: int, kinds: Sequence[str] = (JSON,)
) -> None:
    """Refuse a body by its headers alone, before a byte of it is read.

    Raises
    ------
    UnsupportedMediaTypeError
        Not JSON, or compressed.
    PayloadTooLargeError
        The announced length is over `limit_bytes`.
    """
    if kind_of(content_type) not in kinds:
        _refuse_header("content-type", content_type, " or ".join(kinds))
    if content_encoding.strip().lower() not in ("", "identity"):
        _refuse_header("content-encoding", content_encoding, "identity (no compression)")
    if content_length.isdecimal() and int(content_length[:20]) > limit_bytes:
        raise too_large(f"{content_length[:20]} bytes", limit_bytes)


def kind_of(content_type: str) -> str:
    """Return a media type without its parameters."""
    return content_type.partition(";")[0].strip().lower()


def _refuse_header(name: str, got: str, expected: str) -> NoReturn:
    shown = got[:80] or "nothing"
    raise UnsupportedMediaTypeError(
        f"header {name}: got {shown}, expected {expected}",
        field=f"header.{name}",
        got=shown,
        expected=expected,
    )


def too_large(got: str, limit_bytes: int) -> PayloadTooLargeError:
    """Return the error for a body over the limit."""
    return PayloadTooLargeError(
        f"the body is too large: got {got}, expected at most {limit_bytes} bytes; "
        "send fewer series or rows, or raise ML_MAX_BODY_BYTES",
        field="body",
        got=got,
        expected=f"at most {limit_bytes} bytes",
    )


async def receive(visit: Visit, limit_bytes: int, patience: Patience, kinds: Sequence[str] = (JSON,)) -> bytes:
    """Return the whole body of a request; stop reading at the limit, also where no length was announced.

    Parameters
    ----------
    visit
        The request.
    limit_bytes
        Most bytes.
    patience
        How long it may take to arrive.
    kinds
        Media types that are taken.

    Raises
    ------
    UnsupportedMediaTypeError
        Not JSON, or compressed.
    PayloadTooLargeError
        It is over the limit.
    RequestTimeoutError
        It did not arrive in time.
    ClientDisconnect
        Nobody waits for an answer any more.
    """
    headers = visit.headers
    check_headers(
        headers.get("content-type", ""),
        headers.get("content-encoding", ""),
        headers.get("content-length", ""),
        limit_bytes,
        kinds,
    )
    try:
        with patience.wait():
            return await read(visit.connection[1], limit_bytes)
    except TimeoutError as error:
        raise RequestTimeoutError(
            f"the body did not arrive within {patience.limit_s:g} s",
            field="body",
            got="no end",
            expected="a whole body",
        ) from error


async def read(receive: Receive, limit_bytes: int) -> bytes:
    """Return the body that the server's messages bring, up to the limit."""
    pieces: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        piece, more = message.get("body", b""), message.get("more_body", False)
        pieces.append(piece)
        size += len(piece)
        if size > limit_bytes:
            raise too_large(f"more than {limit_bytes} bytes", limit_bytes)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def parse(body: bytes) -> Any:
    """Return the JSON value of `body`; NaN, Infinity, bad UTF-8, doubled keys and deep nesting are refused.

    Raises
    ------
    MalformedBodyError
        With the fault and its line and column.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise _malformed(body, error) from error
    if _may_hold_doubled(body, value):
        json.loads(body, object_pairs_hook=_refuse_doubled)
    return value


def _may_hold_doubled(body: bytes, value: Any) -> bool:
    """Return whether an object of the body may have a key twice; False is certain.

    Written again, `value` has each key once: then fewer ends of keys are found in it than in the body. Ends within
    strings are found in both, but for a quote that the body writes by its number.
    """
    if _QUOTE_BY_NUMBER in body:
        return True
    try:
        again = orjson.dumps(value)
    except orjson.JSONEncodeError as error:
        raise MalformedBodyError(
            "the body is nested too deeply",
            field="body",
            got="more than 254 levels of objects and arrays",
            expected="the few levels of the API's schema",
        ) from error
    if any(space in body and space + b":" in body for space in _SPACES):
        return len(_KEY_ENDS.findall(body)) != len(_KEY_ENDS.findall(again))
    return body.count(_KEY_END) != again.count(_KEY_END)  # a tenth of a pattern's time


def _malformed(body: bytes, error: orjson.JSONDecodeError) -> MalformedBodyError:
    near = body[error.pos : error.pos + SHOWN_BYTES].decode("utf-8", "backslashreplace")
    place = f"line {error.lineno} column {error.colno}"
    return MalformedBodyError(
        f"the body is not JSON: {error.msg} at {place}",
        field="body",
        got=f"{near!r} at {place}",
        expected="a JSON value (RFC 8259, UTF-8, finite numbers)",
        position=error.pos,
    )


def _refuse_doubled(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise MalformedBodyError(
                f"the body is not JSON this service takes: key '{key[:80]}' appears more than once in one object",
                field="body",
                got=f"key '{key[:80]}' twice",
                expected="each key once",
            )
        found[key] = value
    return found
