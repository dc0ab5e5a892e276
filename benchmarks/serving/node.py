"""A further node of a Ray on this machine: `python -m benchmarks.serving.node ADDRESS CPUS`, until its input ends.

`ray start` refuses a second node where Ray listens on the loopback device alone; Ray's `Node` joins it there too.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Join, wait for the end of standard input, leave."""
    from ray._private.node import Node
    from ray._private.parameter import RayParams

    from cluster.ports import LOOPBACK, free_port

    address, cpus = sys.argv[1:]
    node = Node(
        RayParams(
            gcs_address=address,
            node_ip_address=LOOPBACK,
            num_cpus=int(cpus),
            dashboard_agent_listen_port=0,
            metrics_export_port=free_port(),
        ),
        head=False,
        shutdown_at_exit=False,
        spawn_reaper=True,
    )
    try:
        sys.stdin.buffer.read()
    finally:
        node.kill_all_processes(check_alive=False, allow_graceful=True, wait=True)


if __name__ == "__main__":
    main()
