"""What a table asks for: which task, which columns say something, whether rows are in time; with reasons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from cluster.errors import ConfigError, DataError, UnknownNameError
from training.core.table import Feature, FeatureKind, TableSchema, TableTask, label_texts

Task = Literal["regression", "classification", "forecasting", "anomaly"]
TASKS: tuple[Task, ...] = ("regression", "classification", "forecasting", "anomaly")

MOST_CLASSES = 20
"""A whole number with more values than this is a quantity; as text it still names classes, up to MOST_LABELS."""
MOST_LABELS = 100
CLASS_SHARE = 0.05
"""Share of the rows that a whole number's values may be to be classes: counts have nearly as many as rows."""
DATE_SHARE = 0.99
"""Share of a text column's values that must read as dates for it to be one."""
NUMBER_SHARE = 0.99
NAME_SHARE = 0.9
"""Share of a text column's values that are different, above which it names rows and says nothing of others."""
FEWEST_NAMED = 30
STEADY_SHARE = 0.9
"""Share of steps between times that must be alike for a series."""
PROBED_ROWS = 2000


@dataclass(frozen=True, kw_only=True)
class Recognised:
    """What a table asks for.

    Parameters
    ----------
    task
        Which of TASKS.
    schema
        Features, target and classes, for a task on rows; None for a task on series.
    time
        The column of times that the rows are in order of; None where they are not.
    reasons
        Why, a sentence each.
    """

    task: Task
    schema: TableSchema | None
    time: str | None
    reasons: tuple[str, ...]


def recognise(frame: pd.DataFrame, *, name: str, target: str | None = None, task: str | None = None) -> Recognised:
    """Return what a table asks for.

    Parameters
    ----------
    frame
        As read; rows without a target do not count.
    name
        Of the table; becomes a part of the model's.
    target
        What is predicted; without one a table in time is watched for anomalies.
    task
        Named, in place of what is recognised.

    Raises
    ------
    ConfigError
        The task is unknown, or needs a target.
    UnknownNameError
        There is no such column.
    DataError
        The target says nothing: it is empty, always the same, or has too many labels.
    """
    if task is not None and task not in TASKS:
        raise ConfigError(f"task: got '{task}', expected one of {', '.join(TASKS)}", parameter="task")
    if target is not None and target not in frame.columns:
        raise UnknownNameError.of("column", target, map(str, frame.columns))
    kinds = {str(column): kind_of(frame[column]) for column in frame.columns}
    time = _time_of(frame, [column for column, kind in kinds.items() if kind == "date" and column != target])
    if target is None:
        return _without_target(task, time)
    found, why = (task, "the task was named") if task else _task_of(frame, target, kinds[target], time)
    if found in ("forecasting", "anomaly"):
        return Recognised(task=found, schema=None, time=time, reasons=(why,))
    on_rows: TableTask = "classification" if found == "classification" else "regression"
    reasons = [why]
    features = _features(frame, kinds, target, reasons)
    if time:
        reasons.append(f"rows are in order of '{time}': they are judged on later rows than those learned from")
    return Recognised(
        task=on_rows,
        schema=TableSchema(
            name=name,
            features=features,
            target=target,
            task=on_rows,
            classes=_classes(frame[target]) if on_rows == "classification" else (),
        ),
        time=time,
        reasons=tuple(reasons),
    )


def kind_of(column: pd.Series[Any]) -> FeatureKind:
    """Return what a column holds: numbers (also as text, also flags), dates, or categories."""
    if pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
        return "number"
    if pd.api.types.is_datetime64_any_dtype(column):
        return "date"
    known = column.dropna()
    probe = known.head(PROBED_ROWS).astype(str)
    if probe.empty or pd.to_numeric(probe, errors="coerce").notna().mean() >= NUMBER_SHARE:
        return "number"
    dates = pd.to_datetime(probe, errors="coerce", utc=True, format="mixed")
    return "date" if dates.notna().mean() >= DATE_SHARE else "category"


