"""Put a graph on the cluster, wait until it answers, take it away."""

from __future__ import annotations

import json
import logging
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cluster.errors import PermanentError, TransientError
from cluster.ports import free_port
from cluster.settings import Settings
from serve_deployments.graph import GraphSpec, build_graph

if TYPE_CHECKING:
    from ray.serve.schema import ApplicationStatusOverview

READY_TIMEOUT_S = 180.0
POLL_S = 0.1
TOLD = 800
"""Characters of what Serve says of a deployment: the end of a traceback, with its error."""
PROXY_GRACE_S = 5.0
"""Serve's own time-out stands this long behind the service's, whose answer is a problem document."""


@dataclass(frozen=True, kw_only=True)
class Served:
    """A graph that answers.

    Parameters
    ----------
    application
        Its name in Serve.
    url
        Root of the HTTP API.
    owns_serve
        Serve was started for it, and is ended with it.
    """

    application: str
    url: str
    owns_serve: bool

    @property
    def docs_url(self) -> str:
        """The OpenAPI page."""
        return f"{self.url}/docs"


def serve_graph(spec: GraphSpec, settings: Settings, *, timeout_s: float = READY_TIMEOUT_S) -> Served:
    """Deploy or update a graph on the Ray this process is connected to, and wait until it answers.

    Parameters
    ----------
    spec
        What to serve. An application of the same name is updated without a gap.
    settings
        `http_host` and `http_port`, used where Serve does not run yet.
    timeout_s
        Deadline.

    Raises
    ------
    PermanentError
        The deployment failed; the message holds Serve's.
    TransientError
        It was not ready in time.
    """
    from ray import serve
    from ray.serve.config import HTTPOptions
    from ray.serve.schema import LoggingConfig

    deadline_s = time.monotonic() + timeout_s
    owns = not _serve_runs()
    logging.getLogger("ray.serve").setLevel(logging.WARNING)  # what went well is seen by the caller's own words
    if owns:
        serve.start(
            proxy_location="HeadOnly",
            http_options=HTTPOptions(
                host=settings.http_host,
                port=settings.http_port or free_port(host=settings.http_host),
                request_timeout_s=2 * spec.limits.request_timeout_s + PROXY_GRACE_S,
            ),
        )
    served = Served(application=spec.application, url=_url(), owns_serve=owns)
    target = serve.RunTarget(
        target=build_graph(spec),
        name=spec.application,
        logging_config=LoggingConfig(enable_access_log=False),
    )
    serve.run_many([target], wait_for_applications_running=False)
    _wait(served, deadline_s)
    return served


def stop(served: Served) -> None:
    """Take the graph away, and Serve with it where it was started for it."""
    from ray import serve
    from ray.serve.context import _disconnect

    from cluster.actors import rate_office
    from cluster.monitoring import metrics_actor
    from serve_deployments.rollout import board_actor

    serve.delete(served.application)
    for actor in (metrics_actor, board_actor, rate_office):
        actor.remove(served.application)
    if served.owns_serve and not serve.status().applications:
        serve.shutdown()
    # Serve tells one Ray from another by the job's id, and the next Ray of this process may give the same one.
    _disconnect()


def _serve_runs() -> bool:
    from ray import serve
    from ray.serve.exceptions import RayServeException

    try:
        return bool(serve.status().proxies)
    except RayServeException:
        return False


def _url() -> str:
    # Serve keeps the options it was first started with; only its client knows them.
    from ray.serve.context import _get_global_client

    options = _get_global_client().http_config
    host = "127.0.0.1" if options.host == "0.0.0.0" else options.host  # noqa: S104 - compared, not bound
    return f"http://{host}:{options.port}"


def _wait(served: Served, deadline_s: float) -> None:
    from ray import serve
    from ray.serve.schema import ApplicationStatus

    seen = "nothing yet"
    while time.monotonic() < deadline_s:
        status = serve.status().applications[served.application]
        if status.status in (ApplicationStatus.DEPLOY_FAILED, ApplicationStatus.UNHEALTHY):
            raise PermanentError(
                f"application '{served.application}' was not deployed: {_told(status)}",
                application=served.application,
            )
        seen = f"application {status.status.value}"
        if status.status == ApplicationStatus.RUNNING:
            seen = ready_fault(served.url)
            if not seen:
                return
        time.sleep(POLL_S)
    raise TransientError(
        f"application '{served.application}' was not ready in time: got {seen}, "
        f"expected 200 from {served.url}/readyz",
        retry_after_s=5.0,
    )


def _told(status: ApplicationStatusOverview) -> str:
    """Return why an application is ill: Serve's sentence, and the end of what each ill deployment says."""
    ill = {name: each for name, each in status.deployments.items() if each.message}
    return " ".join([status.message, *(f"{name}: {each.message[-TOLD:].strip()}" for name, each in ill.items())])


def ready_fault(url: str, timeout_s: float = 10.0) -> str:
    """Return why the service at `url` is not ready, or an empty text."""
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=timeout_s) as answer:  # noqa: S310 - http, own host
            answer.read()
        return ""
    except urllib.error.HTTPError as error:
        body = error.read()
        try:
            return str(json.loads(body)["detail"])
        except (ValueError, KeyError, TypeError):
            return f"HTTP {error.code}"
    except OSError as error:
        return str(error)
