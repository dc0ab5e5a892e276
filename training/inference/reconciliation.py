"""Forecasts of a hierarchy that add up: points, samples and intervals."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, Self

import numpy as np

from cluster.errors import ConfigError, InsufficientHistoryError, UnknownNameError
from training.core.estimator import DEFAULT_LEVELS
from training.core.intervals import ConformalIntervals
from training.core.prediction import Prediction, check_levels
from training.core.windows import Floats
from training.evaluation.backtest import Backtest
from training.inference.hierarchy import TOTAL, Hierarchy

Method = Literal["bottom_up", "mint"]
Leaf = tuple[str, str]

FOLDS = 5
"""Runs of error rows, each reconciled by weights from the others: a row's own errors must not shrink it."""
LEAST_ROWS = 2 * FOLDS
"""Fewer joint error rows say nothing about how errors move together."""


@dataclass(frozen=True, kw_only=True)
class JointErrors:
    """Errors (actual - forecast) that were made at the same origins by all nodes.

    Parameters
    ----------
    rows
        (K, H, M) one row an origin, in order of time: how the nodes' errors move together is kept.
    """

    rows: Floats

    @classmethod
    def of(cls, hierarchy: Hierarchy, *tests: Backtest) -> Self:
        """Collect the errors of backtests of nodes (target `total`) and of leaves, where all nodes have one.

        Raises
        ------
        UnknownNameError
            A node is in none of them.
        InsufficientHistoryError
            Fewer than 10 origins are common to all nodes.
        """
        found: dict[Leaf, dict[np.datetime64, Floats]] = {}
        for test in tests:
            errors = test.actual - test.point
            for n, (name, origin) in enumerate(zip(test.ids, test.origins, strict=True)):
                for t, target in enumerate(test.targets):
                    found.setdefault((name, target), {}).setdefault(origin, errors[n, :, t])
        by_node = []
        for key, node in zip(hierarchy.keys, hierarchy.nodes, strict=True):
            one = found.get((node, TOTAL), found.get(key))
            if one is None:
                raise UnknownNameError.of("backtest of the node", node, {name for name, _ in found})
            by_node.append(one)
        common = sorted(set.intersection(*(set(one) for one in by_node)))
        if len(common) < LEAST_ROWS:
            raise InsufficientHistoryError(
                f"hierarchy: got {len(common)} origins from which every node was forecast, expected at least "
                f"{LEAST_ROWS}; backtest all nodes from the same origins, over a longer part",
                got=len(common),
                expected=LEAST_ROWS,
            )
        return cls(rows=np.stack([np.stack([one[origin] for one in by_node], axis=-1) for origin in common]))


@dataclass(frozen=True, kw_only=True)
class Reconciled:
    """Forecasts of all nodes that add up.

    Samples are whole futures of the hierarchy, each of which adds up to rounding; a node's quantiles are those of
    its own samples. So the quantiles are those of one coherent joint distribution, while a quantile of a sum is
    not the sum of quantiles: sites are not all at their worst at once.

    Parameters
    ----------
    hierarchy
        The nodes.
    prediction
        (M, H, 1) points and quantiles; ids are nodes, the target is `total`.
    samples
        (K, H, M), equally likely.
    method
        How the sums were made to agree.
    """

    hierarchy: Hierarchy
    prediction: Prediction
    samples: Floats
    method: Method


