"""What is served, as data: models, placement, bounds, scaling. The same spec runs fused or spread."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from cluster.errors import ConfigError
from cluster.settings import PLACEMENTS, Placement, Settings
from cluster.storage.cache import local_copy
from serve_deployments.admission import Limits
from serve_deployments.guard_spec import GuardSpec
from serve_deployments.node_cost import NodeCost, measure
from serve_deployments.placement import PlacementDecision, PlacementPolicy
from serve_deployments.resilience.safety_spec import SafetySpec
from serve_deployments.rollout.traffic_spec import TrafficSpec
from serve_deployments.versions.weight import KNOB, check_fit
from training.core.artifact import verify

if TYPE_CHECKING:
    from ray.serve import Application

    from serve_deployments.servable import Servable

logger = logging.getLogger(__name__)
DEVELOPMENT_SHUTDOWN_S, SHUTDOWN_S = 2.0, 20.0


@dataclass(frozen=True, kw_only=True)
class ServedModel:
    """A registered version to serve.

    Parameters
    ----------
    name, version
        As registered.
    uri
        Where its artifact is.
    kind
        What it answers: a key of `handlers.kinds.KINDS`.
    metrics
        As measured before registration; `accuracy` shows as ml_model_accuracy.
    """

    name: str
    version: str
    uri: str
    kind: str = "forecast"
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """How many replicas a deployment has.

    Parameters
    ----------
    automatic
        Follow the load; else always `min_replicas` (at least one).
    min_replicas, max_replicas
        Bounds; a minimum of 0 lets idle members of a spread graph sleep.
    upscale_delay_s, downscale_delay_s
        How long the load must last before replicas come or go.
    slow_s
        Latency (95th percentile) of the ingress from which on it gets more replicas.
    foresee
        Let the ingress also have the replicas that a forecast of its request rate asks for: see
        `scaling.policy.ScalingPolicy`.
    start_up_s
        What a replica takes from the decision to its first answer: how far ahead is looked, beside the delay.
    """

    automatic: bool = False
    min_replicas: int = 1
    max_replicas: int = 1
    upscale_delay_s: float = 10.0
    downscale_delay_s: float = 300.0
    slow_s: float = 1.0
    foresee: bool = False
    start_up_s: float = 10.0


@dataclass(frozen=True, kw_only=True)
class GraphSpec:
    """A serving graph.

    Parameters
    ----------
    application
        Name in Ray Serve. Keep it from version to version: an update then replaces replicas one by one.
    models
        What is served; of several versions of a name the first answers where no version is asked for.
    placement
        `fused`: everything in each replica, fastest for small models. `spread`: each member in a deployment of its
        own, for members that need their own machine or scale. `auto`: whichever the measured cost of the nodes and
        the size of the models ask for; see `placement`.
    limits
        Bounds of one ingress replica.
    scaling
        Replicas of the ingress, and of each member.
    max_batch_size
        Most rows (series of a forecast) in one call of a model.
    target_s
        Latency that batches are sized for: more company makes each request cheaper, and all of them later.
    threads
        Threads of a replica for blocking work.
    model_threads
        Threads that one call of a torch model uses.
    ingress_cpus, member_cpus
        Logical CPUs a replica reserves; small enough that a whole graph, twice during an update, fits two cores.
    health_check_period_s
        How often each replica must make a forecast.
    shutdown_s
        Time a replica has to finish its requests when it is replaced.
    cache_dir
        Where artifacts are copied to on each machine.
    keys_file
        API keys; None switches authentication off.
    key_required, roles_checked
        Refuse requests without a key; check roles.
    guard
        Rate limit, audit, log lines, traces.
    safety
        What is kept of answers, and who answers when a model cannot.
    events_url
        Storage with past anomalies and what came of them; None knows none.
    traffic
        Rollouts and experiments; None lets the default version answer all.
    model_memory_bytes
        Most that the models of a replica take in memory, see `versions.model_cache`; None keeps all of them there.
    """

    application: str = "heliotrope"
    models: tuple[ServedModel, ...]
    placement: Placement = "fused"
    limits: Limits
    scaling: Scaling = field(default_factory=Scaling)
    max_batch_size: int = 64
    target_s: float = 0.05
    threads: int = 2
    model_threads: int = 1
    ingress_cpus: float = 0.3
    member_cpus: float = 0.2
    health_check_period_s: float = 10.0
    shutdown_s: float = SHUTDOWN_S
    cache_dir: str
    keys_file: str | None = None
    key_required: bool = False
    roles_checked: bool = False
    guard: GuardSpec = field(default_factory=GuardSpec)
    safety: SafetySpec = field(default_factory=SafetySpec)
    events_url: str | None = None
    traffic: TrafficSpec | None = None
    model_memory_bytes: int | None = None

    def __post_init__(self) -> None:
        if not self.models:
            raise ConfigError("nothing to serve: got no model, expected at least one registered version")
        if self.placement not in PLACEMENTS:
            raise ConfigError(f"placement: got '{self.placement}', expected one of {', '.join(PLACEMENTS)}")
        if self.key_required and self.keys_file is None:
            raise ConfigError("keys are required, but there is no key file: set ML_API_KEYS_FILE")
        if self.model_memory_bytes is not None and self.placement != "fused":
            raise ConfigError(
                f"placement: got '{self.placement}' with {KNOB}, expected 'fused': members of a spread graph stay "
                "in deployments of their own, and `auto` measures all models at once"
            )
        keys = [(model.name, model.version) for model in self.models]
        if len(set(keys)) < len(keys):
            raise ConfigError(f"models: got {keys}, expected each version once")

    @classmethod
    def from_settings(
        cls,
        settings: Settings,
        models: Sequence[ServedModel],
        *,
        application: str = "heliotrope",
        placement: Placement | None = None,
    ) -> Self:
        """Return the spec that a profile's settings ask for; `placement` in place of theirs."""
        development = settings.profile == "development"
        return cls(
            application=application,
            models=tuple(models),
            placement=placement or settings.placement,
            limits=Limits(
                max_body_bytes=settings.max_body_bytes,
                request_timeout_s=settings.request_timeout_s,
                max_concurrent_requests=settings.max_concurrent_requests,
                max_queued_requests=settings.max_concurrent_requests,
            ),
            scaling=Scaling(
                automatic=settings.enable_auto_scaling,
                min_replicas=settings.min_instances,
                max_replicas=settings.max_instances,
                slow_s=settings.autoscaling_latency_s,
                foresee=settings.autoscaling_forecast,
            ),
            shutdown_s=DEVELOPMENT_SHUTDOWN_S if development else SHUTDOWN_S,
            cache_dir=str(settings.home / "cache"),
            keys_file=str(settings.api_keys_file) if settings.enable_authentication else None,
            key_required=settings.api_key_required,
            roles_checked=settings.enable_authorization,
            guard=GuardSpec.from_settings(settings),
            safety=SafetySpec.from_settings(settings),
            events_url=settings.storage_url,
            traffic=TrafficSpec.from_settings(settings),
            model_memory_bytes=settings.model_memory_bytes,
        )

    def exchanges_versions(self, wanted: GraphSpec) -> bool:
        """Say whether its replicas can come to serve another spec as they are: only versions come and go."""
        names = ({model.name for model in spec.models} for spec in (self, wanted))
        same = replace(self, models=wanted.models) == wanted and len(set(map(frozenset, names))) == 1
        return same and self.placement == "fused" and self.traffic is not None

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-able dict that `from_json` reads."""
        return {**asdict(self), "models": [asdict(model) for model in self.models]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Rebuild what `to_json` gave."""
        return cls(
            **{
                **data,
                "models": tuple(ServedModel(**model) for model in data["models"]),
                "limits": Limits(**data["limits"]),
                "scaling": Scaling(**data["scaling"]),
                "guard": GuardSpec.from_json(data["guard"]),
                "traffic": TrafficSpec.from_json(data["traffic"]),
                "safety": SafetySpec.from_json(data["safety"]),
            }
        )


