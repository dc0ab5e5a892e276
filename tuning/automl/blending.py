"""Which blend: the best alone, a vote, greedy selection or stacking; judged on rows that it was not made on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from training.core.table import Values
from training.core.windows import Floats
from training.tabular.blend import Blend, Kind, logarithms

Scorer = Callable[[Floats], Floats]

LIBRARY = 24
"""The most candidates that a blend chooses among, the best by their own score."""
BAG = 40
"""Picks of the greedy selection: weights are multiples of a fortieth at the finest."""
VOTERS = (3, 5)
"""How many of the best families' best candidates vote."""
PARTS = 5
"""Parts of the rows: a blend that is made on the others is judged on each."""
LEAST_WEIGHT = 0.02
"""A candidate with a smaller weight moves the answer by less than it costs to keep."""
SHRINK = 1e-3
"""Weight of the squares of stacking's weights beside the mean loss."""
TEMPERATURES = np.exp(np.linspace(-1.2, 1.2, 25))


@dataclass(frozen=True, kw_only=True)
class Blending:
    """The chosen blend, and what it was chosen by.

    Parameters
    ----------
    blend
        Made on all rows; weights are 0 for candidates that it leaves out.
    losses
        Each kind's mean loss on rows that it was not made on.
    errors
        Standard error of each kind's difference from the chosen one.
    """

    blend: Blend
    losses: Mapping[str, float]
    errors: Mapping[str, float]

    @property
    def why(self) -> str:
        """The choice in words."""
        told = ", ".join(
            f"{kind} {loss:.4g}" for kind, loss in sorted(self.losses.items(), key=lambda each: each[1])
        )
        return f"{self.blend.kind} has the least loss on rows that the blend was not made on: {told}"


def row_losses(outputs: Floats, truth: Values) -> Floats:
    """Return (N,) squared errors, or minus the logarithms of the true classes' probabilities."""
    if outputs.shape[1] == 1:
        squares: Floats = np.square(outputs[:, 0] - truth)
        return squares
    losses: Floats = -logarithms(outputs[np.arange(len(truth)), truth])
    return losses


def choose_blend(
    outputs: Floats, truth: Values, families: Sequence[str], *, ordered: bool = False, seed: int = 0
) -> Blending:
    """Return the blend of least loss on rows that it was not made on.

    Stacking, which has the most to learn, must be better than the best of the others by a standard error.

    Parameters
    ----------
    outputs
        (C, N, G) of candidates, the best first, for rows that they had not seen.
    truth
        (N,).
    families
        (C,) names: a vote has one of each.
    ordered
        Rows are in time: parts are blocks of them.

    References
    ----------
    Caruana, Niculescu-Mizil, Crew and Ksikes (2004), Ensemble selection from libraries of models; Wolpert (1992),
    Stacked generalization; Breiman (1996), Stacked regressions, for weights that are not negative.
    """
    makers = _makers(len(outputs), families, classes=outputs.shape[2] > 1)
    parts = np.arange(len(truth)) * PARTS // len(truth)
    if not ordered:
        parts = np.random.default_rng(seed).permutation(parts)
    found = {kind: np.empty(len(truth)) for kind in makers}
    for part in range(PARTS):
        here = parts == part
        for kind, maker in makers.items():
            made = maker(outputs[:, ~here], truth[~here])
            found[kind][here] = row_losses(made.apply(outputs[:, here]), truth[here])
    losses = {kind: float(each.mean()) for kind, each in found.items()}
    best = min((kind for kind in makers if kind != "stack"), key=lambda kind: losses[kind])
    if "stack" in makers and losses["stack"] < losses[best] - _error(found["stack"], found[best]):
        best = "stack"
    return Blending(
        blend=makers[best](outputs, truth),
        losses=losses,
        errors={kind: _error(each, found[best]) for kind, each in found.items()},
    )


def _error(left: Floats, right: Floats) -> float:
    """Return the standard error of the mean difference of two rows of losses."""
    return float((left - right).std() / np.sqrt(len(left)))


Maker = Callable[[Floats, Values], Blend]


def _makers(count: int, families: Sequence[str], *, classes: bool) -> dict[str, Maker]:
    """Return what makes a blend of each kind; each ranks the candidates by the rows that it is given alone."""
    makers: dict[str, Maker] = {"single": _Vote("single", 1, families)}
    kinds = len(set(families))
    makers |= {f"vote of {size}": _Vote("vote", size, families) for size in VOTERS if size <= kinds}
    if count > 1:
        makers["greedy"] = lambda outputs, truth: _settled("greedy", _greedy(outputs, truth), outputs, truth)
        makers["stack"] = _Pruned(_log_pool if classes else _least_squares)
    return makers


