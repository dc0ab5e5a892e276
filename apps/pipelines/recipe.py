"""What to train: target, horizon, features and members, as data."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from training.core.component import build
from training.core.panel import Panel
from training.core.runner import Backend
from training.core.schema import Schema
from training.features import TRANSFORMS
from training.features.calendar import circles
from training.models import MODELS

Part = dict[str, Any]
"""A catalog member with its parameters: `{"name": "lags", "params": {"steps": [1, 7, 30]}}`."""

OWN_SEASON_ROWS = 1000
"""A season longer than this many rows is not worth a lag of its own."""


def part(name: str, **params: Any) -> Part:
    """Return a Part."""
    return {"name": name, "params": params}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How one forecasting model is made.

    Parameters
    ----------
    name
        Name in the registry, e.g. `gas-turbine-nox`.
    target
        The column to forecast.
    horizon
        Steps ahead.
    season
        Steps in the season of the baseline.
    features
        Transforms, in order.
    members
        Models of the ensemble.
    """

    name: str
    target: str
    horizon: int
    season: int
    features: tuple[Part, ...] = field(default_factory=tuple)
    members: tuple[Part, ...] = field(default_factory=tuple)

    def with_members(self, members: tuple[Part, ...]) -> Recipe:
        """Return the recipe with other members: what a search found."""
        return replace(self, members=members)

    def steps(self) -> dict[Backend, int]:
        """Return the most steps that each kind of training loop reports: epochs, boosting rounds."""
        steps: dict[Backend, int] = {}
        for member in self.members:
            model = build(MODELS, member["name"], member["params"])
            if model.tags.backend:
                steps[model.tags.backend] = model.params().get("max_epochs") or model.params()["rounds"]
        return steps

    def view(self, panel: Panel) -> Panel:
        """Return the panel with this recipe's target alone."""
        return panel.for_target(self.target)


def recipe_name(schema: Schema, target: str) -> str:
    """Return the registry's name for forecasts of a target."""
    return f"{schema.name}-{target}".replace("_", "-").lower()


def default_recipe(schema: Schema, target: str, horizon: int | None = None) -> Recipe:
    """Return the recipe that suits most series: features and an ensemble of ridge, XGBoost and LSTM.

    Parameters
    ----------
    schema
        Of the data; its season becomes a lag and the baseline.
    target
        One of the schema's targets.
    horizon
        Steps ahead; one season by default.
    """
    season = schema.season_length
    schema.column(target)
    lags = sorted({1, 7, 30} | ({season} if season <= OWN_SEASON_ROWS else set()))
    return Recipe(
        name=recipe_name(schema, target),
        target=target,
        horizon=horizon or max(season, 1),
        season=season,
        features=(
            part("calendar"),
            part("lags", steps=lags, columns=[target]),
            part("rolling", windows=[7, 14, 30], columns=[target]),
            *_ratios(schema),
        ),
        # The LSTM makes its own lags. On the gas turbine's calibration part it had a WAPE of .0912 on these, .0916
        # on the target alone, .0946 on all features, .1071 on all raw columns; the test part had no say.
        members=(
            part("ridge", ahead=list(schema.known_names)),
            part("xgboost"),
            part("lstm", channels=[target, *circles()]),
        ),
    )


def _ratios(schema: Schema) -> tuple[Part, ...]:
    """Return the ratios of sustainability where the schema has all their columns."""
    ratios = TRANSFORMS.load("ratios")()
    needed = {
        *ratios.params()["emissions"],
        *(ratios.params()[name] for name in ("production", "energy", "renewable")),
    }
    return (part("ratios"),) if needed <= set(schema.names) else ()
