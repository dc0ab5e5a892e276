"""Which version answers a request: weights between versions as data, the same answer for the same unit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

from cluster.errors import ConfigError
from serve_deployments.experiments.assignment import EVERYBODY, Slot, point
from serve_deployments.rollout.tally import Side

Unit = Literal["request", "series", "user"]
UNITS: tuple[Unit, ...] = ("request", "series", "user")


@dataclass(frozen=True, kw_only=True)
class Split:
    """How a model's requests are divided.

    Parameters
    ----------
    model
        Registered name.
    owner
        The rollout or experiment that asked for it; what is counted under the split belongs to it.
    revision
        Rises with every change, so that what is counted under one split is never mixed with another's.
    arms
        Version -> share of the requests, in (a fixed) order; they sum to 1. Put the new version first: as its share
        grows, units that have it keep it.
    salt
        Of the hash. Another salt divides independently.
    unit
        What goes the same way every time: each request for itself, a series, or a user.
    shadow, shadow_ratio
        Version that gets a copy of a share of the others' requests, off the user's path.
    slot
        The units it is for; splits of a model that are there at once have slots that do not overlap.
    exposed
        Log who was given what: an experiment's.
    control
        Each other arm is counted against this one; empty where the first is counted against all others.
    dropped
        Arms that were taken out: whom they fall to gets the default, and takes part no more.
    """

    model: str
    owner: str
    revision: int
    arms: Mapping[str, float]
    salt: str
    unit: Unit = "request"
    shadow: str | None = None
    shadow_ratio: float = 0.0
    slot: Slot = EVERYBODY
    exposed: bool = False
    control: str = ""
    dropped: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        shares = list(self.arms.values())
        if not shares or min(shares) < 0.0 or abs(sum(shares) - 1.0) > 1e-9:
            raise ConfigError(f"split of '{self.model}': got shares {dict(self.arms)}, expected 0 or more, sum 1")
        if self.unit not in UNITS or not 0.0 <= self.shadow_ratio <= 1.0 or not self.salt:
            raise ConfigError(
                f"split of '{self.model}': got unit '{self.unit}', shadow ratio {self.shadow_ratio}, salt "
                f"'{self.salt}'; expected one of {', '.join(UNITS)}, a share in [0, 1], a word"
            )

    def covers(self, unit: str) -> bool:
        """Say whether the split is for this unit."""
        return self.slot.holds(self.model, unit)

    def pick(self, unit: str) -> str:
        """Return the version for a unit."""
        at, upto = point(self.salt, unit), 0.0
        for version, share in self.arms.items():
            upto += share
            if at < upto:
                return version
        # The shares' sum may fall short of 1 by a rounding error.
        return [version for version, share in self.arms.items() if share > 0.0][-1]

    def tallies(self, version: str) -> list[tuple[str, Side]]:
        """Return where an answer of a version is counted, and on which side."""
        if not self.control:
            return [(str(self.revision), "new" if version == next(iter(self.arms)) else "old")]
        if version != self.control:
            return [(tally_key(self.revision, version), "new")]
        return [(tally_key(self.revision, arm), "old") for arm in self.arms if arm != version]

    def copied(self, request_id: str, version: str) -> bool:
        """Say whether a copy of a request that `version` answers goes to the shadow."""
        return (
            self.shadow is not None
            and version != self.shadow
            and point(f"{self.salt}/shadow", request_id) < self.shadow_ratio
        )

    @property
    def live_share(self) -> float | None:
        """The first version's share of the requests that are answered once; None where it has all or none.

        Requests that are copied count as pairs, so they are missing among the other versions' requests.
        """
        share = next(iter(self.arms.values()))
        copied = self.shadow_ratio if self.shadow is not None else 0.0
        alone = share + (1.0 - share) * (1.0 - copied)
        return share / alone if 0.0 < share < alone else None

    def to_json(self) -> dict[str, Any]:
        """Return the fields."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Rebuild what `to_json` gave."""
        return cls(**{**data, "slot": Slot(**data["slot"]), "dropped": tuple(data["dropped"])})


def tally_key(phase: int | str, arm: str) -> str:
    """Return where an experiment's arm is counted against the control."""
    return f"{phase}/{arm}"
