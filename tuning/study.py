"""A search over models and their parameters on Ray Tune; a killed one goes on where it was."""

from __future__ import annotations

import inspect
import logging
import os
import signal
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from cluster.errors import ConfigError, PermanentError
from cluster.registry.experiments import Tracker
from cluster.storage.files import Storage
from training.core.panel import Panel
from training.core.parameters import whole
from training.core.splits import Split
from training.models import MODELS
from tuning.ledger import Ledger, OnTrial
from tuning.objective import Material
from tuning.proposer import Family, Proposer
from tuning.records import Journal, Part, StudyResult, TrialStatus, best_of

TUNE_ENVIRONMENT = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # no CSV, JSON and TensorBoard files beside our records
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",  # no snapshots of Tune's own: the journal is enough
    "RAY_AIR_NEW_OUTPUT": "0",  # the new output prints a banner at any verbosity
}


@dataclass(frozen=True, kw_only=True)
class StudySpec:
    """What to search.

    Parameters
    ----------
    name
        The same name, data and specification go on with what is there.
    models
        Catalog members with the arguments that stay fixed.
    horizon
        Steps ahead.
    features
        Transforms, in order.
    trials
        How many in all, at least one a model. A study may go on with more.
    max_concurrent
        Trials at a time, one processor each.
    grace_reports
        Reports (epochs, tens of boosting rounds) that every trial may make before it may be stopped early.
    seed
        Of the sampler, and of models that draw random numbers.
    """

    name: str
    models: tuple[Part, ...]
    horizon: int
    features: tuple[Part, ...] = ()
    trials: int = 20
    max_concurrent: int = 2
    grace_reports: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        names = [part["name"] for part in self.models]
        if not names or len(set(names)) < len(names):
            raise ConfigError(f"models of a study: got {names or 'none'}, expected one or more, each once")
        whole("trials", self.trials, low=len(names))
        for field, low in (("horizon", 1), ("max_concurrent", 1), ("grace_reports", 1), ("seed", 0)):
            whole(field, getattr(self, field), low=low)

    def families(self) -> dict[str, Family]:
        """Return what is searched for each model; a fixed argument is not searched."""
        return {part["name"]: self._family(part) for part in self.models}

    def _family(self, part: Part) -> Family:
        kind = MODELS.load(part["name"])
        known = inspect.signature(kind).parameters
        fixed = dict(part.get("params", {}))
        for name in fixed:
            if name not in known:
                raise ConfigError(f"model '{part['name']}' has no parameter '{name}'. It has: {', '.join(known)}")
        if kind.tags.seeded and "seed" in known:
            fixed.setdefault("seed", self.seed)
        return Family(
            space={name: dimension for name, dimension in kind.search_space().items() if name not in fixed},
            fixed=fixed,
            defaults={name: parameter.default for name, parameter in known.items()},
        )

    def facts(self) -> dict[str, Any]:
        """Return what must be the same for a study to go on."""
        fixed = ("models", "features", "horizon", "seed", "grace_reports")
        return {name: getattr(self, name) for name in fixed}


class Study:
    """Runs a search on the Ray that this process is connected to.

    Parameters
    ----------
    spec
        What to search.
    storage_url
        Where its records are kept.
    tracker
        Shows every trial with its parameters, curve, duration and status.
    on_trial
        Hears of progress.
    """

    def __init__(
        self,
        spec: StudySpec,
        *,
        storage_url: str,
        tracker: Tracker | None = None,
        on_trial: OnTrial | None = None,
    ) -> None:
        self.spec = spec
        self._journal = Journal(Storage(storage_url), spec.name)
        self._tracker = tracker
        self._on_trial = on_trial

    def run(self, panel: Panel, split: Split) -> StudyResult:
        """Run the trials that are still missing, and return what all of them found.

        Training sees the rows before the validation part, the score is the WAPE on the validation part up to where
        calibration starts. What follows is never looked at.

        Raises
        ------
        ConfigError
            No Ray is connected, a model or parameter is unknown, or a study of that name was another one.
        PermanentError
            Every trial failed; the message has the first one's cause.
        KeyboardInterrupt
            Ctrl-C. The trials that have ended are kept.
        """
        spec, families = self.spec, self.spec.families()
        total = _total(families, spec.trials)
        ended = self._journal.open({**spec.facts(), "data": panel.digest(), "split": _marks(split)})
        proposer = Proposer(families, trials=spec.trials, seed=spec.seed, ended=ended.values())
        ledger = Ledger(
            spec.name,
            total=total,
            ended=ended.values(),
            proposer=proposer,
            journal=self._journal,
            tracker=self._tracker,
            on_trial=self._on_trial,
        )
        ledger.close_lost_runs()
        ledger.tell_progress()
        if len(ended) < total:
            material = Material.prepare(panel, split, features=spec.features, horizon=spec.horizon)
            try:
                self._tune(material, proposer, ledger)
                if len(ledger.ended) < total:
                    raise KeyboardInterrupt  # the only reason for Tune to come back early, and it says nothing
            finally:
                ledger.abandon()
        return self._result(ledger)

    def _tune(self, material: Material, proposer: Proposer, ledger: Ledger) -> None:
        import ray

        if not ray.is_initialized():
            raise ConfigError("a study needs a Ray: got none connected, expected a Cluster.open(...) before")
        from ray import tune

        from tuning.tune_shells import FamilyScheduler, LedgerCallback, ProposerSearch, trial_function

        search = ProposerSearch(proposer)
        trainable = tune.with_resources(tune.with_parameters(trial_function, material=material), {"CPU": 1})
        with tempfile.TemporaryDirectory() as scratch, _quiet(), _interruptible():
            tuner = tune.Tuner(
                trainable,
                tune_config=tune.TuneConfig(
                    search_alg=search,
                    scheduler=FamilyScheduler(self.spec.grace_reports),
                    num_samples=-1,
                    max_concurrent_trials=self.spec.max_concurrent,
                    reuse_actors=True,
                ),
                run_config=tune.RunConfig(
                    name=self.spec.name,
                    storage_path=scratch,
                    verbose=0,
                    callbacks=[LedgerCallback(ledger, search)],
                ),
            )
            tuner.fit()

    def _result(self, ledger: Ledger) -> StudyResult:
        trials = tuple(ledger.ended[number] for number in sorted(ledger.ended))
        best = best_of(ledger.ended)
        if best is None:
            failed = [each for each in trials if each.status is TrialStatus.FAILED]
            first = f"; the first, {failed[0].model}: {failed[0].error}" if failed else ""
            raise PermanentError(
                f"study '{self.spec.name}' found nothing: {len(failed)} of {len(trials)} trials failed{first}",
                study=self.spec.name,
            )
        return StudyResult(name=self.spec.name, best=best, trials=trials)


def _total(families: Mapping[str, Family], trials: int) -> int:
    """Return how many trials there will be: a model without a space has one."""
    return trials if any(family.space for family in families.values()) else len(families)


def _marks(split: Split) -> list[str]:
    return [str(split.validation_start), str(split.calibration_start)]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Tune from printing and from writing files: what it would tell is in the records."""
    added = {name: value for name, value in TUNE_ENVIRONMENT.items() if name not in os.environ}
    os.environ.update(added)
    logger = logging.getLogger("ray.tune")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
        for name in added:
            os.environ.pop(name, None)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Give Ctrl-C back its meaning: Tune takes the signal to stop gracefully, and does not return it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
