"""The served path with cache and fallback: who answers, what is kept, what ends when a caller leaves."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cluster.clock import ManualClock
from cluster.monitoring.metrics import Metrics
from cluster.security.roles import Permission
from serve_deployments.admission import Limits
from serve_deployments.cache.spec import CacheSpec
from serve_deployments.handlers.forecast import ForecastModel
from serve_deployments.handlers.kinds import load
from serve_deployments.handlers.shelf import Shelf
from serve_deployments.ingress import build_api
from serve_deployments.question_routes import FORECAST_PATH
from serve_deployments.resilience.net import SafetyNet
from serve_deployments.resilience.safety_spec import SafetySpec
from serve_deployments.resilience.spec import FallbackSpec
from serve_deployments.schemas import ForecastRequest, ForecastResponse, ModelStatus, Problem
from serve_deployments.service import Service, fused_service
from serve_deployments.steps import Visit
from training.core.panel import Panel
from training.core.windows import Floats, Windows

LIMITS = Limits(max_body_bytes=2_000_000, request_timeout_s=30, max_concurrent_requests=64, max_queued_requests=64)


@dataclass(frozen=True, kw_only=True)
class Switched(ForecastModel):
    """The real model, with a switch: it fails, answers nonsense, or waits, when it is told to."""

    mood: dict[str, str] = field(default_factory=dict)
    calls: list[int] = field(default_factory=list)
    go: threading.Event = field(default_factory=threading.Event)

    def member(self, index: int, features: Windows) -> Floats:
        if index == 0:
            self.calls.append(len(features))
        mood = self.mood.get("is", "well")
        if mood == "broken":
            raise RuntimeError("the weights are gone")
        if mood == "slow":
            assert self.go.wait(10)
        made = super().member(index, features)
        return made * {"huge": 1e6, "blind": np.nan}.get(mood, 1.0)


class Replica:
    """What a replica has, in this process."""

    def __init__(self, models: list[Switched], spec: SafetySpec) -> None:
        self.clock, self.metrics, self.models = (
            ManualClock(1000.0),
            Metrics(),
            {each.version: each for each in models},
        )
        self.shelf = Shelf(models)
        self.net = SafetyNet(
            spec,
            application="test",
            replica="here",
            shelf=self.shelf,
            metrics=self.metrics,
            clock=self.clock,
        )
        self.service: Service = fused_service(
            self.shelf,
            limits=LIMITS,
            target_s=0.05,
            max_batch_size=8,
            threads=2,
            metrics=self.metrics,
            clock=self.clock,
            steps=self.net.steps,
        )
        self.api = build_api(self.service, more=[self.net.routes()])
        for model in models:
            model.calls.clear()

    def sample(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


Make = Callable[..., Replica]


@pytest.fixture
def make(ensemble_folder: Path) -> Make:
    def replica(*versions: str, cache: bool = False, **fallback: Any) -> Replica:
        models = []
        for version in versions or ("1.0.0",):
            loaded = load(ensemble_folder, kind="forecast", name="nox", version=version, metrics={})
            assert isinstance(loaded, ForecastModel)
            models.append(
                Switched(name="nox", version=version, ensemble=loaded.ensemble, schema=loaded.schema, metrics={})
            )
        spec = SafetySpec(
            cache=CacheSpec(where="memory" if cache else "off"), fallback=FallbackSpec(enabled=True, **fallback)
        )
        return Replica(models, spec)

    return replica


@pytest.fixture
def long_request(hourly: Panel) -> dict[str, Any]:
    """A week of each plant: enough for a rule to be judged by."""
    rows = hourly.frame.groupby("series_id", sort=False).tail(168)
    return {
        "model": "nox",
        "series": [
            {
                "series_id": series,
                "timestamps": [time.isoformat() for time in group["timestamp"]],
                "values": {name: group[name].tolist() for name in hourly.schema.names},
            }
            for series, group in rows.groupby("series_id", sort=False)
        ],
    }


class Asker:
    """Calls a replica's HTTP side, each on one event loop."""

    def __init__(self, connect: Callable[[Any], Any]) -> None:
        self._connect, self._callers = connect, dict[int, Any]()

    def _caller(self, replica: Replica) -> Any:
        if id(replica) not in self._callers:
            self._callers[id(replica)] = self._connect(replica.api)
        return self._callers[id(replica)]

    def __call__(self, replica: Replica, body: Mapping[str, Any], path: str = FORECAST_PATH) -> Any:
        return self._caller(replica).post(path, json=body)

    def get(self, replica: Replica, path: str) -> Any:
        return self._caller(replica).get(path)


@pytest.fixture
def ask(connect: Callable[[Any], Any]) -> Asker:
    return Asker(connect)


def answered(response: Any) -> ForecastResponse:
    assert response.status_code == 200, response.text
    return ForecastResponse.model_validate_json(response.content)


def test_a_well_model_answers_by_itself(make: Make, ask: Asker, good_request: dict[str, Any]) -> None:
    answer = answered(ask(make(), good_request))
    assert (answer.rung, answer.fallback_reason) == ("primary", None)


