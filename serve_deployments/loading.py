"""From a spec's artifacts to servables in this process's memory."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from cluster.clock import SystemClock
from cluster.storage.cache import local_copy
from cluster.storage.files import Storage
from serve_deployments.anomalies.servable import AlarmServable
from serve_deployments.handlers.kinds import load
from serve_deployments.handlers.shelf import Shelf
from serve_deployments.servable import Servable
from serve_deployments.versions.life_cycle import load_and_warm
from serve_deployments.versions.model_cache import ModelCache
from serve_deployments.versions.warm_up import warm_up
from serve_deployments.versions.weight import Weight, weigh
from training.alarms.past_events import PastEvents

if TYPE_CHECKING:
    from serve_deployments.graph import GraphSpec, ServedModel


logger = logging.getLogger(__name__)


def load_servable(spec: GraphSpec, served: ServedModel) -> Servable:
    """Return a version, verified and loaded from a copy on this machine."""
    servable = load(
        _folder(spec, served), kind=served.kind, name=served.name, version=served.version, metrics=served.metrics
    )
    if isinstance(servable, AlarmServable) and spec.events_url is not None:
        servable.memory = PastEvents(Storage(spec.events_url), SystemClock())
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(spec.model_threads)
    return servable


def _folder(spec: GraphSpec, served: ServedModel) -> Path:
    return local_copy(served.uri, Path(spec.cache_dir))


def load_shelf(spec: GraphSpec, *, warm: bool = False, models: ModelCache | None = None) -> Shelf:
    """Return all versions of a spec, each with its life cycle.

    A version that cannot be loaded or warmed up stays off the shelf, and its life cycle tells why; but one that is
    a name's default raises: a replica without it must not take the place of one that serves the version before.

    Parameters
    ----------
    spec
        What is served.
    warm
        Answer made-up questions at every batch size before the first real one.
    models
        Bounds what of them stays in memory; all does where None.
    """
    shelf, defaults = Shelf() if models is None else Shelf(lives=models.lives), set[str]()
    for served in spec.models:
        found = bring_up(spec, served, shelf, warm=warm) if models is None else bring_in(spec, served, models)
        if isinstance(found, Exception):
            if served.name not in defaults:
                raise found
            reason = shelf.lives.of(f"{served.name}@{served.version}").reason
            logger.error("model %s %s is not served: %s", served.name, served.version, reason)
        else:
            shelf.put(found)
        defaults.add(served.name)
    return shelf


def bring_up(spec: GraphSpec, served: ServedModel, shelf: Shelf, *, warm: bool) -> Servable | Exception:
    """Return a version, loaded and warmed up, or why it is not; its life cycle on the shelf tells the steps."""
    return load_and_warm(
        shelf.lives.of(f"{served.name}@{served.version}"),
        partial(load_servable, spec, served),
        partial(warm_up, most=spec.max_batch_size) if warm else _not_warmed,
    )


def bring_in(spec: GraphSpec, served: ServedModel, models: ModelCache) -> Servable | Exception:
    """Return what stands on the shelf for a version that the model cache has taken in, or why it has not.

    It is loaded, weighed and tried by one question, and then let go of where there is no room: no batch sizes are
    warmed up for a version that may not stay.
    """
    tried = partial(_tried, spec, served)

    def taken() -> Servable:
        return models.take_in(*weigh(tried, _folder(spec, served)), load=tried)

    life = models.lives.of(f"{served.name}@{served.version}")
    return load_and_warm(life, taken, lambda face: f"has answered; takes {models.size_bytes(face)} bytes")


def weights(spec: GraphSpec) -> Iterator[Weight]:
    """Load a spec's versions one after another and tell what each takes."""
    for served in spec.models:
        servable, size_bytes = weigh(partial(_tried, spec, served), _folder(spec, served))
        yield Weight(key=servable.key, size_bytes=size_bytes, stays=servable.asleep() is None)


def _tried(spec: GraphSpec, served: ServedModel) -> Servable:
    """Return a version that has answered a made-up question."""
    servable = load_servable(spec, served)
    warm_up(servable, most=1)
    return servable


def _not_warmed(servable: Servable) -> str:  # noqa: ARG001 - the form of all that warm up
    return "not warmed up here: its members work elsewhere"
