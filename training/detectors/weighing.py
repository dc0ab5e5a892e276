"""How much the members of an ensemble count: by agreement or character without labels, by precision with them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.core.windows import Floats

Flags = npt.NDArray[np.bool_]


LEAST_SHARE, MOST_SHARE = 0.25, 0.75
"""What the members of pieces count together on a series that never repeats itself, and on one that always does: no
kind is ever silent. Set before anything was measured, and not moved since."""


@dataclass(frozen=True, kw_only=True)
class Say:
    """How much a member counts for a series, and why.

    Parameters
    ----------
    member
        Name of the detector.
    weight
        Share of the whole, 0 to 1.
    agreement
        Correlation of its surprise with the mean surprise of the others, over the rows it learned from; None where
        the member is alone.
    precision
        Average precision on labelled rows; None without labels.
    why
        In words.
    """

    member: str
    weight: float
    agreement: float | None
    precision: float | None
    why: str


def agreements(told: Floats) -> Floats:
    """Return (M,) the correlation of each member's surprise (M, R) with the mean of the others'; 1 where alone."""
    count = len(told)
    if count == 1:
        return np.ones(1)
    centred = told - told.mean(axis=1, keepdims=True)
    others = (centred.sum(axis=0) - centred) / (count - 1)
    lengths = np.sqrt(np.square(centred).sum(axis=1) * np.square(others).sum(axis=1))
    return np.where(lengths > 0, (centred * others).sum(axis=1) / np.where(lengths > 0, lengths, 1.0), 0.0)


def by_character(of_pieces: Flags, repeats: float) -> Floats:
    """Return (M,) weights with the sum 1, by what a series is like.

    Parameters
    ----------
    of_pieces
        (M,) which members judge pieces as long as a period; they have LEAST_SHARE to MOST_SHARE of the whole.
    repeats
        How much the series repeats itself, 0 to 1.
    """
    share = LEAST_SHARE + (MOST_SHARE - LEAST_SHARE) * repeats
    count = max(int(of_pieces.sum()), 1), max(int((~of_pieces).sum()), 1)
    weights: Floats = np.where(of_pieces, share / count[0], (1.0 - share) / count[1])
    shares: Floats = weights / weights.sum()
    return shares


def average_precision(strange: Flags, scores: Floats) -> float:
    """Return the mean precision at each strange row, from the highest score down; equal scores count together.

    Parameters
    ----------
    strange, scores
        (R,). Where no row is strange it is 0.
    """
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], strange[order]
    last = np.append(ranked[1:] != ranked[:-1], True)  # of each group of equal scores
    found, rows = np.cumsum(hits)[last], np.flatnonzero(last) + 1
    return float(np.diff(found, prepend=0) @ (found / rows) / max(int(hits.sum()), 1))
