"""XGBoost: trees grown in this process, or on the workers of a run that share the rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from training.core.component import State
from training.core.estimator import Tags
from training.core.parameters import whole
from training.core.runner import Run, Runner
from training.core.space import Space, Whole
from training.core.windows import Floats
from training.models.boosting_table import Singles
from training.models.gradient_boosting import GradientBoosting

if TYPE_CHECKING:
    import xgboost

HUBER_SLOPE = 0.3
"""Errors beyond this many standard deviations of the output count by size, smaller ones by square. Of .15, .3, 1
and plain squares on the gas turbine's validation part .15 and .3 were best, squares worst by 2 %."""
LARGEST_STEP = 1.0
"""Most that one tree may move an output, in standard deviations. Beyond the slope the loss hardly bends, and a
Newton step from there lands far on the other side."""
BINS = 64
"""Histogram bins a column. On the gas turbine as good as the library's 256, at half the time."""
REPORT_ROUNDS = 10
"""Rounds between two checkpoints: a second of work or so is lost when a worker dies."""


class XGBoost(GradientBoosting):
    """Trees that grow level by level, with a pseudo-Huber loss; `boost` runs on any runner.

    Parameters
    ----------
    depth
        Depth of a tree, 1 .. 12. Deeper follows rarer combinations.
    strategy, rounds, learning_rate, subsample, column_sample, l1, l2, patience, window, covariates, ahead
        As in `GradientBoosting`.
    seasons, anchor, half_life, levels, most_rows, seed
        As in `GradientBoosting`.

    References
    ----------
    Chen and Guestrin (2016), XGBoost: A Scalable Tree Boosting System; Ben Taieb and Hyndman (2014), A gradient
    boosting approach to the Kaggle load forecasting competition, for the direct strategy; Lundberg et al. (2020),
    From local explanations to global understanding with explainable AI for trees, for TreeSHAP. Ours starts from
    the last value or the window's own regression. A tree a step beats one tree with a vector of steps in its
    leaves: a quarter of the time at equal error.
    """

    name: ClassVar[str] = "xgboost"
    tags: ClassVar[Tags] = Tags(
        backend="xgboost", seeded=True, known_future=True, past_covariates=True, static=True
    )

    def __init__(
        self,
        *,
        strategy: str = "direct",
        rounds: int = 300,
        depth: int = 5,
        learning_rate: float = 0.05,
        subsample: float = 0.7,
        column_sample: float = 0.3,
        l1: float = 0.0,
        l2: float = 1.0,
        patience: int = 15,
        window: int = 48,
        covariates: bool = True,
        ahead: Sequence[str] | None = None,
        seasons: Sequence[int] = (24,),
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
        self.depth = whole("depth", depth, low=1, high=12)

    @classmethod
    def example_params(cls) -> dict[str, Any]:
        """Return some shallow rounds over a window of 24."""
        return {"rounds": 20, "depth": 3, "learning_rate": 0.3, "window": 24}

    @classmethod
    def search_space(cls) -> Space:
        """Return what matters most."""
        return super().search_space() | {"depth": Whole(3, 8), "window": Whole(24, 168, log=True)}

    def _grow(self, job: State, runner: Runner | None) -> State:
        if runner is None:
            from training.distributed.local import LocalRunner

            runner = LocalRunner()
        job |= {"rounds": self.rounds, "patience": self.patience, "booster": self._booster_parameters()}
        return {"booster": runner.run(boost, job, backend="xgboost")["booster"]}

    def _booster_parameters(self) -> dict[str, Any]:
        return {
            "tree_method": "hist",
            "multi_strategy": "one_output_per_tree",
            "objective": "reg:pseudohubererror",
            "huber_slope": HUBER_SLOPE,
            "max_delta_step": LARGEST_STEP,
            "eval_metric": "mae",
            "max_bin": BINS,
            "max_depth": self.depth,
            "learning_rate": self.learning_rate,
            "subsample": self.subsample,
            "colsample_bytree": self.column_sample,
            "reg_alpha": self.l1,
            "reg_lambda": self.l2,
            "seed": self.seed,
            "seed_per_iteration": True,  # what is drawn depends on the round, not on where the process started
        }

    def _plant(self, trees: State) -> None:
        self._booster = _load(trees["booster"])

    def _answer(self, inputs: Singles) -> Floats:
        if not len(inputs):
            return np.empty((0, len(self._scale)))
        answer: Floats = self._booster.inplace_predict(inputs).astype(np.float64)
        return answer.reshape(len(inputs), len(self._scale))

    def _explain(self, inputs: Singles) -> Floats:
        import xgboost

        width = inputs.shape[1] + 1
        if not len(inputs):
            return np.empty((0, len(self._scale), width))
        parts = self._booster.predict(xgboost.DMatrix(inputs), pred_contribs=True)
        added: Floats = parts.astype(np.float64).reshape(len(inputs), len(self._scale), width)
        return added


def boost(run: Run, job: dict[str, Any]) -> State:
    """Boost until patience ends; each rank works on its share of the rows, histograms are summed over ranks.

    Parameters
    ----------
    run
        Where it runs. Between ranks the collective is set up by whoever started them.
    job
        inputs (N, F), outputs (N, G), validation_inputs and validation_outputs (may have no rows), rounds,
        patience, booster (the library's parameters).
    """
    train, held_out = _matrices(run, job)
    kept = run.resumed() or {"round": 0, "best_round": 0, "best_error": None, "booster": None}
    booster = _begun(job["booster"], train, held_out, kept["booster"])
    done, best_round, best_error = kept["round"], kept["best_round"], kept["best_error"]
    metric = "validation_loss" if held_out is not train else "training_loss"
    while done < job["rounds"] and not _patience_ended(done, best_round, job, metric):
        booster.update(train, done)
        done += 1
        error = float(booster.eval(held_out).rpartition(":")[2])
        if best_error is None or error < best_error:
            best_round, best_error = done, error
        if done % REPORT_ROUNDS == 0:
            kept = {"round": done, "best_round": best_round, "best_error": best_error, "booster": _raw(booster)}
            run.report(done, {metric: error}, kept)
            # A new booster draws other columns than one that goes on. Starting anew at every checkpoint makes an
            # interrupted run's model that of an uninterrupted one, to the bit.
            booster = _begun(job["booster"], train, held_out, kept["booster"])
    best = booster if metric == "training_loss" else booster[:best_round]
    return {"booster": _raw(best)}


def _begun(
    parameters: dict[str, Any],
    train: xgboost.DMatrix,
    held_out: xgboost.DMatrix,
    trees: npt.NDArray[np.uint8] | None,
) -> xgboost.Booster:
    """Return a booster that starts from no difference, or from earlier trees."""
    import xgboost

    if trees is None:
        return xgboost.Booster(parameters | {"base_score": 0.0}, [train, held_out])
    booster = xgboost.Booster(parameters, [train, held_out])  # the trees bring their base score along
    booster.load_model(bytearray(trees.tobytes()))
    booster.set_param(parameters)
    return booster


def _patience_ended(done: int, best_round: int, job: dict[str, Any], metric: str) -> bool:
    return metric == "validation_loss" and done - best_round >= job["patience"]


def _matrices(run: Run, job: dict[str, Any]) -> tuple[xgboost.DMatrix, xgboost.DMatrix]:
    """Return this rank's rows for training, and those to stop by: the training rows where there are no others."""
    import xgboost

    mine = slice(run.rank, None, run.world_size)
    bins = job["booster"]["max_bin"]
    train = xgboost.QuantileDMatrix(job["inputs"][mine], job["outputs"][mine], max_bin=bins)
    if not len(job["validation_inputs"]):
        return train, train
    rows = job["validation_inputs"][mine], job["validation_outputs"][mine]
    return train, xgboost.QuantileDMatrix(*rows, max_bin=bins, ref=train)


def _raw(booster: xgboost.Booster) -> npt.NDArray[np.uint8]:
    return np.frombuffer(booster.save_raw("ubj"), dtype=np.uint8)


def _load(raw: npt.NDArray[np.uint8]) -> xgboost.Booster:
    import xgboost

    booster = xgboost.Booster()
    booster.load_model(bytearray(raw.tobytes()))
    booster.set_param({"nthread": 1})  # waking another thread takes longer than a batch of a request's size
    return booster
