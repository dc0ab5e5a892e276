"""The contract of thresholds: from scores to alarms, at a level that a budget sets."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from cluster.errors import DataError, InsufficientHistoryError, NotFittedError
from training.core.catalog import Catalog
from training.core.component import Component, State
from training.core.parameters import real
from training.core.windows import Floats
from training.evaluation.alarm_budget import Budget, Flags, runs

FEWEST_SCORES = 50
"""Below so many calibration scores a tail is a guess."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a threshold says of one new score.

    Parameters
    ----------
    p_value
        Chance of so high a score at a row that is as usual, 0 .. 1.
    level
        The score had to be above it.
    strange
        Whether it was.
    begins
        Whether this row begins an event: strange, and the last strange row is more than the gap away.
    """

    p_value: float
    level: float
    strange: bool
    begins: bool


class Threshold(Component):
    """Scores of one series -> tail probabilities and alarms.

    `fit` learns from calibration scores, higher is stranger; `update` goes on row by row with constant memory.
    A subclass implements `learn`, `level_with`, `tail`, `expected_rate`, `follow`, `learned` and `relearn`.

    Feedback moves a threshold by `lean`, the natural logarithm of how many times fewer events are wanted than the
    budget allows: `level_with` never falls while it rises.
    """

    _budget: Budget | None = None
    _lean: float = 0.0
    _since: float = math.inf
    _level: float = math.nan

    # -- what a family member writes ---------------------------------------------------------------------------

    @abstractmethod
    def learn(self, scores: Floats) -> None:
        """Learn from finite, not constant scores (N,); `self.budget` is set."""

    @abstractmethod
    def level_with(self, lean: float) -> float:
        """Return the level that leaves exp(-lean) times the budget's events; it never falls while lean rises."""

    @abstractmethod
    def tail(self, scores: Floats) -> Floats:
        """Return (N,) tail probabilities of single rows."""

    @abstractmethod
    def expected_rate(self, level: float) -> float:
        """Return the events a row that are to be expected above `level`."""

    @abstractmethod
    def follow(self, score: float, reading: Reading) -> bool:
        """Learn from one new score; return whether the level may have moved."""

    @abstractmethod
    def learned(self) -> State:
        """Return what was learned."""

    @abstractmethod
    def relearn(self, state: State) -> None:
        """Take back what `learned` gave."""

    # -- what users call ---------------------------------------------------------------------------------------

    @property
    def budget(self) -> Budget:
        """The budget it was fitted for."""
        if self._budget is None:
            raise NotFittedError(f"threshold '{self.name}' is not fitted: call fit() first")
        return self._budget

    @property
    def level(self) -> float:
        """A row is strange when its score is above this."""
        self._need_fit()
        return self._level

    @property
    def lean(self) -> float:
        """How far feedback has moved it, in natural logarithms of the event rate; 0 is the budget itself."""
        return self._lean

    @property
    def expected_alarms_per_month(self) -> float:
        """Events a month that are to be expected at the level as it is now."""
        return self.expected_rate(self.level) * self.budget.rows_per_month

    @property
    def allowed_p_value(self) -> float:
        """The p-value at the level: rows with a smaller one are strange."""
        return self._p_value(self.level)

    def fit(self, scores: Floats, budget: Budget) -> Self:
        """Learn from calibration scores (N,), in order of time.

        Raises
        ------
        DataError
            A score is not finite, or all are the same.
        InsufficientHistoryError
            There are fewer than 50, or fewer than the method needs for this budget.
        """
        checked = check_scores(scores)
        self._budget, self._since = budget, math.inf
        try:
            self.learn(checked)
            self._level = self.level_with(self._lean)
        except BaseException:
            self._budget = None  # half a fit is none
            raise
        return self

    def leaning(self, lean: float) -> Self:
        """Move the level by feedback: see the class."""
        self._lean = real("lean", lean, low=-math.inf)
        if self._budget is not None:
            self._level = self.level_with(self._lean)
        return self

    def p_values(self, scores: Floats) -> Floats:
        """Return (N,): the chance of a score as high at a row that is as usual."""
        self._need_fit()
        return self.tail(finite(scores))

    def alarms(self, scores: Floats) -> Flags:
        """Return (N,): which rows are strange at the level as it is; nothing is learned."""
        self._need_fit()
        return np.asarray(finite(scores) > self._level)

    def update(self, score: float) -> Reading:
        """Judge one new score, then learn from it.

        Raises
        ------
        DataError
            The score is not finite; nothing was learned, the next one may come.
        """
        if self._budget is None:
            self._need_fit()
        if not math.isfinite(score):
            raise DataError.at("a score cannot be judged", got=score, expected="a finite number")
        strange = score > self._level
        begins = strange and self._since > self.budget.gap
        self._since = 1.0 if strange else self._since + 1.0
        reading = Reading(self._p_value(score), self._level, strange, begins)
        if self.follow(score, reading):
            self._level = self.level_with(self._lean)
        return reading

    def skip(self) -> None:
        """Go on by a row that could not be scored: it is quiet, and nothing is learned."""
        self._since += 1.0

    def readings(self, scores: Floats) -> list[Reading]:
        """Update with each of (N,) scores in turn."""
        return [self.update(score) for score in finite(scores).tolist()]

    def _p_value(self, score: float) -> float:
        return float(self.tail(np.array([score]))[0])

    def state(self) -> State:
        """Return all that fitting and updates learned; empty before."""
        if self._budget is None:
            return {}
        since = None if math.isinf(self._since) else self._since
        own = {"budget": asdict(self._budget), "lean": self._lean, "since": since, "level": self._level}
        return own | {"learned": self.learned()}

    def restore(self, state: State) -> None:
        """Take back what `state` gave."""
        if not state:
            return
        self._budget, self._lean = Budget(**state["budget"]), float(state["lean"])
        self._since = math.inf if state["since"] is None else float(state["since"])
        self.relearn(state["learned"])
        self._level = float(state["level"])

    def _need_fit(self) -> None:
        self.budget  # noqa: B018 - raises before the fit


