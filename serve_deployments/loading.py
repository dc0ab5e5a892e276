"""From a spec's artifacts to servables in this process's memory."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cluster.clock import SystemClock
from cluster.storage.cache import local_copy
from cluster.storage.files import Storage
from serve_deployments.anomalies.servable import AlarmServable
from serve_deployments.handlers.kinds import load
from serve_deployments.handlers.shelf import Shelf
from serve_deployments.servable import Servable
from training.alarms.past_events import PastEvents

if TYPE_CHECKING:
    from serve_deployments.graph import GraphSpec, ServedModel


def load_servable(spec: GraphSpec, served: ServedModel) -> Servable:
    """Return a version, verified and loaded from a copy on this machine."""
    folder = local_copy(served.uri, Path(spec.cache_dir))
    servable = load(folder, kind=served.kind, name=served.name, version=served.version, metrics=served.metrics)
    if isinstance(servable, AlarmServable) and spec.events_url is not None:
        servable.memory = PastEvents(Storage(spec.events_url), SystemClock())
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(spec.model_threads)
    return servable


def load_shelf(spec: GraphSpec) -> Shelf:
    """Return all versions of a spec."""
    return Shelf([load_servable(spec, served) for served in spec.models])
