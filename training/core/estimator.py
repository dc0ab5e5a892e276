"""The contracts of the model families."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import ClassVar, Self

import pandas as pd

from cluster.errors import InsufficientHistoryError, NotFittedError, SignatureMismatch, UnknownNameError, UserError
from training.core.adaptive import SeriesIntervals
from training.core.component import Component, State
from training.core.future import rows_ahead
from training.core.intervals import ConformalIntervals, bounds_of, restlessness
from training.core.panel import Panel
from training.core.prediction import Prediction, check_horizon, check_levels
from training.core.runner import Backend, Runner
from training.core.schema import Schema
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
    past_covariates
        Uses the history of columns that are no targets.
    static
        Uses covariates that are constant within a series.
    """

    backend: Backend | None = None
    seeded: bool = False
    known_future: bool = False
    past_covariates: bool = False
    static: bool = False


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

    ahead: tuple[str, ...] | None = None
    """Which of the columns known ahead it uses; all when None. Families that let the user choose have a parameter
    of this name."""

    together: ClassVar[int] = 1
    """`predict` fills batches up to a multiple of this. 4 where matrices are multiplied: with fewer rows sums are
    ordered differently, and a forecast's last bits would depend on its company. The exam checks it to the bit."""

    _horizon: int = 0
    _targets: tuple[str, ...] = ()
    _columns: tuple[str, ...] = ()
    _known: tuple[str, ...] = ()
    _intervals: SeriesIntervals | None = None

    # -- what a family member writes ---------------------------------------------------------------------------

    @property
    @abstractmethod
    def context(self) -> int:
        """Rows of history that one forecast is computed from."""

    @abstractmethod
    def fit_windows(self, train: Windows, validation: Windows | None, runner: Runner | None) -> None:
        """Learn from windows of `context + horizon` rows; `self.horizon`, `targets`, `columns`, `known` are set."""

    @abstractmethod
    def predict_windows(self, context: Windows) -> Floats:
        """Return (N, H, T) for windows of exactly `context` rows in the fitted column order.

        For a model tagged `known_future`, `context.ahead` has exactly H rows and the columns `self.known`.
        """

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

    @property
    def known(self) -> tuple[str, ...]:
        """Covariates it must be given over the horizon, K."""
        self._need_fit()
        return self._known

    def fit(
        self,
        train: Windows,
        *,
        horizon: int,
        targets: tuple[str, ...],
        known: tuple[str, ...] = (),
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
        known
            K columns of `train` that will be known over the horizon.
        runner
            Where the training loop runs; this process when None.

        Raises
        ------
        InsufficientHistoryError
            The windows are shorter than `context + horizon`, or there are none.
        UserError
            `known` was given to a model without the tag known_future, or lacks a column of `ahead`.
        """
        train.positions((*targets, *known))
        if known and not self.tags.known_future:
            raise UserError(f"'{self.name}' uses no known future covariates: got known={known}, expected none")
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
        self._known, self._intervals = self._chosen_ahead(known), None
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
        known = panel.schema.known_names if self.tags.known_future else ()
        targets = panel.schema.target_names
        self.fit(train, horizon=horizon, targets=targets, known=known, validation=late, runner=runner)
        return self.calibrate(last, panel.schema)

    def _chosen_ahead(self, known: tuple[str, ...]) -> tuple[str, ...]:
        for name in self.ahead or ():
            if name not in known:
                raise UnknownNameError.of("column known ahead", name, known)
        return tuple(name for name in known if self.ahead is None or name in self.ahead)

    def predict(self, context: Windows) -> Floats:
        """Return (N, H, T) point forecasts after each window of `context` rows or more.

        Where the model knows covariates ahead, the windows carry them: see `Windows.split`.

        Raises
        ------
        SignatureMismatch
            It was fitted on other columns.
        UserError
            What the model must know ahead is not there.
        """
        ready = self.ready(context)
        return self.predict_windows(ready.filled(self.together))[: len(ready)]

    def ready(self, context: Windows) -> Windows:
        """Return the windows as `predict_windows` takes them; raises what `predict` raises."""
        self._need_fit()
        if context.columns != self._columns:
            raise SignatureMismatch(
                f"'{self.name}' was fitted on other columns: got {context.columns}, expected {self._columns}"
            )
        context = context.tail(self.context)
        if self.tags.known_future:
            context = context.looking_ahead(self.horizon, self.known)
        return context

    def split(self, windows: Windows) -> tuple[Windows, Floats]:
        """Return windows of `context + horizon` rows as (context with what is known ahead, truth (N, H, T))."""
        context, future = windows.split(self.horizon, self.known)
        return context, future.select(self.targets)

    def calibrate(self, windows: Windows, schema: Schema | None = None) -> Self:
        """Learn intervals from windows of `context + horizon` rows that fitting has not seen.

        With the schema, quantiles keep to the physical range of its targets.
        """
        if not len(windows):
            raise InsufficientHistoryError(
                f"'{self.name}' cannot be calibrated: got 0 windows, expected 1 or more", got=0, expected=1
            )
        context, actual = self.split(windows)
        low, high = bounds_of(schema, self.targets) if schema else (None, None)
        restless = self.restless(context)
        base = ConformalIntervals.fit(actual, self.predict(context), restless, low=low, high=high)
        self._intervals = SeriesIntervals(base)
        return self

    def observe(self, windows: Windows) -> Self:
        """Let each series' intervals follow its errors: see `training.core.adaptive`.

        Parameters
        ----------
        windows
            Of `context + horizon` rows, in which truth that is not known yet is NaN (`unknown_ahead` adds such
            rows). Windows of an earlier call may come again: what was learned is not learned twice.
        """
        context, actual = self.split(windows)
        self._calibrated().observe(context, actual - self.predict(context), self.restless(context))
        return self

    def restless(self, context: Windows) -> Floats:
        """Return (N, T): how restless the targets are in each window, the scale of its intervals."""
        return restlessness(context.tail(self.context), self.targets)

    @property
    def intervals(self) -> ConformalIntervals:
        """The calibrated intervals."""
        return self._calibrated().base

    def _calibrated(self) -> SeriesIntervals:
        if self._intervals is None:
            raise NotFittedError(f"'{self.name}' has no intervals yet: call calibrate() or fit_panel() first")
        return self._intervals

    def forecast(
        self,
        history: Panel,
        horizon: int | None = None,
        future: pd.DataFrame | None = None,
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
            `series_id`, `timestamp` and the columns `known` of the H rows, the fitted horizon, that follow each
            series. Refused by a model that knows nothing ahead.
        levels
            Quantile levels, increasing within (0, 1).

        Raises
        ------
        InsufficientHistoryError
            A series is shorter than `context`.
        UserError
            The horizon is longer than the fitted one; `future` is missing, has a fault, or is not used.
        """
        steps = check_horizon(horizon, self.horizon)
        context = self.look_ahead(history.last(self.context), future, history.schema)
        return self.describe(context, self.predict(context), steps, levels)

    def look_ahead(self, context: Windows, future: pd.DataFrame | None, schema: Schema) -> Windows:
        """Return windows of history, one a series, that carry what is known ahead of them.

        Raises
        ------
        UserError
            `future` is missing, has a fault, or is not used.
        """
        if future is None:
            return context if not self.known else context.looking_ahead(self.horizon, self.known)
        if not self.known:
            raise UserError(f"'{self.name}' uses no known future covariates: leave `future` out")
        ahead = rows_ahead(future, context, schema, self.known, self.horizon)
        return replace(context, ahead=ahead)

    def describe(
        self, context: Windows, point: Floats, steps: int, levels: tuple[float, ...] = DEFAULT_LEVELS
    ) -> Prediction:
        """Return the Prediction around `point` (N, H, T): times, quantiles, confidence; the first `steps` steps."""
        restless, wanted = self.restless(context), check_levels(levels)
        values, confidence = self._calibrated().quantiles(context.ids, point, wanted, restless)
        return Prediction(
            ids=context.ids,
            origins=context.last_times,
            timestamps=context.future_times(steps),
            targets=self.targets,
            point=point[:, :steps],
            levels=tuple(levels),
            values=values[:, :steps],
            confidence=confidence[:, :steps],
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
            "known": list(self._known),
            "intervals": self._intervals.state() if self._intervals else None,
            "learned": self.learned(),
        }

    def restore(self, state: State) -> None:
        """Take back what `state` gave."""
        if not state:
            return
        self._horizon = int(state["horizon"])
        self._targets, self._columns = tuple(state["targets"]), tuple(state["columns"])
        self._known = tuple(state["known"])
        intervals = state["intervals"]
        self._intervals = SeriesIntervals.of_state(intervals) if intervals else None
        self.relearn(state["learned"])

    def _need_fit(self) -> None:
        if not self.fitted:
            raise NotFittedError(f"'{self.name}' is not fitted: call fit() first")
