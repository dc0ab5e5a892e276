"""The run: race the candidates, blend the best, fit what the blend needs, all in a given time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from cluster.clock import Clock, SystemClock
from cluster.errors import PermanentError
from training.core.parameters import real, whole
from training.core.table import Table, TableSchema, Values
from training.tabular.bending import SKEWED, skewness
from training.tabular.ensemble import TabularEnsemble
from tuning.automl.blending import LIBRARY, Blending, choose_blend
from tuning.automl.closing import Closing, plan_closing
from tuning.automl.leaderboard import Row, rows_of
from tuning.automl.portfolio import portfolio
from tuning.automl.proposals import Proposals
from tuning.automl.race import Race
from tuning.automl.rows import folds_of
from tuning.automl.seen import Seen
from tuning.automl.trial import Assigned, Fit, Material
from tuning.automl.workers import Ended, InProcess, Workers
from tuning.energy import EnergyModel

FEW_ROWS = 600
"""Below, folds are repeated with other shuffles where there is time: one shuffle says little."""
FEW_REPEATS, FOLDS, ORDERED_FOLDS = 3, 5, 3
CLOSED_SHARE = 0.97
"""Share of the budget after which nothing is fitted: what is left puts the ensemble together."""
OnStep = Callable[[float, str], None]
"""Hears the seconds that have passed, and what was done."""
MakeWorkers = Callable[[Material, Clock], Workers]


@dataclass(frozen=True, kw_only=True)
class AutoMLSpec:
    """What a run may take.

    Parameters
    ----------
    budget_s
        Seconds in all, above 0.
    ordered
        The rows are in time: they are judged on later rows than those learned from, and the winners are fitted on
        all rows at the end.
    search
        Searcher after the portfolio: `tpe`, `gaussian_process` or `random`.
    seed
        Of everything that draws.
    """

    budget_s: float = 60.0
    ordered: bool = False
    search: str = "tpe"
    seed: int = 0

    def __post_init__(self) -> None:
        real("budget_s", self.budget_s, low=0, above=True)
        whole("seed", self.seed, low=0)


@dataclass(frozen=True, kw_only=True)
class AutoMLResult:
    """What a run found.

    Parameters
    ----------
    ensemble
        Fitted: predicts, is saved, registered and served.
    leaderboard
        A row a candidate, the best first.
    blending
        How and why the candidates are blended.
    tried, failed
        Candidates in all, and those that could not be fitted.
    elapsed_s
        Seconds that the run took.
    """

    ensemble: TabularEnsemble
    leaderboard: tuple[Row, ...]
    blending: Blending
    tried: int
    failed: int
    elapsed_s: float


class AutoML:
    """Finds an ensemble for a table in a given time.

    Parameters
    ----------
    spec
        What the run may take.
    workers
        Makes who does the fits, for the run's data; this process when None.
    clock
        Keeps the time.
    energy
        Turns the fits' seconds into energy and carbon.
    on_step
        Hears of progress.
    """

    def __init__(
        self,
        spec: AutoMLSpec,
        *,
        workers: MakeWorkers | None = None,
        clock: Clock | None = None,
        energy: EnergyModel | None = None,
        on_step: OnStep | None = None,
    ) -> None:
        self.spec = spec
        self._make_workers = workers or InProcess
        self._clock = clock or SystemClock()
        self._energy = energy or EnergyModel()
        self._on_step = on_step

    def fit(self, table: Table, target: Values, schema: TableSchema) -> AutoMLResult:
        """Return the best ensemble that the time allows; on Ctrl-C, of the candidates that are through by then.

        Parameters
        ----------
        table, target
            N rows, and (N,) numbers or positions of the schema's classes.
        schema
            What they are.

        Raises
        ------
        InsufficientHistoryError
            There are too few rows.
        PermanentError
            Every candidate failed; the message has the first one's cause.
        KeyboardInterrupt
            Ctrl-C before any candidate was through.
        """
        self._started_s = self._clock.now_s()
        material = self._material(table, target, schema)
        skewed = not material.classes and abs(skewness(np.asarray(target, dtype=np.float64))) > SKEWED
        seen = Seen(material)
        proposals = Proposals(
            schema.task,
            seen.ranking,
            skewed=skewed,
            search=self.spec.search,
            rows=len(target),
            seed=self.spec.seed,
        )
        workers = self._make_workers(material, self._clock)
        race = Race(
            portfolio(schema.task, len(target), skewed=skewed, seed=self.spec.seed),
            proposals.propose,
            openings=_openings(material),
            rows=sum(len(fold.validation) for fold in material.folds if fold.repeat == 0),
            budget_s=self.spec.budget_s,
            started_s=self._elapsed_s(),
            ordered=self.spec.ordered,
        )
        self._interrupted = False
        try:
            self._explore(race, workers, seen, proposals)
            return self._chosen(schema, seen, race, workers)
        except KeyboardInterrupt:
            if not seen.best(race.opening):
                raise
            self._interrupted = True
            return self._chosen(schema, seen, race, workers)
        finally:
            workers.close()

    def _chosen(self, schema: TableSchema, seen: Seen, race: Race, workers: Workers) -> AutoMLResult:
        if not seen.best(race.opening):
            race.opening = (0,)  # time was up before anybody was through: the first fold must do
            for number in list(seen.fits):
                seen.settle(number, race.opening)
        best = seen.best(race.opening)[:LIBRARY]
        if not best:
            raise PermanentError(f"no candidate could be fitted: {next(iter(seen.errors.values()), 'no time')}")
        return self._finish(schema, best, seen, race, workers)

    def _material(self, table: Table, target: Values, schema: TableSchema) -> Material:
        few, classes = len(target) < FEW_ROWS, len(schema.classes)
        return Material(
            table=table,
            target=target,
            task=schema.task,
            classes=classes,
            folds=folds_of(
                target,
                classes=classes,
                count=ORDERED_FOLDS if self.spec.ordered else FOLDS,
                repeats=FEW_REPEATS if few else 1,
                ordered=self.spec.ordered,
                seed=self.spec.seed,
            ),
            ordered=self.spec.ordered,
            seed=self.spec.seed,
        )

    def _elapsed_s(self) -> float:
        return self._clock.now_s() - self._started_s

    def _explore(self, race: Race, workers: Workers, seen: Seen, proposals: Proposals) -> None:
        while True:
            assigned = race.next(self._elapsed_s()) if workers.free else None
            if assigned is not None:
                workers.submit(assigned)
                continue
            if not workers.busy:
                return
            least_s = 0.0 if seen.fits else self.spec.budget_s  # without any fit there is nothing to end with
            ended = workers.wait(max(race.until_s - self._elapsed_s(), least_s))
            if ended is None:
                return  # time is up, and what is still on its way comes too late
            self._learn(ended, race, seen, proposals)

    def _learn(self, ended: Ended, race: Race, seen: Seen, proposals: Proposals) -> None:
        candidate = ended.assigned.candidate
        if isinstance(ended, Fit):
            score = seen.add(ended)
            race.tell(ended.assigned, score=score, took_s=ended.fit_s + ended.predict_s)
            course = race.courses[ended.assigned.number]
            if course.dropped or set(race.opening) <= set(course.scores):
                seen.settle(ended.assigned.number, race.opening)
                proposals.tell(candidate, course.score(course.scores))
            self._say(f"{candidate.label}: {score:.4g}")
        else:
            seen.errors[ended.assigned.number] = ended.error
            race.fail(ended.assigned, ended.error)
            proposals.tell(candidate, None)
            self._say(f"{candidate.label} failed: {ended.error}")

    def _say(self, what: str) -> None:
        if self._on_step:
            self._on_step(self._elapsed_s(), what)

    def _finish(
        self, schema: TableSchema, best: list[int], seen: Seen, race: Race, workers: Workers
    ) -> AutoMLResult:
        outputs, truth = seen.stacked(best, race.opening)
        families = [seen.candidate(number).family for number in best]
        blending = choose_blend(outputs, truth, families, ordered=self.spec.ordered, seed=self.spec.seed)
        used = [at for at in np.argsort(-blending.blend.weights, kind="stable") if blending.blend.weights[at] > 0]
        self._say(f"blend: {blending.why}")
        for assigned in plan_closing(
            [self._closing(best[at], seen) for at in used],
            folds=sum(fold.repeat == 0 for fold in seen.material.folds),
            ordered=self.spec.ordered,
            rows=len(seen.material.target),
            left_s=self.spec.budget_s * CLOSED_SHARE - self._elapsed_s(),
        ):
            self._close(assigned, seen, workers)
        errors = np.empty(0)
        if not schema.classes:
            errors = truth - blending.blend.apply(outputs)[:, 0]
        encoders, members = seen.members([best[at] for at in used])
        ensemble = TabularEnsemble.of(
            schema, encoders, members, blending.blend.only([int(at) for at in used]), errors
        )
        weights = {best[at]: float(blending.blend.weights[at]) for at in used}
        rows = rows_of(seen, best, weights, race.opening, self._energy)
        return AutoMLResult(
            ensemble=ensemble,
            leaderboard=rows,
            blending=blending,
            tried=len(race.courses),
            failed=len(seen.errors),
            elapsed_s=self._elapsed_s(),
        )

    def _closing(self, number: int, seen: Seen) -> Closing:
        return Closing(
            number=number,
            candidate=seen.candidate(number),
            done=tuple(seen.fits[number]),
            fold_s=max(fit.fit_s for fit in seen.fits[number].values()),
            fold_rows=max(len(seen.material.folds[fold].train) for fold in seen.fits[number]),
            stage=seen.stage(number),
        )

    def _close(self, assigned: Assigned, seen: Seen, workers: Workers) -> None:
        left_s = self.spec.budget_s * CLOSED_SHARE - self._elapsed_s()
        if left_s <= 0 or self._interrupted:
            return
        while not workers.free:
            if workers.wait(left_s) is None:  # a straggler of the search: too late to count
                return
        workers.submit(assigned)
        ended = workers.wait(left_s)
        if isinstance(ended, Fit) and ended.assigned == assigned:
            seen.fits[assigned.number][assigned.fold] = ended
            self._say(f"{assigned.candidate.label}: fitted for the ensemble")


def _openings(material: Material) -> tuple[tuple[int, ...], ...]:
    """Return which folds candidates may be compared on: all, those of one shuffle, the first alone."""
    one = sum(fold.repeat == 0 for fold in material.folds)
    sizes = dict.fromkeys((len(material.folds), one, 1))
    return tuple(tuple(range(size)) for size in sizes)
