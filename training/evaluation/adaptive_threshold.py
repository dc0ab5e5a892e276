"""A threshold that watches its own alarms and keeps to the budget whatever the scores do."""

from __future__ import annotations

import math

from training.core.component import State
from training.core.parameters import real
from training.core.windows import Floats
from training.evaluation.peaks_threshold import STEADY_ROWS, PeaksThreshold
from training.evaluation.threshold import Reading

MOST, LEAST = 40.0, -1.5
"""Bounds of the correction, in natural logarithms of the event rate. The lower one bounds how many events a long
calm may be followed by: 1.5 / gain."""


class AdaptiveThreshold(PeaksThreshold):
    """Peaks over a threshold, with the event rate as a controlled quantity.

    Each event that begins divides the rate aimed at by exp(`gain`); each row multiplies it by exp(gain x the
    budget's rate, as feedback leans it). So after T rows the number of events is rate x T within (the correction's
    range) / gain, for any scores: what the tail's law got wrong is paid back. Where the budget's share of points
    holds the level up, events are fewer.

    Parameters
    ----------
    drift, kept_peaks
        See `PeaksThreshold`.
    gain
        Natural logarithm by which one event moves the rate aimed at; 0 never does. On rows of NAB's series outside
        their labels, at one alarm a month, a moving average's events were 1.5 times the budget with .3 and 1.2
        times with 1.

    References
    ----------
    Gibbs and Candes (2021), Adaptive conformal inference under distribution shift. Ours controls events a row
    instead of the share of misses, and moves the logarithm of the rate, so that the level keeps a sensible unit.
    """

    name = "adaptive"

    def __init__(self, *, drift: int = 500, kept_peaks: int = 200, gain: float = 1.0) -> None:
        super().__init__(drift=drift, kept_peaks=kept_peaks)
        self.gain = real("gain", gain, low=0, high=5)
        self._correction = self._applied = 0.0

    @property
    def correction(self) -> float:
        """Natural logarithm of how many times fewer events the tail is asked for than the budget allows."""
        return self._correction

    def learn(self, scores: Floats) -> None:
        """Begin with no correction."""
        self._correction = self._applied = 0.0
        super().learn(scores)

    def level_with(self, lean: float) -> float:
        """Return the level, corrected by the events so far."""
        return super().level_with(lean + self._applied)

    def follow(self, score: float, reading: Reading) -> bool:
        """Learn as peaks do, and pay each event back."""
        moves = super().follow(score, reading)
        wanted = self.budget.rate * math.exp(-self.lean)  # what feedback moved must not be paid back
        moved = self._correction + self.gain * (float(reading.begins) - wanted)
        self._correction = min(max(moved, LEAST), MOST)
        if reading.begins or self._row % STEADY_ROWS == 0:
            self._applied = self._correction
        return moves or reading.begins

    def learned(self) -> State:
        """Return the tail's sample and the correction."""
        return super().learned() | {"correction": self._correction, "applied": self._applied}

    def relearn(self, state: State) -> None:
        """Take back what `learned` gave."""
        super().relearn(state)
        self._correction, self._applied = float(state["correction"]), float(state["applied"])
