"""What an ensemble does on rows that nothing was fitted or chosen on, beside the simplest answer that there is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.core.table import Table, Values
from training.core.tabular import log_loss, priors
from training.core.windows import Floats
from training.evaluation.gate import Bar, Verdict
from training.tabular.ensemble import TabularEnsemble

BASELINE = "constant"
"""Answers the mean of the training rows, or the shares of their classes, whatever is asked."""


@dataclass(frozen=True, kw_only=True)
class JudgedTable:
    """Figures on rows held out.

    Parameters
    ----------
    metrics, baseline
        Name -> figure, of the ensemble and of the constant answer, as far as that has one.
    verdict
        Whether it may be registered.
    rows
        How many there were.
    """

    metrics: dict[str, float]
    baseline: dict[str, float]
    verdict: Verdict
    rows: int

    def figures(self, name: str) -> list[dict[str, object]]:
        """Return a row a figure."""
        return [
            {"figure": figure.replace("_", " "), name: value, BASELINE: self.baseline.get(figure)}
            for figure, value in self.metrics.items()
        ]


def judge_table(ensemble: TabularEnsemble, table: Table, truth: Values, learned: Values) -> JudgedTable:
    """Judge on rows held out.

    Parameters
    ----------
    table, truth
        The rows, and their targets.
    learned
        Targets of the training rows: what the constant answer is made of.
    """
    said = ensemble.predict(table)
    if said.probabilities is not None:
        classes = len(said.classes)
        constant = np.tile(priors(learned, classes), (len(truth), 1))
        ours, base = _of_classes(truth, said.probabilities), _of_classes(truth, constant)
        first = "log_loss"
    else:
        mean = np.full(len(truth), float(learned.mean()))
        ours, base = _of_numbers(truth, np.asarray(said.values)), _of_numbers(truth, mean)
        ours |= {"coverage_90": float(((truth >= said.low) & (truth <= said.high)).mean())}
        first = "rmse"
    return JudgedTable(metrics=ours, baseline=base, verdict=_verdict(first, ours, base), rows=len(truth))


def _of_numbers(truth: Values, said: Floats) -> dict[str, float]:
    errors = said - truth
    spread = float(np.square(truth - truth.mean()).mean())
    return {
        "rmse": float(np.sqrt(np.square(errors).mean())),
        "mae": float(np.abs(errors).mean()),
        "r2": 1 - float(np.square(errors).mean()) / spread if spread else float("nan"),
    }


def _of_classes(truth: Values, shares: Floats) -> dict[str, float]:
    return {"log_loss": log_loss(truth, shares), "accuracy": float((shares.argmax(axis=1) == truth).mean())}


def _verdict(first: str, ours: dict[str, float], base: dict[str, float]) -> Verdict:
    margin = base[first] - ours[first]
    label = first.replace("_", " ")
    bar = Bar(
        name=first,
        got=ours[first],
        needed=base[first],
        margin=margin,
        passed=margin > 0,
        reason=f"{label} {ours[first]:.4g} is {abs(margin):.4g} {'below' if margin > 0 else 'above'} the "
        f"{BASELINE} answer's {base[first]:.4g}",
    )
    return Verdict(candidate=TabularEnsemble.name, baseline=BASELINE, bars=(bar,))
