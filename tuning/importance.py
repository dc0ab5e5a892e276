"""How much each parameter mattered: functional analysis of variance on a study's trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from training.core.space import Space
from tuning.records import TrialRecord
from tuning.spaces import distribution

LEAST_TRIALS = 4
"""Fewer finished trials of a family say nothing about its parameters."""
TREES = 64


@dataclass(frozen=True, kw_only=True)
class Importance:
    """One parameter's share.

    Parameters
    ----------
    model, parameter
        What.
    share
        Of the variance of the score over the model's space that this parameter alone explains; all of a model's
        together are 1.
    trials
        That it was computed from.
    """

    model: str
    parameter: str
    share: float
    trials: int


def importances(records: Sequence[TrialRecord], spaces: Mapping[str, Space], *, seed: int = 0) -> list[Importance]:
    """Return each parameter's importance, model by model, the largest first.

    A forest is fitted to the scores of a model's finished trials, and the variance of its prediction over the whole
    space is taken apart by parameter. Parameters that exist only sometimes are left out; a model with fewer than
    four finished trials is too.

    References
    ----------
    Hutter, Hoos and Leyton-Brown (2014), An Efficient Approach for Assessing Hyperparameter Importance; computed by
    Optuna.
    """
    found: list[Importance] = []
    for model, space in spaces.items():
        always = {name: dimension for name, dimension in space.items() if dimension.when is None}
        finished = [each for each in records if each.model == model and each.score is not None]
        if always and len(finished) >= LEAST_TRIALS:
            shares = _shares(finished, always, seed)
            told = sorted(shares.items(), key=lambda each: -each[1])
            found += [
                Importance(model=model, parameter=name, share=share, trials=len(finished)) for name, share in told
            ]
    return found


def _shares(records: Sequence[TrialRecord], space: Space, seed: int) -> dict[str, float]:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study()
    kinds = {name: distribution(dimension) for name, dimension in space.items()}
    study.add_trials(
        [
            optuna.trial.create_trial(
                value=each.score, params={name: each.draw[name] for name in kinds}, distributions=kinds
            )
            for each in records
        ]
    )
    evaluator = optuna.importance.FanovaImportanceEvaluator(n_trees=TREES, seed=seed)
    found: dict[str, float] = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return found
