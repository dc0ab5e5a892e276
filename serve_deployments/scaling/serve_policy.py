"""The scaling policy as Ray Serve's controller calls it. It runs in the controller, so it must be quick."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

from serve_deployments.scaling.forecast import Arrivals, RateForecast, RateSpec
from serve_deployments.scaling.policy import Load, ScalingPolicy, ScalingSpec

ARRIVED, INSIDE, BUSY_S, ANSWERED, SLOW_S = "arrived", "inside", "busy_s", "answered", "slow_s"
"""What a replica records in `record_autoscaling_stats`: requests that came, those inside now, seconds of work on
those that were answered, how many those are, and the 95th percentile of what the last ones took."""
PERIOD_S = 1.0
"""The controller asks about ten times a second; the answer of the last second serves until the next."""


class ServeScaling:
    """Shell of `ScalingPolicy`: reads the controller's context, and returns (replicas, state).

    Bounds, delays and factors of `AutoscalingConfig` are applied by Serve around it.

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
        self._last: tuple[float, float] = (-math.inf, 0.0)
        self._work = (0.0, 0.0)

    def __call__(self, ctx: Any) -> tuple[float, dict[str, Any]]:
        """Return the replicas there should be; decided anew once a second."""
        now_s = ctx.current_time or time.time()
        if now_s - self._last[0] < PERIOD_S:
            return self._last[1], {}
        decision = self._policy.decide(self.load(ctx, now_s))
        self._last = (now_s, decision.replicas)
        return decision.replicas, {"reason": decision.reason}

    def load(self, ctx: Any, now_s: float) -> Load:
        """Return what the context tells."""
        # The newest sample of each: Serve's own aggregate of a counter would be its mean over the look-back.
        told: Mapping[str, Mapping[Any, Any]] = ctx.raw_metrics or {}
        arrived = self._arrived.update(_named(told, ARRIVED))
        answered, busy_s = self._answered.update(_named(told, ANSWERED)), self._busy.update(_named(told, BUSY_S))
        done, worked_s = answered - self._work[0], busy_s - self._work[1]
        self._work = (answered, busy_s)
        slow = [value for value in _named(told, SLOW_S).values() if value > 0]
        # Serve counts what waits for a replica and what passes its own proxy; the short way it does not see.
        inside = sum(_named(told, INSIDE).values())
        return Load(
            now_s=now_s,
            replicas=ctx.current_num_replicas,
            ongoing=max(ctx.total_num_requests, inside),
            arrived=arrived,
            service_s=worked_s / done if done > 0 else math.nan,
            latency_s=max(slow, default=math.nan),
        )


def _named(told: Mapping[str, Mapping[Any, Any]], name: str) -> dict[str, float]:
    """Return replica -> newest value of one statistic."""
    return {str(replica): float(series[-1].value) for replica, series in told.get(name, {}).items() if series}
