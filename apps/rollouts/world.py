"""What rollouts and experiments change on a platform: what is served, the registry, and who is told."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import Any, Protocol

from apps.pipelines.serving import graph_of_production, served_model
from cluster.errors import PermanentError, TransientError
from cluster.registry.registry import APPROVAL, EVALUATION, Registry, check_gate
from cluster.registry.version import SemanticVersion, Stage
from cluster.settings import Settings
from cluster.state.desired import Want
from cluster.state.machine import Json
from serve_deployments.graph import GraphSpec, ServedModel

log = logging.getLogger(__name__)
UNSTABLE = "unstable"
"""Evidence that a version was rolled back, and why."""


class WantedState(Protocol):
    """The durable `DesiredState`."""

    def do(self, command: Want, command_id: str | None = None) -> Json:
        """Run a command and return the answer."""
        ...

    def state(self) -> Json:
        """Return the whole state."""
        ...


class PlatformWorld:
    """Carries out the effects of rollouts; each may be carried out again.

    Parameters
    ----------
    registry
        Opens the platform's registry; called when a rollout first needs it.
    settings
        Of the platform.
    wanted
        What should be served; the platform's own process deploys it.
    deployed
        Returns the version of `wanted` that is deployed, and what went wrong with it.
    serving_fault
        Returns what is wrong with the served application, or an empty text.
    tell
        Hands a message to whoever is to know.
    """

    def __init__(
        self,
        *,
        registry: Callable[[], Registry],
        settings: Settings,
        wanted: WantedState,
        deployed: Callable[[], tuple[int, str]],
        serving_fault: Callable[[], str],
        tell: Callable[[Mapping[str, Any]], None],
    ) -> None:
        self._registry, self._settings, self._wanted = registry, settings, wanted
        self._deployed, self._serving_fault, self._tell = deployed, serving_fault, tell
        self.beside: Callable[[], Mapping[str, Iterable[str]]] = dict

    def carry_out(self, rollout: Json, effect: Json) -> None:
        """Do an effect; raise TransientError where it has to wait."""
        spec = rollout["spec"]
        match effect["kind"]:
            case "serve_both":
                self._check(spec)
                self.serve({spec["model"]: (spec["old"], spec["new"])}, effect["id"])
            case "serve_new" | "serve_old":
                self.serve({}, effect["id"])
            case "promote":
                approval = {"by": effect["by"], "rollout": spec["id"], "why": effect["reason"]}
                evidence = {APPROVAL: approval, "rollout": {"findings": rollout["findings"]}}
                self._move(spec, Stage.PRODUCTION, evidence)
            case "mark_unstable":
                self._move(spec, Stage.ARCHIVED, {UNSTABLE: {"rollout": spec["id"], "why": effect["reason"]}})
            case "notify" | "retrain":
                self._tell({"rollout": spec["id"], "model": spec["model"], "weights": rollout["weights"]} | effect)

    def faults(self, rollout: Json) -> tuple[str, ...]:
        """Return what is wrong with the served application while a rollout's versions run."""
        fault = self._serving_fault() if rollout["state"] in ("running", "verifying") else ""
        return (fault,) if fault else ()

    def models(self) -> list[Json]:
        """Return the versions that should be served where replicas exchange them; none before the first wish."""
        found = [GraphSpec.from_json(each["spec"]) for each in self._wanted.state()["applications"].values()]
        return [asdict(model) for spec in found if spec.placement == "fused" for model in spec.models]

    def serve(self, more: Mapping[str, Iterable[str]], command_id: str) -> None:
        """Serve all production versions, those of experiments, and some more; return once that is so.

        Parameters
        ----------
        more
            Model -> versions, the default first.
        command_id
            The same for the same wish.
        """
        spec = self._graph({**self.beside(), **more})
        version = self._wanted.do(Want(name=spec.application, spec=spec.to_json()), command_id)["version"]
        deployed, fault = self._deployed()
        if deployed < version:
            raise TransientError(f"version {version} of what should run is being deployed", retry_after_s=1.0)
        if fault:
            raise PermanentError(fault)

    def _graph(self, more: Mapping[str, Iterable[str]]) -> GraphSpec:
        graph = graph_of_production(self._registry(), self._settings)
        models = list(graph.models)
        for name, versions in more.items():
            known = {model.version for model in models if model.name == name}
            models += [self._served(name, version) for version in versions if version not in known]
        return GraphSpec.from_settings(self._settings, models)

    def _served(self, name: str, version: str) -> ServedModel:
        return served_model(self._registry().get(name, SemanticVersion.parse(version)))

    def _check(self, spec: Json) -> None:
        """Raise GateRefused before the first request where the version could not be promoted at the last."""
        version = self._registry().get(spec["model"], SemanticVersion.parse(spec["new"]))
        check_gate(version, Stage.PRODUCTION, {**version.evidence, APPROVAL: spec["by"]})

    def _move(self, spec: Json, stage: Stage, evidence: Mapping[str, Any]) -> None:
        self._registry().promote(spec["model"], SemanticVersion.parse(spec["new"]), stage, evidence)


def evidence_gate(registry: Registry, name: str, version: SemanticVersion) -> list[dict[str, Any]]:
    """Return what is known for and against a version before it is approved: item, whether it is there, detail.

    Only `evaluation` is asked for by the registry's gate; the others are listed so that who approves sees what is
    missing.
    """
    found = registry.get(name, version)
    measured = {key: value for key, value in found.metrics.items() if key in ("accuracy", "wape", "baseline_wape")}
    items = {
        EVALUATION: found.evidence.get(EVALUATION),
        "metrics": measured,
        "sha256": dict(found.files),
        "drift": found.evidence.get("drift"),
        "latency": found.evidence.get("latency"),
        "reproduction": {
            "data": found.lineage.data_digest,
            "code": found.lineage.code_revision,
            "seed": found.lineage.seed,
        },
        UNSTABLE: found.evidence.get(UNSTABLE),
    }
    return [{"item": item, "there": bool(value), "detail": value or ""} for item, value in items.items()]
