"""Forecasts asked of the running service for moments whose future is known, beside what really happened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd

from apps.client.client import Client
from apps.client.results import ServedInfo
from training.core.metrics import coverage, wape
from training.core.panel import Panel
from training.core.validation import TIME
from training.core.windows import Floats


@dataclass(frozen=True, kw_only=True)
class ServedForecast:
    """One answer of the service, and the truth.

    Parameters
    ----------
    history
        What was sent.
    steps
        timestamp, prediction, lower, upper, confidence; one row a step.
    actual
        (H,) what really happened.
    naive
        (H,) the last season of the history, repeated.
    interval_level
        Nominal share of the truth between lower and upper.
    """

    history: Panel
    steps: pd.DataFrame
    actual: Floats
    naive: Floats
    interval_level: float

    @property
    def wape(self) -> float:
        """Weighted absolute percentage error of this forecast."""
        return wape(self.actual, self.steps["prediction"].to_numpy())


@dataclass(frozen=True, kw_only=True)
class Replay:
    """Forecasts of one series and one target, spread over a stretch of time.

    Parameters
    ----------
    served
        The version that was asked.
    forecasts
        In order of time.
    """

    served: ServedInfo
    forecasts: list[ServedForecast]

    @classmethod
    def of(
        cls,
        panel: Panel,
        served: ServedInfo,
        client: Client,
        *,
        since: Any,
        origins: int,
        asked: Callable[[int], None],
    ) -> Self:
        """Ask for `origins` forecasts, one request each, evenly spread from `since` to the end of the data.

        Parameters
        ----------
        panel
            One series.
        served, client
            Whom to ask.
        since
            Time of the first forecast step.
        origins
            How many, 2 or more.
        asked
            Told how many have been answered.
        """
        frame, horizon = panel.frame, served.horizon
        first = int(frame[TIME].searchsorted(pd.Timestamp(since)))
        ends = np.linspace(first, len(frame) - horizon, origins).astype(int)
        forecasts = []
        for end in ends:
            forecasts.append(_ask(panel, int(end), served, client))
            asked(len(forecasts))
        return cls(served=served, forecasts=forecasts)

    @property
    def target(self) -> str:
        """The target's name."""
        return self.served.schema.target_names[0]

    @property
    def unit(self) -> str:
        """The target's unit."""
        return self.served.schema.targets[0].unit

    def ranked(self, share: float) -> ServedForecast:
        """Return the forecast whose error has this rank: 0 the best, 0.5 the median, 1 the worst."""
        ordered = sorted(self.forecasts, key=lambda each: each.wape)
        return ordered[round(share * (len(ordered) - 1))]

    def rows(self, forecast: ServedForecast) -> list[dict[str, Any]]:
        """Return a row a step of one forecast."""
        truth = zip(forecast.steps.itertuples(), forecast.actual, strict=True)
        return [
            {
                "time": f"{step.timestamp:%m-%d %H:%M}",
                "forecast": f"{step.prediction:.1f}",
                f"{forecast.interval_level:.0%} interval": f"{step.lower:.1f} .. {step.upper:.1f}",
                "confidence": f"{step.confidence:.0%}",
                "happened": f"{actual:.1f}",
                "inside": "yes" if step.lower <= actual <= step.upper else "no",
            }
            for step, actual in truth
        ]

    def summary(self) -> str:
        """Return the figures of all forecasts in a sentence."""
        actual = np.stack([each.actual for each in self.forecasts])
        steps = {name: np.stack([each.steps[name] for each in self.forecasts]) for name in ("lower", "upper")}
        point = np.stack([each.steps["prediction"] for each in self.forecasts])
        naive = np.stack([each.naive for each in self.forecasts])
        inside = coverage(actual, steps["lower"], steps["upper"])
        return (
            f"All {len(actual)} forecasts: WAPE {wape(actual, point):.3f}, "
            f"seasonal naive {wape(actual, naive):.3f}; "
            f"{inside:.0%} of the steps inside the {self.forecasts[0].interval_level:.0%} interval."
        )

    def too_short(self) -> Panel:
        """Return a history that the service must refuse: one row less than it needs."""
        history = self.forecasts[-1].history
        return Panel(history.frame.tail(self.served.context - 1), history.schema)

    def draw(self, path: Path) -> Path:
        """Draw a good, a median and a bad forecast (ranks 10, 50 and 90 %) below each other into a PNG file."""
        from apps.emissions.plot import draw_forecasts

        ranks = {"a good one (10 % are better)": 0.1, "the median": 0.5, "a bad one (10 % are worse)": 0.9}
        shown = {caption: self.ranked(share) for caption, share in ranks.items()}
        name = f"{self.served.name} {self.served.version}"
        return draw_forecasts(shown, path, name=name, schema=self.served.schema)


def _ask(panel: Panel, end: int, served: ServedInfo, client: Client) -> ServedForecast:
    history = Panel(panel.frame.iloc[end - served.context : end], served.schema)
    answer = client.forecast(served.name, history, version=served.version)
    steps = answer.to_frame()
    steps["timestamp"] = pd.to_datetime(steps["timestamp"])
    values = panel.frame[served.schema.target_names[0]].to_numpy()
    return ServedForecast(
        history=history,
        steps=steps,
        actual=values[end : end + len(steps)],
        naive=np.resize(values[end - panel.schema.season_length : end], len(steps)),
        interval_level=answer.interval_level,
    )
