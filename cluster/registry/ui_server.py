"""The process behind `TrackingUi`: MLflow's web pages in one worker, gone when its parent is gone.

MLflow's own command starts ten processes (about 950 MiB); its application in one uvicorn needs 210 MiB and starts
in half the time.
"""

from __future__ import annotations

import os
import signal
import sys
import threading


def main() -> None:
    """Serve until a signal, or until the other end of standard input closes.

    The environment names the database and the artifacts, as passwords do not belong on a command line.
    """
    threading.Thread(target=_follow_parent, daemon=True).start()
    import uvicorn
    from mlflow.server.constants import (
        ARTIFACT_ROOT_ENV_VAR,
        BACKEND_STORE_URI_ENV_VAR,
        REGISTRY_STORE_URI_ENV_VAR,
    )

    os.environ[BACKEND_STORE_URI_ENV_VAR] = os.environ["UI_REGISTRY_URL"]
    os.environ[REGISTRY_STORE_URI_ENV_VAR] = os.environ["UI_REGISTRY_URL"]
    os.environ[ARTIFACT_ROOT_ENV_VAR] = os.environ["UI_ARTIFACT_ROOT"]
    from mlflow.server.fastapi_app import app

    uvicorn.run(app, host="127.0.0.1", port=int(os.environ["UI_PORT"]), log_level="warning")


def _follow_parent() -> None:
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
