"""Thin Ray Serve shells around the service and its nodes. Imported only where Ray runs."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from functools import partial
from typing import Any

import numpy as np
from fastapi import FastAPI
from ray import serve
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayActorError
from ray.serve.config import AutoscalingConfig, AutoscalingPolicy, BackpressureConfig
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle

from cluster import express
from cluster.clock import SystemClock
from cluster.errors import TransientError
from cluster.monitoring import metrics_actor, request_log
from cluster.monitoring.metrics import Metrics
from serve_deployments.assembly import Assembly
from serve_deployments.batch_policy import BatchPolicy
from serve_deployments.batching import Batcher
from serve_deployments.gathering import AT_ONCE
from serve_deployments.graph import GraphSpec, Scaling
from serve_deployments.ingress import App, build_api
from serve_deployments.loading import load_servable
from serve_deployments.node_cost import INLINE_MOST_S, bytes_of, measure
from serve_deployments.pipelines import Batching
from serve_deployments.placement import BY_VALUE_BYTES
from serve_deployments.servable import Servable, member_each
from serve_deployments.service import Service, fused_service
from serve_deployments.spread import MemberCall, Output, SpreadPipeline

logger = logging.getLogger(__name__)
PUSH_PERIOD_S = 1.0
PUSH_TIMEOUT_S = 5.0
HEALTH_ROOM = 16
"""Requests a replica takes beyond its limits, so that health checks and refusals get through."""
CONSTRUCTOR_TRIES = 3
FORGET_TIMEOUT_S = 10.0
COLLECT_AFTER = (10_000, 20, 50)
"""Objects, and collections, after which Python looks for garbage, in place of (700, 10, 10). Requests under way
hold thousands, which each collection walks through in vain: with 64 callers these numbers gave 15 % more requests a
second and half the p99 (72 -> 40 ms); five times as many gave no more."""
SERVE_SCALING = "serve_deployments.scaling.serve_policy:ServeScaling"


def fused(spec: GraphSpec) -> serve.Application:
    """Return the application whose ingress replicas compute everything themselves."""
    return _ingress_options(spec, FusedIngress).bind(spec.to_json())


def spread(spec: GraphSpec) -> serve.Application:
    """Return the application with a deployment for each member of each model."""
    members: dict[str, list[serve.Application]] = {}
    for place, served in enumerate(spec.models):
        model = load_servable(spec, served)
        members[model.key] = [
            _member_options(spec, node_name(model, index)).bind(spec.to_json(), place, index)
            for index in range(len(model.members))
        ]
    return _ingress_options(spec, SpreadIngress).bind(spec.to_json(), members)


def _ingress_options(spec: GraphSpec, kind: Any) -> Any:
    limits = spec.limits
    return serve.deployment(kind).options(
        **_replicas(spec, limits.max_concurrent_requests, lowest=1, told=True),
        name="Ingress",
        ray_actor_options={"num_cpus": spec.ingress_cpus},
        # The service refuses first, with a problem document; Serve's own limits stand behind it.
        max_ongoing_requests=limits.max_concurrent_requests + limits.max_queued_requests + HEALTH_ROOM,
        max_queued_requests=4 * (limits.max_concurrent_requests + limits.max_queued_requests),
    )


def _member_options(spec: GraphSpec, name: str) -> Any:
    return serve.deployment(Member).options(
        # What is ongoing at a member are groups of requests.
        **_replicas(spec, AT_ONCE, lowest=0),
        name=name,
        ray_actor_options={"num_cpus": spec.member_cpus},
        # Each ingress replica has no more inside; what is too much for this replica its batcher refuses.
        max_ongoing_requests=spec.limits.max_concurrent_requests + HEALTH_ROOM,
        max_queued_requests=spec.limits.max_concurrent_requests + spec.limits.max_queued_requests,
    )


def _replicas(spec: GraphSpec, capacity: int, *, lowest: int, told: bool = False) -> dict[str, Any]:
    """Return the options about replicas; `told` of a deployment whose replicas record their work."""
    scaling = spec.scaling
    common: dict[str, Any] = {
        "health_check_period_s": spec.health_check_period_s,
        "health_check_timeout_s": spec.limits.request_timeout_s + spec.health_check_period_s,
        "graceful_shutdown_timeout_s": spec.shutdown_s,
        "graceful_shutdown_wait_loop_s": min(0.5, spec.shutdown_s),
        "max_surge_percent": 100,
        "max_constructor_retry_count": CONSTRUCTOR_TRIES,
        "backpressure_config": BackpressureConfig(status_code=503, retry_after_s=1),
    }
    if not scaling.automatic:
        return {**common, "num_replicas": max(1, scaling.min_replicas)}
    target, low = max(1.0, capacity / 2), max(lowest, scaling.min_replicas)
    policy = {"policy": _scaling_policy(scaling, low, target)} if told else {}
    return {
        **common,
        "autoscaling_config": AutoscalingConfig(
            min_replicas=low,
            max_replicas=max(1, scaling.max_replicas),
            target_ongoing_requests=target,
            upscale_delay_s=scaling.upscale_delay_s,
            downscale_delay_s=scaling.downscale_delay_s,
            **policy,
        ),
    }


def _scaling_policy(scaling: Scaling, min_replicas: int, target_ongoing: float) -> AutoscalingPolicy:
    rate = {"lead_s": scaling.upscale_delay_s + scaling.start_up_s} if scaling.foresee else None
    asked = {
        "min_replicas": min_replicas,
        "max_replicas": max(1, scaling.max_replicas),
        "target_ongoing": target_ongoing,
        "slow_s": scaling.slow_s,
    }
    return AutoscalingPolicy(policy_function=SERVE_SCALING, policy_kwargs={"scaling": asked, "rate": rate})


def _threads(spec: GraphSpec) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=spec.threads, thread_name_prefix="model")


class Reporter:
    """Sends a replica's counters to the application's aggregate, about once a second and when asked."""

    def __init__(self, application: str, metrics: Metrics) -> None:
        self._application, self._metrics = application, metrics
        self.source = serve.get_replica_context().replica_tag
        self._actor: Any = None

    async def scrape(self) -> str:
        """Return the text of all replicas' counters."""
        return str(await self._call("scrape"))

    @asynccontextmanager
    async def beside(self, _: FastAPI) -> AsyncIterator[None]:
        """Push while the block runs, and once more at its end."""
        pushing = asyncio.create_task(self.push_for_ever())
        try:
            yield
        finally:
            pushing.cancel()
            await self._push()

    async def push_for_ever(self) -> None:
        """Push about once a second until cancelled."""
        while True:
            await self._push()
            await asyncio.sleep(PUSH_PERIOD_S)

    async def _push(self) -> None:
        try:
            await self._call("push")
        except TransientError as error:
            # Nothing is lost: counts are cumulative, the next push brings these as well.
            logger.warning("metrics not pushed: %s", error)

    async def _call(self, method: str) -> Any:
        try:
            if self._actor is None:
                self._actor = metrics_actor.get_or_create(self._application)
            call = getattr(self._actor, method).remote(self.source, self._metrics.snapshot())
            return await asyncio.wait_for(call, PUSH_TIMEOUT_S)
        except (RayActorError, TimeoutError) as error:
            self._actor = None
            raise TransientError(
                f"the metrics of all replicas are not available: {type(error).__name__}",
                retry_after_s=PUSH_PERIOD_S,
            ) from error


