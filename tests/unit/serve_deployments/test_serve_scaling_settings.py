"""Each knob of scaling is reached by a setting, and each profile has its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from cluster.settings import Settings
from serve_deployments.graph import GraphSpec, ServedModel
from serve_deployments.scaling.serve_policy import ServeScaling

MODEL = ServedModel(name="nox", version="1.0.0", uri="nowhere")


def options(home: Path, environment: Mapping[str, str], *, member: bool = False) -> Any:
    """Return the configuration that Serve is given for the ingress, or for a member of a spread graph."""
    from serve_deployments.deployments import FusedIngress, _ingress_options, _member_options

    settings = Settings.from_environment(
        {"ML_HOME": str(home), "ML_API_KEYS_FILE": str(home / "keys"), **environment}
    )
    spec = GraphSpec.from_settings(settings, [MODEL], application="forecasts")
    made = _member_options(spec, "member") if member else _ingress_options(spec, FusedIngress)
    return made._deployment_config


@pytest.mark.parametrize(("profile", "bounds"), [("staging", (2, 8)), ("production", (5, 50))])
def test_a_profile_that_scales_asks_our_policy_with_a_forecast(
    home: Path, profile: str, bounds: tuple[int, int]
) -> None:
    scaling = options(home, {"ML_PROFILE": profile}).autoscaling_config
    assert (scaling.min_replicas, scaling.max_replicas) == bounds
    kwargs = scaling.policy.policy_kwargs
    policy = ServeScaling(**kwargs)._policy
    assert (policy.spec.min_replicas, policy.spec.max_replicas) == bounds
    assert policy.spec.target_ongoing == scaling.target_ongoing_requests
    assert policy.spec.look_back_s == scaling.look_back_period_s  # the rate and what is inside: means over the same
    assert policy.spec.headroom > 0
    assert kwargs["rate"]["lead_s"] > scaling.upscale_delay_s


def test_development_does_not_scale(home: Path) -> None:
    config = options(home, {"ML_PROFILE": "development"})
    assert (config.autoscaling_config, config.num_replicas) == (None, 1)


def test_forecast_and_latency_are_settings(home: Path) -> None:
    asked = {"ML_PROFILE": "production", "ML_AUTOSCALING_FORECAST": "false", "ML_AUTOSCALING_LATENCY_S": "0.25"}
    config = options(home, asked)
    kwargs = config.autoscaling_config.policy.policy_kwargs
    assert kwargs["rate"] is None
    assert kwargs["scaling"]["slow_s"] == 0.25


def test_members_sleep_where_that_is_asked_and_the_ingress_stays_awake_to_hear(home: Path) -> None:
    asked = {"ML_PROFILE": "staging", "ML_MIN_INSTANCES": "0"}
    assert options(home, asked, member=True).autoscaling_config.min_replicas == 0
    assert options(home, asked).autoscaling_config.min_replicas == 1
