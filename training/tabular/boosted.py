"""What boosted trees have in common: rounds, shrinkage, penalties, and a best round."""

from __future__ import annotations

from typing import ClassVar, Self

from training.core.parameters import real, whole
from training.core.space import Real, Space
from training.core.tabular import Tabular, TabularTags


class Boosted(Tabular):
    """Trees grown one after the other, each on what is left of the error.

    Parameters
    ----------
    rounds
        The most trees (of each class), 1 or more.
    patience
        Rounds without a better loss on the held-out rows after which growing ends, and the best round counts.
        Without held-out rows all are grown.
    learning_rate
        Share of each tree that is added, above 0, at most 1.
    row_share, column_share
        Shares of rows and columns that each tree sees, above 0, at most 1.
    l1, l2
        Penalties on the leaves' values, 0 or more.
    seed
        Of what is drawn.
    """

    tags: ClassVar[TabularTags] = TabularTags(seeded=True, view="plain", staged=True)

    def __init__(
        self,
        *,
        rounds: int,
        patience: int,
        learning_rate: float,
        row_share: float,
        column_share: float,
        l1: float,
        l2: float,
        seed: int,
    ) -> None:
        self.rounds = whole("rounds", rounds, low=1)
        self.patience = whole("patience", patience, low=1)
        self.learning_rate = real("learning_rate", learning_rate, low=0, high=1, above=True)
        self.row_share = real("row_share", row_share, low=0, high=1, above=True)
        self.column_share = real("column_share", column_share, low=0, high=1, above=True)
        self.l1 = real("l1", l1, low=0)
        self.l2 = real("l2", l2, low=0)
        self.seed = whole("seed", seed, low=0)
        self._stage = 0
        self._grown = 0

    @classmethod
    def search_space(cls) -> Space:
        """Return what both libraries have."""
        return {
            "learning_rate": Real(0.02, 0.2, log=True),
            "row_share": Real(0.5, 1.0),
            "column_share": Real(0.3, 1.0),
            "l1": Real(1e-3, 10.0, log=True),
            "l2": Real(1e-3, 30.0, log=True),
        }

    @property
    def stage(self) -> int:
        """Trees (of each class) it answers with."""
        return self._stage

    def at_stage(self, stage: int) -> Self:
        """Answer with another number of trees, at most those that were grown; return self."""
        self._stage = min(whole("stage", stage, low=1), self._grown)
        return self
