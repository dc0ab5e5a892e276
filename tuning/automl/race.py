"""Which fit comes next: the portfolio, then what a search proposes, each dropped as soon as it is far behind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from tuning.automl.candidate import Candidate
from tuning.automl.trial import Assigned

Propose = Callable[[int], Candidate | None]
"""The next candidate of a search, for its number; None where there is none."""

DEEP_SHARE = 0.92
"""Share of the time in which candidates are compared; what is left is for the blend."""
EXPLORE_SHARE = 0.5
"""The same at the least, where winners are fitted once more afterwards."""
WINNERS = 3
"""Candidates that are fitted once more, for the time that is left for them: few blends have many more."""
AGAIN = 1.3
"""Seconds of another fit for each second of the first: it may have more rows, and no limit that comes sooner."""
PROBED_SHARE = 0.15
"""Share of the budget that the first fit may take for a second one to be spent on the same question."""
PROBES = 2
"""Folds of the first candidate that show how quick it is: the first of all fits loads libraries."""
PORTFOLIO_FITS = 8
"""Candidates that should be through in the time if all were as quick as the first: decides on how many folds."""
BEHIND = 0.25
"""Share of the best score above which a candidate is dropped after a fold: it would get no weight."""
LONGEST_SHARE = 0.2
"""Share of the budget that one fit may take."""
TELLING_ROWS = 8
"""Rows judged on for each candidate that a search may add: few rows cannot tell many candidates apart."""


@dataclass(kw_only=True)
class Course:
    """How far a candidate has come.

    Attributes
    ----------
    candidate
        Which.
    scores, took_s
        Fold -> what it scored there, and the seconds of its fit.
    error
        Why it failed.
    dropped
        Whether it was too far behind to go on.
    """

    candidate: Candidate
    scores: dict[int, float] = field(default_factory=dict)
    took_s: dict[int, float] = field(default_factory=dict)
    error: str = ""
    dropped: bool = False

    def score(self, folds: Iterable[int]) -> float:
        """Return the mean over some folds."""
        return float(np.mean([self.scores[fold] for fold in folds]))


class Race:
    """Says what to fit next, as long as there is time; knows neither data nor clock.

    Where the first candidate turns out to be quick, every candidate does many folds, one after the other, and is
    dropped where it is far behind the best on the same folds. Where it is slow, candidates are compared on the
    first fold alone, and time is left for the chosen ones to be fitted on the rest.

    Parameters
    ----------
    portfolio
        What comes first.
    propose
        What comes then.
    openings
        Which folds a candidate may be compared on, the most first; the last is the first fold alone.
    rows
        Rows that are judged on, all folds together: bounds how many candidates a search may add.
    budget_s, started_s
        Of the whole run, and how much of it had passed when the race began.
    ordered
        Whether winners are fitted on all rows in the end, whatever folds they did.
    """

    def __init__(
        self,
        portfolio: Iterable[Candidate],
        propose: Propose,
        *,
        openings: Sequence[tuple[int, ...]],
        rows: int,
        budget_s: float,
        started_s: float = 0.0,
        ordered: bool = False,
    ) -> None:
        self.courses: list[Course] = []
        self._waiting = list(portfolio)
        self._propose = propose
        self._openings = openings
        self._budget_s = budget_s
        self._left_s = max(budget_s * DEEP_SHARE - started_s, 0.0)
        self._searches = max(rows // TELLING_ROWS, 5)
        self._open: set[tuple[int, int]] = set()
        self.opening: tuple[int, ...] = openings[-1]
        self._decided = False
        self._ordered = ordered

    @property
    def deep(self) -> bool:
        """Whether every candidate does more than the first fold; known once the first one has done that."""
        return len(self.opening) > 1

    @property
    def until_s(self) -> float:
        """Seconds of the run after which nothing new is tried."""
        most_s, least_s = self._budget_s * DEEP_SHARE, self._budget_s * EXPLORE_SHARE
        return max(least_s, most_s - self._closing_s())

    def _closing_s(self) -> float:
        """Return the seconds that it takes to fit the best so far on the other folds, or on all rows."""
        missing = 1 if self._ordered else len(self._openings[0]) - len(self.opening)
        if not missing or (self.deep and not self._ordered):
            return 0.0
        best = sorted(
            (course for course in self.courses if course.scores and not course.dropped),
            key=lambda course: course.score(course.scores),
        )
        return sum(max(course.took_s.values()) for course in best[:WINNERS]) * missing * AGAIN

    def next(self, elapsed_s: float) -> Assigned | None:
        """Return the next fit; None where there is no time, or nothing to do until another has ended."""
        if (elapsed_s >= self.until_s and self.courses) or (not self._decided and self._open):
            return None
        limit_s = max(min(self._budget_s * LONGEST_SHARE, self.until_s - elapsed_s), 0.0)
        for number, course in enumerate(self.courses):
            fold = self._due(number, course)
            if fold is not None:
                return self._assign(number, fold, limit_s)
        candidate = self._fresh(limit_s)
        if candidate is None:
            return None
        self.courses.append(Course(candidate=candidate))
        return self._assign(len(self.courses) - 1, self.opening[0], limit_s)

    def tell(self, assigned: Assigned, *, score: float, took_s: float) -> None:
        """Learn how a fit went."""
        self._open.discard((assigned.number, assigned.fold))
        course = self.courses[assigned.number]
        course.scores[assigned.fold], course.took_s[assigned.fold] = score, took_s
        if not self._decided:
            self._decide(course)
        course.dropped = course.dropped or self._behind(course)

    def fail(self, assigned: Assigned, error: str) -> None:
        """Learn that a candidate cannot be fitted."""
        self._open.discard((assigned.number, assigned.fold))
        self.courses[assigned.number].error = error

    def _decide(self, first: Course) -> None:
        """Choose on how many folds candidates are compared, once the first has shown how long it takes."""
        bound_s = self._left_s / PORTFOLIO_FITS
        quickest_s = min(first.took_s.values())
        if len(first.took_s) < PROBES and quickest_s < self._budget_s * PROBED_SHARE:
            self.opening = self._openings[0][:PROBES]
            return
        fitting = (each for each in self._openings if quickest_s * len(each) <= bound_s)
        self.opening, self._decided = next(fitting, self._openings[-1]), True

    def _due(self, number: int, course: Course) -> int | None:
        if course.error or course.dropped:
            return None
        started = set(course.scores) | {fold for each, fold in self._open if each == number}
        return next((fold for fold in self.opening if fold not in started), None)

    def _fresh(self, limit_s: float) -> Candidate | None:
        """Return the next candidate whose family, by what it took so far, fits into the time."""
        while self._waiting:
            candidate = self._waiting.pop(0)
            if self._usual_s(candidate.family) <= limit_s:
                return candidate
        if self._searches <= 0:
            return None
        self._searches -= 1
        proposed = self._propose(len(self.courses))
        return proposed if proposed and self._usual_s(proposed.family) <= limit_s else None

    def _usual_s(self, family: str) -> float:
        """Return the median seconds of the family's fits; 0 where it had none."""
        took = [
            each for course in self.courses if course.candidate.family == family for each in course.took_s.values()
        ]
        return float(np.median(took)) if took else 0.0

    def _assign(self, number: int, fold: int, limit_s: float) -> Assigned:
        self._open.add((number, fold))
        return Assigned(number=number, candidate=self.courses[number].candidate, fold=fold, limit_s=limit_s)

    def _behind(self, course: Course) -> bool:
        """Return whether it scores far worse than a candidate that did the same folds."""
        done = set(course.scores)
        rivals = [each for each in self.courses if each is not course and done <= set(each.scores)]
        if not rivals:
            return False
        return course.score(done) > min(each.score(done) for each in rivals) * (1 + BEHIND)
