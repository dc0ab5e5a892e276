"""LightGBM on rows: trees that grow leaf by leaf."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from training.core.component import State
from training.core.parameters import flag, whole
from training.core.space import Choice, Space, Whole
from training.core.table import Values
from training.core.tabular import Classifier, HeldOut, Regressor, Until
from training.core.windows import Floats
from training.tabular.boosted import Boosted

if TYPE_CHECKING:
    import lightgbm

BINS = 255


class _LightGBM(Boosted):
    """Trees whose most useful leaf is split next.

    Parameters
    ----------
    leaves
        The most leaves of a tree, 2 or more.
    least_rows
        Fewest rows in a leaf.
    random_cuts
        Whether one random cut a column is looked at, in place of all: rougher trees that err more differently.
    rounds, patience, learning_rate, row_share, column_share, l1, l2, seed
        As in `Boosted`.

    References
    ----------
    Ke et al. (2017), LightGBM: A Highly Efficient Gradient Boosting Decision Tree.
    """

    name: ClassVar[str] = "lightgbm"

    def __init__(
        self,
        *,
        leaves: int = 31,
        least_rows: int = 20,
        random_cuts: bool = False,
        rounds: int = 2000,
        patience: int = 50,
        learning_rate: float = 0.05,
        row_share: float = 0.9,
        column_share: float = 0.9,
        l1: float = 0.0,
        l2: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__(
            rounds=rounds,
            patience=patience,
            learning_rate=learning_rate,
            row_share=row_share,
            column_share=column_share,
            l1=l1,
            l2=l2,
            seed=seed,
        )
        self.leaves = whole("leaves", leaves, low=2, high=4096)
        self.least_rows = whole("least_rows", least_rows, low=1)
        self.random_cuts = flag("random_cuts", random_cuts)

    @classmethod
    def example_params(cls) -> dict[str, Any]:
        """Return some small trees."""
        return {"rounds": 60, "leaves": 8, "least_rows": 5, "learning_rate": 0.1}

    @classmethod
    def search_space(cls) -> Space:
        """Return what matters most."""
        return super().search_space() | {
            "leaves": Whole(4, 256, log=True),
            "least_rows": Whole(2, 100, log=True),
            "random_cuts": Choice((False, True)),
        }

    def _objective(self) -> dict[str, Any]:
        return {"objective": "regression", "metric": "l2"}

    def learn(self, inputs: Floats, target: Values, held_out: HeldOut | None, until: Until) -> None:
        """Grow until patience or time ends."""
        import lightgbm

        parameters = self._objective() | self._parameters()
        train = lightgbm.Dataset(inputs, target, params=parameters)
        late = [lightgbm.Dataset(*held_out, reference=train)] if held_out else []
        calls: list[Any] = [_ended(until)]
        if late:
            calls.append(lightgbm.early_stopping(self.patience, verbose=False))
        booster = lightgbm.train(parameters, train, self.rounds, valid_sets=late, callbacks=calls)
        self._booster, self._grown = booster, booster.current_iteration()
        best = booster.best_iteration if late else 0
        self._stage = best if best > 0 else self._grown

    def _parameters(self) -> dict[str, Any]:
        return {
            "num_leaves": self.leaves,
            "min_data_in_leaf": self.least_rows,
            "extra_trees": self.random_cuts,
            "max_bin": BINS,
            "learning_rate": self.learning_rate,
            "bagging_fraction": self.row_share,
            "bagging_freq": 1,
            "feature_fraction": self.column_share,
            "lambda_l1": self.l1,
            "lambda_l2": self.l2,
            "feature_pre_filter": False,
            "seed": self.seed,
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": 1,  # trials run beside each other, their threads would only fight
            "verbose": -1,
        }

    def answer(self, inputs: Floats) -> Floats:
        """Return (N, G)."""
        found = self._booster.predict(inputs, num_iteration=self._stage, num_threads=1)
        answers: Floats = np.asarray(found, dtype=np.float64).reshape(len(inputs), -1)
        return answers

    def learned(self) -> State:
        """Return the trees that are used, in the library's text."""
        text = self._booster.model_to_string(num_iteration=self._stage)
        return {"trees": np.frombuffer(text.encode(), dtype=np.uint8)}

    def relearn(self, state: State) -> None:
        """Take back what `learned` gave."""
        import lightgbm

        self._booster = lightgbm.Booster(model_str=state["trees"].tobytes().decode())
        self._stage = self._grown = self._booster.current_iteration()


class LightGBMRegressor(_LightGBM, Regressor):
    """Boosted trees of least squares, leaf by leaf."""


class LightGBMClassifier(_LightGBM, Classifier):
    """Boosted trees of log loss, leaf by leaf."""

    def _objective(self) -> dict[str, Any]:
        if self.classes == 2:
            return {"objective": "binary", "metric": "binary_logloss"}
        return {"objective": "multiclass", "metric": "multi_logloss", "num_class": self.classes}

    def answer(self, inputs: Floats) -> Floats:
        """Return (N, K)."""
        found = super().answer(inputs)
        return np.hstack([1 - found, found]) if self.classes == 2 else found


def _ended(until: Until) -> Any:
    """Return a callback that ends training when `until` says so; the best round so far counts."""

    def call(state: lightgbm.callback.CallbackEnv) -> None:
        if until():
            from lightgbm.callback import EarlyStopException

            raise EarlyStopException(state.iteration, state.evaluation_result_list or [])

    call.order = 40  # type: ignore[attr-defined]  # after the library's own, which notes the best round at 30
    return call
