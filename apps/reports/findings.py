"""What a picture shows, in a sentence: its title, and what is read out in its place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from apps.reports.words import cut, steps_in_words
from training.core.windows import Floats
from training.evaluation.backtest import Backtest
from training.evaluation.coverage import StepCoverage

BAND = 0.02
"""Coverage is called right within two points of what was promised."""
_EVEN = 0.005
"""Errors that differ by less than this share are called the same."""


def of_target(test: Backtest, target: str) -> Backtest:
    """Return the test of one target alone."""
    at = [test.targets.index(target)]
    return replace(
        test,
        targets=(target,),
        actual=test.actual[..., at],
        point=test.point[..., at],
        quantiles=test.quantiles[:, :, at],
        last=test.last[:, at],
        naive_mae=test.naive_mae[at],
    )


def errors_of(test: Backtest) -> Floats:
    """Return (N,) each forecast's mean absolute error over its steps; of a test of one target."""
    errors: Floats = np.abs(test.point - test.actual).mean(axis=(1, 2))
    return errors


def fan_finding(test: Backtest, target: str, *, unit: str, frequency: str) -> str:
    """Say how far off half of the forecasts of a target are."""
    median = float(np.median(errors_of(of_target(test, target))))
    ahead = steps_in_words(test.point.shape[1], frequency)
    return f"Half of the forecasts of {cut(target)}, {ahead} ahead, are off by {median:.3g} {unit} or less"


def error_finding(test: Backtest, target: str, *, unit: str, naive_mae: float | None) -> str:
    """Compare a target's mean error with the seasonal naive forecast's."""
    mine = float(errors_of(of_target(test, target)).mean())
    told = f"{cut(target)}: the mean error is {mine:.3g} {unit}"
    if naive_mae is None or not naive_mae > 0:
        return told
    ratio = mine / naive_mae
    if abs(ratio - 1) < _EVEN:
        return f"{told}, the same as seasonal naive's"
    return (
        f"{told}, {100 * abs(1 - ratio):.0f} % {'below' if ratio < 1 else 'above'} seasonal naive's {naive_mae:.3g}"
    )


def coverage_finding(test: Backtest, target: str) -> str:
    """Say whether a target's 95 % interval holds what it promises."""
    covered = float(StepCoverage.of(of_target(test, target), 0.95).coverage.mean())
    if abs(covered - 0.95) <= BAND:
        said = "as promised"
    else:
        said = "wider than it need be" if covered > 0.95 else "too narrow"
    return f"The 95 % interval of {cut(target)} holds {100 * covered:.1f} % of the truth: {said}"


def factor_finding(shares: Mapping[str, float], *, target: str, asked: str) -> str:
    """Say which driver moved a forecast most, and which way."""
    driver, share = max(shares.items(), key=lambda item: abs(item[1]))
    if not share:
        return f"Nothing moved the forecast of {cut(target)} from the usual, asked {asked}"
    way = "raised" if share > 0 else "lowered"
    return f"{cut(driver)} {way} the forecast of {cut(target)} most ({100 * abs(share):.0f} %), asked {asked}"
