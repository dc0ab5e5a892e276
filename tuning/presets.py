"""Ready-made spaces for usual kinds of models, for functions and models that bring none of their own.

A model of the catalog knows its own ranges: its `search_space()` stays the source. A preset is named where a space
is asked for: `open_search("gaussian_process", "gradient_boosted_trees")`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cluster.errors import ConfigError, UnknownNameError
from training.core.space import Choice, Draw, Real, Space, When, Whole, starting_draw


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A space with a place to begin.

    Parameters
    ----------
    space
        What is searched.
    start
        The first point that is tried: what works on many data sets.
    """

    space: Space
    start: Mapping[str, Any]

    @property
    def starting_draw(self) -> Draw:
        """The start as a draw."""
        return starting_draw(self.space, self.start)

    def of(self, build: Callable[..., Any]) -> Space:
        """Return the part of the space that a model's constructor, or a function, has parameters for."""
        known = inspect.signature(build).parameters
        space = {name: dimension for name, dimension in self.space.items() if name in known}
        if not space:
            raise ConfigError(
                f"{build.__name__} has none of the preset's parameters: got {', '.join(known) or 'none'}, "
                f"expected some of {', '.join(self.space)}"
            )
        return space


HIDDEN = ((32, 16), (64, 32), (128, 64), (256, 128), (64, 32, 16), (128, 64, 32))

PRESETS: dict[str, Preset] = {
    "neural_network": Preset(
        space={
            "learning_rate": Real(1e-4, 1e-2, log=True),
            "batch_size": Whole(16, 512, log=True),
            "hidden": Choice(HIDDEN),
            "dropout": Real(0.0, 0.5),
        },
        start={"learning_rate": 1e-3, "batch_size": 64, "hidden": (128, 64), "dropout": 0.1},
    ),
    "gradient_boosted_trees": Preset(
        space={
            "rounds": Whole(50, 1000, log=True),
            "depth": Whole(2, 10),
            "learning_rate": Real(0.01, 0.3, log=True),
            "subsample": Real(0.4, 1.0),
            "column_sample": Real(0.2, 1.0),
            "l1": Real(1e-3, 10.0, log=True),
            "l2": Real(1e-2, 100.0, log=True),
        },
        start={
            **{"rounds": 300, "depth": 6, "learning_rate": 0.1, "subsample": 0.8, "column_sample": 0.8},
            **{"l1": 1e-3, "l2": 1.0},
        },
    ),
    "genetic_algorithm": Preset(
        space={
            "population": Whole(20, 400, log=True),
            "mutation": Real(0.001, 0.3, log=True),
            "crossover": Real(0.4, 1.0),
            "elitism": Real(0.0, 0.2),
        },
        start={"population": 100, "mutation": 0.02, "crossover": 0.9, "elitism": 0.05},
    ),
    "regulatory_text": Preset(
        space={
            "embedding": Whole(32, 512, log=True),
            "learning_rate": Real(1e-5, 1e-2, log=True),
            "dropout": Real(0.0, 0.5),
        },
        start={"embedding": 128, "learning_rate": 1e-3, "dropout": 0.1},
    ),
    "anomaly_detector": Preset(
        space={
            "alarms": Choice(("contamination", "budget")),
            "contamination": Real(1e-3, 0.2, log=True, when=When("alarms", ("contamination",))),
            "budget": Real(0.05, 20.0, log=True, when=When("alarms", ("budget",))),
            "trees": Whole(25, 500, log=True),
            "max_features": Real(0.2, 1.0),
        },
        start={"alarms": "budget", "budget": 1.0, "trees": 100, "max_features": 1.0},
    ),
}
"""Name -> preset. `rounds` and `trees` are numbers of trees, `elitism` a share of the population, `contamination` a
share of the rows, `budget` alarms a day, `max_features` a share of the columns, `embedding` a width."""


def preset(name: str) -> Preset:
    """Return the preset called `name`; UnknownNameError lists the known ones."""
    if name not in PRESETS:
        raise UnknownNameError.of("preset", name, PRESETS)
    return PRESETS[name]
