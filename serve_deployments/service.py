"""What the routes do, without HTTP: pick, validate, compute, answer, count, and tell whether it all works."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import orjson

from cluster.clock import Clock
from cluster.errors import TransientError
from cluster.monitoring.aggregate import render
from cluster.monitoring.metrics import Metrics
from serve_deployments.admission import Admission, Limits
from serve_deployments.handlers import arrow, body
from serve_deployments.handlers.shelf import Shelf
from serve_deployments.patience import Patience
from serve_deployments.pipelines import Batching, FusedPipeline, Pipeline
from serve_deployments.servable import Asleep, Servable
from serve_deployments.steps import Answer, Call, CallStep, Visit, chain
from serve_deployments.tap import Observer, Tap
from serve_deployments.versions.model_cache import ModelCache

logger = logging.getLogger(__name__)
PROBE_VALID_S = 1.0
"""How long a probe's result is reused: readiness may be asked often, and must not cost a forecast each time."""
HERE_MOST_BYTES = 65_536
"""A larger body is validated in a thread: on the event loop it would hold up all others for milliseconds."""


class NotReadyError(TransientError):
    """The service runs, its models do not answer yet."""


class TooSlowError(TransientError):
    """The answer took longer than the time-out."""


class Service:
    """What one process serves.

    A question goes through the steps (cache, fallback, traffic split: whatever the process was given), then through
    the nodes validate, features, members, combine, describe of the version they chose; the answer passes the tap.

    Parameters
    ----------
    shelf
        Its versions.
    pipeline
        Where they compute.
    executor
        Threads for the validation of large bodies.
    limits
        Bounds.
    metrics
        Counters of this process.
    clock
        For the answer's date.
    steps
        Around the computation, the first outermost.
    observers
        See every answer after the user has it.
    scrape
        Returns the Prometheus text of all replicas; of this process alone where None.
    models
        Wakes versions that sleep; all are in memory where None.
    """

    def __init__(
        self,
        *,
        shelf: Shelf,
        pipeline: Pipeline,
        executor: Executor,
        limits: Limits,
        metrics: Metrics,
        clock: Clock,
        steps: Sequence[CallStep] = (),
        observers: Sequence[Observer] = (),
        scrape: Callable[[], Awaitable[str]] | None = None,
        models: ModelCache | None = None,
    ) -> None:
        self.shelf, self.limits, self.metrics, self._models = shelf, limits, metrics, models
        self.scrape = scrape or self._own_metrics
        self._pipeline, self._executor, self._clock = pipeline, executor, clock
        self._steps, self._tap = chain(steps, self._compute), Tap(observers, metrics.unwatched)
        # Two doors: a question is validated before the cache is asked, and only then computed.
        self._validating, self._admission = (
            Admission(inside=limits.max_concurrent_requests, waiting=limits.max_queued_requests) for _ in range(2)
        )
        self._patience = Patience(limits.request_timeout_s)
        self._probed: dict[str, tuple[float, str]] = {}
        self._probe_locks: dict[str, asyncio.Lock] = {}
        for servable in shelf:
            metrics.serves(servable.name, servable.version)
            if "accuracy" in servable.metrics:
                metrics.accuracy(servable.name, servable.version, servable.metrics["accuracy"])

    async def read_body(self, visit: Visit, kinds: Sequence[str] = (body.JSON,)) -> bytes:
        """Return a request's whole body; see `handlers.body.receive`."""
        return await body.receive(visit, self.limits.max_body_bytes, self._patience, kinds)

    async def answer(self, kind: str, question: Any, visit: Visit) -> Answer:
        """Return the answer to a typed question; raise what `validate` raises, or a TransientError.

        Parameters
        ----------
        kind
            What the version must answer.
        question
            With the attributes `model` and `version`.
        visit
            The request it came with.
        """
        call = Call(
            question=question,
            servable=self.shelf.pick(question.model, question.version, kind),
            visit=visit,
            validate=self._validate,
        )
        try:
            with self._patience.wait():
                answer = await self._steps(call)
        except TimeoutError as error:
            raise TooSlowError(
                f"the answer took longer than {self.limits.request_timeout_s:g} s; try again, send fewer series, "
                "or raise ML_REQUEST_TIMEOUT_S",
                retry_after_s=1.0,
            ) from error
        self._tap.offer(call, answer)
        return answer

    async def _compute(self, call: Call) -> Answer:
        """Run the graph: the end of the steps."""
        if self._models is None:
            async with self._admission:
                return await self._computed(call.servable, await call.job(), call.question)
        job = await call.job()  # a wrong question wakes nobody, and who waits for a load holds no place
        async with self._models.lease(call.servable) as servable, self._admission:
            return await self._computed(servable, job, call.question)

    async def _computed(self, servable: Servable, job: Any, question: Any) -> Answer:
        begun_s = time.perf_counter()
        batched = await self._pipeline.run(servable, job)
        explanation = await self._explain(servable, question)
        self.metrics.predicted(
            servable.name,
            servable.version,
            duration_s=time.perf_counter() - begun_s,
            batch_requests=batched.requests,
        )
        return Answer(
            servable=servable,
            result=batched.value,
            batch_requests=batched.requests,
            explanation=explanation,
        )

    async def _explain(self, servable: Servable, question: Any) -> list[dict[str, Any]] | None:
        """Run the explain node where the question asks for it: in a thread, it takes a hundred forecasts' time."""
        explain = servable.explanation(question)
        if explain is None:
            return None
        return await asyncio.get_running_loop().run_in_executor(self._executor, explain)

    async def _validate(self, call: Call) -> Any:
        if call.visit.body_bytes <= HERE_MOST_BYTES:
            return call.servable.validate(call.question)
        loop = asyncio.get_running_loop()
        async with self._validating:
            return await loop.run_in_executor(self._executor, call.servable.validate, call.question)

    def fields(self, answer: Answer, visit: Visit) -> dict[str, Any]:
        """Return the whole answer as orjson writes it."""
        told = {**self._about(answer, visit), **answer.plain()}
        return told if answer.explanation is None else {**told, "explanation": answer.explanation}

    def _about(self, answer: Answer, visit: Visit) -> dict[str, Any]:
        """Return what is said of an answer once."""
        now = datetime.fromtimestamp(self._clock.now_s(), UTC).isoformat(timespec="milliseconds")
        servable = answer.servable
        return {
            "request_id": visit.request_id,
            "model": {"name": servable.name, "version": servable.version},
            "created_at": now,
            "rung": answer.rung,
            "fallback_reason": answer.reason or None,
        }

    def table(self, answer: Answer, visit: Visit) -> bytes:
        """Return the answer as an Arrow stream; what is said of it once stands in the schema's metadata."""
        about = {name: orjson.dumps(value).decode() for name, value in self._about(answer, visit).items()}
        return arrow.write(answer.servable.table(answer.result), about)

    @property
    def pipeline(self) -> Pipeline:
        """Where versions compute."""
        return self._pipeline

    async def _own_metrics(self) -> str:
        return render(self.metrics.snapshot())

    async def status(self, name: str) -> dict[str, Any]:
        """Return what GET /api/models/NAME/status tells, after trying each version."""
        served = self.shelf.versions(name, field="path.name")
        versions = []
        for version, life in self.shelf.lives.of_name(name).items():
            told = await self._told(served.get(version))
            counted = {"predictions": self.metrics.predictions(name, version)}
            versions.append({"version": version, **told, **counted, **life.to_json()})
        return {"name": name, "versions": versions}

    async def _told(self, servable: Servable | None) -> dict[str, Any]:
        """Return whether a version answers, and whether it is in memory; one that sleeps is not woken for it."""
        if servable is None:
            return {"ready": False, "detail": "not served", "resident": False, "memory_bytes": None}
        taken = None if self._models is None else self._models.size_bytes(servable)
        if self._models is not None and self._models.sleeps(servable):
            fault = self._models.fault(servable)
            told = {"ready": not fault, "detail": fault or "sleeps until it is asked", "resident": False}
        else:
            fault = await self._fault(servable)
            told = {"ready": not fault, "detail": fault or "answers", "resident": True}
        return {**told, "memory_bytes": taken}

    async def check(self) -> None:
        """Let every version answer a made-up question; raise NotReadyError that names the first that cannot.

        Those that sleep are left alone: each look would load hundreds. One that could not be loaded makes the
        process neither unready nor ill, as no new process would load it either; its status tells.
        """
        for servable in self.shelf:
            if self._models is not None and self._models.sleeps(servable):
                continue
            if fault := await self._fault(servable):
                raise NotReadyError(
                    f"model '{servable.name}' {servable.version} does not answer: {fault}", retry_after_s=2
                )

    async def _fault(self, servable: Servable) -> str:
        async with self._probe_locks.setdefault(servable.key, asyncio.Lock()):
            tried_s, fault = self._probed.get(servable.key, (-PROBE_VALID_S, ""))
            if time.monotonic() - tried_s >= PROBE_VALID_S:
                fault = await self._probe(servable)
                self._probed[servable.key] = (time.monotonic(), fault)
            return fault

    async def _probe(self, servable: Servable) -> str:
        try:
            async with asyncio.timeout(self.limits.request_timeout_s):
                await self._try(servable)
        except TimeoutError:
            return f"no answer within {self.limits.request_timeout_s:g} s"
        except Exception as error:
            logger.exception("model %s does not answer its probe", servable.key)
            return type(error).__name__
        return ""

    async def _try(self, servable: Servable) -> None:
        if self._models is None:
            await self._pipeline.run(servable, servable.probe())
            return
        with self._models.look_in(servable) as awake:
            if awake is not None:
                await self._pipeline.run(awake, awake.probe())


