"""All that judges one series: its detector, threshold, and what is usual for it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import pandas as pd

from training.alarms.contribution import Mask, contributions
from training.alarms.event import Event
from training.alarms.judged import JudgedSeries
from training.alarms.quiet import Maintenance
from training.alarms.recipe import AlarmRecipe
from training.alarms.rulebook import RuleBook, default_book
from training.alarms.scorer import Scored, Scorer
from training.alarms.triage import Memory, Triage
from training.alarms.usual import Usual, table_of
from training.core.component import State, pack, unpack
from training.core.panel import Panel
from training.core.windows import Floats, Times, Windows
from training.evaluation.threshold import THRESHOLDS, Threshold


@dataclass(frozen=True, kw_only=True)
class Telling:
    """What turns strange rows into events that somebody is told of.

    Parameters
    ----------
    book
        What to do when.
    feedback
        Past events and judgements; None knows none.
    maintenance
        Times in which nobody is told.
    told
        Alarms before the rows, for repeats.
    """

    book: RuleBook = field(default_factory=default_book)
    feedback: Memory | None = None
    maintenance: Sequence[Maintenance] = ()
    told: Sequence[Event] = ()


@dataclass(frozen=True, kw_only=True)
class SeriesAlarms:
    """A fitted series. Judging changes nothing in it: the same rows get the same answer, whoever asks in between.

    Parameters
    ----------
    scorer
        Its detector, and the scale of the scores.
    usual
        What is usual for it.
    threshold
        As it was fitted.
    learned_rows
        How many rows taught it.
    learned_to
        Time of the last of them.
    """

    scorer: Scorer
    usual: Usual
    threshold: Threshold
    learned_rows: int
    learned_to: str

    @classmethod
    def fit(cls, learned: Panel, recipe: AlarmRecipe) -> Self:
        """Learn from rows of one series, most of which are normal.

        Raises
        ------
        SchemaError, DataError
            The rows cannot be read, or the series stands still.
        InsufficientHistoryError
            They are too few.
        """
        usual = Usual.fit(learned)
        series = learned.series[0]
        scorer, known = Scorer.fit(
            learned, recipe.make, lambda made: recipe.budget(made, step_s=usual.step_s, series=series)
        )
        budget = recipe.budget(scorer.detector, step_s=usual.step_s, series=series)
        threshold = recipe.make_threshold().fit(known.values[np.isfinite(known.values)], budget)
        last = pd.Timestamp(learned.table.times[-1]).isoformat()
        return cls(scorer=scorer, usual=usual, threshold=threshold, learned_rows=len(learned), learned_to=last)

    @property
    def series(self) -> str:
        """Id."""
        return self.usual.series

    @property
    def targets(self) -> tuple[str, ...]:
        """Columns that the detector sees."""
        return self.scorer.detector.columns

    @property
    def need(self) -> int:
        """Rows that a table must have to be scored."""
        return self.scorer.reach + 1

    def check_length(self, table: Windows) -> None:
        """Raise InsufficientHistoryError unless a table of the watched columns has rows enough for a score."""
        self.scorer.detector.state_for(self.series, table)

    def judge(self, panel: Panel, telling: Telling | None = None, *, late: int = 0) -> JudgedSeries:
        """Score rows, and tell events of those from `late` on.

        Parameters
        ----------
        panel
            Rows of the series in order of time.
        telling
            Rules, memory and quiet times; the rules that ship alone when None.
        late
            Rows at the start that only lead in.

        Raises
        ------
        SchemaError, DataError
            The rows cannot be read.
        InsufficientHistoryError
            They are fewer than `need`.
        """
        first = max(late - self.scorer.reach, 0)
        near = panel_of(panel, slice(first, len(panel)))
        return self.tell(near, self.scorer.score(near), telling, late=late - first)

    def tell(self, panel: Panel, scored: Scored, telling: Telling | None = None, *, late: int = 0) -> JudgedSeries:
        """Make events of scores that `scorer` gave to the rows; see `judge`."""
        telling, threshold = telling or Telling(), copy.deepcopy(self.threshold)
        later = panel_of(panel, slice(late, len(panel)))
        triage = Triage(
            usual=self.usual,
            threshold=threshold,
            book=telling.book,
            feedback=telling.feedback,
            maintenance=telling.maintenance,
        )
        asked = self._contributed(panel, late)
        found = triage.examine(later, scored.values[late:], contributed=asked, told=telling.told)
        values, times = table_of(later)
        values = values[:, [later.schema.names.index(name) for name in self.usual.names]]
        apart = self.usual.deviations(values, times)
        return JudgedSeries(
            series=self.series,
            columns=self.usual.columns,
            targets=self.targets,
            learned_rows=self.learned_rows,
            times=times,
            values=values,
            low=apart.low,
            high=apart.high,
            scores=scored.values[late:],
            readings=found.readings,
            events=found.events,
            months=len(values) / threshold.budget.rows_per_month,
            lean=threshold.lean,
            members={member: each[late:] for member, each in scored.members.items()},
            says=self.scorer.says,
        )

    def _contributed(self, panel: Panel, late: int) -> Callable[[slice], Floats | None]:
        """Return what tells, for an event's rows, by how much each column raised the highest score."""

        def asked(rows: slice) -> Floats | None:
            whole = slice(rows.start + late, rows.stop + late)
            return self.contributions(panel, whole) if len(self.targets) > 1 else None

        return asked

    def contributions(self, panel: Panel, rows: slice) -> Floats:
        """Return (C,) by how much each column raised the highest score of some rows; NaN of unwatched ones.

        The score is asked again with columns as they would have gone on; see `Usual.gone_on`.
        """
        reach = self.need - 1
        near = panel_of(panel, slice(max(rows.start - reach, 0), min(rows.stop + reach, len(panel))))
        first = rows.start - max(rows.start - reach, 0)
        within = slice(first, first + rows.stop - rows.start)
        values, times = _watched_table(near, self.usual)
        usual = self.usual.gone_on(values, times, within)
        places = [self.usual.names.index(name) for name in self.targets]

        def score(measured: Mask) -> float:
            frame = near.frame.copy()
            for c, name in zip(places, self.targets, strict=True):
                if not measured[self.targets.index(name)]:
                    frame[name] = usual[:, c]
            told = self.scorer.score(Panel(frame, near.schema)).values[within]
            return float(np.nanmax(told)) if np.isfinite(told).any() else 0.0

        out = np.full(len(self.usual.names), np.nan)
        out[places] = contributions(score, len(places))
        return out

    def state(self) -> State:
        """Return all that fitting learned."""
        learned: dict[str, Any] = {"learned_rows": self.learned_rows, "learned_to": self.learned_to}
        parts = {"scorer": self.scorer.state(), "usual": self.usual.state(), "threshold": pack(self.threshold)}
        return learned | parts

    @classmethod
    def restored(cls, state: State) -> Self:
        """Rebuild what `state` gave."""
        return cls(
            scorer=Scorer.restored(state["scorer"]),
            usual=Usual.restored(state["usual"]),
            threshold=unpack(state["threshold"], THRESHOLDS),
            learned_rows=int(state["learned_rows"]),
            learned_to=state["learned_to"],
        )


def panel_of(panel: Panel, rows: slice) -> Panel:
    """Return some rows of a panel."""
    return Panel(panel.frame.iloc[rows].reset_index(drop=True), panel.schema)


def _watched_table(panel: Panel, usual: Usual) -> tuple[Floats, Times]:
    table = panel.table
    return table.rows[:, [panel.schema.names.index(name) for name in usual.names]], table.times
