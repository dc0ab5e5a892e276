"""Conformal thresholds: ranks among recent scores, with no law assumed."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from collections import deque

import numpy as np

from cluster.errors import InsufficientHistoryError
from training.core.component import State
from training.core.parameters import whole
from training.core.windows import Floats
from training.evaluation.alarm_budget import event_curve
from training.evaluation.threshold import Reading, Threshold, observed_rate


class ConformalThreshold(Threshold):
    """The level that recent scores went beyond, in events, as often as the budget allows.

    A row's p-value is its rank among the calibration scores: below a with chance a or less while rows are
    exchangeable. An alarm needs a calibration long enough to have seen the budget's rate; where it is shorter,
    `peaks` goes beyond what was seen.

    Parameters
    ----------
    window
        Newest scores that are kept, 100 or more; memory is constant. A calibration of more keeps its last.

    References
    ----------
    Vovk, Gammerman and Shafer (2005), Algorithmic Learning in a Random World; Laxhammar and Falkman (2010),
    Conformal prediction for distribution-independent anomaly detection. Ours counts events for the level, and
    single rows for the p-value.
    """

    name = "conformal"

    def __init__(self, *, window: int = 20_000) -> None:
        self.window = whole("window", window, low=100)
        self._newest: deque[float] = deque(maxlen=self.window)
        self._sorted: list[float] = []
        self._curve: tuple[Floats, Floats] = (np.empty(0), np.empty(0))
        self._fresh = 0

    def learn(self, scores: Floats) -> None:
        """Keep the newest scores."""
        kept = scores[-self.window :]
        needed = math.ceil(1.0 / self.budget.rate)
        if len(kept) < needed:
            raise InsufficientHistoryError(
                f"'{self.name}' cannot keep {self.budget.alarms_per_series_per_month:g} alarms a month: got "
                f"{len(kept)} scores, expected at least {needed}; give a longer history (and window), a larger "
                "budget, or choose the threshold 'peaks', which goes beyond what was seen",
                got=len(kept),
                expected=needed,
            )
        self._newest = deque(kept.tolist(), maxlen=self.window)
        self._sorted = sorted(self._newest)
        self._rank()

    def _rank(self) -> None:
        """Table the events a row that reach each level, no fewer than a higher level's."""
        scores = np.array(self._newest)
        values, counts = event_curve(scores, self.budget.gap)
        self._curve = (values, (np.maximum.accumulate(counts) + 1.0) / (len(scores) + 1.0))
        self._fresh = 0

    def level_with(self, lean: float) -> float:
        """Return the lowest level whose events, and one more, stay within the rate; the highest score at least."""
        values, rates = self._curve
        within = int(np.searchsorted(rates, self.budget.rate * math.exp(-lean), side="right"))
        # scores that reach values[within] are too many: strange is what goes beyond it
        by_events = float(values[min(within, len(values) - 1)])
        return max(by_events, self._sorted[math.ceil((1.0 - self.budget.most_points) * len(self._sorted)) - 1])

    def tail(self, scores: Floats) -> Floats:
        """Return ranks from above over N + 1."""
        count = len(self._sorted)
        below = np.searchsorted(self._sorted, scores, side="left").astype(np.float64)
        return (1.0 + count - below) / (count + 1.0)

    def _p_value(self, score: float) -> float:
        count = len(self._sorted)
        return (1.0 + count - bisect_left(self._sorted, score)) / (count + 1.0)

    def expected_rate(self, level: float) -> float:
        """Return the events a row that the kept scores had above `level`."""
        return observed_rate(np.array(self._newest), level, self.budget.gap)

    def follow(self, score: float, reading: Reading) -> bool:  # noqa: ARG002 - strange or not, it was seen
        """Take the new score in, let the oldest go; rank anew after a twentieth of the window."""
        if len(self._newest) == self.window:
            del self._sorted[bisect_right(self._sorted, self._newest[0]) - 1]
        self._newest.append(score)
        insort(self._sorted, score)
        self._fresh += 1
        if self._fresh < max(self.window // 20, 1):
            return False
        self._rank()
        return True

    def learned(self) -> State:
        """Return the kept scores and their ranking."""
        values, rates = self._curve
        return {"newest": np.array(self._newest), "values": values, "rates": rates, "fresh": self._fresh}

    def relearn(self, state: State) -> None:
        """Take back the kept scores."""
        self._newest = deque(np.asarray(state["newest"]).tolist(), maxlen=self.window)
        self._sorted = sorted(self._newest)
        self._curve = (np.asarray(state["values"]), np.asarray(state["rates"]))
        self._fresh = int(state["fresh"])
