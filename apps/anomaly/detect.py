"""From a table to few, explained alarms: the first rows of each series teach what is normal, the rest is judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from apps.anomaly.detection import Detection
from apps.pipelines.progress import Progress
from cluster.errors import HeliotropeError, InsufficientHistoryError
from training.alarms.feedback import Feedback
from training.alarms.judged import JudgedSeries
from training.alarms.quiet import Maintenance
from training.alarms.recipe import AlarmRecipe
from training.alarms.rulebook import RuleBook, default_book
from training.alarms.series_alarms import SeriesAlarms, Telling, panel_of
from training.core.detector_input import read_table
from training.core.panel import Panel
from training.core.parameters import real
from training.core.validation import ID


@dataclass(frozen=True, kw_only=True)
class Asked:
    """How a table is searched.

    Parameters
    ----------
    recipe
        Detector, threshold, budget.
    learn
        Share of each series that is taken for normal, within (0, 1).
    book
        What to do when.
    feedback
        Where events are remembered and judged; None remembers nothing.
    maintenance
        Times in which nobody is told.
    """

    recipe: AlarmRecipe = field(default_factory=AlarmRecipe)
    learn: float = 0.5
    book: RuleBook = field(default_factory=default_book)
    feedback: Feedback | None = None
    maintenance: Sequence[Maintenance] = ()

    def __post_init__(self) -> None:
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
    """
    judged: list[JudgedSeries] = []
    errors: dict[str, HeliotropeError] = {}
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
        detector=asked.recipe.detector,
        alarms_per_month=asked.recipe.alarms_per_month,
        series=tuple(judged),
        errors=errors,
    )


def _judge(panel: Panel, asked: Asked) -> JudgedSeries:
    rows, name = len(panel), panel.series[0]
    late = int(asked.learn * rows)
    telling = Telling(book=asked.book, feedback=asked.feedback, maintenance=asked.maintenance)
    try:
        fitted = SeriesAlarms.fit(panel_of(panel, slice(0, late)), asked.recipe)
        return fitted.judge(panel, telling, late=late)
    except InsufficientHistoryError as error:
        raise InsufficientHistoryError(
            f"{error.message}. Of the {rows} rows of series '{name}' the first {late} teach what is normal; "
            "a larger share may do too",
            **error.context,
        ) from error
