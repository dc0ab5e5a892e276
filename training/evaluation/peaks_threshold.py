"""Peaks over a threshold: the level comes from the law that the highest points of events follow."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import deque

import numpy as np

from cluster.errors import NotFittedError
from training.core.component import State
from training.core.parameters import whole
from training.core.windows import Floats
from training.evaluation.alarm_budget import peaks
from training.evaluation.pareto_tail import ParetoTail
from training.evaluation.threshold import Reading, Threshold

BASES = (0.99, 0.98, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5)
"""Quantiles of the scores from which the tail may begin; the highest with enough peaks is taken."""
ENOUGH_PEAKS = 50
ROOM = 1.5
"""At the tail's beginning events must be so many times more frequent than the budget allows."""
KEPT_BODY = 1_000
"""Quantiles of the scores below the base that are kept for their p-values."""
STEADY_ROWS = 16
"""Rows over which the frequency of peaks is taken for the same; computing a level takes ten times an update."""
SHARE_ROWS = 5_000
"""Rows over which the share of scores above the base is followed."""
FLOOD = 0.03
"""What each row of an event that outlasts LONG_GAPS gaps adds to the logarithm of the level's height; the budget's
share of points times as much is taken off at every row. A state that is ten times as strange as the level ends its
own alarm after 77 rows, and rows of long events come to no more than that share in the long run. Chosen with
`AdaptiveThreshold`'s gain on rows of public series (NAB) outside their labels: with .01 sub-sequence PCA had 1.1 %
of them strange, with .03 .06 %."""
LONG_GAPS = 2
REFIT_PEAKS = 40
"""New peaks after which the tail is fitted again, which takes some 10 ms."""
NUMBERS = ("base", "center", "above", "ceiling", "middle", "flood", "row", "quiet", "fresh", "running")


