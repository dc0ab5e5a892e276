"""Forecasts asked of the running service for moments whose future is known, beside what really happened."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd

from apps.client import Client, ServedInfo
from training.core.metrics import coverage, wape
from training.core.panel import Panel
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
    interval_level
        Nominal share of the truth between lower and upper.
    """

    history: Panel
    steps: pd.DataFrame
    actual: Floats
    interval_level: float


@dataclass(frozen=True, kw_only=True)
class Replay:
    """Some forecasts of one series and one target.

    Parameters
    ----------
    served
        The version that was asked.
    forecasts
        In order of time.
    naive
        (H,) the last season before the last forecast, repeated.
    """

    served: ServedInfo
    forecasts: list[ServedForecast]
    naive: Floats

    @classmethod
    def of(cls, panel: Panel, served: ServedInfo, client: Client, *, origins: int) -> Self:
        """Ask for `origins` forecasts, the last for the data's last horizon, the others earlier.

        Parameters
        ----------
        panel
            One series that goes on for at least one horizon after each origin.
        served, client
            Whom to ask.
        origins
            How many.
        """
        frame, horizon = panel.frame, served.horizon
        gap = 30 * horizon
        ends = [len(frame) - horizon - gap * step for step in reversed(range(origins))]
        target = served.schema.target_names[0]
        values = frame[target].to_numpy()
        season = panel.schema.season_length
        last = values[: ends[-1]][-season:]
        return cls(
            served=served,
            forecasts=[_ask(frame, end, served, client) for end in ends],
            naive=np.resize(last, horizon),
        )

    @property
    def target(self) -> str:
        """The target's name."""
        return self.served.schema.target_names[0]

    @property
    def unit(self) -> str:
        """The target's unit."""
        return self.served.schema.targets[0].unit

    def rows(self) -> list[dict[str, Any]]:
        """Return a row a step of the last forecast."""
        last = self.forecasts[-1]
        rows = []
        for step, actual in zip(last.steps.itertuples(), last.actual, strict=True):
            inside = step.lower <= actual <= step.upper
            rows.append(
                {
                    "time": f"{step.timestamp:%Y-%m-%d %H:%M}",
                    f"forecast ({self.unit})": f"{step.prediction:.1f}",
                    f"{last.interval_level:.0%} interval": f"{step.lower:.1f} .. {step.upper:.1f}",
                    "confidence": f"{step.confidence:.0%}",
                    "what happened": f"{actual:.1f}",
                    "inside": "yes" if inside else "NO",
                }
            )
        return rows

    def summary(self) -> str:
        """Return the last forecast's figures in a sentence."""
        last = self.forecasts[-1]
        point = last.steps["prediction"].to_numpy()
        inside = coverage(last.actual, last.steps["lower"].to_numpy(), last.steps["upper"].to_numpy())
        return (
            f"This day: WAPE {wape(last.actual, point):.3f}, seasonal naive {wape(last.actual, self.naive):.3f}; "
            f"{inside:.0%} of the hours inside the {last.interval_level:.0%} interval."
        )

    def too_short(self) -> Panel:
        """Return a history that the service must refuse: one row less than it needs."""
        history = self.forecasts[-1].history
        return Panel(history.frame.tail(self.served.context - 1), history.schema)

    def draw(self, path: Path) -> Path:
        """Draw the forecasts below each other into a PNG file."""
        from apps.emissions.plot import draw_replay

        return draw_replay(self, path)


def _ask(frame: pd.DataFrame, end: int, served: ServedInfo, client: Client) -> ServedForecast:
    history = Panel(frame.iloc[end - served.context : end], served.schema)
    answer = client.forecast(served.name, history, version=served.version)
    steps = pd.DataFrame(answer["forecasts"][0]["steps"])
    steps["timestamp"] = pd.to_datetime(steps["timestamp"])
    target = served.schema.target_names[0]
    return ServedForecast(
        history=history,
        steps=steps,
        actual=frame[target].to_numpy()[end : end + len(steps)],
        interval_level=answer["interval_level"],
    )
