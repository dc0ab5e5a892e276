"""What questions to an ensemble must fit, apart from the ensemble itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from training.models.ensemble import Ensemble


@dataclass(frozen=True, kw_only=True)
class Outline:
    """What questions to an ensemble must fit.

    Parameters
    ----------
    context, horizon
        Rows it looks back on, and steps it looks ahead.
    targets, known
        What it forecasts, and what it must be given over the horizon.
    members
        Names.
    """

    context: int
    horizon: int
    targets: tuple[str, ...]
    known: tuple[str, ...]
    members: tuple[str, ...]

    @classmethod
    def of(cls, ensemble: Ensemble) -> Self:
        """Return an ensemble's."""
        return cls(
            context=ensemble.context,
            horizon=ensemble.horizon,
            targets=ensemble.targets,
            known=ensemble.known,
            members=tuple(member.name for member in ensemble.members),
        )