@dataclass(frozen=True)
class _Vote:
    """The best candidate of each of the best families, all alike."""

    kind: Kind
    size: int
    families: Sequence[str]

    def __call__(self, outputs: Floats, truth: Values) -> Blend:
        ranked = np.argsort([float(row_losses(each, truth).mean()) for each in outputs], kind="stable")
        firsts = {self.families[at]: int(at) for at in reversed(ranked)}
        best = [int(at) for at in ranked if firsts[self.families[at]] == at][: self.size]
        weights = np.zeros(len(outputs))
        weights[best] = 1 / len(best)
        return _settled(self.kind, weights, outputs, truth)


@dataclass(frozen=True)
class _Pruned:
    """A blend without candidates of next to no weight: the others are weighed anew."""

    maker: Maker

    def __call__(self, outputs: Floats, truth: Values) -> Blend:
        made = self.maker(outputs, truth)
        kept = made.weights >= LEAST_WEIGHT * made.weights.max()
        if kept.all():
            return made
        again = self.maker(outputs[kept], truth)
        weights = np.zeros(len(outputs))
        weights[kept] = again.weights
        return replace(again, weights=weights)


def _settled(kind: Kind, weights: Floats, outputs: Floats, truth: Values) -> Blend:
    """Return a weighted mean; of probabilities with the temperature of least loss."""
    blend = Blend(kind=kind, weights=weights, bias=np.zeros(outputs.shape[2]))
    if outputs.shape[2] == 1:
        return blend
    logs = logarithms(np.tensordot(weights, outputs, axes=1))
    own = np.take_along_axis(logs, np.asarray(truth)[:, None], axis=1)
    losses = [float((np.log(np.exp(logs * each).sum(axis=1)) - own[:, 0] * each).mean()) for each in TEMPERATURES]
    warm = float(TEMPERATURES[int(np.argmin(losses))])
    return Blend(kind=kind, weights=weights, bias=blend.bias, temperature=warm)


def _greedy(outputs: Floats, truth: Values) -> Floats:
    """Return (C,) weights: one candidate at a time joins the bag, the one after which its mean loses least."""
    seen = outputs[:, :, 0] - truth if outputs.shape[2] == 1 else outputs[:, np.arange(len(truth)), truth]
    loss = _squares if outputs.shape[2] == 1 else _surprise
    counts, total = np.zeros(len(outputs)), np.zeros(len(truth))
    best, least = counts, np.inf
    for picked in range(1, BAG + 1):
        losses = loss((total + seen) / picked)
        choice = int(np.argmin(losses))
        counts = counts + np.eye(len(outputs))[choice]
        total = total + seen[choice]
        if losses[choice] < least * (1 - 1e-6):
            best, least = counts, float(losses[choice])
    shares = best / best.sum()
    shares = np.where(shares >= min(LEAST_WEIGHT, shares.max()), shares, 0.0)
    weights: Floats = shares / shares.sum()
    return weights


def _squares(errors: Floats) -> Floats:
    means: Floats = np.square(errors).mean(axis=1)
    return means


def _surprise(own: Floats) -> Floats:
    means: Floats = -logarithms(own).mean(axis=1)
    return means


def _least_squares(outputs: Floats, truth: Values) -> Blend:
    """Return weights that are not negative, and a bias, of least squared error; shrunk towards the even mean."""
    from scipy.optimize import nnls

    count, rows = outputs.shape[:2]
    centre, scale = truth.mean(), truth.std() or 1.0
    inputs = (outputs[:, :, 0].T - centre) / scale
    means, middle = inputs.mean(axis=0), 0.0
    pull = np.sqrt(SHRINK * rows)
    left = np.vstack([inputs - means, pull * np.eye(count)])
    right = np.concatenate([(truth - centre) / scale - middle, np.full(count, pull / count)])
    weights, _ = nnls(left, right)
    bias = centre * (1 - weights.sum()) + scale * (middle - means @ weights)
    return Blend(kind="stack", weights=weights, bias=np.array([bias]))


def _log_pool(outputs: Floats, truth: Values) -> Blend:
    """Return weights that are not negative, and a bias a class, of the logarithms' sum with the least log loss."""
    from scipy.optimize import minimize

    count, rows, classes = outputs.shape
    logs, own = logarithms(outputs), np.arange(rows)
    start = np.concatenate([np.full(count, 1 / count), np.zeros(classes)])

    def loss(point: Floats) -> tuple[float, Floats]:
        weights, bias = point[:count], point[count:]
        scores = np.tensordot(weights, logs, axes=1) + bias
        scores -= scores.max(axis=1, keepdims=True)
        powers = np.exp(scores)
        sums = powers.sum(axis=1, keepdims=True)
        away = powers / sums
        value = float((np.log(sums[:, 0]) - scores[own, truth]).mean())
        away[own, truth] -= 1
        slope = np.concatenate([np.tensordot(logs, away, axes=([1, 2], [0, 1])), away.sum(axis=0)]) / rows
        off = np.concatenate([weights - 1 / count, bias])
        return value + SHRINK * float(off @ off), slope + 2 * SHRINK * off

    bounds = [(0.0, None)] * count + [(None, None)] * classes
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 100})
    return Blend(kind="stack", pool="log", weights=found.x[:count], bias=found.x[count:])
