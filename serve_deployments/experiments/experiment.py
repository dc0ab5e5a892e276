"""One experiment: what is asked, what it says, and when it ends by itself. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, Self

from cluster.errors import ConfigError, GateRefused
from serve_deployments.experiments.analysis import Comparison, Method, MetricSpec
from serve_deployments.experiments.assignment import EVERYBODY, Slot
from serve_deployments.experiments.design import LEAST
from serve_deployments.experiments.guards import ArmGuards
from serve_deployments.experiments.sample_ratio import mismatched
from serve_deployments.rollout.judge import JudgeSpec
from serve_deployments.rollout.split import Split, Unit
from serve_deployments.rollout.tally import Tree

Ending = Literal["winner", "no difference", "stopped"]
MAX_HISTORY = 100
PHASE_GROWTH, PHASE_UNITS = 1.1, 50
"""A bandit changes its shares when its units have grown by a tenth and by so many: a hundred phases or two in all,
where a phase a look would be thousands, each kept."""


@dataclass(frozen=True, kw_only=True)
class ExperimentSpec:
    """What is asked.

    Parameters
    ----------
    id
        Its name, and the salt of its assignment.
    model
        Registered name; also the layer in which experiments do not overlap.
    arms
        Version -> share of the experiment's units, with the sum 1.
    control
        The version others are compared with.
    metrics
        The first decides; the others are told.
    slot
        The units that take part.
    unit
        What goes the same way every time, and is the unit of analysis.
    alpha
        Chance of a winner among equal arms.
    method
        `sequential`: looked at all the time. `fixed`: judged once, at `max_units`.
    min_units, max_units
        Of each arm: no ending before; the end at the latest.
    bandit
        Shares follow what is seen (Thompson sampling); the winner is told from weighted scores.
    promote
        Begin a rollout of the winner.
    judge
        What is accepted of an arm, whatever its metrics: one that fails or is slow is taken out.
    by, why
        Who asked, and what for.
    """

    id: str
    model: str
    arms: Mapping[str, float]
    control: str
    metrics: tuple[MetricSpec, ...]
    slot: Slot = field(default_factory=lambda: EVERYBODY)
    unit: Unit = "user"
    alpha: float = 0.05
    method: Method = "sequential"
    min_units: int = LEAST
    max_units: int = 100_000
    bandit: bool = False
    promote: bool = False
    judge: JudgeSpec = field(default_factory=JudgeSpec)
    by: str = ""
    why: str = ""

    def __post_init__(self) -> None:
        if self.control not in self.arms or len(self.arms) < 2 or not self.metrics:
            raise ConfigError(
                f"experiment '{self.id}': got arms {dict(self.arms)}, control '{self.control}', "
                f"{len(self.metrics)} metrics; expected two arms or more, the control among them, and a metric"
            )
        if not 1 <= self.min_units <= self.max_units or not 0.0 < self.alpha < 1.0:
            raise ConfigError(
                f"experiment '{self.id}': got min_units {self.min_units}, max_units {self.max_units}, alpha "
                f"{self.alpha}; expected 1 <= min <= max, and a probability"
            )
        plain = self.unit == "request" and self.method == "sequential" and self.metrics[0].kind != "ratio"
        if self.bandit and not plain:
            raise ConfigError(
                f"experiment '{self.id}': got a bandit of unit '{self.unit}', method '{self.method}', metric kind "
                f"'{self.metrics[0].kind}'; expected unit 'request' (shares change, and sticky units with them), "
                "method 'sequential', no ratio"
            )

    def within(self, slot: Slot) -> Self:
        """Return the same in a slot."""
        return replace(self, slot=slot)

    def asked(self) -> dict[str, Any]:
        """Return what was asked for, without the slot that was given."""
        return self.within(EVERYBODY).to_json()

    def to_json(self) -> dict[str, Any]:
        """Return the fields."""
        return asdict(self) | {"judge": self.judge.to_json()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Rebuild what `to_json` gave."""
        metrics = tuple(MetricSpec(**each) for each in data["metrics"])
        judge = JudgeSpec(**data["judge"])
        return cls(**{**data, "metrics": metrics, "slot": Slot(**data["slot"]), "judge": judge})


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What the log says at one look.

    Parameters
    ----------
    units
        Arm -> units seen.
    comparisons
        Of each arm in each metric.
    shares
        What a bandit wants next; None where shares are fixed.
    """

    units: Mapping[str, int]
    comparisons: Sequence[Comparison] = ()
    shares: Mapping[str, float] | None = None


class Experiment:
    """An experiment in progress or ended.

    Parameters
    ----------
    spec
        What is asked.
    now_s
        When.
    """

    def __init__(self, spec: ExperimentSpec, now_s: float) -> None:
        self.spec = spec
        self.ending: Ending | None = None
        self.winner: str | None = None
        self.detail = ""
        self.phase, self.phase_units = 1, 0
        self.shares: dict[str, float] = dict(spec.arms)
        self.phase_shares: dict[str, dict[str, float]] = {"1": self.shares}
        self.began_s, self.ended_s = now_s, 0.0
        self.units: dict[str, int] = {}
        self.comparisons: list[dict[str, Any]] = []
        self.history: list[dict[str, Any]] = []
        self.dropped: dict[str, str] = {}
        self.findings: dict[str, list[dict[str, Any]]] = {}
        self.guards = ArmGuards(spec.judge, list(spec.arms), spec.control)
        self.split()

    def look(self, epoch: str, tallies: Mapping[str, Tree], now_s: float) -> None:
        """Take in what replicas counted; take out an arm that does harm.

        With the last arm beside the control the experiment ends; so does a bandit, whose units were assigned under
        shares that the arm had part of.
        """
        if self.ending is not None:
            return
        for arm, told in self.guards.look(epoch, tallies, self.phase_shares).items():
            self.dropped.setdefault(arm, told)
        self.findings = self.guards.findings()
        if self.dropped and (self.spec.bandit or len(self.arms) < 2):
            told = "; ".join(f"{arm} does harm: {why}" for arm, why in self.dropped.items())
            self._end("stopped", now_s, told)

    @property
    def arms(self) -> dict[str, float]:
        """The arms that are left, with their planned shares, which sum to 1."""
        left = {arm: share for arm, share in self.spec.arms.items() if arm not in self.dropped}
        return {arm: share / sum(left.values()) for arm, share in left.items()}

    def read(self, reading: Reading, now_s: float) -> None:
        """Take in a look at the log; end where it says enough."""
        if self.ending is not None:
            return
        self.units = dict(reading.units)
        self.comparisons = [asdict(each) for each in reading.comparisons]
        first = [each for each in reading.comparisons if each.metric == self.spec.metrics[0].name]
        if first:
            point = {each.arm: [each.difference, each.low, each.high] for each in first}
            self.history = [*self.history, {"at_s": now_s, "differences": point}]
            self.history = self.history[:: 1 if len(self.history) <= MAX_HISTORY else 2]
        self._judge(first, now_s)
        if self.ending is None and reading.shares is not None and self._phase_is_over():
            self.shares, self.phase = dict(reading.shares), self.phase + 1
            self.phase_shares[str(self.phase)] = self.shares
            self.phase_units = sum(self.units.values())

    def _phase_is_over(self) -> bool:
        return sum(self.units.values()) >= max(PHASE_GROWTH * self.phase_units, self.phase_units + PHASE_UNITS)

    def _judge(self, first: list[Comparison], now_s: float) -> None:
        arms = self.arms
        counts = [self.units.get(arm, 0) for arm in arms]
        if not self.spec.bandit and mismatched(counts, list(arms.values())):
            told = f"units by arm {dict(zip(arms, counts, strict=True))}, planned {arms}"
            self._end("stopped", now_s, f"sample ratio mismatch: {told}; the assignment or the log is broken")
            return
        due = min(counts) >= (self.spec.min_units if self.spec.method == "sequential" else self.spec.max_units)
        if not due or not first:
            return
        gains = sorted(((self._gain(each), each) for each in first), key=lambda pair: -pair[0])
        if better := [each for gain, each in gains if gain > 0.0 and each.p_value <= self.spec.alpha]:
            self._end("winner", now_s, _told(better[0]), winner=better[0].arm)
        elif all(each.p_value <= self.spec.alpha for each in first):
            self._end("winner", now_s, "every other arm is worse than the control", winner=self.spec.control)
        elif self._equivalent(first) or max(counts) >= self.spec.max_units:
            self._end("no difference", now_s, "; ".join(_told(each) for each in first))

    def _gain(self, found: Comparison) -> float:
        return found.difference if self.spec.metrics[0].higher_is_better else -found.difference

    def _equivalent(self, first: list[Comparison]) -> bool:
        effect = self.spec.metrics[0].effect
        return all(-effect < each.low and each.high < effect for each in first)

    def stop(self, by: str, why: str, now_s: float) -> None:
        """End it by hand."""
        if self.ending is not None:
            raise GateRefused(
                f"experiment '{self.spec.id}' has ended already: {self.ending}", experiment=self.spec.id
            )
        self._end("stopped", now_s, f"by {by}: {why or 'no reason given'}")

    def _end(self, ending: Ending, now_s: float, detail: str, *, winner: str | None = None) -> None:
        self.ending, self.ended_s, self.detail, self.winner = ending, now_s, detail, winner

    def split(self) -> Split | None:
        """Return how its units are divided; None where it has ended."""
        if self.ending is not None:
            return None
        return Split(
            model=self.spec.model,
            owner=self.spec.id,
            revision=self.phase,
            arms=self.shares,
            salt=self.spec.id,
            unit=self.spec.unit,
            slot=self.spec.slot,
            exposed=True,
            control=self.spec.control,
            dropped=tuple(self.dropped),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the whole state."""
        kept = (
            "ending", "winner", "detail", "phase", "shares", "phase_shares", "began_s", "ended_s", "units",
            "comparisons", "history", "phase_units", "dropped", "findings",
        )  # fmt: skip
        # Of what has ended, the findings stay; what they were gathered from goes.
        guards = self.guards.to_json() if self.ending is None else None
        return {"spec": self.spec.to_json(), "guards": guards} | {name: getattr(self, name) for name in kept}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Rebuild what `to_json` gave."""
        self = cls(ExperimentSpec.from_json(data["spec"]), 0.0)
        if data["guards"] is not None:
            self.guards.restore(data["guards"])
        for name, value in data.items():
            if name not in ("spec", "guards"):
                setattr(self, name, value)
        return self


def _told(found: Comparison) -> str:
    return (
        f"{found.metric} of {found.arm}: {found.value:.4g} against {found.control:.4g}, difference "
        f"{found.difference:.3g} [{found.low:.3g}, {found.high:.3g}], p {found.p_value:.2g}"
    )
