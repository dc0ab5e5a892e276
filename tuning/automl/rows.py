"""Which rows are learned from and which are judged on: folds of rows without an order, and of rows in time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cluster.errors import InsufficientHistoryError
from training.core.parameters import whole
from training.core.table import Rows, Values

LEAST_ROWS = 20
FIRST_SHARE = 0.4
"""Share of rows in time that the first of several folds learns from."""


@dataclass(frozen=True, kw_only=True)
class RowFold:
    """Rows that are learned from, and rows that are judged on.

    Parameters
    ----------
    train, validation
        Positions, ascending.
    repeat
        Which shuffle it belongs to.
    """

    train: Rows
    validation: Rows
    repeat: int = 0


def folds_of(
    target: Values, *, classes: int, count: int, repeats: int = 1, ordered: bool = False, seed: int = 0
) -> tuple[RowFold, ...]:
    """Return the folds of N rows.

    Parameters
    ----------
    target
        (N,) positions of classes, each of which is spread evenly; or numbers.
    classes
        How many; 0 in a regression.
    count
        Folds a repeat, 2 or more.
    ordered
        The rows are in time: each fold learns from rows before those that it is judged on, the last fold first,
        and there is one repeat.

    Raises
    ------
    InsufficientHistoryError
        There are too few rows.
    """
    whole("count", count, low=2)
    if len(target) < max(LEAST_ROWS, count):
        raise InsufficientHistoryError(
            f"too few rows to choose on: got {len(target)}, expected {max(LEAST_ROWS, count)} or more",
            got=len(target),
            expected=max(LEAST_ROWS, count),
        )
    if ordered:
        return _forward(len(target), count)
    rng = np.random.default_rng(seed)
    return tuple(
        fold for repeat in range(repeats) for fold in _shuffled(_parts(target, classes, count, rng), repeat)
    )


def _forward(rows: int, count: int) -> tuple[RowFold, ...]:
    """Return the newest fold first: what happened lately says most about what comes."""
    marks = np.linspace(rows * FIRST_SHARE, rows, count + 1).round().astype(np.int64)
    return tuple(
        RowFold(train=np.arange(marks[at]), validation=np.arange(marks[at], marks[at + 1]))
        for at in reversed(range(count))
    )


def _parts(target: Values, classes: int, count: int, rng: np.random.Generator) -> Rows:
    """Return (N,) the fold that each row is judged in."""
    parts = np.empty(len(target), dtype=np.int64)
    order = rng.permutation(len(target))
    if classes:
        order = order[np.argsort(target[order], kind="stable")]  # each class is dealt out in turn
        parts[order] = np.arange(len(target)) % count
        return parts
    ranked = order[np.argsort(target[order], kind="stable")]
    for start in range(0, len(ranked), count):  # neighbours in size go to different folds, at random
        here = ranked[start : start + count]
        parts[here] = rng.permutation(count)[: len(here)]
    return parts


def _shuffled(parts: Rows, repeat: int) -> list[RowFold]:
    return [
        RowFold(train=np.flatnonzero(parts != each), validation=np.flatnonzero(parts == each), repeat=repeat)
        for each in range(int(parts.max()) + 1)
    ]
