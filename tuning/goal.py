"""What a study is after: one or more objectives, and bounds that a model must keep."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from cluster.errors import ConfigError, UnknownNameError

METRICS: Mapping[str, str] = {
    "wape": "sum of absolute errors over the sum of absolute truths, on the validation folds",
    "latency_p99_ms": "99th percentile of single forecasts, milliseconds",
    "size_bytes": "bytes of the fitted model's state",
    "duration_s": "seconds the trial took",
    "cpu_s": "processor seconds the trial took",
    "energy_kwh": "energy of the trial",
    "co2e_kg": "carbon of the trial",
}
"""What every trial of a forecaster measures; lower is better for each. Work of another kind names its own."""
_BOUND = re.compile(r"\s*(\w+)\s*(<=|<)\s*([-+.\deE]+)\s*")


@dataclass(frozen=True, kw_only=True)
class Bound:
    """A constraint.

    Parameters
    ----------
    metric
        What is bounded.
    at_most
        The largest value that is kept.
    """

    metric: str
    at_most: float

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `latency_p99_ms<=5`."""
        found = _BOUND.fullmatch(text)
        try:
            if found is None:
                raise ValueError(text)
            return cls(metric=found[1], at_most=float(found[3]))
        except ValueError:
            raise ConfigError(f"a constraint: got '{text}', expected METRIC<=NUMBER", got=text) from None

    def excess(self, metrics: Mapping[str, float]) -> float:
        """Return by how much it is exceeded, as a share of the bound where that is not 0."""
        return (metrics[self.metric] - self.at_most) / (abs(self.at_most) or 1.0)


@dataclass(frozen=True, kw_only=True)
class Goal:
    """Objectives, all to be made small, and bounds.

    Parameters
    ----------
    objectives
        Names of metrics. The first one picks the best trial; of several the Pareto front is told too.
    bounds
        A trial that breaks one is never the best.
    known
        Metrics that trials measure, for the check of names.
    """

    objectives: tuple[str, ...] = ("wape",)
    bounds: tuple[Bound, ...] = ()
    known: tuple[str, ...] = tuple(METRICS)

    def __post_init__(self) -> None:
        if not self.objectives or len(set(self.objectives)) < len(self.objectives):
            raise ConfigError(f"objectives: got {self.objectives or 'none'}, expected one or more, each once")
        for name in self.metrics:
            if name not in self.known:
                raise UnknownNameError.of("objective", name, self.known)

    @property
    def metrics(self) -> tuple[str, ...]:
        """All metrics that are asked for."""
        return (*self.objectives, *(bound.metric for bound in self.bounds))

    def fault(self, metrics: Mapping[str, float]) -> str:
        """Return why measured metrics do not do, in one line; empty where they do."""
        for name in self.metrics:
            if name not in metrics:
                return f"the trial measured no '{name}': got {', '.join(sorted(metrics)) or 'nothing'}"
            if not math.isfinite(metrics[name]):
                return f"the trial's '{name}' is {metrics[name]}, expected a finite number"
        return ""

    def values(self, metrics: Mapping[str, float]) -> tuple[float, ...]:
        """Return the objectives' values."""
        return tuple(metrics[name] for name in self.objectives)

    def excess(self, metrics: Mapping[str, float]) -> tuple[float, ...]:
        """Return by how much each bound is exceeded; 0 or less where it is kept."""
        return tuple(bound.excess(metrics) for bound in self.bounds)

    def facts(self) -> dict[str, Any]:
        """Return it as JSON values."""
        bounds = [{"metric": bound.metric, "at_most": bound.at_most} for bound in self.bounds]
        return {"objectives": list(self.objectives), "bounds": bounds}


def front(points: Mapping[int, tuple[float, ...]]) -> tuple[int, ...]:
    """Return the keys of the points that no other point beats or equals everywhere and beats somewhere, sorted."""
    return tuple(
        sorted(
            key
            for key, point in points.items()
            if not any(_dominates(other, point) for rival, other in points.items() if rival != key)
        )
    )


def _dominates(left: tuple[float, ...], right: tuple[float, ...]) -> bool:
    pairs = list(zip(left, right, strict=True))
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)
