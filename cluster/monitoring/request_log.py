"""Log lines that say which request they belong to: JSON for machines, text for people, secrets in neither."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from typing import IO, Any

import orjson

from cluster.security.api_key import hidden
from cluster.settings import masked

PACKAGES = ("apps", "cluster", "serve_deployments", "training", "tuning")
"""Whose loggers are set up; other libraries keep their own ways."""
FLUSH_S, MOST_LINES = 0.1, 256
"""When lines of requests go out; what a killed process may lose of them, the audit log has."""
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


@dataclass(kw_only=True, slots=True)
class RequestFacts:
    """What is known of the request being worked on; filled in on its way.

    Parameters
    ----------
    request_id
        The caller's, or ours.
    key_id
        Who asks; empty until the door has been passed.
    route
        Its template.
    model, version
        Who answers; empty until that is decided.
    trace_id
        Of its trace; empty without one.
    begun_s
        Of `time.perf_counter`.
    """

    request_id: str
    key_id: str = ""
    route: str = ""
    model: str = ""
    version: str = ""
    trace_id: str = ""
    begun_s: float = 0.0

    def shown(self) -> dict[str, Any]:
        """Return what a line says of it."""
        told: dict[str, Any] = {"request_id": self.request_id, "key": self.key_id, "route": self.route}
        if self.model:
            told |= {"model": self.model, "version": self.version}
        if self.trace_id:
            told["trace_id"] = self.trace_id
        if self.begun_s:
            told["duration_ms"] = round((time.perf_counter() - self.begun_s) * 1e3, 3)
        return told


current: ContextVar[RequestFacts | None] = ContextVar("heliotrope_request", default=None)
"""The request this task works on. Threads of an executor do not inherit it, on purpose: they work on batches."""


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, the request's facts, what `extra` gave."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line = _begun(record.created, record.levelname.lower(), record.name, record.getMessage())
        facts = current.get()
        if facts is not None:
            line |= facts.shown()
        line |= {name: value for name, value in record.__dict__.items() if name not in _STANDARD}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = record.stack_info
        return _written(line)


class RequestLines:
    """Writes the one JSON line that every request has.

    It has the form of `JsonFormatter`'s, but takes a third of the time: most of that goes into the log record that
    no request line needs. Lines go out together, within FLUSH_S or once there are MOST_LINES of them.

    Parameters
    ----------
    stream
        Where to; standard error where None.
    """

    NAME = "serve_deployments.requests"

    def __init__(self, stream: IO[str] | None = None) -> None:
        self._stream, self._lines = stream, list[str]()

    def write(self, facts: RequestFacts, now_s: float, **told: Any) -> None:
        """Write what is known of a request once it is over: soon, by the event loop that this is called from."""
        line = _begun(now_s, "info", self.NAME, "request") | facts.shown() | told
        if not self._lines:
            asyncio.get_running_loop().call_later(FLUSH_S, self.flush)
        self._lines.append(_written(line))
        if len(self._lines) >= MOST_LINES:
            self.flush()

    def flush(self) -> None:
        """Write the lines that wait."""
        if self._lines:
            text, self._lines = "\n".join([*self._lines, ""]), []
            (self._stream or sys.stderr).write(text)


class TextFormatter(logging.Formatter):
    """A line for people, with the request's id in front of the message."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and a traceback under it where there is one."""
        text = super().format(record)
        facts = current.get()
        return without_secrets(text if facts is None else f"[{facts.request_id}] {text}")


def _begun(time_s: float, level: str, name: str, message: str) -> dict[str, Any]:
    second = int(time_s)
    time_text = f"{_second(second)}.{int((time_s - second) * 1000):03d}Z"
    return {"time": time_text, "level": level, "logger": name, "message": message}


def _written(line: dict[str, Any]) -> str:
    return without_secrets(orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS).decode())


@lru_cache(maxsize=4)
def _second(time_s: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time_s))


FORMATTERS: dict[str, type[logging.Formatter]] = {"text": TextFormatter, "json": JsonFormatter}


def set_up(log_format: str, *, level: int = logging.INFO, stream: IO[str] | None = None) -> None:
    """Let the loggers of this process's own packages write lines of a format; a second call replaces the first.

    Parameters
    ----------
    log_format
        `text` or `json` (ML_LOG_FORMAT).
    level
        Lines below it are not written.
    stream
        Where to; standard error where None, which Ray keeps in a worker's log file.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(FORMATTERS[log_format]())
    for name in PACKAGES:
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(level)
        logger.propagate = False


def without_secrets(text: str) -> str:
    """Return `text` without API keys and without passwords in URLs."""
    text = hidden(text)
    return masked(text) if "://" in text else text
