"""The contracts of the families that learn from rows of numbers: `Regressor` and `Classifier`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

import numpy as np

from cluster.errors import DataError, NotFittedError, SignatureMismatch, TrainingDiverged
from training.core.component import State
from training.core.estimator import Estimator, Tags
from training.core.table import Labels, Values
from training.core.windows import Floats

View = Literal["plain", "standard", "robust"]
"""How a family wants its inputs: as they are with NaN where missing; standardised; or standardised with tails bent
in. The last two have no missing values."""

Until = Callable[[], bool]
"""Asked now and then while fitting: whether to end with what there is."""

HeldOut = tuple[Floats, Values]
"""Rows (M, F) and their targets (M,), by which a family may say when to stop; it learns nothing else from them."""


@dataclass(frozen=True, kw_only=True)
class TabularTags(Tags):
    """What a family can do; the exam tests each claim.

    Parameters
    ----------
    view
        How it wants its inputs.
    staged
        It grows in rounds and has a best one: `stage` says which, `at_stage` answers as of another.
    """

    view: View = "plain"
    staged: bool = False


class Tabular(Estimator):
    """What regressors and classifiers have in common: a member writes `learn`, `answer`, `learned`, `relearn`.

    Answers have G columns: one in a regression, whose target members see centred and scaled; one probability a
    class in a classification.
    """

    tags: ClassVar[Tags] = TabularTags()

    _inputs: int = 0
    _outputs: int = 0

    # -- what a family member writes ---------------------------------------------------------------------------

    @abstractmethod
    def learn(self, inputs: Floats, target: Values, held_out: HeldOut | None, until: Until) -> None:
        """Learn from (N, F) inputs; the target is (N,) centred and scaled, or positions of classes."""

    @abstractmethod
    def answer(self, inputs: Floats) -> Floats:
        """Return (N, G)."""

    @abstractmethod
    def learned(self) -> State:
        """Return what `learn` learned."""

    @abstractmethod
    def relearn(self, state: State) -> None:
        """Take back what `learned` gave."""

    @property
    def stage(self) -> int:
        """The round it answers from, where it is tagged `staged`."""
        return 0

    def at_stage(self, stage: int) -> Self:  # noqa: ARG002 - of families without rounds
        """Answer as of another round, at most the last that was grown; return self."""
        return self

    # -- what users call ---------------------------------------------------------------------------------------

    @property
    def fitted(self) -> bool:
        """Whether `fit` has run."""
        return self._inputs > 0

    @property
    def inputs(self) -> int:
        """Columns it was fitted on, F."""
        if not self.fitted:
            raise NotFittedError(f"'{self.name}' is not fitted: call fit() first")
        return self._inputs

    def _fit(self, inputs: Floats, target: Values, held_out: HeldOut | None, until: Until | None) -> None:
        if inputs.ndim != 2 or not inputs.shape[1] or len(inputs) != len(target) or len(target) < 2:
            raise DataError.at(
                f"'{self.name}' cannot learn from this",
                got=f"inputs of shape {inputs.shape} and {len(target)} targets",
                expected="two or more rows of one or more columns, a target each",
            )
        self._inputs = inputs.shape[1]
        try:
            self.learn(inputs, target, held_out, until or _never)
        except BaseException:
            self._inputs = 0  # half a fit is none
            raise

    def _answered(self, inputs: Floats) -> Floats:
        if inputs.ndim != 2 or inputs.shape[1] != self.inputs:
            raise SignatureMismatch(
                f"'{self.name}' was fitted on other columns: got inputs of shape {inputs.shape}, "
                f"expected {self.inputs} columns"
            )
        answers = self.answer(inputs) if len(inputs) else np.empty((0, self._outputs))
        if not np.isfinite(answers).all():
            raise TrainingDiverged(
                f"'{self.name}' gives no numbers: got NaN or infinity for "
                f"{int((~np.isfinite(answers).all(axis=1)).sum())} of {len(inputs)} rows; try stronger penalties"
            )
        return answers

    def state(self) -> State:
        """Return all that fitting learned."""
        if not self.fitted:
            return {}
        return {"inputs": self._inputs, "outputs": self._outputs, "learned": self.learned(), **self._more()}

    def restore(self, state: State) -> None:
        """Take back what `state` gave."""
        if state:
            self._inputs, self._outputs = state["inputs"], state["outputs"]
            self._take_more(state)
            self.relearn(state["learned"])

    def _more(self) -> State:
        return {}

    def _take_more(self, state: State) -> None:
        """Take back what `_more` gave."""


class Regressor(Tabular):
    """Predicts a number from a row."""

    _centre: float = 0.0
    _scale: float = 1.0

    def fit(
        self, inputs: Floats, target: Floats, *, held_out: HeldOut | None = None, until: Until | None = None
    ) -> Self:
        """Fit on rows and their targets.

        Parameters
        ----------
        inputs
            (N, F) in the `view` its tag names.
        target
            (N,) finite.
        held_out
            Later or other rows, to stop by.
        until
            Ends the fit early where it says so; what was learned by then counts.

        Raises
        ------
        DataError
            The shapes do not fit, or a target is not finite.
        """
        if not np.isfinite(target).all():
            raise DataError.at("a target cannot be learned", got="NaN or infinity", expected="finite numbers")
        self._centre, self._scale = float(target.mean()), float(target.std()) or 1.0
        self._outputs = 1
        late = held_out and (held_out[0], (held_out[1] - self._centre) / self._scale)
        self._fit(inputs, (target - self._centre) / self._scale, late, until)
        return self

    def predict(self, inputs: Floats) -> Floats:
        """Return (N,) predictions in the target's unit.

        Raises
        ------
        SignatureMismatch
            It was fitted on another number of columns.
        """
        values: Floats = self._answered(inputs)[:, 0] * self._scale + self._centre
        return values

    def _more(self) -> State:
        return {"centre": self._centre, "scale": self._scale}

    def _take_more(self, state: State) -> None:
        self._centre, self._scale = state["centre"], state["scale"]


class Classifier(Tabular):
    """Gives each class of a row a probability."""

    @property
    def classes(self) -> int:
        """How many classes there are, K."""
        return self._outputs

    def fit(
        self,
        inputs: Floats,
        labels: Labels,
        *,
        classes: int,
        held_out: HeldOut | None = None,
        until: Until | None = None,
    ) -> Self:
        """Fit on rows and their classes.

        Parameters
        ----------
        inputs
            (N, F) in the `view` its tag names.
        labels
            (N,) from 0 to `classes` - 1; a class may be missing here, and then has a small probability.
        classes
            K, 2 or more.
        held_out, until
            As in `Regressor.fit`.

        Raises
        ------
        DataError
            The shapes do not fit, or a label is out of range.
        """
        if classes < 2 or (len(labels) and (labels.min() < 0 or labels.max() >= classes)):
            raise DataError.at("labels cannot be learned", got=sorted(set(labels)), expected=f"0 .. {classes - 1}")
        self._outputs = classes
        self._fit(inputs, labels, held_out, until)
        return self

    def probabilities(self, inputs: Floats) -> Floats:
        """Return (N, K) probabilities, each row's sum 1.

        Raises
        ------
        SignatureMismatch
            It was fitted on another number of columns.
        """
        return self._answered(inputs)


def _never() -> bool:
    return False


def softmax(scores: Floats) -> Floats:
    """Return (N, K) probabilities from scores whose differences are log odds."""
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares: Floats = powers / powers.sum(axis=1, keepdims=True)
    return shares


def one_hot(labels: Labels, classes: int) -> Floats:
    """Return (N, K) with a 1 at each row's class."""
    return np.eye(classes)[labels]


def priors(labels: Labels, classes: int) -> Floats:
    """Return (K,) shares of the classes, none of them 0: each is counted once more than seen."""
    counts = np.bincount(labels, minlength=classes) + 1.0
    shares: Floats = counts / counts.sum()
    return shares


def log_loss(labels: Labels, probabilities: Floats) -> float:
    """Return the mean of minus the logarithm of the true class's probability, at least 1e-15."""
    return float(-np.log(probabilities[np.arange(len(labels)), labels].clip(1e-15)).mean())
