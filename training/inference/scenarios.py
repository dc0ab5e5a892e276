"""Named changes of what is known ahead: production +10 %, renewable share 60 %, a temperature path."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np

from cluster.errors import ConfigError, UnknownNameError
from training.core.windows import Floats
from training.inference.formula import evaluate

Operation = Literal["multiply", "offset", "set", "formula"]
_CHANGE = re.compile(r"\s*([^\s=*+]+)\s*(\*=|\+=|=)\s*(.+?)\s*")
_SIGNS: Mapping[str, Operation] = {"*=": "multiply", "+=": "offset", "=": "set"}


@dataclass(frozen=True, kw_only=True)
class Change:
    """What happens to one column over the horizon.

    Parameters
    ----------
    column
        A column that the model knows ahead.
    operation
        `multiply` by, `offset` by, or `set` to `value`; `formula` sets it to an expression on known columns, such
        as `0.6 * energy_kwh`, which sees what earlier changes of the scenario made of them.
    value
        One number, or one a step (a path); for a formula its text.
    """

    column: str
    operation: Operation
    value: float | tuple[float, ...] | str

    def __post_init__(self) -> None:
        if (self.operation == "formula") != isinstance(self.value, str):
            raise ConfigError(
                f"change of '{self.column}': got {self.operation} with {self.value!r}, expected text for a formula "
                "and numbers for anything else",
                column=self.column,
            )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `column*=1.1`, `column+=2`, `column=5`, `column=1,2,3` (one a step) or `column=0.6*other`.

        Raises
        ------
        ConfigError
            It is none of these.
        """
        found = _CHANGE.fullmatch(text)
        if found is None:
            raise ConfigError(
                f"a change cannot be read: got '{text}', expected such as production_units*=1.1, temperature_c+=2 "
                "or renewable_kwh=0.6*energy_kwh",
                got=text,
            )
        column, sign, written = found.groups()
        try:
            numbers = tuple(float(part) for part in written.split(","))
        except ValueError as error:
            if sign != "=":
                raise ConfigError(
                    f"a change cannot be read: '{text}' ({error}), expected a number after {sign}"
                ) from error
            return cls(column=column, operation="formula", value=written)
        return cls(column=column, operation=_SIGNS[sign], value=numbers[0] if len(numbers) == 1 else numbers)

    def apply(self, columns: Mapping[str, Floats]) -> Floats:
        """Return (N, H) the column's new values, for columns (N, H).

        Raises
        ------
        ConfigError
            A path does not have H values; a formula cannot be read.
        UnknownNameError
            A column is not known ahead.
        """
        if self.column not in columns:
            raise UnknownNameError.of("column known ahead", self.column, columns)
        if isinstance(self.value, str):
            return evaluate(self.value, columns)
        old, by = columns[self.column], np.asarray(self.value, dtype=np.float64)
        if by.ndim and len(by) != old.shape[1]:
            raise ConfigError(
                f"change of '{self.column}': got {len(by)} values, expected 1 or {old.shape[1]}, one a step",
                column=self.column,
                got=len(by),
                expected=old.shape[1],
            )
        if self.operation == "multiply":
            return old * by
        return old + by if self.operation == "offset" else np.broadcast_to(by, old.shape).copy()


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A named future: changes, one after another.

    Parameters
    ----------
    name
        What reports call it.
    changes
        1 or more.
    """

    name: str
    changes: tuple[Change, ...]

    def __post_init__(self) -> None:
        if not self.name.strip() or not self.changes:
            raise ConfigError(
                f"scenario '{self.name}': got {len(self.changes)} changes, expected a name and 1 or more"
            )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `name: change; change`, each change as `Change.parse` reads it."""
        name, colon, rest = text.partition(":")
        if not colon:
            raise ConfigError(f"a scenario cannot be read: got '{text}', expected 'name: change; change'", got=text)
        changes = tuple(Change.parse(part) for part in rest.split(";") if part.strip())
        return cls(name=name.strip(), changes=changes)

    @property
    def columns(self) -> tuple[str, ...]:
        """What it changes, each once."""
        return tuple(dict.fromkeys(change.column for change in self.changes))

    def apply(self, columns: Mapping[str, Floats]) -> dict[str, Floats]:
        """Return all columns, (N, H) each, after the changes."""
        changed = dict(columns)
        for change in self.changes:
            changed[change.column] = change.apply(changed)
        return changed


def check_names(scenarios: Sequence[Scenario]) -> None:
    """Raise ConfigError where there is no scenario, or two of one name."""
    names = [scenario.name for scenario in scenarios]
    if not names or len(set(names)) < len(names):
        raise ConfigError(f"scenarios: got {', '.join(names) or 'none'}, expected one or more of different names")
