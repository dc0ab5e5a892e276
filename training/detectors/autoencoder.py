"""Pieces that do not come out of a narrow network as they went in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from cluster.errors import ConfigError
from training.core.component import State
from training.core.detector import DetectorTags
from training.core.parameters import one_of, real, whole
from training.core.runner import Run, Runner
from training.core.space import Choice, Real, Space, Whole
from training.core.windows import Floats
from training.detectors.subsequences import Subsequences
from training.distributed.local import LocalRunner


class Autoencoder(Subsequences):
    """The distance between a piece and what a narrow network of dense layers makes of it.

    For pieces of 100 rows the layers have 100-64-32-16-32-64-100 numbers. It is trained on all workers of
    a cluster or in this process, on all series together.

    Parameters
    ----------
    window
        Rows in a piece; 1 looks at single rows, None takes the dominant period of the rows it is fitted on.
    align
        Which rows a piece's score goes to: `centre`, `cover` or `end`; see `Subsequences`.
    hidden
        Sizes of the layers down to the smallest; the layers up again mirror them.
    normalise
        `rows`: columns are standardised, and the level of a piece counts as its shape does; `piece`: the smallest
        number of each piece becomes 0 and the largest 1, so that shapes alone count.
    learning_rate
        Adam's, at the peak of the cycle, for a batch of 32; a batch of B gets it times sqrt(B / 32).
    batch_size
        Pieces in a step, over all workers; smaller where there are few pieces.
    max_epochs
        Of the training.
    seed
        Of the first weights and the order.

    References
    ----------
    Sakurada and Yairi (2014), Anomaly Detection Using Autoencoders with Nonlinear Dimensionality Reduction. The
    autoencoder of TSB-AD has batch normalisation, dropout and pieces from 0 to 1; by default ours has none of
    these: any number of workers learns the same, and a shift of the level is seen.
    """

    name: ClassVar[str] = "autoencoder"
    tags: ClassVar[DetectorTags] = DetectorTags(backend="torch", seeded=True, online=True, pooled=True)

    def __init__(
        self,
        *,
        window: int | None = 100,
        align: str = "centre",
        hidden: Sequence[int] = (64, 32, 16),
        normalise: str = "rows",
        learning_rate: float = 1e-3,
        batch_size: int = 128,
        max_epochs: int = 50,
        seed: int = 0,
    ) -> None:
        super().__init__(window=window, align=align)
        self.hidden = tuple(whole("hidden", size, low=1) for size in hidden)
        self.normalise = one_of("normalise", normalise, ("piece", "rows"))
        self.learning_rate = real("learning_rate", learning_rate, low=0, above=True)
        self.batch_size = whole("batch_size", batch_size, low=1)
        self.max_epochs = whole("max_epochs", max_epochs, low=1)
        self.seed = whole("seed", seed, low=0)
        if not self.hidden:
            raise ConfigError("parameter 'hidden': got none, expected one or more", parameter="hidden")

    @classmethod
    def example_params(cls) -> dict[str, Any]:
        """Return a small network and few epochs of many steps."""
        size = {"window": 12, "align": "end", "hidden": (16, 8)}
        return size | {"max_epochs": 8, "batch_size": 32, "learning_rate": 1e-2}

    @classmethod
    def search_space(cls) -> Space:
        """Return what shapes the pieces and how it learns."""
        return {
            "window": Whole(8, 200, log=True),
            "hidden": Choice(((64, 32), (64, 32, 16), (128, 64))),
            "learning_rate": Real(2e-4, 4e-3, log=True),
        }

    def learn_pieces(self, pieces: Floats, runner: Runner | None) -> State:
        """Train; return the weights, the newest first weights' course with them."""
        sizes = [pieces.shape[1], *self.hidden, *self.hidden[-2::-1], pieces.shape[1]]
        job = {
            "table": self._normal(pieces).astype(np.float32),
            "train": np.arange(len(pieces), dtype=np.int64),
            "validation": np.empty(0, dtype=np.int64),
            **{"context": 1, "horizon": 0, "targets": [], "known": []},
            "network": {"sizes": sizes},
            **{"loss": "squared", "precision": "float32", "stride": 1, "patience": self.max_epochs},
            **{name: getattr(self, name) for name in ("batch_size", "max_epochs", "learning_rate", "seed")},
        }
        return (runner or LocalRunner()).run(train, job, backend="torch")

    def judge_pieces(self, state: State, pieces: Floats) -> Floats:
        """Return (P,) the distance between the pieces and what comes out."""
        went_in = self._normal(pieces).astype(np.float32)
        weights, came_out = state["weights"], went_in
        last = len(weights) // 2 - 1
        for layer in range(last + 1):
            came_out = came_out @ weights[f"layers.{layer}.weight"].T + weights[f"layers.{layer}.bias"]
            if layer < last:
                np.maximum(came_out, 0, out=came_out)
        distances: Floats = np.sqrt(np.square(came_out - went_in).sum(axis=1, dtype=np.float64))
        return distances

    def _normal(self, pieces: Floats) -> Floats:
        if self.normalise == "rows":
            return pieces
        low, high = pieces.min(axis=1, keepdims=True), pieces.max(axis=1, keepdims=True)
        normal: Floats = (pieces - low) / np.where(high > low, high - low, 1.0)
        return normal


def train(run: Run, job: dict[str, Any]) -> State:
    """Train the network of `job["network"]` on the pieces of `job["table"]`."""
    from training.detectors.autoencoder_network import train_autoencoder

    return train_autoencoder(run, job)
