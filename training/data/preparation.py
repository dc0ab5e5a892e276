"""From a table as it comes to a panel: times, order, duplicates, units, outliers, gaps, each by a stated policy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import pandas as pd

from cluster.errors import ConfigError, DataError, SchemaError
from training.core.panel import Panel
from training.core.schema import Schema
from training.core.validation import ID, TIME
from training.data.coercion import to_ids, to_numbers, to_times, without_zone
from training.data.gaps import LOOKS_AHEAD, Filling
from training.data.preparation_report import PreparationReport
from training.data.prepared_series import Piece, SeriesPreparer
from training.data.time_grid import Ambiguous, Clock, Nonexistent, check_zone

Unsorted = Literal["refuse", "sort"]
Duplicates = Literal["refuse", "first", "mean"]
Beyond = Literal["refuse", "split"]
Outliers = Literal["leave", "flag", "winsorise"]
Units = Literal["leave", "flag", "convert", "refuse"]

CHOICES = {
    "ambiguous": Ambiguous,
    "nonexistent": Nonexistent,
    "clock": Clock,
    "unsorted": Unsorted,
    "duplicates": Duplicates,
    "gaps": Filling,
    "beyond": Beyond,
    "outliers": Outliers,
    "units": Units,
}


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """What may be done to a table. As it stands it refuses every fault and changes nothing.

    Parameters
    ----------
    zone
        Time zone of times that are written without one, such as `Europe/Berlin`; None takes them as they stand.
        With a step of a day or longer the labels are local dates and stay as they are.
    ambiguous
        The hour that autumn writes twice: `order` of the rows, `first` (summer time), `second`, or `refuse`.
    nonexistent
        A time in the hour that spring leaves out: `refuse`, or `shift` to the first moment after it.
    clock
        Clock of the prepared times: `utc`, or the zone's `standard` time all year. Neither has daylight saving.
    unsorted
        `refuse` or `sort`.
    duplicates
        Two rows of one time: `refuse`, keep the `first`, or their `mean`.
    gaps
        Missing rows and values: `refuse`, `linear`, `seasonal`, `previous` or `zero`; see `gaps.fill`.
        Whole-number columns take the previous value instead of `linear` or `seasonal`. Rows before a column's
        first value are cut, except under `zero`.
    longest_gap
        Rows in a row that may be filled; None is one season.
    beyond
        A longer gap: `refuse` the series, or `split` it there, the parts called `a`, `a/2`, `a/3`.
    outliers
        `leave`, `flag` in the mask, or `winsorise`: move to the fence. Targets and past columns of kind float only.
    outlier_deviations
        Robust standard deviations from the seasonal median to the fence, 1 or more; see `training.data.outliers`.
    causal
        Judge outliers by earlier rows alone.
    units
        A held change by a known factor (kWh, MWh ...): `leave`, `flag`, `convert` to the unit of most rows, or
        `refuse`. Targets only. Found by what comes after, so it looks ahead.
    minimum_rows
        The shortest series allowed.
    """

    zone: str | None = None
    ambiguous: Ambiguous = "order"
    nonexistent: Nonexistent = "refuse"
    clock: Clock = "utc"
    unsorted: Unsorted = "refuse"
    duplicates: Duplicates = "refuse"
    gaps: Filling = "refuse"
    longest_gap: int | None = None
    beyond: Beyond = "refuse"
    outliers: Outliers = "leave"
    outlier_deviations: float = 6.0
    causal: bool = False
    units: Units = "leave"
    minimum_rows: int = 1

    def __post_init__(self) -> None:
        for name, kind in CHOICES.items():
            if getattr(self, name) not in get_args(kind):
                raise self._wrong(name, ", ".join(get_args(kind)))
        if self.zone is not None:
            check_zone(self.zone)
        elif self.clock == "standard":
            raise self._wrong("clock", "utc, or a zone whose standard time is meant")
        if self.longest_gap is not None and self.longest_gap < 1:
            raise self._wrong("longest_gap", "1 row or more")
        if not self.outlier_deviations >= 1:
            raise self._wrong("outlier_deviations", "1 or more")

    def _wrong(self, name: str, expected: str) -> ConfigError:
        return ConfigError(f"{name}: got '{getattr(self, name)}', expected {expected}", parameter=name)

    @property
    def looks_ahead(self) -> tuple[str, ...]:
        """Return the steps that use later values; empty where the policy is causal."""
        steps = {
            f"gaps={self.gaps}": self.gaps in LOOKS_AHEAD,
            f"outliers={self.outliers}": self.outliers == "winsorise" and not self.causal,
            f"units={self.units}": self.units == "convert",
        }
        return tuple(step for step, looks in steps.items() if looks)


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A prepared table.

    Parameters
    ----------
    panel
        Validated.
    report
        What was done.
    filled, outlying
        Masks of `panel.frame`'s rows by the schema's columns: cells that were missing; cells beyond the fence (with
        `winsorise` they now lie on it).
    """

    panel: Panel
    report: PreparationReport
    filled: pd.DataFrame
    outlying: pd.DataFrame