@serve.ingress()
class FusedIngress:
    """HTTP and all nodes in one process."""

    def __init__(self, spec_json: Mapping[str, Any]) -> None:
        spec, metrics = GraphSpec.from_json(spec_json), Metrics()
        request_log.set_up(spec.guard.log_format)
        reporter = Reporter(spec.application, metrics)
        parts = self._parts = Assembly(
            spec, metrics, replica=reporter.source, tell_all=partial(_tell_all, spec.application)
        )
        self._service = fused_service(
            parts.shelf,
            models=parts.models,
            limits=spec.limits,
            target_s=spec.target_s,
            max_batch_size=spec.max_batch_size,
            threads=spec.threads,
            metrics=metrics,
            clock=SystemClock(),
            steps=parts.steps,
            observers=parts.observers,
            scrape=reporter.scrape,
        )
        self._api = _api(parts, self._service, reporter)

    def __serve_build_asgi_app__(self) -> App:
        """Return the application Serve sends HTTP to."""
        return self._api

    async def forget(self, reason: str, model: str | None) -> None:
        """Throw kept answers away."""
        await self._parts.net.forget(reason, model)

    def record_autoscaling_stats(self) -> dict[str, float]:
        """Return what the scaling policy reads."""
        return self._parts.work.stats() if self._parts.work else {}

    async def check_health(self) -> None:
        """Let each model answer."""
        await self._service.check()


@serve.ingress()
class SpreadIngress:
    """HTTP and the nodes that are not worth a way; members are called."""

    def __init__(self, spec_json: Mapping[str, Any], members: Mapping[str, Sequence[DeploymentHandle]]) -> None:
        spec, metrics = GraphSpec.from_json(spec_json), Metrics()
        request_log.set_up(spec.guard.log_format)
        reporter = Reporter(spec.application, metrics)
        parts = self._parts = Assembly(
            spec, metrics, replica=reporter.source, tell_all=partial(_tell_all, spec.application)
        )
        self._shelf, self._executor = parts.shelf, _threads(spec)
        calls = {
            key: [parts.guard.traced(handle.deployment_name, member_call(handle)) for handle in handles]
            for key, handles in members.items()
        }
        admitted = spec.limits.max_concurrent_requests + spec.limits.max_queued_requests
        batching = Batching(
            target_s=spec.target_s, max_rows=spec.max_batch_size, max_waiting=admitted + len(list(self._shelf))
        )
        service = Service(
            shelf=self._shelf,
            pipeline=SpreadPipeline(self._shelf, calls, self._executor, batching=batching, metrics=metrics),
            executor=self._executor,
            limits=spec.limits,
            metrics=metrics,
            clock=SystemClock(),
            steps=parts.steps,
            observers=parts.observers,
            scrape=reporter.scrape,
        )
        self._api = _api(parts, service, reporter)

    def __serve_build_asgi_app__(self) -> App:
        """Return the application Serve sends HTTP to."""
        return self._api

    async def forget(self, reason: str, model: str | None) -> None:
        """Throw kept answers away."""
        await self._parts.net.forget(reason, model)

    def record_autoscaling_stats(self) -> dict[str, float]:
        """Return what the scaling policy reads."""
        return self._parts.work.stats() if self._parts.work else {}

    async def check_health(self) -> None:
        """Compute features; members answer for themselves, and a dead one must not take the ingress with it."""
        loop = asyncio.get_running_loop()
        for model in self._shelf:
            await loop.run_in_executor(self._executor, model.prepare, [model.probe()])


