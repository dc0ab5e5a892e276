"""Pieces that are far from all usual shapes."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from training.core.component import State
from training.core.detector import DetectorTags
from training.core.parameters import whole
from training.core.runner import Runner
from training.core.space import Space, Whole
from training.core.windows import Floats
from training.detectors.subsequences import Subsequences


class KMeans(Subsequences):
    """The distance of a piece to the nearest of some cluster centres.

    Parameters
    ----------
    window
        Rows in a piece; the dominant period of the rows it is fitted on when None: the highest peak of the
        auto-correlation beyond the first one, as the benchmark has it.
    align
        Which rows a piece's score goes to: `cover`, `centre` or `end`; see `Subsequences`.
    clusters
        Usual shapes, 1 or more.
    seed
        Of the first centres.

    References
    ----------
    Yairi et al. (2001), Fault Detection by Mining Association Rules from House-keeping Data; KMeansAD of TimeEval
    and TSB-AD.
    """

    name: ClassVar[str] = "kmeans"
    tags: ClassVar[DetectorTags] = DetectorTags(online=True, seeded=True)
    rank = 2

    def __init__(
        self, *, window: int | None = None, align: str = "cover", clusters: int = 10, seed: int = 0
    ) -> None:
        super().__init__(window=window, align=align)
        self.clusters = whole("clusters", clusters, low=1)
        self.seed = whole("seed", seed, low=0)

    @classmethod
    def example_params(cls) -> dict[str, Any]:
        """Return short pieces without a view of the future."""
        return {"window": 12, "align": "end", "clusters": 9}

    @classmethod
    def search_space(cls) -> Space:
        """Return the number of usual shapes."""
        return {"clusters": Whole(4, 40, log=True)}

    def learn_pieces(self, pieces: Floats, runner: Runner | None) -> State:  # noqa: ARG002 - no loop of ours
        """Return the centres."""
        from sklearn.cluster import KMeans as Clustering

        count = min(self.clusters, len(np.unique(pieces, axis=0)))
        found = Clustering(n_clusters=count, n_init=1, random_state=self.seed).fit(pieces)
        return {"centres": np.asarray(found.cluster_centers_, dtype=np.float64)}

    def judge_pieces(self, state: State, pieces: Floats) -> Floats:
        """Return (P,) the distance to the nearest centre."""
        centres = np.asarray(state["centres"])
        near = np.stack([np.square(pieces - centre).sum(axis=1) for centre in centres])
        distances: Floats = np.sqrt(near.min(axis=0))
        return distances
