"""One rollout: its states, and what moves it from one to the next. Pure; time comes with each call.

    waiting ──approve──> preparing ──both versions are served──> running ──last stage──> promoted
       │                     │                                      │ breach, fault, by hand
       └────────by hand──────┴───────> rolled_back <──verified── verifying

What has to be done outside (deploy both versions, promote, mark unstable, notify) is kept as a list of effects with
the state itself, until whoever does them says that they are done. So a controller that dies anywhere finds, when it
comes back, either the state before a step or the state after it with its effects to do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

from cluster.errors import GateRefused
from serve_deployments.rollout.decision import Advance, Hold, Promote, Rollback
from serve_deployments.rollout.faults import FaultWatch
from serve_deployments.rollout.guardrail import Finding
from serve_deployments.rollout.judge import Judge, JudgeSpec
from serve_deployments.rollout.policies import build_policy
from serve_deployments.rollout.policy import Observation, Stage
from serve_deployments.rollout.split import Split, Unit
from serve_deployments.rollout.tally import Tree, add, empty_side, empty_tally, grown
from serve_deployments.rollout.verification import Verification

State = Literal["waiting", "preparing", "running", "verifying", "promoted", "rolled_back"]
ENDED: tuple[State, ...] = ("promoted", "rolled_back")
ROUTED: tuple[State, ...] = ("running", "verifying", *ENDED)
MAX_HISTORY = 200
MAX_CURVE = 150
"""Looks kept of the evidence's curve; when it is full, every other one is dropped."""


@dataclass(frozen=True, kw_only=True)
class RolloutSpec:
    """What is asked for.

    Parameters
    ----------
    id
        Name of the rollout.
    model, old, new
        Which versions of which model.
    policy
        `name` and `parameters`, see `policies`.
    judge
        What is accepted.
    unit
        What goes the same way every time.
    by, why
        Who asked, and what for.
    approval
        A named person must approve before anything happens.
    """

    id: str
    model: str
    old: str
    new: str
    policy: Mapping[str, Any]
    judge: JudgeSpec
    unit: Unit = "request"
    by: str
    why: str = ""
    approval: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the fields."""
        return asdict(self) | {"judge": self.judge.to_json(), "policy": dict(self.policy)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Rebuild what `to_json` gave."""
        return cls(**{**data, "judge": JudgeSpec(**data["judge"])})


