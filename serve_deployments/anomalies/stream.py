"""One stream of rows of several series: a row comes, its answer goes, memory stays."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from cluster.errors import SchemaError, UnknownNameError
from serve_deployments.anomalies.answer import factor_fields
from serve_deployments.anomalies.schemas import StreamRow
from serve_deployments.handlers.instants import instant
from training.alarms.alarm_model import AlarmModel
from training.alarms.event_types import types_of
from training.alarms.evidence import FACTORS, gather
from training.alarms.series_alarms import SeriesAlarms
from training.alarms.severity import rate
from training.alarms.triage import Memory
from training.evaluation.threshold import Reading


class AlarmStream:
    """Judges rows as they come. Of each series it keeps what a score looks back on, and its threshold.

    A refused row leaves the stream as it was, and the next one is judged as if the refused one had never come.

    Parameters
    ----------
    model
        Sees no future.
    memory
        Judgements that move the thresholds as the stream begins; None knows none.

    Raises
    ------
    ConfigError
        The model's detector waits for later rows.
    """

    def __init__(self, model: AlarmModel, memory: Memory | None = None) -> None:
        self._model, self._memory = model, memory
        self._lanes: dict[str, _Lane] = {}
        model.of(model.series[0]).scorer.watch()

    @property
    def rows_kept(self) -> int:
        """Rows in memory, of all series."""
        return sum(lane.rows_kept for lane in self._lanes.values())

    def answer(self, row: StreamRow) -> dict[str, Any]:
        """Return what is said of a row.

        Raises
        ------
        UnknownNameError
            The model does not know the series.
        SchemaError
            A column is missing or unknown.
        DataError
            The time is none, the clock runs backwards, or a value is too large.
        """
        lane = self._lanes.get(row.series_id)
        if lane is None:
            lane = _Lane(self._known(row.series_id), self._memory)
        time = instant(row.timestamp, "timestamp")
        answer = lane.answer(time, row.values)
        self._lanes[row.series_id] = lane  # a series is kept once a row of it was fine
        return {"series_id": row.series_id, "timestamp": row.timestamp, **answer}

    def _known(self, name: str) -> SeriesAlarms:
        try:
            return self._model.of(name)
        except UnknownNameError as error:
            expected = f"one of {', '.join(self._model.series[:20])}"
            error.context.update(field="series_id", got=name[:100], expected=expected)
            raise


class _Lane:
    """One series of a stream."""

    def __init__(self, fitted: SeriesAlarms, memory: Memory | None) -> None:
        self._fitted, self._scores = fitted, fitted.scorer.watch()
        self._threshold = copy.deepcopy(fitted.threshold)
        if memory is not None:
            self._threshold.leaning(memory.lean(fitted.series))
        self._since: np.datetime64 | None = None

    @property
    def rows_kept(self) -> int:
        return self._scores.rows_kept

    def answer(self, time: np.datetime64, values: Mapping[str, float | None]) -> dict[str, Any]:
        self._check(values)
        score = self._scores.update(time, {name: values[name] for name in self._fitted.targets})
        if not np.isfinite(score):
            self._threshold.skip()
            return {"score": None, "p_value": None, "level": self._threshold.level, "strange": False, "event": None}
        reading = self._threshold.update(score)
        told = {"score": score, "p_value": reading.p_value, "level": reading.level, "strange": reading.strange}
        return told | {"event": self._event(time, values, score, reading) if reading.strange else None}

    def _check(self, values: Mapping[str, float | None]) -> None:
        """Raise SchemaError unless the row has the model's columns; the watch sees the watched ones alone."""
        known = self._fitted.usual.names
        for name in (*known, *values):
            if name not in values or name not in known:
                what = "a column is missing" if name not in values else "a column was never seen"
                raise SchemaError.at(
                    what, column=name, got="none" if name not in values else "new", expected=f"{', '.join(known)}"
                )

    def _event(
        self, time: np.datetime64, values: Mapping[str, float | None], score: float, reading: Reading
    ) -> dict[str, Any]:
        """Return what the row says of the event that it belongs to."""
        usual, budget = self._fitted.usual, self._threshold.budget
        if reading.begins or self._since is None:
            self._since = time
        row = np.array([[np.nan if values[name] is None else values[name] for name in usual.names]], dtype=float)
        evidence = gather(usual, row, np.array([time]), gap=budget.gap)
        types = types_of(evidence)
        rating = rate(
            event_chance=self._threshold.expected_rate(score),
            allowed_chance=self._threshold.expected_rate(reading.level),
            duration_s=float((time - self._since) / np.timedelta64(1, "s")) + usual.step_s,
            gap_s=budget.gap * usual.step_s,
            impact_days=0.0,
        )
        kind = next(iter(types))
        return {
            "begins": reading.begins,
            "start": pd.Timestamp(self._since).isoformat(),
            "type": kind,
            "type_reason": types[kind],
            "severity": rating.severity,
            "severity_reason": rating.reason,
            "factors": [factor_fields(factor) for factor in evidence.factors[:FACTORS]],
        }
