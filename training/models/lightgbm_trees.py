"""LightGBM: trees that grow leaf by leaf, in this process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from training.core.component import State
from training.core.estimator import Tags
from training.core.parameters import one_of, whole
from training.core.runner import Runner
from training.core.space import Space, Whole
from training.core.windows import Floats
from training.models.boosting_table import Singles
from training.models.gradient_boosting import GradientBoosting

if TYPE_CHECKING:
    import lightgbm

BINS = 63
"""Histogram bins a column."""
OBJECTIVES = {"absolute": "l1", "squared": "l2"}


class LightGBM(GradientBoosting):
    """Trees that grow leaf by leaf, one model an output, with an absolute loss: leaves are medians.

    Parameters
    ----------
    leaves
        Of a tree at most, 2 .. 1024. More follow rarer combinations.
    least_rows
        Rows in a leaf at least, 1 or more.
    loss
        `absolute` errors, as WAPE counts them, or `squared`.
    strategy, rounds, learning_rate, subsample, column_sample, l1, l2, patience, window, covariates, ahead
        As in `GradientBoosting`.
    seasons, anchor, half_life, levels, most_rows, seed
        As in `GradientBoosting`.

    References
    ----------
    Ke et al. (2017), LightGBM: A Highly Efficient Gradient Boosting Decision Tree; Montero-Manso and Hyndman
    (2021), Principles and algorithms for forecasting groups of time series, for one model of all series; Lundberg
    et al. (2020), From local explanations to global understanding with explainable AI for trees, for TreeSHAP.
    Ours lets the window's own regression start the trees, see `boosting_table.EachStep`.
    """

    name: ClassVar[str] = "lightgbm"
    tags: ClassVar[Tags] = Tags(seeded=True, known_future=True, past_covariates=True, static=True)

    def __init__(
        self,
        *,
        strategy: str = "pooled",
        rounds: int = 400,
        leaves: int = 31,
        least_rows: int = 100,
        loss: str = "absolute",
        learning_rate: float = 0.05,
        subsample: float = 0.7,
        column_sample: float = 0.6,
        l1: float = 0.0,
        l2: float = 0.0,
        patience: int = 40,
        window: int = 168,
        covariates: bool = True,
        ahead: Sequence[str] | None = None,
        seasons: Sequence[int] = (24, 168),
        anchor: str = "last",
        half_life: float = 168.0,
        levels: bool = True,
        most_rows: int = 200_000,
        seed: int = 0,
    ) -> None:
        super().__init__(
            strategy=strategy,
            rounds=rounds,
            learning_rate=learning_rate,
            subsample=subsample,
            column_sample=column_sample,
            l1=l1,
            l2=l2,
            patience=patience,
            window=window,
            covariates=covariates,
            ahead=ahead,
            seasons=seasons,
            anchor=anchor,
            half_life=half_life,
            levels=levels,
            most_rows=most_rows,
            seed=seed,
        )
        self.leaves = whole("leaves", leaves, low=2, high=1024)
        self.least_rows = whole("least_rows", least_rows, low=1)
        self.loss = one_of("loss", loss, tuple(OBJECTIVES))

    @classmethod
    def example_params(cls) -> dict[str, Any]:
        """Return some small trees over a window of 24."""
        return {"rounds": 40, "leaves": 8, "least_rows": 5, "learning_rate": 0.2, "window": 24, "seasons": (12,)}

    @classmethod
    def search_space(cls) -> Space:
        """Return what matters most."""
        return super().search_space() | {
            "leaves": Whole(8, 255, log=True),
            "least_rows": Whole(10, 1000, log=True),
        }

    def _grow(self, job: State, runner: Runner | None) -> State:  # noqa: ARG002 - in process, a model an output
        import lightgbm

        parameters, outputs = self._booster_parameters(), np.asfortranarray(job["outputs"])
        train = lightgbm.Dataset(job["inputs"], outputs[:, 0], params=parameters)
        late_outputs = np.asfortranarray(job["validation_outputs"])
        late = []
        if len(late_outputs):
            late = [lightgbm.Dataset(job["validation_inputs"], late_outputs[:, 0], reference=train)]
        models = []
        for output in range(outputs.shape[1]):
            train.set_label(outputs[:, output])
            for each in late:
                each.set_label(late_outputs[:, output])
            stop = [lightgbm.early_stopping(self.patience, verbose=False)] if late else []
            grown = lightgbm.train(parameters, train, self.rounds, valid_sets=late, callbacks=stop)
            text = grown.model_to_string(num_iteration=grown.best_iteration if late else -1)
            models.append(np.frombuffer(text.encode(), dtype=np.uint8))
        return {"models": models}

    def _booster_parameters(self) -> dict[str, Any]:
        return {
            "objective": OBJECTIVES[self.loss],
            "metric": "l1",
            "num_leaves": self.leaves,
            "min_data_in_leaf": self.least_rows,
            "max_bin": BINS,
            "learning_rate": self.learning_rate,
            "bagging_fraction": self.subsample,
            "bagging_freq": 1,
            "feature_fraction": self.column_sample,
            "lambda_l1": self.l1,
            "lambda_l2": self.l2,
            "feature_pre_filter": False,
            "seed": self.seed,
            "deterministic": True,
            "force_row_wise": True,
            "verbose": -1,
        }

    def _plant(self, trees: State) -> None:
        import lightgbm

        self._models: list[lightgbm.Booster] = [
            lightgbm.Booster(model_str=text.tobytes().decode()) for text in trees["models"]
        ]

    def _answer(self, inputs: Singles) -> Floats:
        out = np.empty((len(inputs), len(self._models)))
        for output, model in enumerate(self._models if len(inputs) else ()):
            out[:, output] = model.predict(inputs, num_threads=1)
        return out

    def _explain(self, inputs: Singles) -> Floats:
        out = np.empty((len(inputs), len(self._models), inputs.shape[1] + 1))
        for output, model in enumerate(self._models if len(inputs) else ()):
            out[:, output] = model.predict(inputs, pred_contrib=True, num_threads=1)
        return out
