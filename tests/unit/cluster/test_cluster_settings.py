"""Settings: profiles, overrides, refusals, and no secret in what is shown."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.errors import ConfigError
from cluster.settings import Settings, masked, variable_of

KEYS = {"ML_API_KEYS_FILE": "/keys.json"}


@pytest.mark.parametrize(
    ("profile", "expected"),
    [
        ("development", (10, False, 1, 1, "low", False, False, False)),
        ("staging", (50, True, 2, 8, "medium", True, True, True)),
        ("production", (200, True, 5, 50, "high", True, True, True)),
    ],
)
def test_a_profile_sets_the_defaults(profile: str, expected: tuple[object, ...]) -> None:
    settings = Settings.from_environment({"ML_PROFILE": profile} | KEYS)
    assert (
        settings.max_concurrent_requests,
        settings.enable_auto_scaling,
        settings.min_instances,
        settings.max_instances,
        settings.drift_sensitivity,
        settings.enable_authentication,
        settings.enable_authorization,
        settings.api_key_required,
    ) == expected


def test_the_profile_is_development_where_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for each in fields(Settings):
        monkeypatch.delenv(variable_of(each.name), raising=False)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    settings = Settings.from_environment()
    assert settings.profile == "development"
    assert settings.home == Path("heliotrope-data").absolute()
    assert settings.storage_url == str(settings.home / "storage")
    assert settings.registry_url == f"sqlite:///{settings.home}/registry.db"
    assert settings.ray_address is None
    monkeypatch.setenv("ML_HTTP_PORT", "1234")
    assert Settings.from_environment().http_port == 1234


@pytest.mark.parametrize(
    ("variable", "text", "value"),
    [
        ("ML_MAX_CONCURRENT_REQUESTS", "77", 77),
        ("ML_ENABLE_AUTO_SCALING", "Yes", True),
        ("ML_ENABLE_AUTO_SCALING", "0", False),
        ("ML_MIN_INSTANCES", "0", 0),
        ("ML_MODEL_MEMORY_BYTES", "536870912", 536_870_912),
        ("ML_MODEL_MEMORY_BYTES", "", None),
        ("ML_MAX_INSTANCES", "3", 3),
        ("ML_DRIFT_SENSITIVITY", "HIGH", "high"),
        ("ML_API_KEYS_FILE", "/k", Path("/k")),
        ("ML_API_KEYS_FILE", "", None),
        ("ML_HOME", "/somewhere", Path("/somewhere")),
        ("ML_STORAGE_URL", "s3://bucket/prefix", "s3://bucket/prefix"),
        ("ML_STORAGE_URL", "relative", str(Path("relative").absolute())),
        ("ML_REGISTRY_URL", "postgresql://u:p@h/d", "postgresql://u:p@h/d"),
        ("ML_RAY_ADDRESS", "10.0.0.1:6379", "10.0.0.1:6379"),
        ("ML_HTTP_HOST", "0.0.0.0", "0.0.0.0"),
        ("ML_DASHBOARD_PORT", "0", 0),
        ("ML_TRACKING_PORT", "65535", 65535),
        ("ML_MAX_BODY_BYTES", "2048", 2048),
        ("ML_REQUEST_TIMEOUT_S", "0.5", 0.5),
        ("ML_DATA_DIR", "/data", Path("/data")),
    ],
)
def test_a_variable_overrides_the_profile(variable: str, text: str, value: object) -> None:
    settings = Settings.from_environment({variable: text})
    assert getattr(settings, variable.removeprefix("ML_").lower()) == value


@pytest.mark.parametrize(
    ("variable", "text", "expected"),
    [
        ("ML_PROFILE", "prod", "one of development, staging, production"),
        ("ML_MAX_CONCURRENT_REQUESTS", "0", r"a whole number in \[1, 100000\]"),
        ("ML_MAX_CONCURRENT_REQUESTS", "many", "a whole number"),
        ("ML_MAX_CONCURRENT_REQUESTS", "1.5", "a whole number"),
        ("ML_ENABLE_AUTO_SCALING", "maybe", "true or false"),
        ("ML_MIN_INSTANCES", "-1", "a whole number"),
        ("ML_MIN_INSTANCES", "2", r"at most ML_MAX_INSTANCES \(1\)"),
        ("ML_DRIFT_SENSITIVITY", "", "one of low, medium, high"),
        ("ML_HOME", "", "a folder"),
        ("ML_STORAGE_URL", "http://x", "a folder, or s3://bucket/prefix"),
        ("ML_REGISTRY_URL", "mysql://x", "sqlite:///file or postgresql"),
        ("ML_RAY_ADDRESS", "http://1.2.3.4:8265", "host:port of a running Ray"),
        ("ML_HTTP_HOST", "a b", "a host name or address"),
        ("ML_HTTP_PORT", "65536", "a port number"),
        ("ML_MAX_BODY_BYTES", "1", "a number of bytes"),
        ("ML_MODEL_MEMORY_BYTES", "0", r"a number of bytes in \[1, .*, or nothing"),
        ("ML_MODEL_MEMORY_BYTES", "1G", "a number of bytes"),
        ("ML_REQUEST_TIMEOUT_S", "nan", "seconds"),
        ("ML_REQUEST_TIMEOUT_S", "inf", "seconds"),
    ],
)
def test_a_bad_value_names_variable_got_and_expected(variable: str, text: str, expected: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{variable}: got '{text}', expected .*{expected}") as caught:
        Settings.from_environment({variable: text})
    assert caught.value.context["variable"] == variable


def test_an_unknown_variable_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match=r"ML_MAX_INSTANCE\..*Did you mean ML_MAX_INSTANCES"):
        Settings.from_environment({"ML_MAX_INSTANCE": "2"})
    assert Settings.from_environment({"MLFLOW_TRACKING_URI": "x", "HOME": "/"}).profile == "development"


@pytest.mark.parametrize(
    ("environ", "variable"),
    [
        ({"ML_PROFILE": "production"}, "ML_API_KEYS_FILE"),
        ({"ML_ENABLE_AUTHENTICATION": "true"}, "ML_API_KEYS_FILE"),
        ({"ML_API_KEY_REQUIRED": "true"} | KEYS, "ML_ENABLE_AUTHENTICATION"),
        ({"ML_ENABLE_AUTHORIZATION": "true"} | KEYS, "ML_ENABLE_AUTHENTICATION"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(environ: dict[str, str], variable: str) -> None:
    with pytest.raises(ConfigError, match=f"^{variable}: got"):
        Settings.from_environment(environ)


def test_ray_address_falls_back() -> None:
    assert Settings.from_environment({"RAY_ADDRESS": "a:1"}).ray_address == "a:1"
    assert Settings.from_environment({"RAY_ADDRESS": "a:1", "ML_RAY_ADDRESS": "b:2"}).ray_address == "b:2"
    assert Settings.from_environment({"RAY_ADDRESS": "local"}).ray_address is None
    assert Settings.from_environment({"RAY_ADDRESS": ""}).ray_address is None
    assert Settings.from_environment({"ML_RAY_ADDRESS": "auto"}).ray_address == "auto"


def test_replace_checks_again() -> None:
    settings = Settings.from_environment({})
    assert replace(settings, http_port=1).http_port == 1
    with pytest.raises(ConfigError, match="ML_HTTP_PORT: got '-1'"):
        replace(settings, http_port=-1)
    with pytest.raises(ConfigError, match="ML_MIN_INSTANCES: got 'True'"):
        replace(settings, min_instances=True)


def test_each_field_has_a_row_and_a_text() -> None:
    source = Path(__import__("cluster.settings").settings.__file__).read_text()
    rows = dict(Settings.from_environment(KEYS).describe())
    for each in fields(Settings):
        assert variable_of(each.name) in rows
        body = source.split(f"    {each.name}: ", 1)[1]
        assert '    """' in body.split(" = field(", 2)[1], f"{each.name} has no text under it"
    assert rows["ML_API_KEYS_FILE"] == "/keys.json"
    assert rows["ML_RAY_ADDRESS"] == ""


SECRET = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8).map(lambda s: f"Z{s}Z")


@given(SECRET)
def test_no_password_is_shown(secret: str) -> None:
    url = f"postgresql://user:{secret}@host/database"
    settings = Settings.from_environment({"ML_REGISTRY_URL": url})
    assert settings.registry_url == url
    assert secret not in repr(settings)
    assert secret not in str(settings.describe())
    with pytest.raises(ConfigError) as caught:
        Settings.from_environment({"ML_REGISTRY_URL": f"mysql://user:{secret}@host/database"})
    assert secret not in str(caught.value)
    assert secret not in str(caught.value.context)


def test_masking_keeps_the_rest() -> None:
    assert (
        masked("s3://key:secret@bucket/a?region=eu&secret_key=x")
        == "s3://key:***@bucket/a?region=eu&secret_key=***"
    )
    assert masked("/a/folder") == "/a/folder"
