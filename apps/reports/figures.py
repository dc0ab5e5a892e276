"""A scorecard's figures as a table that needs no manual."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from apps.reports.page import Share
from training.evaluation.scorecard import Figures

NAMES = {
    "accuracy": "accuracy, 1 - WAPE",
    "wape": "WAPE, error over size",
    "mae": "mean absolute error ({unit})",
    "rmse": "root mean squared error ({unit})",
    "mase": "MASE, error over that of the season before",
    "r2": "R2",
    "bias": "bias ({unit})",
    "directional_accuracy": "right direction from the last value",
    "coverage_90": "truth inside the 90 % interval",
    "width_90": "width of the 90 % interval ({unit})",
    "score_90": "score of the 90 % interval ({unit})",
    "coverage_95": "truth inside the 95 % interval",
    "width_95": "width of the 95 % interval ({unit})",
    "score_95": "score of the 95 % interval ({unit})",
    "pinball": "mean quantile loss ({unit})",
}
"""Figure -> what a reader calls it."""
SHARES = frozenset({"accuracy", "wape", "directional_accuracy", "coverage_90", "coverage_95"})
BEST = {
    "r2": 1.0,
    "accuracy": 1.0,
    "directional_accuracy": 1.0,
    "coverage_90": 0.90,
    "coverage_95": 0.95,
}
"""Figure -> its best value; 0 for all others. A width alone has none: nothing is narrower than a wrong interval."""


def compared(mine: Figures, naive: Figures, *, unit: str) -> list[dict[str, Any]]:
    """Return a row a figure: the model's, the seasonal naive forecast's, and which is better."""
    theirs = asdict(naive)
    return [
        {
            "figure": NAMES[name].format(unit=unit),
            "model": _cell(name, value),
            "seasonal naive": _cell(name, theirs[name]),
            "better": _better(name, value, theirs[name]),
        }
        for name, value in asdict(mine).items()
    ]


def _cell(name: str, value: float) -> float | None:
    if not np.isfinite(value):
        return None
    return Share(value) if name in SHARES else value


def _better(name: str, mine: float, theirs: float) -> str:
    ours, naives = (abs(value - BEST.get(name, 0.0)) for value in (mine, theirs))
    if name.startswith("width") or ours == naives or not np.isfinite([ours, naives]).all():
        return ""
    return "model" if ours < naives else "seasonal naive"
