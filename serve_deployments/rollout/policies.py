"""The rollout policies by name: a new one is a file beside this and a line here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cluster.errors import ConfigError, GateRefused, UnknownNameError
from serve_deployments.rollout.blue_green import BlueGreenPolicy
from serve_deployments.rollout.canary import CanaryPolicy
from serve_deployments.rollout.immediate import ImmediatePolicy
from serve_deployments.rollout.policy import RolloutPolicy
from serve_deployments.rollout.rolling import RollingPolicy

POLICIES: Mapping[str, type[RolloutPolicy]] = {
    policy.name: policy for policy in (CanaryPolicy, BlueGreenPolicy, RollingPolicy, ImmediatePolicy)
}


def build_policy(name: str, parameters: Mapping[str, Any] | None = None) -> RolloutPolicy:
    """Return the policy of this name; raise UnknownNameError or ConfigError that say what there is."""
    if name not in POLICIES:
        raise UnknownNameError.of("rollout policy", name, POLICIES)
    given = {key: tuple(value) if isinstance(value, list) else value for key, value in (parameters or {}).items()}
    known = POLICIES[name].__dataclass_fields__  # type: ignore[attr-defined]  # all members are dataclasses
    if unknown := sorted(set(given) - set(known)):
        raise ConfigError(f"{name}: got {', '.join(unknown)}, expected {', '.join(known) or 'no parameter'}")
    return POLICIES[name](**given)


def check_allowed(policy: RolloutPolicy, *, profile: str, forced_because: str) -> None:
    """Raise GateRefused where the profile does not allow the policy and nobody forced it with a reason."""
    if policy.unattended or profile == "development" or forced_because.strip():
        return
    raise GateRefused(
        f"rollout policy '{policy.name}' is refused: got profile {profile}, expected development; choose "
        "canary, or force it with a reason, which the audit log keeps",
        policy=policy.name,
        profile=profile,
    )
