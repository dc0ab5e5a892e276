"""The process that holds the head of a local Ray, and ends it as soon as its owner closes the pipe or dies.

Run by `cluster.lifecycle` as `python -m cluster.head OPTIONS`, in a session of its own: Ctrl-C in a terminal
reaches the owner alone, which then shuts down in order; and the owner stays in its own process group (`ray.init`
would move it to a new one, where Ctrl-C under `make` no longer reaches it). Ray's `Node` is used as `ray.init` uses
it, because only there the port of the dashboard's agent is free to choose: with the fixed one a second Ray on the
machine has no jobs.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
from typing import Any

# Unix sockets have paths of at most 107 bytes, of which Ray's session folder and socket name need about 70.
LONGEST_FOLDER = 30


def short_folder() -> str:
    """Return a folder for temporary files whose name leaves room for Ray's sockets."""
    usual = tempfile.gettempdir()
    return usual if len(usual) <= LONGEST_FOLDER - len("/ht-12345678") else "/tmp"  # noqa: S108 - mkdtemp follows


def start(options: dict[str, Any], folder: str) -> Any:
    """Start the processes of a head node and return Ray's handle of them.

    Parameters
    ----------
    options
        `num_cpus` (None counts the machine's), `dashboard` and `dashboard_port`, `metrics_port`.
    folder
        Where sessions, sockets and logs go.
    """
    from ray._private.node import Node
    from ray._private.parameter import RayParams

    return Node(
        RayParams(
            num_cpus=options["num_cpus"],
            include_dashboard=options["dashboard"],
            dashboard_host="127.0.0.1",
            dashboard_port=options["dashboard_port"],
            dashboard_agent_listen_port=0,
            metrics_export_port=options["metrics_port"],
            temp_dir=folder,
        ),
        head=True,
        shutdown_at_exit=False,
        spawn_reaper=True,
        ray_init_cluster=True,
    )


def main() -> None:
    """Start, print where it is as one JSON line, wait for the end of standard input, end all of it."""
    with tempfile.TemporaryDirectory(prefix="ht-", dir=short_folder(), ignore_cleanup_errors=True) as folder:
        node = start(json.loads(sys.argv[1]), folder)
        try:
            sys.stdout.write(json.dumps({"address": node.gcs_address}) + "\n")
            sys.stdout.flush()
            sys.stdin.buffer.read()
        finally:
            node.kill_all_processes(check_alive=False, allow_graceful=True, wait=True)
    # The dashboard's children would notice only seconds later. This process goes with them.
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
