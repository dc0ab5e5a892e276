"""What the routes do, without HTTP: pick, validate, compute, answer, count, and tell whether it all works."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

from cluster.clock import Clock
from cluster.errors import TransientError
from cluster.monitoring.aggregate import render
from cluster.monitoring.metrics import Metrics
from serve_deployments.admission import Admission, Limits
from serve_deployments.handlers import forecast
from serve_deployments.handlers.models import LoadedModel, Shelf, probe
from serve_deployments.handlers.validate import Job, validate
from serve_deployments.predictors import FusedPredictor, Predictor
from serve_deployments.schemas import ForecastRequest

logger = logging.getLogger(__name__)
PROBE_VALID_S = 1.0
"""How long a probe's result is reused: readiness may be asked often, and must not cost a forecast each time."""


class NotReadyError(TransientError):
    """The service runs, its models do not answer yet."""


class TooSlowError(TransientError):
    """The forecast took longer than the time-out."""


class Service:
    """The forecast service of one process.

    Parameters
    ----------
    shelf
        Its models.
    predictor
        Where they compute.
    executor
        Threads for validation and description.
    limits
        Bounds.
    metrics
        Counters of this process.
    clock
        For the answer's date.
    scrape
        Returns the Prometheus text of all replicas; of this process alone where None.
    """

    def __init__(
        self,
        *,
        shelf: Shelf,
        predictor: Predictor,
        executor: Executor,
        limits: Limits,
        metrics: Metrics,
        clock: Clock,
        scrape: Callable[[], Awaitable[str]] | None = None,
    ) -> None:
        self.shelf, self.limits, self.metrics = shelf, limits, metrics
        self.scrape = scrape or self._own_metrics
        self._predictor, self._executor, self._clock = predictor, executor, clock
        self._admission = Admission(inside=limits.max_concurrent_requests, waiting=limits.max_queued_requests)
        self._probed: dict[str, tuple[float, str]] = {}
        self._probe_locks: dict[str, asyncio.Lock] = {model.key: asyncio.Lock() for model in shelf}
        for model in shelf:
            metrics.serves(model.name, model.version)
            if "accuracy" in model.metrics:
                metrics.accuracy(model.name, model.version, model.metrics["accuracy"])

    async def forecast(self, request: ForecastRequest, request_id: str) -> dict[str, Any]:
        """Return the ForecastResponse as plain data; raise what `validate` raises, or a TransientError."""
        model = self.shelf.pick(request.model, request.version)
        try:
            async with asyncio.timeout(self.limits.request_timeout_s), self._admission.place():
                return await self._forecast(request, model, request_id)
        except TimeoutError as error:
            raise TooSlowError(
                f"the forecast took longer than {self.limits.request_timeout_s:g} s; try again, send fewer series, "
                "or raise ML_REQUEST_TIMEOUT_S",
                retry_after_s=1.0,
            ) from error

    async def _forecast(self, request: ForecastRequest, model: LoadedModel, request_id: str) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        job = await loop.run_in_executor(self._executor, validate, request, model)
        begun_s = time.perf_counter()
        batched = await self._predictor.points(model, job.context)
        answer = await loop.run_in_executor(self._executor, self._answer, model, job, batched.value, request_id)
        self.metrics.predicted(
            model.name,
            model.version,
            duration_s=time.perf_counter() - begun_s,
            batch_requests=batched.requests,
        )
        return answer

    def _answer(self, model: LoadedModel, job: Job, point: Any, request_id: str) -> dict[str, Any]:
        prediction = forecast.describe(model, job, point)
        now = datetime.fromtimestamp(self._clock.now_s(), UTC).isoformat(timespec="milliseconds")
        return forecast.answer(prediction, model, request_id=request_id, created_at=now)

    async def _own_metrics(self) -> str:
        return render(self.metrics.snapshot())

    async def status(self, name: str) -> dict[str, Any]:
        """Return what GET /api/models/NAME/status tells, after trying each version."""
        versions = []
        for model in self.shelf.versions(name, field="path.name").values():
            fault = await self._fault(model)
            versions.append(
                {
                    "version": model.version,
                    "ready": not fault,
                    "detail": fault or "answers",
                    "predictions": self.metrics.predictions(model.name, model.version),
                }
            )
        return {"name": name, "versions": versions}

    async def check(self) -> None:
        """Let every model forecast a made-up history; raise NotReadyError that names the first that cannot."""
        for model in self.shelf:
            if fault := await self._fault(model):
                raise NotReadyError(
                    f"model '{model.name}' {model.version} does not answer: {fault}", retry_after_s=2
                )

    async def _fault(self, model: LoadedModel) -> str:
        async with self._probe_locks[model.key]:
            tried_s, fault = self._probed.get(model.key, (-PROBE_VALID_S, ""))
            if time.monotonic() - tried_s >= PROBE_VALID_S:
                fault = await self._probe(model)
                self._probed[model.key] = (time.monotonic(), fault)
            return fault

    async def _probe(self, model: LoadedModel) -> str:
        context = probe(model)
        job = Job(context=context, steps=1, levels=(0.05, 0.95))
        try:
            async with asyncio.timeout(self.limits.request_timeout_s):
                forecast.checked((await self._predictor.points(model, context)).value, job)
        except TimeoutError:
            return f"no answer within {self.limits.request_timeout_s:g} s"
        except Exception as error:
            logger.exception("model %s does not answer its probe", model.key)
            return type(error).__name__
        return ""


def fused_service(
    shelf: Shelf,
    *,
    limits: Limits,
    max_batch_size: int,
    threads: int,
    metrics: Metrics,
    clock: Clock,
    scrape: Callable[[], Awaitable[str]] | None = None,
) -> Service:
    """Return a service that computes everything in this process.

    Parameters
    ----------
    max_batch_size
        Most requests in one call of a model.
    threads
        For blocking work.
    shelf, limits, metrics, clock, scrape
        See Service.
    """
    executor = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="model")
    admitted = limits.max_concurrent_requests + limits.max_queued_requests
    # Room for a probe of each model, so that a full house is not taken for an ill one.
    waiting = admitted + len(list(shelf))
    predictor = FusedPredictor(shelf, executor, max_batch_size=max_batch_size, max_waiting=waiting)
    return Service(
        shelf=shelf,
        predictor=predictor,
        executor=executor,
        limits=limits,
        metrics=metrics,
        clock=clock,
        scrape=scrape,
    )
