"""Several spaces as one: which family, and the parameters of that family alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from training.core.space import Choice, Draw, Space, When

FAMILY = "family"
"""Name of the parameter that says which."""


def joined(spaces: Mapping[str, Space]) -> Space:
    """Return one space over all families: `family`, and `<family>.<name>` that exist only where it is chosen."""
    space: Space = {FAMILY: Choice(tuple(spaces))}
    for family, inner in spaces.items():
        for name, dimension in inner.items():
            inside = dimension.when and replace(dimension.when, parent=_named(family, dimension.when.parent))
            space[_named(family, name)] = replace(dimension, when=inside or When(FAMILY, (family,)))
    return space


def parted(spaces: Mapping[str, Space], draw: Mapping[str, float | int]) -> tuple[str, Draw]:
    """Return the family that a draw of the joined space is of, and the family's own draw."""
    family = tuple(spaces)[int(draw[FAMILY])]
    return family, {name: draw[_named(family, name)] for name in spaces[family] if _named(family, name) in draw}


def whole_draw(spaces: Mapping[str, Space], family: str, draw: Mapping[str, float | int]) -> Draw:
    """Return the draw of the joined space for a family's own; the inverse of `parted`."""
    return {FAMILY: tuple(spaces).index(family), **{_named(family, name): drawn for name, drawn in draw.items()}}


def _named(family: str, name: str) -> str:
    return f"{family}.{name}"
