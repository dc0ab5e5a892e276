"""The list of searchers: name -> where its class is, imported at first use."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from cluster.errors import ConfigError
from training.core.catalog import Catalog
from training.core.space import Draw, Space
from tuning.presets import preset
from tuning.search.policy import SearchPolicy

SEARCHES: Catalog[SearchPolicy] = Catalog(
    "search",
    {
        "gaussian_process": "tuning.search.gaussian_process:GaussianProcess",
        "random": "tuning.search.random:Random",
        "tpe": "tuning.search.tpe:TreeParzen",
    },
)


def open_search(
    name: str, space: Space | str, *, seed: int = 0, starts: Sequence[Draw] = (), **options: Any
) -> SearchPolicy:
    """Return the searcher called `name`; an option it does not have is a ConfigError that lists them.

    Parameters
    ----------
    name
        One of `SEARCHES`.
    space
        What is searched; of a preset its name, which brings its start unless `starts` are given.
    seed, starts, options
        As the member's class has them.
    """
    if isinstance(space, str):
        named = preset(space)
        return open_search(name, named.space, seed=seed, starts=starts or [named.starting_draw], **options)
    kind = SEARCHES.load(name)
    known = [option for option in inspect.signature(kind).parameters if option not in ("space", "seed", "starts")]
    for option in options:
        if option not in known:
            raise ConfigError(f"search '{name}' has no option '{option}'. It has: {', '.join(known)}")
    return kind(space, seed=seed, starts=starts, **options)
