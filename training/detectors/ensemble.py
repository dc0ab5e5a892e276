"""Detectors of different kinds on one scale, averaged: what one of them misses another sees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from cluster.errors import ConfigError
from training.core.component import State, build
from training.core.detector import Detector, DetectorTags
from training.core.parameters import real
from training.core.runner import Runner
from training.core.windows import Floats, Windows

MEMBERS: tuple[Mapping[str, Any], ...] = (
    {"name": "sub_pca", "params": {}},
    {"name": "poly", "params": {}},
    {"name": "kmeans", "params": {}},
    {"name": "local_outlier_factor", "params": {}},
    {"name": "isolation_forest", "params": {"window": None}},
)
"""Kinds that lead the public table, by their own defaults: size and direction of a piece, its distance from a curve
and from usual shapes, the air around it, and how easily it is set apart."""
MOST_SCORES = 20_000
"""Scores kept of each member, evenly spaced by rank, the largest among them."""


class DetectorEnsemble(Detector):
    """The weighted mean of its members' surprise: minus the logarithm of how often a score as high was seen at fit.

    Parameters
    ----------
    members
        `name` and `params` of each detector.
    weights
        Of the members, 0 or more, in their order; equal when None.

    References
    ----------
    Kriegel et al. (2011), Interpreting and Unifying Outlier Scores; Fisher (1925) for the sum of logarithms. Ours
    goes on above the highest score that was seen, by the logarithm of the excess, so that the stranger of two rows
    beyond everything known is still the stranger.
    """

    name: ClassVar[str] = "ensemble"
    tags: ClassVar[DetectorTags] = DetectorTags(online=True)

    def __init__(
        self, *, members: Sequence[Mapping[str, Any]] = MEMBERS, weights: Sequence[float] | None = None
    ) -> None:
        self.members = [dict(member) for member in members]
        self.weights = None if weights is None else [real("weights", weight, low=0) for weight in weights]
        if not self.members or any(set(member) != {"name", "params"} for member in self.members):
            raise ConfigError(f"parameter 'members': got {self.members}, expected name and params of one or more")
        if self.weights is not None and (len(self.weights) != len(self.members) or not sum(self.weights) > 0):
            raise ConfigError(
                f"parameter 'weights': got {self.weights}, expected {len(self.members)} numbers, some above 0",
                parameter="weights",
            )
        self._detectors = self._made()

    @classmethod
    def example_params(cls) -> dict[str, Any]:
        """Return two members of different lengths that see no future."""
        shape = {"name": "sub_pca", "params": {"window": 12, "align": "end"}}
        return {"members": [shape, {"name": "z_score", "params": {}}], "weights": [1.0, 2.0]}

    def _made(self) -> list[Detector]:
        from training.detectors import DETECTORS

        return [build(DETECTORS, member["name"], member["params"]) for member in self.members]

    @property
    def causal(self) -> bool:
        """Whether no member sees the future."""
        return all(detector.causal for detector in self._detectors)

    def lookback(self, state: State) -> int:
        """Return the longest of the members'."""
        pairs = zip(self._detectors, state["members"], strict=True)
        return max(detector.lookback(member["state"]) for detector, member in pairs)

    def learn(self, table: Windows, runner: Runner | None) -> State:
        """Let each member learn; keep the scores that it gives to what it learned from."""
        return {"members": [_learned(detector, table, runner) for detector in self._detectors]}

    def judge(self, state: State, table: Windows) -> Floats:
        """Return (R,) the weighted mean surprise of the members that have a score for the row."""
        surprise = self.surprises(state, table)
        weights = np.ones(len(surprise)) if self.weights is None else np.array(self.weights)
        heard = np.where(np.isnan(surprise), 0.0, weights[:, None])
        with np.errstate(invalid="ignore"):  # no member has a score: 0 / 0 is the NaN that says so
            scores: Floats = (np.nan_to_num(surprise) * heard).sum(axis=0) / heard.sum(axis=0)
        if self.causal:
            scores[: self.lookback(state)] = np.nan  # a mean of fewer members would not be on the same scale
        return scores

    def surprises(self, state: State, table: Windows) -> Floats:
        """Return (M, R) each member's surprise, in nats; NaN where it has no score."""
        pairs = zip(self._detectors, state["members"], strict=True)
        return np.stack([surprise(detector.judge(member["state"], table), member) for detector, member in pairs])


def _learned(detector: Detector, table: Windows, runner: Runner | None) -> State:
    state = detector.learn(table, runner)
    seen = detector.judge(state, table)
    ranked = np.sort(seen[np.isfinite(seen)])
    kept = ranked[np.linspace(0, len(ranked) - 1, min(len(ranked), MOST_SCORES)).astype(np.int64)]
    return {"state": state, "seen": kept, "excess": float(max(kept[-1] - np.median(kept), 1e-12))}


def surprise(scores: Floats, member: State) -> Floats:
    """Return minus the logarithm of the share of known scores that are as high; more beyond the highest.

    Parameters
    ----------
    scores
        (R,) of one member.
    member
        `seen`, its known scores in ascending order, and `excess`, how far the highest is above their median.
    """
    seen = np.asarray(member["seen"])
    higher = len(seen) - np.searchsorted(seen, scores, side="left")
    beyond = np.log1p((scores - seen[-1]).clip(0) / member["excess"])
    told: Floats = np.log(len(seen) + 1.0) - np.log1p(higher) + beyond
    return np.where(np.isnan(scores), np.nan, told)
