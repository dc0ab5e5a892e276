"""Guardrails on bad events: errors, impossible forecasts, inaccurate forecasts, slow answers, wide intervals."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any, ClassVar

from serve_deployments.experiments.event_share import EventShare
from serve_deployments.rollout.guardrail import Finding, Guardrail, Window, rate
from serve_deployments.rollout.tally import EDGES, Tree

PAIRED_SHARE = 0.5
"""Of two answers to one request of which one is bad, either is as likely where the versions are equal."""
MIN_PAST = 200
"""Answers of the old version that a threshold is taken from: ten above the 95th percentile."""
SLACK_CELLS = 2
"""Cells of the histogram by which the new version may be slower: a factor of 1.4. A version with few requests has
batches of its own, which wait while the other's are computed; near capacity the means of equal versions differ by a
fifth."""
CROWD_MEMORY = 0.99
"""What is kept of the largest crowd from look to look: half of it after a minute of looks a second."""


class EventGuardrail(Guardrail):
    """The new version must not have more of an event than the old one, beyond a rate that is allowed anyway.

    Parameters
    ----------
    alpha
        See Guardrail.
    allowed_ratio
        Rate of the new version that is never a breach.
    """

    event: ClassVar[str]

    def __init__(self, alpha: float, *, allowed_ratio: float) -> None:
        super().__init__(alpha)
        self.allowed_ratio = allowed_ratio
        self._process = EventShare()
        self._seen: dict[str, list[float]] = {"new": [0.0, 0.0], "old": [0.0, 0.0]}

    def update(self, window: Window) -> None:
        """Take in a window."""
        new, old = self._events(window.new, window), self._events(window.old, window)
        if window.share is not None and new[1] is not None and old[1] is not None:
            self._gather(new[0], old[0], window.share)
        self._see(new, old)

    def _gather(self, new: float, old: float, share: float) -> None:
        """Take events in as evidence."""
        self._process.update(new, old, share=share)

    def _see(self, new: tuple[float, float | None], old: tuple[float, float | None]) -> None:
        """Add to what the rates are told from."""
        for side, (events, requests) in (("new", new), ("old", old)):
            self._seen[side][0] += events
            self._seen[side][1] += requests or 0.0

    def _events(self, side: Tree, window: Window) -> tuple[float, float | None]:  # noqa: ARG002 - a threshold needs it
        """Return bad events and the requests among which they were counted; None where nothing can be counted."""
        return float(side[self.event]), float(side["requests"])

    def findings(self) -> list[Finding]:
        """Return the one finding."""
        new, old = rate(*self._seen["new"]), rate(*self._seen["old"])
        evidence = float(self._process.log_evidence()[0])
        return [
            Finding(
                guardrail=self.name,
                # Beyond the allowed rate only: a ratio of two rates that are both fine harms nobody.
                log_evidence=evidence if new > self.allowed_ratio else min(evidence, 0.0),
                log_limit=self.log_limit,
                new=new,
                old=old,
                allowed=self.allowed_ratio,
            )
        ]

    def ratio_interval(self, alpha: float) -> tuple[float, float]:
        """Return bounds of new rate over old rate that hold at all looks with probability 1 - alpha."""
        return self._process.interval(alpha)

    def to_json(self) -> dict[str, Any]:
        """Return the counts."""
        return {"process": self._process.to_json(), "seen": self._seen}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over counts."""
        self._process.restore(state["process"])
        self._seen = state["seen"]


class ErrorGuardrail(EventGuardrail):
    """Answers that are our fault (5xx).

    Requests that only one version answered, and pairs of answers to one request, are gathered in one evidence.
    """

    name, event = "error_rate", "errors"

    def update(self, window: Window) -> None:
        """Take in a window."""
        super().update(window)
        pairs = window.pairs
        if pairs["new_errors"] or pairs["old_errors"]:
            self._gather(pairs["new_errors"], pairs["old_errors"], PAIRED_SHARE)
        both = pairs["both_errors"]
        self._see((pairs["new_errors"] + both, pairs["count"]), (pairs["old_errors"] + both, pairs["count"]))


class RefusalGuardrail(EventGuardrail):
    """Requests that were refused (4xx): bad ones are refused by both versions alike, good ones by a broken one."""

    name, event = "refusals", "refused"


class RangeGuardrail(EventGuardrail):
    """Forecasts outside the schema's physical range: a sign of a broken version that needs no truth."""

    name, event = "out_of_range", "out_of_range"


class InaccuracyGuardrail(EventGuardrail):
    """Forecasts whose truth came, and was far off."""

    name, event = "inaccurate", "inaccurate"

    def _events(self, side: Tree, window: Window) -> tuple[float, float | None]:  # noqa: ARG002 - as the base has it
        return float(side[self.event]), float(side["accuracy"][0])


class QuantileGuardrail(EventGuardrail):
    """The new version must not exceed a quantile of the old one more often than the old one itself does.

    The threshold comes from the old version's past, so that a window never sets its own; where `allowed` is larger
    it takes the quantile's place.

    Parameters
    ----------
    alpha
        See Guardrail.
    allowed
        Value that no answer is accused for.
    """

    cells: ClassVar[str]
    quantile: ClassVar[float]
    slack_cells: ClassVar[int] = 0
    event = "above"

    def __init__(self, alpha: float, *, allowed: float = 0.0) -> None:
        super().__init__(alpha, allowed_ratio=0.0)
        self.allowed = allowed

    def _events(self, side: Tree, window: Window) -> tuple[float, float | None]:
        place = self._threshold(window.past[self.cells], self.slack_cells if side is window.new else 0)
        cells = side[self.cells]
        if place is None:
            return 0.0, None
        return float(sum(cells[place:])), float(sum(cells))

    def _threshold(self, past: list[int], slack: int) -> int | None:
        """Return the first cell above the quantile and its slack, and above what is allowed."""
        total, below = sum(past), 0
        if total < MIN_PAST:
            return None
        for place, count in enumerate(past):
            below += count
            if below >= self.quantile * total:
                return max(place + slack, bisect_left(EDGES, self.allowed)) + 1
        return None


class SlowGuardrail(QuantileGuardrail):
    """Slow answers come in crowds: what holds a process up makes all who wait in it slow, of one version or both.

    So the answers of a window are no independent witnesses. Each window's events are divided by the largest crowd
    that a window has lately brought, its own included. By Jensen's inequality the evidence is then fair whatever
    hangs together inside of windows, as long as the versions have their shares of the events on average.
    """

    cells, slack_cells = "durations", SLACK_CELLS

    def __init__(self, alpha: float, *, allowed: float = 0.0) -> None:
        super().__init__(alpha, allowed=allowed)
        self._crowd = 1.0

    def _gather(self, new: float, old: float, share: float) -> None:
        self._crowd = max(1.0, new + old, CROWD_MEMORY * self._crowd)
        super()._gather(new / self._crowd, old / self._crowd, share)

    def to_json(self) -> dict[str, Any]:
        """Return the counts and the crowd."""
        return super().to_json() | {"crowd": self._crowd}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over counts and crowd."""
        super().restore(state)
        self._crowd = state["crowd"]


class SlowP95Guardrail(SlowGuardrail):
    """Answers slower than the old version's 95th percentile."""

    name, quantile = "latency_p95", 0.95


class SlowP99Guardrail(SlowGuardrail):
    """Answers slower than the old version's 99th percentile."""

    name, quantile = "latency_p99", 0.99


class WidthGuardrail(QuantileGuardrail):
    """Intervals wider, relative to the forecast, than the old version's 95th percentile."""

    name, cells, quantile = "interval_width", "widths", 0.95
