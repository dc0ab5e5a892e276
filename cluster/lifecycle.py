"""A Ray to work on: started here or attached to; what was started here is ended here, and nothing else."""

from __future__ import annotations

import json
import logging
import os
import selectors
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import IO, Any, Self, cast

from cluster.errors import ConfigError, TransientError
from cluster.haproxy import attended, clean, ingress_variables
from cluster.ports import LOOPBACK, answers, free_port
from cluster.security.ray_environment import ray_variables
from cluster.settings import Settings

START_TIMEOUT_S = 180.0
STOP_TIMEOUT_S = 30.0
START_ATTEMPTS = 3

# Ray binds every server to the loopback device where clusters are off; the name of the switch is history.
LOOPBACK_ONLY = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}

DEFAULTS = {
    # Threads of xgboost and torch that wait by spinning take the processor from those that work: on two busy cores
    # the same fit took 28 s with and 13 s without.
    "OMP_WAIT_POLICY": "PASSIVE",
    # Said explicitly, since Ray's own default differs between ways to start and between versions. A Ray started
    # here listens on the loopback device only; set ML_RAY_TOKEN_FILE where that is not enough.
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # Ray Train waits for ever (collectives), 60 s (start) and 600 s (hung worker) by default: the first hides a
    # dead rank, the second is short for workers that import torch on a busy machine, the third is long.
    "RAY_TRAIN_COLLECTIVE_TIMEOUT_S": "300",
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "300",
    "RAY_TRAIN_WORKER_HEALTH_CHECK_TIMEOUT_S": "120",
    # A report counts after the controller's next look (2 s by default): a worker killed before it loses that epoch.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
}
"""Environment variables every Ray of ours wants; what the user has set stays."""


@dataclass(frozen=True, kw_only=True)
class NodeInfo:
    """A machine of the cluster, or what stands for one.

    Parameters
    ----------
    node_id
        Ray's id, hexadecimal.
    address
        Host the node answers on.
    alive
        Whether Ray still hears from it.
    resources
        Name -> amount, as Ray counts them.
    """

    node_id: str
    address: str
    alive: bool
    resources: Mapping[str, float]


class Cluster:
    """A connection of this process to Ray; build it with `open`, and use it in a `with` block.

    Attributes
    ----------
    address
        host:port other processes attach to (ML_RAY_ADDRESS).
    dashboard_url
        `http://…`, or None without a dashboard.
    namespace
        Where named actors are looked up.
    owned
        Whether this object started the cluster, and ends it.
    """

    def __init__(self, namespace: str) -> None:
        self.address = ""
        self.dashboard_url: str | None = None
        self.namespace = namespace
        self._head: _Head | None = None
        self._environment = _Environment()
        self._ingress: Mapping[str, str] = {}
        self._beside = ExitStack()
        self._connected = False

    @classmethod
    def open(
        cls,
        settings: Settings,
        *,
        num_cpus: int | None = None,
        dashboard: bool = True,
        namespace: str = "heliotrope",
        log_to_driver: bool = False,
    ) -> Self:
        """Attach to `settings.ray_address`, or start a Ray on this machine where there is none.

        Parameters
        ----------
        settings
            `ray_address` and `dashboard_port` are used.
        num_cpus
            Logical CPUs of a Ray started here; None counts the machine's. Ignored when attaching.
        dashboard
            Start the dashboard as well; jobs need it. Ignored when attaching.
        namespace
            Where named actors live.
        log_to_driver
            Print what workers print.

        Raises
        ------
        ConfigError
            This process is connected already.
        TransientError
            Nothing answers at the address, or Ray did not start.
        """
        self = cls(namespace)
        try:
            self._environment.put(_read_at_import(ray_variables(settings)))
            self._environment.fill(DEFAULTS)
            _refuse_second()
            if settings.ray_address is None:
                self._ingress = ingress_variables(settings)
                self._environment.put(self._ingress)
                self._beside.enter_context(attended(self._ingress))
                self._start(num_cpus, settings.dashboard_port if dashboard else None)
            else:
                self._find(settings.ray_address)
            self._connect(log_to_driver)
        except BaseException:
            # Ctrl-C included: what is half open is closed.
            self.close()
            raise
        return self

    @property
    def owned(self) -> bool:
        """Say whether this object started the cluster."""
        return self._head is not None

    def nodes(self) -> list[NodeInfo]:
        """Return the nodes the cluster has or had."""
        import ray

        return [
            NodeInfo(
                node_id=node["NodeID"],
                address=node["NodeManagerAddress"],
                alive=node["Alive"],
                resources=node["Resources"],
            )
            for node in ray.nodes()
        ]

    def resources(self) -> dict[str, float]:
        """Return the amounts of all living nodes together: `CPU`, `GPU`, `memory` in bytes."""
        import ray

        return dict(ray.cluster_resources())

    def close(self) -> None:
        """Disconnect, end what `open` started, and restore the environment; a second call does nothing."""
        try:
            if self._connected:
                import ray

                self._connected = False
                ray.shutdown()
        finally:
            # A second Ctrl-C above still gets here; and if even this is cut, the head ends with this process.
            try:
                self._beside.close()
                if self._head is not None:
                    head, self._head = self._head, None
                    head.end()
            finally:
                self._environment.restore()
                clean(self._ingress)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start(self, num_cpus: int | None, dashboard_port: int | None) -> None:
        self._environment.put(LOOPBACK_ONLY)
        self._head = _Head()
        for left in reversed(range(START_ATTEMPTS)):
            try:
                self.address = self._head.start(
                    num_cpus=num_cpus,
                    dashboard=dashboard_port is not None,
                    dashboard_port=None if dashboard_port is None else free_port(dashboard_port),
                    metrics_port=free_port(),
                )
            except TransientError as error:
                # A free port may be taken by somebody else, one of Ray's own servers too, before Ray binds it.
                if not left or "already occupied" not in error.message:
                    raise
            else:
                return

    def _find(self, address: str) -> None:
        self.address = address
        if address == "auto":
            return
        host, _, port = address.rpartition(":")
        if not answers(host, int(port)):
            raise TransientError(
                f"no Ray answers at {address}; start one there, or unset ML_RAY_ADDRESS and RAY_ADDRESS to have "
                "one started here",
                retry_after_s=5.0,
                address=address,
            )
        if host in (LOOPBACK, "localhost"):
            self._environment.put(LOOPBACK_ONLY)

    def _connect(self, log_to_driver: bool) -> None:
        import ray

        context = ray.init(
            address=self.address,
            namespace=self.namespace,
            log_to_driver=log_to_driver,
            logging_level=logging.ERROR,
        )
        self._connected = True
        self.address = context.address_info["address"]
        url = context.dashboard_url
        self.dashboard_url = f"http://{url}" if url else None


