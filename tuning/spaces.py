"""From a model's search space to what Optuna draws from: the only place that knows both."""

from __future__ import annotations

from typing import TYPE_CHECKING

from training.core.space import Dimension, Draw, Real, Space, Whole, exists, ordered

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.distributions import BaseDistribution


def distribution(dimension: Dimension) -> BaseDistribution:
    """Return Optuna's distribution for one dimension."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(dimension, Real):
        return FloatDistribution(dimension.low, dimension.high, log=dimension.log)
    if isinstance(dimension, Whole):
        return IntDistribution(dimension.low, dimension.high, log=dimension.log)
    return CategoricalDistribution(tuple(range(len(dimension.values))))


def suggest(trial: Trial, space: Space, prefix: str = "") -> Draw:
    """Let a trial of Optuna choose from each dimension that exists, under the name `prefix` + its own."""
    chosen: Draw = {}
    for name in ordered(space):
        dimension = space[name]
        if not exists(dimension, space, chosen):
            continue
        if isinstance(dimension, Real):
            chosen[name] = trial.suggest_float(prefix + name, dimension.low, dimension.high, log=dimension.log)
        elif isinstance(dimension, Whole):
            chosen[name] = trial.suggest_int(prefix + name, dimension.low, dimension.high, log=dimension.log)
        else:
            chosen[name] = trial.suggest_categorical(prefix + name, tuple(range(len(dimension.values))))
    return {name: chosen[name] for name in space if name in chosen}
