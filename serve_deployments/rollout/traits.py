"""What a forecast shows of its own quality before any truth is known, and how two forecasts differ."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from serve_deployments.experiments.assignment import point
from training.core.prediction import Prediction

BUCKETS = 10
"""Segments of series whose ids name no group: tenths by hash."""
SEPARATORS = "/:"


@dataclass(frozen=True, kw_only=True)
class Traits:
    """Signs of quality.

    Parameters
    ----------
    width_ratio
        Mean width of the intervals over the mean size of the forecast; None where it is no forecast.
    out_of_range
        A forecast lies outside the physical range of its column.
    """

    width_ratio: float | None = None
    out_of_range: bool = False


def traits(servable: Any, result: Any) -> Traits:
    """Return the traits of a version's result; those of nothing where it is no forecast."""
    if not isinstance(result, Prediction):
        return Traits()
    width = float(np.mean(result.values[..., -1] - result.values[..., 0]))
    columns = [servable.schema.column(target) for target in result.targets]
    low = np.array([-np.inf if column.low is None else column.low for column in columns])
    high = np.array([np.inf if column.high is None else column.high for column in columns])
    return Traits(
        width_ratio=width / max(_size(result.point), 1e-12),
        out_of_range=bool(((result.point < low) | (result.point > high)).any()),
    )


def difference_ratio(new: Any, old: Any) -> float | None:
    """Return the mean absolute difference of two forecasts over the old one's mean size; None without forecasts."""
    both = isinstance(new, Prediction) and isinstance(old, Prediction) and new.point.shape == old.point.shape
    if not both:
        return None
    return float(np.mean(np.abs(new.point - old.point))) / max(_size(old.point), 1e-12)


def _size(values: Any) -> float:
    return float(np.mean(np.abs(values)))


def segments(question: Any) -> frozenset[str]:
    """Return the segments of a question's series."""
    return frozenset(segment(each.series_id) for each in series_of(question))


def series_of(question: Any) -> Iterable[Any]:
    """Return the series a question is about; none where it has no such field."""
    return getattr(question, "series", ())


def segment(series_id: str) -> str:
    """Return what a series belongs to: the text before `/` or `:` in its id (a site), else a tenth by hash."""
    for separator in SEPARATORS:
        group, found, _ = series_id.partition(separator)
        if found:
            return group
    return f"tenth-{int(point('segment', series_id) * BUCKETS)}"
