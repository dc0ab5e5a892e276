"""The features that say most about what is forecast."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import pandas as pd

from cluster.errors import ConfigError, InsufficientHistoryError, NotFittedError, UnknownNameError
from training.core.component import State
from training.core.transform import Transform
from training.core.windows import Floats, Ints, Times, Windows

FEWEST_ROWS = 20
"""Pairs of rows below which a nearest-neighbour estimate of mutual information says nothing."""


class Selection(Transform):
    """Keeps the targets and the columns with the most mutual information with them `horizon` steps later.

    Mutual information sees any dependence, not only a straight line. Columns are taken in its order; one that
    nearly repeats a column already taken is passed over, and what then lies beyond `keep` is dropped. It is
    estimated on at most `sample` rows of the training windows, with several targets as the mean of theirs.

    Parameters
    ----------
    targets
        Columns that are forecast; always kept.
    keep
        The most columns that are kept, targets included.
    horizon
        Steps from a row to the target it is judged by.
    redundancy
        Absolute correlation with a better column, 0 to 1, from which a column is passed over; 1 passes over none
        but exact repetitions.
    sample
        The most pairs of rows looked at.
    seed
        Draws them, and the noise that breaks ties.

    References
    ----------
    Kraskov, Stoegbauer, Grassberger (2004), Estimating mutual information, Physical Review E 69.
    """

    name = "selection"

    def __init__(
        self,
        *,
        targets: Sequence[str],
        keep: int = 50,
        horizon: int = 1,
        redundancy: float = 0.98,
        sample: int = 2000,
        seed: int = 0,
    ) -> None:
        if isinstance(targets, str) or not targets:
            raise ConfigError(f"targets: got {targets!r}, expected a list of names", parameter="targets")
        for parameter, value, least in (
            ("keep", keep, len(targets)),
            ("horizon", horizon, 1),
            ("sample", sample, FEWEST_ROWS),
        ):
            if value < least:
                raise ConfigError(f"{parameter}: got {value}, expected {least} or more", parameter=parameter)
        if not 0 < redundancy <= 1:
            raise ConfigError(f"redundancy: got {redundancy}, expected 0 to 1", parameter="redundancy")
        self.targets = tuple(targets)
        self.keep = keep
        self.horizon = horizon
        self.redundancy = redundancy
        self.sample = sample
        self.seed = seed
        self._judged: State = {}

    def fit(self, windows: Windows) -> Self:
        """Judge every column by the training windows' rows.

        Raises
        ------
        UnknownNameError
            A target is not there.
        InsufficientHistoryError
            Fewer than 20 rows have a target `horizon` steps later.
        """
        at = windows.positions(self.targets)
        rows = self._rows(windows)
        now, later = windows.rows[rows], windows.rows[rows + self.horizon][:, at]
        information = _information(now, later, self.seed)
        related = _correlation(now, now)
        kept, reasons = self._take(windows.columns, information, np.abs(related))
        other = np.abs(related - np.eye(len(related)) * related)
        strongest = other.argmax(axis=1)
        self._judged = {
            "features": list(windows.columns),
            "information": information,
            "correlation": _correlation(now, later),
            "strongest": [windows.columns[i] for i in strongest] if len(related) > 1 else [""],
            "strongest_correlation": related[np.arange(len(related)), strongest],
            "kept": [name for name in windows.columns if name in kept],
            "reasons": reasons,
        }
        return self

    def _rows(self, windows: Windows) -> Ints:
        """Return rows that windows cover, finite, whose target is covered as well; at most `sample` of them."""
        edge = np.zeros(len(windows.rows) + 1, dtype=np.int64)
        np.add.at(edge, windows.starts, 1)
        np.add.at(edge, windows.starts + windows.length, -1)
        covered = (np.cumsum(edge)[:-1] > 0) & np.isfinite(windows.rows).all(axis=1)
        rows = np.arange(max(len(covered) - self.horizon, 0))
        owner = np.searchsorted(windows.segments, np.arange(len(covered)), side="right")
        together = owner[rows] == owner[rows + self.horizon]
        rows = rows[covered[rows] & covered[rows + self.horizon] & together]
        if len(rows) < FEWEST_ROWS:
            raise InsufficientHistoryError(
                f"selection has too little history: got {len(rows)} rows with a target {self.horizon} steps later, "
                f"expected at least {FEWEST_ROWS}; send more rows or take a shorter horizon",
                got=len(rows),
                expected=FEWEST_ROWS,
            )
        if len(rows) > self.sample:
            rows = np.random.default_rng(self.seed).choice(rows, self.sample, replace=False)
        return np.sort(rows)

    def _take(self, columns: tuple[str, ...], information: Floats, related: Floats) -> tuple[list[str], list[str]]:
        kept = list(self.targets)
        reasons = ["target" if name in kept else "" for name in columns]
        for i in np.argsort(-information, kind="stable"):
            if columns[i] in kept:
                continue
            rivals = {name: float(related[i, columns.index(name)]) for name in kept}
            rival = max(rivals, key=lambda name: rivals[name])
            if rivals[rival] >= self.redundancy:
                reasons[i] = f"repeats {rival} (correlation {rivals[rival]:.3f})"
            elif len(kept) >= self.keep:
                reasons[i] = f"beyond the best {self.keep}"
            else:
                kept.append(columns[i])
                reasons[i] = "informative"
        return kept, reasons

    @property
    def kept(self) -> tuple[str, ...]:
        """The columns that are kept, in the order of the table; known after `fit`."""
        if not self._judged:
            raise NotFittedError(f"'{self.name}' is not fitted: call fit() first")
        return tuple(self._judged["kept"])

    def report(self) -> pd.DataFrame:
        """Return every column with what it was judged by, best first.

        Columns: `feature`; `mutual_information` in nats, mean over targets; `correlation_<target>` with the target
        `horizon` steps later; `strongest` correlated other column and `strongest_correlation`; `kept`; `reason`.
        """
        kept, judged = self.kept, self._judged
        correlations = {
            f"correlation_{target}": judged["correlation"][:, i] for i, target in enumerate(self.targets)
        }
        report = pd.DataFrame(
            {
                "feature": judged["features"],
                "mutual_information": judged["information"],
                **correlations,
                "strongest": judged["strongest"],
                "strongest_correlation": judged["strongest_correlation"],
                "kept": [name in kept for name in judged["features"]],
                "reason": judged["reasons"],
            }
        )
        return report.sort_values("mutual_information", ascending=False, kind="stable", ignore_index=True)

    def columns(self, columns: tuple[str, ...]) -> tuple[str, ...]:  # noqa: ARG002 - the same whatever else is there
        """Return the kept names."""
        return self.kept

    def compute(self, values: Floats, times: Times, columns: tuple[str, ...]) -> Floats:  # noqa: ARG002
        """Return (S, T, kept)."""
        return _pick(values, columns, self.kept)

    def ahead_columns(self, columns: tuple[str, ...]) -> tuple[str, ...]:
        """Return which of the names are kept."""
        return tuple(name for name in columns if name in self.kept)

    def compute_ahead(self, values: Floats, times: Times, columns: tuple[str, ...]) -> Floats:  # noqa: ARG002
        """Return (S, T, kept of K)."""
        return _pick(values, columns, self.ahead_columns(columns))

    def state(self) -> State:
        """Return the report's columns."""
        return dict(self._judged)

    def restore(self, state: State) -> None:
        """Take back what `state` gave."""
        self._judged = dict(state)


def _pick(values: Floats, columns: tuple[str, ...], names: Sequence[str]) -> Floats:
    for name in names:
        if name not in columns:
            raise UnknownNameError.of("column", name, columns)
    return values[:, :, [columns.index(name) for name in names]]


def _information(now: Floats, later: Floats, seed: int) -> Floats:
    """Return (C,) the mean over targets of each column's mutual information with it, in nats."""
    from sklearn.feature_selection import mutual_info_regression

    told: list[Any] = [
        mutual_info_regression(now, target, discrete_features=False, random_state=seed) for target in later.T
    ]
    mean: Floats = np.mean(told, axis=0)
    return mean


def _correlation(a: Floats, b: Floats) -> Floats:
    """Return (A, B) Pearson correlations of columns; 0 with a constant one."""
    left, right = _standard(a), _standard(b)
    correlation: Floats = np.clip(left.T @ right / len(a), -1.0, 1.0)
    return correlation


def _standard(values: Floats) -> Floats:
    centred = values - values.mean(axis=0)
    spread = centred.std(axis=0)
    standard: Floats = centred / np.where(spread > 0, spread, np.inf)
    return standard
