"""Who is compared: ours, one XGBoost tuned by Optuna, FLAML. Each runs in a process of its own, told set after set.

`python -m benchmarks.automl_contenders NAME BUDGET_S` reads `set seed` lines and answers each with a line of JSON.
All have one thread, the same rows and seconds, and are told the loss that counts and whether rows are in time.
"""

from __future__ import annotations

import json
import logging
import sys
import time
import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd

from benchmarks.automl_data import Case, case
from training.core.table import Rows
from training.core.windows import Floats

LEAST_PROBABILITY = 1e-4
"""Of all contenders' probabilities, before the logarithm: nobody loses a set by one row thought impossible."""
SMALL_ROWS, FOLDS = 3000, 5
"""XGBoost is tuned by cross-validation below so many rows, on the last or a random fifth above."""

Predict = Callable[[pd.DataFrame], Floats]
Contender = Callable[[Case, int, float], Predict]


def ours(data: Case, seed: int, budget_s: float) -> Predict:
    """Return our ensemble's predictions."""
    from training.core.table import Feature, TableSchema
    from tuning.automl.automl import AutoML, AutoMLSpec

    kinds = {name: "number" if pd.api.types.is_numeric_dtype(data.rows[name]) else "category" for name in data.rows}
    schema = TableSchema(
        name="benchmark",
        features=tuple(Feature(name=str(name), kind=kind) for name, kind in kinds.items()),  # type: ignore[arg-type]
        target="__target__",
        task="classification" if data.classes else "regression",
        classes=tuple(str(each) for each in range(data.classes)),
    )
    table = schema.read(data.rows.iloc[data.train])
    spec = AutoMLSpec(budget_s=budget_s, ordered=data.ordered, seed=seed)
    found = AutoML(spec).fit(table, data.target[data.train], schema)

    def predict(rows: pd.DataFrame) -> Floats:
        said = found.ensemble.predict(rows)
        return np.asarray(said.values, dtype=np.float64) if said.probabilities is None else said.probabilities

    return predict


def flaml(data: Case, seed: int, budget_s: float) -> Predict:
    """Return FLAML's best model's predictions; its defaults, told metric, seed and time."""
    from flaml import AutoML  # type: ignore[import-not-found]  # installed by the benchmark, beside the project

    rows = _categorical(data.rows)
    told = {"split_type": "time"} if data.ordered else {}
    model = AutoML()
    model.fit(
        rows.iloc[data.train],
        data.target[data.train],
        task="classification" if data.classes else "regression",
        metric="log_loss" if data.classes else "rmse",
        time_budget=budget_s,
        n_jobs=1,
        seed=seed,
        verbose=0,
        **told,
    )
    answer = model.predict_proba if data.classes else model.predict
    return lambda asked: np.asarray(answer(_like(asked, rows)))


def xgboost(data: Case, seed: int, budget_s: float) -> Predict:
    """Return one XGBoost whose parameters Optuna's TPE searched, fitted on all training rows at last."""
    import optuna
    import xgboost as library

    started_s = time.time()
    rows = _categorical(data.rows)
    inputs, target = rows.iloc[data.train], data.target[data.train]
    parts = _parts(data, seed)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    best: tuple[float, dict[str, object], int, float] | None = None

    def matrix(frame: pd.DataFrame, labels: Floats | None = None) -> library.DMatrix:
        return library.DMatrix(frame, labels, enable_categorical=True, nthread=1)

    pairs = [
        (matrix(inputs.iloc[learn], target[learn]), matrix(inputs.iloc[judge], target[judge]))
        for learn, judge in parts
    ]
    while best is None or time.time() - started_s < budget_s - 2.5 * best[3]:
        trial = study.ask()
        params = _suggested(trial, data.classes, seed)
        losses, rounds, trial_s = [], [], time.time()
        for train, late in pairs:
            found = library.train(
                params, train, 2000, [(late, "late")], early_stopping_rounds=30, verbose_eval=False
            )
            losses.append(found.best_score)
            rounds.append(found.best_iteration + 1)
        took_s = (time.time() - trial_s) / len(pairs)
        study.tell(trial, float(np.mean(losses)))
        if best is None or np.mean(losses) < best[0]:
            best = (float(np.mean(losses)), params, round(float(np.mean(rounds))), took_s)
    booster = library.train(best[1], matrix(inputs, target), best[2])
    return lambda asked: _both(booster.predict(matrix(_like(asked, rows))), data.classes)


