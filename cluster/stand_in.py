"""What takes HAProxy's place from the moment it dies until Ray Serve has started another.

Ray Serve asks its HAProxy now and then whether it lives, and takes seconds to start it again. This process, run as
`python -m cluster.stand_in FOLDER BINARY`, is told of the death by the kernel at once. It holds copies of the
listening sockets, which HAProxy gives to whoever follows it; so connections wait in the kernel's queue, in place of
being refused, for the few milliseconds until a second HAProxy with the same configuration takes them. The one that
Serve starts later takes the sockets over from that one. What is lost are the requests that the dead one held.

It ends, and its HAProxy with it, when its input does.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

RUNNING, ADMIN, PID = "running", "stand-in.sock", "stand-in.pid"
"""In the folder: pid and configuration of Serve's HAProxy, as its launcher wrote them; socket and pid of ours."""
LOOK_S, ANSWER_S = 0.2, 1.0
STAND_IN_S = 120.0
"""Longest time for Serve to start another: three looks, the actor, HAProxy; far more on a busy machine. After it
connections are refused again, since nobody will come."""
MOST_SOCKETS = 64
_PR_SET_PDEATHSIG = 1


def configuration(text: str, sockets: Mapping[tuple[str, int], int], admin: Path) -> str:
    """Return a configuration that listens on open sockets, and answers orders on another admin socket.

    Parameters
    ----------
    text
        The configuration of the one that died.
    sockets
        (host, port) -> file descriptor.
    admin
        Where orders are taken.
    """

    def on_open(found: re.Match[str]) -> str:
        place = sockets.get((found[2], int(found[3])))
        return found[0] if place is None else f"{found[1]}fd@{place}"

    text = re.sub(r"(?m)^( *stats socket )\S+", rf"\g<1>{admin}", text)
    return re.sub(r"(?m)^( *bind )([0-9.]+):([0-9]+)", on_open, text)


def admin_socket(text: str) -> Path:
    """Return where the HAProxy of a configuration takes orders."""
    found = re.search(r"(?m)^ *stats socket (\S+)", text)
    return Path(found[1]) if found else Path()


def has_servers(text: str) -> bool:
    """Return whether there is anybody to send requests to besides Serve's own proxy, which is the backup."""
    return any(line.split()[:1] == ["server"] and "backup" not in line for line in text.splitlines())


def sockets_of(admin: Path) -> list[socket.socket]:
    """Return copies of the listening sockets of the HAProxy that answers there; raise OSError where none does."""
    with socket.socket(socket.AF_UNIX) as asked:
        asked.settimeout(ANSWER_S)
        asked.connect(str(admin))
        asked.sendall(b"_getsocks\n")
        (count,) = struct.unpack("i", _exactly(asked, 4))
        _, descriptors, _, _ = socket.recv_fds(asked, 64 * MOST_SOCKETS, min(count, MOST_SOCKETS))
    found = [socket.socket(fileno=descriptor) for descriptor in descriptors]
    for each in found:
        if each.family != socket.AF_INET:
            each.close()
    return [each for each in found if each.fileno() >= 0]


def _exactly(asked: socket.socket, count: int) -> bytes:
    told = asked.recv(count, socket.MSG_WAITALL)
    if len(told) < count:
        raise ConnectionError("HAProxy does not hand its sockets out")
    return told


