"""How far a column lies beyond a limit: degree days, and whatever else begins at one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cluster.errors import ConfigError
from training.core.parameters import real
from training.core.windows import Floats, Times
from training.features.added import Block, PerColumn


class DegreeDays(PerColumn):
    """Adds how far a column lies below or above limits, 0 on the other side: `temperature_c_below_15`.

    A site heats when it is colder than some temperature and cools when it is warmer: linear models cannot find such
    a bend by themselves. A daily mean temperature gives degree days; the sum over a month is that of its days. What
    is made of a column that is known ahead is known ahead.

    Parameters
    ----------
    below, above
        Limits in the columns' units, increasing, one of either kind or more.
    columns
        K columns; None takes all that `fit` sees.

    References
    ----------
    ASHRAE (2021), Handbook of Fundamentals, chapter 14, for heating and cooling degree days. Ours takes any limits.
    """

    name = "degree_days"

    def __init__(
        self,
        *,
        below: Sequence[float] = (15.0,),
        above: Sequence[float] = (),
        columns: Sequence[str] | None = None,
    ) -> None:
        super().__init__(columns=columns)
        self.below = _limits("below", below)
        self.above = _limits("above", above)
        if not self.below + self.above:
            raise ConfigError("degree_days has no limit: got below=[] and above=[], expected one or more")

    def added(self) -> tuple[str, ...]:
        """Return a name for each limit of each column."""
        return self._added(self.described)

    def _added(self, columns: Sequence[str]) -> tuple[str, ...]:
        sides = (*(f"below_{limit:g}" for limit in self.below), *(f"above_{limit:g}" for limit in self.above))
        return tuple(f"{name}_{side}" for side in sides for name in columns)

    def compute_added(self, block: Block) -> Floats:
        """Return (S, T, limits x K)."""
        return self._beyond(block, self.described)

    def ahead_columns(self, columns: tuple[str, ...]) -> tuple[str, ...]:
        """Return the names, then what follows from them."""
        return (*columns, *self._added(self._known(columns)))

    def compute_ahead(self, values: Floats, times: Times, columns: tuple[str, ...]) -> Floats:
        """Return (S, T, K + limits x known K)."""
        block = Block(values=values, times=times, columns=columns)
        return np.concatenate([values, self._beyond(block, self._known(columns))], axis=2)

    def _known(self, columns: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(name for name in self.described if name in columns)

    def _beyond(self, block: Block, columns: Sequence[str]) -> Floats:
        values = block.pick(columns)
        sides = [limit - values for limit in self.below] + [values - limit for limit in self.above]
        return np.concatenate(sides, axis=2).clip(0)


def _limits(parameter: str, asked: Sequence[float]) -> tuple[float, ...]:
    limits = tuple(real(parameter, limit, low=-np.inf) for limit in asked)
    if list(limits) != sorted(set(limits)):
        raise ConfigError(f"{parameter}: got {list(limits)}, expected limits that increase", parameter=parameter)
    return limits
