"""The request rate in a moment, from its own past by a model of the catalog; and whether to believe it."""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from cluster.errors import ConfigError
from training.core.component import build
from training.core.estimator import Forecaster
from training.core.windows import Floats, Windows, cut
from training.models import MODELS

TARGET = "requests_per_s"
SECOND_NS = 1_000_000_000


@dataclass(frozen=True, kw_only=True)
class RateSpec:
    """How the rate is forecast, and when the forecast counts.

    Parameters
    ----------
    step_s
        Rates are means over so long. Longer is smoother and later.
    lead_s
        How far ahead: what a replica takes from the decision to its first answer.
    seasons_s
        What the rate was so long before is known ahead, and given to a model that takes such covariates, from the
        second such season on. A day and a week by default.
    model, params
        A forecaster of the catalog and its parameters.
    kept_steps
        Rates remembered. Two of the longest season, or it is never used.
    learned_steps
        The newest of them that are learned from.
    refit_steps
        Rates between two fits.
    judged_steps
        Past forecasts that decide whether the next counts.
    max_error_ratio
        Their mean error over the mean rate, above which it does not.
    """

    step_s: float = 10.0
    lead_s: float = 20.0
    seasons_s: Sequence[float] = (86_400.0, 604_800.0)
    model: str = "ridge"
    params: Mapping[str, Any] = field(default_factory=lambda: {"window": 12, "covariates": True})
    kept_steps: int = 129_600
    learned_steps: int = 17_280
    refit_steps: int = 360
    judged_steps: int = 120
    max_error_ratio: float = 0.3

    def __post_init__(self) -> None:
        counts = (self.kept_steps, self.learned_steps, self.refit_steps, self.judged_steps)
        if min(self.step_s, self.lead_s, self.max_error_ratio, *self.seasons_s) <= 0 or min(counts) < 1:
            raise ConfigError(f"rate forecast: got {self}, expected times, counts and ratios above 0")

    @property
    def steps(self) -> int:
        """Steps ahead that cover the lead; the step that is under way counts as one."""
        return int(np.ceil(self.lead_s / self.step_s)) + 1


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """The highest rate within the lead, and whether to count on it.

    Parameters
    ----------
    rate_per_s
        Forecast; NaN where there is none.
    used
        Whether it was good enough of late.
    reason
        Why, with the figures.
    """

    rate_per_s: float
    used: bool
    reason: str


class Recent:
    """The last so many numbers, in one piece of memory: a slice of them is a view.

    Parameters
    ----------
    kept
        How many; twice as much memory is taken, and moved once in so many additions.
    """

    def __init__(self, kept: int) -> None:
        self._kept, self._values, self._end = kept, np.empty(2 * kept), 0

    def __len__(self) -> int:
        return min(self._end, self._kept)

    def append(self, value: float) -> None:
        """Add the newest."""
        if self._end == len(self._values):
            self._values[: self._kept] = self._values[self._kept :]
            self._end = self._kept
        self._values[self._end] = value
        self._end += 1

    def last(self, count: int, *, before: int = 0) -> Floats:
        """Return `count` numbers in a row, of which the newest has `before` newer ones."""
        stop = self._end - before
        return self._values[stop - count : stop]


class Arrivals:
    """Many replicas' counters as one that never falls, whoever comes, goes, or is not heard for a while.

    Parameters
    ----------
    max_replicas
        Replicas remembered; the ones not heard of for longest are forgotten. Names are never used again.
    """

    def __init__(self, max_replicas: int = 1024) -> None:
        self._last: OrderedDict[str, float] = OrderedDict()
        self._max_replicas = max_replicas
        self.total = 0.0

    def update(self, counts: Mapping[str, float], *, settled: bool = True) -> float:
        """Take in some replicas' counts since their start; return the sum of all that ever came.

        Parameters
        ----------
        counts
            Replica -> count.
        settled
            Whether a replica that was never heard of is new. Else it may be older than this object, which a fresh
            controller makes: what it counted before came long ago, and not now.
        """
        for replica, count in counts.items():
            last = self._last.get(replica, 0.0 if settled else count)
            self.total += max(0.0, count - last)
            self._last[replica] = max(count, last)
            self._last.move_to_end(replica)
        while len(self._last) > self._max_replicas:
            self._last.popitem(last=False)
        return self.total


