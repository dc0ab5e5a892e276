"""Detector, thresholds and what is usual, of all series, as one thing that is registered and served."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

from cluster.errors import HeliotropeError, NotFittedError, UnknownNameError
from training.alarms.recipe import AlarmRecipe
from training.alarms.rulebook import RuleBook, default_book
from training.alarms.series_alarms import SeriesAlarms
from training.core.catalog import Catalog
from training.core.component import Component, State
from training.core.detector_input import read_table
from training.core.panel import Panel
from training.core.schema import Schema
from training.core.validation import ID

Told = Callable[[int, int, str], None]
"""Hears how many series of how many are done, and which is next."""


class AlarmModel(Component):
    """From rows of known series to events within a budget.

    Each series has its own detector, threshold and notion of what is usual: see `SeriesAlarms`.

    Parameters
    ----------
    detector, detector_params, alarms_per_month, threshold, gap_s
        See `AlarmRecipe`.
    rules
        Text of a rule book (TOML); the book that ships where empty.
    """

    name: ClassVar[str] = "alarm_model"

    def __init__(
        self,
        *,
        detector: str = "ensemble",
        detector_params: Mapping[str, Any] | None = None,
        alarms_per_month: float = 1.0,
        threshold: str = "adaptive",
        gap_s: float | None = None,
        rules: str = "",
    ) -> None:
        self.detector, self.detector_params = detector, None if detector_params is None else dict(detector_params)
        self.alarms_per_month, self.threshold, self.gap_s, self.rules = alarms_per_month, threshold, gap_s, rules
        self.recipe = AlarmRecipe(
            detector=detector,
            detector_params=self.detector_params,
            alarms_per_month=alarms_per_month,
            threshold=threshold,
            gap_s=gap_s,
        )
        self.book = RuleBook.parse(rules) if rules else default_book()
        self._schema: Schema | None = None
        self._series: dict[str, SeriesAlarms] = {}
        self.errors: dict[str, str] = {}

    @property
    def schema(self) -> Schema:
        """What rows must look like: targets are watched, covariates help to explain."""
        if self._schema is None:
            raise NotFittedError("an alarm model is not fitted: call fit() first")
        return self._schema

    @property
    def series(self) -> tuple[str, ...]:
        """Ids of the series that it can judge."""
        return tuple(self._series)

    @property
    def online(self) -> bool:
        """Whether it can judge a row as it comes."""
        return all(each.scorer.detector.causal for each in self._series.values())

    @property
    def need(self) -> int:
        """The most rows that a series must have to be scored."""
        return max((each.need for each in self._series.values()), default=0)

    def fit(self, panel: Panel, *, told: Told | None = None) -> Self:
        """Learn each series; those that cannot be learned are in `errors` with the reason.

        Raises
        ------
        DataError, InsufficientHistoryError
            No series can be learned: the first one's fault; or the table cannot be read at all.
        """
        read_table(panel, panel.schema.target_names)
        faults: dict[str, HeliotropeError] = {}
        self._series = {}
        count = panel.frame[ID].nunique()
        for place, (key, frame) in enumerate(panel.frame.groupby(ID, sort=False)):
            if told:
                told(place, count, str(key))
            try:
                rows = Panel(frame.reset_index(drop=True), panel.schema)
                self._series[str(key)] = SeriesAlarms.fit(rows, self.recipe)
            except HeliotropeError as error:
                faults[str(key)] = error
        if not self._series:
            raise next(iter(faults.values()))
        self._schema, self.errors = panel.schema, {name: each.message for name, each in faults.items()}
        return self

    def of(self, series: str) -> SeriesAlarms:
        """Return what judges a series; raise UnknownNameError with the known ones."""
        _ = self.schema
        if series not in self._series:
            raise UnknownNameError.of("series", series, self._series)
        return self._series[series]

    def state(self) -> State:
        """Return all that fitting learned; empty before."""
        if self._schema is None:
            return {}
        return {
            "schema": self._schema.to_json(),
            "series": list(self._series),
            "states": [each.state() for each in self._series.values()],
            "errors": dict(self.errors),
        }

    def restore(self, state: State) -> None:
        """Take back what `state` gave."""
        if not state:
            return
        self._schema, self.errors = Schema.from_json(state["schema"]), dict(state["errors"])
        restored = [SeriesAlarms.restored(each) for each in state["states"]]
        self._series = dict(zip(state["series"], restored, strict=True))


ALARM_MODELS: Catalog[AlarmModel] = Catalog(
    "alarm model", {"alarm_model": "training.alarms.alarm_model:AlarmModel"}
)
"""The list: catalog name -> where its class is."""
