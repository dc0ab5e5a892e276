"""The HTTP routes of rollouts and experiments: read, ask the desk in a thread, answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, get_args

from fastapi import Request
from fastapi.responses import Response

from cluster.errors import ConfigError, UnknownNameError
from cluster.security.identity import ANYBODY
from cluster.security.roles import Permission
from serve_deployments import problems
from serve_deployments.api import Api, json, visit_of
from serve_deployments.experiments.analysis import MetricSpec
from serve_deployments.experiments.experiment import ExperimentSpec
from serve_deployments.handlers import body
from serve_deployments.rollout.desk import Desk
from serve_deployments.rollout.judge import JudgeSpec
from serve_deployments.rollout.machine import Word
from serve_deployments.rollout.rollout import ENDED, RolloutSpec
from serve_deployments.rollout.schemas import (
    DeployRequest,
    ExperimentRequest,
    OrderRequest,
    OutcomeRequest,
    UnitsRequest,
    typed,
)
from serve_deployments.schemas import UnreadableError, Wire
from serve_deployments.service import Service
from serve_deployments.steps import Visit

W = TypeVar("W", bound=Wire)
DEPLOYMENTS, EXPERIMENTS, OUTCOMES = "/api/deployments", "/api/experiments", "/api/outcomes"
WORDS: tuple[Word, ...] = get_args(Word)


def rollout_routes(desk: Callable[[], Desk]) -> Callable[[Api, Service], None]:
    """Return what adds the routes.

    Parameters
    ----------
    desk
        Called at the first request: it finds the durable states.
    """

    def add(api: Api, service: Service) -> None:
        _add_deployments(api, service, desk)
        _add_experiments(api, service, desk)
        _add_outcomes(api, service, desk)

    return add


def _add_deployments(api: Api, service: Service, desk: Callable[[], Desk]) -> None:
    async def deploy(request: Request) -> Response:
        """Begin a rollout of a registered version over the one that answers now."""
        asked, visit = await _read(request, service, DeployRequest)
        visit.identity.need_model(asked.model)
        if asked.approval and visit.identity is ANYBODY:
            raise ConfigError(
                "approval: got a caller without a name, expected two people with keys of their own: one asks, the "
                "other approves; create keys with `heliotrope keys create` and switch authentication on"
            )
        spec = _rollout_spec(asked, service.shelf.pick(asked.model).version, _actor(visit))
        return json(await _ask(lambda: desk().deploy(spec, forced_because=asked.force)))

    async def listed(request: Request) -> list[Any]:
        may_use = visit_of(request).identity.may_use
        return [each for each in await _ask(lambda: desk().rollouts()) if may_use(each["model"])]

    async def found(name: str, visit: Visit) -> Any:
        rollout = await _ask(lambda: desk().rollout(name))
        visit.identity.need_model(rollout["model"])
        return rollout

    async def in_progress(request: Request) -> Response:
        """List the rollouts that have not ended."""
        return json({"deployments": [each for each in await listed(request) if each["state"] not in ENDED]})

    async def history(request: Request) -> Response:
        """List all remembered rollouts, the newest first."""
        return json({"deployments": (await listed(request))[::-1]})

    async def show(name: str, request: Request) -> Response:
        """Show a rollout: stage, weight, evidence, history, and the pairs of answers that differ most."""
        return json(await found(name, visit_of(request)))

    async def order(name: str, word: str, request: Request) -> Response:
        """Approve, promote, roll back, pause or resume a rollout."""
        if word not in WORDS:
            raise UnknownNameError.of("order", word[:100], WORDS)
        asked, visit = await _read(request, service, OrderRequest)
        known: Word = next(each for each in WORDS if each == word)
        await found(name, visit)
        return json(await _ask(lambda: desk().order(name, known, by=_actor(visit), why=asked.why)))

    read, act = Permission.READ_MODELS, Permission.ROLL_OUT
    api.add("POST", DEPLOYMENTS, act, deploy, tag="rollouts", request=DeployRequest)
    api.add("GET", DEPLOYMENTS, read, in_progress, tag="rollouts")
    api.add("GET", f"{DEPLOYMENTS}/history", read, history, tag="rollouts")
    api.add("GET", f"{DEPLOYMENTS}/{{name}}", read, show, tag="rollouts")
    api.add("POST", f"{DEPLOYMENTS}/{{name}}/{{word}}", act, order, tag="rollouts", request=OrderRequest)


def _add_experiments(api: Api, service: Service, desk: Callable[[], Desk]) -> None:
    async def begin(request: Request) -> Response:
        """Begin an experiment between registered versions; it starts once all of them are served."""
        asked, visit = await _read(request, service, ExperimentRequest)
        visit.identity.need_model(asked.model)
        service.shelf.pick(asked.model)
        spec = _experiment_spec(asked, _actor(visit))
        return json(await _ask(lambda: desk().begin(spec, asked.traffic)))

    async def found(name: str, visit: Visit) -> Any:
        experiment = await _ask(lambda: desk().experiment(name))
        visit.identity.need_model(experiment["spec"]["model"])
        return experiment

    async def experiments(request: Request) -> Response:
        """List the experiments."""
        may_use = visit_of(request).identity.may_use
        known = await _ask(lambda: desk().experiments())
        return json({"experiments": [each for each in known if may_use(each["spec"]["model"])]})

    async def show(name: str, request: Request) -> Response:
        """Show an experiment: shares, units, comparisons, and how it ended."""
        return json(await found(name, visit_of(request)))

    async def stop(name: str, request: Request) -> Response:
        """End an experiment by hand."""
        asked, visit = await _read(request, service, OrderRequest)
        await found(name, visit)
        return json(await _ask(lambda: desk().stop(name, by=_actor(visit), why=asked.why)))

    async def units(name: str, request: Request) -> Response:
        """Tell what was known of units before the experiment, which narrows its intervals (CUPED)."""
        asked, visit = await _read(request, service, UnitsRequest)
        await found(name, visit)
        return json(await _ask(lambda: desk().describe_units(name, asked.covariates)))

    read, act = Permission.READ_RESULTS, Permission.ROLL_OUT
    units_path = f"{EXPERIMENTS}/{{name}}/units"
    api.add("POST", units_path, Permission.FEEDBACK, units, tag="experiments", request=UnitsRequest)
    api.add("POST", EXPERIMENTS, act, begin, tag="experiments", request=ExperimentRequest)
    api.add("GET", EXPERIMENTS, read, experiments, tag="experiments")
    api.add("GET", f"{EXPERIMENTS}/{{name}}", read, show, tag="experiments")
    api.add("POST", f"{EXPERIMENTS}/{{name}}/stop", act, stop, tag="experiments", request=OrderRequest)


def _add_outcomes(api: Api, service: Service, desk: Callable[[], Desk]) -> None:
    async def outcome(request: Request) -> Response:
        """Tell what came of a request: outcomes for experiments, true values for its forecast."""
        asked, _ = await _read(request, service, OutcomeRequest)
        if not asked.outcomes and not asked.truth:
            raise ConfigError("nothing to record: got neither outcomes nor truth, expected one of them")
        return json(await _ask(lambda: desk().outcome(asked.request_id, asked.outcomes, asked.truth)))

    api.add("POST", OUTCOMES, Permission.FEEDBACK, outcome, tag="experiments", request=OutcomeRequest)


def _rollout_spec(asked: DeployRequest, old: str, by: str) -> RolloutSpec:
    return RolloutSpec(
        id=asked.id,
        model=asked.model,
        old=old,
        new=asked.version,
        policy={"name": asked.policy, "parameters": asked.parameters},
        judge=_judge_spec(asked.judge),
        unit=asked.unit,
        by=by,
        why=asked.why,
        approval=asked.approval,
    )


def _experiment_spec(asked: ExperimentRequest, by: str) -> ExperimentSpec:
    fields = asked.model_dump(exclude={"traffic", "metrics", "judge"})
    metrics = tuple(MetricSpec(**each.model_dump()) for each in asked.metrics)
    return ExperimentSpec(**fields, metrics=metrics, judge=_judge_spec(asked.judge), by=by)


def _judge_spec(asked: Mapping[str, Any]) -> JudgeSpec:
    try:
        return JudgeSpec(**asked)
    except TypeError as error:
        known = ", ".join(JudgeSpec.__dataclass_fields__)
        raise ConfigError(f"judge: got {', '.join(asked)}, expected some of {known}") from error


async def _read(request: Request, service: Service, kind: type[W]) -> tuple[W, Visit]:
    visit = visit_of(request)
    raw = await service.read_body(visit)
    visit.body_bytes = len(raw)
    try:
        return typed(kind, body.parse(raw)), visit
    except UnreadableError as error:
        raise problems.refused(error.faults, "body") from error


def _actor(visit: Visit) -> str:
    return visit.identity.name or visit.identity.key_id


async def _ask(question: Callable[[], Any]) -> Any:
    return await asyncio.to_thread(question)
