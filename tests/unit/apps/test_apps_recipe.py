"""Recipes: what is trained by default, and what a search may change."""

from __future__ import annotations

import pytest

from apps.pipelines.recipe import default_recipe, part
from cluster.errors import UnknownNameError
from training.data.schemas import EMISSIONS, GAS_TURBINE


def test_default_recipe_follows_the_schema() -> None:
    recipe = default_recipe(GAS_TURBINE, "NOX")
    assert recipe.name == "gas-turbine-nox"
    assert (recipe.horizon, recipe.season) == (24, 24)
    lags = next(each for each in recipe.features if each["name"] == "lags")
    assert lags["params"] == {"steps": [1, 7, 24, 30], "columns": ["NOX"]}


def test_emissions_get_their_ratios() -> None:
    recipe = default_recipe(EMISSIONS, "scope1")
    assert "ratios" in [each["name"] for each in recipe.features]


def test_unknown_target_is_named_with_the_known() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'NOX'"):
        default_recipe(GAS_TURBINE, "NOx")


def test_steps_come_from_the_members() -> None:
    recipe = default_recipe(GAS_TURBINE, "NOX").with_members(
        (part("ridge"), part("lstm", max_epochs=3), part("xgboost", rounds=7))
    )
    assert recipe.steps() == {"torch": 3, "xgboost": 7}
