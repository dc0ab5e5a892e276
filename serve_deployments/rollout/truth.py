"""Forecasts that were given, kept until their truth comes, and what they were worth then."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from cluster.errors import DataError, UnknownNameError
from serve_deployments.rollout.tally import Tally, Tree

MAX_KEPT = 50_000
"""Forecasts kept, some hundred bytes each; the oldest go first."""
Points = Mapping[str, Mapping[str, Sequence[float]]]
"""Series -> target -> values, one a step."""


class ForecastsKept:
    """Request id -> forecast; each is judged once."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Mapping[str, Any]] = OrderedDict()

    def keep(self, forecasts: Sequence[Mapping[str, Any]]) -> None:
        """Keep forecasts."""
        for forecast in forecasts:
            self._kept[forecast["request_id"]] = forecast
        while len(self._kept) > MAX_KEPT:
            self._kept.popitem(last=False)

    def judge(self, request_id: str, truth: Points, *, enough_ratio: float) -> tuple[float, tuple[str, str, Tree]]:
        """Return a forecast's accuracy, 1 - WAPE, and what to add to its rollout's counts.

        Parameters
        ----------
        request_id
            As answered.
        truth
            The first steps' true values, at least one; further steps of the forecast are not judged.
        enough_ratio
            Below this the forecast counts as inaccurate.

        Raises
        ------
        UnknownNameError
            No such forecast is kept, or it was judged before.
        DataError
            The truth names other series or targets.
        """
        if request_id not in self._kept:
            raise UnknownNameError(
                f"no forecast is kept for request '{request_id}': got a truth twice, too late, or for a request "
                "that no rollout or experiment took part in",
                name=request_id,
            )
        found = self._kept[request_id]
        accuracy = accuracy_of(found["points"], truth)
        del self._kept[request_id]
        tally = Tally()
        tally.truth(found["side"], accuracy, enough_ratio=enough_ratio)
        return accuracy, (found["owner"], found["revision"], tally.counts)


def accuracy_of(points: Points, truth: Points) -> float:
    """Return 1 - WAPE over all true values."""
    error = size = 0.0
    for series, targets in truth.items():
        for target, values in targets.items():
            if series not in points or target not in points[series] or not values:
                raise DataError.at(
                    "truth",
                    got=f"series '{series}', column '{target}'",
                    expected="series and targets of the forecast",
                )
            steps = points[series][target][: len(values)]
            error += sum(abs(made - real) for made, real in zip(steps, values, strict=False))
            size += sum(abs(real) for real in values[: len(steps)])
    if size == 0.0:
        raise DataError.at(
            "truth", got="nothing but zeros", expected="a true value other than 0, to relate errors to"
        )
    return 1.0 - error / size
