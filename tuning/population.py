"""Population-based training: who falls behind goes on from a better one's state, with parameters near its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cluster.errors import ConfigError
from training.core.parameters import real, whole
from training.core.space import Choice, Dimension, Draw, Space
from tuning.proposer import Proposal

FACTORS = (0.8, 1.25)
"""A parameter becomes so many times what it was, as Jaderberg et al. have it."""
LEAST = 4
"""Fewer trials of a family have no worst quarter."""


@dataclass(frozen=True, kw_only=True)
class Move:
    """A trial is to go on from another's state.

    Parameters
    ----------
    donor
        The other one's number.
    draw
        Its parameters from then on.
    """

    donor: int
    draw: Draw


class Population:
    """Hears every report, and moves trials of the worst quarter of their family to one of the best.

    Parameters
    ----------
    spaces
        Model -> what is searched.
    changing
        Parameters that may change while a model trains: its learning rate, its dropout, never its size.
    interval
        Reports between two looks at a trial, 1 or more.
    share
        Of the family that is moved, and that is copied; above 0, at most 0.5.
    seed
        Of the choice of the donor and of the changes.

    References
    ----------
    Jaderberg et al. (2017), Population Based Training of Neural Networks. Ours compares the newest reports, and
    copies from trials that run only.
    """

    def __init__(
        self,
        spaces: Mapping[str, Space],
        changing: Sequence[str],
        *,
        interval: int = 2,
        share: float = 0.25,
        seed: int = 0,
    ) -> None:
        known = {name for space in spaces.values() for name in space}
        if not changing or not set(changing) <= known:
            raise ConfigError(
                f"parameters that change in training: got {tuple(changing) or 'none'}, expected some of "
                f"{', '.join(sorted(known))}"
            )
        self._spaces = spaces
        self._changing = tuple(changing)
        self._interval = whole("interval", interval, low=1)
        self._share = real("share", share, low=0, high=0.5, above=True)
        self._rng = np.random.default_rng(seed)
        self._latest: dict[int, float] = {}
        self._reports: dict[int, int] = {}
        self._proposals: dict[int, Proposal] = {}

    def hear(self, proposal: Proposal, value: float) -> Move | None:
        """Note a trial's report, lower is better; return where it moves, None where it goes on."""
        number = proposal.number
        self._proposals[number], self._latest[number] = proposal, value
        self._reports[number] = self._reports.get(number, 0) + 1
        if self._reports[number] % self._interval:
            return None
        ranked = sorted(self._family(proposal.model), key=lambda each: (self._latest[each], each))
        count = int(len(ranked) * self._share)
        if len(ranked) < LEAST or number not in ranked[-count:]:
            return None
        donor = self._proposals[ranked[int(self._rng.integers(count))]]
        return Move(donor=donor.number, draw=self._near(donor))

    def leave(self, number: int) -> None:
        """Forget a trial that has ended."""
        for kept in (self._latest, self._reports, self._proposals):
            kept.pop(number, None)

    def _family(self, model: str) -> list[int]:
        return [number for number, proposal in self._proposals.items() if proposal.model == model]

    def _near(self, donor: Proposal) -> Draw:
        space = self._spaces[donor.model]
        changed = {
            name: self._changed(space[name], at) for name, at in donor.draw.items() if name in self._changing
        }
        return {**donor.draw, **changed}

    def _changed(self, dimension: Dimension, at: float) -> float | int:
        if isinstance(dimension, Choice):
            step = int(self._rng.integers(-1, 2))
            return min(max(int(at) + step, 0), len(dimension.values) - 1)
        # A parameter at 0 would stay there for ever: it leaves by a hundredth of its range.
        found = float(at) * float(self._rng.choice(FACTORS)) or 0.01 * (dimension.high - dimension.low)
        inside = min(max(found, dimension.low), dimension.high)
        return inside if isinstance(at, float) else round(inside)
