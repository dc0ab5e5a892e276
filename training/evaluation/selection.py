"""Which families forecast which series, in what shares, and why: decided on rolling-origin backtests."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from cluster.errors import ConfigError, InsufficientHistoryError, UnknownNameError
from training.core.simplex import weights_on_simplex
from training.core.windows import Floats, Ints
from training.evaluation.greedy import greedy_weights
from training.evaluation.rolling import Family, Rolling

Measure = Literal["mase", "wape"]
COVERED = 0.9
"""A family that lacks more than a tenth of the forecasts that others have is not compared: it would be judged, and
judge the others, on the easy series alone."""

WORTH = 0.005
"""Share of the error below which a gain buys no complexity, however sure it is."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """How a family did.

    Parameters
    ----------
    family
        Its label.
    score
        Mean scaled error over all forecasts: lower is better.
    spread
        Standard error of `score` over the cut-offs; NaN with one.
    behind, behind_spread
        How much worse than the best, and the standard error of that difference, cut-off by cut-off.
    won
        Cut-offs on which it was better than the best family; for the best itself, than the next best.
    """

    family: str
    score: float
    spread: float
    behind: float
    behind_spread: float
    won: int


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What forecasts one group of series.

    Parameters
    ----------
    group
        Its name.
    series
        Whose forecasts it was decided on, and for whom it is.
    forecasts, cutoffs
        How many (series, cut-off) pairs, on how many cut-offs, all compared families have.
    scores
        Of each family, best first.
    left_out
        Family -> why it was not compared.
    weights
        Family -> share, sum 1.
    reasons
        Why, in words with figures.
    """

    group: str
    series: tuple[str, ...]
    forecasts: int
    cutoffs: int
    scores: tuple[Score, ...]
    left_out: Mapping[str, str]
    weights: Mapping[str, float]
    reasons: tuple[str, ...]

    def rows(self) -> list[dict[str, Any]]:
        """Return a row a family, for a table."""
        return [
            {
                "group": self.group,
                "family": each.family,
                "error": each.score,
                "+-": each.spread,
                "behind": each.behind,
                "won": f"{each.won} of {self.cutoffs}",
                "weight": self.weights.get(each.family, 0.0),
            }
            for each in self.scores
        ]


@dataclass(frozen=True, kw_only=True)
class Selection:
    """A choice for each group of series.

    Parameters
    ----------
    measure
        `mase` or `wape`.
    horizon
        Steps of the forecasts that were compared.
    first, last
        First and last moment that was forecast from.
    families
        What was compared, in order of complexity.
    choices
        One a group.
    """

    measure: Measure
    horizon: int
    first: str
    last: str
    families: tuple[Family, ...]
    choices: tuple[Choice, ...]

    def choice(self, group: str) -> Choice:
        """Return a group's choice."""
        for each in self.choices:
            if each.group == group:
                return each
        raise UnknownNameError.of("group", group, [each.group for each in self.choices])

    def members(self, group: str) -> list[tuple[Family, float]]:
        """Return a group's families with their shares, largest first."""
        weights = self.choice(group).weights
        chosen = [(family, weights[family.label]) for family in self.families if family.label in weights]
        return sorted(chosen, key=lambda pair: -pair[1])

    def to_json(self) -> dict[str, Any]:
        """Return JSON-able data; null for what is not a number."""
        told: dict[str, Any] = _plain(asdict(self))
        return told


def select(rolling: Rolling, *, groups: Mapping[str, str] | None = None, measure: Measure = "mase") -> Selection:
    """Choose families for each group of series.

    The best single family is the simplest whose error is within one standard error of the lowest, cut-off by
    cut-off, or within half a percent: a gain that is tiny, or that the cut-offs do not agree on, buys no
    complexity. An ensemble takes its place only where it gains more than that on cut-offs that its weights were not
    chosen on. Its weights are greedy ones. The exact weights of `training.core.simplex`, which an Ensemble fits on
    thousands of validation windows, were no better on unseen cut-offs (the reasons show both), and leave no member
    out.

    Parameters
    ----------
    rolling
        The forecasts; its families in order of complexity, the simplest first. What is chosen depends on them
        alone, so on nothing at or after the `until` that they were made with.
    groups
        Series -> group, usually those of the backtest; one group `all` when None.
    measure
        Makes errors of different series comparable: `mase` divides by the mean seasonal change before the first
        cut-off, `wape` by the mean absolute value of what was forecast.

    Raises
    ------
    ConfigError
        There is one cut-off only, or the measure is unknown.
    InsufficientHistoryError
        No series of any group has forecasts.

    References
    ----------
    Breiman, Friedman, Olshen and Stone (1984), Classification and Regression Trees, section 3.4.3, for the rule of
    one standard error. Ours takes it of the paired differences, so that hard cut-offs, which are hard for every
    family, do not hide what tells them apart.
    """
    if measure not in ("mase", "wape"):
        raise ConfigError(f"measure: got {measure!r}, expected mase or wape", field="measure")
    if len(rolling.moments) < 2:
        raise ConfigError(
            "a choice needs 2 cut-offs or more, to say how sure it is: got 1; raise `cutoffs`", field="cutoffs"
        )
    names = np.array([(groups or {}).get(series, "all") for series in rolling.series])
    choices = [_choose(rolling, group, np.flatnonzero(names == group), measure) for group in sorted(set(names))]
    if not any(choice.weights for choice in choices):
        said = "; ".join(fault.error.message for fault in rolling.faults[:3])
        raise InsufficientHistoryError(f"no family could be compared on any series: {said}")
    return Selection(
        measure=measure,
        horizon=rolling.plan.horizon,
        first=str(rolling.moments[0])[:19],
        last=str(rolling.moments[-1])[:19],
        families=rolling.families,
        choices=tuple(choices),
    )


