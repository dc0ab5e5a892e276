"""The scores of one series on one scale: what a detector says, measured by what it says of rows it never saw."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from training.core.component import State, build, pack, unpack
from training.core.detector import Detector
from training.core.panel import Panel
from training.core.watch import Watch
from training.core.windows import Floats, Times
from training.evaluation.alarm_budget import Budget
from training.evaluation.held_out import held_out_scores
from training.evaluation.member_tails import MemberTails

HIGH, LEAST_UNIT = 0.99, 1e-12
FOLDS = 4
"""A detector that sees three quarters of the rows is nearly the one that sees all."""


@dataclass(frozen=True, kw_only=True)
class Scored:
    """What a scorer says of some rows.

    Parameters
    ----------
    values
        (R,) higher is stranger; NaN where a row could not be judged.
    members
        Member of an ensemble -> (R,) its surprise in nats; empty where there is none.
    """

    values: Floats
    members: Mapping[str, Floats] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Scorer:
    """A fitted detector of one series, and the scale of its scores.

    Each member's score is put in units of what it gives to the rows it was fitted on: 0 is their median, at 1 the
    highest hundredth begins. Of one detector that is the score; members of an ensemble become calibrated tail
    probabilities, and the score is their weighted mean surprise.

    Parameters
    ----------
    series
        Id.
    detector
        Fitted on the series.
    middle, unit
        (M,) of the members' scores.
    tails
        Of an ensemble's members; None where there is one detector.
    says
        `member`, `weight`, `why` of each member; empty where there is one detector.

    References
    ----------
    Vovk (2015), Cross-conformal predictors. Ours has folds that are stretches of time.
    """

    series: str
    detector: Detector
    middle: Floats
    unit: Floats
    tails: MemberTails | None = None
    says: tuple[Mapping[str, Any], ...] = ()

    @classmethod
    def fit(
        cls, learned: Panel, make: Callable[[], Detector], budget_of: Callable[[Detector], Budget]
    ) -> tuple[Self, Scored]:
        """Return the scorer, and scores of the rows it learned from by detectors that did not see them.

        Each quarter of the rows is scored by a detector that was fitted on the others: on rows that it was fitted
        on scores are lower, and a level from them would let too many alarms through.

        Parameters
        ----------
        learned
            One series; its targets are watched.
        make
            Returns a detector that is not fitted.
        budget_of
            Fitted detector -> what one event is.

        Raises
        ------
        DataError, InsufficientHistoryError
            As `Detector.fit`, and where no member of an ensemble can be calibrated.
        """
        panel = watched(learned)
        plain = cls.in_own_units(panel, make)
        known = crossed_scores(panel, make)
        alone = len(plain.middle) == 1
        scorer = plain if alone else plain._with_tails(known, budget_of(plain.detector))
        return scorer, scorer.on_scale(known)

    @classmethod
    def in_own_units(cls, panel: Panel, make: Callable[[], Detector]) -> Self:
        """Return a detector fitted on the watched columns of one series, and the units of its members' scores."""
        detector, series = make().fit(panel), panel.series[0]
        scores = detector.taught_scores(panel)
        middle = np.array([np.nanmedian(each) for each in scores])
        unit = np.array([np.nanquantile(each, HIGH) for each in scores]) - middle
        return cls(series=series, detector=detector, middle=middle, unit=np.maximum(unit, LEAST_UNIT))

    @property
    def reach(self) -> int:
        """Rows before and after a row that its score may hang on."""
        return self.detector.lookback(self.detector.state_of(self.series))

    def _with_tails(self, known: Floats, budget: Budget) -> Self:
        names, weights = self.detector.member_names, self.detector.member_weights(self.series)
        tails = MemberTails.fit(names, known, weights, budget)
        return replace(self, tails=tails, says=_says(self.detector, self.series, tails))

    def score(self, panel: Panel) -> Scored:
        """Score the rows of the series; raise what `Detector.score` raises."""
        return self.on_scale(self.members_in_units(watched(panel)))

    def members_in_units(self, panel: Panel) -> Floats:
        """Return (M, R) members' own scores of the watched columns, in units of what they give to usual rows."""
        return self.in_units(self.detector.score_members(panel))

    def in_units(self, raw: Floats) -> Floats:
        """Return (M, R) members' own scores in units of what they give to usual rows."""
        out: Floats = (raw - self.middle[:, None]) / self.unit[:, None]
        return out

    def on_scale(self, scores: Floats) -> Scored:
        """Return the one score of rows, of members' scores (M, R) in units."""
        if self.tails is None:
            return Scored(values=scores[0])
        members = self.tails.surprises(self.detector.member_names, scores)
        return Scored(values=self.tails.mean(members), members=members)

    def watch(self) -> ScoreStream:
        """Return a stream of scores; raise the ConfigError of `Detector.watch` where rows have to wait."""
        return ScoreStream(self)

    def state(self) -> State:
        """Return all that fitting learned."""
        tails = None if self.tails is None else self.tails.state()
        own = {"series": self.series, "detector": pack(self.detector), "middle": self.middle, "unit": self.unit}
        return own | {"tails": tails, "says": [dict(say) for say in self.says]}

    @classmethod
    def restored(cls, state: State) -> Self:
        """Rebuild what `state` gave."""
        from training.detectors import DETECTORS

        return cls(
            series=state["series"],
            detector=unpack(state["detector"], DETECTORS),
            middle=np.asarray(state["middle"]),
            unit=np.asarray(state["unit"]),
            tails=None if state["tails"] is None else MemberTails.restored(state["tails"]),
            says=tuple(state["says"]),
        )


class ScoreStream:
    """The scores of one series as its rows come, in constant memory; the same as of the rows together.

    Parameters
    ----------
    scorer
        Its detector sees no future.
    """

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer
        self._watch: Watch = scorer.detector.watch(scorer.series)

    @property
    def rows_kept(self) -> int:
        """Rows in memory."""
        return self._watch.rows_kept

    def update(self, time: Any, row: Mapping[Any, Any]) -> float:
        """Return the score of one row; raise what `Watch.update` raises, and go on with the next row."""
        times, values = self._watch.read(time, row)
        return float(self.update_many(times, values)[0])

    def update_many(self, times: Times, rows: Floats) -> Floats:
        """Return (R,) scores of some rows; see `Watch.update_many`."""
        raw = self._watch.update_members(times, rows)
        return self._scorer.on_scale(self._scorer.in_units(raw)).values


def make(name: str, params: Mapping[str, Any]) -> Detector:
    """Return a detector of the catalog that is not fitted."""
    from training.detectors import DETECTORS

    return build(DETECTORS, name, params)


def watched(panel: Panel) -> Panel:
    """Return the targets alone."""
    return Panel(panel.frame, replace(panel.schema, covariates=()))


def crossed_scores(panel: Panel, make: Callable[[], Detector]) -> Floats:
    """Return (M, R) members' scores, in units, of watched rows of a series by detectors that did not see them."""
    return held_out_scores(
        lambda rows: Scorer.in_own_units(rows, make),
        panel,
        lambda scorer, rows: scorer.members_in_units(rows),
        reach=lambda scorer: scorer.reach,
        folds=FOLDS,
    )


def _says(detector: Detector, series: str, tails: MemberTails) -> tuple[Mapping[str, Any], ...]:
    """Return why the members count as they do; of those that could not be calibrated, why not."""
    from training.detectors.ensemble import DetectorEnsemble

    if not isinstance(detector, DetectorEnsemble):
        return ()
    return tuple(
        {"member": say.member, "weight": say.weight, "why": tails.silent.get(say.member, say.why)}
        for say in detector.says(series)
    )