def test_the_previous_version_stands_in_and_the_answer_says_so(
    make: Make, ask: Asker, good_request: dict[str, Any]
) -> None:
    replica = make("2.0.0", "1.0.0")
    expected = answered(ask(replica, {**good_request, "version": "1.0.0"}))
    replica.models["2.0.0"].mood["is"] = "broken"
    answer = answered(ask(replica, good_request))
    assert (answer.rung, answer.model.version) == ("previous", "1.0.0")
    assert answer.fallback_reason == "primary: RuntimeError: the weights are gone"
    assert answer.forecasts == expected.forecasts
    assert replica.sample("ml_fallback_answers_total", model_name="nox", rung="previous") == 1


@pytest.mark.parametrize(("mood", "why"), [("huge", "expected 0 .. 200"), ("blind", "not finite")])
def test_what_cannot_be_true_is_not_given(
    make: Make, ask: Asker, long_request: dict[str, Any], mood: str, why: str
) -> None:
    replica = make()
    replica.models["1.0.0"].mood["is"] = mood
    answer = answered(ask(replica, long_request))
    assert answer.rung == "rule-based"
    assert why in (answer.fallback_reason or "")


def test_the_rule_repeats_the_last_season_with_the_width_of_its_own_errors(
    make: Make, ask: Asker, long_request: dict[str, Any]
) -> None:
    replica = make()
    replica.models["1.0.0"].mood["is"] = "broken"
    answer = answered(ask(replica, long_request))
    for asked, given in zip(long_request["series"], answer.forecasts, strict=True):
        values = np.array(asked["values"]["NOX"])
        assert [step.prediction for step in given.steps] == values[-24 : -24 + 6].tolist()
        errors = np.sort(values[24:] - values[:-24])
        low, high = (
            errors[int(np.floor((len(errors) + 1) * 0.05)) - 1],
            errors[int(np.ceil((len(errors) + 1) * 0.95)) - 1],
        )
        for step in given.steps:
            assert step.lower == pytest.approx(min(step.prediction, step.prediction + low))
            assert step.upper == pytest.approx(max(step.prediction, step.prediction + high))


def test_a_stated_default_is_the_last_rung_and_without_one_the_refusal_says_why(
    make: Make, ask: Asker, good_request: dict[str, Any]
) -> None:
    stated, silent = make(defaults={"nox": {"NOX": 60.0}}), make()
    for replica in (stated, silent):
        replica.models["1.0.0"].mood["is"] = "broken"
    answer = answered(ask(stated, good_request))
    assert answer.rung == "default"
    assert "which leave 18 past errors" in (answer.fallback_reason or "")
    assert {(s.prediction, s.lower, s.upper, s.confidence) for s in answer.forecasts[0].steps} == {
        (60.0, 0.0, 200.0, 0.0)
    }
    refused = ask(silent, good_request)
    assert refused.status_code == 503
    assert int(refused.headers["retry-after"]) >= 1
    assert "primary: RuntimeError: the weights are gone" in Problem.model_validate_json(refused.content).detail


def test_a_wrong_question_is_refused_by_no_rung_and_blames_no_model(
    make: Make, ask: Asker, good_request: dict[str, Any]
) -> None:
    replica = make("2.0.0", "1.0.0")
    for _ in range(5):
        assert ask(replica, {**good_request, "horizon": 7}).status_code == 400
    assert answered(ask(replica, good_request)).rung == "primary"


def status(replica: Replica, ask: Asker, version: str) -> tuple[str, str]:
    told = ModelStatus.model_validate_json(ask.get(replica, "/api/models/nox/status").content)
    found = next(each for each in told.versions if each.version == version)
    return found.stage, found.reason


def test_a_failing_version_is_degraded_left_alone_and_active_again_when_it_is_well(
    make: Make, ask: Asker, good_request: dict[str, Any]
) -> None:
    replica = make("2.0.0", "1.0.0")
    model = replica.models["2.0.0"]
    assert status(replica, ask, "2.0.0")[0] == "ACTIVE"
    model.mood["is"] = "broken"
    bodies = [good_request, *({**good_request, "horizon": steps} for steps in (3, 2, 1))]
    for body in bodies[:3]:
        assert answered(ask(replica, body)).rung == "previous"
    assert status(replica, ask, "2.0.0") == ("DEGRADED", "circuit open: RuntimeError: the weights are gone")
    model.calls.clear()
    answer = answered(ask(replica, bodies[3]))
    assert not model.calls, "an open circuit spares the model"
    assert (answer.fallback_reason or "").startswith("primary: circuit open: RuntimeError")
    model.mood["is"] = "well"
    replica.clock.advance(30)
    assert [answered(ask(replica, good_request)).rung for _ in range(10)] == ["primary"] * 10
    assert status(replica, ask, "2.0.0")[0] == "ACTIVE"
    assert replica.sample("ml_breaker_opened_total", model_name="nox", model_version="2.0.0") == 1


