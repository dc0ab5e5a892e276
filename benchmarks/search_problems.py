"""The five problems on which searches are compared; nothing of ours was chosen on them.

The searcher was developed on others: Rosenbrock, Levy, Styblinski-Tang, Michalewicz, Griewank, Rastrigin,
Hartmann-3, the six-hump camel, another mixed one, and two of these with noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from training.core.space import Choice, Real, Space, Whole

ACKLEY_EDGE = 32.768
LOWEST_CAMELS = -0.2063256907


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A function to minimise.

    Parameters
    ----------
    space
        Where.
    value
        (parameters, seed) -> the exact value above the lowest one.
    noise
        Standard deviation of what is added to the values that a search sees.
    """

    space: Space
    value: Callable[[Mapping[str, Any], int], float]
    noise: float = 0.0


def _box(*ranges: tuple[float, float]) -> Space:
    return {f"x{at}": Real(low, high) for at, (low, high) in enumerate(ranges)}


def _botorch(name: str, lowest: float, **options: Any) -> Callable[[Mapping[str, Any], int], float]:
    def value(params: Mapping[str, Any], seed: int) -> float:  # noqa: ARG001 - the same for all seeds
        import torch
        from botorch import test_functions

        function = getattr(test_functions, name)(**options)
        point = torch.tensor([list(params.values())], dtype=torch.float64)
        return float(function.evaluate_true(point)) - lowest

    return value


def _ackley(params: Mapping[str, Any], seed: int) -> float:
    """Ackley with its lowest point anywhere in the middle half: at the centre, a search that tries it would win."""
    lowest = np.random.default_rng([5, seed]).uniform(-0.5, 0.5, 5) * ACKLEY_EDGE
    gap = np.array(list(params.values())) - lowest
    return float(
        20 - 20 * np.exp(-0.2 * np.sqrt(np.mean(gap**2))) + math.e - np.exp(np.mean(np.cos(2 * np.pi * gap)))
    )


SHAPES: dict[str, Callable[[float, float], float]] = {
    "rosenbrock": lambda x, y: (100 * (y - x * x) ** 2 + (1 - x) ** 2) / 300,
    "camel": lambda x, y: ((4 - 2.1 * x * x + x**4 / 3) * x * x + x * y + (-4 + 4 * y * y) * y * y) / 10,
    "beale": lambda x, y: ((1.5 - x + x * y) ** 2 + (2.25 - x + x * y * y) ** 2 + (2.625 - x + x * y**3) ** 2) / 50,
    "bowl": lambda x, y: (x * x + y * y) / 10,
    "edges": lambda x, y: (abs(x) + abs(y)) / 10,
}


def _mixed(params: Mapping[str, Any], seed: int) -> float:  # noqa: ARG001 - the same for all seeds
    """Two shapes added up, as Func2C of Ru et al. (2020) has it, and what a learner's number and rate cost."""
    shapes = SHAPES[params["first"]](params["x"], params["y"]) + SHAPES[params["second"]](params["x"], params["y"])
    extra = 0.002 * (params["number"] - 7) ** 2 + 0.05 * (math.log10(params["rate"]) + 2) ** 2
    return float(shapes + extra - LOWEST_CAMELS)


PROBLEMS: dict[str, Problem] = {
    "branin": Problem(space=_box((-5, 10), (0, 15)), value=_botorch("Branin", 0.39788735773)),
    "hartmann6": Problem(space=_box(*[(0, 1)] * 6), value=_botorch("Hartmann", -3.32236801142, dim=6)),
    "ackley5": Problem(space=_box(*[(-ACKLEY_EDGE, ACKLEY_EDGE)] * 5), value=_ackley),
    "mixed": Problem(
        space={
            "first": Choice(tuple(SHAPES)[:3]),
            "second": Choice(tuple(SHAPES)),
            "x": Real(-1.0, 1.0),
            "y": Real(-1.0, 1.0),
            "number": Whole(1, 20),
            "rate": Real(1e-5, 1.0, log=True),
        },
        value=_mixed,
    ),
    "noisy_hartmann4": Problem(
        space=_box(*[(0, 1)] * 4), value=_botorch("Hartmann", -3.13449414476, dim=4), noise=0.2
    ),
}