def _choose(rolling: Rolling, group: str, chosen: Ints, measure: Measure) -> Choice:
    labels = [family.label for family in rolling.families]
    off, actual = rolling.points[:, chosen] - rolling.actual[chosen], rolling.actual[chosen]
    there = np.isfinite(off).all(axis=(3, 4))
    left_out = _left_out(rolling, chosen, there)
    compared = [at for at, label in enumerate(labels) if label not in left_out]
    common = there[compared].all(axis=0) if compared else np.zeros(there.shape[1:], dtype=bool)
    told = partial(Choice, group=group, series=tuple(rolling.series[at] for at in chosen), left_out=left_out)
    if not common.any():
        reason = "nothing to choose between: no forecast that all compared families have"
        return told(forecasts=0, cutoffs=0, scores=(), weights={}, reasons=(reason,))
    unit = rolling.scale[chosen] if measure == "mase" else _mean_size(actual, common)
    scaled = (off[compared] / unit[None, :, None, None, :])[:, common].reshape(len(compared), common.sum(), -1)
    cutoff = np.nonzero(common)[1]
    duel = Duel(errors=scaled.astype(np.float64), cutoff=cutoff, labels=[labels[at] for at in compared])
    weights, reasons = duel.decide()
    return told(
        forecasts=int(common.sum()),
        cutoffs=len(np.unique(cutoff)),
        scores=duel.scores(),
        weights=weights,
        reasons=(*reasons, *(f"{label} was not compared: {why}" for label, why in left_out.items())),
    )


def _mean_size(actual: npt.NDArray[np.float32], common: npt.NDArray[np.bool_]) -> Floats:
    """Return (s, T) mean absolute values of what is forecast; 1 where that is 0."""
    sizes = np.where(common[:, :, None, None], np.abs(actual), np.nan).reshape(len(actual), -1, actual.shape[-1])
    counts = np.isfinite(sizes).sum(axis=1)
    mean = np.nansum(sizes, axis=1) / np.maximum(counts, 1)
    return np.where(mean > 0, mean, 1.0)


def _left_out(rolling: Rolling, chosen: Ints, there: npt.NDArray[np.bool_]) -> dict[str, str]:
    """Return the families that lack too many of the forecasts that others have, each with its first fault."""
    total = int(there.any(axis=0).sum())
    names = {rolling.series[at] for at in chosen}
    out = {}
    for family, have in zip(rolling.families, there, strict=True):
        if not total or have.sum() < COVERED * total:
            faults = [each for each in rolling.faults if each.family in ("", family.label)]
            said = next((each.error for each in faults if names & set(each.series)), None)
            cause = f"; {type(said).__name__}: {said.message}" if said else ""
            out[family.label] = f"it has {int(have.sum())} of {total} forecasts{cause}"
    return out