@dataclass(frozen=True, kw_only=True)
class Reconciler:
    """Projects base forecasts onto what adds up.

    `bottom_up` sums the leaves' forecasts. `mint` takes the combination of all nodes' forecasts whose error
    variance, summed over the nodes, is least: weights come from the errors' covariance, shrunk towards its
    diagonal. One level alone may lose a little by it. What adds up already is left as it is by both.

    Intervals come from joint error rows: a row, all nodes' errors at one origin, added to the base forecast and
    projected is one sample. Rows are projected by weights that were computed without them (in 5 runs of time), so
    that the intervals are not fitted to the errors they are made of.

    Parameters
    ----------
    hierarchy
        The nodes.
    method
        `bottom_up` or `mint`.
    weights
        (H, L, M) nodes' forecasts -> leaves', a matrix a step.
    spread
        (K, H, M) projected error rows.

    References
    ----------
    Wickramasuriya, Athanasopoulos and Hyndman (2019), Optimal forecast reconciliation through trace minimization;
    Schaefer and Strimmer (2005), A shrinkage approach to large-scale covariance matrix estimation; Panagiotelis et
    al. (2023), Probabilistic forecast reconciliation, for projecting samples. Ours inverts (M - L) x (M - L)
    matrices alone, accepts nodes without any error, and keeps samples honest by leaving their own run out.
    """

    hierarchy: Hierarchy
    method: Method
    weights: Floats
    spread: Floats

    @classmethod
    def fit(
        cls, hierarchy: Hierarchy, errors: JointErrors, *, method: Method = "mint", per_step: bool = False
    ) -> Self:
        """Learn weights and spread from errors made out of sample.

        Parameters
        ----------
        errors
            K rows of a backtest.
        per_step
            Whether each step has a covariance of its own, which takes many rows (K well above M); otherwise all
            steps share one, each step's errors counted in its own size.

        Raises
        ------
        ConfigError
            The method is unknown, or errors and hierarchy have different nodes.
        """
        if method not in ("bottom_up", "mint"):
            raise ConfigError(f"parameter 'method': got {method!r}, expected bottom_up or mint", parameter="method")
        rows = errors.rows
        if rows.shape[2] != len(hierarchy):
            raise ConfigError(f"hierarchy: got errors of {rows.shape[2]} nodes, expected {len(hierarchy)}")
        spread = np.empty_like(rows)
        for held in np.array_split(np.arange(len(rows)), FOLDS):
            weights = _weights(hierarchy, np.delete(rows, held, axis=0), method, per_step)
            spread[held] = _project(hierarchy, weights, rows[held])
        return cls(
            hierarchy=hierarchy, method=method, weights=_weights(hierarchy, rows, method, per_step), spread=spread
        )

    def points(self, base: Floats, *, non_negative: bool = False) -> Floats:
        """Return (..., H, M) coherent points for the base's (..., H, M).

        Parameters
        ----------
        non_negative
            Whether leaves below 0 become 0 before they are summed: quantities such as emissions cannot be negative.

        References
        ----------
        Di Fonzo and Girolimetto (2023), Spatio-temporal reconciliation of solar forecasts, for setting negative
        leaves to zero, which was as accurate as the constrained optimum.
        """
        return _project(self.hierarchy, self.weights[: base.shape[-2]], base, non_negative=non_negative)

    def reconcile(
        self, *base: Prediction, levels: tuple[float, ...] = DEFAULT_LEVELS, non_negative: bool = False
    ) -> Reconciled:
        """Return the reconciled forecast of all nodes.

        Parameters
        ----------
        base
            One or more forecasts in which all nodes are: of `hierarchy.panel(...)` (ids are nodes, target `total`),
            or leaves from a model of the measured series; see `Hierarchy.gather`.
        levels
            Quantile levels.
        non_negative
            See `points`; samples are treated in the same way.
        """
        free = self.points(self.hierarchy.gather(*base).T)
        samples = free + self.spread[:, : len(free)]
        point = free
        if non_negative:
            point, samples = (
                _summed(self.hierarchy, _leaves(self.hierarchy, each).clip(0)) for each in (free, samples)
            )
        intervals = ConformalIntervals(np.sort(samples - point, axis=0))
        found = check_levels(levels)
        return Reconciled(
            hierarchy=self.hierarchy,
            prediction=replace(
                base[0],
                ids=self.hierarchy.nodes,
                origins=np.repeat(base[0].origins[:1], len(self.hierarchy)),
                timestamps=np.repeat(base[0].timestamps[:1], len(self.hierarchy), axis=0),
                targets=(TOTAL,),
                point=point.T[:, :, None],
                levels=tuple(levels),
                values=intervals.quantiles(point[None], found)[0].transpose(1, 0, 2)[:, :, None],
                confidence=intervals.confidence(point[None])[0].T[:, :, None],
            ),
            samples=samples,
            method=self.method,
        )


