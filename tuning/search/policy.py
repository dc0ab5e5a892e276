"""Which point of a space is tried next: the contract of every searcher, and what they share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from threadpoolctl import threadpool_limits

from cluster.errors import ConfigError
from training.core.cube import Cube, Floats
from training.core.parameters import whole
from training.core.space import Draw, Space
from tuning.search.outcome import Outcome

ATTEMPTS = 5
"""Proposals that may be repetitions before a point is taken at random from those left."""
FINITE = 4096
"""A space of at most so many points is counted, so that its last point is found and its end is told."""
RANDOM_ATTEMPTS = 256


@dataclass(frozen=True, kw_only=True)
class Observation:
    """A point that was tried, and what became of it."""

    draw: Draw
    outcome: Outcome


class SearchPolicy(ABC):
    """Asked for points and told what became of them.

    What it answers is a function of the space, the seed, what it was told so far, and what is pending, and of
    nothing else. Another process with the same arguments answers the same, and a search that is restored from its
    observations goes on as if it had never stopped.

    First come the starts that the caller gives, then points of a scrambled Sobol sequence, which all members
    share; then what the member proposes. No point is proposed twice, nor one that is pending.

    A member is one file with `propose`, and one line in `tuning/search/members.py`.

    Parameters
    ----------
    space
        What is searched.
    seed
        From 0.
    starts
        Draws to try first: defaults, or what worked on similar data.
    sobol_starts
        Points, the caller's included, before the member's own proposals. None: the member's usual number.

    References
    ----------
    Owen (1998), Scrambling Sobol' and Niederreiter-Xing points.
    """

    name: ClassVar[str]

    def __init__(
        self, space: Space, *, seed: int = 0, starts: Sequence[Draw] = (), sobol_starts: int | None = None
    ) -> None:
        self.cube = Cube(space)
        self.seed = whole("seed", seed, low=0)
        self.observations: list[Observation] = []
        usual = self.usual_starts() if sobol_starts is None else whole("sobol_starts", sobol_starts, low=1)
        self._given = [self.cube.checked(self.cube.complete(draw)) for draw in starts]
        self._sobol = [self.cube.decode(point) for point in sobol(self.cube.width, usual, self.seed)]
        every = self.cube.draws(FINITE)
        self._every = None if every is None else list(every)
        self._told: set[Any] = set()

    # -- what a member writes ----------------------------------------------------------------------------------

    def usual_starts(self) -> int:
        """Return how many points come before the member's own proposals."""
        return min(2 + self.cube.width, 10)

    @abstractmethod
    def propose(self, pending: Sequence[Draw], rng: np.random.Generator) -> Draw:
        """Return a point worth trying while `pending` are being tried; all randomness comes from `rng`."""

    # -- what a study calls ------------------------------------------------------------------------------------

    def ask(self, pending: Sequence[Draw] = ()) -> Draw | None:
        """Return the next point to try; None where every point of the space was tried or is pending."""
        taken = self._told | {self.cube.key(draw) for draw in pending}
        if self._every is not None and all(self.cube.key(draw) in taken for draw in self._every):
            return None
        count = len(self.observations) + len(pending)
        first = self._given + (self._sobol if count < len(self._sobol) else [])
        for draw in first:
            if self.cube.key(draw) not in taken:
                return dict(draw)
        rng = np.random.default_rng([self.seed, count])
        # Matrices are small; on a busy machine a pool's threads wait for each other ten times as long as one works.
        with threadpool_limits(limits=1):
            for _ in range(ATTEMPTS):
                draw = self.propose(pending, rng)
                if self.cube.key(draw) not in taken:
                    return draw
        return self._untried(taken, rng)

    def tell(self, draw: Draw, outcome: Outcome) -> None:
        """Learn what became of a point, whoever proposed it; ConfigError where it is none of this space."""
        self.cube.checked(draw)
        known = next((each.outcome for each in self.observations if not each.outcome.failed), outcome)
        if not outcome.failed and len(outcome.values) != len(known.values):
            raise ConfigError(
                f"an outcome has {len(outcome.values)} values: expected {len(known.values)}, as those before"
            )
        self.observations.append(Observation(draw=dict(draw), outcome=outcome))
        self._told.add(self.cube.key(draw))

    def state(self) -> dict[str, Any]:
        """Return JSON values that `restore` reads: all that was told, in order."""
        told = [{"draw": each.draw, "outcome": each.outcome.to_json()} for each in self.observations]
        return {"parameters": list(self.cube.names), "observations": told}

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what `state` gave, of this or another member of the family, for the same space."""
        if state["parameters"] != list(self.cube.names):
            raise ConfigError(
                f"a search's state is of another space: got {state['parameters']}, expected {list(self.cube.names)}"
            )
        self.observations, self._told = [], set()
        for each in state["observations"]:
            self.tell(each["draw"], Outcome.from_json(each["outcome"]))

    def _untried(self, taken: set[Any], rng: np.random.Generator) -> Draw | None:
        if self._every is not None:
            left = [draw for draw in self._every if self.cube.key(draw) not in taken]
            return left[rng.integers(len(left))]
        for _ in range(RANDOM_ATTEMPTS):
            draw = self.cube.decode(rng.random(self.cube.width))
            if self.cube.key(draw) not in taken:
                return draw
        return None


def sobol(width: int, count: int, seed: int) -> Floats:
    """Return (count, width) points that fill the cube evenly."""
    from scipy.stats.qmc import Sobol

    power = max(count - 1, 1).bit_length()
    points: Floats = Sobol(width, scramble=True, rng=np.random.default_rng(seed)).random_base2(power)[:count]
    return points
