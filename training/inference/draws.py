"""What a model might have learned instead: forecasts by models drawn at random, each for all windows alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np

from cluster.errors import InsufficientHistoryError, UserError
from training.core.estimator import Forecaster
from training.core.windows import Floats, Ints, Windows
from training.models.ensemble import Ensemble

Tell: TypeAlias = Callable[[str, int, int], None]

COSTLY = "torch"
"""Backend whose loops are too long to be run once a draw."""


@runtime_checkable
class Samples(Protocol):
    """A family that draws from what it does not know of its own parameters, faster than by refitting.

    Draw s is one model that forecasts all windows of the call, so that the draws of a baseline and of a scenario
    may be subtracted one by one: what they have in common cancels.
    """

    def samples(self, context: Windows, *, count: int, seed: int) -> Floats:
        """Return (S, N, H, T)."""
        ...


def silent(_what: str, _done: int, _count: int) -> None:
    """Tell nobody."""


def draws(
    forecaster: Forecaster, context: Windows, *, train: Windows, count: int, seed: int, tell: Tell = silent
) -> Floats:
    """Return (S, N, H, T): forecasts after N windows by S models that the same history might have led to.

    Families with `samples` (the LSTM: Monte-Carlo dropout) draw by themselves, an ensemble draws from each member
    and keeps its weights and features. All others are fitted again, as often as there are draws, on resampled
    windows: blocks of origins as long as a window, all series of an origin together, so that neighbours in time and
    what series share stay together; training stops early on the windows left out.

    A member that looks at nothing ahead responds to nothing, and one without weight counts for nothing: its one
    forecast stands for all its draws.

    The spread says how far the history leaves the model's parameters open. It does not say whether the family can
    express the truth at all, nor does it contain the noise of what is forecast. Block resampling is known to be a
    little too narrow where the history has few blocks.

    Parameters
    ----------
    forecaster
        Fitted.
    context
        N windows with what is known ahead of them.
    train
        Windows of `context + horizon` rows and the forecaster's columns, to resample from.
    count, seed
        S, and the seed of all draws.
    tell
        Is told a family's name, how often it was fitted again, and how often it will be.

    Raises
    ------
    UserError
        A family neither draws nor learns when it is fitted, or takes too long to be fitted once a draw.
    InsufficientHistoryError
        There are no windows to resample.

    References
    ----------
    Kuensch (1989), The jackknife and the bootstrap for general stationary observations; Politis and Romano (1992),
    A circular block-resampling procedure for stationary data; Gal and Ghahramani (2016), Dropout as a Bayesian
    Approximation.
    """
    if isinstance(forecaster, Samples):
        return forecaster.samples(context, count=count, seed=seed)
    if isinstance(forecaster, Ensemble):
        inner, seen = forecaster.prepare(context), train
        for feature in forecaster.features:
            seen = feature.transform(seen)
        points = [
            draws(member, inner, train=seen, count=count, seed=seed, tell=tell)
            if member.known and weights.any()
            else np.broadcast_to(member.predict(inner), (count, *_shape(forecaster, context)))
            for member, weights in zip(forecaster.members, forecaster.step_weights, strict=True)
        ]
        flat = forecaster.combine([each.reshape(-1, *each.shape[2:]) for each in points])
        return flat.reshape(count, *_shape(forecaster, context))
    return _refitted(forecaster, context, train=train, count=count, seed=seed, tell=tell)


def _shape(forecaster: Forecaster, context: Windows) -> tuple[int, int, int]:
    return len(context), forecaster.horizon, len(forecaster.targets)


def _refitted(
    forecaster: Forecaster, context: Windows, *, train: Windows, count: int, seed: int, tell: Tell
) -> Floats:
    if forecaster.tags.backend == COSTLY:
        raise UserError(
            f"'{forecaster.name}' cannot say how sure it is of a response: it has no samples of its own and takes "
            "too long to be fitted once a draw; ask a model of another family",
            model=forecaster.name,
        )
    train = train.tail(forecaster.context + forecaster.horizon)
    if not len(train):
        raise InsufficientHistoryError(
            f"nothing to refit '{forecaster.name}' on: got 0 windows of {train.length} rows, expected 1 or more; "
            "give the history that the model was trained on",
            got=0,
            expected=1,
        )
    blocks, rng = _Blocks(train), np.random.default_rng(seed)
    drawn = []
    for done in range(count):
        tell(forecaster.name, done, count)
        picked, rest = blocks.draw(rng)
        model = type(forecaster)(**forecaster.params())
        model.fit(
            train[picked],
            horizon=forecaster.horizon,
            targets=forecaster.targets,
            known=forecaster.known,
            validation=train[rest] if len(rest) else None,
        )
        drawn.append(model.predict(context))
    tell(forecaster.name, count, count)
    out = np.stack(drawn)
    if count > 1 and len(context) and not np.ptp(out, axis=0).any():
        raise UserError(
            f"'{forecaster.name}' learns nothing when it is fitted, so refitting cannot say how sure it is of a "
            "response; ask a model that learns its response from the history",
            model=forecaster.name,
        )
    return out


class _Blocks:
    """Circular blocks of consecutive origins; an origin brings all its series along."""

    def __init__(self, train: Windows) -> None:
        origins, owner = np.unique(train.last_times, return_inverse=True)
        order = np.argsort(owner, kind="stable")
        self._members = np.split(order, np.flatnonzero(np.diff(owner[order])) + 1)
        self._origins = len(origins)
        self._length = min(train.length, self._origins)

    def draw(self, rng: np.random.Generator) -> tuple[Ints, Ints]:
        """Return positions of windows drawn, some more than once, and of those left out."""
        count = -(-self._origins // self._length)
        firsts = rng.integers(self._origins, size=count)
        chosen = (firsts[:, None] + np.arange(self._length)).ravel()[: self._origins] % self._origins
        left = np.setdiff1d(np.arange(self._origins), chosen)
        picked, rest = (
            np.concatenate([np.empty(0, dtype=np.int64), *(self._members[i] for i in some)])
            for some in (chosen, left)
        )
        return picked, rest
