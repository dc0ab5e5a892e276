"""The guard of a replica, built from its spec: its steps, and what lives as long as the replica."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from cluster.clock import Clock
from cluster.monitoring.metrics import Metrics
from cluster.monitoring.request_log import RequestLines
from cluster.monitoring.tracing import Tracing
from cluster.security.audit_chain import Signer
from cluster.security.audit_folder import AuditFolder
from cluster.security.audit_log import AuditLog
from cluster.security.leases import Leases, chunk_of
from cluster.security.quota import Bucket, Quota
from cluster.security.rate_limit import Office, OfficeFailure, RateLimit, local_office
from serve_deployments.guard_spec import GuardSpec
from serve_deployments.guard_steps import NoteModelStep, RateStep, RecordStep
from serve_deployments.spread import MemberCall
from serve_deployments.steps import CallStep, DoorStep
from serve_deployments.trace_steps import TraceModelStep, TraceStep, traced


class Guard:
    """What a replica's spec puts at its door. A part that is off is in no list and costs nothing.

    Parameters
    ----------
    spec
        Says what is on.
    application
        Shares its rate limits.
    replica
        Name of the writer in the audit log; no other process may have it.
    clock
        For limits and records.
    metrics
        Counts what could not be recorded, or asked.

    Raises
    ------
    ConfigError
        The audit key cannot be read, or a library is missing.
    """

    def __init__(self, spec: GuardSpec, *, application: str, replica: str, clock: Clock, metrics: Metrics) -> None:
        self._spec, self._application, self._clock, self._metrics = spec, application, clock, metrics
        self.audit, self.lines = self._audit_log(replica), RequestLines() if spec.log_format == "json" else None
        self._limit = self._rate_limit(spec.quota) if spec.quota else None
        url, ratio = spec.trace_url, spec.trace_ratio
        self._tracing = Tracing.open(url, ratio=ratio, service=application) if url else None

    @property
    def outside(self) -> list[DoorStep]:
        """Steps before access is checked."""
        recorded = self.audit or self.lines
        record = [RecordStep(self._clock, audit=self.audit, lines=self.lines)] if recorded else []
        return [*record, *([TraceStep(self._tracing)] if self._tracing else [])]

    @property
    def inside(self) -> list[DoorStep]:
        """Steps once it is known who asks."""
        return [RateStep(self._limit)] if self._limit else []

    @property
    def steps(self) -> list[CallStep]:
        """Steps around the computation."""
        note = [NoteModelStep()] if self.outside else []
        return [*note, *([TraceModelStep(self._tracing)] if self._tracing else [])]

    def traced(self, name: str, call: MemberCall) -> MemberCall:
        """Return the call of a member, with a span where there are traces."""
        return traced(self._tracing, name, call) if self._tracing else call

    def act(self, actor: str, action: str, target: str, details: Mapping[str, Any]) -> None:
        """Put an administrative act on record before it is done; without an audit log there is no record."""
        if self.audit is not None:
            self.audit.act(actor, action, target, details)

    @asynccontextmanager
    async def beside(self) -> AsyncIterator[None]:
        """Write the audit log and send traces while the block runs."""
        if self.audit:
            self.audit.start()
        try:
            yield
        finally:
            if self.audit:
                self.audit.close()
            if self.lines:
                self.lines.flush()
            if self._tracing:
                self._tracing.close()

    def _audit_log(self, replica: str) -> AuditLog | None:
        spec = self._spec
        if spec.audit_dir is None or spec.audit_key_file is None:
            return None
        folder = AuditFolder(
            path=Path(spec.audit_dir),
            signer=Signer.from_file(Path(spec.audit_key_file), create=True),
            clock=self._clock,
            retention_days=spec.audit_retention_days,
        )
        return AuditLog(folder, replica, self._clock, on_drop=self._metrics.unrecorded)

    def _rate_limit(self, quota: Quota) -> RateLimit:
        leases = Leases(quota, self._clock, chunk=chunk_of(quota))
        failure = OfficeFailure(admit=self._spec.admit_on_failure)
        office, unknown = self._office(quota), self._metrics.rate_unknown
        return RateLimit(leases, office, self._clock, failure=failure, on_failure=unknown)

    def _office(self, quota: Quota) -> Office:
        if self._spec.rate_backend == "ray":
            from cluster.actors.rate_office import ray_office

            return ray_office(self._application, quota)
        if self._spec.redis_url is not None:
            from cluster.security.redis_office import RedisOffice

            return RedisOffice(self._spec.redis_url, quota, namespace=self._application)
        return local_office(Bucket(quota, self._clock))
