"""What a batch does with the rows of a part: one class a kind of model, without Ray and without files."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd

from apps.batch.rows import FILE, ROW, bad_rows
from cluster.errors import ConfigError, HeliotropeError
from training.alarms.alarm_model import ALARM_MODELS, AlarmModel
from training.alarms.judged import JudgedSeries
from training.alarms.series_alarms import Telling
from training.core.artifact import load_artifact, read_manifest
from training.core.panel import Panel
from training.core.schema import Schema
from training.core.validation import ID, TIME
from training.models import MODELS
from training.models.ensemble import Ensemble

MOST_SERIES = 256
"""Series that are forecast in one call."""


@dataclass(frozen=True, kw_only=True)
class Done:
    """What became of a part.

    Parameters
    ----------
    out
        Rows of the answer.
    bad
        Rows that could not be used, with their errors.
    """

    out: pd.DataFrame
    bad: pd.DataFrame


class BatchKind(ABC):
    """A model that answers for the rows of a part.

    Attributes
    ----------
    name
        Of the kind.
    schema
        What rows must look like.
    lead_rows
        Rows of each series before the part that its answers hang on.
    """

    name: ClassVar[str]
    schema: Schema
    lead_rows: int

    @abstractmethod
    def answer(self, rows: pd.DataFrame, lead: pd.DataFrame) -> Done:
        """Answer for the good rows of a part.

        Parameters
        ----------
        rows
            As `rows.Sorted.good` has them.
        lead
            Good rows of the part before, of the same form; may be empty.
        """


class AlarmBatch(BatchKind):
    """A score, a tail probability and the event for each row.

    A part is judged after the last rows of the part before it, with the threshold as it was fitted: its answers
    hang on nothing else, so that parts can be done in any order and again.

    Parameters
    ----------
    model
        Fitted.
    """

    name = "anomalies"

    def __init__(self, model: AlarmModel) -> None:
        self.model, self.schema, self.lead_rows = model, model.schema, model.need - 1

    def answer(self, rows: pd.DataFrame, lead: pd.DataFrame) -> Done:
        """Return a row for each good row of a known series."""
        out, bad = [], []
        for name, own in rows.groupby(ID, sort=False):
            before = lead[(lead[ID] == name) & (lead[TIME] < own[TIME].iloc[0])].tail(self.lead_rows)
            try:
                out.append(_judged_rows(own, self._judge(str(name), before, own)))
            except HeliotropeError as error:
                bad.append(bad_rows(own, error.message))
        return Done(out=_joined(out), bad=_joined(bad))

    def _judge(self, name: str, before: pd.DataFrame, own: pd.DataFrame) -> JudgedSeries:
        columns = [ID, TIME, *self.schema.names]
        panel = Panel(pd.concat([before[columns], own[columns]], ignore_index=True), self.schema)
        return self.model.of(name).judge(panel, Telling(book=self.model.book), late=len(before))


def _judged_rows(own: pd.DataFrame, judged: JudgedSeries) -> pd.DataFrame:
    count = len(own)
    table = own[[FILE, ROW, ID, TIME]].reset_index(drop=True)
    p_values, strange = np.full(count, np.nan), np.zeros(count, dtype=bool)
    for row, reading in judged.readings.items():
        p_values[row], strange[row] = reading.p_value, reading.strange
    table = table.assign(score=judged.scores, p_value=p_values, strange=strange, alarm=False)
    for name in ("event", "type", "severity"):
        table[name] = pd.Series(None, index=table.index, dtype="string")
    for event in judged.events:
        within = (table[TIME] >= event.start) & (table[TIME] <= event.end)
        table.loc[within, ["event", "type", "severity"]] = [event.id, event.type, event.severity]
        table.loc[within, "alarm"] = event.status == "alarm"
    return table


class ForecastBatch(BatchKind):
    """A forecast after the end of each series of a part; a series' rows have to lie in one part.

    Rows at the end of a series without a target are its future: they carry what the model knows ahead.

    Parameters
    ----------
    model, schema
        Fitted, and what it was fitted on.
    """

    name = "forecast"

    def __init__(self, model: Ensemble, schema: Schema) -> None:
        self.model, self.schema, self.lead_rows = model, schema, 0

    def answer(self, rows: pd.DataFrame, lead: pd.DataFrame) -> Done:  # noqa: ARG002 - series lie in one part
        """Return the steps of each series that can be forecast."""
        histories, bad = [], []
        for _, own in rows.groupby(ID, sort=False):
            try:
                self._panel(own).validate(minimum_rows=self.model.context)
                histories.append(own)
            except HeliotropeError as error:
                bad.append(bad_rows(own, error.message))
        return Done(out=_joined([self._forecast(some) for some in _chunks(histories)]), bad=_joined(bad))

    def _forecast(self, histories: list[pd.DataFrame]) -> pd.DataFrame:
        panel = self._panel(pd.concat(histories, ignore_index=True))
        future = self._future(histories)
        return self.model.forecast(panel, future=future).to_frame()

    def _panel(self, own: pd.DataFrame) -> Panel:
        columns = [ID, TIME, *self.schema.names]
        return Panel(own.loc[~self._ahead(own), columns].reset_index(drop=True), self.schema)

    def _future(self, histories: list[pd.DataFrame]) -> pd.DataFrame | None:
        if not self.model.known:
            return None
        return pd.concat(
            [own.loc[self._ahead(own), [ID, TIME, *self.model.known]] for own in histories], ignore_index=True
        )

    def _ahead(self, own: pd.DataFrame) -> pd.Series[bool]:
        """Return which rows are the future: no target is known from there on."""
        if not self.model.known:
            return pd.Series(False, index=own.index)
        known = own[list(self.schema.target_names)].notna().any(axis=1)
        return ~known[::-1].groupby(own[ID]).cummax()[::-1]


def _chunks(histories: list[pd.DataFrame]) -> Iterator[list[pd.DataFrame]]:
    for at in range(0, len(histories), MOST_SERIES):
        yield histories[at : at + MOST_SERIES]


def _joined(tables: list[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def load_kind(folder: Path) -> BatchKind:
    """Return what answers for an artifact; raise ConfigError where it is neither forecaster nor alarm model."""
    name = read_manifest(folder).model
    if name in ALARM_MODELS:
        return AlarmBatch(load_artifact(folder, ALARM_MODELS)[0])
    if name not in MODELS:
        raise ConfigError(f"batch: got an artifact of '{name}', expected a forecaster or an alarm model")
    model, manifest = load_artifact(folder, MODELS)
    if not isinstance(model, Ensemble):
        raise ConfigError(f"batch: got an artifact of '{name}', expected the ensemble that training registers")
    return ForecastBatch(model, Schema.from_json(manifest.schema))
