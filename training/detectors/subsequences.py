"""What the detectors of sub-sequences share: how pieces are cut, and how their scores become scores of rows."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator

import numpy as np

from cluster.errors import InsufficientHistoryError
from training.core.component import State
from training.core.detector import Detector, parts
from training.core.parameters import one_of, whole
from training.core.period import panel_period
from training.core.runner import Runner
from training.core.windows import Floats, Windows

ALIGNMENTS = ("centre", "cover", "end")
MOST_PIECES = 20_000
"""Pieces that are learned from, evenly spaced: as many rows as the period is looked for in."""
CHUNK_NUMBERS = 2_000_000
"""Numbers in the pieces that are scored at a time: 16 MB."""


class Subsequences(Detector):
    """Cuts a series into overlapping pieces and asks how strange each is.

    Subclasses have the parameters `window` and `align`, and implement `learn_pieces` and `judge_pieces`.

    Parameters
    ----------
    window
        Rows in a piece; the dominant period of the rows it is fitted on when None.
    align
        Which rows a piece's score goes to. `centre`: the row in its middle; the first and last half window get the
        nearest score. `cover`: each row gets the mean of all pieces that cover it. `end`: the piece's last row, so
        that a score sees no future; the first `window - 1` rows have none.
    """

    rank: int = 1
    """Of the peak of the auto-correlation that is taken for the period."""

    def __init__(self, *, window: int | None, align: str) -> None:
        self.window = None if window is None else whole("window", window, low=1)
        self.align = one_of("align", align, ALIGNMENTS)

    @abstractmethod
    def learn_pieces(self, pieces: Floats, runner: Runner | None) -> State:
        """Return what is normal among pieces (P, window x C) of standardised rows."""

    @abstractmethod
    def judge_pieces(self, state: State, pieces: Floats) -> Floats:
        """Return (P,) how strange pieces are."""

    @property
    def causal(self) -> bool:
        """Whether a piece's score goes to its last row."""
        return super().causal and (self.align == "end" or self.window == 1)

    def lookback(self, state: State) -> int:
        """Return all but one row of a piece."""
        return int(state["width"]) - 1

    def learn(self, table: Windows, runner: Runner | None) -> State:
        """Standardise the rows, cut pieces, learn from them."""
        width = self.window or panel_period(table.rows, rank=self.rank)
        mean, scale = standards(table.rows)
        tables = [part.rows for _, part in parts(table) if len(part.rows) >= width]
        found = [cut_pieces((rows - mean) / scale, width) for rows in tables]
        total = sum(map(len, found))
        if total < 2:
            longest = int(np.diff(table.segments).max())
            raise InsufficientHistoryError(
                f"'{self.name}' has too little to learn from: got {longest} rows, expected at least {width + 1} "
                f"for pieces of {width}; give more rows or a smaller window",
                got=longest,
                expected=width + 1,
            )
        step = -(-total // MOST_PIECES)
        pieces = np.concatenate([part[::step] for part in found])
        return {"width": width, "mean": mean, "scale": scale, "pieces": self.learn_pieces(pieces, runner)}

    def judge(self, state: State, table: Windows) -> Floats:
        """Return (R,) the pieces' scores, given to rows as `align` says."""
        width = int(state["width"])
        rows = (table.rows - np.asarray(state["mean"])) / np.asarray(state["scale"])
        scores = [self.judge_pieces(state["pieces"], pieces) for pieces in _chunks(cut_pieces(rows, width))]
        return spread(np.concatenate(scores), width, self.align)


def standards(rows: Floats) -> tuple[Floats, Floats]:
    """Return (C,) mean and standard deviation; a column that stands still has the scale 1."""
    mean, scale = rows.mean(axis=0), rows.std(axis=0)
    return mean, np.where(scale > 1e-12 * np.maximum(1.0, np.abs(mean)), scale, 1.0)


def cut_pieces(rows: Floats, width: int) -> Floats:
    """Return (R - width + 1, C x width) all pieces of rows (R, C); a view where C is 1."""
    pieces = np.lib.stride_tricks.sliding_window_view(rows, width, axis=0)
    return pieces.reshape(len(pieces), -1)


def _chunks(pieces: Floats) -> Iterator[Floats]:
    size = max(CHUNK_NUMBERS // pieces.shape[1], 1)
    for at in range(0, len(pieces), size):
        yield pieces[at : at + size]


def spread(scores: Floats, width: int, align: str) -> Floats:
    """Return (P + width - 1,) scores of rows from scores of pieces (P,); see `Subsequences`."""
    if align == "end":
        return np.concatenate([np.full(width - 1, np.nan), scores])
    if align == "centre":
        return np.pad(scores, (width // 2, (width - 1) // 2), mode="edge")
    sums = np.concatenate([[0.0], np.cumsum(scores)])
    row = np.arange(len(scores) + width - 1)
    first, last = (row - width + 1).clip(0), (row + 1).clip(max=len(scores))
    covered: Floats = (sums[last] - sums[first]) / (last - first)
    return covered