def finite(scores: Any) -> Floats:
    """Return scores as (N,) floats; raise the DataError that names the first row that is none."""
    try:
        array = np.asarray(scores, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError.at("scores cannot be judged", got=f"{scores!r:.80}", expected="numbers") from error
    if array.ndim != 1:
        raise DataError.at("scores cannot be judged", got=f"shape {array.shape}", expected="one score a row, (N,)")
    bad = np.flatnonzero(~np.isfinite(array))
    if len(bad):
        row = int(bad[0])
        raise DataError.at("a score cannot be judged", row=row, got=array[row], expected="a finite number")
    return array


def check_scores(scores: Any) -> Floats:
    """Return scores that a threshold can be calibrated on; raise what `Threshold.fit` raises."""
    array = finite(scores)
    if len(array) < FEWEST_SCORES:
        raise InsufficientHistoryError(
            f"a threshold cannot be calibrated: got {len(array)} scores, expected at least {FEWEST_SCORES}; "
            "give a longer history",
            got=len(array),
            expected=FEWEST_SCORES,
        )
    if array.min() == array.max():
        raise DataError.at(
            "a threshold cannot be calibrated",
            got=f"{len(array)} scores that are all {array[0]:g}",
            expected="scores that vary: the series stands still, or the detector does not see it",
        )
    return array


def observed_rate(scores: Floats, level: float, gap: int) -> float:
    """Return the events a row that calibration scores had above `level`."""
    return len(runs(scores > level, gap)) / len(scores)


THRESHOLDS: Catalog[Threshold] = Catalog(
    "threshold",
    {
        "adaptive": "training.evaluation.adaptive_threshold:AdaptiveThreshold",
        "conformal": "training.evaluation.conformal_threshold:ConformalThreshold",
        "peaks": "training.evaluation.peaks_threshold:PeaksThreshold",
        "sigma": "training.evaluation.sigma_threshold:SigmaThreshold",
    },
)
"""The list: catalog name -> where its class is, imported at first use."""
