"""Optuna's tree-structured Parzen estimator as a member of the family."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from training.core.space import Draw
from tuning.search.outcome import merits
from tuning.search.policy import SearchPolicy
from tuning.spaces import distribution, suggest

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


class TreeParzen(SearchPolicy):
    """Models where the better points lie and where the others do, and draws where their ratio is largest.

    Parameters are modelled together where all of them always exist, one by one where some are conditional; a
    pending point counts as one of the worse ones. Optuna's study is built anew at each proposal, which costs
    milliseconds, so that a proposal depends on nothing but what was told.

    References
    ----------
    Bergstra et al. (2011), Algorithms for hyper-parameter optimization. Watanabe (2023), Tree-structured Parzen
    estimator: understanding its algorithm components.
    """

    name: ClassVar[str] = "tpe"

    def usual_starts(self) -> int:
        """Return 10, as Optuna has it: densities need some points."""
        return 10

    def propose(self, pending: Sequence[Draw], rng: np.random.Generator) -> Draw:
        """Return the draw with the largest ratio of Optuna's 24 candidates."""
        import optuna

        found = merits([each.outcome for each in self.observations], rng)
        if found is None:
            return self.cube.decode(rng.random(self.cube.width))
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        flat = all(each.when is None for each in self.cube.space.values())
        sampler = optuna.samplers.TPESampler(
            seed=int(rng.integers(2**31)), n_startup_trials=0, multivariate=flat, constant_liar=True
        )
        study = optuna.create_study(sampler=sampler)
        study.add_trials(
            [self._trial(each.draw, merit) for each, merit in zip(self.observations, found, strict=True)]
        )
        study.add_trials([self._trial(draw, None) for draw in pending])
        return suggest(study.ask(), self.cube.space)

    def _trial(self, draw: Draw, merit: float | None) -> FrozenTrial:
        from optuna.trial import TrialState, create_trial

        return create_trial(
            state=TrialState.RUNNING if merit is None else TrialState.COMPLETE,
            value=None if merit is None else float(merit),
            params=draw,
            distributions={name: distribution(self.cube.space[name]) for name in draw},
        )
