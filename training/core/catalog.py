"""Names of a family's members, and their classes when somebody asks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Generic, TypeVar, cast

from cluster.errors import UnknownNameError

M = TypeVar("M")


class Catalog(Generic[M]):
    """A family's list: catalog name -> class, imported at first use.

    Parameters
    ----------
    family
        What the members are, for messages: `model`, `transform`.
    members
        name -> `module:Class`. Artifacts store the name, never the path.
    """

    def __init__(self, family: str, members: Mapping[str, str]) -> None:
        self.family = family
        self._members = dict(members)

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._members))

    def __contains__(self, name: object) -> bool:
        return name in self._members

    def load(self, name: str) -> type[M]:
        """Return the class called `name`; raise UnknownNameError with the known names."""
        if name not in self._members:
            raise UnknownNameError.of(self.family, name, self._members)
        module, _, attribute = self._members[name].partition(":")
        return cast(type[M], getattr(import_module(module), attribute))
