"""What a trial does: fit one candidate on one fold's training rows, and answer the rows it is judged on."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from cluster.clock import Clock
from training.core.component import State
from training.core.table import Rows, Table, TableTask, Values
from training.core.tabular import Classifier, Regressor
from training.core.windows import Floats
from training.tabular import REGRESSORS
from training.tabular.bending import bent, learn_bend
from training.tabular.encoding import TableEncoder
from training.tabular.ensemble import Member, make
from tuning.automl.candidate import Candidate, kind_of, view_of
from tuning.automl.rows import RowFold

ALL_ROWS = -1
"""In place of a fold: fitted on every row, judged on none."""

Encoded = tuple[TableEncoder, Floats, Floats]
"""An encoder, its training rows and those it is judged on, as numbers."""


@dataclass(frozen=True, kw_only=True)
class Material:
    """What all trials of a run share.

    Parameters
    ----------
    table, target
        All rows that may be learned from.
    task
        What is predicted.
    classes
        How many there are; 0 in a regression.
    folds
        Which rows are learned from and judged on.
    ordered
        Whether the rows are in time.
    seed
        Of the encoders.
    """

    table: Table
    target: Values
    task: TableTask
    classes: int
    folds: tuple[RowFold, ...]
    ordered: bool
    seed: int

    def rows(self, fold: int) -> tuple[Rows, Rows]:
        """Return the rows of a fold that are learned from and judged on."""
        if fold == ALL_ROWS:
            return np.arange(len(self.target)), np.arange(0)
        return self.folds[fold].train, self.folds[fold].validation


@dataclass(frozen=True, kw_only=True)
class Assigned:
    """One fit to do.

    Parameters
    ----------
    number
        Of the candidate in the run.
    candidate
        What is fitted.
    fold
        Position of the fold, or ALL_ROWS.
    limit_s
        Seconds after which growing ends with what there is.
    stage
        Rounds of a staged family where they are known; 0 lets the held-out rows say.
    """

    number: int
    candidate: Candidate
    fold: int
    limit_s: float
    stage: int = 0


@dataclass(frozen=True, kw_only=True)
class Fit:
    """What a trial made.

    Parameters
    ----------
    assigned
        What was asked for.
    encoder, model, bend
        The fitted parts.
    outputs
        (M, G) for the rows it is judged on, in the target's unit or as probabilities.
    inputs
        Those rows as numbers, to answer as of another round.
    fit_s, predict_s
        Seconds of encoding and fitting, and of answering.
    """

    assigned: Assigned
    encoder: TableEncoder
    model: Regressor | Classifier
    bend: State
    outputs: Floats
    inputs: Floats
    fit_s: float
    predict_s: float

    def member(self, encoder: int, candidate: int) -> Member:
        """Return it as a part of an ensemble."""
        return Member(model=self.model, encoder=encoder, candidate=candidate, bend=self.bend)

    def at_stage(self, stage: int) -> Floats:
        """Let the model answer as of another round from now on; return its (M, G) outputs then."""
        self.model.at_stage(stage)
        return self.member(0, 0).outputs(self.inputs)


@dataclass
class Trials:
    """Does fits in one process; encoders are shared by candidates that want the same inputs.

    Parameters
    ----------
    material
        Data and folds.
    clock
        Measures the fits, and ends them in time.
    """

    material: Material
    clock: Clock
    _encoded: dict[tuple[int, str], Encoded] = field(default_factory=dict)

    def __post_init__(self) -> None:
        load_families(self.material.task)

    def run(self, assigned: Assigned) -> Fit:
        """Fit one candidate on one fold."""
        candidate, material = assigned.candidate, self.material
        started_s = self.clock.now_s()
        encoder, train, judged = self._inputs(candidate, assigned.fold)
        learned, late = material.rows(assigned.fold)
        target = material.target.astype(np.float64) if not material.classes else material.target
        bend = learn_bend(target[learned]) if candidate.bend else {}
        aim = bent(target, bend) if bend else target
        params = dict(candidate.params) | ({"rounds": assigned.stage} if assigned.stage else {})
        model = make(material.task, candidate.family, params)
        held_out = (judged, aim[late]) if len(late) else None
        until = self._until(started_s + assigned.limit_s)
        if isinstance(model, Classifier):
            model.fit(train, material.target[learned], classes=material.classes, held_out=held_out, until=until)
        else:
            model.fit(train, aim[learned], held_out=held_out, until=until)
        fitted_s = self.clock.now_s()
        outputs = Member(model=model, encoder=0, candidate=0, bend=bend).outputs(judged)
        return Fit(
            assigned=assigned,
            encoder=encoder,
            model=model,
            bend=bend,
            outputs=outputs,
            inputs=judged,
            fit_s=fitted_s - started_s,
            predict_s=self.clock.now_s() - fitted_s,
        )

    def _until(self, deadline_s: float) -> Callable[[], bool]:
        return lambda: self.clock.now_s() >= deadline_s

    def _inputs(self, candidate: Candidate, fold: int) -> Encoded:
        material = self.material
        params = {
            "view": view_of(material.task, candidate.family),
            "elapsed": not material.ordered,
            "seed": material.seed,
            **candidate.inputs,
        }
        key = (fold, json.dumps(params, sort_keys=True))
        if key not in self._encoded:
            learned, late = material.rows(fold)
            encoder = TableEncoder(**params)
            train = encoder.fit_transform(material.table.take(learned), material.target[learned], material.classes)
            found = (encoder, train, encoder.transform(material.table.take(late)))
            if candidate.draw is not None:
                return found  # what a search made up is seldom asked for again
            self._encoded[key] = found
        return self._encoded[key]


def load_families(task: TableTask) -> None:
    """Fit every family on a few rows: the first fit of a process loads libraries, and would be judged by that."""
    inputs = np.arange(40, dtype=np.float64).reshape(20, 2) % 7
    labels = np.arange(20, dtype=np.int64) % 2
    for family in REGRESSORS:
        kind = kind_of(task, family)
        smallest = {name: 1 for name in ("rounds", "trees") if name in kind.parameter_names()}
        model = make(task, family, kind.example_params() | smallest)
        if isinstance(model, Classifier):
            model.fit(inputs, labels, classes=2)
        else:
            model.fit(inputs, labels.astype(np.float64))
