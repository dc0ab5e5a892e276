"""Parameters with which a detector sees no row ahead, so that it can judge a stream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cluster.errors import ConfigError
from training.core.component import build
from training.detectors import DETECTORS
from training.detectors.ensemble import MEMBERS, OF_ROWS


def online_params(name: str) -> dict[str, Any]:
    """Return parameters of the catalog's `name` that make it causal.

    Of the ensemble these are the usual members that can wait for nothing, with those that judge single rows beside
    them, and weights by character: a piece that ends at its strange row holds little of it yet.

    Raises
    ------
    UnknownNameError
        There is no such detector.
    ConfigError
        It cannot; the message says which can.
    """
    if name == "ensemble":
        ended = ((member["name"], _ended(member)) for member in (*MEMBERS, *OF_ROWS))
        members = [{"name": each, "params": params} for each, params in ended if params is not None]
        return {"members": members, "weighting": "character"}
    params = _ended({"name": name, "params": {}})
    if params is None:
        known = ", ".join(
            each for each in DETECTORS if each == "ensemble" or _ended({"name": each, "params": {}}) is not None
        )
        raise ConfigError(f"'{name}' waits for later rows: choose one of {known}", detector=name)
    return params


def _ended(member: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the member's parameters with scores given to the last row of a piece; None where it still waits."""
    kind = DETECTORS.load(str(member["name"]))
    params = dict(member["params"])
    if "align" in kind.parameter_names():
        params["align"] = "end"
    return params if build(DETECTORS, kind.name, params).causal else None
