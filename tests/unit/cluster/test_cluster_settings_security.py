"""The settings of limits, audit, TLS and traces, by profile."""

from __future__ import annotations

import pytest

from cluster.errors import ConfigError
from cluster.settings import Settings

KEYS = {"ML_API_KEYS_FILE": "/keys.json"}


@pytest.mark.parametrize("profile", ["staging", "production"])
def test_profiles_that_others_reach_limit_and_record(profile: str) -> None:
    settings = Settings.from_environment({"ML_PROFILE": profile, **KEYS})
    assert (settings.enable_rate_limit, settings.rate_limit_per_minute, settings.rate_limit_burst) == (
        True,
        1000,
        100,
    )
    assert (settings.enable_audit, settings.audit_retention_days) == (True, 365)
    assert (settings.rate_limit_backend, settings.rate_limit_on_failure) == ("ray", "admit")
    assert settings.log_format == "json"


def test_development_costs_nothing() -> None:
    settings = Settings.from_environment({"ML_HOME": "/h"})
    assert not (settings.enable_rate_limit or settings.enable_audit or settings.trace_url or settings.tls_dir)
    assert settings.log_format == "text"
    assert str(settings.audit_dir) == "/h/audit"
    assert str(settings.audit_key_file) == "/h/audit.key"


def test_a_limit_in_redis_needs_a_redis() -> None:
    with pytest.raises(ConfigError, match="ML_REDIS_URL"):
        Settings.from_environment({"ML_ENABLE_RATE_LIMIT": "true", "ML_RATE_LIMIT_BACKEND": "redis"})


def test_a_password_of_redis_is_not_shown() -> None:
    settings = Settings.from_environment({"ML_REDIS_URL": "redis://:hunter2@host:6379/0"})
    assert "hunter2" not in repr(settings)
    assert settings.redis_url == "redis://:hunter2@host:6379/0"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ML_RATE_LIMIT_PER_MINUTE", "0"),
        ("ML_RATE_LIMIT_BURST", "0"),
        ("ML_RATE_LIMIT_BACKEND", "etcd"),
        ("ML_RATE_LIMIT_ON_FAILURE", "panic"),
        ("ML_REDIS_URL", "http://host"),
        ("ML_AUDIT_RETENTION_DAYS", "0"),
        ("ML_LOG_FORMAT", "xml"),
        ("ML_TRACE_URL", "host:4318"),
        ("ML_TRACE_RATIO", "1.5"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=name):
        Settings.from_environment({name: value})
