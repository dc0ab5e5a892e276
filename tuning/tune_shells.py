"""Ray Tune's hooks, translated to and from the plain classes; imported only where Ray is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ray import cloudpickle, tune
from ray.exceptions import RayTaskError
from ray.tune import Callback
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial
from ray.tune.result import TRAINING_ITERATION
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler
from ray.tune.search import Searcher

from tuning.ledger import Ledger
from tuning.objective import Material, score
from tuning.proposer import Proposal, Proposer

STEP, LOSS, SCORE = "step", "loss", "score"
NUMBER, MODEL, PARAMS = "number", "model", "params"
REDUCTION = 3
"""After as many reports the best third goes on, as the authors of successive halving advise (3 or 4)."""
FAR = 10**9
"""No report is the last one for the scheduler: the models have their own patience."""


def trial_function(config: dict[str, Any], material: Material) -> None:
    """Fit and measure one model, in an actor that later trials use again."""
    found = score(config[MODEL], config[PARAMS], material, lambda step, loss: tune.report({STEP: step, LOSS: loss}))
    tune.report({SCORE: found})


class ProposerSearch(Searcher):  # type: ignore[misc]  # Ray is untyped
    """Hands out the proposer's trials."""

    def __init__(self, proposer: Proposer) -> None:
        super().__init__()
        self._proposer = proposer
        self.proposals: dict[str, Proposal] = {}

    def suggest(self, trial_id: str) -> Any:
        """Return the next trial's configuration."""
        proposal = self._proposer.propose()
        if proposal is None:
            return Searcher.FINISHED
        self.proposals[trial_id] = proposal
        return {NUMBER: proposal.number, MODEL: proposal.model, PARAMS: proposal.params}

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        """Do nothing: the ledger tells the proposer."""

    def save(self, checkpoint_path: str) -> None:
        """Keep nothing: the journal has it all."""

    def restore(self, checkpoint_path: str) -> None:
        """Take nothing back; see `save`."""


class LedgerCallback(Callback):  # type: ignore[misc]  # Ray is untyped
    """Tells the ledger what happens to the trials."""

    def __init__(self, ledger: Ledger, search: ProposerSearch) -> None:
        self._ledger = ledger
        self._search = search

    def __getstate__(self) -> dict[str, Any]:
        """Leave all behind: Tune writes its callbacks into snapshots, and ours are the journal's records."""
        return {}

    def on_trial_start(self, trial: Trial, **_: Any) -> None:
        """Forward a start."""
        self._ledger.start(self._search.proposals[trial.trial_id])

    def on_trial_result(self, trial: Trial, result: dict[str, Any], **_: Any) -> None:
        """Forward a step, or the score."""
        if SCORE in result:
            self._ledger.score(trial.config[NUMBER], result[SCORE])
        elif LOSS in result:
            self._ledger.step(trial.config[NUMBER], result[STEP], result[LOSS])

    def on_trial_complete(self, trial: Trial, **_: Any) -> None:
        """Forward an end."""
        self._ledger.end(trial.config[NUMBER])

    def on_trial_error(self, trial: Trial, **_: Any) -> None:
        """Forward an end by an exception, with what caused it."""
        self._ledger.end(trial.config[NUMBER], error=_cause(trial))


class FamilyScheduler(FIFOScheduler):  # type: ignore[misc]  # Ray is untyped
    """Asynchronous successive halving within each family: an epoch of one is no boosting round of another.

    Parameters
    ----------
    grace_reports
        Reports that every trial may make.

    References
    ----------
    Li et al. (2020), A System for Massively Parallel Hyperparameter Tuning.
    """

    def __init__(self, grace_reports: int) -> None:
        super().__init__()
        self._grace_reports = grace_reports
        self._families: dict[str, AsyncHyperBandScheduler] = {}

    def on_trial_add(self, tune_controller: TuneController, trial: Trial) -> None:
        """Forward to the family."""
        self._of(trial).on_trial_add(tune_controller, trial)

    def on_trial_result(self, tune_controller: TuneController, trial: Trial, result: dict[str, Any]) -> Any:
        """Let the family decide on a step."""
        if LOSS not in result:
            return self.CONTINUE
        return self._of(trial).on_trial_result(tune_controller, trial, result)

    def on_trial_complete(self, tune_controller: TuneController, trial: Trial, result: dict[str, Any]) -> None:
        """Do nothing: the last steps are known."""

    def on_trial_remove(self, tune_controller: TuneController, trial: Trial) -> None:
        """Forward to the family."""
        self._of(trial).on_trial_remove(tune_controller, trial)

    def _of(self, trial: Trial) -> AsyncHyperBandScheduler:
        model = trial.config[MODEL]
        if model not in self._families:
            self._families[model] = AsyncHyperBandScheduler(
                time_attr=TRAINING_ITERATION,
                metric=LOSS,
                mode="min",
                max_t=FAR,
                grace_period=self._grace_reports,
                reduction_factor=REDUCTION,
            )
        return self._families[model]


def _cause(trial: Trial) -> str:
    """Return what the trial raised; it lies beside the trial, where Tune's own getter does not look."""
    if trial.pickled_error_file is None:
        return "the trial's process was lost"
    error = cloudpickle.loads(Path(trial.pickled_error_file).read_bytes())
    while isinstance(error, RayTaskError) and error.cause is not None:
        error = error.cause
    return f"{type(error).__name__}: {error}"
