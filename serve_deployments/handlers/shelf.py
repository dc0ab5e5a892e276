"""The versions a process serves, and how a request picks one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cluster.clock import SystemClock
from cluster.errors import UnknownNameError
from serve_deployments.servable import Servable
from serve_deployments.versions.lives import Lives


class Shelf:
    """The served versions; of each name the one listed first is the default.

    Parameters
    ----------
    servables
        In order of preference.
    lives
        Their life cycles; new ones where None.
    """

    def __init__(self, servables: Sequence[Servable] = (), lives: Lives | None = None) -> None:
        self.lives = Lives(SystemClock()) if lives is None else lives
        self._by_name: dict[str, dict[str, Servable]] = {}
        for servable in servables:
            self.put(servable)

    def put(self, servable: Servable) -> None:
        """Take in a version, behind those of its name that are there: from now on it may get traffic."""
        self.lives.of(servable.key).activate()
        self._by_name.setdefault(servable.name, {})[servable.version] = servable

    def arrange(self, wanted: Sequence[tuple[str, str]]) -> list[Servable]:
        """Keep these names and versions, in this order, and nothing else; return what went.

        Parameters
        ----------
        wanted
            All of them are there.
        """
        before, arranged = list(self), dict[str, dict[str, Servable]]()
        for name, version in wanted:
            arranged.setdefault(name, {})[version] = self._by_name[name][version]
        self._by_name = arranged
        return [servable for servable in before if (servable.name, servable.version) not in wanted]

    def __iter__(self) -> Iterator[Servable]:
        # A copy: versions come and go while somebody looks at each in turn.
        return iter([servable for versions in self._by_name.values() for servable in versions.values()])

    def pick(self, name: str, version: str | None = None, kind: str | None = None) -> Servable:
        """Return the wanted version; raise UnknownNameError with the known ones.

        Parameters
        ----------
        name, version
            The default version where None.
        kind
            What it must answer; anything where None.
        """
        versions = self.versions(name)
        if version is not None and version not in versions:
            raise _unknown("version", "body.version", version, versions)
        found = next(iter(versions.values())) if version is None else versions[version]
        if kind is not None and found.kind != kind:
            raise _unknown("model", "body.model", name, {each.name: each for each in self if each.kind == kind})
        return found

    def of_key(self, key: str) -> Servable:
        """Return the version called `name@version`; raise UnknownNameError with the known ones."""
        name, _, version = key.rpartition("@")
        return self.pick(name, version)

    def versions(self, name: str, field: str = "body.model") -> Mapping[str, Servable]:
        """Return the served versions of a name, the default first."""
        if name not in self._by_name:
            raise _unknown("model", field, name, self._by_name)
        return self._by_name[name]

    def infos(self) -> list[dict[str, Any]]:
        """Return what GET /api/models lists."""
        return [
            servable.info(default=place == 0)
            for versions in self._by_name.values()
            for place, servable in enumerate(versions.values())
        ]


def _unknown(kind: str, field: str, got: str, known: Mapping[str, Any]) -> UnknownNameError:
    error = UnknownNameError.of(kind, got[:100], known)
    error.context.update(field=field, got=got[:100], expected=f"one of {', '.join(sorted(known)) or 'none'}")
    return error