def _suggested(trial: object, classes: int, seed: int) -> dict[str, object]:
    objective = {0: "reg:squarederror", 2: "binary:logistic"}.get(classes, "multi:softprob")
    metric = {0: "rmse", 2: "logloss"}.get(classes, "mlogloss")
    suggest = trial.suggest_float  # type: ignore[attr-defined]
    return {
        "objective": objective,
        "eval_metric": metric,
        "tree_method": "hist",
        "nthread": 1,
        "seed": seed,
        "max_depth": trial.suggest_int("depth", 2, 10),  # type: ignore[attr-defined]
        "learning_rate": suggest("learning_rate", 0.03, 0.3, log=True),
        "min_child_weight": suggest("least_weight", 0.5, 30, log=True),
        "subsample": suggest("rows", 0.5, 1.0),
        "colsample_bytree": suggest("columns", 0.4, 1.0),
        "reg_lambda": suggest("l2", 1e-3, 30, log=True),
        "reg_alpha": suggest("l1", 1e-3, 10, log=True),
        **({"num_class": classes} if classes > 2 else {}),
    }


def _parts(data: Case, seed: int) -> list[tuple[Rows, Rows]]:
    from sklearn.model_selection import KFold, StratifiedKFold, train_test_split

    places = np.arange(len(data.train))
    if data.ordered:
        cut = int(len(places) * 0.8)
        return [(places[:cut], places[cut:])]
    target = data.target[data.train]
    if len(places) >= SMALL_ROWS:
        return [train_test_split(places, test_size=0.2, random_state=seed)]
    cut_up = (StratifiedKFold if data.classes else KFold)(FOLDS, shuffle=True, random_state=seed)
    return [(learn, judge) for learn, judge in cut_up.split(places, target)]


def _both(answers: Floats, classes: int) -> Floats:
    return np.column_stack([1 - answers, answers]) if classes == 2 else answers


def _categorical(rows: pd.DataFrame) -> pd.DataFrame:
    texts = [name for name in rows if not pd.api.types.is_numeric_dtype(rows[name])]
    return rows.astype(dict.fromkeys(texts, "category"))


def _like(asked: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    return asked.astype({name: rows[name].dtype for name in rows if str(rows[name].dtype) == "category"})


CONTENDERS: dict[str, Contender] = {"ours": ours, "xgboost": xgboost, "flaml": flaml}


def loss_of(answers: Floats, data: Case) -> float:
    """Return the test part's root mean squared error, or log loss."""
    truth = data.target[data.test]
    if not data.classes:
        return float(np.sqrt(np.square(answers - truth).mean()))
    shares = answers.clip(LEAST_PROBABILITY)
    shares /= shares.sum(axis=1, keepdims=True)
    return float(-np.log(shares[np.arange(len(truth)), truth]).mean())


def main() -> None:
    """Answer line by line until the input ends; the first set is fitted once unmeasured, to load the libraries."""
    name, budget_s = sys.argv[1], float(sys.argv[2])
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    contender = CONTENDERS[name]
    out, sys.stdout = sys.stdout, sys.stderr  # what libraries print is no answer
    contender(case("iris", 0), 0, 1.0)
    contender(case("diabetes", 0), 0, 1.0)
    for line in sys.stdin:
        which, seed = line.split()
        data = case(which, int(seed))
        started_s = time.time()
        predict = contender(data, int(seed), budget_s)
        fitted_s = time.time()
        loss = loss_of(predict(data.rows.iloc[data.test]), data)
        told = {"loss": loss, "fit_s": fitted_s - started_s, "predict_s": time.time() - fitted_s}
        out.write(json.dumps(told) + "\n")
        out.flush()


if __name__ == "__main__":
    main()
