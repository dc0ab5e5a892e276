"""What an experiment says so far: each arm against the control, honest about how often one looked and how much."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, inf
from statistics import NormalDist
from typing import Any, Literal

import numpy as np

from cluster.errors import ConfigError
from serve_deployments.experiments import normal_mixture
from serve_deployments.experiments.estimates import Estimate, adjusted, mean, ratio
from serve_deployments.experiments.exposure_log import Units
from serve_deployments.experiments.moments import Moments

Kind = Literal["proportion", "mean", "ratio", "latency"]
Method = Literal["sequential", "fixed"]
KINDS: tuple[Kind, ...] = ("proportion", "mean", "ratio", "latency")


@dataclass(frozen=True, kw_only=True)
class MetricSpec:
    """What is measured.

    Parameters
    ----------
    name
        Of the outcome.
    kind
        `proportion`: whether a unit had the outcome at all. `mean`: sum of a unit's outcomes. `ratio`: sum over sum
        of `denominator`. `latency`: mean logarithm of seconds, so that effects are relative.
    higher_is_better
        Direction of a gain.
    effect
        Smallest difference worth finding, in the metric's unit; differences below it count as none.
    denominator
        Outcome below the line of a ratio; empty: the unit's requests.
    cuped
        Use the units' covariates; units without one count with their mean.
    """

    name: str
    kind: Kind
    effect: float
    higher_is_better: bool = True
    denominator: str = ""
    cuped: bool = False

    def __post_init__(self) -> None:
        if self.kind not in KINDS or not self.effect > 0.0 or (self.cuped and self.kind == "ratio"):
            raise ConfigError(
                f"metric '{self.name}': got kind '{self.kind}', effect {self.effect}, cuped {self.cuped}; expected "
                f"one of {', '.join(KINDS)}, an effect above 0, and no CUPED for a ratio"
            )


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One arm against the control in one metric.

    Parameters
    ----------
    metric, arm
        Which.
    value, control
        Estimates of both arms.
    difference, low, high
        Arm less control, and an interval with the asked confidence over all comparisons of the metric.
    p_value
        Adjusted for the comparisons (Holm); valid at every look where the method is sequential.
    units
        Of the arm.
    """

    metric: str
    arm: str
    value: float
    control: float
    difference: float
    low: float
    high: float
    p_value: float
    units: int


def compare(
    metric: MetricSpec, arms: Mapping[str, Estimate], counts: Mapping[str, int], *, control: str, alpha: float,
    method: Method, planned: int,
) -> list[Comparison]:  # fmt: skip
    """Compare each arm with the control, all comparisons together at level alpha.

    Parameters
    ----------
    metric
        What was measured.
    arms, counts
        Arm -> its estimate, and its units.
    control
        The arm that others are compared with.
    alpha
        Chance that any arm is told apart from an equal control.
    method
        `sequential`: may be looked at whenever one likes. `fixed`: one look, at the planned size.
    planned
        Comparisons that the experiment began with: arms that were taken out since still count, so that taking them
        out cannot make the others look better.
    """
    others = [arm for arm in arms if arm != control]
    gaps = {arm: arms[arm] - arms[control] for arm in others}
    raw = [p_value(gaps[arm], metric.effect, method) for arm in others]
    found = []
    missing = [1.0] * (planned - len(others))
    for arm, p in zip(others, holm([*raw, *missing]), strict=False):
        low, high = interval(gaps[arm], metric.effect, alpha / planned, method)
        found.append(
            Comparison(
                metric=metric.name,
                arm=arm,
                value=float(arms[arm].value),
                control=float(arms[control].value),
                difference=float(gaps[arm].value),
                low=low,
                high=high,
                p_value=p,
                units=counts[arm],
            )
        )
    return found


def p_value(gap: Estimate, effect: float, method: Method) -> float:
    """Return the chance of such a difference between equal arms; anytime-valid where the method is sequential."""
    if method == "sequential":
        return min(1.0, exp(-min(700.0, float(normal_mixture.log_evidence(gap, scale=effect)))))
    variance = float(gap.variance)
    if variance == inf or gap.value == 0.0:
        return 1.0
    return 2.0 * NormalDist().cdf(-abs(float(gap.value)) / variance**0.5) if variance > 0.0 else 0.0


def interval(gap: Estimate, effect: float, alpha: float, method: Method) -> tuple[float, float]:
    """Return bounds of the difference."""
    if method == "sequential":
        low, high = normal_mixture.interval(gap, alpha=alpha, scale=effect)
        return float(low), float(high)
    half = NormalDist().inv_cdf(1.0 - alpha / 2.0) * float(gap.variance) ** 0.5
    return float(gap.value) - half, float(gap.value) + half


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for their number (Holm 1979), in the order given."""
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    adjusted_, highest = [1.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted_[place] = highest
    return adjusted_


def estimates(metric: MetricSpec, units: Mapping[str, Units]) -> dict[str, Estimate]:
    """Return arm -> its estimate."""
    arms = {arm: _moments(metric, each) for arm, each in units.items()}
    if metric.kind == "ratio":
        return {arm: ratio(each) for arm, each in arms.items()}
    if not metric.cuped:
        return {arm: mean(each) for arm, each in arms.items()}
    pooled = Moments(2)
    for each in arms.values():
        pooled.merge(each)
    return {arm: adjusted(each, pooled) for arm, each in arms.items()}


def outcomes(metric: MetricSpec, units: Units) -> Any:
    """Return each unit's outcome, (N,)."""
    match metric.kind:
        case "proportion":
            return (units.values > 0.0).astype(np.float64)
        case "latency":
            return np.log(np.maximum(units.values / units.requests, 1e-9))
        case _:
            return units.values


def _moments(metric: MetricSpec, units: Units) -> Moments:
    y = outcomes(metric, units)
    if metric.kind == "ratio":
        second = units.denominators if metric.denominator else units.requests
    elif metric.cuped:
        known = ~np.isnan(units.covariates)
        middle = float(units.covariates[known].mean()) if known.any() else 0.0
        second = np.where(known, units.covariates, middle)
    else:
        second = np.zeros_like(y)
    found = Moments(2)
    found.update(np.stack([y, second], axis=-1))
    return found
