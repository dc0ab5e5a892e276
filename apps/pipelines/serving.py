"""From the registry to the serving graph."""

from __future__ import annotations

from cluster.errors import ConfigError
from cluster.registry.registry import Registry
from cluster.registry.version import ModelVersion, Stage
from cluster.settings import Settings
from serve_deployments.graph import GraphSpec, ServedModel


def production_versions(registry: Registry) -> list[ModelVersion]:
    """Return the version in production of each model that has one."""
    newest = (registry.get(name) for name in registry.names())
    return [version for version in newest if version.stage is Stage.PRODUCTION]


def graph_of_production(registry: Registry, settings: Settings) -> GraphSpec:
    """Return the graph that serves every model in production.

    Raises
    ------
    ConfigError
        There is none; the message says how to get one.
    """
    versions = production_versions(registry)
    if not versions:
        raise ConfigError("nothing to serve: no model is in production; train one with `heliotrope train`")
    return GraphSpec.from_settings(settings, [served_model(version) for version in versions])


def served_model(version: ModelVersion) -> ServedModel:
    """Return the graph's view of a registered version."""
    kind = str(version.evidence.get("kind", "forecast"))
    return ServedModel(
        name=version.name, version=str(version.version), uri=version.uri, kind=kind, metrics=dict(version.metrics)
    )
