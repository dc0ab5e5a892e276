"""How the outputs of several candidates become one: a weighted mean, or a mean of logarithms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from training.core.component import State
from training.core.tabular import softmax
from training.core.windows import Floats

LEAST_PROBABILITY = 1e-7
"""A probability below this is read as this, lest one candidate's certainty silence the others."""

Kind = Literal["single", "vote", "greedy", "stack"]
Pool = Literal["linear", "log"]


@dataclass(frozen=True, kw_only=True)
class Blend:
    """What was learned of C candidates' outputs (C, N, G).

    Parameters
    ----------
    kind
        How the weights were found: the best candidate alone, all of the chosen alike, greedy selection, stacking.
    pool
        `linear`: a weighted mean; `log`: probabilities from a weighted sum of their logarithms.
    weights
        (C,) 0 or more.
    bias
        (G,) added at the end: to the prediction, or to the logarithms.
    temperature
        Factor on the logarithms of a linear pool's probabilities: above 1 makes them surer.
    """

    kind: Kind
    pool: Pool = "linear"
    weights: Floats
    bias: Floats
    temperature: float = 1.0

    def apply(self, outputs: Floats) -> Floats:
        """Return (N, G) for (C, N, G)."""
        classes = outputs.shape[2] > 1
        if self.pool == "log":
            return softmax(np.tensordot(self.weights, logarithms(outputs), axes=1) + self.bias)
        mixed: Floats = np.tensordot(self.weights, outputs, axes=1)
        if not classes:
            return mixed + self.bias
        if self.temperature == 1.0 and not self.bias.any():
            mixed /= mixed.sum(axis=1, keepdims=True)
            return mixed
        return softmax(logarithms(mixed) * self.temperature + self.bias)

    def only(self, used: list[int]) -> Blend:
        """Return the same for the used candidates alone."""
        return Blend(
            kind=self.kind,
            pool=self.pool,
            weights=self.weights[used],
            bias=self.bias,
            temperature=self.temperature,
        )

    def state(self) -> State:
        """Return it as a state."""
        return {
            "kind": self.kind,
            "pool": self.pool,
            "weights": self.weights,
            "bias": self.bias,
            "temperature": self.temperature,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Blend:
        """Rebuild what `state` gave."""
        return cls(**state)


def logarithms(probabilities: Floats) -> Floats:
    """Return the logarithms, none below that of LEAST_PROBABILITY."""
    found: Floats = np.log(probabilities.clip(LEAST_PROBABILITY))
    return found