class StandIn:
    """Watches one HAProxy after the other.

    Parameters
    ----------
    folder
        Of the launcher.
    binary
        The program.
    """

    def __init__(self, folder: Path, binary: str) -> None:
        self._folder, self._binary = folder, binary
        self._pid, self._config = 0, Path()
        self._death = -1
        self._sockets: Sequence[socket.socket] = ()
        self._process: subprocess.Popen[bytes] | None = None
        self._leaving: list[subprocess.Popen[bytes]] = []
        self._begun_s = 0.0

    def watch(self, ended: int) -> None:
        """Go on until the file descriptor `ended` has nothing more to read."""
        poll = select.poll()
        poll.register(ended, select.POLLIN | select.POLLHUP)
        while True:
            self._follow()
            if self._death >= 0:
                poll.register(self._death, select.POLLIN)
            ready = {descriptor for descriptor, _ in poll.poll(1000 * LOOK_S)}
            if self._death >= 0:
                poll.unregister(self._death)
            if ended in ready:
                return
            if self._death in ready:
                self._died()

    def close(self) -> None:
        """End what was started, and let the sockets go."""
        self._leave()
        self._let_go()
        for process in self._leaving:
            process.kill()
            process.wait()

    def _follow(self) -> None:
        """Take note of a HAProxy that Serve has started, and of its sockets as soon as it answers."""
        pid, config = self._told()
        if pid != self._pid:
            self._pid, self._config = pid, config
            self._forget_death()
            self._let_go()
            with contextlib.suppress(ProcessLookupError):
                self._death = os.pidfd_open(pid)
        if self._death >= 0 and not self._sockets:
            with contextlib.suppress(OSError):  # it is only starting
                self._sockets = sockets_of(admin_socket(self._config.read_text()))
        serves = self._death >= 0 and bool(self._sockets)
        if self._process is not None and (serves or time.monotonic() - self._begun_s > STAND_IN_S):
            self._leave()
        self._leaving = [each for each in self._leaving if each.poll() is None]

    def _told(self) -> tuple[int, Path]:
        """Return the pid and the configuration of the newest; those known where there is none yet."""
        try:
            pid, _, config = (self._folder / RUNNING).read_text().partition(" ")
        except FileNotFoundError:
            return self._pid, self._config
        return int(pid), Path(config)

    def _died(self) -> None:
        """Stand in for the one that has died, unless it has a successor or had nothing to do."""
        self._forget_death()
        if self._told()[0] != self._pid:
            return
        text = self._config.read_text() if self._config.exists() else ""
        if self._sockets and has_servers(text):
            self._stand_in(text)
        else:
            self._let_go()

    def _stand_in(self, text: str) -> None:
        places = {each.getsockname(): each.fileno() for each in self._sockets}
        config = self._folder / "stand-in.cfg"
        config.write_text(configuration(text, places, self._folder / ADMIN))
        self._process = subprocess.Popen(  # noqa: S603 - found by its own package
            [self._binary, "-db", "-f", str(config)],
            pass_fds=tuple(places.values()),
            preexec_fn=_ended_with_parent(os.getpid()),  # noqa: PLW1509 - this process has one thread
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._begun_s = time.monotonic()
        (self._folder / PID).write_text(str(self._process.pid))

    def _leave(self) -> None:
        """Let the one that stands in finish what it has, and no more."""
        process, self._process = self._process, None
        for name in (ADMIN, PID):
            (self._folder / name).unlink(missing_ok=True)
        if process is not None:
            process.send_signal(signal.SIGUSR1)
            self._leaving.append(process)
        if self._death < 0:
            self._let_go()

    def _let_go(self) -> None:
        for each in self._sockets:
            each.close()
        self._sockets = ()

    def _forget_death(self) -> None:
        if self._death >= 0:
            os.close(self._death)
        self._death = -1


def _ended_with_parent(parent: int) -> Callable[[], None]:
    tell = ctypes.CDLL(None, use_errno=True).prctl

    def before() -> None:
        tell(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)

    return before


def start(folder: Path, binary: str) -> subprocess.Popen[bytes]:
    """Start the process; close its input to end it."""
    return subprocess.Popen(  # noqa: S603 - our own module
        [sys.executable, "-m", "cluster.stand_in", str(folder), binary],
        stdin=subprocess.PIPE,
        start_new_session=True,
    )


def main() -> None:
    """Watch until the input ends."""
    stand_in = StandIn(Path(sys.argv[1]), sys.argv[2])
    try:
        stand_in.watch(sys.stdin.fileno())
    finally:
        stand_in.close()


if __name__ == "__main__":
    main()
