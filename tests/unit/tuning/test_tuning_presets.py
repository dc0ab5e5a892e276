"""Presets: each is searched by its name, begins where it says, and fits the models that it is for."""

from __future__ import annotations

import pytest

from cluster.errors import ConfigError, UnknownNameError
from training.core.component import build
from training.core.cube import Cube
from training.core.space import parameters
from training.detectors import DETECTORS
from training.models import MODELS
from tuning.presets import PRESETS, preset
from tuning.search.members import SEARCHES, open_search
from tuning.search.outcome import Outcome

ISSUED = {
    "neural_network": {"learning_rate", "batch_size", "hidden", "dropout"},
    "gradient_boosted_trees": {"rounds", "depth", "learning_rate", "subsample", "column_sample", "l1", "l2"},
    "genetic_algorithm": {"population", "mutation", "crossover", "elitism"},
    "regulatory_text": {"embedding", "learning_rate", "dropout"},
    "anomaly_detector": {"alarms", "contamination", "budget", "trees", "max_features"},
}


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_searched_by_its_name_from_its_start(name: str) -> None:
    assert set(PRESETS[name].space) == ISSUED[name]
    policy = open_search("random", name, seed=0)
    first = policy.ask()
    assert first is not None
    assert parameters(PRESETS[name].space, first) == PRESETS[name].start
    policy.tell(first, Outcome(values=(1.0,)))
    second = policy.ask()
    assert second not in (None, first)


@pytest.mark.parametrize(
    ("name", "models", "fitting"),
    [
        ("neural_network", ["lstm"], ISSUED["neural_network"]),
        ("gradient_boosted_trees", ["xgboost"], ISSUED["gradient_boosted_trees"]),
        ("gradient_boosted_trees", ["lightgbm"], ISSUED["gradient_boosted_trees"] - {"depth"}),
    ],
)
def test_a_preset_fits_the_catalogs_models(name: str, models: list[str], fitting: set[str]) -> None:
    for model in models:
        space = preset(name).of(MODELS.load(model))
        assert set(space) == fitting
        for share in (0.0, 0.5, 1.0):
            draw = Cube(space).decode(Cube(space).encode(Cube(space).complete({})) * 0 + share)
            build(MODELS, model, parameters(space, draw))


def test_a_preset_is_cut_to_what_a_detector_or_function_takes() -> None:
    assert set(preset("anomaly_detector").of(DETECTORS.load("isolation_forest"))) == {"trees"}

    def train(population: int, crossover: float) -> float:
        return population * crossover

    assert set(preset("genetic_algorithm").of(train)) == {"population", "crossover"}
    with pytest.raises(ConfigError, match="train has none of the preset's parameters: got population, crossover"):
        preset("regulatory_text").of(train)


def test_unknown_names_list_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="gradient_boosted_trees"):
        open_search("random", "gradient_boosted_tree")
    with pytest.raises(UnknownNameError, match=", ".join(SEARCHES)):
        open_search("genetic", "neural_network")