def _read_at_import(variables: dict[str, str]) -> dict[str, str]:
    """Return them; raise ConfigError where Ray has been imported without them."""
    late = [name for name, value in variables.items() if "ray" in sys.modules and os.environ.get(name) != value]
    if late:
        raise ConfigError(
            f"Ray reads {', '.join(late)} when it is imported, and it has been: open the cluster before the first "
            "`import ray`, or set these variables in the environment of the process"
        )
    return variables


def _refuse_second() -> None:
    import ray

    if ray.is_initialized():
        raise ConfigError("this process is connected to a Ray already: got a second open, expected a close before")


class _Environment:
    """Environment variables set for a while."""

    def __init__(self) -> None:
        self._before: dict[str, str | None] = {}
        self._clusters_on: bool | None = None

    def fill(self, values: Mapping[str, str]) -> None:
        """Set the variables that are not set."""
        self.put({name: value for name, value in values.items() if name not in os.environ})

    def put(self, values: Mapping[str, str]) -> None:
        """Set the variables."""
        for name, value in values.items():
            self._before.setdefault(name, os.environ.get(name))
            os.environ[name] = value
        if values is LOOPBACK_ONLY:
            self._tell_ray()

    def restore(self) -> None:
        """Take back all that was set."""
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        self._before.clear()
        if self._clusters_on is not None:
            from ray._private import ray_constants

            ray_constants.ENABLE_RAY_CLUSTER = self._clusters_on
            self._clusters_on = None

    def _tell_ray(self) -> None:
        # Ray reads that variable once, at its import, which may have been before us.
        from ray._private import ray_constants

        self._clusters_on = ray_constants.ENABLE_RAY_CLUSTER
        ray_constants.ENABLE_RAY_CLUSTER = False


class _Head:
    """The process `cluster.head`, which ends its Ray when the pipe to it closes."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, **options: Any) -> str:
        """Start it and return the address; raise TransientError with the last lines of its log where it fails."""
        with tempfile.TemporaryFile() as log:
            self._process = process = subprocess.Popen(  # noqa: S603 - our own module
                [sys.executable, "-m", "cluster.head", json.dumps(options)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
            line = _line_within(cast(IO[bytes], process.stdout), START_TIMEOUT_S)
            if not line:
                self.end()
                log.seek(0)
                tail = log.read().decode(errors="replace")[-2000:]
                raise TransientError(f"Ray did not start within {START_TIMEOUT_S:g} s: {tail}", retry_after_s=10.0)
        return str(json.loads(line)["address"])

    def end(self) -> None:
        """Close the pipe, wait for the end, and kill the session's processes where that does not come."""
        process, self._process = self._process, None
        if process is None:
            return
        try:
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _line_within(pipe: IO[bytes], timeout_s: float) -> bytes:
    """Return the pipe's next line, or nothing where none comes in time."""
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        return pipe.readline() if selector.select(timeout_s) else b""
