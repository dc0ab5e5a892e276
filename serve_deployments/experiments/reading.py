"""From the log to what an experiment is told at a look."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from serve_deployments.experiments.analysis import Comparison, MetricSpec, compare, estimates, outcomes
from serve_deployments.experiments.bandit import FLOOR, WeightedArms, thompson_shares
from serve_deployments.experiments.experiment import Experiment, ExperimentSpec, Reading
from serve_deployments.experiments.exposure_log import ExposureLog, Units

MIN_COMPARED = 2


def read(log: ExposureLog, experiment: Experiment) -> Reading:
    """Return what the log says of an experiment now."""
    spec = experiment.spec
    counts = log.unit_counts(spec.id)
    comparisons: list[Comparison] = []
    shares = None
    for place, metric in enumerate(spec.metrics):
        units = log.units(
            spec.id, metric.name, denominator=metric.denominator, only_known=metric.kind in ("mean", "latency")
        )
        if any(len(units[arm].values) < MIN_COMPARED if arm in units else True for arm in experiment.arms):
            continue
        found = estimates(metric, {arm: units[arm] for arm in experiment.arms})
        if spec.bandit and place == 0:
            arms = weighted(metric, spec, units, experiment.phase_shares)
            found = {arm: arms.estimate(arm) for arm in spec.arms}
            shares = _next_shares(arms, metric, seed=experiment.phase)
        comparisons += compare(
            metric,
            found,
            counts,
            control=spec.control,
            alpha=spec.alpha,
            method=spec.method,
            planned=len(spec.arms) - 1,
        )
    return Reading(units=counts, comparisons=comparisons, shares=shares)


def weighted(
    metric: MetricSpec, spec: ExperimentSpec, units: Mapping[str, Units], shares: Mapping[str, Mapping[str, float]]
) -> WeightedArms:
    """Return the bandit's arms, each unit weighted by the shares of the phase in which it came."""
    names = tuple(spec.arms)
    arms = WeightedArms(names)
    given = np.concatenate([np.full(len(units[arm].values), place) for place, arm in enumerate(names)])
    values = np.concatenate([outcomes(metric, units[arm]) for arm in names])
    phases = np.concatenate([units[arm].phases for arm in names])
    for phase in np.unique(phases):
        here = phases == phase
        arms.update(given[here], values[here], shares[str(int(phase))])
    return arms


def _next_shares(arms: WeightedArms, metric: MetricSpec, *, seed: int) -> dict[str, float]:
    """Return Thompson's shares, by the means that are honest under changing shares."""
    sign = 1.0 if metric.higher_is_better else -1.0
    found = {arm: arms.estimate(arm) for arm in arms.arms}
    signed = {arm: replace(each, value=sign * each.value) for arm, each in found.items()}
    return thompson_shares(signed, seed=seed, floor=min(FLOOR, 0.5 / len(signed)))
