"""How many replicas: for what is there, for how slow it is, and for what is about to come."""

from __future__ import annotations

import math
from dataclasses import dataclass

from cluster.errors import ConfigError
from serve_deployments.scaling.forecast import Outlook, RateForecast

MOST_GROWTH = 2.0
"""Slowness alone at most doubles the replicas: latency says that there are too few, not by how many."""
UNASKED = Outlook(rate_per_s=math.nan, used=False, reason="not asked for")
NOISE_RATIO = 1.3
"""Chosen on days 97 to 99 of the recorded load; `benchmarks.autoscaling` is run on days 104 to 110."""


@dataclass(frozen=True, kw_only=True)
class ScalingSpec:
    """What the number of replicas follows.

    Parameters
    ----------
    min_replicas, max_replicas
        Bounds; a minimum of 0 lets an idle deployment sleep.
    target_ongoing
        Requests inside, at work and waiting, that one replica should have; fewer leave more headroom and cost more.
    slow_s
        Latency that should not be exceeded; infinite where it does not count.
    idle_s
        Without a request for so long, a deployment with a minimum of 0 sleeps.
    """

    min_replicas: int
    max_replicas: int
    target_ongoing: float
    slow_s: float = math.inf
    idle_s: float = 300.0

    def __post_init__(self) -> None:
        bounds = 0 <= self.min_replicas <= self.max_replicas and self.max_replicas >= 1
        if not (bounds and self.target_ongoing > 0 and self.slow_s > 0 and self.idle_s >= 0):
            raise ConfigError(f"scaling: got {self}, expected 0 <= min <= max, and a target and times above 0")


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
        What decided, with the figures, and whether the forecast counted.
    """

    replicas: float
    reason: str


class ScalingPolicy:
    """The most that one of three needs asks for.

    Load: the requests inside over `target_ongoing`, as Serve's own policy has it. Latency: more than there are,
    while requests take longer than `slow_s`. Forecast: the rate that is expected when a replica started now would
    be ready, times the seconds that a request takes, is by Little's law what will be inside then. It counts only
    while its recent error is small: see `RateForecast`. While it does, load alone has to exceed the target by
    `NOISE_RATIO` before it asks for more: it is noisier than the forecast, and follows behind what the forecast has
    seen coming.

    Parameters
    ----------
    spec
        Its numbers.
    forecast
        Of the rate; None leaves it out.

    References
    ----------
    Little (1961), A proof for the queuing formula L = lambda W.
    """

    def __init__(self, spec: ScalingSpec, forecast: RateForecast | None = None) -> None:
        self.spec, self._forecast = spec, forecast
        self._arrived, self._busy_s = 0.0, -math.inf
        self._service_s = math.nan

    def decide(self, load: Load) -> ScalingDecision:
        """Return how many replicas there should be now."""
        self._notice(load)
        outlook = self._look_ahead(load)
        foreseen, target = self._by_forecast(outlook), self.spec.target_ongoing
        by_load = load.ongoing / (target * (NOISE_RATIO if foreseen else 1.0))
        needs = {
            f"load: {load.ongoing:.3g} inside, {target:g} a replica": by_load,
            f"latency: {load.latency_s:.3g} s, expected at most {self.spec.slow_s:g} s": self._by_latency(load),
            f"forecast: {outlook.rate_per_s:.3g} requests a second": foreseen,
        }
        why, replicas = max(needs.items(), key=lambda need: need[1])
        replicas, why = self._bounded(load, replicas, why)
        return ScalingDecision(replicas=replicas, reason=f"{why}; forecast {outlook.reason}")

    def _notice(self, load: Load) -> None:
        if load.ongoing > 0 or load.arrived > self._arrived or math.isinf(self._busy_s):
            self._busy_s = load.now_s
        self._arrived = load.arrived
        if math.isfinite(load.service_s):
            self._service_s = load.service_s

    def _look_ahead(self, load: Load) -> Outlook:
        if self._forecast is None:
            return UNASKED
        self._forecast.observe(load.now_s, load.arrived)
        return self._forecast.outlook()

    def _by_latency(self, load: Load) -> float:
        if not load.latency_s > self.spec.slow_s:
            return 0.0
        return max(1, load.replicas) * min(MOST_GROWTH, load.latency_s / self.spec.slow_s)

    def _by_forecast(self, outlook: Outlook) -> float:
        if not outlook.used or not math.isfinite(self._service_s):
            return 0.0
        return outlook.rate_per_s * self._service_s / self.spec.target_ongoing

    def _bounded(self, load: Load, replicas: float, why: str) -> tuple[float, str]:
        if self.spec.min_replicas == 0 and load.ongoing == 0:
            idle_s = load.now_s - self._busy_s
            if idle_s >= self.spec.idle_s and replicas < 1:
                return 0.0, f"idle for {idle_s:.0f} s"
        least = max(1, self.spec.min_replicas) if load.replicas or load.ongoing else self.spec.min_replicas
        return float(min(max(replicas, least), self.spec.max_replicas)), why