def shrunk_covariance(rows: Floats, *, run: int = 1) -> Floats:
    """Return (M, M) the covariance of K x S error rows, correlations shrunk as far as they are noise.

    Errors of overlapping forecasts move together, which makes correlations noisier than K rows would. So their
    noise is measured between means over runs of rows; with runs of
    one row and S = 1 it is the estimator of the reference. Columns that never vary have variance 0.

    Parameters
    ----------
    rows
        (K, S, M) K rows in order of time, S of them (steps) at each.
    run
        Consecutive rows that count as one observation.
    """
    centred = rows - rows.mean(axis=0)
    deviations = np.sqrt(np.square(centred).sum(axis=(0, 1)) / (rows.shape[1] * (len(rows) - 1)))
    scaled = centred / np.where(deviations > 0, deviations, 1.0)
    total, flat = _gram(scaled), scaled.reshape(-1, rows.shape[2])
    runs = np.array_split(scaled, max(len(rows) // run, 2))
    if len(flat) == len(runs):
        squares = np.square(flat).T @ np.square(flat)  # the sum below, for products of one row each
    else:
        squares = sum((np.square(_gram(one)) for one in runs), start=np.zeros_like(total))
    freedom = rows.shape[1] * (len(rows) - 1)
    noise = (squares - np.square(total) / len(runs)) * len(runs) / (len(runs) - 1) / freedom**2
    correlation = total / freedom
    apart = ~np.eye(len(correlation), dtype=bool)
    signal = np.square(correlation[apart]).sum()
    share = float(np.clip(noise[apart].sum() / signal, 0, 1)) if signal else 1.0
    correlation[apart] *= 1 - share
    covariance: Floats = correlation * np.outer(deviations, deviations)
    return covariance


def _gram(rows: Floats) -> Floats:
    """Return (M, M) the products of (K, S, M)."""
    flat = rows.reshape(-1, rows.shape[2])
    gram: Floats = flat.T @ flat
    return gram


def _weights(hierarchy: Hierarchy, rows: Floats, method: Method, per_step: bool) -> Floats:
    """Return (H, L, M)."""
    steps = rows.shape[1]
    count, leaves = hierarchy.summing.shape
    pick = np.hstack([np.zeros((leaves, count - leaves)), np.eye(leaves)])
    if method == "bottom_up":
        return np.repeat(pick[None], steps, axis=0)
    if not per_step:
        size = np.sqrt(np.square(rows).mean(axis=(0, 2), keepdims=True))
        pooled = rows / np.where(size > 0, size, 1.0)
        return np.repeat(_least_trace(hierarchy, shrunk_covariance(pooled, run=steps), pick)[None], steps, axis=0)
    each = (shrunk_covariance(rows[:, [step]], run=steps) for step in range(steps))
    return np.stack([_least_trace(hierarchy, covariance, pick) for covariance in each])


def _least_trace(hierarchy: Hierarchy, covariance: Floats, pick: Floats) -> Floats:
    """Return (L, M): the leaves, corrected by the gaps between sums and leaves as far as errors go with gaps."""
    sums = len(hierarchy.nodes) - len(hierarchy.leaves)
    gaps = np.hstack([np.eye(sums), -hierarchy.summing[:sums]])
    of_gaps = gaps @ covariance @ gaps.T
    inverse = np.linalg.pinv(of_gaps, hermitian=True)  # where no node errs there is no gap to divide by
    weights: Floats = pick - pick @ covariance @ gaps.T @ inverse @ gaps
    return weights


def _project(hierarchy: Hierarchy, weights: Floats, base: Floats, *, non_negative: bool = False) -> Floats:
    """Return (..., H, M) what adds up, for (..., H, M)."""
    leaves = np.einsum("hlm,...hm->...hl", weights, base, optimize=True)
    return _summed(hierarchy, leaves.clip(0) if non_negative else leaves)


def _leaves(hierarchy: Hierarchy, nodes: Floats) -> Floats:
    return nodes[..., -len(hierarchy.leaves) :]


def _summed(hierarchy: Hierarchy, leaves: Floats) -> Floats:
    summed: Floats = leaves @ hierarchy.summing.T
    return summed
