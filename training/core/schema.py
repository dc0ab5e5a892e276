"""What a table must look like: columns with units and physical ranges."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from cluster.errors import SchemaError, UnknownNameError

Kind = Literal["float", "int"]
Role = Literal["past", "known", "static"]


@dataclass(frozen=True, kw_only=True)
class Column:
    """One numeric column.

    Parameters
    ----------
    name
        As in the file's header.
    kind
        `float`, or `int` for whole numbers (flags, weekdays).
    unit
        SI or customary unit, `1` for a ratio or a flag.
    low, high
        The physical range, both ends allowed; `None` is open. A value outside is impossible, not unusual.
    role
        What is known of a covariate when a forecast is asked: `past` its values so far; `known` also those over the
        horizon (a calendar, a plan, a weather forecast); `static` one value, the same in all rows of a series.
    """

    name: str
    kind: Kind = "float"
    unit: str = "1"
    low: float | None = None
    high: float | None = None
    role: Role = "past"

    def range_text(self) -> str:
        """Return the range in words, for messages."""
        low = "-inf" if self.low is None else f"{self.low:g}"
        high = "inf" if self.high is None else f"{self.high:g}"
        return f"{low} .. {high} {self.unit}"


@dataclass(frozen=True, kw_only=True)
class Schema:
    """The columns of a panel beside `series_id` and `timestamp`.

    Parameters
    ----------
    name
        Names the kind of data, e.g. `gas_turbine`.
    frequency
        pandas offset alias of the step between two rows: `h`, `15min`, `D`, `MS`.
    targets
        What is forecast, T columns.
    covariates
        What helps; each column's role says what is known of it ahead.
    season_length
        Steps in the dominant season: 24 for hours of a day.
    """

    name: str
    frequency: str
    targets: tuple[Column, ...]
    covariates: tuple[Column, ...] = ()
    season_length: int = 1

    def __post_init__(self) -> None:
        names = self.names
        doubled = sorted({name for name in names if names.count(name) > 1})
        if doubled or not self.targets:
            raise SchemaError.at(
                f"schema '{self.name}' is not usable",
                got=f"doubled columns {doubled}" if doubled else "no target",
                expected="one or more targets, each column once",
            )
        for column in self.targets:
            if column.role != "past":
                raise SchemaError.at(
                    f"schema '{self.name}' is not usable",
                    column=column.name,
                    got=f"a target with role '{column.role}'",
                    expected="role 'past': what is forecast is not known ahead",
                )

    @property
    def columns(self) -> tuple[Column, ...]:
        """Targets first, then covariates."""
        return self.targets + self.covariates

    @property
    def names(self) -> tuple[str, ...]:
        """Names of `columns`, in that order."""
        return tuple(column.name for column in self.columns)

    @property
    def target_names(self) -> tuple[str, ...]:
        """Names of the targets."""
        return tuple(column.name for column in self.targets)

    @property
    def known_names(self) -> tuple[str, ...]:
        """Names of the covariates that are known over the horizon."""
        return tuple(column.name for column in self.covariates if column.role == "known")

    @property
    def static_names(self) -> tuple[str, ...]:
        """Names of the covariates that never change within a series."""
        return tuple(column.name for column in self.covariates if column.role == "static")

    def column(self, name: str) -> Column:
        """Return the column called `name`."""
        for column in self.columns:
            if column.name == name:
                return column
        raise UnknownNameError.of("column", name, self.names)

    def for_target(self, name: str) -> Schema:
        """Return the same data seen as a forecast of `name` alone; other targets become covariates."""
        target = self.column(name)
        rest = tuple(column for column in self.columns if column is not target)
        return replace(self, targets=(replace(target, role="past"),), covariates=rest)

    def with_roles(self, *, known: Sequence[str] = (), static: Sequence[str] = ()) -> Schema:
        """Return the same columns with exactly these covariates known ahead or static, all others past."""
        for name in (*known, *static):
            self.column(name)
        roles: dict[str, Role] = {**dict.fromkeys(known, "known"), **dict.fromkeys(static, "static")}
        return replace(
            self,
            targets=tuple(replace(column, role=roles.get(column.name, "past")) for column in self.targets),
            covariates=tuple(replace(column, role=roles.get(column.name, "past")) for column in self.covariates),
        )

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-able dict that `from_json` reads."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Schema:
        """Rebuild what `to_json` gave."""
        return cls(
            name=data["name"],
            frequency=data["frequency"],
            targets=tuple(Column(**column) for column in data["targets"]),
            covariates=tuple(Column(**column) for column in data["covariates"]),
            season_length=data["season_length"],
        )

    def digest(self) -> str:
        """Return the sha256 of the schema's canonical JSON."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()
