"""Log lines: each names its request, none holds a secret."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Iterator

import pytest

from cluster.monitoring.request_log import PACKAGES, RequestFacts, current, set_up
from cluster.security.api_key import new_key

log = logging.getLogger("serve_deployments.test")


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    loggers = [logging.getLogger(name) for name in PACKAGES]
    before = [(each, each.handlers[:], each.level, each.propagate) for each in loggers]
    yield io.StringIO()
    for each, handlers, level, propagate in before:
        each.handlers[:], each.propagate = handlers, propagate
        each.setLevel(level)


def test_a_json_line_says_what_is_known_of_its_request(stream: io.StringIO) -> None:
    set_up("json", stream=stream)

    async def work(number: int) -> None:
        facts = RequestFacts(request_id=f"r{number}", route="/v1/emissions/forecast", begun_s=1e-9)
        current.set(facts)
        await asyncio.sleep(0)
        facts.key_id, facts.model, facts.version = "0123456789ab", "nox", "1.0.0"
        log.info("request %d answered", number, extra={"status": 200})

    async def together() -> None:
        await asyncio.gather(*map(work, range(3)))

    asyncio.run(together())
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["request_id"] for line in lines] == ["r0", "r1", "r2"]
    told = {"key": "0123456789ab", "model": "nox", "version": "1.0.0", "status": 200, "level": "info"}
    assert lines[1].items() >= {**told, "message": "request 1 answered", "logger": "serve_deployments.test"}.items()
    assert lines[1]["duration_ms"] > 0
    assert lines[1]["time"].endswith("Z")


def test_a_line_outside_a_request_has_no_request(stream: io.StringIO) -> None:
    set_up("json", stream=stream)
    log.warning("alone", extra={"odd": object(), "map": {1: 2}})
    line = json.loads(stream.getvalue())
    assert "request_id" not in line
    assert line["odd"].startswith("<object")


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_no_secret_gets_into_a_line(stream: io.StringIO, log_format: str) -> None:
    set_up(log_format, stream=stream)
    key = new_key()
    log.info("Authorization: Bearer %s", key.text, extra={"header": key.text})
    try:
        raise ValueError(f"bad key {key.text} for redis://user:hunter2@host/0")
    except ValueError:
        log.exception("failed with %r", {"x-api-key": key.text})
    text = stream.getvalue()
    assert key.text not in text
    assert key.text[-43:-30] not in text
    assert "hunter2" not in text
    assert key.key_id in text
    assert "ValueError" in text


def test_text_lines_name_the_request_and_setting_up_twice_writes_once(stream: io.StringIO) -> None:
    set_up("json", stream=stream)
    set_up("text", stream=stream)
    token = current.set(RequestFacts(request_id="r1"))
    log.info("hello")
    log.debug("quiet")
    current.reset(token)
    assert stream.getvalue().startswith("[r1] ")
    assert stream.getvalue().count("\n") == 1
