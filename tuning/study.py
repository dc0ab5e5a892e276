"""A search over models and their parameters on Ray; a killed one goes on where it was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cluster.errors import ConfigError, PermanentError
from cluster.registry.experiments import Tracker
from cluster.storage.files import Storage
from training.core.panel import Panel
from training.core.splits import Split
from tuning.conductor import EXHAUSTED, Conductor
from tuning.crew import Work
from tuning.energy import EnergyModel
from tuning.fingerprint import Fingerprint
from tuning.history import space_facts
from tuning.journal import Journal
from tuning.ledger import Ledger, OnChange
from tuning.objective import ForecastWork, Material
from tuning.proposer import Family, Proposer, Start
from tuning.ray_crew import RayCrew, trials_that_fit
from tuning.records import StudyResult, TrialRecord, TrialStatus, best_of
from tuning.study_spec import POPULATION, StudySpec
from tuning.tracking import TrialTracking

INTERRUPTED = "interrupted by Ctrl-C"


class Study:
    """Runs a search on the Ray that this process is connected to.

    Trials run in actors of a pool that is used again and again, and not as trials of Ray Tune, whose controller
    costs tens of times as much as a small trial, and neither ends a trial that hangs nor bounds its memory. Our
    searchers and stop policies are Ray Tune's too: see `tuning.tune_shells`.

    Parameters
    ----------
    spec
        What to search.
    storage_url
        Where its records are kept.
    tracker
        Shows every trial with its parameters, curve, cost and status.
    energy
        Turns what trials took into energy and carbon.
    on_change
        Hears of progress.
    """

    def __init__(
        self,
        spec: StudySpec,
        *,
        storage_url: str,
        tracker: Tracker | None = None,
        energy: EnergyModel | None = None,
        on_change: OnChange | None = None,
    ) -> None:
        self.spec = spec
        self._storage = Storage(storage_url)
        self.journal = Journal(self._storage, spec.name)
        self._tracker = tracker
        self._energy = energy or EnergyModel()
        self._on_change = on_change

    def run(self, panel: Panel, split: Split, *, starts: Sequence[Start] = ()) -> StudyResult:
        """Run the trials that are still missing, and return what all of them found.

        Training sees the rows before each validation block, scores are taken up to where calibration starts. What
        follows is never looked at. Ctrl-C ends the search, and what was found by then is the result.

        Parameters
        ----------
        panel, split
            The data, and where its parts begin.
        starts
            Points to try early: what worked elsewhere.

        Raises
        ------
        ConfigError
            No Ray is connected, a model or parameter is unknown, or a study of that name was another one or runs.
        PermanentError
            No trial finished within the bounds; the message has the first failure's cause.
        KeyboardInterrupt
            Ctrl-C before any trial has finished.
        """
        spec = self.spec
        folds = spec.folds.of(panel, split)

        def work() -> ForecastWork:
            prepared = (
                Material.prepare(panel, fold, features=spec.features, horizon=spec.horizon) for fold in folds
            )
            return ForecastWork(
                materials=tuple(prepared),
                metrics=spec.goal.metrics,
                cpus=max(int(spec.worker.cpus), 1),
                keep_state=spec.stopping == POPULATION,
                train_workers=spec.train_workers,
                storage=self._training_folder(),
            )

        facts = {"data": panel.digest(), "split": _marks(split)}
        known = Fingerprint.of(panel.before(split.validation_start), spec.horizon)
        return self.search(spec.families(), work, facts=facts, about={"fingerprint": vars(known)}, starts=starts)

    def search(
        self,
        families: Mapping[str, Family],
        work: Any,
        *,
        facts: Mapping[str, Any],
        about: Mapping[str, Any] | None = None,
        starts: Sequence[Start] = (),
    ) -> StudyResult:
        """Search the families for whatever `work()` returns does with them; `run` is this for forecasters.

        Parameters
        ----------
        families
            Name -> what is searched.
        work
            Called once, and only where trials are missing: returns the Work.
        facts
            What must be the same for the study to go on, beside the specification.
        about
            What is kept for those who read the study later.
        starts
            Points to try early.
        """
        with self.journal.alone():
            kept: dict[str, Any] = {
                "spaces": {name: space_facts(family.space) for name, family in families.items()}
            }
            kept |= {"starts": [vars(start) for start in starts]}
            ended = self.journal.open({**self.spec.facts(), **facts}, kept | dict(about or {}))
            # Those of the first sitting, whatever has been found elsewhere since: a search goes on as it began.
            begun = [Start(**start) for start in self.journal.head()["about"].get("starts", [])]
            return self._go_on(families, work, ended, begun)

    def _go_on(
        self, families: Mapping[str, Family], work: Any, ended: Mapping[int, TrialRecord], starts: Sequence[Start]
    ) -> StudyResult:
        spec = self.spec
        proposer = Proposer(
            families, goal=spec.goal, search=spec.search, seed=spec.seed, starts=starts, ended=ended.values()
        )
        tracking = TrialTracking(self._tracker, spec.name) if self._tracker else None
        ledger = Ledger(
            ended=ended.values(),
            proposer=proposer,
            journal=self.journal,
            goal=spec.goal,
            energy=self._energy,
            gpus=spec.worker.gpus,
            tracking=tracking,
            on_change=self._on_change,
        )
        try:
            if tracking is not None:
                tracking.close_lost_runs()
            ledger.tell_progress()
            reason = spec.budget.reached(ledger.spent()) or (EXHAUSTED if proposer.exhausted() else "")
            reason = reason or self._conduct(proposer, ledger, work())
        finally:
            ledger.abandon()
            if tracking is not None:
                tracking.close()
        return self._result(ledger, reason)

    def _conduct(self, proposer: Proposer, ledger: Ledger, work: Work) -> str:
        import ray

        if not ray.is_initialized():
            raise ConfigError("a study needs a Ray: got none connected, expected a Cluster.open(...) before")
        spec = self.spec
        at_a_time = self._at_a_time()
        crew = RayCrew(work, spec.worker)
        conductor = Conductor(
            proposer=proposer,
            ledger=ledger,
            crew=crew,
            stopping=spec.policy(),
            budget=spec.budget,
            max_concurrent=at_a_time,
            limits=spec.limits,
            population=spec.population(),
        )
        try:
            return conductor.run()
        except KeyboardInterrupt:
            if best_of(ledger.ended) is None:
                raise
            return INTERRUPTED
        finally:
            crew.close()

    def _at_a_time(self) -> int:
        spec = self.spec
        if not spec.train_workers:
            return spec.max_concurrent
        return min(spec.max_concurrent, trials_that_fit(spec.worker, spec.train_workers))

    def _training_folder(self) -> str:
        """Return where the workers of a trial share checkpoints."""
        if not self.spec.train_workers:
            return ""
        if self._storage.local is None:
            raise ConfigError(
                f"trials with training workers share checkpoints in a folder: got {self._storage.url}, expected a "
                "folder that all nodes see, in ML_STORAGE_URL"
            )
        return str(self._storage.local / "studies-training" / self.spec.name)

    def _result(self, ledger: Ledger, reason: str) -> StudyResult:
        trials = tuple(ledger.ended[number] for number in sorted(ledger.ended))
        best = best_of(ledger.ended)
        if best is None:
            raise _nothing_found(self.spec.name, trials)
        return StudyResult(
            name=self.spec.name,
            best=best,
            trials=trials,
            objectives=self.spec.goal.objectives,
            spent=ledger.spent(),
            ended_by=reason,
            interrupted=reason == INTERRUPTED,
        )


def _nothing_found(name: str, trials: Sequence[TrialRecord]) -> PermanentError:
    failed = [each for each in trials if each.status is TrialStatus.FAILED]
    first = f"; the first, {failed[0].model}: {failed[0].error}" if failed else ""
    beyond = sum(each.score is not None for each in trials)
    broken = f", {beyond} break a bound" if beyond else ""
    return PermanentError(
        f"study '{name}' found nothing: {len(failed)} of {len(trials)} trials failed{broken}{first}", study=name
    )


def _marks(split: Split) -> list[str]:
    return [str(split.validation_start), str(split.calibration_start)]