def prepare(frame: pd.DataFrame, schema: Schema, preparation: Preparation | None = None) -> Prepared:
    """Return the table as a validated panel on a regular grid, and what was done to it.

    Parameters
    ----------
    frame
        `timestamp`, the schema's columns and, with more than one series, `series_id`; series may be interleaved.
        Other columns are ignored.
    schema
        What comes out.
    preparation
        The policies; None refuses every fault.

    Raises
    ------
    SchemaError
        A column is missing, doubled or of the wrong type.
    DataError
        A fault that the policy refuses; the message names series, column, time, got, expected.
    InsufficientHistoryError
        A series is shorter than `minimum_rows`.
    """
    preparation = preparation or Preparation()
    raw = _typed(frame, schema)
    _refuse_infinite(raw, schema)
    local = without_zone(frame[TIME])
    pieces: list[Piece] = []
    for series, rows in raw.groupby(ID, sort=False):
        pieces += SeriesPreparer(schema, preparation, str(series)).run(rows, local=local)
    return _joined(pieces, schema, preparation, len(frame))


def _typed(frame: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    names = list(map(str, frame.columns))
    for name in (TIME, *schema.names):
        if names.count(name) != 1:
            raise SchemaError.at(
                "a column is missing" if name not in names else "a column appears more than once",
                column=name,
                got=f"columns {', '.join(names) or 'none'}"[:500],
                expected=f"'{name}' once, as schema '{schema.name}' says",
            )
    if frame.empty:
        raise DataError.at("the table is empty", got="0 rows", expected="at least 1 row")
    times = to_times(frame[TIME], TIME)
    if times.isna().any():
        row = int(np.argmax(times.isna().to_numpy()))
        raise DataError.at("a timestamp is missing", column=TIME, row=row, got="nothing", expected="a time")
    raw = pd.DataFrame({TIME: times})
    raw.insert(0, ID, to_ids(frame[ID], ID) if ID in names else schema.name)
    for column in schema.columns:
        raw[column.name] = to_numbers(frame[column.name], column.name, column)
    return raw


def _refuse_infinite(raw: pd.DataFrame, schema: Schema) -> None:
    for name in schema.names:
        infinite = np.isinf(raw[name].to_numpy())
        if infinite.any():
            at = int(np.argmax(infinite))
            raise DataError.at(
                f"series '{raw[ID].iloc[at]}': a value is infinite",
                column=name,
                row=at,
                got=raw[name].iloc[at],
                expected="a number, or nothing where it is missing",
                series=str(raw[ID].iloc[at]),
                count=int(infinite.sum()),
            )


def _joined(pieces: list[Piece], schema: Schema, preparation: Preparation, rows_in: int) -> Prepared:
    whole = {column.name: "int64" for column in schema.columns if column.kind == "int"}
    frame = pd.concat([piece.frame for piece in pieces], ignore_index=True)
    panel = Panel(frame, schema).validate(minimum_rows=preparation.minimum_rows)
    masks = (
        pd.DataFrame(np.concatenate([getattr(piece, mask) for piece in pieces]), columns=list(schema.names))
        for mask in ("filled", "outlying")
    )
    report = PreparationReport(
        findings=tuple(finding for piece in pieces for finding in piece.findings),
        rows_in=rows_in,
        rows_out=len(frame),
        looks_ahead=preparation.looks_ahead,
    )
    filled, outlying = masks
    return Prepared(panel=Panel(panel.frame.astype(whole), schema), report=report, filled=filled, outlying=outlying)
