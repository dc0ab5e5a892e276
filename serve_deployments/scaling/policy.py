"""How many replicas: for what is there, for how slow it is, and for what is about to come."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Protocol

from cluster.errors import ConfigError
from serve_deployments.scaling.forecast import Outlook

MOST_GROWTH = 2.0
"""Slowness alone at most doubles the replicas: latency says that there are too few, not by how many."""
UNASKED = Outlook(rate_per_s=math.nan, used=False, reason="not asked for")


@dataclass(frozen=True, kw_only=True)
class ScalingSpec:
    """What the number of replicas follows.

    Parameters
    ----------
    min_replicas, max_replicas
        Bounds; a minimum of 0 lets an idle deployment sleep.
    target_ongoing
        Requests inside, at work and waiting, that one replica should have; fewer leave more headroom and cost more.
    headroom
        Standard deviations of what chance puts inside, beside the mean, that there should be room for. Chance
        weighs little where much is inside and a lot where little is: a fixed ratio of headroom does the opposite.
    look_back_s
        What `Load.ongoing` is a mean over.
    slow_s
        Latency that should not be exceeded; infinite where it does not count.
    idle_s
        Without a request for so long, a deployment with a minimum of 0 sleeps.
    """

    min_replicas: int
    max_replicas: int
    target_ongoing: float
    headroom: float = 1.0
    look_back_s: float = 30.0
    slow_s: float = math.inf
    idle_s: float = 300.0

    def __post_init__(self) -> None:
        bounds = 0 <= self.min_replicas <= self.max_replicas and self.max_replicas >= 1
        positive = min(self.target_ongoing, self.slow_s, self.look_back_s) > 0
        if not (bounds and positive and self.idle_s >= 0 and self.headroom >= 0):
            raise ConfigError(
                f"scaling: got {self}, expected 0 <= min <= max, target and times above 0, headroom 0 or more"
            )


@dataclass(frozen=True, kw_only=True)
class Load:
    """What is seen of a deployment at one moment.

    Parameters
    ----------
    now_s
        When.
    replicas
        Replicas that answer.
    ongoing
        Requests inside, at work and waiting, recently.
    starting
        Replicas that are asked for and do not answer yet.
    arrived
        Requests that have ever come.
    service_s
        Seconds a replica spends on one request, waiting not counted; NaN where none was answered lately.
    latency_s
        Seconds that slow requests took lately (their 95th percentile), waiting counted; NaN where there was none.
    """

    now_s: float
    replicas: int
    ongoing: float
    arrived: float
    starting: int = 0
    service_s: float = math.nan
    latency_s: float = math.nan


@dataclass(frozen=True, kw_only=True)
class ScalingDecision:
    """How many replicas there should be.

    Parameters
    ----------
    replicas
        Within the bounds; not whole: the shell rounds up.
    reason
        What decided, with the figures, and whether the forecast counted, and why.
    foreseen
        Whether it did.
    """

    replicas: float
    reason: str
    foreseen: bool


class Foresight(Protocol):
    """What looks ahead: `forecast.RateForecast`, or in a simulation who knows."""

    def observe(self, now_s: float, arrived: float) -> None:
        """Take in how many requests have ever arrived."""

    def outlook(self) -> Outlook:
        """Return the highest rate to expect until a replica that is started now would be ready."""


class ScalingPolicy:
    """The most that one of two needs asks for.

    Load: the requests inside and those that the forecast sees on top of them, with `headroom` for chance, over
    `target_ongoing`. By Little's law a rate that will be higher by some requests a second puts that times the
    seconds that each takes more inside; what is looked at is the highest rate until a replica that is started now
    would be ready, less the mean rate over the time that `ongoing` is a mean of. So the forecast adds to what is
    seen and does not replace it: a wrong level of it does no harm, a queue counts as it stands, and a foreseen fall
    saves headroom but never the place of a request that is inside. Without headroom and forecast this is Serve's
    own policy. The forecast counts only while its recent error is small: see `forecast.RateForecast`.

    Latency: more than there are, while requests take longer than `slow_s`.

    Parameters
    ----------
    spec
        Its numbers.
    forecast
        Of the rate; None leaves it out.

    References
    ----------
    Little (1961), A proof for the queuing formula L = lambda W; Whitt (1992), Understanding the efficiency of
    multi-server service systems, for headroom that grows with the square root of the load.
    """

    def __init__(self, spec: ScalingSpec, forecast: Foresight | None = None) -> None:
        self.spec, self._forecast = spec, forecast
        self._arrived, self._busy_s = 0.0, -math.inf
        self._service_s = math.nan
        self._seen: deque[tuple[float, float]] = deque()

    def decide(self, load: Load) -> ScalingDecision:
        """Return how many replicas there should be now."""
        self._notice(load)
        outlook = self._look_ahead(load)
        coming = self._coming(outlook)
        needs = {
            f"load: {load.ongoing:.3g} inside, {coming:+.3g} foreseen, {self.spec.target_ongoing:g} a replica": (
                self._by_load(load.ongoing, coming)
            ),
            f"latency: {load.latency_s:.3g} s, expected at most {self.spec.slow_s:g} s": self._by_latency(load),
        }
        why, replicas = max(needs.items(), key=lambda need: need[1])
        replicas, why = self._bounded(load, replicas, why)
        return ScalingDecision(replicas=replicas, reason=f"{why}; forecast {outlook.reason}", foreseen=outlook.used)

    def _notice(self, load: Load) -> None:
        busy = load.ongoing > 0 or load.arrived > self._arrived or math.isinf(self._busy_s)
        # The minimum is for a clock that went back.
        self._busy_s = load.now_s if busy else min(self._busy_s, load.now_s)
        if self._seen and load.now_s < self._seen[-1][0]:
            self._seen.clear()
        self._seen.append((load.now_s, load.arrived))
        while len(self._seen) > 2 and self._seen[1][0] <= load.now_s - self.spec.look_back_s:
            self._seen.popleft()
        self._arrived = load.arrived
        if math.isfinite(load.service_s):
            self._service_s = load.service_s

    def _look_ahead(self, load: Load) -> Outlook:
        if self._forecast is None:
            return UNASKED
        self._forecast.observe(load.now_s, load.arrived)
        return self._forecast.outlook()

    def _coming(self, outlook: Outlook) -> float:
        """Return how many more will be inside than were over the look-back; negative where fewer."""
        (since_s, before), (now_s, arrived) = self._seen[0], self._seen[-1]
        if not outlook.used or not math.isfinite(self._service_s) or now_s <= since_s:
            return 0.0
        recent_per_s = (arrived - before) / (now_s - since_s)
        return (outlook.rate_per_s - recent_per_s) * self._service_s

    def _by_load(self, ongoing: float, coming: float) -> float:
        expected = max(0.0, ongoing + coming)
        # A Poisson number's variance is its mean.
        with_room = expected + self.spec.headroom * math.sqrt(expected)
        return max(with_room, ongoing) / self.spec.target_ongoing

    def _by_latency(self, load: Load) -> float:
        if not load.latency_s > self.spec.slow_s:
            return 0.0
        return max(1, load.replicas) * min(MOST_GROWTH, load.latency_s / self.spec.slow_s)

    def _bounded(self, load: Load, replicas: float, why: str) -> tuple[float, str]:
        if self.spec.min_replicas == 0 and load.ongoing == 0:
            idle_s = load.now_s - self._busy_s
            if idle_s >= self.spec.idle_s and replicas < 1:
                return 0.0, f"idle for {idle_s:.0f} s"
        awake = load.replicas or load.starting or load.ongoing
        least = max(1, self.spec.min_replicas) if awake else self.spec.min_replicas
        return float(min(max(replicas, least), self.spec.max_replicas)), why