def fused_service(
    shelf: Shelf,
    *,
    limits: Limits,
    target_s: float,
    max_batch_size: int,
    threads: int,
    metrics: Metrics,
    clock: Clock,
    steps: Sequence[CallStep] = (),
    observers: Sequence[Observer] = (),
    scrape: Callable[[], Awaitable[str]] | None = None,
    models: ModelCache | None = None,
) -> Service:
    """Return a service that computes everything in this process.

    Parameters
    ----------
    target_s
        Latency that batches are chosen for.
    max_batch_size
        Most rows in one call of a model.
    threads
        For blocking work.
    shelf, limits, metrics, clock, steps, observers, scrape, models
        See Service.
    """
    executor = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="model")
    admitted = limits.max_concurrent_requests + limits.max_queued_requests
    # Room for a probe of each model, so that a full house is not taken for an ill one.
    batching = Batching(target_s=target_s, max_rows=max_batch_size, max_waiting=admitted + len(list(shelf)))
    awake = [each for each in shelf if not isinstance(each, Asleep)]
    lanes = FusedPipeline([*awake, *(models.awake if models else ())], executor, batching=batching, metrics=metrics)
    if models is not None:
        models.open(lanes)
    return Service(
        shelf=shelf,
        pipeline=lanes,
        executor=executor,
        limits=limits,
        metrics=metrics,
        clock=clock,
        steps=steps,
        observers=observers,
        scrape=scrape,
        models=models,
    )