async def _tell_all(application: str, reason: str, model: str | None) -> int:
    """Let every ingress replica throw kept answers away; return how many did."""
    handle = serve.get_app_handle(application)
    told = await handle.broadcast("forget", reason, model).results_async(timeout_s=FORGET_TIMEOUT_S)
    return len(told)


def _api(parts: Assembly, service: Service, reporter: Reporter) -> App:
    @asynccontextmanager
    async def beside(app: FastAPI) -> AsyncIterator[None]:
        gc.collect()
        gc.freeze()  # models and modules stay: collections look at what requests leave behind, not at those
        gc.set_threshold(*COLLECT_AFTER)
        parts.follow(service)
        async with reporter.beside(app), parts.guard.beside(), parts.net.beside(), _linked(parts):
            yield

    # On the short way nobody else tells the caller the request's id; Serve's own proxy does.
    api = build_api(service, door=parts.door, more=parts.routes, lifespan=beside, echo_request_id=express.is_on())
    express.register(api)
    return api


def _linked(parts: Assembly) -> AbstractAsyncContextManager[None]:
    return parts.traffic.link.beside() if parts.traffic else nullcontext()


def node_name(servable: Servable, index: int) -> str:
    """Return the name of a member's deployment."""
    return f"{servable.name}.{servable.version}.{index}.{servable.members[index]}"


class Member:
    """One member of one version, concurrent requests as one call."""

    def __init__(self, spec_json: Mapping[str, Any], model: int, index: int) -> None:
        spec, metrics = GraphSpec.from_json(spec_json), Metrics()
        request_log.set_up(spec.guard.log_format)
        self._reporter = Reporter(spec.application, metrics)
        servable = load_servable(spec, spec.models[model])
        self._probe = servable.prepare([servable.probe()])
        inline = measure(servable).members_s[index] <= INLINE_MOST_S
        self._policy = BatchPolicy(target_s=spec.target_s, max_size=spec.max_batch_size)
        self._batcher: Batcher[Any, np.ndarray[Any, Any]] = Batcher(
            partial(member_each, servable, index),
            _threads(spec),
            self._policy,
            inline=inline,
            max_waiting=spec.limits.max_concurrent_requests + HEALTH_ROOM,
            rows=len,
            released=partial(metrics.released, node_name(servable, index)),
        )
        self._pushing: asyncio.Task[None] | None = None

    async def predict(self, features: Any) -> Output | Exception:
        """Return the output; an error comes as a value, so that it keeps its class on the way."""
        try:
            batched = await self._batcher.submit(features)
            return Output(batched.value, self._policy.size)
        except Exception as error:  # noqa: BLE001 - raised again where the request is
            return error

    async def check_health(self) -> None:
        """Answer a made-up question; the first check also starts telling the metrics."""
        self._pushing = self._pushing or asyncio.create_task(self._reporter.push_for_ever())
        await self._batcher.submit(self._probe)


def member_call(handle: DeploymentHandle) -> MemberCall:
    """Return the call of one member: errors raised here, and one more try where its replica died."""
    by_value = handle.options(method_name="predict", _by_reference=False)
    by_reference = handle.options(method_name="predict", _by_reference=True)

    async def call(features: Any) -> Output:
        way = by_value if bytes_of(features) <= BY_VALUE_BYTES else by_reference
        try:
            return await _once(way, features)
        except (ActorDiedError, ActorUnavailableError):
            # A forecast changes nothing, so that asking again is safe.
            logger.warning("a replica of %s went away; asking another", handle.deployment_name)
        try:
            return await _once(way, features)
        except (ActorDiedError, ActorUnavailableError) as error:
            raise TransientError(
                f"member '{handle.deployment_name}' is being restarted; try again", retry_after_s=2.0
            ) from error

    return call


async def _once(handle: DeploymentHandle, features: Any) -> Output:
    try:
        reply = await handle.remote(features)
    except (BackPressureError, DeploymentUnavailableError) as error:
        raise TransientError(f"a member takes no more requests: {error}", retry_after_s=1.0) from error
    if isinstance(reply, Exception):
        raise reply
    answered: Output = reply
    return answered
