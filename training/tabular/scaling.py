"""Columns without gaps and on one scale, as distances and penalties need them."""

from __future__ import annotations

import warnings

import numpy as np

from training.core.component import State
from training.core.windows import Floats

BENT_AT = 3.0
"""Scales from the middle towards which a robust column's tails are bent: no value lies further out than this."""
FURTHEST = 8.0
"""Scales from the middle at which a standardised column is cut off: a slip of the pen shall not rule a line."""


def learn_scale(inputs: Floats, *, robust: bool) -> State:
    """Return the middle and the scale of each column, and which columns have gaps.

    Parameters
    ----------
    inputs
        (N, F) training rows, NaN where missing; no column is empty.
    robust
        Median and quartiles, and tails bent in; else mean and standard deviation.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        low, middle, high = np.nanquantile(inputs, [0.25, 0.5, 0.75], axis=0)
        spread = np.nanstd(inputs, axis=0)
    scale = np.where(high > low, (high - low) / 1.349, spread) if robust else spread  # quartiles of a normal
    return {
        "robust": robust,
        "fill": middle,
        "centre": middle if robust else np.nanmean(inputs, axis=0),
        "scale": np.where(scale > 0, scale, 1.0),
        "gaps": np.flatnonzero(np.isnan(inputs).any(axis=0)),
    }


def scaled(inputs: Floats, state: State) -> Floats:
    """Return (N, F + gaps): each column without gaps on its scale, then flags of what was missing."""
    missing = np.isnan(inputs)
    values = (np.where(missing, state["fill"], inputs) - state["centre"]) / state["scale"]
    if state["robust"]:
        values /= np.sqrt(1 + np.square(values / BENT_AT))
    else:
        values = values.clip(-FURTHEST, FURTHEST)
    return np.hstack([values, missing[:, state["gaps"]].astype(np.float64)])
