"""Every setting once: a profile's defaults, overridden by ML_* environment variables, read at the start."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, NoReturn, Self

from cluster.errors import ConfigError

Profile = Literal["development", "staging", "production"]
Sensitivity = Literal["low", "medium", "high"]
RateBackend = Literal["ray", "redis", "memory"]
Ingress = Literal["auto", "haproxy", "python"]
INGRESSES: tuple[Ingress, ...] = ("auto", "haproxy", "python")
Placement = Literal["fused", "spread", "auto"]
PLACEMENTS: tuple[Placement, ...] = ("fused", "spread", "auto")
PROFILES: tuple[Profile, ...] = ("development", "staging", "production")
SENSITIVITIES: tuple[Sensitivity, ...] = ("low", "medium", "high")
CacheWhere = Literal["off", "memory", "redis"]
CACHE_WHERES: tuple[CacheWhere, ...] = ("off", "memory", "redis")
RATE_BACKENDS: tuple[RateBackend, ...] = ("ray", "redis", "memory")
PREFIX = "ML_"


@dataclass(frozen=True, kw_only=True)
class _Kind:
    """How a value is read and judged; `read` raises ValueError for a text it cannot read."""

    expected: str
    read: Callable[[str], Any]
    accepts: Callable[[Any], bool]


def _number(cast: type[int] | type[float], low: float, high: float, what: str) -> _Kind:
    # NaN and booleans fail both comparisons or the type, so that neither slips through a range.
    return _Kind(
        expected=f"{what} in [{low:g}, {high:.12g}]",
        read=cast,
        accepts=lambda v: isinstance(v, int | cast) and not isinstance(v, bool) and low <= v <= high,
    )


def _optional(kind: _Kind) -> _Kind:
    return _Kind(
        expected=f"{kind.expected}, or nothing",
        read=lambda text: kind.read(text) if text else None,
        accepts=lambda v: v is None or kind.accepts(v),
    )


def _choice(options: tuple[str, ...]) -> _Kind:
    return _Kind(expected="one of " + ", ".join(options), read=str.lower, accepts=lambda v: v in options)


def _text(pattern: str, expected: str, *, optional: bool = False) -> _Kind:
    return _Kind(
        expected=expected,
        read=lambda text: text or None,
        accepts=lambda v: (v is None and optional) or (isinstance(v, str) and bool(re.fullmatch(pattern, v))),
    )


def _path(expected: str, *, optional: bool = False) -> _Kind:
    # Absolute at once: workers run in folders of their own, where a relative path means something else.
    return _Kind(
        expected=expected,
        read=lambda text: Path(text).expanduser().absolute() if text else None,
        accepts=lambda v: (v is None and optional) or isinstance(v, Path),
    )


# A relative folder becomes absolute for the same reason.
_FOLDER_OR_URL = _Kind(
    expected="a folder, or s3://bucket/prefix",
    read=lambda text: text if "://" in text or not text else str(Path(text).expanduser().absolute()),
    accepts=lambda v: isinstance(v, str) and bool(re.fullmatch(r"(s3|file)://.+|/.+", v)),
)
_WORDS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}


def _word(text: str) -> bool:
    if text.lower() not in _WORDS:
        raise ValueError(text)
    return _WORDS[text.lower()]


_SWITCH = _Kind(expected="true or false", read=_word, accepts=lambda v: isinstance(v, bool))
_PORT = _number(int, 0, 65_535, "a port number (0 takes a free one)")
_ADDRESS = _text(
    r"auto|(?!\w+://)\S+:\d+", "host:port of a running Ray, or auto (RAY_ADDRESS counts too)", optional=True
)

Default = Callable[[Mapping[str, Any]], Any]
"""A field's default, given the profile and the fields before it."""


def _knob(kind: _Kind, default: Default) -> dict[str, Any]:
    return {"kind": kind, "default": default}


def _always(value: Any) -> Default:
    return lambda _: value


