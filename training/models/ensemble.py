"""Several models behind shared features, as one: what is registered and served."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np

from cluster.errors import ConfigError, InsufficientHistoryError, NotFittedError, SignatureMismatch
from training.core.catalog import Catalog
from training.core.component import C, State, build, pack, unpack
from training.core.estimator import Forecaster, Tags
from training.core.parameters import flag
from training.core.runner import Runner
from training.core.simplex import Loss, weights_on_simplex
from training.core.transform import Transform
from training.core.windows import Floats, Windows
from training.features import TRANSFORMS
from training.models import MODELS

Part = Mapping[str, Any]
"""`{"name": catalog name, "params": {...}}`; `params` may be left out."""


class Ensemble(Forecaster):
    """A weighted mean of its members' forecasts, all made from the same features.

    The weights are fitted on the validation windows, which the members have not learned from; without any they
    are equal. One member with weight 1 is how a single model is served. A server that runs `prepare`, each
    member's `predict` and `combine` as nodes of a graph gets what `predict` gives, to the last bit.

    Parameters
    ----------
    features
        Transforms in order, each `{"name", "params"}`; none leaves the columns as they are.
    members
        Forecasters, each `{"name", "params"}`; 1 or more.
    loss
        What the weights minimise: `absolute` errors, as WAPE counts them, or `squared`.
    by_step
        Whether each step ahead has weights of its own: some models are best at the first steps, others at the last.
        A step by itself has few errors to learn from: wants hundreds of validation windows.

    Attributes
    ----------
    features, members
        The transforms and the forecasters themselves.

    References
    ----------
    Bates and Granger (1969), The combination of forecasts; Breiman (1996), Stacked regressions, for weights that
    are not negative. Ours also sum to one, so that the mean of unbiased members is unbiased.
    """

    name: ClassVar[str] = "ensemble"
    tags: ClassVar[Tags] = Tags(known_future=True, past_covariates=True, static=True)

    def __init__(
        self,
        *,
        features: Sequence[Part] = (),
        members: Sequence[Part] = (),
        loss: Loss = "absolute",
        by_step: bool = False,
    ) -> None:
        if not members:
            raise ConfigError("'ensemble' needs members: got none, expected 1 or more", parameter="members")
        if loss not in ("absolute", "squared"):
            raise ConfigError(f"parameter 'loss': got {loss!r}, expected absolute or squared", parameter="loss")
        self.features: tuple[Transform, ...] = _build(features, TRANSFORMS)
        self.members: tuple[Forecaster, ...] = _build(members, MODELS)
        self.loss = loss
        self.by_step = flag("by_step", by_step)
        self._weights: Floats | None = None

    @classmethod
    def of(
        cls,
        features: Sequence[Transform],
        members: Sequence[Forecaster],
        *,
        columns: tuple[str, ...],
        loss: Loss = "absolute",
        by_step: bool = False,
    ) -> Self:
        """Return an ensemble of what is fitted already, with equal weights; see `weigh` and `calibrate`.

        Parameters
        ----------
        features
            Fitted transforms.
        members
            Forecasters fitted on these features, all for the same targets and horizon.
        columns
            Of the table before the features.

        Raises
        ------
        NotFittedError
            A member is not fitted.
        SignatureMismatch
            A member was fitted for another horizon, other targets or other columns.
        """
        self = cls(features=_parts(features), members=_parts(members), loss=loss, by_step=by_step)
        self.features, self.members = tuple(features), tuple(members)
        first = self.members[0]
        self._horizon, self._targets, self._columns = first.horizon, first.targets, tuple(columns)
        self._known = self._needed_ahead(self._columns)
        inner = self._columns
        for feature in self.features:
            inner = feature.columns(inner)
        for member in self.members:
            got = (member.horizon, member.targets, member.columns)
            expected = (first.horizon, first.targets, inner)
            if got != expected:
                raise SignatureMismatch(
                    f"member '{member.name}' does not fit into the ensemble: "
                    f"got (horizon, targets, columns) {got}, expected {expected}"
                )
        self._weights = np.full(len(self.members), 1 / len(self.members))
        return self

    def params(self) -> dict[str, Any]:
        """Return the constructor's arguments, the parts' defaults written out."""
        parts = {"features": _parts(self.features), "members": _parts(self.members)}
        return {**parts, "loss": self.loss, "by_step": self.by_step}

    @classmethod
    def example_params(cls) -> dict[str, Any]:
        """Return one feature before the two cheapest members."""
        return {
            "features": [{"name": "calendar", "params": {}}],
            "members": [
                {"name": "seasonal_naive", "params": {"season": 12}},
                {"name": "ridge", "params": {"window": 24, "covariates": True}},
            ],
        }

    @property
    def context(self) -> int:
        """The longest member's context, and before it the rows that the features eat."""
        return max(member.context for member in self.members) + sum(each.lookback for each in self.features)

    @property
    def weights(self) -> Floats:
        """(M,) not negative, sum to one; the mean over the steps where each has its own."""
        weights: Floats = self.step_weights.mean(axis=1)
        return weights

    @property
    def step_weights(self) -> Floats:
        """(M, H) of each step, or (M, 1) where all steps share them."""
        if self._weights is None:
            raise NotFittedError(f"'{self.name}' has no weights yet: call fit() first")
        return self._weights.reshape(len(self.members), -1)

    def fit_windows(self, train: Windows, validation: Windows | None, runner: Runner | None) -> None:
        """Fit features and members on the training windows, then the weights on the validation windows."""
        features = _build(_parts(self.features), TRANSFORMS)
        inner = train
        for feature in features:
            inner = feature.fit(inner).transform(inner)
        self.features, self.members = features, _build(_parts(self.members), MODELS)
        late = self._transformed(validation) if validation is not None else None
        known = self._inner_ahead(self.known)
        for member in self.members:
            member.fit(
                inner,
                horizon=self.horizon,
                targets=self.targets,
                known=known if member.tags.known_future else (),
                validation=late,
                runner=runner,
            )
        self._known = self._needed_ahead(self.known)
        self._weights = np.full(len(self.members), 1 / len(self.members))
        if validation is not None:
            self.weigh(validation)

    def weigh(self, windows: Windows) -> Self:
        """Fit the weights on windows of `context + horizon` rows that the members have not learned from.

        Every target counts the same: errors are measured in units of the equal-weight forecast's mean error.
        """
        if not len(windows):
            raise InsufficientHistoryError(
                f"'{self.name}' cannot be weighed: got 0 windows, expected 1 or more", got=0, expected=1
            )
        context, actual = self.split(windows)
        inner = self.prepare(context)
        points = np.stack([member.predict(inner) for member in self.members])
        unit = np.abs(points.mean(axis=0) - actual).mean(axis=(0, 1))
        unit = np.where(unit > 0, unit, 1.0)
        points, actual = points / unit, actual / unit
        steps = np.split(np.arange(self.horizon), self.horizon if self.by_step else 1)
        found = [
            weights_on_simplex(
                points[:, :, some].reshape(len(points), -1), actual[:, some].reshape(-1), loss=self.loss
            )
            for some in steps
        ]
        self._weights = np.stack(found, axis=1)
        self._intervals = None  # they belonged to other weights
        return self

    def take_weights(self, weights: Sequence[float]) -> Self:
        """Take weights that were chosen elsewhere, such as on backtests, in place of those of `weigh`.

        Parameters
        ----------
        weights
            (M,) in the members' order, not negative, with a sum above 0; scaled to 1.

        Raises
        ------
        ConfigError
            They are not such weights.
        """
        self._need_fit()
        given = np.asarray(weights, dtype=np.float64)
        if (
            given.shape != (len(self.members),)
            or not np.isfinite(given).all()
            or given.min() < 0
            or not given.sum()
        ):
            raise ConfigError(
                f"weights: got {list(weights)}, expected {len(self.members)} numbers of 0 or more, not all 0",
                parameter="weights",
            )
        self._weights = given / given.sum()
        self._intervals = None  # they belonged to other weights
        return self

    def prepare(self, context: Windows) -> Windows:
        """Return the members' input: the windows with features, shorter by what the features eat.

        The windows carry what must be known ahead; features add to it what follows from it or from the time.
        """
        return self._transformed(context.looking_ahead(self.horizon, self.known))

    def _transformed(self, windows: Windows) -> Windows:
        for feature in self.features:
            windows = feature.transform(windows)
        return windows

    def _inner_ahead(self, known: tuple[str, ...]) -> tuple[str, ...]:
        """Return what the features make known ahead of the members where `known` is."""
        for feature in self.features:
            known = feature.ahead_columns(known)
        return known

    def _needed_ahead(self, known: tuple[str, ...]) -> tuple[str, ...]:
        """Return which of `known` a member needs, be it as a part of a feature."""
        used = {name for member in self.members for name in member.known}
        return tuple(name for name in known if used & set(self._inner_ahead((name,))) - set(self._inner_ahead(())))

    def combine(self, points: Sequence[Floats]) -> Floats:
        """Return (N, H, T): the weighted mean of the members' forecasts, each (N, H, T), in their order."""
        total = np.zeros_like(points[0])
        for weights, point in zip(self.step_weights, points, strict=True):
            total += weights[:, None] * point
        return total

    def predict_windows(self, context: Windows) -> Floats:
        """Return (N, H, T): features, members, weighted mean."""
        inner = self.prepare(context)
        return self.combine([member.predict(inner) for member in self.members])

    def learned(self) -> State:
        """Return features, members and weights."""
        return {
            "features": [pack(feature) for feature in self.features],
            "members": [pack(member) for member in self.members],
            "weights": self.step_weights,
        }

    def relearn(self, state: State) -> None:
        """Take back what `learned` gave."""
        self.features = tuple(unpack(packed, TRANSFORMS) for packed in state["features"])
        self.members = tuple(unpack(packed, MODELS) for packed in state["members"])
        self._weights = np.asarray(state["weights"])


def _build(parts: Sequence[Part], catalog: Catalog[C]) -> tuple[C, ...]:
    return tuple(build(catalog, part["name"], part.get("params", {})) for part in parts)


def _parts(components: Sequence[Transform] | Sequence[Forecaster]) -> list[dict[str, Any]]:
    return [{"name": component.name, "params": component.params()} for component in components]
