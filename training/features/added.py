"""What features have in common: they keep every column and add some."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from cluster.errors import ConfigError, NotFittedError, SchemaError, UnknownNameError
from training.core.component import State
from training.core.transform import Transform
from training.core.windows import Floats, Times, Windows


@dataclass(frozen=True, kw_only=True)
class Block:
    """Equally long series, side by side.

    Parameters
    ----------
    values
        (S, T, C).
    times
        (S, T) timestamps.
    columns
        (C,) names.
    """

    values: Floats
    times: Times
    columns: tuple[str, ...]

    def pick(self, names: Sequence[str]) -> Floats:
        """Return (S, T, len(names)); raise UnknownNameError where a column is not there."""
        for name in names:
            if name not in self.columns:
                raise UnknownNameError.of("column", name, self.columns)
        return self.values[:, :, [self.columns.index(name) for name in names]]


class AddedColumns(Transform):
    """Appends columns to the table; `inverse` drops them.

    A subclass names the columns (`added`) and computes them (`compute_added`).
    """

    @abstractmethod
    def added(self) -> tuple[str, ...]:
        """Return the (A,) names of the new columns."""

    @abstractmethod
    def compute_added(self, block: Block) -> Floats:
        """Return (S, T, A); row t from rows up to t, of its own series."""

    def columns(self, columns: tuple[str, ...]) -> tuple[str, ...]:
        """Return the old names, then the new ones; raise SchemaError where a new one is taken."""
        added = self.added()
        for name in added:
            if name in columns:
                raise SchemaError.at(
                    f"'{self.name}' adds a column that is there",
                    column=name,
                    got=f"columns {', '.join(columns)}",
                    expected=f"no '{name}'; rename it in the data or use '{self.name}' once",
                )
        return (*columns, *added)

    def compute(self, values: Floats, times: Times, columns: tuple[str, ...]) -> Floats:
        """Return (S, T, C + A)."""
        return np.concatenate(
            [values, self.compute_added(Block(values=values, times=times, columns=columns))], axis=2
        )

    def inverse_columns(self, columns: tuple[str, ...]) -> tuple[str, ...]:
        """Return the names that were there before."""
        added = set(self.added())
        return tuple(name for name in columns if name not in added)


class PerColumn(AddedColumns):
    """Adds the same features for each of some columns.

    Parameters
    ----------
    columns
        K columns to describe; None takes all that `fit` sees.
    """

    def __init__(self, *, columns: Sequence[str] | None = None) -> None:
        if isinstance(columns, str):
            raise ConfigError(f"columns: got the text '{columns}', expected a list of names", parameter="columns")
        self._asked = None if columns is None else tuple(columns)
        self._described: tuple[str, ...] | None = None

    def params(self) -> dict[str, Any]:
        """Return the constructor's arguments; `columns` is a method of every transform, so it is kept apart."""
        return super().params() | {"columns": self._asked}

    @property
    def described(self) -> tuple[str, ...]:
        """The K columns, known after `fit`."""
        if self._described is None:
            raise NotFittedError(f"'{self.name}' is not fitted: call fit() first")
        return self._described

    def fit(self, windows: Windows) -> Self:
        """Note which columns to describe; raise UnknownNameError where one is not there."""
        chosen = windows.columns if self._asked is None else self._asked
        windows.positions(chosen)
        self._described = chosen
        return self

    def state(self) -> State:
        """Return the described columns."""
        return {} if self._described is None else {"described": list(self._described)}

    def restore(self, state: State) -> None:
        """Take back what `state` gave."""
        if state:
            self._described = tuple(state["described"])


def whole_steps(parameter: str, steps: Sequence[int], *, least: int = 1) -> tuple[int, ...]:
    """Return `steps` as a tuple; raise ConfigError unless they are distinct whole numbers of `least` or more."""
    chosen = tuple(steps)
    fine = all(isinstance(step, int) and step >= least for step in chosen)
    if not chosen or not fine or len(set(chosen)) < len(chosen):
        raise ConfigError(
            f"{parameter}: got {list(chosen)}, expected distinct whole numbers of {least} or more",
            parameter=parameter,
            got=str(list(chosen)),
        )
    return chosen