@dataclass(frozen=True, kw_only=True)
class Duel:
    """Families compared on the same forecasts.

    Parameters
    ----------
    errors
        (F, N, P) scaled errors of N forecasts, P values each.
    cutoff
        (N,) which cut-off each forecast was made from.
    labels
        (F,) the simplest first.
    """

    errors: Floats
    cutoff: Ints
    labels: Sequence[str]

    def by_cutoff(self, errors: Floats) -> Floats:
        """Return (K,) mean absolute errors of (N, P) errors."""
        sizes = np.abs(errors).mean(axis=1)
        return np.array([sizes[self.cutoff == at].mean() for at in np.unique(self.cutoff)])

    def table(self) -> Floats:
        """Return (F, K) each family's mean absolute error by cut-off."""
        return np.array([self.by_cutoff(one) for one in self.errors])

    def scores(self) -> tuple[Score, ...]:
        """Return the families' scores, best first."""
        table = self.table()
        means = table.mean(axis=1)
        order = np.argsort(means, kind="stable")
        out = []
        for at in order:
            rival = order[0] if at != order[0] else order[min(1, len(order) - 1)]
            out.append(
                Score(
                    family=self.labels[at],
                    score=float(means[at]),
                    spread=standard_error(table[at]),
                    behind=float(means[at] - means[order[0]]),
                    behind_spread=standard_error(table[at] - table[order[0]]),
                    won=int((table[at] < table[rival]).sum()),
                )
            )
        return tuple(out)

    def decide(self) -> tuple[dict[str, float], list[str]]:
        """Return the weights and the reasons for them."""
        scores = {score.family: score for score in self.scores()}
        best = next(iter(scores.values()))
        taken = next(scores[label] for label in self.labels if _within(scores[label]))
        reasons = [*self._why_best(list(scores.values())), *self._why_simpler(taken, best)]
        if len(self.labels) == 1:
            return {taken.family: 1.0}, reasons
        mixed = greedy_weights(self._flat(slice(None)))
        if np.count_nonzero(mixed) == 1:
            return {taken.family: 1.0}, [*reasons, "no ensemble has a lower error than its best member"]
        single = self.table()[self.labels.index(taken.family)]
        gains = single - self.unseen(greedy_weights)
        fine = gains.mean() > max(standard_error(gains), WORTH * single.mean())
        exact = self.unseen(lambda errors: weights_on_simplex(errors, np.zeros(errors.shape[1]), loss="absolute"))
        weights = {label: float(share) for label, share in zip(self.labels, mixed, strict=True) if share}
        reasons.append(self._why_mixed(weights, gains, single - exact, taken.family if not fine else None))
        return (weights if fine else {taken.family: 1.0}), reasons

    @staticmethod
    def _why_mixed(weights: Mapping[str, float], gains: Floats, exact: Floats, kept: str | None) -> str:
        shares = ", ".join(f"{label} {share:.2f}" for label, share in sorted(weights.items(), key=_by_share))
        verb = "gains" if gains.mean() > 0 else "loses"
        return (
            f"an ensemble of {shares} {verb} {abs(gains.mean()):.4f} +- {standard_error(gains):.4f} on cut-offs "
            f"that its weights were not chosen on, and is better on {int((gains > 0).sum())} of {len(gains)} "
            f"(exact weights in place of greedy ones: {exact.mean():+.4f}): "
            + (f"not taken, {kept} alone is as good within one standard error or {WORTH:.1%}" if kept else "taken")
        )

    def unseen(self, weigh: Callable[[Floats], Floats]) -> Floats:
        """Return (K,) errors on each cut-off of the mean whose weights were chosen on all others."""
        out = []
        for at in np.unique(self.cutoff):
            weights = weigh(self._flat(self.cutoff != at))
            mixed = np.tensordot(weights, self.errors[:, self.cutoff == at], axes=1)
            out.append(np.abs(mixed).mean())
        return np.array(out)

    def _flat(self, which: Any) -> Floats:
        return self.errors[:, which].reshape(len(self.errors), -1)

    def _why_best(self, scores: Sequence[Score]) -> list[str]:
        if len(scores) == 1:
            return [f"{scores[0].family} {scores[0].score:.4f} +- {scores[0].spread:.4f} is the only family"]
        best, cutoffs = scores[0], len(np.unique(self.cutoff))
        return [
            f"{best.family} {best.score:.4f} +- {best.spread:.4f} beats {each.family} {each.score:.4f} "
            f"on {cutoffs - each.won} of {cutoffs} cut-offs, by {each.behind:.4f} +- {each.behind_spread:.4f}"
            for each in scores[1:]
        ]

    @staticmethod
    def _why_simpler(taken: Score, best: Score) -> list[str]:
        if taken.family == best.family:
            return []
        return [
            f"{taken.family} is taken for {best.family}: it is simpler, and {taken.behind:.4f} behind is within "
            f"one standard error, {taken.behind_spread:.4f}, or {WORTH:.1%} of the error"
        ]


def standard_error(values: Floats) -> float:
    """Return the standard error of the mean of (K,) values; NaN where there is one."""
    return float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.nan


def _within(score: Score) -> bool:
    """Return whether a family is as good as the best, as far as the cut-offs can tell: with one cut-off all are."""
    return not score.behind > max(score.behind_spread, WORTH * (score.score - score.behind))


def _by_share(pair: tuple[str, float]) -> float:
    return -pair[1]


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
