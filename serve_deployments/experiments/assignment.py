"""Who takes part in what: salted hashes, so that a unit always lands in the same place and nothing is stored."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise

from cluster.errors import ConfigError, GateRefused


def point(salt: str, unit: str) -> float:
    """Return the place of a unit in [0, 1): uniform, the same in every process, unrelated between salts."""
    digest = blake2b(unit.encode(), key=salt.encode()[:64], digest_size=8).digest()
    return int.from_bytes(digest) / 2**64


@dataclass(frozen=True, kw_only=True)
class Slot:
    """A part of a layer's units.

    Experiments of one layer (a model) have slots that do not overlap: nobody is in two.

    Parameters
    ----------
    low, high
        Bounds in [0, 1]; the units whose point in the layer lies in [low, high).
    """

    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.low < self.high <= 1.0:
            raise ConfigError(f"slot: got [{self.low}, {self.high}), expected bounds in [0, 1], the lower first")

    def holds(self, layer: str, unit: str) -> bool:
        """Say whether a unit of this layer is in the slot."""
        whole = self.low == 0.0 and self.high == 1.0
        return whole or self.low <= point(f"layer/{layer}", unit) < self.high


EVERYBODY = Slot()


def free_slot(taken: Iterable[Slot], size: float) -> Slot:
    """Return the first slot of this size beside those that are taken.

    Raises
    ------
    GateRefused
        There is none.
    """
    if not 0.0 < size <= 1.0:
        raise ConfigError(f"traffic: got {size}, expected a share in (0, 1]")
    used = sorted(((slot.low, slot.high) for slot in taken), key=lambda ends: ends[0])
    for (_, end), (begin, _) in pairwise([(0.0, 0.0), *used, (1.0, 1.0)]):
        if begin - end >= size - 1e-12:
            return Slot(low=end, high=min(1.0, end + size))
    free = 1.0 - sum(high - low for low, high in used)
    raise GateRefused(
        f"no room for another experiment: got a wish for {size:g} of the traffic, expected at most what is free in "
        f"one piece (in all {free:.3g}); ask for less or wait for another's end",
        free=free,
    )
