"""Limits on columns: what shall not be reached."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from cluster.errors import ConfigError, DataError
from training.core.schema import Column, Schema
from training.core.windows import Floats

Side = Literal["below", "above"]
_FORM = re.compile(r"\s*(?P<column>[^<>=]+?)\s*(?P<sign><=|>=|<|>|=)\s*(?P<value>[^<>=]+?)\s*")


@dataclass(frozen=True, kw_only=True)
class Limit:
    """What a column shall keep below, or above; whoever reaches the value has crossed it.

    Parameters
    ----------
    column
        Whose limit it is.
    value
        In the column's unit.
    keep
        `below` for loads and latencies, `above` for a service level such as a least throughput.
    unit
        For the reader.
    """

    column: str
    value: float
    keep: Side = "below"
    unit: str = ""

    @classmethod
    def parse(cls, text: str) -> Limit:
        """Read `column=80` or `column<80`, keep below 80, or `column>100`, keep above 100.

        Raises
        ------
        ConfigError
            It cannot be read.
        """
        found = _FORM.fullmatch(text)
        value = _number(found["value"]) if found else None
        if found is None or value is None:
            raise ConfigError(
                f"a limit cannot be read: got '{text}', expected column=number, e.g. cpu_util_percent=80, or "
                "'requests_per_s>100' for what shall keep above",
                got=text,
            )
        return cls(column=found["column"], value=value, keep="above" if ">" in found["sign"] else "below")

    @property
    def text(self) -> str:
        """The limit in words."""
        return f"{self.keep} {self.value:g} {self.unit}".rstrip()

    def crossed(self, values: Floats) -> npt.NDArray[np.bool_]:
        """Return where values have reached the limit."""
        return values >= self.value if self.keep == "below" else values <= self.value

    def headroom(self, values: Floats) -> Floats:
        """Return how far values are from the limit, in the column's unit; negative beyond it."""
        return self.value - values if self.keep == "below" else values - self.value

    def within(self, column: Column) -> Limit:
        """Return the limit with the column's unit; raise DataError where no value could keep or cross it."""
        low = -np.inf if column.low is None else column.low
        high = np.inf if column.high is None else column.high
        fine = low < self.value <= high if self.keep == "below" else low <= self.value < high
        if not fine:
            raise DataError.at(
                "a limit is outside what the column can be",
                column=self.column,
                got=f"{self.value:g}",
                expected=column.range_text()
                + (", above the lowest" if self.keep == "below" else ", below the highest"),
            )
        return replace(self, unit=column.unit)


def check_limits(limits: Sequence[Limit], schema: Schema) -> tuple[Limit, ...]:
    """Return the limits with their units.

    Raises
    ------
    ConfigError
        There is none, or a column has two that are kept on the same side.
    UnknownNameError
        There is no such column.
    DataError
        A limit is outside the column's physical range.
    """
    keys = [(limit.column, limit.keep) for limit in limits]
    doubled = sorted({column for column, keep in keys if keys.count((column, keep)) > 1})
    if doubled or not keys:
        raise ConfigError(
            f"limits: got {f'two for {doubled[0]!r}' if doubled else 'none'}, expected one or more, one a column "
            "and side, e.g. cpu_util_percent=80",
            got=doubled,
        )
    return tuple(limit.within(schema.column(limit.column)) for limit in limits)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if np.isfinite(value) else None
