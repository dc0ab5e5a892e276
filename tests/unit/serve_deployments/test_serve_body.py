"""Bytes from outside: limits and strict JSON."""

from __future__ import annotations

import asyncio

import pytest

from cluster.errors import PayloadTooLargeError
from serve_deployments.handlers import body
from serve_deployments.handlers.body import MalformedBodyError, UnsupportedMediaTypeError
from serve_deployments.steps import Message, Receive


@pytest.mark.parametrize(
    "text",
    [b"{}", b"[]", b'{"a": 1, "b": {"a": [1, {"a": "\\"a\\": 1"}]}}', b'{"": {"": ""}}', b'{"\\\\": 1}', b'" : "'],
)
def test_json_passes(text: bytes) -> None:
    import json

    assert body.parse(text) == json.loads(text)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (b"", "empty"),
        (b"{", "line 1 column 2"),
        (b'{"a":\n [1,]}', "line 2"),
        (b"NaN", "not JSON"),
        (b'{"a": NaN}', "not JSON"),
        (b'{"a": -Infinity}', "not JSON"),
        (b"1e999", "infinity"),
        (b"-" + b"9" * 400, "infinity"),
        (b"[" * 100_000, "depth"),
        (b"[" * 5000 + b"]" * 5000, "depth"),
        (b'{"a":' * 5000 + b"1" + b"}" * 5000, "depth"),
        (b"\xff\xfe", "UTF-8"),
        (b'"\xc3\x28"', "UTF-8"),
        (b"\xef\xbb\xbf{}", "BOM"),
        (b'"\\ud800"', "surrogate"),
        (b'{"a": 1, "a": 2}', "key 'a' appears more than once"),
        (b'{"x": [{"a": 1, "b": 2, "\\u0061": 3}]}', "key 'a' appears more than once"),
        (b'{"a": 1} {}', "not JSON"),
    ],
)
def test_what_is_not_strict_json_is_refused_with_its_place(text: bytes, fault: str) -> None:
    with pytest.raises(MalformedBodyError) as raised:
        body.parse(text)
    assert fault in str(raised.value)
    assert raised.value.http_status == 400
    assert {"field", "got", "expected"} <= set(raised.value.context)


def _messages(sizes: list[int], taken: list[int]) -> Receive:
    left = iter(sizes)

    async def receive() -> Message:
        taken.append(next(left))
        return {"type": "http.request", "body": b"x" * taken[-1], "more_body": len(taken) < len(sizes)}

    return receive


def test_reading_stops_at_the_limit_without_a_length() -> None:
    taken: list[int] = []
    with pytest.raises(PayloadTooLargeError, match="ML_MAX_BODY_BYTES"):
        asyncio.run(body.read(_messages([60] * 1000, taken), 100))
    assert len(taken) == 2
    assert asyncio.run(body.read(_messages([60, 40], []), 100)) == b"x" * 100


def test_headers_are_judged_before_the_body() -> None:
    body.check_headers("application/json; charset=utf-8", "", "100", 100)
    body.check_headers("Application/JSON", "identity", "", 100)
    with pytest.raises(PayloadTooLargeError):
        body.check_headers("application/json", "", "101", 100)
    with pytest.raises(PayloadTooLargeError):
        body.check_headers("application/json", "", "9" * 5000, 100)
    for kind, encoding in (("text/csv", ""), ("", ""), ("application/json", "gzip")):
        with pytest.raises(UnsupportedMediaTypeError) as raised:
            body.check_headers(kind, encoding, "1", 100)
        assert raised.value.http_status == 415