class RateForecast:
    """Learns online from a counter of arrivals, and keeps score of its own forecasts.

    A forecast is judged when its time has come: against what came, and against the simplest other forecast, that
    the rate stays as it was. It counts while its mean error over the last `judged_steps` is below `max_error_ratio`
    of the mean rate and not above the simple one's. Not knowing is then stated, and the caller goes on without.

    Parameters
    ----------
    spec
        Its numbers.
    """

    def __init__(self, spec: RateSpec) -> None:
        self.spec = spec
        self._model: Forecaster = build(MODELS, spec.model, spec.params)
        self._rates = Recent(spec.kept_steps)
        self._lags: tuple[int, ...] = ()
        self._open: tuple[float, float] | None = None
        self._due: deque[tuple[float, float]] = deque(maxlen=spec.steps)
        self._judged: deque[tuple[float, float, float]] = deque(maxlen=spec.judged_steps)
        self._since_fit = 0
        self._ahead: Floats = np.empty(0)
        self._outlook = self._look()

    def observe(self, now_s: float, arrived: float) -> None:
        """Take in how many requests have ever arrived; cheap until a step is over.

        Parameters
        ----------
        now_s
            Time of the count. Where it goes back, the step begins anew.
        arrived
            Cumulative.
        """
        if self._open is None or now_s < self._open[0]:
            self._open = (now_s, arrived)
            return
        since_s, before = self._open
        elapsed_s = now_s - since_s
        if elapsed_s < self.spec.step_s:
            return
        # A late look holds several steps; they share what came, as nobody knows when it did.
        steps = int(elapsed_s // self.spec.step_s)
        rate = (arrived - before) / elapsed_s
        self._open = (since_s + steps * self.spec.step_s, before + rate * steps * self.spec.step_s)
        self._close(rate, steps)

    def outlook(self) -> Outlook:
        """Return the highest rate to expect within the lead."""
        return self._outlook

    def _look(self) -> Outlook:
        if not len(self._ahead):
            told = f"{len(self._rates)} steps of {self.spec.step_s:g} s seen, expected {self._least()}"
            return Outlook(rate_per_s=math.nan, used=False, reason=f"not used: {told}")
        used, reason = self._verdict()
        return Outlook(rate_per_s=float(self._ahead.max()), used=used, reason=reason)

    def _verdict(self) -> tuple[bool, str]:
        if len(self._judged) < self.spec.judged_steps:
            return False, f"not used: {len(self._judged)} forecasts judged, expected {self.spec.judged_steps}"
        ours, simple, actual = np.abs(np.asarray(self._judged)).sum(axis=0)
        ratio = float(ours / actual) if actual > 0 else float("inf")
        told = f"recent error {ratio:.2g} of the rate"
        if ratio > self.spec.max_error_ratio:
            return False, f"not used: {told}, expected at most {self.spec.max_error_ratio:g}"
        if ours > simple:
            return False, f"not used: {told}, that of an unchanged rate {float(simple / actual):.2g}"
        return True, f"used: {told}, that of an unchanged rate {float(simple / actual):.2g}"

    def _close(self, rate: float, steps: int) -> None:
        """Learn some steps' rate: judge the forecast that was made for it, and make the next."""
        if steps > 1:  # shared out, and so no forecast's actual
            self._due.clear()
        elif len(self._due) == self.spec.steps:
            forecast, last = self._due[0]
            self._judged.append((forecast - rate, last - rate, rate))
        for _ in range(min(steps, self.spec.kept_steps)):
            self._rates.append(rate)
        self._refit(steps)
        if self._model.fitted and len(self._rates) >= self._model.context:
            self._ahead = self._forecast()
            self._due.append((float(self._ahead[-1]), rate))
        self._outlook = self._look()

    def _refit(self, steps: int) -> None:
        self._since_fit += steps
        enough = len(self._rates) >= self._least()
        if enough and (not self._model.fitted or self._since_fit >= self.spec.refit_steps):
            self._lags, self._since_fit = self._seasons(), 0
            length = self._model.context + self.spec.steps
            rows = min(self.spec.learned_steps + length, len(self._rates) - max(self._lags, default=0))
            windows = cut(self._table(rows), length=length)
            self._model.fit(windows, horizon=self.spec.steps, targets=(TARGET,), known=self._known())

    def _least(self) -> int:
        """Return the rates of a first fit: as many windows as a window has rows, so that few make no model."""
        return 2 * (self._model.context + self.spec.steps)

    def _seasons(self) -> tuple[int, ...]:
        """Return the steps of each season that was seen twice and is longer than the lead."""
        if not self._model.tags.known_future:
            return ()
        lags = (round(season_s / self.spec.step_s) for season_s in self.spec.seasons_s)
        return tuple(lag for lag in lags if self.spec.steps < lag <= len(self._rates) // 2)

    def _known(self) -> tuple[str, ...]:
        return tuple(f"{lag}_steps_before" for lag in self._lags)

    def _forecast(self) -> Floats:
        context = cut(self._table(self._model.context), length=self._model.context)
        if self._lags:
            steps = self.spec.steps
            ahead = np.stack([self._rates.last(steps, before=lag - steps) for lag in self._lags], axis=1)
            context = replace(context, ahead=cut(self._windows(ahead, self._known()), length=steps))
        forecast: Floats = np.maximum(0.0, self._model.predict(context)[0, :, 0])
        return forecast

    def _table(self, rows: int) -> Windows:
        """Return the last `rows` rates, and those of each season before."""
        columns = [self._rates.last(rows, before=lag) for lag in (0, *self._lags)]
        return self._windows(np.stack(columns, axis=1), (TARGET, *self._known()))

    def _windows(self, values: Floats, columns: tuple[str, ...]) -> Windows:
        """Return rates as a table; its times count steps, no model here asks for the date."""
        step = np.timedelta64(int(self.spec.step_s * SECOND_NS), "ns")
        return Windows(
            rows=values,
            times=np.datetime64(0, "ns") + np.arange(len(values)) * step,
            segments=np.array([0, len(values)], dtype=np.int64),
            starts=np.empty(0, dtype=np.int64),
            length=0,
            columns=columns,
            series=("all",),
            frequency=f"{self.spec.step_s:g}s",
        )
