"""What every learned thing has in common: parameters, and a state of arrays and JSON values without pickles."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

from cluster.errors import ConfigError, SignatureMismatch
from training.core.catalog import Catalog

State = dict[str, Any]
"""Nested: str -> number | string | bool | None | list | numpy array | State."""


class Component(ABC):
    """A transform or an estimator.

    The constructor's signature is the hyper-parameter schema: each argument is keyword-only, has a default where
    a sensible one exists, and is stored under its own name.
    """

    name: ClassVar[str]

    @classmethod
    def parameter_names(cls) -> tuple[str, ...]:
        """Return the names of the constructor's arguments."""
        return tuple(name for name in inspect.signature(cls).parameters)

    def params(self) -> dict[str, Any]:
        """Return the constructor's arguments of this object."""
        return {name: getattr(self, name) for name in self.parameter_names()}

    @classmethod
    def example_params(cls) -> dict[str, Any]:
        """Return arguments small enough for the exam to fit in a second."""
        return {}

    @abstractmethod
    def state(self) -> State:
        """Return all that fitting learned; empty before."""

    @abstractmethod
    def restore(self, state: State) -> None:
        """Take back what `state` gave."""


C = TypeVar("C", bound=Component)


def build(catalog: Catalog[C], name: str, params: Mapping[str, Any]) -> C:
    """Make the catalog's `name` with `params`; a parameter it does not have is a ConfigError that lists them."""
    kind = catalog.load(name)
    known = kind.parameter_names()
    for key in params:
        if key not in known:
            raise ConfigError(
                f"{catalog.family} '{name}' has no parameter '{key}'. It has: {', '.join(known) or 'none'}",
                parameter=key,
                known=list(known),
            )
    return kind(**params)


def pack(component: Component) -> State:
    """Return name, parameters and state: enough to rebuild the component from its catalog."""
    return {"name": component.name, "params": component.params(), "state": component.state()}


def unpack(packed: State, catalog: Catalog[C]) -> C:
    """Rebuild what `pack` gave."""
    try:
        name, params, state = packed["name"], packed["params"], packed["state"]
    except KeyError as missing:
        raise SignatureMismatch(
            f"a packed {catalog.family} has no {missing}; got {sorted(packed)}, expected name, params, state"
        ) from missing
    component = build(catalog, name, params)
    component.restore(state)
    return component
