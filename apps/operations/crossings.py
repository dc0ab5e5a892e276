"""When limits are crossed: capacity, bottleneck and health, all from the same sample paths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from apps.operations.limits import Limit
from cluster.errors import ConfigError
from training.core.parameters import whole
from training.core.prediction import check_levels
from training.core.validation import ID, TIME
from training.core.windows import Floats, Ints, Times
from training.inference.paths import Paths

TIME_LEVELS = (0.1, 0.5, 0.9)


@dataclass(frozen=True, kw_only=True)
class Crossings:
    """The step at which each of S sample paths first crosses each of L limits.

    Parameters
    ----------
    series
        Whose.
    times
        (H,)
    limits
        (L,)
    first
        (S, L) step of the first crossing, 1 .. H; H + 1 where a path crosses not at all.
    now
        (L,) whether the limit is crossed already. Such a limit counts as crossed from step 1 on in all paths.
    current
        (L,) last known values.
    closest
        (S, L) least headroom of each path, in the column's unit; negative beyond the limit.
    consecutive
        Steps that must lie beyond the limit one after another; a crossing is dated at the last of them.
    independent
        About how many futures the probabilities rest on, see `Paths`.
    """

    series: str
    times: Times
    limits: tuple[Limit, ...]
    first: Ints
    now: npt.NDArray[np.bool_]
    current: Floats
    closest: Floats
    consecutive: int
    independent: float

    @classmethod
    def of(cls, paths: Paths, limits: Sequence[Limit], *, consecutive: int = 1) -> Self:
        """Find the first crossings.

        Parameters
        ----------
        paths
            Futures with the limits' columns.
        limits
            1 or more.
        consecutive
            1 .. H. Known rows before the first step count: with 3, a limit that was crossed at the last two known
            rows is crossed at step 1 if that lies beyond too.

        Raises
        ------
        ConfigError
            There is no limit, or `consecutive` is out of range.
        UnknownNameError
            A limit's column is not in the paths.
        """
        if not limits:
            raise ConfigError("limits: got none, expected one or more")
        run = whole("consecutive", consecutive, low=1, high=len(paths.times))
        places = [paths.at(limit.column) for limit in limits]
        ahead = [paths.values[..., place] for place in places]
        known = [paths.recent[-run:, place] for place in places]
        first, now = zip(
            *(_first(limit, a, k, run) for limit, a, k in zip(limits, ahead, known, strict=True)), strict=True
        )
        return cls(
            series=paths.series,
            times=paths.times,
            limits=tuple(limits),
            first=np.stack(first, axis=1),
            now=np.array(now),
            current=np.array([each[-1] for each in known]),
            closest=np.stack([li.headroom(a).min(axis=1) for li, a in zip(limits, ahead, strict=True)], axis=1),
            consecutive=run,
            independent=paths.independent,
        )

    @property
    def horizon(self) -> int:
        """Steps ahead."""
        return len(self.times)

    @property
    def by_step(self) -> Floats:
        """(H, L): probability that each limit is crossed at a step or before; never falls."""
        steps = np.arange(1, self.horizon + 1)
        share: Floats = (self.first[:, None] <= steps[:, None]).mean(axis=0)
        return share

    @property
    def probability(self) -> Floats:
        """(L,): probability that each limit is crossed within the horizon."""
        share: Floats = (self.first <= self.horizon).mean(axis=0)
        return share

    @property
    def any_probability(self) -> float:
        """Probability that at least one limit is crossed within the horizon."""
        return float((self.first <= self.horizon).any(axis=1).mean())

    @property
    def shares(self) -> Floats:
        """(L,): probability that each limit is the first to be crossed; the sum is `any_probability`.

        Limits that a path crosses at the same step, the earliest, share it in equal parts.
        """
        earliest = self.first.min(axis=1, keepdims=True)
        tied = (self.first == earliest) & (earliest <= self.horizon)
        share: Floats = (tied / np.maximum(tied.sum(axis=1, keepdims=True), 1)).mean(axis=0)
        return share

    @property
    def health(self) -> float:
        """100 times the probability that every limit holds over the whole horizon."""
        return 100 * (1 - self.any_probability)

    def steps(self, levels: Sequence[float] = TIME_LEVELS) -> list[list[int | None]]:
        """Return (L, Q): by which step a limit is crossed with each probability; None where by none."""
        wanted = check_levels(tuple(levels))
        reached = self.by_step.T[:, None, :] >= wanted[:, None] - 1e-12
        return [[int(row.argmax()) + 1 if row.any() else None for row in limit] for limit in reached]

    def capacity(self) -> pd.DataFrame:
        """Return a row a limit: how likely and when it is crossed."""
        rows = []
        for n, (limit, steps) in enumerate(zip(self.limits, self.steps(), strict=True)):
            row: dict[str, Any] = {
                ID: self.series,
                "resource": limit.column,
                "keep": limit.text,
                "now": float(self.current[n]),
                "crossed_now": bool(self.now[n]),
                "probability": float(self.probability[n]),
            }
            row |= {
                f"crossed_by_q{level:g}": None if step is None else self.times[step - 1]
                for level, step in zip(TIME_LEVELS, steps, strict=True)
            }
            rows.append(row)
        return pd.DataFrame(rows)

    def bottleneck(self) -> pd.DataFrame:
        """Return a row a limit, the likeliest to be crossed first on top, with headroom now and at its least."""
        rows = [
            {
                ID: self.series,
                "resource": limit.column,
                "keep": limit.text,
                "first_probability": float(share),
                "probability": float(probability),
                "headroom_now": float(limit.headroom(now)),
                "least_headroom_median": float(np.median(closest)),
            }
            for limit, share, probability, now, closest in zip(
                self.limits, self.shares, self.probability, self.current, self.closest.T, strict=True
            )
        ]
        order = ["first_probability", "probability"]
        return pd.DataFrame(rows).sort_values(order, ascending=False, kind="stable", ignore_index=True)

    def health_parts(self) -> pd.DataFrame:
        """Return a row a limit: the points of 100 that it costs, which add up to what the score lacks.

        A path without any crossing keeps its points; in one with a crossing, the first limit crossed takes them.
        """
        rows = [
            {ID: self.series, "resource": limit.column, "keep": limit.text, "points_lost": 100 * float(share)}
            | {"score_alone": 100 * (1 - float(alone))}
            for limit, share, alone in zip(self.limits, self.shares, self.probability, strict=True)
        ]
        return pd.DataFrame(rows).sort_values("points_lost", ascending=False, kind="stable", ignore_index=True)

    def to_frame(self) -> pd.DataFrame:
        """Return a row a step and limit: the probability that it is crossed by then."""
        count = len(self.limits)
        return pd.DataFrame(
            {
                ID: self.series,
                TIME: np.repeat(self.times, count),
                "step": np.repeat(np.arange(1, self.horizon + 1), count),
                "resource": np.tile([limit.column for limit in self.limits], self.horizon),
                "keep": np.tile([limit.text for limit in self.limits], self.horizon),
                "probability": self.by_step.reshape(-1),
            }
        )


def first_runs(crossed: npt.NDArray[np.bool_], run: int) -> Ints:
    """Return (S,): the 1-based place at which `run` Trues in a row are first complete; length + 1 where never.

    Parameters
    ----------
    crossed
        (S, M)
    run
        1 or more.
    """
    count, length = crossed.shape
    if run > length:
        return np.full(count, length + 1, dtype=np.int64)
    whole_runs = np.all(np.lib.stride_tricks.sliding_window_view(crossed, run, axis=1), axis=2)
    places: Ints = np.where(np.any(whole_runs, axis=1), np.argmax(whole_runs, axis=1) + run, length + 1)
    return places


def _first(limit: Limit, ahead: Floats, known: Floats, run: int) -> tuple[Ints, bool]:
    """Return (S,) first crossings, and whether the limit is crossed now."""
    before = limit.crossed(known)
    if len(before) >= run and before.all():
        return np.ones(len(ahead), dtype=np.int64), True
    led = before[max(len(before) - run + 1, 0) :] if run > 1 else before[:0]
    crossed = np.concatenate([np.broadcast_to(led, (len(ahead), len(led))), limit.crossed(ahead)], axis=1)
    return first_runs(crossed, run) - len(led), False
