"""The fallback ladder as a step around the computation, with a breaker for each version."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from functools import partial

from cluster.clock import Clock
from cluster.errors import UserError
from cluster.monitoring.resilience_metrics import ResilienceMetrics
from serve_deployments.handlers.forecast import NotFiniteError
from serve_deployments.handlers.shelf import Shelf
from serve_deployments.patience import Patience
from serve_deployments.resilience.breaker import Circuit, CircuitBreaker
from serve_deployments.resilience.ladder import Landed, NoRungError, Rung, RungCall, climb_down
from serve_deployments.resilience.quality import QualityError
from serve_deployments.resilience.rungs import by_default, by_rule, has_rule, judged, previous
from serve_deployments.resilience.spec import FallbackSpec
from serve_deployments.servable import Servable
from serve_deployments.steps import Answer, Call

Next = Callable[[Call], Awaitable[Answer]]
Heard = Callable[[str, Circuit, str], None]
"""Told of a version (`name@version`), its circuit's new state, and why."""


class FallbackStep:
    """Asks the wanted version, then the previous one, then a rule, then what an operator stated.

    Parameters
    ----------
    spec
        Its numbers.
    shelf
        The versions.
    clock
        For the breakers; one that never goes back.
    metrics
        Counts answers by rung, and circuits that opened.
    heard
        Told of circuits that open and close.
    """

    def __init__(
        self, spec: FallbackSpec, shelf: Shelf, clock: Clock, metrics: ResilienceMetrics, heard: Heard
    ) -> None:
        self._spec, self._shelf, self._clock, self._metrics, self._heard = spec, shelf, clock, metrics, heard
        self._patience = Patience(spec.patience_s)
        self._breakers: dict[str, CircuitBreaker] = {}

    def breaker(self, servable: Servable) -> CircuitBreaker:
        """Return a version's breaker."""
        if servable.key not in self._breakers:
            changed = partial(self._changed, servable.key)
            self._breakers[servable.key] = CircuitBreaker(self._spec.breaker, self._clock, changed)
        return self._breakers[servable.key]

    def _changed(self, version: str, circuit: Circuit, reason: str) -> None:
        if circuit is Circuit.OPEN:
            self._metrics.opened(version)
        self._heard(version, circuit, reason)

    async def __call__(self, asked: Call, next: Next) -> Answer:  # noqa: A002 - the chain's word
        """Return the answer of the highest rung that has one.

        Raises
        ------
        NoRungError
            None has.
        UserError
            The question is wrong: it has the wrong form, or the version cannot compute with its values and nothing
            below can.
        """
        wrong: list[UserError] = []
        try:
            landed = await climb_down(self._calls(asked, next, wrong), lambda: asked.subject)
        except NoRungError as error:
            raise (wrong[0] if wrong else error) from None
        return self._told(asked, landed)

    def _calls(self, asked: Call, next: Next, wrong: list[UserError]) -> Iterator[RungCall[Answer]]:  # noqa: A002
        yield self._model(Rung.PRIMARY, asked, next, wrong)
        other = previous(self._shelf, asked.servable)
        if other is not None:
            yield self._model(Rung.PREVIOUS, replace(asked, servable=other), next, wrong)
        if has_rule(asked.servable):
            yield RungCall(rung=Rung.RULE_BASED, call=partial(_at_once, by_rule, asked))
            if stated := self._spec.defaults.get(asked.servable.name):
                yield RungCall(
                    rung=Rung.DEFAULT, call=partial(_at_once, partial(by_default, defaults=stated), asked)
                )

    def _model(self, rung: Rung, call: Call, next: Next, wrong: list[UserError]) -> RungCall[Answer]:  # noqa: A002
        async def ask() -> Answer:
            try:
                return judged(await next(call))
            except NotFiniteError as error:
                wrong.append(error)
                raise QualityError(error.message) from error

        return RungCall(
            rung=rung,
            call=ask,
            breaker=self.breaker(call.servable),
            patience=self._patience,
        )

    def _told(self, asked: Call, landed: Landed[Answer]) -> Answer:
        if not landed.degraded:
            return landed.answer
        self._metrics.fell_back(asked.servable.name, landed.rung.value)
        return replace(landed.answer, rung=landed.rung.value, reason=landed.reason)


async def _at_once(rule: Callable[[Call], Answer], call: Call) -> Answer:
    return rule(call)
