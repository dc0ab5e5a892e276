"""The list of searchers: name -> where its class is, imported at first use."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from cluster.errors import ConfigError
from training.core.catalog import Catalog
from training.core.space import Draw, Space
from tuning.search.policy import SearchPolicy

SEARCHES: Catalog[SearchPolicy] = Catalog(
    "search",
    {
        "random": "tuning.search.random:Random",
    },
)


def open_search(
    name: str, space: Space, *, seed: int = 0, starts: Sequence[Draw] = (), **options: Any
) -> SearchPolicy:
    """Return the searcher called `name`; an option it does not have is a ConfigError that lists them."""
    kind = SEARCHES.load(name)
    known = [option for option in inspect.signature(kind).parameters if option not in ("space", "seed", "starts")]
    for option in options:
        if option not in known:
            raise ConfigError(f"search '{name}' has no option '{option}'. It has: {', '.join(known)}")
    return kind(space, seed=seed, starts=starts, **options)
