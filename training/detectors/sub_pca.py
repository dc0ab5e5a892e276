"""Pieces that are long, or point where pieces do not usually point."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from training.core.component import State
from training.core.detector import DetectorTags
from training.core.runner import Runner
from training.core.windows import Floats
from training.detectors.subsequences import Subsequences, standards

SMALLEST_SHARE = 1e-15
"""Of the variance on an axis: what is less is rounding."""


class SubPCA(Subsequences):
    """The sum of a standardised piece's distances to the ends of all principal axes, by the axes' inverse variance.

    Axes on which pieces hardly vary weigh most, and the distance to their ends is nearly the length of the piece.

    Parameters
    ----------
    window
        Rows in a piece; the dominant period of the rows it is fitted on when None.
    align
        Which rows a piece's score goes to: `centre`, `cover` or `end`; see `Subsequences`.

    References
    ----------
    Shyu et al. (2003), A Novel Anomaly Detection Scheme Based on Principal Component Classifier, in the form of
    PyOD, which the benchmark TSB-AD calls Sub-PCA. Ours computes the distances by one product of matrices, and
    gives axes a sign of their own so that two machines agree.
    """

    name: ClassVar[str] = "sub_pca"
    tags: ClassVar[DetectorTags] = DetectorTags(online=True)

    def __init__(self, *, window: int | None = None, align: str = "centre") -> None:
        super().__init__(window=window, align=align)

    @classmethod
    def example_params(cls) -> dict[str, Any]:
        """Return short pieces without a view of the future."""
        return {"window": 12, "align": "end"}

    def learn_pieces(self, pieces: Floats, runner: Runner | None) -> State:  # noqa: ARG002 - nothing to iterate
        """Return the standards of each place in a piece, the axes, and the weight of each."""
        mean, scale = standards(pieces)
        ready = (pieces - mean) / scale
        variances, axes = np.linalg.eigh(np.cov(ready, rowvar=False).reshape(pieces.shape[1], -1))
        largest = np.abs(axes).argmax(axis=0)
        axes = axes * np.sign(axes[largest, np.arange(len(largest))])
        shares = (variances / variances.sum()).clip(SMALLEST_SHARE)
        # Divided by the largest, so that weights of 1e15 do not make scores that large.
        return {"mean": mean, "scale": scale, "axes": axes, "weights": shares.min() / shares}

    def judge_pieces(self, state: State, pieces: Floats) -> Floats:
        """Return (P,) the weighted sum of the distances."""
        ready = (pieces - np.asarray(state["mean"])) / np.asarray(state["scale"])
        lengths = np.square(ready).sum(axis=1, keepdims=True)
        squares = lengths + 1.0 - 2.0 * ready @ np.asarray(state["axes"])
        scores: Floats = np.sqrt(squares.clip(0)) @ np.asarray(state["weights"])
        return scores