def build_graph(spec: GraphSpec) -> Application:
    """Return the Serve application of a spec; it needs no running cluster, only the artifacts.

    Raises
    ------
    ArtifactCorrupt
        An artifact's file does not have its digest: better here, by name, than in a replica that starts over.
    UnknownNameError
        An artifact is not there.
    ConfigError
        A model is larger than the memory for models.
    """
    for model in spec.models:
        verify(local_copy(model.uri, Path(spec.cache_dir)))
    if spec.model_memory_bytes is not None:
        from serve_deployments.loading import weights

        check_fit(weights(spec), spec.model_memory_bytes)
    from serve_deployments import deployments

    placed = place(spec) if spec.placement == "auto" else spec
    return deployments.fused(placed) if placed.placement == "fused" else deployments.spread(placed)


def place(spec: GraphSpec) -> GraphSpec:
    """Decide where the nodes run, and say why in the log."""
    decision, _ = decide_placement(spec)
    logger.info("application '%s' runs %s: %s", spec.application, decision.placement, decision.why)
    return replace(spec, placement=decision.placement)


def decide_placement(spec: GraphSpec) -> tuple[PlacementDecision, list[tuple[Servable, NodeCost]]]:
    """Load and measure the models here; return where `auto` would let their nodes run, and what each node costs."""
    from serve_deployments.loading import load_shelf

    folders = {
        f"{model.name}@{model.version}": local_copy(model.uri, Path(spec.cache_dir)) for model in spec.models
    }
    sizes_bytes = {key: sum(file.stat().st_size for file in folder.iterdir()) for key, folder in folders.items()}
    policy = PlacementPolicy(
        cores=len(os.sched_getaffinity(0)), memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    )
    measured = [(each, measure(each)) for each in load_shelf(spec)]
    return policy.decide({each.key: cost for each, cost in measured}, sizes_bytes), measured
