"""The step of the served path that chooses the version, counts what came of it, and copies to the shadow."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

from cluster.clock import Clock
from cluster.errors import UnknownNameError, UserError
from cluster.security.identity import ANYBODY
from serve_deployments.experiments.exposure_log import Exposure
from serve_deployments.handlers.shelf import Shelf
from serve_deployments.rollout.split import Split
from serve_deployments.rollout.tally import Side
from serve_deployments.rollout.traffic import Traffic
from serve_deployments.rollout.traits import difference_ratio, segments, series_of, traits
from serve_deployments.steps import PRIMARY, Answer, Call

Next = Callable[[Call], Awaitable[Answer]]
VERSION_HEADER, USER_HEADER = "x-model-version", "x-user-id"
MAX_SHADOWS = 2
"""Copies a replica works on at once; further ones are left out, so that users never wait for them."""
ROOM = 4
"""Requests at work in a replica up to which copies are made: beyond it users would wait for them, and so many users
are evidence enough."""
KEPT_SERIES = 8
"""Series of a forecast that are kept for a late truth."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of one version's try.

    Parameters
    ----------
    answer
        None where it failed.
    error
        None where it answered.
    duration_s
        How long it took.
    """

    answer: Answer | None
    error: BaseException | None
    duration_s: float

    @property
    def failed(self) -> bool:
        """Whether the version failed; an answer from a lower rung hides that from the user, not from us."""
        return not self.refused and (self.answer is None or self.answer.rung != PRIMARY)

    @property
    def refused(self) -> bool:
        """Whether the caller was told to mend the request: both versions do so alike, or one is broken."""
        return isinstance(self.error, UserError)


class SplitStep:
    """Sends a question to the version that its split picks.

    A tester's `X-Model-Version` and a version named in the body go where they say and count nowhere. A version that
    this replica does not have (yet, or any more) is the default's.

    Parameters
    ----------
    traffic
        Splits and counts of the replica.
    shelf
        Its versions.
    clock
        For exposures.
    timeout_s
        A request cancelled after so long was too slow, and counts as failed; before that its caller went away.
    """

    def __init__(self, traffic: Traffic, shelf: Shelf, clock: Clock, *, timeout_s: float) -> None:
        self._traffic, self._shelf, self._clock, self._timeout_s = traffic, shelf, clock, timeout_s
        self._shadows: set[asyncio.Task[None]] = set()
        self._at_work = 0

    async def __call__(self, asked: Call, next: Next) -> Answer:  # noqa: A002 - the steps' word
        """Answer by the chosen version; count it where the choice was the split's."""
        if wanted := asked.visit.headers.get(VERSION_HEADER):
            chosen = self._shelf.pick(asked.question.model, wanted, asked.servable.kind)
            return await next(replace(asked, servable=chosen))
        if asked.question.version is None:
            for split in self._traffic.splits(asked.servable.name):
                if split.covers(unit := unit_of(split, asked)):
                    return await self._answer(asked, next, split, unit)
        return await next(asked)

    async def _answer(self, asked: Call, next_: Next, split: Split, unit: str) -> Answer:
        version = split.pick(unit)
        call = None if version in split.dropped else self._for_version(asked, version)
        if call is None:
            return await next_(asked)
        if split.exposed:
            self._expose(split, version, unit, asked)
        outcome = await self._try(call, next_)
        if self._has_room and split.copied(asked.visit.request_id, version):
            self._copy(call, next_, split, outcome)
        else:
            self._count(split, version, unit, call, outcome)
        if outcome.error is not None:
            raise outcome.error
        assert outcome.answer is not None  # noqa: S101 - either an error or an answer
        return outcome.answer

    @property
    def _has_room(self) -> bool:
        return len(self._shadows) < MAX_SHADOWS and self._at_work < ROOM

    def _for_version(self, asked: Call, version: str) -> Call | None:
        if version == asked.servable.version:
            return asked
        try:
            return replace(asked, servable=self._shelf.pick(asked.servable.name, version, asked.servable.kind))
        except UnknownNameError:
            return None

    async def _try(self, call: Call, next_: Next) -> Outcome:
        """Call the version; whatever it raises is part of the outcome."""
        begun_s = time.perf_counter()
        self._at_work += 1
        try:
            answer = await next_(call)
        except asyncio.CancelledError as error:
            duration_s = time.perf_counter() - begun_s
            if duration_s < 0.9 * self._timeout_s:
                raise
            return Outcome(answer=None, error=error, duration_s=duration_s)
        except Exception as error:  # noqa: BLE001 - raised again once it is counted
            return Outcome(answer=None, error=error, duration_s=time.perf_counter() - begun_s)
        finally:
            self._at_work -= 1
        return Outcome(answer=answer, error=None, duration_s=time.perf_counter() - begun_s)

    def _count(self, split: Split, version: str, unit: str, call: Call, outcome: Outcome) -> None:
        found = traits(call.servable, outcome.answer.result if outcome.answer else None)
        failed = outcome.failed and self._traffic.first_failure(split, unit)
        witness = self._traffic.first_answer(split, version, unit)
        counted = split.tallies(version)
        for key, side in counted:
            self._traffic.tally(split, key).answered(
                side,
                duration_s=outcome.duration_s,
                failed=failed,
                refused=outcome.refused,
                segments=segments(call.question),
                width_ratio=found.width_ratio,
                out_of_range=found.out_of_range,
                witness=witness,
            )
        if outcome.answer is not None:
            self._keep(split, *counted[0], call, outcome.answer.result)

    def _keep(self, split: Split, key: str, side: Side, call: Call, result: Any) -> None:
        """Keep a forecast's points for a late truth."""
        if not hasattr(result, "point"):
            return
        points = {
            series: {target: result.point[n, :, t].tolist() for t, target in enumerate(result.targets)}
            for n, series in enumerate(result.ids[:KEPT_SERIES])
        }
        self._traffic.keep_forecast(
            {
                "request_id": call.visit.request_id,
                "owner": split.owner,
                "revision": key,
                "side": side,
                "points": points,
            }
        )

    def _expose(self, split: Split, version: str, unit: str, call: Call) -> None:
        self._traffic.expose(
            Exposure(
                request_id=call.visit.request_id,
                experiment=split.owner,
                arm=version,
                unit=unit,
                phase=split.revision,
                at_s=self._clock.now_s(),
            )
        )

    def _copy(self, call: Call, next_: Next, split: Split, old: Outcome) -> None:
        """Let the shadow answer the same, when the user has been answered."""
        task = asyncio.get_running_loop().create_task(self._shadow(call, next_, split, old))
        self._shadows.add(task)
        task.add_done_callback(self._shadows.discard)

    async def _shadow(self, call: Call, next_: Next, split: Split, old: Outcome) -> None:
        await asyncio.sleep(0)
        shadow = self._for_version(call, split.shadow or "")
        if shadow is None:
            return
        try:
            async with asyncio.timeout(self._timeout_s):
                new = await self._try(shadow, next_)
        except TimeoutError as error:
            new = Outcome(answer=None, error=error, duration_s=self._timeout_s)
        self._compare(split, call, new, old)

    def _compare(self, split: Split, call: Call, new: Outcome, old: Outcome) -> None:
        results: list[Any] = [outcome.answer.result if outcome.answer else None for outcome in (new, old)]
        differs = difference_ratio(*results)
        self._traffic.tally(split, str(split.revision)).compared(
            new_failed=new.failed or new.refused, old_failed=old.failed or old.refused, difference_ratio=differs
        )
        if differs is not None:
            case = {
                "request_id": call.visit.request_id,
                "difference_ratio": differs,
                "series": [each.series_id for each in series_of(call.question)][:KEPT_SERIES],
                "new": results[0].point.mean(axis=1).tolist(),
                "old": results[1].point.mean(axis=1).tolist(),
            }
            self._traffic.keep_pair(split.owner, case)


def unit_of(split: Split, call: Call) -> str:
    """Return what the split goes by: a request, the first series, or who asks."""
    match split.unit:
        case "series":
            return next((each.series_id for each in series_of(call.question)), call.visit.request_id)
        case "user":
            known = call.visit.identity.key_id if call.visit.identity is not ANYBODY else ""
            return call.visit.headers.get(USER_HEADER) or known or call.visit.request_id
        case _:
            return call.visit.request_id
