"""What keeps an experiment's arms from doing harm: the guardrails of rollouts, each arm against the control."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, Self

from serve_deployments.rollout.judge import Judge, JudgeSpec
from serve_deployments.rollout.split import tally_key
from serve_deployments.rollout.tally import Tree, grown

Shares = Mapping[str, float]


class ArmGuards:
    """A judge for each arm beside the control; they share the chance of a false alarm.

    Parameters
    ----------
    spec
        What is accepted of an arm; its alpha is for all arms together.
    arms
        Versions, the control among them.
    control
        What the others are held against.
    """

    def __init__(self, spec: JudgeSpec, arms: Sequence[str], control: str) -> None:
        self._control, others = control, [arm for arm in arms if arm != control]
        self._spec = replace(spec, alpha=spec.alpha / len(others))
        self._judges = {arm: Judge(self._spec) for arm in others}
        self._epoch = ""
        self._counted: dict[str, Tree] = {}

    def look(self, epoch: str, tallies: Mapping[str, Tree], phases: Mapping[str, Shares]) -> dict[str, str]:
        """Take in all that was counted so far; return what speaks against an arm, by arm.

        Parameters
        ----------
        epoch
            Changes when counting began anew.
        tallies
            Phase and arm -> tally over all replicas, cumulative since the epoch began.
        phases
            Phase -> arm -> share under which its units were assigned.
        """
        if epoch != self._epoch:
            self._epoch, self._counted = epoch, {}
        for phase, shares in phases.items():
            for arm, judge in self._judges.items():
                if (key := tally_key(phase, arm)) in tallies:
                    both = shares[arm] + shares[self._control]
                    judge.update(shares[arm] / both, grown(tallies[key], self._counted.get(key, {})))
                    self._counted[key] = tallies[key]
        return {arm: told for arm, judge in self._judges.items() if (told := _accusation(judge))}

    def findings(self) -> dict[str, list[dict[str, Any]]]:
        """Return the evidence against each arm."""
        return {
            arm: [asdict(each) | {"breached": each.breached} for each in judge.findings()]
            for arm, judge in self._judges.items()
        }

    def to_json(self) -> dict[str, Any]:
        """Return what was taken in."""
        judges = {arm: judge.to_json() for arm, judge in self._judges.items()}
        return {"epoch": self._epoch, "counted": self._counted, "judges": judges}

    def restore(self, state: Mapping[str, Any]) -> Self:
        """Take over what `to_json` gave."""
        self._epoch, self._counted = state["epoch"], dict(state["counted"])
        self._judges = {arm: Judge.from_json(self._spec, each) for arm, each in state["judges"].items()}
        return self


def _accusation(judge: Judge) -> str:
    return "; ".join(str(each) for each in judge.findings() if each.breached and each.consequence == "rollback")
