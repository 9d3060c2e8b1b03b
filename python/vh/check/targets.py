# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""What is checked, and how it is reached: a socket, a command, a device file."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import tempfile
import time
from typing import Any

from vh import launch


class Unreachable(Exception):
    """The peer can't be reached, or can't be started."""


def connect(path: str, timeout: float) -> socket.socket:
    """A connected socket; waits for a listener until the timeout."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            return launch.connect(path)
        except OSError as e:
            if time.monotonic() >= deadline or not isinstance(e, (FileNotFoundError, ConnectionRefusedError, BlockingIOError)):
                raise Unreachable(f"{path}: {e.strerror or e}") from None
            time.sleep(0.01)


class Target:
    """A back-end. `one_shot`: it serves one connection and ends; `pid`: of the process, when it was started here."""

    name = ""
    one_shot = False
    pid = 0

    def connect(self, timeout: float) -> socket.socket:
        """A new connection. Raises Unreachable."""
        raise NotImplementedError

    def died(self) -> str:
        """How the back-end came to an end that is not right, "" when it did not."""
        return ""

    def once(self) -> None:
        """A connection is over: find out whether it serves only one. Raises Unreachable when there is no other."""

    def settle(self, timeout: float) -> None:
        """All connections are closed: wait for a one-shot back-end to end."""

    def close(self) -> None:
        """End what was started."""


class Socket(Target):
    """A back-end that somebody else has started, at unix:PATH."""

    def __init__(self, path: str):
        self.name, self.path = f"unix:{path}", path

    def connect(self, timeout: float) -> socket.socket:
        return connect(self.path, timeout)

    def once(self) -> None:
        try:
            connect(self.path, 0.3).close()
        except Unreachable:
            raise Unreachable(f"{self.name} served one connection and is gone; exec: starts it for each check") from None


class Command(Target):
    """A back-end that is started from a command with {socket} in it, and again when it is gone."""

    START = 20.0  # seconds until it listens, on a busy machine

    def __init__(self, command: str):
        self.name, self.command = f"exec:{command}", command
        self.dir: Any = tempfile.TemporaryDirectory(prefix="vh-check-")
        self.path = os.path.join(self.dir.name, "s")
        self.backend: launch.Backend | None = None
        self.starts = 0

    def connect(self, timeout: float) -> socket.socket:
        if not self.backend or self.backend.done():
            self._start()
        return connect(self.path, timeout)

    def _start(self) -> None:
        self.starts += 1
        try:
            self.backend = launch.start(self.command, socket=self.path, timeout=self.START, prompt=True)
        except launch.LaunchError as e:
            raise Unreachable(str(e)) from None

    @property
    def pid(self) -> int:  # type: ignore[override]
        return self.backend.pid if self.backend and not self.backend.done() else 0

    def died(self) -> str:
        code = self.backend.returncode if self.backend else None
        if code is None or (self.one_shot and code >= 0):
            return ""
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        last = self.backend.output().splitlines()[-8:] if self.backend else ()
        return f"the back-end ended: {how}" + "".join(f"\n    {line}" for line in last)

    def once(self) -> None:
        """It went away by itself, and well."""
        if self.backend:
            with contextlib.suppress(launch.TimedOut):
                self.one_shot = self.backend.wait(0.3) >= 0

    def settle(self, timeout: float) -> None:
        if self.one_shot and self.backend:
            with contextlib.suppress(launch.TimedOut):
                self.backend.wait(timeout)

    def close(self) -> None:
        if self.backend:
            self.backend.close()
        self.dir.cleanup()


def target(text: str) -> Target:
    """unix:PATH, @NAME or exec:COMMAND as a target."""
    kind, _, rest = text.partition(":")
    if kind == "exec" and "{socket}" in rest:
        return Command(rest)
    if kind == "unix" and rest:
        return Socket(rest)
    if text.startswith("@"):
        return Socket(text)
    raise ValueError(f'{text}: what is checked is unix:PATH, or exec:"COMMAND {{socket}}"')
