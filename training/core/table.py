"""A table of rows to learn from: what its columns are, which one is predicted, and its values as arrays."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from cluster.errors import DataError, SchemaError
from training.core.windows import Floats

FeatureKind = Literal["number", "category", "date"]
TableTask = Literal["regression", "classification"]
Values = npt.NDArray[Any]
Rows = npt.NDArray[np.int64]
Labels = npt.NDArray[np.int64]

TRUE_FALSE = {"true": 1.0, "false": 0.0}


@dataclass(frozen=True, kw_only=True)
class Feature:
    """A column that a prediction is made from.

    Parameters
    ----------
    name
        As in the file's header.
    kind
        `number` (flags too), `category` without an order, or `date`. All may be missing.
    """

    name: str
    kind: FeatureKind


@dataclass(frozen=True, kw_only=True)
class TableSchema:
    """The columns of a table, and what is predicted from them.

    Parameters
    ----------
    name
        Names the kind of data.
    features
        What a prediction is made from, F columns.
    target
        What is predicted.
    task
        `regression`: the target is a number; `classification`: it is one of `classes`.
    classes
        K labels as text, in the order of the probabilities; none in a regression.
    """

    name: str
    features: tuple[Feature, ...]
    target: str
    task: TableTask
    classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = [*self.names, self.target]
        doubled = sorted({name for name in names if names.count(name) > 1})
        if doubled or not self.features:
            raise SchemaError.at(
                f"schema '{self.name}' is not usable",
                got=f"doubled columns {doubled}" if doubled else "no column to predict from",
                expected="one or more features beside the target, each column once",
            )
        if (self.task == "classification") != (len(self.classes) >= 2):
            raise SchemaError.at(
                f"schema '{self.name}' is not usable",
                column=self.target,
                got=f"{len(self.classes)} classes for a {self.task}",
                expected="two or more classes for a classification, none for a regression",
            )

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the features, in order."""
        return tuple(feature.name for feature in self.features)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-able dict that `from_json` reads."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TableSchema:
        """Rebuild what `to_json` gave."""
        features = tuple(Feature(**feature) for feature in data["features"])
        return cls(**{**data, "features": features, "classes": tuple(data["classes"])})

    def digest(self) -> str:
        """Return the sha256 of the schema's canonical JSON."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()

    def read(self, frame: pd.DataFrame) -> Table:
        """Return the features of a frame as a table; other columns are ignored.

        Raises
        ------
        SchemaError
            A feature's column is missing.
        DataError
            A value cannot be read; the message names its row and column.
        """
        for feature in self.features:
            if feature.name not in frame.columns:
                listed = ", ".join(map(str, frame.columns)) or "none"
                raise SchemaError.at(
                    "a column is missing", column=feature.name, got=f"columns {listed}", expected=feature.kind
                )
        return Table({each.name: _READERS[each.kind](frame[each.name]) for each in self.features}, self.features)

    def read_target(self, frame: pd.DataFrame) -> Values:
        """Return (N,) the target: float64 in a regression, int64 positions in `classes` otherwise.

        Raises
        ------
        SchemaError
            The column is missing.
        DataError
            A value is missing, not finite, or none of the classes.
        """
        if self.target not in frame.columns:
            listed = ", ".join(map(str, frame.columns))
            raise SchemaError.at("a column is missing", column=self.target, got=f"columns {listed}", expected="it")
        column = frame[self.target]
        if self.task == "regression":
            values = _numbers(column)
            _check(column, np.isfinite(values), "a finite number")
            return values
        places: dict[str | None, int] = {label: at for at, label in enumerate(self.classes)}
        found = np.array([places.get(label, -1) for label in label_texts(column)], dtype=np.int64)
        _check(column, found >= 0, f"one of {', '.join(self.classes[:10])}")
        return found


@dataclass(frozen=True)
class Table:
    """N rows of features.

    Parameters
    ----------
    columns
        Name -> (N,) float64 with NaN, object with None, or datetime64[ns] with NaT, as the feature's kind.
    features
        What they are.
    """

    columns: Mapping[str, Values]
    features: tuple[Feature, ...]

    def __len__(self) -> int:
        return len(self.columns[self.features[0].name])

    def take(self, rows: Rows | slice) -> Table:
        """Return some of the rows."""
        return Table({name: values[rows] for name, values in self.columns.items()}, self.features)

    def digest(self) -> str:
        """Return a sha256 of the values: the data's fingerprint in a lineage."""
        digest = hashlib.sha256(json.dumps([asdict(feature) for feature in self.features]).encode())
        for feature in self.features:
            values = self.columns[feature.name]
            raw = "\0".join(map(str, values)).encode() if values.dtype == object else values.tobytes()
            digest.update(raw)
        return digest.hexdigest()


def label_texts(column: pd.Series[Any]) -> list[str | None]:
    """Return labels as text: whole numbers without a point, missing ones as None."""
    return [None if value is None else _label(value) for value in _known(column)]


def _label(value: Any) -> str:
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value)


def _known(column: pd.Series[Any]) -> Iterable[Any]:
    missing = column.isna().to_numpy(dtype=bool)
    values = column.astype(object).to_numpy()
    return (None if gone else value for value, gone in zip(values, missing, strict=True))


def _numbers(column: pd.Series[Any]) -> Floats:
    """Return float64 with NaN for what is missing; `true` and `false` are 1 and 0."""
    if pd.api.types.is_bool_dtype(column) or pd.api.types.is_numeric_dtype(column):
        values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    else:
        texts = [value if value is None else TRUE_FALSE.get(str(value).lower(), value) for value in _known(column)]
        numbers = pd.to_numeric(pd.Series(texts, dtype=object), errors="coerce").to_numpy(dtype=np.float64)
        _check(column, np.isfinite(numbers) | column.isna().to_numpy(dtype=bool), "a number")
        values = numbers
    _check(column, ~np.isinf(values), "a finite number or nothing")
    return values


def _categories(column: pd.Series[Any]) -> Values:
    return np.array(label_texts(column) or [], dtype=object)


def _dates(column: pd.Series[Any]) -> Values:
    times = pd.to_datetime(column, errors="coerce", utc=True, format="mixed")
    _check(column, (times.notna() | column.isna()).to_numpy(dtype=bool), "a date such as 2024-03-31 or nothing")
    return times.dt.tz_convert(None).to_numpy(dtype="datetime64[ns]")


_READERS = {"number": _numbers, "category": _categories, "date": _dates}


def _check(column: pd.Series[Any], fine: npt.NDArray[np.bool_], expected: str) -> None:
    if not fine.all():
        at = int(np.argmin(fine))
        bad = column.iloc[at]
        raise DataError.at(
            "a value cannot be used",
            column=str(column.name),
            row=column.index[at],
            got=repr(bad.item() if isinstance(bad, np.generic) else bad),
            expected=expected,
            count=int((~fine).sum()),
        )
