"""Products of two columns."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, combinations_with_replacement
from typing import Self

import numpy as np

from cluster.errors import ConfigError
from training.core.windows import Floats, Times, Windows
from training.features.added import Block, PerColumn


class Interactions(PerColumn):
    """Adds the product of each two columns: `production*temperature`. What one column means may hang on another.

    A product is known ahead where both of its parts are.

    Parameters
    ----------
    columns
        K columns; None takes all that `fit` sees.
    squares
        True adds each column times itself as well.
    limit
        The most products; more columns than that need choosing, by hand or by `selection` before this.
    """

    name = "interactions"

    def __init__(self, *, columns: Sequence[str] | None = None, squares: bool = False, limit: int = 200) -> None:
        super().__init__(columns=columns)
        if limit < 1:
            raise ConfigError(f"limit: got {limit}, expected 1 or more", parameter="limit")
        self.squares = squares
        self.limit = limit

    def fit(self, windows: Windows) -> Self:
        """Note the columns; raise ConfigError where they have more products than `limit`, or none."""
        super().fit(windows)
        count = len(self._pairs())
        if not 1 <= count <= self.limit:
            raise ConfigError(
                f"limit: got {count} products of {len(self.described)} columns, expected 1 to {self.limit}; "
                "name the columns, or change the limit",
                parameter="limit",
                got=count,
                expected=self.limit,
            )
        return self

    def _pairs(self) -> list[tuple[str, str]]:
        paired = combinations_with_replacement if self.squares else combinations
        return list(paired(self.described, 2))

    def added(self) -> tuple[str, ...]:
        """Return a name for each pair, in the order of the columns."""
        return tuple(f"{a}*{b}" for a, b in self._pairs())

    def compute_added(self, block: Block) -> Floats:
        """Return (S, T, products)."""
        return _products(block, self._pairs())

    def ahead_columns(self, columns: tuple[str, ...]) -> tuple[str, ...]:
        """Return the names, then the products of two of them."""
        return (*columns, *(f"{a}*{b}" for a, b in self._known_pairs(columns)))

    def compute_ahead(self, values: Floats, times: Times, columns: tuple[str, ...]) -> Floats:
        """Return (S, T, K + known products)."""
        block = Block(values=values, times=times, columns=columns)
        return np.concatenate([values, _products(block, self._known_pairs(columns))], axis=2)

    def _known_pairs(self, columns: tuple[str, ...]) -> list[tuple[str, str]]:
        return [pair for pair in self._pairs() if set(pair) <= set(columns)]


def _products(block: Block, pairs: Sequence[tuple[str, str]]) -> Floats:
    return block.pick([a for a, _ in pairs]) * block.pick([b for _, b in pairs])
