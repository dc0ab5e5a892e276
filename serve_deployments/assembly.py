"""What stands around the computation in a replica: the one place that switches steps on by the spec."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster.clock import MonotonicClock, SystemClock
from cluster.monitoring.metrics import Metrics
from cluster.monitoring.model_cache_metrics import ModelCacheMetrics
from cluster.security.access import Access
from cluster.security.key_file import KeyFile
from cluster.security.key_ring import KeyRing
from cluster.storage.files import Storage
from serve_deployments.access_step import AccessStep, ModelAccessStep
from serve_deployments.anomalies.connection import StreamLimits, Streams, stream_routes
from serve_deployments.anomalies.feedback_route import feedback_routes
from serve_deployments.graph import GraphSpec, ServedModel
from serve_deployments.guard import Guard
from serve_deployments.ingress import Routes
from serve_deployments.loading import bring_in, bring_up, load_shelf
from serve_deployments.pipelines import FusedPipeline
from serve_deployments.resilience.net import SafetyNet, TellAll
from serve_deployments.scaling.work import WorkStep
from serve_deployments.servable import Servable
from serve_deployments.service import Service
from serve_deployments.steps import CallStep, DoorStep
from serve_deployments.tap import Observer
from serve_deployments.versions.lives import Lives
from serve_deployments.versions.model_cache import ModelCache
from serve_deployments.versions.residents import Residents
from serve_deployments.versions.stock import Stock

if TYPE_CHECKING:
    from serve_deployments.rollout.replica import ReplicaTraffic


class Assembly:
    """The parts of a replica that a spec asks for. A part that is off is not in its list and costs nothing.

    To plug in: build the part here from the spec and put it into one of the four lists, in the order that requests
    meet them.

    Parameters
    ----------
    spec
        Says what is on.
    metrics
        Of the replica.
    replica
        Its name, unlike any other's.
    tell_all
        Reaches every replica, see `SafetyNet.routes`; this one alone where None.
    """

    def __init__(self, spec: GraphSpec, metrics: Metrics, *, replica: str, tell_all: TellAll | None = None) -> None:
        self._spec, self._metrics, self._tell_all, self._replica = spec, metrics, tell_all, replica
        self.guard = Guard(
            spec.guard, application=spec.application, replica=replica, clock=SystemClock(), metrics=metrics
        )
        self.models = _model_cache(spec, metrics, replica)
        self.shelf = load_shelf(spec, warm=spec.placement == "fused", models=self.models)
        self.work = WorkStep(MonotonicClock()) if spec.scaling.automatic else None
        self.net = SafetyNet(
            spec.safety,
            application=spec.application,
            replica=replica,
            shelf=self.shelf,
            metrics=metrics,
            clock=MonotonicClock(),
        )

    @cached_property
    def traffic(self) -> ReplicaTraffic | None:
        """Rollouts and experiments; None where they are off."""
        from serve_deployments.rollout.replica import ReplicaTraffic

        spec = self._spec
        if spec.traffic is None:
            return None
        return ReplicaTraffic(
            spec.traffic,
            application=spec.application,
            replica=self._replica,
            shelf=self.shelf,
            clock=SystemClock(),
            act=self.guard.act,
            timeout_s=spec.limits.request_timeout_s,
        )

    def follow(self, service: Service) -> None:
        """Let versions come and go while the process answers; spread ones change with their deployments."""
        spec, lanes = self._spec, service.pipeline
        if self.traffic is None or not isinstance(lanes, FusedPipeline):
            return
        self.traffic.follow(
            Stock(
                [asdict(model) for model in spec.models],
                self.shelf,
                self.models or lanes,
                self._bring_up,
                self._metrics,
                grace_s=spec.limits.request_timeout_s,
            )
        )

    def _bring_up(self, model: Mapping[str, Any]) -> Servable | Exception:
        if self.models is not None:
            return bring_in(self._spec, ServedModel(**model), self.models)
        return bring_up(self._spec, ServedModel(**model), self.shelf, warm=True)

    @cached_property
    def _access(self) -> Access | None:
        spec = self._spec
        if spec.keys_file is None:
            return None
        return Access(
            keys=KeyRing(KeyFile(Path(spec.keys_file))), required=spec.key_required, roles=spec.roles_checked
        )

    @property
    def door(self) -> Sequence[DoorStep]:
        """Before every route, the first outermost: audit, access, rate limit."""
        access: list[DoorStep] = [AccessStep(self._access)] if self._access else []
        return [*self.guard.outside, *access, *self.guard.inside]

    @property
    def steps(self) -> Sequence[CallStep]:
        """Around the computation, the first outermost: access to the model, split, cache, fallback, breaker."""
        access: list[CallStep] = [ModelAccessStep(self._access)] if self._access else []
        split: list[CallStep] = [self.traffic.step] if self.traffic else []
        work: list[CallStep] = [self.work] if self.work else []
        return [*work, *self.guard.steps, *access, *split, *self.net.steps]

    @property
    def observers(self) -> Sequence[Observer]:
        """See each answer after the user has it: exposure log, shadow comparison, drift."""
        return []

    @property
    def routes(self) -> Sequence[Routes]:
        """Add further rare routes."""
        streams = stream_routes(Streams(StreamLimits()), self._access)
        events = self._spec.events_url
        feedback = [feedback_routes(Storage(events), SystemClock())] if events else []
        rollouts = [self.traffic.routes] if self.traffic else []
        return [streams, *feedback, self.net.routes(self._tell_all), *rollouts]


def _model_cache(spec: GraphSpec, metrics: Metrics, replica: str) -> ModelCache | None:
    """Return what bounds the models in memory; None where nothing does."""
    if spec.model_memory_bytes is None:
        return None
    return ModelCache(
        Residents(spec.model_memory_bytes),
        Lives(SystemClock()),
        ModelCacheMetrics(metrics.registry, replica),
        MonotonicClock(),
        max_waiting=spec.limits.max_concurrent_requests + spec.limits.max_queued_requests,
    )
