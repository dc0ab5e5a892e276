"""The contracts of the model families."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, Self

import numpy as np

from cluster.errors import InsufficientHistoryError, NotFittedError, SignatureMismatch, UserError
from training.core.component import Component, State
from training.core.intervals import ConformalIntervals
from training.core.panel import Panel
from training.core.prediction import Prediction, check_levels
from training.core.runner import Backend, Runner
from training.core.space import Space
from training.core.splits import Split
from training.core.windows import Floats, Windows

DEFAULT_LEVELS = (0.05, 0.5, 0.95)


@dataclass(frozen=True, kw_only=True)
class Tags:
    """What a model can do; the exam tests each claim.

    Parameters
    ----------
    backend
        Collective library of its distributed training; None where there is none.
    seeded
        Fitting draws random numbers from the parameter `seed`.
    known_future
        Uses covariates that are known over the horizon.
    """

    backend: Backend | None = None
    seeded: bool = False
    known_future: bool = False


class Estimator(Component):
    """A model of any family."""

    tags: ClassVar[Tags] = Tags()
    excuses: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """Check of the exam -> why it cannot be passed; the exam insists that it still fails."""

    @classmethod
    def search_space(cls) -> Space:
        """Return what a search may vary; empty where there is nothing to search."""
        return {}


class Forecaster(Estimator):
    """Forecasts `horizon` steps of `targets` from the last `context` rows.

    A subclass implements `context`, `fit_windows`, `predict_windows`, `learned` and `relearn`. Everything else is
    here: slicing, checks, intervals, state.
    """

    _horizon: int = 0
    _targets: tuple[str, ...] = ()
    _columns: tuple[str, ...] = ()
    _intervals: ConformalIntervals | None = None

    # -- what a family member writes ---------------------------------------------------------------------------

    @property
    @abstractmethod
    def context(self) -> int:
        """Rows of history that one forecast is computed from."""

    @abstractmethod
    def fit_windows(self, train: Windows, validation: Windows | None, runner: Runner | None) -> None:
        """Learn from windows of `context + horizon` rows; `self.horizon`, `targets`, `columns` are set."""

    @abstractmethod
    def predict_windows(self, context: Windows) -> Floats:
        """Return (N, H, T) for windows of exactly `context` rows in the fitted column order."""

    @abstractmethod
    def learned(self) -> State:
        """Return what `fit_windows` learned."""

    @abstractmethod
    def relearn(self, state: State) -> None:
        """Take back what `learned` gave."""

    # -- what users call ---------------------------------------------------------------------------------------

    @property
    def fitted(self) -> bool:
        """Whether `fit` has run."""
        return self._horizon > 0

    @property
    def horizon(self) -> int:
        """Steps it was fitted to forecast, H."""
        self._need_fit()
        return self._horizon

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the targets, T."""
        self._need_fit()
        return self._targets

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns it was fitted on, in order."""
        self._need_fit()
        return self._columns

    def fit(
        self,
        train: Windows,
        *,
        horizon: int,
        targets: tuple[str, ...],
        validation: Windows | None = None,
        runner: Runner | None = None,
    ) -> Self:
        """Fit on windows of at least `context + horizon` rows, the last `horizon` of which are the future.

        Parameters
        ----------
        train, validation
            Training windows, and later ones for early stopping.
        horizon
            H, steps ahead.
        targets
            T columns of `train` to forecast.
        runner
            Where the training loop runs; this process when None.

        Raises
        ------
        InsufficientHistoryError
            The windows are shorter than `context + horizon`, or there are none.
        """
        train.positions(targets)
        length = self.context + horizon
        late = validation.tail(length) if validation else None
        early = train.tail(length)
        if not len(early):
            raise InsufficientHistoryError(
                f"'{self.name}' has nothing to learn from: got 0 training windows, expected 1 or more of "
                f"{length} rows; give more rows or a smaller window",
                got=0,
                expected=1,
            )
        self._horizon, self._targets, self._columns = horizon, tuple(targets), train.columns
        self._intervals = None
        try:
            self.fit_windows(early, late, runner)
        except BaseException:
            self._horizon = 0  # half a fit is none
            raise
        return self

    def fit_panel(self, panel: Panel, *, horizon: int, split: Split, runner: Runner | None = None) -> Self:
        """Fit on the training part, stop on the validation part, calibrate on the calibration part.

        Raises
        ------
        InsufficientHistoryError
            A part has no window; said before anything is fitted.
        """
        windows = panel.windows(self.context + horizon)
        train = windows.ahead_within(horizon, until=split.validation_start)
        late = windows.ahead_within(horizon, since=split.validation_start, until=split.calibration_start)
        last = windows.ahead_within(horizon, since=split.calibration_start, until=split.test_start)
        for part, cut in (("training", train), ("validation", late), ("calibration", last)):
            if not len(cut):
                raise InsufficientHistoryError(
                    f"the {part} part is too short: got no window of {self.context} + {horizon} rows, expected "
                    "1 or more; give more rows, a shorter horizon or a smaller window",
                    part=part,
                    got=0,
                    expected=1,
                )
        self.fit(train, horizon=horizon, targets=panel.schema.target_names, validation=late, runner=runner)
        return self.calibrate(last)

    def predict(self, context: Windows) -> Floats:
        """Return (N, H, T) point forecasts after each window of `context` rows or more."""
        self._need_fit()
        if context.columns != self._columns:
            raise SignatureMismatch(
                f"'{self.name}' was fitted on other columns: got {context.columns}, expected {self._columns}"
            )
        return self.predict_windows(context.tail(self.context))

    def calibrate(self, windows: Windows) -> Self:
        """Learn intervals from windows of `context + horizon` rows that fitting has not seen."""
        if not len(windows):
            raise InsufficientHistoryError(
                f"'{self.name}' cannot be calibrated: got 0 windows, expected 1 or more", got=0, expected=1
            )
        context, future = windows.split(self.horizon)
        self._intervals = ConformalIntervals.fit(future.select(self.targets), self.predict(context))
        return self

    @property
    def intervals(self) -> ConformalIntervals:
        """The calibrated intervals."""
        if self._intervals is None:
            raise NotFittedError(f"'{self.name}' has no intervals yet: call calibrate() or fit_panel() first")
        return self._intervals

    def forecast(
        self,
        history: Panel,
        horizon: int | None = None,
        future: Panel | None = None,
        levels: tuple[float, ...] = DEFAULT_LEVELS,
    ) -> Prediction:
        """Forecast each series of `history`.

        Parameters
        ----------
        history
            N series of at least `context` rows.
        horizon
            Steps ahead, at most the fitted horizon, which is the default.
        future
            Known covariates over the horizon; refused by a model that does not use them.
        levels
            Quantile levels, increasing within (0, 1).

        Raises
        ------
        InsufficientHistoryError
            A series is shorter than `context`.
        UserError
            The horizon is longer than the fitted one, or `future` was given to a model without known_future.
        """
        if future is not None and not self.tags.known_future:
            raise UserError(f"'{self.name}' uses no known future covariates: leave `future` out")
        steps = check_horizon(horizon, self.horizon)
        context = history.last(self.context)
        return self.describe(context, self.predict(context), steps, levels)

    def describe(
        self, context: Windows, point: Floats, steps: int, levels: tuple[float, ...] = DEFAULT_LEVELS
    ) -> Prediction:
        """Return the Prediction around `point` (N, H, T): times, quantiles, confidence; the first `steps` steps."""
        values = self.intervals.quantiles(point, check_levels(levels))
        return Prediction(
            ids=context.ids,
            origins=context.last_times,
            timestamps=context.future_times(steps),
            targets=self.targets,
            point=point[:, :steps],
            levels=tuple(levels),
            values=values[:, :steps],
            confidence=self.intervals.confidence(point)[:, :steps],
            model=self.name,
        )

    # -- artifacts ---------------------------------------------------------------------------------------------

    def state(self) -> State:
        """Return all that fitting and calibration learned."""
        if not self.fitted:
            return {}
        return {
            "horizon": self._horizon,
            "targets": list(self._targets),
            "columns": list(self._columns),
            "intervals": self._intervals.state() if self._intervals else None,
            "learned": self.learned(),
        }

    def restore(self, state: State) -> None:
        """Take back what `state` gave."""
        if not state:
            return
        self._horizon = int(state["horizon"])
        self._targets, self._columns = tuple(state["targets"]), tuple(state["columns"])
        intervals = state["intervals"]
        self._intervals = ConformalIntervals(np.asarray(intervals["errors"])) if intervals else None
        self.relearn(state["learned"])

    def _need_fit(self) -> None:
        if not self.fitted:
            raise NotFittedError(f"'{self.name}' is not fitted: call fit() first")


def check_horizon(asked: int | None, fitted: int) -> int:
    """Return how many steps to give; raise UserError unless 1 <= asked <= fitted."""
    if asked is None:
        return fitted
    if not 1 <= asked <= fitted:
        raise UserError(
            f"horizon: got {asked}, expected 1 .. {fitted}, the horizon this model was trained for",
            field="horizon",
            got=asked,
            expected=f"1 .. {fitted}",
        )
    return asked
