"""What a study may be asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cluster.errors import ConfigError, UnknownNameError
from training.core.space import Choice, Real, Whole
from tuning.conductor import TrialLimits
from tuning.proposer import Proposer
from tuning.ray_crew import WorkerSpec
from tuning.search.members import open_search
from tuning.study_spec import StudySpec


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"models": ()}, "models of a study: got none, expected one or more"),
        ({"models": ({"name": "ridge"}, {"name": "ridge"})}, "each once"),
        ({"horizon": 0}, "'horizon'"),
        ({"max_concurrent": 0}, "'max_concurrent'"),
        ({"grace_reports": 0}, "'grace_reports'"),
        ({"name": "../up"}, "study name: got '../up', expected letters"),
        ({"name": ""}, "study name: got '', expected letters"),
        ({"search": "grid"}, "unknown search 'grid'"),
        ({"train_workers": -1}, "'train_workers'"),
        ({"stopping": "asha"}, "'stopping': got 'asha', expected one of"),
    ],
)
def test_a_specification_out_of_range_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises((ConfigError, UnknownNameError), match=message):
        StudySpec(**{"name": "s", "models": ({"name": "ridge"},), "horizon": 4, **change})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Real(1.0, 0.0), "got low=1.0, high=0.0, log=False, expected low below high"),
        (lambda: Whole(3, 3), "got low=3, high=3, log=False, expected low below high"),
        (lambda: Real(0.0, 1.0, log=True), "got low=0.0, high=1.0, log=True, expected low above 0"),
        (lambda: Real(0.0, float("inf")), "expected finite ends"),
        (lambda: Choice(()), "a choice needs values: got none, expected one or more"),
        (lambda: open_search("random", {}), "a search space is empty: got no parameters, expected one or more"),
        (lambda: Proposer({}, search="random", seed=0), "a search space is empty: got no families"),
    ],
    ids=["bounds reversed", "bounds equal", "log of zero", "endless", "no values", "empty space", "no families"],
)
def test_a_space_that_cannot_be_searched_is_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()


@pytest.mark.parametrize(
    ("limits", "message"), [({"timeout_s": 0.0}, "'timeout_s': got 0.0"), ({"attempts": 0}, "'attempts': got 0")]
)
def test_limits_out_of_range_are_refused(limits: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TrialLimits(**limits)


def test_what_is_fixed_is_not_searched() -> None:
    spec = StudySpec(
        name="s", models=({"name": "ridge", "params": {"window": 24}}, {"name": "xgboost"}), horizon=4, seed=3
    )
    families = spec.families()
    assert "window" not in families["ridge"].space
    assert families["ridge"].fixed == {"window": 24}
    assert families["xgboost"].fixed == {"seed": 3}
    with pytest.raises(ConfigError, match="no parameter 'alhpa'"):
        StudySpec(name="s", models=({"name": "ridge", "params": {"alhpa": 1}},), horizon=4).families()
    with pytest.raises(UnknownNameError, match="Did you mean 'ridge'"):
        StudySpec(name="s", models=({"name": "rigde"},), horizon=4).families()


def test_a_worker_asks_for_what_it_is_given() -> None:
    options = WorkerSpec(cpus=0.5, gpus=0.25, custom={"fast": 1.0}).options()
    assert (options["num_cpus"], options["num_gpus"], options["resources"]) == (0.5, 0.25, {"fast": 1.0})
    for change in ({"cpus": -1.0}, {"gpus": float("nan")}, {"memory_bytes": 0}):
        with pytest.raises(ConfigError, match=f"'{next(iter(change))}'"):
            WorkerSpec(**change)