class PeaksThreshold(Threshold):
    """Extreme value theory, on events in place of points.

    Exceedances of a high base level are joined into events with the budget's gap; the peaks' excesses follow a
    generalised Pareto law. The level is where events with a peak beyond it are as frequent as the budget allows.
    Rows of one event are never taken for many: dependence between neighbours, the extremal index, is in the count.

    Parameters
    ----------
    drift
        Rows over which a slowly moving mean of the scores is taken off first; 0 takes off nothing. Short of some
        hundred rows it takes off the anomalies as well.
    kept_peaks
        Newest peaks that the tail is fitted to as the stream goes on, 20 or more; memory is constant.

    References
    ----------
    Siffer, Fouque, Termier and Largouet (2017), Anomaly detection in streams with extreme value theory (SPOT and
    DSPOT); Davison and Smith (1990), Models for exceedances over high thresholds, for declustering. Ours counts
    events, integrates over the tail's parameters (`ParetoTail`), and keeps alarms among the peaks, since an alarm
    counts against the budget until somebody confirms it.
    """

    name = "peaks"

    def __init__(self, *, drift: int = 0, kept_peaks: int = 200) -> None:
        self.drift = whole("drift", drift, low=0)
        self.kept_peaks = whole("kept_peaks", kept_peaks, low=20)
        self._base = self._center = self._top = 0.0
        self._row = self._quiet = self._fresh = 0
        self._above = 1.0
        self._ceiling = self._middle = self._flood = 0.0
        self._running = 0
        self._peaks: deque[tuple[int, float]] = deque(maxlen=self.kept_peaks)
        self._first = 0
        self._body: list[float] = []
        self._tail: ParetoTail | None = None
        self._asked: tuple[float, int] | None = None
        self._excess = 0.0

    # -- fitting -------------------------------------------------------------------------------------------------

    def learn(self, scores: Floats) -> None:
        """Choose where the tail begins, and fit it."""
        self._center = float(scores[: max(self.drift, 1)].mean()) if self.drift else 0.0
        centred = self._centred(scores)
        self._base = self._beginning(centred)
        rows, tops = peaks(centred, self._base, self.budget.gap)
        self._above = float((centred > self._base).mean())
        self._ceiling = float(np.quantile(centred, 1.0 - self.budget.most_points))
        self._middle, self._flood, self._running = float(np.median(centred)), 0.0, 0
        self._row, self._first = len(scores), 0
        self._peaks = deque(maxlen=self.kept_peaks)
        for row, top in zip(rows.tolist(), tops.tolist(), strict=True):
            self._add(row, top)
        body = np.sort(centred[centred <= self._base])
        self._body = body[np.linspace(0, len(body) - 1, min(len(body), KEPT_BODY)).astype(int)].tolist()
        self._top, self._quiet, self._fresh = -math.inf, self.budget.gap, 0
        self._refit()

    def _centred(self, scores: Floats) -> Floats:
        """Take the moving mean off, as `update` does; the mean is left where the last row put it."""
        if not self.drift:
            return scores
        spread = 4.0 * float(np.median(np.abs(scores - np.median(scores)))) or math.inf
        out = np.empty_like(scores)
        for row, score in enumerate(scores.tolist()):
            out[row] = score - self._center
            self._center += min(score - self._center, spread) / self.drift
        return out

    def _beginning(self, scores: Floats) -> float:
        """Return the highest base with enough peaks, else the one with the most."""
        best, most = float(np.quantile(scores, 0.5)), -1
        for quantile in BASES:
            base = float(np.quantile(scores, quantile))
            count = len(peaks(scores, base, self.budget.gap)[0])
            if count >= ENOUGH_PEAKS and count >= ROOM * self.budget.rate * len(scores):
                return base
            if count > most:
                best, most = base, count
        # few peaks or a budget so wide that the bulk of the scores must alarm
        return best if most else float(np.sort(np.unique(scores))[-2])

    def _add(self, row: int, top: float) -> None:
        if len(self._peaks) == self.kept_peaks:
            self._first = self._peaks[0][0]
        self._peaks.append((row, top))

    def _refit(self) -> None:
        excesses = np.array([top - self._base for _, top in self._peaks])
        self._tail, self._fresh, self._asked = ParetoTail.fit(excesses), 0, None

    # -- levels --------------------------------------------------------------------------------------------------

    @property
    def _peak_rate(self) -> float:
        """Events above the base, a row."""
        return len(self._peaks) / max(self._row - self._first, 1)

    def level_with(self, lean: float) -> float:
        """Return the level that exp(-lean) times the budget's events go beyond, and no more than its points."""
        asked = (lean, self._row // STEADY_ROWS)
        if asked != self._asked:
            chance = self.budget.rate * math.exp(-lean) / self._peak_rate
            self._excess, self._asked = self._fitted.excess(min(max(chance, 1e-290), 1.0)), asked
        height = max(self._base + self._excess, self._ceiling) - self._middle
        return self._center + self._middle + height * math.exp(self._flood)

    @property
    def _fitted(self) -> ParetoTail:
        if self._tail is None:
            raise NotFittedError(f"threshold '{self.name}' is not fitted: call fit() first")
        return self._tail

    def tail(self, scores: Floats) -> Floats:
        """Return the chance: by rank below the base, by the fitted tail above it."""
        centred = scores - self._center
        above = self._above * self._fitted.chance(centred - self._base)
        ranks = 1.0 - np.searchsorted(self._body, centred, side="left") / len(self._body)
        below = self._above + (1.0 - self._above) * ranks
        out: Floats = np.where(centred > self._base, above, below)
        return out

    def _p_value(self, score: float) -> float:
        centred = score - self._center
        if centred > self._base:
            return self._above * float(self._fitted.chance(np.array(centred - self._base)))
        rank = 1.0 - bisect_left(self._body, centred) / len(self._body)
        return self._above + (1.0 - self._above) * rank

    def expected_rate(self, level: float) -> float:
        """Return the events a row with a peak beyond `level`."""
        return self._peak_rate * float(self._fitted.chance(np.array(level - self._center - self._base)))

    # -- stream --------------------------------------------------------------------------------------------------

    def follow(self, score: float, reading: Reading) -> bool:
        """Count the row, keep the peak of each event above the base once it is over, fit again now and then."""
        centred = score - self._center
        self._row += 1
        self._above += (float(centred > self._base) - self._above) / SHARE_ROWS
        self._follow_flood(reading)
        self._follow_peak(centred)
        if self.drift:
            # a strange row moves the mean no further than the level would: an anomaly does not become normal at
            # once, a lasting shift does
            self._center += min(centred, reading.level - self._center) / self.drift
        return self.drift > 0 or self._flood > 0 or self._row % STEADY_ROWS == 0

    def _follow_flood(self, reading: Reading) -> None:
        self._running = 0 if reading.begins else self._running + reading.strange
        long = reading.strange and self._running > LONG_GAPS * self.budget.gap
        self._flood = max(self._flood + FLOOD * (float(long) - self.budget.most_points), 0.0)

    def _follow_peak(self, centred: float) -> None:
        if centred > self._base:
            self._top, self._quiet = max(self._top, centred), 0
            return
        self._quiet += 1
        if self._quiet <= self.budget.gap or self._top == -math.inf:
            return
        self._add(self._row - self._quiet, self._top)
        self._top = -math.inf
        self._fresh += 1
        if self._fresh >= REFIT_PEAKS:
            self._refit()

    # -- state ---------------------------------------------------------------------------------------------------

    def learned(self) -> State:
        """Return the tail's sample."""
        return {
            **{name: getattr(self, f"_{name}") for name in NUMBERS},
            "top": None if math.isinf(self._top) else self._top,
            "first": self._first,
            "excess": self._excess,
            "asked": None if self._asked is None else list(self._asked),
            "peak_rows": np.array([row for row, _ in self._peaks], dtype=np.int64),
            "peak_tops": np.array([top for _, top in self._peaks]),
            "body": np.array(self._body),
            "tail_mean": self._fitted.mean,
            "tail_log_chances": self._fitted.log_chances,
        }

    def relearn(self, state: State) -> None:
        """Take back the tail's sample."""
        self._base, self._center, self._above, self._ceiling, self._middle, self._flood = (
            float(state[name]) for name in NUMBERS[:6]
        )
        self._row, self._quiet, self._fresh, self._running = (int(state[name]) for name in NUMBERS[6:])
        self._top = -math.inf if state["top"] is None else float(state["top"])
        self._first, self._body = int(state["first"]), np.asarray(state["body"]).tolist()
        pairs = zip(np.asarray(state["peak_rows"]).tolist(), np.asarray(state["peak_tops"]).tolist(), strict=True)
        self._peaks = deque(pairs, maxlen=self.kept_peaks)
        self._tail = ParetoTail(float(state["tail_mean"]), np.asarray(state["tail_log_chances"]))
        self._excess, asked = float(state["excess"]), state["asked"]
        self._asked = None if asked is None else (float(asked[0]), int(asked[1]))
