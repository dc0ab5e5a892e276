"""The request rate in a moment, from its own past by a model of the catalog; and whether to believe it."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
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
    model, params
        A forecaster of the catalog and its parameters.
    kept_steps
        Rates remembered, and learned from.
    refit_steps
        Rates between two fits.
    judged_steps
        Past forecasts that decide whether the next counts.
    max_error_ratio
        Their mean error over the mean rate, above which it does not.
    """

    step_s: float = 10.0
    lead_s: float = 20.0
    model: str = "ridge"
    params: Mapping[str, Any] = field(default_factory=lambda: {"window": 60})
    kept_steps: int = 4032
    refit_steps: int = 60
    judged_steps: int = 30
    max_error_ratio: float = 0.3

    def __post_init__(self) -> None:
        counts = (self.kept_steps, self.refit_steps, self.judged_steps)
        if min(self.step_s, self.lead_s, self.max_error_ratio) <= 0 or min(counts) < 1:
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

    def update(self, counts: Mapping[str, float]) -> float:
        """Take in some replicas' counts since their start; return the sum of all that ever came."""
        for replica, count in counts.items():
            last = self._last.get(replica, 0.0)
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
        self._rates: deque[float] = deque(maxlen=spec.kept_steps)
        self._open: tuple[float, float] | None = None
        self._due: deque[tuple[float, float]] = deque(maxlen=spec.steps)
        self._judged: deque[tuple[float, float, float]] = deque(maxlen=spec.judged_steps)
        self._since_fit = 0
        self._ahead: Floats = np.empty(0)

    def observe(self, now_s: float, arrived: float) -> None:
        """Take in how many requests have ever arrived; cheap until a step is over.

        Parameters
        ----------
        now_s
            Time of the count; never goes back.
        arrived
            Cumulative.
        """
        if self._open is None:
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
        for _ in range(min(steps, self.spec.kept_steps)):
            self._close(rate)

    def outlook(self) -> Outlook:
        """Return the highest rate to expect within the lead."""
        if not len(self._ahead):
            need = self._least()
            return Outlook(
                rate_per_s=float("nan"),
                used=False,
                reason=f"not used: {len(self._rates)} steps of {self.spec.step_s:g} s seen, expected {need}",
            )
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

    def _close(self, rate: float) -> None:
        """Learn one step's rate: judge the forecast that was made for it, and make the next."""
        if len(self._due) == self.spec.steps:
            forecast, last = self._due[0]
            self._judged.append((forecast - rate, last - rate, rate))
        self._rates.append(rate)
        self._refit()
        if self._model.fitted:
            self._ahead = self._forecast()
            self._due.append((float(self._ahead[-1]), rate))

    def _refit(self) -> None:
        self._since_fit += 1
        enough = len(self._rates) >= self._least()
        if enough and (not self._model.fitted or self._since_fit >= self.spec.refit_steps):
            length = self._model.context + self.spec.steps
            windows = cut(self._table(len(self._rates)), length=length)
            self._model.fit(windows, horizon=self.spec.steps, targets=(TARGET,))
            self._since_fit = 0

    def _least(self) -> int:
        """Return the rates of a first fit: as many windows as a window has rows, so that few make no model."""
        return 2 * (self._model.context + self.spec.steps)

    def _forecast(self) -> Floats:
        context = cut(self._table(self._model.context), length=self._model.context)
        ahead: Floats = np.maximum(0.0, self._model.predict(context)[0, :, 0])
        return ahead

    def _table(self, rows: int) -> Windows:
        """Return the last `rows` rates as a table; its times count steps, no model here asks for the date."""
        values = np.fromiter(self._rates, dtype=np.float64, count=len(self._rates))[-rows:]
        step = np.timedelta64(int(self.spec.step_s * SECOND_NS), "ns")
        return Windows(
            rows=values[:, None],
            times=np.datetime64(0, "ns") + np.arange(rows) * step,
            segments=np.array([0, rows], dtype=np.int64),
            starts=np.empty(0, dtype=np.int64),
            length=0,
            columns=(TARGET,),
            series=("all",),
            frequency=f"{self.spec.step_s:g}s",
        )
