"""Mean plus three standard deviations: what everybody has, as a baseline."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

from training.core.component import State
from training.core.parameters import real, whole
from training.core.windows import Floats
from training.evaluation.alarm_budget import extremal_index
from training.evaluation.threshold import Reading, Threshold

NORMAL = NormalDist()
LEAST_CHANCE = 1e-300


class SigmaThreshold(Threshold):
    """A row is strange above mean + `sigmas` standard deviations of the scores.

    It takes scores for normally distributed, and keeps no budget: `expected_alarms_per_month` says how many
    alarms it would raise if they were.

    Parameters
    ----------
    sigmas
        Standard deviations above the mean, above 0.
    memory
        Rows over which mean and deviation follow the stream, 2 or more.
    """

    name = "sigma"

    def __init__(self, *, sigmas: float = 3.0, memory: int = 5_000) -> None:
        self.sigmas = real("sigmas", sigmas, low=0, high=37, above=True)
        self.memory = whole("memory", memory, low=2)
        self._mean = self._square = self._theta = 0.0
        self._seen = 0

    def learn(self, scores: Floats) -> None:
        """Take mean, deviation and how strange rows come in runs."""
        self._mean, self._square, self._seen = float(scores.mean()), float(scores.var()), len(scores)
        self._theta = extremal_index(scores, self.level_with(0.0), self.budget.gap)

    def level_with(self, lean: float) -> float:
        """Return the level; leaning divides the normal tail's chance."""
        sigmas = self.sigmas
        if lean:
            chance = min(max(NORMAL.cdf(-sigmas) * math.exp(-lean), LEAST_CHANCE), 1 - 1e-16)
            sigmas = -NORMAL.inv_cdf(chance)
        return self._mean + sigmas * math.sqrt(self._square)

    def tail(self, scores: Floats) -> Floats:
        """Return the normal law's tail."""
        return np.array([self._p_value(score) for score in scores.tolist()])

    def _p_value(self, score: float) -> float:
        return 0.5 * math.erfc((score - self._mean) / math.sqrt(2.0 * self._square))

    def expected_rate(self, level: float) -> float:
        """Return the normal tail's chance, runs counted once."""
        return self._theta * self._p_value(level)

    def follow(self, score: float, reading: Reading) -> bool:
        """Move mean and deviation; a strange score counts as the level, so that it cannot hide the next."""
        self._seen = min(self._seen + 1, self.memory)
        step = min(score, reading.level) - self._mean
        self._mean += step / self._seen
        self._square += (step * step * (1.0 - 1.0 / self._seen) - self._square) / self._seen
        return True

    def learned(self) -> State:
        """Return the moments."""
        return {"mean": self._mean, "square": self._square, "theta": self._theta, "seen": self._seen}

    def relearn(self, state: State) -> None:
        """Take back the moments."""
        self._mean, self._square = float(state["mean"]), float(state["square"])
        self._theta, self._seen = float(state["theta"]), int(state["seen"])
