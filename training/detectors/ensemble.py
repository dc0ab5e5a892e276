"""Detectors of different kinds on one scale, averaged: what one of them misses another sees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np

from cluster.errors import ConfigError, DataError, UnknownNameError
from training.core.component import State, build
from training.core.detector import Detector, DetectorTags, parts
from training.core.detector_input import read_table
from training.core.panel import Panel
from training.core.parameters import one_of, real
from training.core.period import repetition
from training.core.runner import Runner
from training.core.windows import Floats, Windows
from training.detectors.poly import Poly
from training.detectors.subsequences import Subsequences
from training.detectors.weighing import Flags, Say, agreements, average_precision, by_character

MEMBERS: tuple[Mapping[str, Any], ...] = (
    {"name": "sub_pca", "params": {}},
    {"name": "poly", "params": {"power": 4}},
    {"name": "kmeans", "params": {}},
    {"name": "local_outlier_factor", "params": {}},
    {"name": "isolation_forest", "params": {"window": None}},
)
"""Kinds that lead the public table, by their defaults: size and direction of a piece, its distance from a curve
and from usual shapes, the air around it, and how easily it is set apart. The curve's degree is that table's own;
`Poly` has by default the one that was best on public series, labels in view."""
OF_ROWS: tuple[Mapping[str, Any], ...] = (
    {"name": "z_score", "params": {}},
    {"name": "moving_average", "params": {}},
    {"name": "forecast_residual", "params": {}},
)
"""Kinds that need no period: how far a row is from all rows, from the last ones, and from its forecast."""
MOST_SCORES = 20_000
"""Scores kept of each member, evenly spaced by rank, the largest among them."""


TIE = 1e-9
"""Share of a member's largest score up to which two differ by rounding alone: where a series repeats itself, the
order of such scores says nothing."""
WEIGHTINGS = ("agreement", "character", "equal")


class DetectorEnsemble(Detector):
    """The weighted mean of its members' surprise: minus the logarithm of how often a score as high was seen at fit.

    Parameters
    ----------
    members
        `name` and `params` of each detector.
    weighting
        Without labels: `agreement` lets a member count, for each series, as much as what surprises it surprises the
        others too; members that contradict the others do not count. `character` lets those that judge pieces count
        more where the series repeats itself, the others where it does not: see `by_character`. With OF_ROWS beside
        MEMBERS it found more of NAB's windows within a budget, at levels from crossed scores, and ranked rows much
        worse (VUS-PR). `equal` lets all count the same.
    weights
        Of the members, 0 or more, in their order, for all series, in place of `weighting`.

    References
    ----------
    Kriegel et al. (2011), Interpreting and Unifying Outlier Scores; Fisher (1925) for the sum of logarithms. Ours
    goes on above the highest score that was seen, by the logarithm of the excess, so that the stranger of two rows
    beyond everything known is still the stranger. Rayana and Akoglu (2016), Less is More: Building Selective
    Anomaly Ensembles, for agreement as a judge where there are no labels.
    """

    name: ClassVar[str] = "ensemble"
    tags: ClassVar[DetectorTags] = DetectorTags(online=True)

    def __init__(
        self,
        *,
        members: Sequence[Mapping[str, Any]] = MEMBERS,
        weighting: str = "agreement",
        weights: Sequence[float] | None = None,
    ) -> None:
        self.weighting = one_of("weighting", weighting, WEIGHTINGS)
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
        """Return members of different lengths that see no future."""
        piece = {"window": 12, "align": "end"}
        shapes = [{"name": name, "params": piece} for name in ("sub_pca", "kmeans")]
        return {"members": [*shapes, {"name": "z_score", "params": {}}]}

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
        """Let each member learn; keep the scores that it gives to what it learned from, and how far they agree."""
        states = [detector.learn(table, runner) for detector in self._detectors]
        pairs = zip(self._detectors, states, strict=True)
        seen = [detector.judge(state, table) for detector, state in pairs]
        scales = [_scale(scores) for scores in seen]
        told = np.stack([surprise(scores, scale) for scores, scale in zip(seen, scales, strict=True)])
        members = [{"state": state, **scale} for state, scale in zip(states, scales, strict=True)]
        agreement = agreements(told[:, ~np.isnan(told).any(axis=0)])
        period, repeats = repetition(table.rows)
        weights = self._weights(agreement, repeats)
        character = {"period": period, "repeats": repeats}
        return {"members": members, "agreement": agreement, "weights": weights, **character}

    def _weights(self, agreement: Floats, repeats: float) -> Floats:
        """Return (M,) weights with the sum 1."""
        if self.weights is not None:
            chosen = np.array(self.weights)
        elif self.weighting == "character":
            chosen = by_character(np.array([of_pieces(detector) for detector in self._detectors]), repeats)
        elif self.weighting == "agreement" and (agreement > 0).any():
            chosen = agreement.clip(0)
        else:
            chosen = np.ones(len(agreement))
        shares: Floats = chosen / chosen.sum()
        return shares

    def weigh(self, panel: Panel, strange: Mapping[str, Flags]) -> Self:
        """Let members count as much as their surprise tells labelled rows apart, series by series.

        A member's weight is what its average precision has above chance, the share of strange rows. Series without
        labels keep the weights they have.

        Parameters
        ----------
        panel
            Rows of the fitted columns.
        strange
            Series id -> (R,) whether each of its rows is strange; both kinds of rows must be there.

        Raises
        ------
        DataError
            Labels do not fit the rows, or are all the same.
        UnknownNameError
            A series is not in the panel, or was not fitted.
        """
        rows = dict(parts(read_table(panel, self.columns)))
        for series, flags in strange.items():
            if series not in rows:
                raise UnknownNameError.of("series", series, rows)
            self._states = {**self._states, series: self._weighed(series, rows[series], flags)}
        return self

    def _weighed(self, series: str, part: Windows, flags: Flags) -> State:
        state, known = self.state_of(series), np.asarray(flags, dtype=bool)
        if known.shape != (len(part.rows),) or known.all() or not known.any():
            raise DataError.at(
                f"series '{series}': labels cannot weigh detectors",
                got=f"{known.size} labels, {int(known.sum())} of them strange",
                expected=f"{len(part.rows)} labels, a row each, some strange and some not",
                series=series,
            )
        ready = self._ready(series, part)
        told = np.nan_to_num(self.surprises(state, ready))
        precision = np.array([average_precision(known[-len(ready.rows) :], each) for each in told])
        above = (precision - known.mean()).clip(0)
        shares = above / above.sum() if above.any() else np.asarray(state["weights"])
        return {**state, "weights": shares, "precision": precision, "chance": float(known.mean())}

    def says(self, series: str) -> tuple[Say, ...]:
        """Return how much each member counts for a series, and why, the weightiest first."""
        state = self.state_of(series)
        told = [self._say(state, at) for at in range(len(self._detectors))]
        return tuple(sorted(told, key=lambda say: -say.weight))

    def _say(self, state: State, at: int) -> Say:
        agreed = float(state["agreement"][at])
        precision = float(state["precision"][at]) if "precision" in state else None
        if precision is not None:
            why = f"on labelled rows its average precision is {precision:.2f}, by chance {state['chance']:.2f}"
        elif self.weights is not None:
            why = "its weight was given"
        elif self.weighting == "equal":
            why = "all members count the same"
        elif self.weighting == "character":
            kind = "pieces" if of_pieces(self._detectors[at]) else "single rows"
            why = f"it judges {kind}, and rows {state['period']} apart have the correlation {state['repeats']:.2f}"
        elif len(self.members) == 1:
            why = "it is alone"
        else:
            others = "surprises" if agreed > 0 else "does not surprise"
            why = f"what surprises it {others} the others{' too' if agreed > 0 else ''}: correlation {agreed:.2f}"
        return Say(
            member=self._detectors[at].name,
            weight=float(state["weights"][at]),
            agreement=agreed if len(self.members) > 1 else None,
            precision=precision,
            why=why,
        )

    def judge(self, state: State, table: Windows) -> Floats:
        """Return (R,) the weighted mean surprise of the members that have a score for the row."""
        told = self.surprises(state, table)
        heard = np.where(np.isnan(told), 0.0, np.asarray(state["weights"])[:, None])
        with np.errstate(invalid="ignore"):  # no member has a score: 0 / 0 is the NaN that says so
            scores: Floats = (np.nan_to_num(told) * heard).sum(axis=0) / heard.sum(axis=0)
        return scores

    @property
    def member_names(self) -> tuple[str, ...]:
        """Catalog names of the members, in order."""
        return tuple(str(member["name"]) for member in self.members)

    def taught_scores(self, panel: Panel) -> list[Floats]:
        """Return the members' scores that were kept at fit."""
        return [np.asarray(member["seen"]) for member in self.state_of(panel.series[0])["members"]]

    def member_weights(self, series: str) -> Floats:
        """Return (M,) how much each member counts for a series, with the sum 1."""
        return np.asarray(self.state_of(series)["weights"])

    def surprises(self, state: State, table: Windows) -> Floats:
        """Return (M, R) each member's surprise, in nats; NaN where it has no score."""
        pairs = zip(self.member_scores(state, table), state["members"], strict=True)
        return np.stack([surprise(scores, member) for scores, member in pairs])

    def member_score(self, state: State, at: int, table: Windows) -> Floats:
        """Return (R,) one member's own score, on its own scale; NaN where it has none."""
        scores = self._detectors[at].judge(state["members"][at]["state"], table)
        if self.causal:
            scores[: self.lookback(state)] = np.nan  # a mean of fewer members would not be on the same scale
        return scores


