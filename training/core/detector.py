"""The contract of the detectors: how strange is each row, measured against what is normal for its series."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np

from cluster.errors import ConfigError, InsufficientHistoryError, NotFittedError, UnknownNameError
from training.core.component import State
from training.core.detector_input import carried, check_varies, read_table
from training.core.estimator import Estimator, Tags
from training.core.panel import Panel
from training.core.runner import Runner
from training.core.schema import Schema
from training.core.scores import Scores
from training.core.watch import RowJudge, Watch
from training.core.windows import Floats, Times, Windows


@dataclass(frozen=True, kw_only=True)
class DetectorTags(Tags):
    """What a detector can do; the exam tests each claim.

    Parameters
    ----------
    online
        Some of its settings see no future: then `watch` scores a stream row by row with the same result as `score`.
    pooled
        One normal is learned from all series together, so that a series never seen can be scored; False learns one
        for each series.
    """

    online: bool = False
    pooled: bool = False


ALL = "*"
"""Under this name a pooled detector keeps what it learned."""


class Detector(Estimator):
    """Scores each row of a panel: higher is stranger.

    A subclass implements `learn`, `judge`, and `lookback` where it looks at earlier rows; all three work on the
    state that `learn` returned, and on the watched columns alone. Everything else is here: checks, missing values,
    many series, streams, artifacts.

    Missing values: a detector reads a column's last known value in their place, never a later one, and the score of
    a row in which one is missing is NaN. So is the score of rows before each column's first value.
    """

    tags: ClassVar[Tags] = DetectorTags()

    _schema: Schema | None = None
    _states: Mapping[str, State] = {}

    # -- what a family member writes ---------------------------------------------------------------------------

    @abstractmethod
    def learn(self, table: Windows, runner: Runner | None) -> State:
        """Return what is normal in a table (R, C) of one series, or of several where the tag says `pooled`."""

    @abstractmethod
    def judge(self, state: State, table: Windows) -> Floats:
        """Return (R,) scores of the rows of one series; NaN where rows before are missing."""

    def lookback(self, state: State) -> int:  # noqa: ARG002 - of detectors that look at single rows
        """Return how many earlier rows a row's score depends on."""
        return 0

    @property
    def member_names(self) -> tuple[str, ...]:
        """M detectors that it is made of: itself, or an ensemble's members."""
        return (self.name,)

    def member_score(self, state: State, at: int, table: Windows) -> Floats:  # noqa: ARG002 - who is alone is first
        """Return (R,) one member's own score, on its own scale; its score where it has no members."""
        return self.judge(state, table)

    def member_scores(self, state: State, table: Windows) -> Floats:
        """Return (M, R) each member's own score."""
        return np.stack([self.member_score(state, at, table) for at in range(len(self.member_names))])

    def member_weights(self, series: str) -> Floats:  # noqa: ARG002 - of detectors that are alone
        """Return (M,) how much each member counts for a series, with the sum 1."""
        return np.ones(1)

    def row_judge(self, state: State) -> RowJudge | None:  # noqa: ARG002 - of detectors that are quick with tables
        """Return what scores one row without a table, the same to the last bit; None where nothing does.

        A table of one row costs a stream tens of microseconds before anything is computed.
        """
        return None

    @property
    def causal(self) -> bool:
        """Whether, with these settings, a score depends on its own and earlier rows alone."""
        return isinstance(self.tags, DetectorTags) and self.tags.online

    # -- what users call ---------------------------------------------------------------------------------------

    @property
    def pooled(self) -> bool:
        """Whether all series share one normal."""
        return isinstance(self.tags, DetectorTags) and self.tags.pooled

    @property
    def fitted(self) -> bool:
        """Whether `fit` has run."""
        return self._schema is not None

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that are watched: the targets of the panel it was fitted on."""
        return self._fitted_schema().target_names

    @property
    def frequency(self) -> str:
        """The step between two rows, as the schema of its panel says."""
        return self._fitted_schema().frequency

    @property
    def series(self) -> tuple[str, ...]:
        """Series that it knows; none where they share one normal."""
        self._fitted_schema()
        return () if self.pooled else tuple(self._states)

    def fit(self, panel: Panel, *, runner: Runner | None = None) -> Self:
        """Learn what is normal from rows most of which are.

        Parameters
        ----------
        panel
            Its targets are watched. Gaps in time and missing values are allowed.
        runner
            Where a training loop runs; this process when None.

        Raises
        ------
        DataError
            The rows cannot be read, or a series never changes.
        InsufficientHistoryError
            A series is shorter than the detector's window.
        """
        table = read_table(panel, panel.schema.target_names)
        ready = [self._ready(series, part) for series, part in parts(table)]
        for part in ready:
            check_varies(part.rows, part.columns, part.series[0])
        self._schema = replace(panel.schema, covariates=())
        try:
            if self.pooled:
                self._states = {ALL: self.learn(joined(ready), runner)}
            else:
                self._states = {part.series[0]: self.learn(part, runner) for part in ready}
        except BaseException:
            self._schema = None  # half a fit is none
            raise
        return self

    def _ready(self, series: str, part: Windows) -> Windows:
        """Return the part without its missing values: carried on, and at the start cut off."""
        rows = carried(part.rows)
        known = ~np.isnan(rows).any(axis=1)
        first = int(np.argmax(known))
        if not known.any():
            raise InsufficientHistoryError(
                f"series '{series}' has no row in which all watched columns are known: got 0, expected 1 or more",
                series=series,
                got=0,
                expected=1,
            )
        return single(rows[first:], part.times[first:], part)

    def score(self, panel: Panel) -> Scores:
        """Return one score a row.

        Raises
        ------
        DataError
            The rows cannot be read.
        InsufficientHistoryError
            A series is shorter than the detector's window.
        UnknownNameError
            A series or a watched column is none of those it was fitted on.
        """
        for name in self.columns:
            panel.schema.column(name)
        table = read_table(panel, self.columns)
        scores = [self._score(series, part) for series, part in parts(table)]
        return Scores(
            values=np.concatenate(scores),
            times=table.times,
            segments=table.segments,
            series=table.series,
            detector=self.name,
        )

    def taught_scores(self, panel: Panel) -> Sequence[Floats]:
        """Return members' own scores of the rows that taught it, M arrays; their order does not matter.

        Parameters
        ----------
        panel
            Those rows, of one series.
        """
        return list(self.score_members(panel))

    def _score(self, series: str, part: Windows) -> Floats:
        state = self.state_for(series, part)
        return self.judge_carried(state, part, carried(part.rows))

    def _of_members(self, series: str, part: Windows) -> Floats:
        state = self.state_for(series, part)
        return self.members_carried(state, part, carried(part.rows))

    def state_for(self, series: str, part: Windows) -> State:
        """Return the state of a series; raise InsufficientHistoryError where a part is too short for a score."""
        state = self.state_of(series)
        need = self.lookback(state) + 1
        if len(part.rows) < need:
            raise InsufficientHistoryError(
                f"series '{series}' is shorter than the window of '{self.name}': got {len(part.rows)} rows, "
                f"expected at least {need}; send more rows or fit with a smaller window",
                series=series,
                got=len(part.rows),
                expected=need,
            )
        return state

    def judge_carried(self, state: State, part: Windows, rows: Floats) -> Floats:
        """Return (R,) scores of rows in which missing values are replaced; NaN where one is missing in `part`."""
        whole: Floats = self._carried(lambda table: self.judge(state, table)[None], 1, state, part, rows)[0]
        return whole

    def members_carried(self, state: State, part: Windows, rows: Floats) -> Floats:
        """Return (M, R) the members' own scores, as `judge_carried` gives the whole's."""
        count = len(self.member_names)
        return self._carried(lambda table: self.member_scores(state, table), count, state, part, rows)

    def member_carried(self, at: int, part: Windows) -> Floats:
        """Return (R,) one member's own scores of the rows of one series, missing values and all."""
        state = self.state_for(part.series[0], part)
        rows = carried(part.rows)
        one: Floats = self._carried(lambda table: self.member_score(state, at, table)[None], 1, state, part, rows)[
            0
        ]
        return one

    def _carried(
        self, judge: Callable[[Windows], Floats], count: int, state: State, part: Windows, rows: Floats
    ) -> Floats:
        known = ~np.isnan(rows).any(axis=1)
        scores = np.full((count, len(rows)), np.nan)
        first = int(np.argmax(known)) if known.any() else len(rows)
        if len(rows) - first > self.lookback(state):
            scores[:, first:] = judge(single(rows[first:], part.times[first:], part))
        scores[:, np.isnan(part.rows).any(axis=1)] = np.nan
        return scores

    def score_members(self, panel: Panel) -> Floats:
        """Return (M, R) the members' own scores of the rows of one series; see `score`."""
        return np.concatenate(
            [self._of_members(series, part) for series, part in parts(read_table(panel, self.columns))], axis=1
        )

    def watch(self, series: str) -> Watch:
        """Return a stream of one series: `update` scores a row as it comes, in constant memory.

        Raises
        ------
        ConfigError
            With these settings a score waits for later rows.
        """
        if not self.causal:
            raise ConfigError(
                f"'{self.name}' waits for later rows with these settings, so that it cannot score a stream: "
                "choose align='end' where it has that parameter, or another detector",
                detector=self.name,
            )
        return Watch(self, series)

    def state_of(self, series: str) -> State:
        """Return what was learned of a series."""
        self._fitted_schema()
        key = ALL if self.pooled else series
        if key not in self._states:
            raise UnknownNameError.of("series", series, self._states)
        return self._states[key]

    # -- artifacts ---------------------------------------------------------------------------------------------

    def state(self) -> State:
        """Return all that fitting learned."""
        if self._schema is None:
            return {}
        names = list(self._states)
        return {"schema": self._schema.to_json(), "series": names, "states": [self._states[name] for name in names]}

    def restore(self, state: State) -> None:
        """Take back what `state` gave."""
        if not state:
            return
        self._schema = Schema.from_json(state["schema"])
        self._states = dict(zip(state["series"], state["states"], strict=True))

    def _fitted_schema(self) -> Schema:
        if self._schema is None:
            raise NotFittedError(f"'{self.name}' is not fitted: call fit() first")
        return self._schema


def parts(table: Windows) -> Iterator[tuple[str, Windows]]:
    """Yield each series and its rows as a table of their own."""
    for series, start, stop in zip(table.series, table.segments, table.segments[1:], strict=False):
        yield series, replace(single(table.rows[start:stop], table.times[start:stop], table), series=(series,))


def single(rows: Floats, times: Times, like: Windows) -> Windows:
    """Return rows of one series as a table."""
    return replace(like, rows=rows, times=times, segments=np.array([0, len(rows)], dtype=np.int64))


def joined(tables: list[Windows]) -> Windows:
    """Return the tables of some series as one."""
    sizes = [len(table.rows) for table in tables]
    return replace(
        tables[0],
        rows=np.concatenate([table.rows for table in tables]),
        times=np.concatenate([table.times for table in tables]),
        segments=np.cumsum([0, *sizes], dtype=np.int64),
        series=tuple(table.series[0] for table in tables),
    )
