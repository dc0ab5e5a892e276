"""Whether a candidate may be registered: a decision with its reasons, and by how much."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from cluster.errors import ConfigError, GateRefused
from training.core.parameters import real
from training.evaluation.scorecard import Scorecard


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One condition and how it went.

    Parameters
    ----------
    name
        What is compared.
    got, needed
        The candidate's figure, and the one it must be better than.
    margin
        How far beyond `needed` it is, in the figure's own unit; negative is missed, NaN cannot be judged.
    passed
        Whether it is strictly better.
    reason
        The same in words.
    """

    name: str
    got: float
    needed: float
    margin: float
    passed: bool
    reason: str


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The gate's decision.

    Parameters
    ----------
    candidate, baseline
        Whom it compares, by catalog name.
    bars
        Every condition; all must have passed.
    """

    candidate: str
    baseline: str
    bars: tuple[Bar, ...]

    @property
    def passed(self) -> bool:
        """Whether the candidate may be registered."""
        return all(bar.passed for bar in self.bars)

    def summary(self) -> str:
        """Return the decision with its reasons, in one line."""
        shown = [bar for bar in self.bars if bar.passed == self.passed]
        return f"{'passed' if self.passed else 'refused'}: {'; '.join(bar.reason for bar in shown)}"

    def require(self) -> None:
        """Raise GateRefused, by how much each bar was missed in its message, unless the candidate passed."""
        if not self.passed:
            raise GateRefused(
                f"'{self.candidate}' may not be registered, {self.summary()}. Train on more or better data, "
                "try other members or a search, or forecast fewer steps",
                verdict=self.to_json(),
            )

    def to_json(self) -> dict[str, Any]:
        """Return JSON-able data; null for what is not a number."""
        bars = [
            {
                key: None if isinstance(value, float) and not math.isfinite(value) else value
                for key, value in bar.items()
            }
            for bar in map(asdict, self.bars)
        ]
        return {"candidate": self.candidate, "baseline": self.baseline, "passed": self.passed, "bars": bars}


@dataclass(frozen=True, kw_only=True)
class Gate:
    """Lets a candidate through that is accurate enough and better than the baseline.

    Parameters
    ----------
    minimum_accuracy
        The accuracy (1 - WAPE) that a candidate must exceed, 0 up to 1.
    """

    minimum_accuracy: float = 0.85

    def __post_init__(self) -> None:
        real("minimum_accuracy", self.minimum_accuracy, low=0, high=1)

    def judge(self, candidate: Scorecard, baseline: Scorecard) -> Verdict:
        """Compare two models' figures on the same test.

        Raises
        ------
        ConfigError
            They were not measured on the same forecasts.
        """
        _check_same_test(candidate, baseline)
        accuracy = _bar(
            "accuracy",
            candidate.overall.accuracy,
            self.minimum_accuracy,
            sign=1,
            rival="the minimum",
        )
        wape = _bar(
            "wape",
            candidate.overall.wape,
            baseline.overall.wape,
            sign=-1,
            rival=f"{baseline.model}'s",
        )
        return Verdict(candidate=candidate.model, baseline=baseline.model, bars=(accuracy, wape))


def _bar(name: str, got: float, needed: float, *, sign: int, rival: str) -> Bar:
    """Compare one figure; `sign` is 1 where more is better, -1 where less is."""
    label = {"accuracy": "accuracy", "wape": "WAPE"}[name]
    if not (math.isfinite(got) and math.isfinite(needed)):
        reason = f"{label} cannot be judged: got {got:.4f} against {rival} {needed:.4f}, expected finite numbers"
        return Bar(name=name, got=got, needed=needed, margin=math.nan, passed=False, reason=reason)
    margin = sign * (got - needed)
    side = "above" if (margin > 0) == (sign > 0) else "below"
    where = f"{abs(margin):.4f} {side}" if margin else "equal to"
    reason = f"{label} {got:.4f} is {where} {rival} {needed:.4f}"
    return Bar(name=name, got=got, needed=needed, margin=margin, passed=margin > 0, reason=reason)


def _check_same_test(candidate: Scorecard, baseline: Scorecard) -> None:
    names = ("origins", "first_origin", "last_origin", "horizon")
    tests = [{name: getattr(card, name) for name in names} for card in (candidate, baseline)]
    ours, theirs = (
        test | {"targets": sorted(card.targets)} for test, card in zip(tests, (candidate, baseline), strict=True)
    )
    if ours != theirs:
        raise ConfigError(
            f"'{candidate.model}' and '{baseline.model}' were not judged on the same forecasts: got {ours} and "
            f"{theirs}, expected the same; backtest both on one panel with one `since`, `until` and `stride`"
        )
