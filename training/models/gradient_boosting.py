"""Gradient-boosted trees, whoever grows them: three ways to forecast many steps, and what made a forecast so."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np

from cluster.errors import ConfigError, TrainingDiverged
from training.core.attribution import Attribution, Explains
from training.core.component import State
from training.core.estimator import Forecaster
from training.core.parameters import flag, one_of, real, whole
from training.core.runner import Runner
from training.core.space import Choice, Real, Space
from training.core.windows import Floats, Windows
from training.models.boosting_table import Columns, EachStep, Inputs, Regression, Singles, WholeHorizon, parts_of

Strategy = Literal["direct", "recursive", "pooled"]

CHUNK_VALUES = 4_000_000
"""Numbers gathered from the windows at a time, about 32 MB; inputs made of them take about as much."""
INPUTS_A_STEP = 60
"""Inputs of a step, roughly."""
EXPLAINED_ROWS = 4096
"""Rows whose contributions are computed at a time: a number each output, row and input."""


class GradientBoosting(Forecaster, Explains):
    """Boosted trees on differences from the last value, in units of their standard deviation.

    Trees cannot extrapolate a level; differences need not. A subclass grows them (`_grow`), asks them (`_answer`)
    and explains them (`_explain`).

    Parameters
    ----------
    strategy
        `direct`: one tree a step and target in each round, from one row an origin. `pooled`: one model for all
        steps, from one row a pair of origin and step, in which what is known stands at its place relative to the
        target time; the best where columns are known ahead. `recursive`: the pooled table's first step, fed with
        its own forecasts; columns that are known neither ahead nor constant are left out, since they end where
        the forecast begins.
    rounds
        The most boosting rounds, 1 or more.
    learning_rate
        Share of each tree that is added, in (0, 1]. Smaller needs more rounds and forecasts a little better.
    subsample, column_sample
        Shares of the rows and of the inputs that a tree sees, in (0, 1].
    l1, l2
        Penalties on leaf values and on their squares, 0 or more.
    patience
        Rounds without a better validation error before it stops; the best round is kept. 1 or more.
    window
        Rows looked back on, 2 or more.
    covariates
        Whether the newest values of columns that are not known ahead are inputs.
    ahead
        Which of the columns that are known ahead are inputs; all when None.
    seasons
        Rows in a season, each at most `window`; for `pooled` and `recursive`.
    anchor
        What the trees correct: the `last` value, or the window's own regression on the known columns, `linear` or
        `quadratic`, see `boosting_table.Regression`; for `pooled` and `recursive`.
    half_life
        Rows after which a row weighs half in that regression, above 0.
    levels
        Whether values are inputs as they are too, not as differences alone; for `pooled` and `recursive`.
    most_rows
        Rows of the training table at most, of origins drawn by the seed; bounds memory and time.
    seed
        Of all sampling.
    """

    strategy: Strategy

    def __init__(
        self,
        *,
        strategy: str,
        rounds: int,
        learning_rate: float,
        subsample: float,
        column_sample: float,
        l1: float,
        l2: float,
        patience: int,
        window: int,
        covariates: bool,
        ahead: Sequence[str] | None,
        seasons: Sequence[int],
        anchor: str,
        half_life: float,
        levels: bool,
        most_rows: int,
        seed: int,
    ) -> None:
        self.strategy = one_of("strategy", strategy, ("direct", "recursive", "pooled"))  # type: ignore[assignment]
        self.rounds = whole("rounds", rounds, low=1)
        self.learning_rate = real("learning_rate", learning_rate, low=0, high=1, above=True)
        self.subsample = real("subsample", subsample, low=0, high=1, above=True)
        self.column_sample = real("column_sample", column_sample, low=0, high=1, above=True)
        self.l1 = real("l1", l1, low=0)
        self.l2 = real("l2", l2, low=0)
        self.patience = whole("patience", patience, low=1)
        self.window = whole("window", window, low=2)
        self.covariates = flag("covariates", covariates)
        self.ahead = None if ahead is None else tuple(ahead)
        self.seasons = _seasons(seasons, self.window) if self.strategy != "direct" else tuple(seasons)
        self.anchor = one_of("anchor", anchor, ("last", "linear", "quadratic"))
        self.half_life = real("half_life", half_life, low=0, above=True)
        self.levels = flag("levels", levels)
        self.most_rows = whole("most_rows", most_rows, low=1)
        self.seed = whole("seed", seed, low=0)

    @classmethod
    def search_space(cls) -> Space:
        """Return what all boosting shares; rounds are found by stopping early."""
        return {
            "learning_rate": Real(0.02, 0.3, log=True),
            "subsample": Real(0.4, 1.0),
            "column_sample": Real(0.1, 1.0),
            "l1": Real(1e-3, 10.0, log=True),
            "l2": Real(0.1, 100.0, log=True),
            "covariates": Choice((False, True)),
        }

    @property
    def context(self) -> int:
        """The window."""
        return self.window

    # -- what a library does -----------------------------------------------------------------------------------

    @abstractmethod
    def _grow(self, job: State, runner: Runner | None) -> State:
        """Return trees, for an artifact.

        `job` has inputs (R, F), outputs (R, G) in units of their standard deviations, and both for validation,
        where there may be no rows.
        """

    @abstractmethod
    def _plant(self, trees: State) -> None:
        """Take what `_grow` returned, here or in another process."""

    @abstractmethod
    def _answer(self, inputs: Singles) -> Floats:
        """Return (R, G)."""

    @abstractmethod
    def _explain(self, inputs: Singles) -> Floats:
        """Return (R, G, F + 1): what each input adds to the answer, by exact TreeSHAP, and last the mean answer."""

    # -- fitting -----------------------------------------------------------------------------------------------

    def fit_windows(self, train: Windows, validation: Windows | None, runner: Runner | None) -> None:
        """Grow trees on the training windows until the validation error stops falling."""
        drawn = self._drawn(train, self.most_rows)
        self._lay_out(self._columns_of(train), self._spread_of(drawn))
        inputs, outputs = self._rows(drawn)
        late = validation if validation is not None else train[slice(0, 0)]
        late_inputs, late_outputs = self._rows(self._drawn(late, max(self.most_rows // 4, 1)))
        spread = outputs.std(axis=0)
        self._scale: Floats = np.where(spread > 0, spread, 1.0)
        self._usual: Floats = drawn.head(self.window).tail(1).select(self.targets).mean(axis=(0, 1))
        job = {
            "inputs": inputs,
            "outputs": self._finite(outputs / self._scale),
            "validation_inputs": late_inputs,
            "validation_outputs": self._finite(late_outputs / self._scale),
        }
        self._trees = self._grow(job, runner)
        self._plant(self._trees)

    def _columns_of(self, train: Windows) -> Columns:
        """Return the columns by their parts; the newest row of `direct` holds targets and known columns too."""
        others: tuple[str, ...] = ()
        if self.covariates:
            apart = set() if self.strategy == "direct" else {*self.targets, *self.known}
            others = tuple(name for name in self.columns if name not in apart)
        if self.strategy == "recursive":
            others = _constant(train, others)
        return Columns(targets=self.targets, known=self.known, newest=others)

    def _spread_of(self, train: Windows) -> Floats | None:
        """Return (K,) the known columns' standard deviations, where the regression needs them."""
        if self.strategy == "direct" or self.anchor == "last" or not self.known:
            return None
        spread = train.tail(self.horizon).select(self.known).std(axis=(0, 1))
        return np.where(spread > 0, spread, 1.0)

    def _lay_out(self, columns: Columns, spread: Floats | None) -> None:
        self._parts, self._spread = columns, spread
        self._table: WholeHorizon | EachStep = WholeHorizon(columns=columns)
        if self.strategy != "direct":
            regression = None
            if spread is not None:
                products = self.anchor == "quadratic"
                regression = Regression(spread=spread, half_life=self.half_life, products=products)
            self._table = EachStep(columns=columns, seasons=self.seasons, levels=self.levels, regression=regression)

    def _drawn(self, windows: Windows, most_rows: int) -> Windows:
        """Return the windows of the table, in their order: drawn, for a stride could hide a season."""
        most = max(most_rows // (self.horizon if self.strategy == "pooled" else 1), 1)
        if len(windows) <= most:
            return windows
        chosen = np.random.default_rng(self.seed).choice(len(windows), most, replace=False)
        return windows[np.sort(chosen)]

    def _rows(self, windows: Windows) -> tuple[Singles, Floats]:
        """Return inputs (R, F) and outputs (R, G)."""
        inputs: list[Singles] = []
        outputs: list[Floats] = []
        steps = 1 if self.strategy == "recursive" else self.horizon
        width = len(self.targets) * (steps if self.strategy == "direct" else 1)
        for _, chunk in self._chunks(windows):
            context, actual = self.split(chunk)
            past, known, newest = parts_of(context.looking_ahead(self.horizon, self.known), self._parts)
            made = self._table.of(past, known[:, : self.window + steps], newest)
            inputs.append(_flat(made))
            outputs.append((actual[:, :steps] - made.anchor).reshape(len(inputs[-1]), width))
        return np.concatenate(inputs), np.concatenate(outputs)

    def _finite(self, outputs: Floats) -> Singles:
        wrong = ~np.isfinite(outputs)
        if wrong.any():
            row, column = np.argwhere(wrong)[0]
            raise TrainingDiverged(
                f"{self.name}: output {column} of row {row} is {outputs[row, column]} in standard deviations, "
                "expected a finite number; look for extreme values in the targets",
                count=int(wrong.sum()),
            )
        return outputs.astype(np.float32)

    def _chunks(self, windows: Windows, most: int | None = None) -> Iterator[tuple[slice, Windows]]:
        """Yield pieces of the windows, and where they stand; one empty piece of none."""
        width = len(self._parts.sources) * (self.window + self.horizon) + INPUTS_A_STEP * self.horizon
        size = most or max(CHUNK_VALUES // width, 1)
        for start in range(0, max(len(windows), 1), size):
            here = slice(start, min(start + size, len(windows)))
            yield here, windows[here]

    # -- forecasts ---------------------------------------------------------------------------------------------

    def predict_windows(self, context: Windows) -> Floats:
        """Return (N, H, T): the anchor plus what the trees answer."""
        out = np.empty((len(context), self.horizon, len(self.targets)))
        for here, chunk in self._chunks(context):
            for steps, made in self._tables(chunk, out[here]):
                answers = self._answer(_flat(made)) * self._scale
                out[here, steps] = made.anchor + answers.reshape(made.own.shape)
        return out

    def _tables(self, context: Windows, told: Floats) -> Iterator[tuple[slice, Inputs]]:
        """Yield steps and their inputs: all at once, or one after the other, each fed with `told` (N, H, T)."""
        past, known, newest = parts_of(context, self._parts)
        if self.strategy != "recursive":
            yield slice(0, self.horizon), self._table.of(past, known, newest)
            return
        rows = np.concatenate([past, told], axis=1)
        for step in range(self.horizon):
            yield (
                slice(step, step + 1),
                self._table.of(rows[:, step : step + self.window], known[:, step : step + self.window + 1], newest),
            )
            rows[:, self.window + step] = told[:, step]

    def contributions(self, context: Windows) -> Attribution:
        """Explain forecasts by what each column adds to the mean; exact for the trees as they are.

        The anchor is the target's own history, its regression on known columns is theirs. What a recursive model
        feeds itself counts as history.
        """
        point = self.predict(context)  # says what is wrong with the windows
        context = context.tail(self.window).looking_ahead(self.horizon, self.known)
        columns = self._parts.sources
        base = np.empty(point.shape)
        values = np.zeros((*point.shape, len(columns)))
        own = [columns.index(name) for name in self.targets]
        known = [columns.index(name) for name in self._parts.known]
        each = np.arange(len(self.targets))
        for here, chunk in self._chunks(context, max(EXPLAINED_ROWS // (self.horizon * len(self.targets)), 1)):
            for steps, made in self._tables(chunk, point[here]):
                base[here, steps], values[here, steps] = self._explained(made)
                base[here, steps] += self._usual
                values[here, steps, each, own] += made.own - self._usual
                values[here, steps][..., known] += made.driven
        return Attribution(columns=columns, base=base, values=values)

    def _explained(self, made: Inputs) -> tuple[Floats, Floats]:
        """Return the trees' mean answer (N, H, T) and what each column adds to it (N, H, T, C)."""
        columns = self._parts.sources
        parts = self._explain(_flat(made)) * self._scale[:, None]
        owner = np.zeros((len(made.sources), len(columns)))
        owner[np.arange(len(made.sources)), [columns.index(source) for source in made.sources]] = 1.0
        added = parts[..., :-1] @ owner
        return parts[..., -1].reshape(made.own.shape), added.reshape(*made.own.shape, len(columns))

    # -- artifacts ---------------------------------------------------------------------------------------------

    def learned(self) -> State:
        """Return the trees, the outputs' units, and which column plays which part."""
        return {
            "trees": self._trees,
            "scale": self._scale,
            "usual": self._usual,
            "newest": list(self._parts.newest),
            "spread": self._spread,
        }

    def relearn(self, state: State) -> None:
        """Take back what `learned` gave."""
        self._trees, self._scale, self._usual = state["trees"], state["scale"], state["usual"]
        columns = Columns(targets=self.targets, known=self.known, newest=tuple(state["newest"]))
        self._lay_out(columns, state["spread"])
        self._plant(self._trees)


def _flat(made: Inputs) -> Singles:
    """Return (R, F): a row an origin, or a row a pair of origin and step."""
    return made.values.reshape(math.prod(made.values.shape[:-1]), len(made.sources))


def _constant(train: Windows, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return those of the columns that do not move within any series, as far as the windows show."""
    at = train.positions(names)
    moved = np.zeros(len(names), dtype=bool)
    for first, last in zip(train.segments[:-1], train.segments[1:], strict=True):
        starts = train.starts[(train.starts >= first) & (train.starts < last)]
        if len(starts) and len(names):
            moved |= np.ptp(train.rows[starts.min() : starts.max() + train.length, at], axis=0) > 0
    return tuple(name for name, move in zip(names, moved, strict=True) if not move)


def _seasons(asked: Sequence[int], window: int) -> tuple[int, ...]:
    seasons = tuple(whole("seasons", season, low=1, high=window) for season in asked)
    if len(set(seasons)) < len(seasons):
        raise ConfigError(
            f"parameter 'seasons': got {list(seasons)}, expected each length once", parameter="seasons"
        )
    return seasons