class Rollout:
    """A rollout in progress or ended.

    Parameters
    ----------
    spec
        What is asked for.
    now_s
        When.
    """

    def __init__(self, spec: RolloutSpec, now_s: float) -> None:
        self.spec = spec
        self._policy = build_policy(spec.policy["name"], spec.policy.get("parameters"))
        self.judge, self.faults = Judge(spec.judge), FaultWatch()
        self.state: State = "waiting" if spec.approval else "preparing"
        self.paused = False
        self.stage = 0
        self.stage_since_s = self.created_s = self.changed_s = now_s
        self.revision = 0
        self.revisions: dict[str, dict[str, Any]] = {}
        self.epoch = ""
        self.counted: dict[str, Tree] = {}
        self.total: Tree = empty_tally()
        self.history: list[dict[str, Any]] = []
        self.curve: list[dict[str, Any]] = []
        self.effects: list[dict[str, Any]] = []
        self.findings: list[dict[str, Any]] = []
        self.waiting_for = ""
        self.verification: dict[str, Any] | None = None
        self.usual: Tree = empty_side()
        self._note(now_s, "created", by=spec.by, why=spec.why)
        if self.state == "preparing":
            self._ask("serve_both")

    # What people do

    def approve(self, by: str, why: str, now_s: float) -> None:
        """Let a waiting rollout begin."""
        self._expect("approve", "waiting")
        if by == self.spec.by:
            raise GateRefused(
                f"rollout '{self.spec.id}' is not approved: got the approval of '{by}', who asked for it; "
                "expected somebody else's",
                rollout=self.spec.id,
            )
        self._enter("preparing", now_s, "approved", by=by, why=why)
        self._ask("serve_both")

    def pause(self, paused: bool, by: str, why: str, now_s: float) -> None:
        """Stop climbing, or go on; guardrails act all the same."""
        self._expect("resume" if not paused else "pause", "running")
        self.paused = paused
        self._note(now_s, "paused" if paused else "resumed", by=by, why=why)

    def promote(self, by: str, why: str, now_s: float) -> None:
        """Skip the rest of the evidence: somebody answers for it by name."""
        self._expect("promote", "running")
        self._promote(now_s, by=by, why=why or "by hand")

    def roll_back(self, by: str, why: str, now_s: float) -> None:
        """Return to the old version."""
        if self.state in ("waiting", "preparing"):
            self._enter("rolled_back", now_s, "rolled back", by=by, why=why or "by hand")
            self._ask("serve_old")
            return
        self._expect("roll back", "running")
        self._fall_back(now_s, by=by, why=why or "by hand")

    def done(self, effect: str, now_s: float) -> bool:
        """Take note that an effect was carried out; say whether it was waited for."""
        waited = [each for each in self.effects if each["id"] == effect]
        self.effects = [each for each in self.effects if each["id"] != effect]
        if waited and waited[0]["kind"] == "serve_both" and self.state == "preparing":
            self._enter("running", now_s, "started", route=self._stages[0])
        return bool(waited)

    # What is observed

    def look(self, epoch: str, tallies: Mapping[str, Tree], faults: Iterable[str], now_s: float) -> None:
        """Take in all that was counted so far, by revision, and decide.

        Parameters
        ----------
        epoch
            Changes when counting began anew.
        tallies
            Revision -> tally over all replicas, cumulative since the epoch began.
        faults
            What is broken without statistics, in words.
        now_s
            Time of the look.
        """
        if self.state in ("running", "verifying"):
            window = self._count(epoch, tallies)
            if self.state == "running":
                self._decide(self.faults.update(tuple(faults), now_s), now_s)
            else:
                self._verify(window, tuple(faults), now_s)
        elif self.state == "preparing" and (told := "; ".join(faults)):
            self._enter("rolled_back", now_s, "rolled back", why=told)
            self._ask("serve_old")
            self._ask("mark_unstable", reason=told)

    def _count(self, epoch: str, tallies: Mapping[str, Tree]) -> Tree:
        """Hand each revision's growth to the judge; return that of the newest."""
        if epoch != self.epoch:
            self.epoch, self.counted = epoch, {}
        newest = empty_tally()
        for revision, known in self.revisions.items():
            if revision in tallies:
                window = grown(tallies[revision], self.counted.get(revision, {}))
                self.counted[revision] = tallies[revision]
                self.judge.update(known["share"], window)
                newest = window if int(revision) == self.revision else newest
        self.total = add(self.total, newest)
        return newest

    def _decide(self, faults: tuple[str, ...], now_s: float) -> None:
        findings = self.judge.findings()
        self._keep(findings, now_s)
        decision = self._policy.decide(self._observation(findings, faults, now_s))
        match decision:
            case Rollback():
                self._fall_back(now_s, why=decision.reason)
            case Hold():
                self.waiting_for = decision.waiting_for
            case _ if self.paused:
                self.waiting_for = "resume"
            case Advance():
                self._climb(decision, now_s)
            case Promote():
                self._promote(now_s, why="all stages passed")

    def _observation(self, findings: list[Finding], faults: tuple[str, ...], now_s: float) -> Observation:
        return Observation(
            stage=self.stage,
            stage_s=now_s - self.stage_since_s,
            new_requests=int(self.total["new"]["requests"]),
            pairs=int(self.total["pairs"]["count"]),
            breaches=tuple(str(each) for each in findings if each.breached and each.consequence == "rollback"),
            faults=faults,
        )

    def _climb(self, decision: Advance, now_s: float) -> None:
        self.stage += 1
        self.stage_since_s, self.waiting_for = now_s, ""
        self._route(self._stages[self.stage])
        self._note(now_s, "advanced", why=f"weight {decision.weight:g}")

    def _promote(self, now_s: float, *, why: str, by: str = "") -> None:
        self._enter("promoted", now_s, "promoted", by=by, why=why, route=Stage(weight=1.0))
        self._ask("promote", by=by or self.spec.by, reason=why)
        self._ask("serve_new")

    def _fall_back(self, now_s: float, *, why: str, by: str = "") -> None:
        self.usual = self.judge.past
        self._enter("verifying", now_s, "rolling back", by=by, why=why, route=Stage(weight=0.0))
        self._ask("mark_unstable", reason=why)

    def _verify(self, window: Tree, faults: tuple[str, ...], now_s: float) -> None:
        look = Verification(spec=self.spec.judge, since_s=now_s - self.changed_s, usual=self.usual)
        told = look.judge(self.total, window, faults)
        self.verification = {"verified": told.verified, "detail": told.detail}
        if told.over:
            self._enter("rolled_back", now_s, "rolled back", why=told.detail)
            self._ask("serve_old")

    # Bookkeeping

    @property
    def _stages(self) -> tuple[Stage, ...]:
        return self._policy.stages

    def _route(self, stage: Stage) -> None:
        """Begin a revision of the split."""
        self.revision += 1
        split = self._split(stage)
        self.revisions[str(self.revision)] = {
            "share": split.live_share,
            "weight": stage.weight,
            "shadow": stage.shadow,
        }
        self.total = empty_tally()

    def _split(self, stage: Stage) -> Split:
        return Split(
            model=self.spec.model,
            owner=self.spec.id,
            revision=self.revision,
            arms={self.spec.new: stage.weight, self.spec.old: 1.0 - stage.weight},
            salt=self.spec.id,
            unit=self.spec.unit,
            shadow=self.spec.new if stage.shadow > 0.0 else None,
            shadow_ratio=stage.shadow,
        )

    def split(self) -> Split | None:
        """Return how requests are divided now; None where the served default answers all."""
        if self.state not in ROUTED or self.over or not self.revision:
            return None
        now = self.revisions[str(self.revision)]
        return self._split(Stage(weight=now["weight"], shadow=now["shadow"]))

    @property
    def over(self) -> bool:
        """Whether it ended, with all effects carried out."""
        return self.state in ENDED and not self.effects

    @property
    def weights(self) -> dict[str, float]:
        """Version -> share of the requests now."""
        split = self.split()
        if split is not None:
            return dict(split.arms)
        new = 1.0 if self.state == "promoted" else 0.0
        return {self.spec.new: new, self.spec.old: 1.0 - new}

    def _enter(
        self, state: State, now_s: float, what: str, *, by: str = "", why: str = "", route: Stage | None = None
    ) -> None:
        self.state, self.changed_s, self.stage_since_s, self.waiting_for = state, now_s, now_s, ""
        if route is not None:
            self._route(route)
        self._note(now_s, what, by=by, why=why)
        self._ask("notify", event=what, reason=why)

    def _note(self, now_s: float, what: str, *, by: str = "", why: str = "") -> None:
        entry = {"at_s": now_s, "what": what, "by": by, "why": why, "weight": self.weights[self.spec.new]}
        self.history = [*self.history[1 - MAX_HISTORY :], entry]

    def _ask(self, kind: str, **details: str) -> None:
        self.effects.append({"id": f"{self.spec.id}-{len(self.history)}-{kind}", "kind": kind, **details})

    def _keep(self, findings: list[Finding], now_s: float) -> None:
        known = {each["guardrail"] for each in self.findings if each.get("breached")}
        self.findings = [asdict(each) | {"breached": each.breached} for each in findings]
        point = {each.guardrail: round(each.log_evidence / each.log_limit, 4) for each in findings}
        self.curve.append({"at_s": now_s, "weight": self.weights[self.spec.new], "evidence": point})
        if len(self.curve) > MAX_CURVE:
            self.curve = self.curve[::2]
        for each in findings:
            if each.breached and each.consequence == "retrain" and each.guardrail not in known:
                self._note(now_s, "training asked for", why=str(each))
                self._ask("retrain", reason=str(each))

    def _expect(self, what: str, state: State) -> None:
        if self.state != state:
            raise GateRefused(
                f"rollout '{self.spec.id}': cannot {what}: got state '{self.state}', expected '{state}'",
                rollout=self.spec.id,
                state=self.state,
            )

    def to_json(self) -> dict[str, Any]:
        """Return the whole state."""
        kept = (
            "state", "paused", "stage", "stage_since_s", "created_s", "changed_s", "revision", "revisions",
            "epoch", "counted", "total", "history", "curve", "effects", "findings", "waiting_for", "verification",
            "usual",
        )  # fmt: skip
        state: dict[str, Any] = {"spec": self.spec.to_json(), "weights": self.weights, "judge": None}
        state["faults"] = self.faults.to_json()
        state |= {name: getattr(self, name) for name in kept}
        # Of what is over, the findings stay; what they were gathered from goes.
        if self.over:
            return state | {"counted": {}, "usual": empty_side()}
        return state | {"judge": self.judge.to_json()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Rebuild what `to_json` gave."""
        self = cls(RolloutSpec.from_json(data["spec"]), 0.0)
        if data["judge"] is not None:
            self.judge = Judge.from_json(self.spec.judge, data["judge"])
        self.faults = FaultWatch.from_json(data["faults"])
        for name, value in data.items():
            if name not in ("spec", "judge", "weights", "faults"):
                setattr(self, name, value)
        return self
