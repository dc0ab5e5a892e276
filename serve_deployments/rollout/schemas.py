"""What travels over HTTP where versions are rolled out and compared."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, ValidationError

from serve_deployments.schemas import MAX_NAME, Name, UnreadableError, Wire

W = TypeVar("W", bound=Wire)
Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Why = Annotated[str, Field(max_length=500)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Numbers = Annotated[list[float], Field(min_length=1, max_length=10_000)]


class DeployRequest(Wire):
    """Begin a rollout of a registered version over the one that is served."""

    id: Id = Field(description="name of the rollout; sending it again is one rollout")
    model: Name
    version: Name = Field(description="the new one")
    policy: Name = Field(default="canary", description="canary, blue_green, rolling or immediate")
    parameters: dict[Name, Any] = Field(default_factory=dict, max_length=16, description="of the policy")
    judge: dict[Name, Any] = Field(default_factory=dict, max_length=16, description="what is accepted")
    unit: Literal["request", "series", "user"] = "request"
    approval: bool = Field(default=False, description="somebody else must approve first")
    force: Why = Field(default="", description="why a policy is used that the profile refuses")
    why: Why = ""


class OrderRequest(Wire):
    """The reason of an order."""

    why: Why = ""


class Metric(Wire):
    """What an experiment measures."""

    name: Name
    kind: Literal["proportion", "mean", "ratio", "latency"]
    effect: float = Field(gt=0.0, description="smallest difference worth finding")
    higher_is_better: bool = True
    denominator: Annotated[str, Field(max_length=MAX_NAME)] = ""
    cuped: bool = Field(default=False, description="use what POST .../units told of each unit")


class ExperimentRequest(Wire):
    """Begin an experiment between served versions."""

    id: Id
    model: Name
    arms: dict[Name, Share] = Field(min_length=2, max_length=10, description="version -> share, sum 1")
    control: Name
    metrics: list[Metric] = Field(min_length=1, max_length=10, description="the first decides")
    traffic: float = Field(default=1.0, gt=0.0, le=1.0, description="share of the model's units")
    unit: Literal["request", "series", "user"] = "user"
    alpha: float = Field(default=0.05, gt=0.0, lt=1.0)
    method: Literal["sequential", "fixed"] = "sequential"
    min_units: int = Field(default=200, ge=1)
    max_units: int = Field(default=100_000, ge=1)
    bandit: bool = False
    promote: bool = Field(default=False, description="begin a canary of the winner")
    judge: dict[Name, Any] = Field(default_factory=dict, max_length=16, description="what is accepted of an arm")
    why: Why = ""


class UnitsRequest(Wire):
    """What was known of units before an experiment."""

    covariates: dict[Name, float] = Field(min_length=1, max_length=10_000, description="unit -> what it was")


class OutcomeRequest(Wire):
    """What came of a request, known later."""

    request_id: Name
    outcomes: dict[Name, float] = Field(default_factory=dict, max_length=20, description="metric -> value")
    truth: dict[Name, dict[Name, Numbers]] = Field(
        default_factory=dict, max_length=256, description="series -> target -> true values of the first steps"
    )


def typed(kind: type[W], value: Any) -> W:
    """Return a JSON value as a request of this kind; raise UnreadableError."""
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        raise UnreadableError(list(error.errors(include_url=False))) from error
