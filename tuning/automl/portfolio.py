"""Which candidates come first: strong defaults, different from each other, the quick and sure ones in front.

That a fixed list of defaults which complement each other comes before any search is the idea of Salinas and
Erickson (2024), TabRepo: A Large Scale Repository of Tabular Model Evaluations and its AutoML Applications; trees
with random cuts, and large slow ones with few rows in a leaf, beside the defaults are AutoGluon's presets. The
order, and the sizes of kernels and forests, were chosen on generated functions and on series that no benchmark of
ours is about.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from training.core.table import TableTask
from tuning.automl.candidate import Candidate, kind_of

LARGE_ROWS = 8000
"""From here trees grow many leaves in few rounds: there are rows to fill them, and little time a row."""
KERNEL_WORK = 4e9
"""Rows times squared landmarks of a kernel: some seconds on one processor."""
NEAREST_ROWS = 30_000
"""Beyond, the nearest of all rows take too long to find."""
MOST_LANDMARKS = 800
FOREST_WORK = 1_500_000
"""Rows times trees of a forest: some seconds on one processor."""
MOST_TREES = 200
LEAST_TREES = 30

Entry = tuple[str, str, dict[str, Any], dict[str, Any]]


def portfolio(task: TableTask, rows: int, *, skewed: bool, seed: int) -> list[Candidate]:
    """Return the first candidates for a table of so many training rows.

    Parameters
    ----------
    skewed
        The target has a long tail: bent twins of the strongest come last.
    seed
        Of families that draw.
    """
    entries = _large(rows) if rows >= LARGE_ROWS else _small(task, rows)
    entries = [entry for entry in entries if entry[1] != "nearest" or rows <= NEAREST_ROWS]
    made = [_candidate(task, entry, seed) for entry in entries]
    if skewed:
        made += [
            _bent(each) for each in made if each.label in ("lightgbm", "xgboost", "forest", "kernel", "linear")
        ]
    return made


def _small(task: TableTask, rows: int) -> list[Entry]:
    kernel = sizes("kernel", rows)
    few = max(2, min(20, rows // 60))
    entries: list[Entry] = [
        ("lightgbm", "lightgbm", {"least_rows": few}, {}),
        ("linear", "linear", {}, {}),
        ("kernel", "kernel", kernel, {}),
        ("forest", "forest", sizes("forest", rows), {}),
        ("kernel-relevant", "kernel", kernel, {"relevance": 0.5}),
        ("xgboost", "xgboost", {"depth": 5}, {}),
        ("linear-products", "linear", {}, {"products": 10}),
        ("kernel-wide", "kernel", kernel | {"length": 3.0}, {"relevance": 0.25}),
        ("lightgbm-rough", "lightgbm", {"random_cuts": True, "least_rows": few, "leaves": 15}, {}),
        ("forest-best", "forest", sizes("forest", rows) | {"random_cuts": False, "least_rows": 2}, {}),
        ("xgboost-stumps", "xgboost", {"depth": 2, "learning_rate": 0.1}, {}),
        ("nearest", "nearest", {"neighbours": 8}, {"relevance": 0.5}),
        ("kernel-rough", "kernel", kernel | {"shape": "laplace", "length": 2.0}, {"relevance": 0.5}),
        ("xgboost-deep", "xgboost", {"depth": 9, "column_share": 0.6, "least_weight": 0.6}, {}),
        ("nearest-plain", "nearest", {"neighbours": 5, "power": 2.0}, {}),
    ]
    if task == "classification":
        entries[3:3] = [
            ("linear-simple", "linear", {"strength": 0.02}, {}),
            ("linear-free", "linear", {"strength": 5.0}, {}),
        ]
    return entries


def _large(rows: int) -> list[Entry]:
    kernel = sizes("kernel", rows)
    return [
        ("lightgbm", "lightgbm", {"learning_rate": 0.1, "leaves": 63}, {}),
        ("xgboost", "xgboost", {"learning_rate": 0.1, "depth": 8, "column_share": 0.7, "least_weight": 5.0}, {}),
        ("linear", "linear", {}, {}),
        ("lightgbm-small", "lightgbm", {"learning_rate": 0.1, "leaves": 15}, {}),
        (
            "lightgbm-rough",
            "lightgbm",
            {"random_cuts": True, "learning_rate": 0.1, "leaves": 127, "least_rows": 10},
            {},
        ),
        ("forest", "forest", sizes("forest", rows) | {"least_rows": 3}, {}),
        ("kernel", "kernel", kernel, {"relevance": 0.5}),
        ("linear-products", "linear", {}, {"products": 20}),
        ("lightgbm-slow", "lightgbm", {"learning_rate": 0.04, "leaves": 127, "column_share": 0.6}, {}),
        ("xgboost-small", "xgboost", {"learning_rate": 0.1, "depth": 5}, {}),
        ("nearest", "nearest", {"neighbours": 8}, {"relevance": 0.5}),
    ]


def sizes(family: str, rows: int) -> dict[str, int]:
    """Return what keeps a family's fit on so many rows to some seconds, where nothing else can end it."""
    if family == "kernel":
        return {"landmarks": int(max(20, min(MOST_LANDMARKS, rows, (KERNEL_WORK / rows) ** 0.5)))}
    if family == "forest":
        return {"trees": int(max(LEAST_TREES, min(MOST_TREES, FOREST_WORK / rows)))}
    return {}


def _candidate(task: TableTask, entry: Entry, seed: int) -> Candidate:
    label, family, params, inputs = entry
    known = kind_of(task, family).parameter_names()
    given: Mapping[str, Any] = {name: value for name, value in params.items() if name in known}
    return Candidate(
        label=label, family=family, params={**given, **({"seed": seed} if "seed" in known else {})}, inputs=inputs
    )


def _bent(candidate: Candidate) -> Candidate:
    return Candidate(
        label=f"{candidate.label}-bent",
        family=candidate.family,
        params=candidate.params,
        inputs=candidate.inputs,
        bend=True,
    )
