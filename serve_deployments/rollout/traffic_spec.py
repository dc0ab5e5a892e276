"""Whether and how a graph's traffic is divided, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from cluster.settings import Settings


@dataclass(frozen=True, kw_only=True)
class TrafficSpec:
    """What replicas need to take part in rollouts and experiments.

    Parameters
    ----------
    profile
        Decides which policies need a reason.
    storage_url
        Where rollouts and experiments are kept.
    log_file
        Exposures and outcomes on the machine of the board, which ships them to the storage.
    exchange_s
        Seconds between two exchanges of counts and splits: how soon a change is everywhere.
    """

    profile: str
    storage_url: str
    log_file: str
    exchange_s: float = 0.5

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Return what a profile's settings ask for."""
        return cls(
            profile=settings.profile,
            storage_url=settings.storage_url,
            log_file=str(settings.home / "traffic" / "exposures.sqlite"),
        )

    @classmethod
    def from_json(cls, data: dict[str, Any] | None) -> Self | None:
        """Rebuild what `asdict` gave."""
        return None if data is None else cls(**data)