def of_pieces(detector: Detector) -> bool:
    """Return whether a detector judges pieces about a period long, and not rows or forecasts of them."""
    return isinstance(detector, Subsequences | Poly) and detector.window != 1


def _scale(seen: Floats) -> State:
    """Return what `surprise` measures a member's scores by."""
    ranked = np.sort(seen[np.isfinite(seen)])
    kept = ranked[np.linspace(0, len(ranked) - 1, min(len(ranked), MOST_SCORES)).astype(np.int64)]
    tie = TIE * float(np.abs(kept).max())
    return {"seen": kept, "excess": float(max(kept[-1] - np.median(kept), tie, 1e-300)), "tie": tie}


def surprise(scores: Floats, member: State) -> Floats:
    """Return minus the logarithm of the share of known scores that are as high; more beyond the highest.

    Parameters
    ----------
    scores
        (R,) of one member.
    member
        `seen`, its known scores in ascending order; `excess`, how far the highest is above their median; `tie`, the
        difference up to which scores are equal.
    """
    seen = np.asarray(member["seen"])
    higher = len(seen) - np.searchsorted(seen, scores - member["tie"], side="left")
    beyond = np.log1p((scores - member["tie"] - seen[-1]).clip(0) / member["excess"])
    told: Floats = np.log(len(seen) + 1.0) - np.log1p(higher) + beyond
    return np.where(np.isnan(scores), np.nan, told)
