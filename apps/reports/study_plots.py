"""Pictures of a study: its history, each parameter against the score, all parameters together, the Pareto front."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize

from apps.reports.drawing import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, figure_of, legend_above, png, short
from training.core.space import Choice, Dimension, value_of
from tuning.goal import front
from tuning.history import History
from tuning.records import TrialRecord, TrialStatus

COLORS = (BLUE, ORANGE, GREEN, PURPLE, GREY)
"""One a model, in turn."""
MAP = "viridis_r"
"""Dark is good: readable in grey and for the colour-blind."""


def history_plot(history: History) -> bytes:
    """Draw each finished trial's score in order, the best so far as a line, and how the others ended below."""
    best = history.best
    told = f", {best.score:.4g} by {best.model}" if best else ""
    title = f"{history.name}: {len(history.finished())} of {len(history.records)} trials finished{told}"
    figure, (axes,) = figure_of(1, row_height_in=3.6, title=title)
    for at, model in enumerate(history.spaces):
        scored = [each for each in history.finished() if each.model == model]
        color = COLORS[at % len(COLORS)]
        numbers, scores = [each.number for each in scored], [_score(each) for each in scored]
        axes.plot(numbers, scores, color=color, marker="o", linestyle="", markersize=5, label=short(model))
    _best_so_far(axes, history)
    for status, marker, color in ((TrialStatus.STOPPED, "|", GREY), (TrialStatus.FAILED, "x", ORANGE)):
        ended = [number for number, each in history.records.items() if each.status is status]
        if ended:
            axes.plot(
                ended, [0.02] * len(ended), color=color, marker=marker, linestyle="", label=status.value,
                transform=axes.get_xaxis_transform(),
            )  # fmt: skip
    axes.set_xlabel("trial")
    _with_scores(axes, history)
    legend_above(axes)
    return png(figure)


def slices_plot(history: History, model: str) -> bytes | None:
    """Draw a model's score over each of its parameters; None where fewer than two of its trials finished."""
    scored, space = _scored(history, model), history.spaces[model]
    if len(scored) < 2 or not space:
        return None
    figure, rows = figure_of(len(space), row_height_in=1.9, title=f"{model}: the score over each parameter")
    for axes, (name, dimension) in zip(rows, space.items(), strict=True):
        having = [each for each in scored if name in each.draw]
        order = [each.number for each in having]
        drawn = axes.scatter(
            [each.draw[name] for each in having], [_score(each) for each in having], c=order, cmap=MAP, s=24
        )
        _with_values(axes, dimension)
        axes.set_xlabel(short(name))
        _with_scores(axes, history)
        figure.colorbar(drawn, ax=axes, label="trial")
    return png(figure)


def parallel_plot(history: History, model: str) -> bytes | None:
    """Draw each of a model's trials as a line over its parameters; None where fewer than two finished."""
    scored, space = _scored(history, model), history.spaces[model]
    if len(scored) < 2 or not space:
        return None
    figure, (axes,) = figure_of(1, row_height_in=4.0, title=f"{model}: each line is a trial, the darker the better")
    scores = np.array([_score(each) for each in scored])
    shade = Normalize(scores.min(), float(np.quantile(scores, 0.9)) if scores.std() else scores.max() + 1)
    for each in sorted(scored, key=_score, reverse=True):
        heights = [_height(dimension, each.draw.get(name)) for name, dimension in space.items()]
        axes.plot(range(len(space)), heights, color=_color(shade(_score(each))), linewidth=1.4, alpha=0.8)
    axes.set_xticks(range(len(space)), [short(name, 18) for name in space])
    axes.set_ylim(-0.14, 1.12)
    axes.set_yticks([])
    for at, dimension in enumerate(space.values()):
        low, high = _ends(dimension)
        axes.text(at, -0.03, low, ha="center", va="top", fontsize=8, color=GREY)
        axes.text(at, 1.03, high, ha="center", va="bottom", fontsize=8, color=GREY)
        axes.axvline(at, color="0.85", linewidth=1, zorder=0)
    return png(figure)


def front_plot(history: History) -> bytes | None:
    """Draw the first two objectives of each trial and their Pareto front; None where there is one objective."""
    kept = [each for each in history.finished() if each.feasible]
    if len(history.objectives) < 2 or not kept:
        return None
    first, second = history.objectives[:2]
    points = {each.number: (each.metrics[first], each.metrics[second]) for each in kept}
    chosen = sorted(points[number] for number in front(points))
    title = f"{len(chosen)} of {len(kept)} trials are beaten by none in both objectives"
    figure, (axes,) = figure_of(1, row_height_in=3.6, title=title)
    for at, model in enumerate(history.spaces):
        own = [points[each.number] for each in kept if each.model == model]
        axes.plot(
            [x for x, _ in own], [y for _, y in own], color=COLORS[at % len(COLORS)], marker="o", linestyle="",
            label=short(model),
        )  # fmt: skip
    axes.step([x for x, _ in chosen], [y for _, y in chosen], where="post", color=INK, label="front")
    axes.set_xlabel(first)
    axes.set_ylabel(second)
    legend_above(axes)
    return png(figure)


def _best_so_far(axes: Axes, history: History) -> None:
    kept = [each for each in history.finished() if each.feasible]
    if kept:
        best = np.minimum.accumulate([_score(each) for each in kept])
        axes.step([each.number for each in kept], best, where="post", color=INK, linewidth=1.3, label="best so far")


def _scored(history: History, model: str) -> list[TrialRecord]:
    return [each for each in history.finished() if each.model == model]


def _score(record: TrialRecord) -> float:
    return math.inf if record.score is None else record.score


def _with_scores(axes: Axes, history: History) -> None:
    """Label the scores; a few that are far worse than the others do not squeeze them."""
    axes.set_ylabel(short(history.objectives[0], 20))
    scores = [_score(each) for each in history.finished()]
    if len(scores) > 3:
        low, high = min(scores), float(np.quantile(scores, 0.9))
        axes.set_ylim(low - 0.08 * (high - low) - 1e-12, high + 0.25 * (high - low) + 1e-12)


def _with_values(axes: Axes, dimension: Dimension) -> None:
    if isinstance(dimension, Choice):
        axes.set_xticks(range(len(dimension.values)), [short(str(value), 16) for value in dimension.values])
    elif dimension.log:
        axes.set_xscale("log")


def _height(dimension: Dimension, drawn: float | None) -> float:
    """Return where a value stands between its bounds; NaN, which breaks the line, where it does not exist."""
    if drawn is None:
        return math.nan
    if isinstance(dimension, Choice):
        return drawn / max(len(dimension.values) - 1, 1)
    low, high, at = dimension.low, dimension.high, drawn
    if dimension.log:
        low, high, at = math.log(low), math.log(high), math.log(at)
    return (at - low) / (high - low)


def _ends(dimension: Dimension) -> tuple[str, str]:
    if isinstance(dimension, Choice):
        last = len(dimension.values) - 1
        return short(str(value_of(dimension, 0)), 14), short(str(value_of(dimension, last)), 14)
    return f"{dimension.low:g}", f"{dimension.high:g}"


def _color(share: float) -> tuple[float, ...]:
    from matplotlib import colormaps

    color: Sequence[float] = colormaps[MAP](1 - min(share, 1.0))
    return tuple(color)