def _by_profile(development: Any, staging: Any, production: Any) -> Default:
    return lambda known: dict(zip(PROFILES, (development, staging, production), strict=True))[known["profile"]]


@dataclass(frozen=True, kw_only=True, repr=False)
class Settings:
    """What a process is told from outside; build it with `from_environment`, change it with `dataclasses.replace`.

    A field `name` is set by the environment variable `ML_NAME`. The text under each field says what it does.

    Raises
    ------
    ConfigError
        A value is out of range, or two contradict each other. The message names the variable, got and expected.
    """

    profile: Profile = field(metadata=_knob(_choice(PROFILES), _always("development")))
    """Which set of defaults the other fields start from."""
    max_concurrent_requests: int = field(
        metadata=_knob(_number(int, 1, 100_000, "a whole number"), _by_profile(10, 50, 200))
    )
    """Requests in progress at once; more are answered 503 with Retry-After."""
    enable_auto_scaling: bool = field(metadata=_knob(_SWITCH, _by_profile(False, True, True)))
    """Let the number of model replicas follow the load between `min_instances` and `max_instances`."""
    min_instances: int = field(metadata=_knob(_number(int, 0, 10_000, "a whole number"), _by_profile(1, 2, 5)))
    """Fewest replicas of a model; 0 lets an idle model sleep."""
    max_instances: int = field(metadata=_knob(_number(int, 1, 10_000, "a whole number"), _by_profile(1, 8, 50)))
    """Most replicas of a model."""
    autoscaling_latency_s: float = field(metadata=_knob(_number(float, 0.001, 3600, "seconds"), _always(1.0)))
    """Latency (95th percentile) from which on replicas are added, whatever the load."""
    autoscaling_forecast: bool = field(metadata=_knob(_SWITCH, _by_profile(False, True, True)))
    """Start replicas ahead of the load that a forecast of the request rate expects, while that is good."""
    drift_sensitivity: Sensitivity = field(
        metadata=_knob(_choice(SENSITIVITIES), _by_profile("low", "medium", "high"))
    )
    """How small a change of the data raises a drift alarm."""
    enable_authentication: bool = field(metadata=_knob(_SWITCH, _by_profile(False, True, True)))
    """Check the API keys that requests carry."""
    enable_authorization: bool = field(metadata=_knob(_SWITCH, _by_profile(False, True, True)))
    """Check that the key's role allows the request; needs authentication."""
    api_key_required: bool = field(metadata=_knob(_SWITCH, _by_profile(False, True, True)))
    """Refuse requests without a key; needs authentication."""
    api_keys_file: Path | None = field(metadata=_knob(_path("a file with API keys", optional=True), _always(None)))
    """File with the (hashed) API keys and their roles; needed as soon as authentication is on."""
    enable_rate_limit: bool = field(metadata=_knob(_SWITCH, _by_profile(False, True, True)))
    """Refuse callers that ask more often than the next two allow, with 429."""
    rate_limit_per_minute: int = field(metadata=_knob(_number(int, 1, 10_000_000, "a whole number"), _always(1000)))
    """Requests a minute of one key, over all replicas."""
    rate_limit_burst: int = field(metadata=_knob(_number(int, 1, 1_000_000, "a whole number"), _always(100)))
    """Requests at once of one key after a pause."""
    rate_limit_backend: RateBackend = field(metadata=_knob(_choice(RATE_BACKENDS), _always("ray")))
    """Where replicas share it: `ray`, an actor; `redis`, at ML_REDIS_URL; `memory`, each replica for itself."""
    rate_limit_on_failure: Literal["admit", "refuse"] = field(
        metadata=_knob(_choice(("admit", "refuse")), _always("admit"))
    )
    """While that cannot be asked: `admit` by each replica's own count, or `refuse` with 503."""
    redis_url: str | None = field(
        metadata=_knob(
            _text(r"rediss?://.+", "redis://host:port/0, or rediss:// with TLS", optional=True), _always(None)
        )
    )
    """A Redis for what replicas share; none is needed."""
    home: Path = field(metadata=_knob(_path("a folder"), lambda _: Path("heliotrope-data").absolute()))
    """Folder for everything the platform keeps on this machine."""
    enable_audit: bool = field(metadata=_knob(_SWITCH, _by_profile(False, True, True)))
    """Record every request and every administrative act."""
    audit_dir: Path = field(metadata=_knob(_path("a folder"), lambda known: known["home"] / "audit"))
    """Folder of the audit log."""
    audit_key_file: Path = field(metadata=_knob(_path("a file"), lambda known: known["home"] / "audit.key"))
    """Key that signs it, made where there is none; keep it where who can write the folder cannot read it."""
    audit_retention_days: int = field(metadata=_knob(_number(int, 1, 36_500, "days"), _always(365)))
    """Days after which a day of the audit log is deleted."""
    log_format: Literal["text", "json"] = field(
        metadata=_knob(_choice(("text", "json")), _by_profile("text", "json", "json"))
    )
    """Log lines for people, or for machines."""
    trace_url: str | None = field(
        metadata=_knob(_text(r"https?://.+", "http(s)://host:port/v1/traces", optional=True), _always(None))
    )
    """OpenTelemetry collector (OTLP over HTTP) that traces are sent to; none switches them off."""
    trace_ratio: float = field(metadata=_knob(_number(float, 0, 1, "a share"), _by_profile(1.0, 0.1, 0.01)))
    """Share of requests traced that come without a trace of their own."""
    notify_url: str | None = field(
        metadata=_knob(_text(r"https?://.+", "http(s)://host/path", optional=True), _always(None))
    )
    """Web hook that is told of rollouts, rollbacks and wishes for training; none tells only the log."""
    storage_url: str = field(
        metadata=_knob(
            _FOLDER_OR_URL,
            lambda known: str(known["home"] / "storage"),
        )
    )
    """Where artifacts, checkpoints and platform state live: a folder or `s3://bucket/prefix`."""
    registry_url: str = field(
        metadata=_knob(
            _text(r"(sqlite|postgresql(\+\w+)?)://.+", "sqlite:///file or postgresql://user@host/database"),
            lambda known: f"sqlite:///{known['home'] / 'registry.db'}",
        )
    )
    """Database of experiments, models and versions."""
    ray_address: str | None = field(metadata=_knob(_ADDRESS, _always(None)))
    """A running Ray to attach to (falls back to RAY_ADDRESS); none starts one on this machine."""
    http_host: str = field(
        metadata=_knob(_text(r"[A-Za-z0-9_.:-]+", "a host name or address"), _always("127.0.0.1"))
    )
    """Interface the HTTP API listens on."""
    http_port: int = field(metadata=_knob(_PORT, _always(8000)))
    """Port of the HTTP API."""
    tls_dir: Path | None = field(metadata=_knob(_path("a folder", optional=True), _always(None)))
    """Folder with tls.crt and tls.key (as a Kubernetes TLS secret is mounted): the API then speaks HTTPS too."""
    https_port: int = field(metadata=_knob(_PORT, _always(8443)))
    """Port of the HTTP API with TLS."""
    ca_file: Path | None = field(metadata=_knob(_path("a file", optional=True), _always(None)))
    """Certificates that our own clients trust beside the public ones."""
    ray_token_file: Path | None = field(metadata=_knob(_path("a file", optional=True), _always(None)))
    """Token that Ray asks every connection for (RAY_AUTH_MODE=token); made where there is none."""
    ray_tls_dir: Path | None = field(metadata=_knob(_path("a folder", optional=True), _always(None)))
    """Folder with tls.crt, tls.key and ca.crt: Ray's processes then talk by mutual TLS."""
    http_ingress: Ingress = field(metadata=_knob(_choice(INGRESSES), _by_profile("python", "auto", "auto")))
    """What takes connections of a Ray started here: `haproxy`, about five times as fast, `python`, Ray Serve's own,
    or `auto`: HAProxy where `ray[haproxy]` is installed."""
    placement: Placement = field(metadata=_knob(_choice(PLACEMENTS), _always("fused")))
    """Where models compute: `fused`, all in each replica of the API, `spread`, each member of a model in a
    deployment of its own, or `auto`: whichever their measured cost asks for, as `heliotrope placement` tells."""
    dashboard_port: int = field(metadata=_knob(_PORT, _always(8265)))
    """Port of the Ray dashboard; a free one is taken where it is in use."""
    tracking_port: int = field(metadata=_knob(_PORT, _always(5000)))
    """Port of the experiment UI."""
    max_body_bytes: int = field(metadata=_knob(_number(int, 1024, 2**30, "a number of bytes"), _always(4 * 2**20)))
    """Largest request body; larger ones are answered 413."""
    request_timeout_s: float = field(metadata=_knob(_number(float, 0.1, 3600, "seconds"), _always(30.0)))
    """Time after which a request is given up."""
    prediction_cache: CacheWhere = field(metadata=_knob(_choice(CACHE_WHERES), _always("memory")))
    """Where answers are kept for equal questions: `off`, `memory` of each replica, or `redis` at ML_REDIS_URL."""
    prediction_cache_bytes: int = field(
        metadata=_knob(_number(int, 0, 2**40, "a number of bytes"), _always(64 * 2**20))
    )
    """Most that a replica's kept answers take; in a Redis, its own `maxmemory` decides."""
    prediction_cache_ttl_s: float = field(metadata=_knob(_number(float, 0.1, 86_400, "seconds"), _always(300.0)))
    """Life of a kept answer."""
    enable_fallback: bool = field(metadata=_knob(_SWITCH, _always(True)))
    """Where a model cannot answer, let the previous version, a rule or a stated default do it, and say so."""
    fallback_defaults: str | None = field(
        metadata=_knob(_text(r"\{.*\}", 'JSON such as {"nox": {"NOX": 60}}', optional=True), _always(None))
    )
    """What to answer where nothing else can: model -> target -> value. None refuses then."""
    model_memory_bytes: int | None = field(
        metadata=_knob(_optional(_number(int, 1, 2**40, "a number of bytes")), _always(None))
    )
    """Most that the models of a replica take in memory; the least lately used sleep then, and are loaded when they
    are asked. None keeps all of them there."""
    answer_patience_s: float = field(metadata=_knob(_number(float, 0.01, 3600, "seconds"), _always(10.0)))
    """Time after which a version is given up and the next rung asked; at most half of the request's time-out."""
    cpu_power_w: float = field(metadata=_knob(_number(float, 0, 1000, "watts"), _always(15.0)))
    """Power of one busy core with its share of the machine, for estimates of energy: a server of 240 W and 16 cores
    by default. Where codecarbon is installed it measures instead."""
    gpu_power_w: float = field(metadata=_knob(_number(float, 0, 5000, "watts"), _always(300.0)))
    """Power of one busy GPU, for estimates of energy."""
    carbon_intensity_g_per_kwh: float = field(
        metadata=_knob(_number(float, 0, 5000, "grams of CO2e a kWh"), _always(473.0))
    )
    """Carbon of the grid that feeds the machines; by default the world's mean of 2024, as Ember's Global
    Electricity Review 2025 has it. Your supplier knows yours."""
    data_dir: Path | None = field(metadata=_knob(_path("a folder", optional=True), _always(None)))
    """Folder with further data sets for benchmarks and tests."""

    def __post_init__(self) -> None:
        for each in fields(self):
            kind: _Kind = each.metadata["kind"]
            value = getattr(self, each.name)
            if not kind.accepts(value):
                _refuse(variable_of(each.name), value, kind.expected)
        self._check_together()

    def _check_together(self) -> None:
        if self.min_instances > self.max_instances:
            _refuse("ML_MIN_INSTANCES", self.min_instances, f"at most ML_MAX_INSTANCES ({self.max_instances})")
        for name in ("api_key_required", "enable_authorization"):
            if getattr(self, name) and not self.enable_authentication:
                _refuse("ML_ENABLE_AUTHENTICATION", False, f"true, because {variable_of(name)} is true")
        if self.enable_authentication and self.api_keys_file is None:
            _refuse("ML_API_KEYS_FILE", "nothing", "a file with API keys, because ML_ENABLE_AUTHENTICATION is true")
        if self.enable_rate_limit and self.rate_limit_backend == "redis" and self.redis_url is None:
            _refuse("ML_REDIS_URL", "nothing", "a Redis, because ML_RATE_LIMIT_BACKEND is redis")
        if self.prediction_cache == "redis" and self.redis_url is None:
            _refuse("ML_REDIS_URL", "nothing", "a Redis, because ML_PREDICTION_CACHE is redis")

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Read the settings.

        Parameters
        ----------
        environ
            Variables to read; the process's own where None. Names without the prefix ML_ are none of ours, except
            RAY_ADDRESS.

        Raises
        ------
        ConfigError
            A variable is unknown (the message has the nearest known name), unreadable or out of range.
        """
        environ = os.environ if environ is None else environ
        _refuse_unknown(environ, {variable_of(each.name) for each in fields(cls)})
        given = dict(environ)
        # `local` is Ray's own word for "start one here".
        if "ML_RAY_ADDRESS" not in given and given.get("RAY_ADDRESS", "local") != "local":
            given["ML_RAY_ADDRESS"] = given["RAY_ADDRESS"]
        values: dict[str, Any] = {}
        for each in fields(cls):
            values[each.name] = _read(each, given, values)
        return cls(**values)

    def describe(self) -> list[tuple[str, str]]:
        """Return a row (variable, value) for each setting, passwords masked."""
        rows = [(variable_of(each.name), getattr(self, each.name)) for each in fields(self)]
        return [(name, "" if value is None else masked(str(value))) for name, value in rows]

    def __repr__(self) -> str:
        return f"Settings({', '.join(f'{name}={value}' for name, value in self.describe())})"


def variable_of(name: str) -> str:
    """Return the environment variable that sets the field `name`."""
    return PREFIX + name.upper()


def masked(text: str) -> str:
    """Return `text` with the passwords of the URLs in it replaced by ***."""
    hidden = re.sub(r"(\w+://[^\s:/@]*):\S*@", r"\1:***@", text)
    return re.sub(r"([?&]\w*(?:password|secret|token)\w*=)[^&\s]*", r"\1***", hidden, flags=re.IGNORECASE)


def _read(each: Field[Any], environ: Mapping[str, str], known: Mapping[str, Any]) -> Any:
    variable, kind = variable_of(each.name), each.metadata["kind"]
    if variable not in environ:
        return each.metadata["default"](known)
    text = environ[variable].strip()
    try:
        value = kind.read(text)
    except ValueError:
        _refuse(variable, text, kind.expected)
    if not kind.accepts(value):
        # Here already and not only in the constructor: later defaults are computed from this value.
        _refuse(variable, text, kind.expected)
    return value


def _refuse_unknown(environ: Mapping[str, str], known: set[str]) -> None:
    for variable in sorted(environ):
        if variable.startswith(PREFIX) and variable not in known:
            near = get_close_matches(variable, sorted(known), n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise ConfigError(
                f"unknown environment variable {variable}.{hint} Known: {', '.join(sorted(known))}",
                variable=variable,
                known=sorted(known),
            )


def _refuse(variable: str, got: object, expected: str) -> NoReturn:
    shown = masked(str(got))
    raise ConfigError(
        f"{variable}: got '{shown}', expected {expected}", variable=variable, got=shown, expected=expected
    )
