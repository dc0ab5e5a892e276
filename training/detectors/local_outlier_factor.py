"""Pieces in thinner air than their neighbours."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from training.core.component import State
from training.core.detector import DetectorTags
from training.core.parameters import one_of, whole
from training.core.runner import Runner
from training.core.space import Space, Whole
from training.core.windows import Floats
from training.detectors.subsequences import Subsequences

SMALLEST = 1e-10
"""Added to distances, so that many equal pieces have a finite density: scikit-learn's."""
ITSELF = 1e-6
"""Share of a piece's length below which a neighbour is the piece itself: products of matrices round as much."""
FLAT = 1e-12
"""Spread of a piece, as a share of the column's, below which it stands still."""
MOST_STARTS = 8
"""Pieces like the first one that are tried: a series may stand still for long."""
TREE_WIDTH = 15
"""Numbers in a piece up to which a tree finds neighbours faster than a product of matrices."""


class LocalOutlierFactor(Subsequences):
    """The mean density around a piece's neighbours over the density around it.

    A piece that was learned from is not its own neighbour. All pieces that were learned from are kept, which is why
    it is not meant for streams.

    Parameters
    ----------
    window
        Rows in a piece; 1 looks at single rows, None takes the dominant period of the rows it is fitted on: the
        highest peak of the auto-correlation beyond the first one, as the benchmark has it.
    align
        Which rows a piece's score goes to: `centre`, `cover` or `end`; see `Subsequences`.
    normalise
        `piece`: each piece is standardised by itself, so that shapes alone count; `rows`: its level and its size
        count too. Single rows have no shape: for them it is `rows`.
    neighbours
        That density is measured by, 1 or more; fewer where there are fewer pieces.

    References
    ----------
    Breunig et al. (2000), LOF: Identifying Density-Based Local Outliers. scikit-learn finds the neighbours.
    """

    name: ClassVar[str] = "local_outlier_factor"
    tags: ClassVar[DetectorTags] = DetectorTags()
    rank = 2

    def __init__(
        self,
        *,
        window: int | None = None,
        align: str = "centre",
        normalise: str = "piece",
        neighbours: int = 30,
    ) -> None:
        super().__init__(window=window, align=align)
        self.normalise = one_of("normalise", normalise, ("piece", "rows"))
        self.neighbours = whole("neighbours", neighbours, low=1)

    @classmethod
    def example_params(cls) -> dict[str, Any]:
        """Return short pieces."""
        return {"window": 6, "normalise": "rows", "neighbours": 10}

    @classmethod
    def search_space(cls) -> Space:
        """Return how many neighbours measure density."""
        return {"neighbours": Whole(10, 100, log=True)}

    def learn_pieces(self, pieces: Floats, runner: Runner | None) -> State:  # noqa: ARG002 - nothing to iterate
        """Return the pieces, how far each one's last neighbour is, the density around each, and its own factor."""
        kept = self._normal(pieces)
        distances, near = self._near(kept, kept)
        reach = distances[:, -1]
        density = _density(distances, reach[near])
        return {"kept": kept, "reach": reach, "density": density, "factor": density[near].mean(axis=1) / density}

    def judge_pieces(self, state: State, pieces: Floats) -> Floats:
        """Return (P,) the mean density of the neighbours over the piece's own; of all that are kept it is known."""
        kept, normal = np.asarray(state["kept"]), self._normal(pieces)
        place = _place(kept, normal)
        if place is not None:
            known: Floats = np.asarray(state["factor"])[place]
            return known
        distances, near = self._near(kept, normal)
        own = _density(distances, np.asarray(state["reach"])[near])
        factor: Floats = np.asarray(state["density"])[near].mean(axis=1) / own
        return factor

    def _normal(self, pieces: Floats) -> Floats:
        if self.normalise == "rows" or self.window == 1:
            return np.ascontiguousarray(pieces)
        centred = pieces - pieces.mean(axis=1, keepdims=True)
        spread = centred.std(axis=1, ddof=1, keepdims=True)
        normal: Floats = centred / np.where(spread > FLAT, spread, 1.0)
        return normal

    def _near(self, kept: Floats, pieces: Floats) -> tuple[Floats, np.ndarray[Any, Any]]:
        """Return (P, k) distances and numbers of the nearest kept pieces other than the piece itself."""
        from sklearn.neighbors import NearestNeighbors

        count = min(self.neighbours, len(kept) - 1)
        how = "kd_tree" if kept.shape[1] <= TREE_WIDTH else "brute"
        distances, near = NearestNeighbors(n_neighbors=count + 1, algorithm=how).fit(kept).kneighbors(pieces)
        lengths = np.sqrt(np.square(pieces).sum(axis=1))
        first = (distances[:, 0] <= ITSELF * (1.0 + lengths)).astype(np.intp)
        chosen = first[:, None] + np.arange(count)
        return np.take_along_axis(distances, chosen, 1), np.take_along_axis(near, chosen, 1)


def _place(kept: Floats, pieces: Floats) -> slice | None:
    """Return where pieces stand among the kept ones, one after another as they are; None where they do not."""
    starts = np.flatnonzero((kept[: len(kept) - len(pieces) + 1] == pieces[0]).all(axis=1))
    places = (slice(start, start + len(pieces)) for start in starts[:MOST_STARTS].tolist())
    return next((place for place in places if np.array_equal(kept[place], pieces)), None)


def _density(distances: Floats, reach: Floats) -> Floats:
    """Return (P,) the inverse of the mean distance to the neighbours, none taken nearer than its own reach."""
    density: Floats = 1.0 / (np.maximum(distances, reach).mean(axis=1) + SMALLEST)
    return density
