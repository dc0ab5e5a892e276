"""Uniform points: what every other search is measured against."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from training.core.space import Draw
from tuning.search.policy import SearchPolicy


class Random(SearchPolicy):
    """Draws each point uniformly from the unit cube, whatever came of those before.

    References
    ----------
    Bergstra and Bengio (2012), Random search for hyper-parameter optimization.
    """

    name: ClassVar[str] = "random"

    def propose(self, pending: Sequence[Draw], rng: np.random.Generator) -> Draw:  # noqa: ARG002 - it learns nothing
        """Return a uniform point."""
        return self.cube.decode(rng.random(self.cube.width))
