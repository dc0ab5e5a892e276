"""A target with long tails, bent so that least squares sees all of it."""

from __future__ import annotations

import numpy as np

from training.core.component import State
from training.core.windows import Floats

SKEWED = 1.0
"""Absolute skewness from which bending is worth a try: that of a squared normal is 2.8, of a normal 0."""


def skewness(values: Floats) -> float:
    """Return the third standardised moment; 0 where all values are the same."""
    spread = float(values.std())
    return float((((values - values.mean()) / spread) ** 3).mean()) if spread else 0.0


def learn_bend(target: Floats) -> State:
    """Return the middle and the unit of a target: linear around the middle, logarithmic far from it."""
    low, middle, high = np.quantile(target, [0.25, 0.5, 0.75])
    unit = float(high - low) or float(target.std()) or 1.0
    return {"middle": float(middle), "unit": unit / 2}


def bent(target: Floats, bend: State) -> Floats:
    """Return the inverse hyperbolic sine of the target in its unit."""
    values: Floats = np.arcsinh((target - bend["middle"]) / bend["unit"])
    return values


def unbent(values: Floats, bend: State) -> Floats:
    """Return what `bent` was given; values beyond any target are cut before they overflow."""
    target: Floats = np.sinh(values.clip(-50, 50)) * bend["unit"] + bend["middle"]
    return target
