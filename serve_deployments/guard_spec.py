"""What guards a graph, as data: rate limit, audit, log lines, traces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from cluster.errors import ConfigError
from cluster.security.quota import Quota
from cluster.settings import RateBackend, Settings


@dataclass(frozen=True, kw_only=True)
class GuardSpec:
    """What stands at the door beside keys and roles; by default nothing.

    Parameters
    ----------
    quota
        Of each key; None lets everybody ask as often as they want.
    rate_backend
        Where replicas share it.
    admit_on_failure
        What becomes of requests while that cannot be asked.
    redis_url
        For the backend `redis`.
    audit_dir, audit_key_file
        Audit log and the key that signs it; None records nothing.
    audit_retention_days
        Days until a day of it is deleted.
    log_format
        Of the replicas' lines; with `json` every request has one.
    trace_url
        OpenTelemetry collector; None makes no traces.
    trace_ratio
        Share of requests traced that come without a trace.
    """

    quota: Quota | None = None
    rate_backend: RateBackend = "ray"
    admit_on_failure: bool = True
    redis_url: str | None = field(default=None, repr=False)
    audit_dir: str | None = None
    audit_key_file: str | None = None
    audit_retention_days: int = 365
    log_format: str = "text"
    trace_url: str | None = None
    trace_ratio: float = 1.0

    def __post_init__(self) -> None:
        if self.quota and self.rate_backend == "redis" and self.redis_url is None:
            raise ConfigError("the rate limit is to be in Redis, but there is none: set ML_REDIS_URL")
        if (self.audit_dir is None) != (self.audit_key_file is None):
            raise ConfigError("an audit log needs a folder and a key: set ML_AUDIT_DIR and ML_AUDIT_KEY_FILE")

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Return what the settings ask for."""
        quota = Quota(per_minute=settings.rate_limit_per_minute, burst=settings.rate_limit_burst)
        return cls(
            quota=quota if settings.enable_rate_limit else None,
            rate_backend=settings.rate_limit_backend,
            admit_on_failure=settings.rate_limit_on_failure == "admit",
            redis_url=settings.redis_url if settings.rate_limit_backend == "redis" else None,
            audit_dir=str(settings.audit_dir) if settings.enable_audit else None,
            audit_key_file=str(settings.audit_key_file) if settings.enable_audit else None,
            audit_retention_days=settings.audit_retention_days,
            log_format=settings.log_format,
            trace_url=settings.trace_url,
            trace_ratio=settings.trace_ratio,
        )

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Rebuild what `dataclasses.asdict` gave."""
        return cls(**{**data, "quota": Quota(**data["quota"]) if data["quota"] else None})
