"""From a table to few, explained alarms: the first rows of each series teach what is normal, the rest is judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from apps.anomaly.detection import Detection, JudgedSeries
from apps.pipelines.progress import Progress
from cluster.errors import HeliotropeError, InsufficientHistoryError
from training.alarms.feedback import Feedback
from training.alarms.quiet import Maintenance
from training.alarms.rulebook import RuleBook, default_book
from training.alarms.triage import Triage
from training.alarms.usual import Usual, table_of
from training.core.component import build
from training.core.detector import single
from training.core.detector_input import carried, read_table
from training.core.panel import Panel
from training.core.parameters import real
from training.core.validation import ID
from training.core.windows import Floats
from training.evaluation.adaptive_threshold import AdaptiveThreshold
from training.evaluation.alarm_budget import Budget
from training.evaluation.held_out import held_out_scores
from training.evaluation.member_tails import MemberTails

if TYPE_CHECKING:
    from training.core.detector import Detector

HIGH, LEAST_UNIT = 0.99, 1e-12
FOLDS = 4
"""A detector that sees three quarters of the rows is nearly the one that sees all."""
LEAST_GAP_S = 3_600.0


@dataclass(frozen=True, kw_only=True)
class Asked:
    """How a table is searched.

    Parameters
    ----------
    detector
        Catalog name; it has its default parameters.
    alarms_per_month
        The budget: false alarms that a series may raise in a month, above 0.
    learn
        Share of each series that is taken for normal, within (0, 1).
    book
        What to do when.
    feedback
        Where events are remembered and judged; None remembers nothing.
    maintenance
        Times in which nobody is told.
    """

    detector: str = "ensemble"
    alarms_per_month: float = 1.0
    learn: float = 0.5
    book: RuleBook = field(default_factory=default_book)
    feedback: Feedback | None = None
    maintenance: Sequence[Maintenance] = ()

    def __post_init__(self) -> None:
        real("budget", self.alarms_per_month, low=0, above=True)
        real("learn", self.learn, low=0, high=0.95, above=True)


def detect(panel: Panel, asked: Asked, progress: Progress | None = None) -> Detection:
    """Return the events of each series' later rows.

    A series that cannot be judged is told beside the others; a lone one raises.

    Parameters
    ----------
    panel
        Its targets are watched; covariates beside them only explain. Gaps and missing values are allowed.
    progress
        Is told of each series.

    Raises
    ------
    DataError, InsufficientHistoryError
        No series can be judged: the first one's fault.
    UnknownNameError
        There is no such detector.
    """
    judged: list[JudgedSeries] = []
    errors: dict[str, HeliotropeError] = {}
    _made(asked.detector)  # an unknown name is no series' fault
    read_table(panel, panel.schema.target_names)
    count = panel.frame[ID].nunique()
    for place, (name, frame) in enumerate(panel.frame.groupby(ID, sort=False)):
        if progress:
            progress.update("learn and judge", place, count, str(name))
        try:
            judged.append(_judge(Panel(frame.reset_index(drop=True), panel.schema), asked))
        except HeliotropeError as error:
            errors[str(name)] = error
    if progress:
        progress.update("learn and judge", count, count)
    if not judged:
        raise next(iter(errors.values()))
    return Detection(
        detector=asked.detector,
        alarms_per_month=asked.alarms_per_month,
        series=tuple(judged),
        errors=errors,
    )


def _made(name: str) -> Detector:
    from training.detectors import DETECTORS

    return build(DETECTORS, name, {})


def _judge(panel: Panel, asked: Asked) -> JudgedSeries:
    rows, name = len(panel), panel.series[0]
    late = int(asked.learn * rows)
    learned, later = panel_of(panel, slice(0, late)), panel_of(panel, slice(late, rows))
    try:
        usual = Usual.fit(learned)
        whole = _made(asked.detector).fit(panel_of(_watched(panel), slice(0, late)))
        budget = _budget(whole, asked, usual.step_s, name)
        told = scored(panel, whole, budget, late=late)
        known = told.scores[:late]
        threshold = AdaptiveThreshold().fit(known[np.isfinite(known)], budget)
    except InsufficientHistoryError as error:
        raise InsufficientHistoryError(
            f"{error.message}. Of the {rows} rows of series '{name}' the first {late} teach what is normal; "
            "a larger share may do too",
            **error.context,
        ) from error
    triage = Triage(
        usual=usual, threshold=threshold, book=asked.book, feedback=asked.feedback, maintenance=asked.maintenance
    )
    events = triage.examine(later, told.scores[late:])
    values, times = table_of(later)
    apart = usual.deviations(values, times)
    return JudgedSeries(
        series=name,
        columns=usual.columns,
        targets=panel.schema.target_names,
        learned_rows=late,
        times=times,
        values=values,
        low=apart.low,
        high=apart.high,
        scores=told.scores[late:],
        events=events,
        months=len(values) / budget.rows_per_month,
        lean=threshold.lean,
        members={member: each[late:] for member, each in told.members.items()},
        says=told.says,
    )


def panel_of(panel: Panel, rows: slice) -> Panel:
    """Return some rows of a panel."""
    return Panel(panel.frame.iloc[rows].reset_index(drop=True), panel.schema)


@dataclass(frozen=True, kw_only=True)
class Told:
    """What a detector says of a whole series.

    Parameters
    ----------
    scores
        (R,) higher is stranger.
    members
        Member of an ensemble -> (R,) its surprise in nats; empty where there is none.
    says
        `member`, `weight`, `why` of each.
    """

    scores: Floats
    members: Mapping[str, Floats] = field(default_factory=dict)
    says: tuple[Mapping[str, Any], ...] = ()


def _budget(whole: Detector, asked: Asked, step_s: float, series: str) -> Budget:
    """Return the budget; rows within half a piece of the series share what is strange in it, and are one event."""
    half_s = whole.lookback(whole.state_of(series)) * step_s / 2
    gap_s = max(LEAST_GAP_S, half_s)
    return Budget(step_s=step_s, alarms_per_series_per_month=asked.alarms_per_month, gap_s=gap_s)


def _watched(panel: Panel) -> Panel:
    return Panel(panel.frame, replace(panel.schema, covariates=()))


def scored(panel: Panel, whole: Detector, budget: Budget, *, late: int) -> Told:
    """Return scores of all rows of one series, none by a detector that was fitted on the row.

    Each quarter of the rows learned from is scored by a detector that was fitted on the others: on rows that it was
    fitted on scores are lower, and a level from them would let too many alarms through. The rows after are scored
    by the one that was fitted on all of them. Members of an ensemble are put on one scale by tails of these scores.

    Parameters
    ----------
    panel
        One series.
    whole
        Fitted on its first rows.
    budget
        Says what one event is.
    late
        How many rows that were.

    References
    ----------
    Vovk (2015), Cross-conformal predictors. Ours has folds that are stretches of time.
    """
    from training.detectors.ensemble import DetectorEnsemble

    watched = _watched(panel)
    learned = panel_of(watched, slice(0, late))
    crossed = held_out_scores(
        lambda: _made(whole.name), learned, lambda made, rows: _scores(made, rows, late), folds=FOLDS
    )
    scores = np.concatenate([crossed, _scores(whole, watched, late)[:, late:]], axis=1)
    if not isinstance(whole, DetectorEnsemble):
        return Told(scores=scores[0])
    said = whole.says(panel.series[0])
    weights = {say.member: say.weight for say in said}
    names = [str(member["name"]) for member in whole.members]
    tails = MemberTails.fit(names, scores[:, :late], np.array([weights[name] for name in names]), budget)
    members = tails.surprises(names, scores)
    says = tuple(
        {"member": say.member, "weight": say.weight, "why": tails.silent.get(say.member, say.why)} for say in said
    )
    return Told(scores=tails.mean(members), members=members, says=says)


def _scores(detector: Detector, panel: Panel, late: int) -> Floats:
    """Return (M, R) the scores of one series by an ensemble's members, or by the detector itself, M = 1.

    In units of what each gives to the first `late` rows: 0 is their median, at 1 the highest hundredth begins. The
    scale of a score may hang on the rows that were fitted: on their number, on where clusters came to lie.
    """
    raw = _raw_scores(detector, panel)
    seen = raw[:, :late]
    middle = np.nanmedian(seen, axis=1, keepdims=True)
    unit = np.nanquantile(seen, HIGH, axis=1, keepdims=True) - middle
    out: Floats = (raw - middle) / np.maximum(unit, LEAST_UNIT)
    return out


def _raw_scores(detector: Detector, panel: Panel) -> Floats:
    from training.detectors.ensemble import DetectorEnsemble

    if not isinstance(detector, DetectorEnsemble):
        return detector.score(panel).values[None]
    table = read_table(panel, detector.columns)
    rows = carried(table.rows)
    first = int(np.argmax(~np.isnan(rows).any(axis=1)))
    told = np.full((len(detector.members), len(rows)), np.nan)
    ready = single(rows[first:], table.times[first:], table)
    told[:, first:] = detector.member_scores(detector.state_of(panel.series[0]), ready)
    told[:, np.isnan(table.rows).any(axis=1)] = np.nan
    return told
