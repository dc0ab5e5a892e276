"""The scaling policy as Ray Serve's controller calls it. It runs in the controller, so it must be quick."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from typing import Any

from serve_deployments.scaling.forecast import Arrivals, RateForecast, RateSpec
from serve_deployments.scaling.policy import Load, ScalingDecision, ScalingPolicy, ScalingSpec

ARRIVED, INSIDE, BUSY_S, ANSWERED, SLOW_S = "arrived", "inside", "busy_s", "answered", "slow_s"
"""What a replica records in `record_autoscaling_stats`: requests that came, those inside now, seconds of work on
those that were answered, how many those are, and the 95th percentile of what the last ones took."""
PERIOD_S = 1.0
"""The controller asks about ten times a second; the answer of the last second serves until the next."""
SETTLING_S = 30.0
"""By then each replica has reported to a fresh controller, which Serve lets it do every 10 s."""
LOG = logging.getLogger("ray.serve.heliotrope")
"""Below Serve's logger, so that it is written to the controller's log."""


class ServeScaling:
    """Shell of `ScalingPolicy`: reads the controller's context, and returns (replicas, state).

    Bounds, delays and factors of `AutoscalingConfig` are applied by Serve around it. A controller that was started
    anew knows nothing: the forecast is used again when it has been judged again. The controller's log says
    whenever it comes into use or goes out of it, and why.

    Parameters
    ----------
    scaling
        Fields of `ScalingSpec`.
    rate
        Fields of `RateSpec`; None leaves the forecast out.
    """

    def __init__(self, scaling: Mapping[str, Any], rate: Mapping[str, Any] | None = None) -> None:
        forecast = RateForecast(RateSpec(**rate)) if rate is not None else None
        self._policy = ScalingPolicy(ScalingSpec(**scaling), forecast)
        self._arrived, self._answered, self._busy = Arrivals(), Arrivals(), Arrivals()
        self._last: tuple[float, ScalingDecision] | None = None
        self._work = (0.0, 0.0)
        self._begun_s = math.inf

    def __call__(self, ctx: Any) -> tuple[float, dict[str, Any]]:
        """Return the replicas there should be; decided anew once a second."""
        now_s = ctx.current_time or time.time()
        if self._last is None or not 0 <= now_s - self._last[0] < PERIOD_S:  # below 0 the clock was set back
            decision = self._policy.decide(self.load(ctx, now_s))
            self._tell(ctx, decision)
            self._last = (now_s, decision)
        return self._last[1].replicas, {"reason": self._last[1].reason}

    def load(self, ctx: Any, now_s: float) -> Load:
        """Return what the context tells."""
        # The newest sample of each: Serve's own aggregate of a counter would be its mean over the look-back.
        told: Mapping[str, Mapping[Any, Any]] = ctx.raw_metrics or {}
        self._begun_s = min(self._begun_s, now_s)
        settled = now_s - self._begun_s >= SETTLING_S
        arrived, answered, busy_s = (
            counter.update(_named(told, name), settled=settled)
            for counter, name in ((self._arrived, ARRIVED), (self._answered, ANSWERED), (self._busy, BUSY_S))
        )
        done, worked_s = answered - self._work[0], busy_s - self._work[1]
        self._work = (answered, busy_s)
        slow = [value for value in _named(told, SLOW_S).values() if value > 0]
        # Serve counts what waits for a replica and what passes its own proxy; the short way it does not see.
        counted = float(ctx.total_num_requests)
        return Load(
            now_s=now_s,
            replicas=ctx.current_num_replicas,
            starting=max(0, ctx.target_num_replicas - ctx.current_num_replicas),
            ongoing=max(counted if math.isfinite(counted) else 0.0, sum(_named(told, INSIDE).values())),
            arrived=arrived,
            service_s=worked_s / done if done > 0 else math.nan,
            latency_s=max(slow, default=math.nan),
        )

    def _tell(self, ctx: Any, decision: ScalingDecision) -> None:
        if self._last is None or self._last[1].foreseen is not decision.foreseen:
            LOG.info("scaling of '%s': %g replicas; %s", ctx.deployment_name, decision.replicas, decision.reason)


def _named(told: Mapping[str, Mapping[Any, Any]], name: str) -> dict[str, float]:
    """Return replica -> newest value of one statistic; what is no such value (NaN, negative) is not heard."""
    newest = {str(key): float(series[-1].value) for key, series in told.get(name, {}).items() if series}
    return {replica: value for replica, value in newest.items() if math.isfinite(value) and value >= 0}