def _without_target(task: str | None, time: str | None) -> Recognised:
    if task not in (None, "anomaly"):
        raise ConfigError(f"task '{task}' needs a target: name the column with --target", parameter="target")
    if task is None and time is None:
        raise ConfigError(
            "got neither a target nor rows in order of time; expected a column to predict (--target), or a column "
            "of times for anomaly detection",
            parameter="target",
        )
    why = (
        "the task was named"
        if task
        else f"no target was named, and rows are in order of '{time}': they are watched"
    )
    return Recognised(task="anomaly", schema=None, time=time, reasons=(why,))


def _task_of(frame: pd.DataFrame, target: str, kind: FeatureKind, time: str | None) -> tuple[Task, str]:
    column = frame[target].dropna()
    if kind == "category" or pd.api.types.is_bool_dtype(column):
        return "classification", f"'{target}' holds labels, {column.nunique()} different ones"
    numbers = pd.to_numeric(column, errors="coerce")
    values, whole = numbers.nunique(), bool((numbers == np.floor(numbers)).all())
    if whole and values <= min(MOST_CLASSES, max(2, CLASS_SHARE * len(column))):
        return "classification", f"'{target}' has {values} whole values in {len(column)} rows: they are classes"
    if time and _steady(frame[time]):
        return "forecasting", (
            f"'{target}' is a number and '{time}' goes on in one step: what comes next is forecast "
            "(--task regression predicts it from the other columns of the same row)"
        )
    return "regression", f"'{target}' is a number with {values} values"


def _time_of(frame: pd.DataFrame, dates: list[str]) -> str | None:
    """Return the first column of dates that the rows are in order of."""
    for name in dates:
        times = pd.to_datetime(frame[name], errors="coerce", utc=True, format="mixed")
        if times.notna().all() and times.is_monotonic_increasing and times.nunique() > len(times) / 2:
            return name
    return None


def _steady(column: pd.Series[Any]) -> bool:
    steps = pd.to_datetime(column, utc=True, format="mixed").diff().dropna()
    return len(steps) > 1 and bool((steps == steps.mode().iloc[0]).mean() >= STEADY_SHARE)


def _features(
    frame: pd.DataFrame, kinds: dict[str, FeatureKind], target: str, reasons: list[str]
) -> tuple[Feature, ...]:
    """Return the columns that may say something; note those that cannot."""
    features = []
    for name, kind in kinds.items():
        if name == target:
            continue
        why = _useless(frame[name], kind)
        if why:
            reasons.append(f"column '{name}' is left out: {why}")
        else:
            features.append(Feature(name=name, kind=kind))
    if not features:
        raise DataError.at("there is nothing to predict from", got="no useful column", expected="one or more")
    return tuple(features)


def _useless(column: pd.Series[Any], kind: FeatureKind) -> str:
    known = column.dropna()
    different = known.astype(str).nunique() if known.dtype == object else known.nunique()
    if different == 0 or (different == 1 and len(known) == len(column)):
        return "it is always the same"
    if kind == "category" and different > max(FEWEST_NAMED, NAME_SHARE * len(known)):
        return "it has another text in nearly each row"
    if kind == "number" and different == len(column) > FEWEST_NAMED and _counts(known):
        return "it counts the rows"
    return ""


def _counts(known: pd.Series[Any]) -> bool:
    numbers = pd.to_numeric(known, errors="coerce")
    return bool((numbers.diff().dropna() == 1).all())


def _classes(column: pd.Series[Any]) -> tuple[str, ...]:
    labels = sorted({label for label in label_texts(column) if label is not None}, key=_numbers_first)
    if not 2 <= len(labels) <= MOST_LABELS:
        raise DataError.at(
            "the target cannot be learned as classes",
            column=str(column.name),
            got=f"{len(labels)} labels",
            expected=f"2 to {MOST_LABELS}; a number with many values is --task regression",
        )
    return tuple(labels)


def _numbers_first(label: str) -> tuple[float, str]:
    try:
        return float(label), label
    except ValueError:
        return float("inf"), label
