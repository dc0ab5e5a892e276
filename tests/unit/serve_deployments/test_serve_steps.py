"""Steps stand around the computation in order; the tap shows answers afterwards and holds nobody up."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from cluster.errors import TransientError
from serve_deployments.ingress import build_api
from serve_deployments.question_routes import FORECAST_PATH
from serve_deployments.service import Service
from serve_deployments.steps import Answer, Call, Reply, Visit, chain
from serve_deployments.tap import MAX_WAITING, Tap


class Marks:
    """Notes when it is passed, on the way in and on the way out."""

    def __init__(self, name: str, seen: list[str]) -> None:
        self._name, self._seen = name, seen

    async def __call__(self, asked: Any, next: Callable[[Any], Awaitable[Any]]) -> Any:  # noqa: A002
        self._seen.append(f"{self._name} in")
        answer = await next(asked)
        self._seen.append(f"{self._name} out")
        return answer


async def end(asked: int) -> int:
    return asked + 1


def test_steps_are_passed_in_order_and_none_is_none() -> None:
    seen: list[str] = []
    run = chain([Marks("a", seen), Marks("b", seen)], end)
    assert asyncio.run(_awaited(run(1))) == 2
    assert seen == ["a in", "b in", "b out", "a out"]
    assert chain([], end) is end


async def _awaited(value: Awaitable[int]) -> int:
    return await value


def test_the_door_stands_before_every_route(
    service: Service, connect: Callable[[Any], Any], good_request: dict[str, Any]
) -> None:
    seen: list[tuple[str, str, int]] = []

    async def watch(asked: Visit, next: Callable[[Visit], Awaitable[Reply]]) -> Reply:  # noqa: A002
        asked.reply_headers.append((b"x-watched", b"yes"))
        reply = await next(asked)
        seen.append((asked.route, asked.permission, reply.status))
        return reply

    client = connect(build_api(service, door=[watch]))
    answers = [
        client.post(FORECAST_PATH, json=good_request),
        client.get("/api/models/nox/status"),
        client.get("/any/thing"),
    ]
    assert seen == [
        (FORECAST_PATH, "forecast", 200),
        ("/api/models/{name}/status", "models.read", 200),
        ("unknown", "open", 404),
    ]
    assert [answer.headers["x-watched"] for answer in answers] == ["yes"] * 3


def test_a_refusal_at_the_door_is_a_problem_everywhere(service: Service, connect: Callable[[Any], Any]) -> None:
    async def closed(asked: Visit, next: Callable[[Visit], Awaitable[Reply]]) -> Reply:  # noqa: A002
        asked.reply_headers.append((b"x-limit", b"0"))
        raise TransientError("closed: got a visit, expected none", retry_after_s=7)

    client = connect(build_api(service, door=[closed]))
    for answer in (client.post(FORECAST_PATH, json={}), client.get("/healthz")):
        assert (answer.status_code, answer.headers["retry-after"], answer.headers["x-limit"]) == (503, "7", "0")
        assert answer.headers["content-type"] == "application/problem+json"


def call(number: int) -> tuple[Call, Answer]:
    servable: Any = object()
    visit: Any = type("Seen", (), {"request_id": str(number)})
    return Call(question=number, servable=servable, visit=visit), Answer(servable=servable, result=number)


def test_observers_see_answers_one_a_turn_and_a_failing_one_disturbs_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    seen: list[int] = []

    def broken(call: Call, answer: Answer) -> None:
        raise RuntimeError("broken")

    async def scenario() -> None:
        tap = Tap([broken, lambda _, answer: seen.append(answer.result)], lambda count: None)
        for number in range(3):
            tap.offer(*call(number))
        assert seen == []
        for expected in ([0], [0, 1], [0, 1, 2]):
            await asyncio.sleep(0)
            assert seen == expected

    with caplog.at_level(logging.ERROR):
        asyncio.run(scenario())
    assert caplog.text.count("RuntimeError: broken") == 3


def test_what_comes_faster_than_it_is_watched_is_dropped_and_counted() -> None:
    seen: list[int] = []
    dropped: list[int] = []

    async def scenario() -> None:
        tap = Tap([lambda _, answer: seen.append(answer.result)], dropped.append)
        for number in range(MAX_WAITING + 2):
            tap.offer(*call(number))
        while len(seen) < MAX_WAITING:
            await asyncio.sleep(0)

    asyncio.run(scenario())
    assert sum(dropped) == 2
    assert seen == list(range(2, MAX_WAITING + 2))
