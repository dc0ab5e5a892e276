"""What the fits of a run have shown so far: outputs for rows not seen, models, encoders."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from training.core.table import Rows, Values
from training.core.tabular import TabularTags
from training.core.windows import Floats
from training.tabular.encoding import TableEncoder
from training.tabular.ensemble import Member
from tuning.automl.blending import LIBRARY, row_losses
from tuning.automl.candidate import Candidate
from tuning.automl.trial import ALL_ROWS, Fit, Material


class Seen:
    """Keeps fits by candidate and fold, and the scores of those that are through.

    Parameters
    ----------
    material
        Data and folds.
    """

    def __init__(self, material: Material) -> None:
        self.material = material
        self.fits: dict[int, dict[int, Fit]] = {}
        self.scores: dict[int, float] = {}
        self.spent_s: dict[int, float] = {}
        self.errors: dict[int, str] = {}

    def add(self, fit: Fit) -> float:
        """Keep a fit; return its score on the rows that it is judged on."""
        number, fold = fit.assigned.number, fit.assigned.fold
        self.fits.setdefault(number, {})[fold] = fit
        self.spent_s[number] = self.spent_s.get(number, 0.0) + fit.fit_s
        return self._score(fit.outputs, self.material.target[self.material.rows(fold)[1]])

    def settle(self, number: int, folds: Sequence[int]) -> None:
        """Score a candidate that is through; forget the models of one that no blend will choose.

        Models that grow in rounds all answer as of the mean of their best ones, so that no held-out part chooses
        when its own model stopped.
        """
        fits = self.fits[number]
        if not set(folds) <= set(fits):
            del self.fits[number]
            return
        if len(fits) > 1 and self.staged(number):
            stage = self.stage(number)
            for fold, fit in tuple(fits.items()):
                fits[fold] = replace(fit, outputs=fit.at_stage(stage))
        outputs, truth = self.stacked([number], folds)
        self.scores[number] = self._score(outputs[0], truth)
        for each in self.best(folds)[LIBRARY:]:
            self.fits.pop(each, None)

    def candidate(self, number: int) -> Candidate:
        """Return a candidate that has fits."""
        return next(iter(self.fits[number].values())).assigned.candidate

    def staged(self, number: int) -> bool:
        """Return whether a candidate's family grows in rounds."""
        tags = next(iter(self.fits[number].values())).model.tags
        return isinstance(tags, TabularTags) and tags.staged

    def stage(self, number: int) -> int:
        """Return the mean of the best rounds over the folds; 0 for families without rounds."""
        if not self.staged(number):
            return 0
        stages = [fit.model.stage for fold, fit in self.fits[number].items() if fold != ALL_ROWS]
        return max(1, round(float(np.mean(stages))))

    def best(self, folds: Sequence[int]) -> list[int]:
        """Return the candidates that did all these folds and are still there, the best first."""
        done = [number for number in self.scores if set(folds) <= set(self.fits.get(number, ()))]
        return sorted(done, key=lambda number: (self.scores[number], number))

    def ranking(self) -> list[tuple[Candidate, float]]:
        """Return the candidates that are still there with their scores, the best first."""
        ranked = sorted(self.scores, key=lambda number: (self.scores[number], number))
        return [(self.candidate(number), self.scores[number]) for number in ranked if number in self.fits]

    def stacked(self, numbers: Sequence[int], folds: Sequence[int]) -> tuple[Floats, Values]:
        """Return (C, N, G) outputs for the rows of some folds, means over the repeats, and (N,) the truth."""
        rows = self._rows(folds)
        place = {int(row): at for at, row in enumerate(rows)}
        out = []
        for number in numbers:
            fits = self.fits[number]
            sums, counts = np.zeros((len(rows), fits[folds[0]].outputs.shape[1])), np.zeros(len(rows))
            for fold in folds:
                at = np.array([place[int(row)] for row in self.material.rows(fold)[1]])
                sums[at] += fits[fold].outputs
                counts[at] += 1
            out.append(sums / counts[:, None])
        return np.stack(out), self.material.target[rows]

    def members(self, numbers: Sequence[int]) -> tuple[list[TableEncoder], list[Member]]:
        """Return the encoders and members of an ensemble of some candidates, in their order."""
        encoders: dict[tuple[int, str], TableEncoder] = {}
        members = []
        for at, number in enumerate(numbers):
            for fit in self.chosen(number):
                key = (
                    fit.assigned.fold,
                    json.dumps(fit.encoder.params()),
                )  # the same rows and settings learn the same
                encoders.setdefault(key, fit.encoder)
                members.append(fit.member(list(encoders).index(key), at))
        return list(encoders.values()), members

    def chosen(self, number: int) -> list[Fit]:
        """Return the fits that stand for a candidate: that on all rows; else those of the first repeat's folds.

        Of rows in time it is the newest fold's, which is the first and has the most rows.
        """
        fits = self.fits[number]
        if ALL_ROWS in fits:
            return [fits[ALL_ROWS]]
        if self.material.ordered:
            return [fits[min(fits)]]
        return [fit for fold, fit in sorted(fits.items()) if self.material.folds[fold].repeat == 0]

    def _rows(self, folds: Sequence[int]) -> Rows:
        return np.unique(np.concatenate([self.material.rows(fold)[1] for fold in folds]))

    def _score(self, outputs: Floats, truth: Values) -> float:
        loss = float(row_losses(outputs, truth).mean())
        return loss if self.material.classes else float(np.sqrt(loss))
