"""Alarm models in a graph: rows of series in, scores, events and reasons out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd

from cluster.errors import HeliotropeError, SignatureMismatch, UnknownNameError
from serve_deployments.anomalies.answer import explained_fields, series_fields
from serve_deployments.anomalies.schemas import DetectRequest
from serve_deployments.anomalies.validate import DetectJob, Window, validate
from serve_deployments.servable import Servable
from training.alarms.alarm_model import AlarmModel
from training.alarms.event import Event
from training.alarms.judged import JudgedSeries
from training.alarms.series_alarms import SeriesAlarms, Telling
from training.alarms.triage import Memory
from training.core.component import Component
from training.core.detector import parts
from training.core.detector_input import read_table
from training.core.panel import Panel
from training.core.schema import Schema
from training.core.validation import ID, TIME
from training.core.windows import Floats, Windows

PROBE_ROWS = 200
"""At least: a window whose rows have scores, and a threshold something to judge."""


@dataclass(frozen=True)
class Features:
    """Watched columns of some windows: what travels to the members.

    Parameters
    ----------
    tables
        One a window, in the order of the jobs.
    """

    tables: tuple[Windows, ...]

    def __len__(self) -> int:
        return sum(len(table.rows) for table in self.tables)


@dataclass(frozen=True, kw_only=True)
class Found:
    """What was found for a job.

    Parameters
    ----------
    job
        What was asked.
    series
        What was judged, a series a window.
    events
        That are explained, the most severe alarms first.
    """

    job: DetectJob
    series: tuple[JudgedSeries, ...]
    events: tuple[Event, ...]


@dataclass(kw_only=True)
class AlarmServable(Servable):
    """A version of an alarm model. Each member of its detector is a node; tails, threshold and events come after.

    It answers from what the artifact holds and the rows that it is sent, so that any replica gives the same answer.

    Parameters
    ----------
    name, version, metrics
        See `Servable`.
    model
        What computes.
    memory
        Past events and judgements; None where no store is configured.
    """

    kind: ClassVar[str] = "anomalies"
    even: ClassVar[bool] = False
    name: str
    version: str
    metrics: Mapping[str, float]
    model: AlarmModel
    memory: Memory | None = None

    @classmethod
    def of(
        cls, component: Component, schema: Schema, *, name: str, version: str, metrics: Mapping[str, float]
    ) -> Self:
        """Wrap a loaded artifact; raise SignatureMismatch where it is no alarm model of its own schema."""
        if not isinstance(component, AlarmModel) or component.schema != schema:
            raise SignatureMismatch(
                f"model '{name}' {version} cannot be served: got an artifact of '{component.name}', expected an "
                "alarm model with the schema that its manifest tells"
            )
        return cls(name=name, version=version, metrics=metrics, model=component)

    @property
    def members(self) -> tuple[str, ...]:
        """The detector's members; its own name where it is alone."""
        return self._first.scorer.detector.member_names

    @property
    def _first(self) -> SeriesAlarms:
        return self.model.of(self.model.series[0])

    def validate(self, question: DetectRequest) -> DetectJob:
        """Return the job; see `validate`."""
        return validate(question, self.model)

    def weight(self, job: DetectJob) -> int:
        """Return how many series are judged."""
        return len(job.windows)

    def prepare(self, jobs: Sequence[DetectJob]) -> Features:
        """Return the watched columns of all windows."""
        return Features(tuple(window.table for job in jobs for window in job.windows))

    def join(self, features: Sequence[Features]) -> Features:
        """Return several requests' windows as one list."""
        return Features(tuple(table for each in features for table in each.tables))

    def member(self, index: int, features: Features) -> Floats:
        """Return (R,) one member's own score of each row, window after window."""
        detectors = [self.model.of(table.series[0]).scorer.detector for table in features.tables]
        pairs = zip(detectors, features.tables, strict=True)
        with np.errstate(all="ignore"):
            return np.concatenate([detector.member_carried(index, table) for detector, table in pairs])

    def combine(self, outputs: Sequence[Floats]) -> Floats:
        """Return (R, M): what each member says of each row."""
        return np.stack(outputs, axis=1)

    def describe(self, jobs: Sequence[DetectJob], combined: Floats) -> list[Found | Exception]:
        """Return what was found for each job."""
        ends = np.cumsum([job.rows for job in jobs])[:-1]
        return [self._found(job, raw) for job, raw in zip(jobs, np.split(combined, ends), strict=True)]

    def _found(self, job: DetectJob, raw: Floats) -> Found | Exception:
        ends = np.cumsum([len(window.panel) for window in job.windows])[:-1]
        pairs = zip(job.windows, np.split(raw, ends), strict=True)
        telling = Telling(book=self.model.book, feedback=self.memory, maintenance=job.maintenance)
        try:
            series = tuple(_judged(window, part, telling) for window, part in pairs)
            return Found(job=job, series=series, events=_wanted(series, job.event))
        except HeliotropeError as error:
            return error

    def plain(self, result: Found) -> dict[str, Any]:
        """Return the fields of a DetectResponse or an ExplainResponse."""
        if result.job.explain:
            return {"events": [explained_fields(event) for event in result.events]}
        pairs = zip(result.job.windows, result.series, strict=True)
        return {"series": [series_fields(each, window.fitted.threshold) for window, each in pairs]}

    def probe(self) -> DetectJob:
        """Return rows of the first series that are as usual, right after those that taught it."""
        fitted = self._first
        usual, start = fitted.usual, pd.Timestamp(fitted.learned_to)
        steps = pd.to_timedelta((np.arange(max(fitted.need, PROBE_ROWS)) + 1) * usual.step_s, unit="s")
        times = (start + steps).to_numpy().astype("datetime64[ns]")
        empty = np.full((len(times), len(usual.names)), np.nan)
        values = usual.gone_on(empty, times, slice(0, len(times)))
        rows = {name: values[:, usual.names.index(name)] for name in usual.names}
        panel = Panel(pd.DataFrame({ID: fitted.series, TIME: times, **rows}), self.model.schema)
        ((_, table),) = parts(read_table(panel, fitted.targets))
        return DetectJob(windows=(Window(fitted=fitted, panel=panel, table=table, late=0),))

    def info(self, *, default: bool) -> dict[str, Any]:
        """Return what GET /api/models tells."""
        model, schema = self.model, self.model.schema
        return {
            "name": self.name,
            "version": self.version,
            "kind": self.kind,
            "default": default,
            "targets": list(schema.target_names),
            "horizon": 0,
            "context": model.need,
            "frequency": schema.frequency,
            "columns": [
                {"name": c.name, "unit": c.unit, "kind": c.kind, "low": c.low, "high": c.high}
                for c in schema.columns
            ],
            "known": [],
            "members": list(self.members),
            "metrics": {name: value for name, value in self.metrics.items() if np.isfinite(value)},
            "series": list(model.series),
            "online": model.online,
        }


def _judged(window: Window, raw: Floats, telling: Telling) -> JudgedSeries:
    """Return the judged rows of a window, from (R, M) members' own scores."""
    scorer = window.fitted.scorer
    return window.fitted.tell(window.panel, scorer.on_scale(scorer.in_units(raw.T)), telling, late=window.late)


def _wanted(series: Sequence[JudgedSeries], event: str | None) -> tuple[Event, ...]:
    """Return the events, the most severe alarms first; the one of an id where one is asked for."""
    found = [each for judged in series for each in judged.events]
    found.sort(key=lambda each: (each.status != "alarm", -each.rating.points, each.start))
    if event is None:
        return tuple(found)
    chosen = tuple(each for each in found if each.id == event)
    if not chosen:
        error = UnknownNameError.of("event", event[:100], [each.id for each in found])
        expected = f"one of {', '.join(each.id for each in found[:20])}" if found else "none: no row is strange"
        error.context.update(field="body.event", got=event[:100], expected=expected)
        raise error
    return chosen