def test_an_equal_question_gets_the_kept_answer_under_its_own_request_id(
    make: Make, ask: Asker, good_request: dict[str, Any]
) -> None:
    replica = make(cache=True)
    first = ask(replica, good_request)
    spaced = json.loads(json.dumps(good_request))
    spaced["series"][0]["values"] = dict(reversed(spaced["series"][0]["values"].items()))
    second = ask(replica, spaced)
    assert (first.headers["x-cache"], second.headers["x-cache"]) == ("computed", "hit")
    assert len(replica.models["1.0.0"].calls) == 1
    one, two = answered(first), answered(second)
    assert one.request_id != two.request_id
    assert one.forecasts == two.forecasts
    assert replica.sample("ml_cache_hit_ratio", replica="here") == 0.5
    assert replica.sample("ml_cache_bytes", replica="here") > 1000
    assert replica.sample("ml_predictions_total", model_name="nox", model_version="1.0.0") == 2
    assert ask(replica, {**good_request, "horizon": 3}).headers["x-cache"] == "computed"


def test_an_emptied_cache_computes_again_and_reasons_are_checked(
    make: Make, ask: Asker, good_request: dict[str, Any]
) -> None:
    replica = make(cache=True)
    ask(replica, good_request)
    told = ask(replica, {}, "/api/cache/forget?reason=drift&model=nox@1.0.0")
    assert told.json() == {"replicas": 1}
    assert ask(replica, good_request).headers["x-cache"] == "computed"
    assert ask(replica, {}, "/api/cache/forget?reason=mood").status_code == 400
    assert ask(replica, {}, "/api/cache/forget?reason=drift&model=nox@9.9.9").status_code == 404
    assert replica.sample("ml_cache_invalidations_total", reason="drift") == 1


def test_an_answer_of_a_lower_rung_is_not_kept(make: Make, ask: Asker, long_request: dict[str, Any]) -> None:
    replica = make(cache=True)
    replica.models["1.0.0"].mood["is"] = "broken"
    assert answered(ask(replica, long_request)).rung == "rule-based"
    replica.models["1.0.0"].mood["is"] = "well"
    again = ask(replica, long_request)
    assert (again.headers["x-cache"], answered(again).rung) == ("computed", "primary")


def visit() -> Visit:
    async def nothing(*_: Any) -> Any:
        return {}

    return Visit(
        method="POST",
        path=FORECAST_PATH,
        route=FORECAST_PATH,
        permission=Permission.FORECAST,
        headers={},
        client="",
        request_id="r",
        connection=({}, nothing, nothing),
    )


def test_what_nobody_waits_for_any_more_is_not_computed(make: Make, good_request: dict[str, Any]) -> None:
    replica = make(cache=True)
    model = replica.models["1.0.0"]
    model.mood["is"] = "slow"
    batcher = replica.service._pipeline._batchers["nox@1.0.0"]  # type: ignore[attr-defined]
    batcher._executor = replica.service._executor

    async def scenario() -> None:
        def asked(horizon: int) -> asyncio.Task[Any]:
            question = ForecastRequest.model_validate({**good_request, "horizon": horizon})
            return asyncio.create_task(replica.service.answer("forecast", question, visit()))

        first = asked(1)
        while not model.calls:
            await asyncio.sleep(0)
        waiting = [asked(horizon) for horizon in (2, 3, 4, 2, 3, 4)]
        while len(batcher._line) < 3:
            await asyncio.sleep(0)
        stays = waiting[0]
        for task in waiting[1:]:
            task.cancel()
        await asyncio.gather(*waiting[1:], return_exceptions=True)
        model.go.set()
        await asyncio.gather(first, stays)

    asyncio.run(scenario())
    assert model.calls == [2, 2], "one request of two series at first, and of the others only the one that stayed"


def test_hot_answers_are_renewed_before_they_expire(make: Make, ask: Asker, good_request: dict[str, Any]) -> None:
    replica = make(cache=True)
    ttl_s = CacheSpec().ttl_s
    for _ in range(20):
        ask(replica, good_request)
    warmer = replica.net.warmer
    assert warmer is not None
    replica.clock.advance(ttl_s - 1.5)
    assert asyncio.run(warmer.warm()) == 1
    assert len(replica.models["1.0.0"].calls) == 2
    replica.clock.advance(10)
    assert ask(replica, good_request).headers["x-cache"] == "hit"
    assert replica.sample("ml_cache_warmed_total") == 1


def test_a_new_version_is_asked_what_its_predecessor_is_asked_most(
    make: Make, ask: Asker, good_request: dict[str, Any]
) -> None:
    replica = make("1.0.0", "2.0.0", cache=True)
    popular = {**good_request, "version": "1.0.0"}
    ask(replica, popular)
    ask(replica, popular)
    ask(replica, {**good_request, "version": "2.0.0", "horizon": 1})
    while replica.sample("ml_cache_warmed_total") < 1:
        ask.get(replica, "/healthz")  # turns of the event loop
    first = ask(replica, {**good_request, "version": "2.0.0"})
    assert first.headers["x-cache"] == "hit"
    assert answered(first).model.version == "2.0.0"
