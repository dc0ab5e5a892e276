"""The platform as one process sees it: Ray, the registry, the served graph, and where they can be reached."""

from __future__ import annotations

import logging
import os
import platform
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from apps.keeper import Keeper
from apps.pipelines.serving import graph_of_production
from apps.running import Running, require_running
from cluster.errors import HeliotropeError, PermanentError, TransientError
from cluster.jobs import Jobs
from cluster.lifecycle import Cluster
from cluster.ports import LOOPBACK, free_port
from cluster.registry.registry import Registry
from cluster.registry.ui import TrackingUi
from cluster.settings import Settings
from cluster.state.desired import DesiredState, Want
from cluster.state.machine import Machine
from cluster.state.runs import RunLedger
from cluster.state.schedules import Schedules
from cluster.tls_front import TlsFront
from serve_deployments.graph import GraphSpec

if TYPE_CHECKING:
    from cluster.actors.state import SharedState
    from serve_deployments.deploy import Served

TICK_S = 1.0
POLL_S = 0.2
DEPLOY_TIMEOUT_S = 240.0

log = logging.getLogger(__name__)


class Platform:
    """What `heliotrope up` keeps running; build it with `open` or `attach` in a `with` block.

    Attributes
    ----------
    settings
        As read at the start.
    cluster
        The Ray it works on.
    running
        Where everything is.
    """

    def __init__(self, settings: Settings, cluster: Cluster, running: Running) -> None:
        self.settings = settings
        self.cluster = cluster
        self.running = running
        self._served: Served | None = None
        self._front: TlsFront | None = None
        self._office: Any = None
        self._deployed: dict[str, GraphSpec] = {}

    @classmethod
    @contextmanager
    def open(cls, settings: Settings) -> Iterator[Platform]:
        """Start Ray (or attach to ML_RAY_ADDRESS) and the experiment UI, tell the other commands, end both after.

        Raises
        ------
        TransientError
            Ray or the UI did not start.
        """
        with ExitStack() as stack:
            cluster = stack.enter_context(Cluster.open(settings))
            pages = stack.enter_context(TrackingUi(settings))
            running = Running(
                pid=os.getpid(),
                ray_address=cluster.address,
                dashboard_url=cluster.dashboard_url or "",
                tracking_url=pages.url,
            )
            running.save(settings)
            stack.callback(Running.forget, settings)
            self = cls(settings, cluster, running)
            stack.callback(self.close)
            yield self

    @classmethod
    @contextmanager
    def attach(cls, settings: Settings) -> Iterator[Platform]:
        """Work on the platform that runs here; leave it as it is after."""
        running = require_running(settings)
        with Cluster.open(replace(settings, ray_address=running.ray_address)) as cluster:
            yield cls(settings, cluster, running)

    @cached_property
    def registry(self) -> Registry:
        """Models and versions."""
        from cluster.registry.mlflow_registry import open_registry

        return open_registry(self.settings)

    @cached_property
    def wanted(self) -> SharedState[Any]:
        """What should run."""
        return self._state(DesiredState)

    @cached_property
    def schedules(self) -> SharedState[Any]:
        """What is submitted again and again."""
        return self._state(Schedules)

    @cached_property
    def ledger(self) -> SharedState[Any]:
        """Runs that are tried until they succeed, or their attempts are used up."""
        return self._state(RunLedger)

    @cached_property
    def _keeper(self) -> Keeper:
        jobs = Jobs(self.running.dashboard_url)
        owner = f"{platform.node()}-{os.getpid()}-{uuid4().hex[:8]}"
        return Keeper(owner=owner, jobs=jobs, ledger=self.ledger, schedules=self.schedules)

    def serve(self) -> Running:
        """Note that every production version should be served, and see it done; return where.

        The process that keeps the platform up deploys; any other waits for it.

        Raises
        ------
        ConfigError
            No version is in production.
        PermanentError
            It cannot be deployed.
        TransientError
            It was not deployed in time.
        """
        spec = graph_of_production(self.registry, self.settings)
        version = self.wanted.do(Want(name=spec.application, spec=spec.to_json()))["version"]
        if self.running.pid == os.getpid():
            self.reconcile()
        else:
            self.running = self._await(version)
        return self.running

    def _await(self, version: int) -> Running:
        deadline_s = time.monotonic() + DEPLOY_TIMEOUT_S
        while (running := require_running(self.settings)).deployed < version:
            if time.monotonic() > deadline_s:
                raise TransientError(f"the platform did not deploy within {DEPLOY_TIMEOUT_S:g} s; see its output")
            time.sleep(POLL_S)
        if running.fault:
            raise PermanentError(running.fault)
        return running

    def tick(self) -> None:
        """Do what another process asked for, and look after scheduled and retried jobs."""
        self.reconcile()
        self._keeper.tick()

    def reconcile(self) -> None:
        """Deploy what should run where it changed since the last look; a deployment cut short is done again.

        Raises
        ------
        PermanentError
            It cannot be deployed; what ran before goes on, and this version is not tried again.
        """
        wanted = self.wanted.state()
        if wanted["version"] == self.running.deployed:
            return
        try:
            for entry in wanted["applications"].values():
                self._deploy(GraphSpec.from_json(entry["spec"]))
        except PermanentError as error:
            self._tell(deployed=wanted["version"], fault=error.message)
            raise
        self._tell(deployed=wanted["version"], fault="")

    def close(self) -> None:
        """Take down what this process serves."""
        from serve_deployments.deploy import stop

        if self._front:
            self._front.close()
            self._front = None
        if self._office is not None:
            from apps.rollouts.office import close_office

            close_office(self._office, self.settings)
            self._office = None
        if self._served:
            # A Ray of our own takes Serve with it.
            stop(replace(self._served, owns_serve=self._served.owns_serve and not self.cluster.owned))
            self._served = None

    def _deploy(self, spec: GraphSpec) -> None:
        """Let the replicas exchange versions where that is all; else deploy."""
        before = self._deployed.get(spec.application)
        if before is not None and before.exchanges_versions(spec):
            from apps.rollouts.in_place import exchange_versions

            exchange_versions(spec)
        else:
            self._replace(spec)
        self._deployed[spec.application] = spec

    def _replace(self, spec: GraphSpec) -> None:
        from serve_deployments.deploy import serve_graph

        self._served = serve_graph(spec, self._inside())
        self._tell(endpoint=self._encrypted(self._served.url))
        if spec.traffic is not None and self._office is None:
            from apps.rollouts.office import open_office

            self._office = open_office(self.settings, spec.application, spec.traffic)

    def _inside(self) -> Settings:
        """Return where the graph listens: behind HTTPS, only to this machine."""
        return self.settings if self.settings.tls_dir is None else replace(self.settings, http_host=LOOPBACK)

    def _encrypted(self, url: str) -> str:
        """Return where the graph is reached, by HTTPS where there is a certificate."""
        if self.settings.tls_dir is None:
            return url
        self._front = self._front or TlsFront(
            self.settings.tls_dir,
            target=url.removeprefix("http://"),
            host=self.settings.http_host,
            port=self.settings.https_port or free_port(),
            timeout_s=2 * self.settings.request_timeout_s,
        )
        return self._front.url

    def _tell(self, **news: Any) -> None:
        """Tell the other commands."""
        self.running = replace(self.running, **news)
        self.running.save(self.settings)

    def _state(self, machine: type[Machine[Any]]) -> SharedState[Any]:
        from cluster.actors.state import SharedState

        return SharedState(machine, self.settings.storage_url)


def until_interrupted(tick: Callable[[], None]) -> None:
    """Call `tick` about once a second until Ctrl-C or a polite kill."""
    stop = threading.Event()
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        while not stop.wait(TICK_S):
            try:
                tick()
            except HeliotropeError as error:
                # What is up stays up: the next tick tries again what may be tried again.
                log.warning("%s: %s", type(error).__name__, error)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
