"""XGBoost on rows: trees that grow level by level."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from training.core.component import State
from training.core.parameters import real, whole
from training.core.space import Real, Space, Whole
from training.core.table import Values
from training.core.tabular import Classifier, HeldOut, Regressor, Until
from training.core.windows import Floats
from training.tabular.boosted import Boosted

BINS = 256


class _XGBoost(Boosted):
    """Trees of a limited depth.

    Parameters
    ----------
    depth
        Of a tree, 1 or more.
    least_weight
        Least sum of second derivatives in a leaf, 0 or more: rows, in a regression.
    rounds, patience, learning_rate, row_share, column_share, l1, l2, seed
        As in `Boosted`.

    References
    ----------
    Chen and Guestrin (2016), XGBoost: A Scalable Tree Boosting System.
    """

    name: ClassVar[str] = "xgboost"

    def __init__(
        self,
        *,
        depth: int = 6,
        least_weight: float = 1.0,
        rounds: int = 2000,
        patience: int = 50,
        learning_rate: float = 0.05,
        row_share: float = 0.9,
        column_share: float = 0.8,
        l1: float = 0.0,
        l2: float = 1.0,
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
        self.depth = whole("depth", depth, low=1, high=15)
        self.least_weight = real("least_weight", least_weight, low=0)

    @classmethod
    def example_params(cls) -> dict[str, Any]:
        """Return some shallow trees."""
        return {"rounds": 60, "depth": 3, "learning_rate": 0.1}

    @classmethod
    def search_space(cls) -> Space:
        """Return what matters most."""
        return super().search_space() | {
            "depth": Whole(2, 11),
            "least_weight": Real(0.1, 30.0, log=True),
        }

    def _objective(self) -> dict[str, Any]:
        return {"objective": "reg:squarederror", "eval_metric": "rmse"}

    def learn(self, inputs: Floats, target: Values, held_out: HeldOut | None, until: Until) -> None:
        """Grow until patience or time ends."""
        import xgboost

        train = xgboost.QuantileDMatrix(inputs, target, max_bin=BINS, nthread=1)
        late = [(xgboost.QuantileDMatrix(*held_out, ref=train, nthread=1), "held_out")] if held_out else []
        stop = xgboost.callback.EarlyStopping(rounds=self.patience) if late else None
        booster = xgboost.train(
            self._objective() | self._parameters(),
            train,
            self.rounds,
            evals=late,
            callbacks=[each for each in (stop, _ended(until)) if each],
            verbose_eval=False,
        )
        self._booster, self._grown = booster, booster.num_boosted_rounds()
        self._stage = booster.best_iteration + 1 if late else self._grown

    def _parameters(self) -> dict[str, Any]:
        return {
            "tree_method": "hist",
            "max_bin": BINS,
            "max_depth": self.depth,
            "min_child_weight": self.least_weight,
            "learning_rate": self.learning_rate,
            "subsample": self.row_share,
            "colsample_bytree": self.column_share,
            "reg_alpha": self.l1,
            "reg_lambda": self.l2,
            "seed": self.seed,
            "nthread": 1,  # trials run beside each other, their threads would only fight
            "verbosity": 0,
        }

    def answer(self, inputs: Floats) -> Floats:
        """Return (N, G)."""
        found = self._booster.inplace_predict(inputs, iteration_range=(0, self._stage))
        answers: Floats = found.astype(np.float64).reshape(len(inputs), -1)
        return answers

    def learned(self) -> State:
        """Return the trees that are used, as the library's binary JSON."""
        return {"trees": np.frombuffer(self._booster[: self._stage].save_raw("ubj"), dtype=np.uint8)}

    def relearn(self, state: State) -> None:
        """Take back what `learned` gave."""
        import xgboost

        self._booster = xgboost.Booster()
        self._booster.load_model(bytearray(state["trees"].tobytes()))
        self._booster.set_param({"nthread": 1})
        self._stage = self._grown = self._booster.num_boosted_rounds()


class XGBoostRegressor(_XGBoost, Regressor):
    """Boosted trees of least squares, level by level."""


class XGBoostClassifier(_XGBoost, Classifier):
    """Boosted trees of log loss, level by level."""

    def _objective(self) -> dict[str, Any]:
        if self.classes == 2:
            return {"objective": "binary:logistic", "eval_metric": "logloss"}
        return {"objective": "multi:softprob", "eval_metric": "mlogloss", "num_class": self.classes}

    def answer(self, inputs: Floats) -> Floats:
        """Return (N, K)."""
        found = super().answer(inputs)
        found = np.hstack([1 - found, found]) if self.classes == 2 else found
        shares: Floats = found / found.sum(axis=1, keepdims=True)
        return shares


def _ended(until: Until) -> Any:
    """Return a callback that ends training when `until` says so."""
    import xgboost

    class Ended(xgboost.callback.TrainingCallback):  # type: ignore[misc]  # the library is untyped
        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:  # noqa: ARG002
            return until()

    return Ended()
