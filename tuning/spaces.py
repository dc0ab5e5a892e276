"""From a model's search space to what the sampler draws from, and back: the only place that knows both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from training.core.space import Choice, Dimension, Real, Space, Whole

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.distributions import BaseDistribution

Draw = dict[str, float | int]
"""What a sampler chose: numbers as they are, of a choice its position. Survives JSON, unlike a choice's values."""


def distribution(dimension: Dimension) -> BaseDistribution:
    """Return Optuna's distribution for one dimension."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(dimension, Real):
        return FloatDistribution(dimension.low, dimension.high, log=dimension.log)
    if isinstance(dimension, Whole):
        return IntDistribution(dimension.low, dimension.high, log=dimension.log)
    return CategoricalDistribution(tuple(range(len(dimension.values))))


def suggest(trial: Trial, space: Space, prefix: str) -> Draw:
    """Let a trial of Optuna choose from each dimension under the name `prefix` + its own."""
    chosen: Draw = {}
    for name, dimension in space.items():
        if isinstance(dimension, Real):
            chosen[name] = trial.suggest_float(prefix + name, dimension.low, dimension.high, log=dimension.log)
        elif isinstance(dimension, Whole):
            chosen[name] = trial.suggest_int(prefix + name, dimension.low, dimension.high, log=dimension.log)
        else:
            chosen[name] = trial.suggest_categorical(prefix + name, tuple(range(len(dimension.values))))
    return chosen


def parameters(space: Space, draw: Mapping[str, float | int]) -> dict[str, Any]:
    """Return the model's parameters for what was drawn from `space`."""
    return {name: _value(space[name], drawn) for name, drawn in draw.items()}


def starting_draw(space: Space, defaults: Mapping[str, Any]) -> Draw:
    """Return the draw nearest to the defaults: numbers are moved into range, strangers are left out."""
    draws = {name: _position(space[name], value) for name, value in defaults.items() if name in space}
    return {name: drawn for name, drawn in draws.items() if drawn is not None}


def _value(dimension: Dimension, drawn: float) -> Any:
    if isinstance(dimension, Choice):
        return dimension.values[int(drawn)]
    return int(drawn) if isinstance(dimension, Whole) else float(drawn)


def _position(dimension: Dimension, value: Any) -> float | int | None:
    if isinstance(dimension, Choice):
        return dimension.values.index(value) if value in dimension.values else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return min(max(value, dimension.low), dimension.high)
