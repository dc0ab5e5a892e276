"""Settings become the spec of cache and fallback, which travels as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest

from cluster.errors import ConfigError
from cluster.settings import Settings
from serve_deployments.resilience.safety_spec import SafetySpec


def spec(**variables: Any) -> SafetySpec:
    environment = {f"ML_{name.upper()}": str(value) for name, value in variables.items()}
    return SafetySpec.from_settings(Settings.from_environment(environment))


def test_by_default_answers_are_kept_in_memory_and_the_ladder_is_on() -> None:
    made = spec()
    assert (made.cache.where, made.cache.ttl_s, made.fallback.enabled) == ("memory", 300.0, True)
    assert (made.fallback.breaker.failures, made.fallback.breaker.open_s) == (3, 30.0)
    assert made.fallback.breaker.half_open_calls == 10


def test_it_survives_the_way_through_json() -> None:
    made = spec(fallback_defaults='{"nox": {"NOX": 60}}', prediction_cache="off")
    assert SafetySpec.from_json(json.loads(json.dumps(asdict(made)))) == made
    assert made.fallback.defaults == {"nox": {"NOX": 60.0}}


def test_patience_leaves_half_of_the_time_out_to_the_rungs_below() -> None:
    assert spec(request_timeout_s=4, answer_patience_s=10).fallback.patience_s == 2.0
    assert spec(request_timeout_s=30, answer_patience_s=1).fallback.patience_s == 1.0


@pytest.mark.parametrize("wrong", ['{"nox": 60}', '{"nox": {"NOX": "many"}}', "{nox}"])
def test_defaults_that_are_none_are_refused(wrong: str) -> None:
    with pytest.raises(ConfigError, match="ML_FALLBACK_DEFAULTS: got"):
        spec(fallback_defaults=wrong)


def test_a_cache_in_redis_needs_one() -> None:
    with pytest.raises(ConfigError, match="ML_REDIS_URL"):
        spec(prediction_cache="redis")
    assert spec(prediction_cache="redis", redis_url="redis://127.0.0.1:1/0").cache.where == "redis"
