# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""What is checked, and how it is reached: a socket, or a command."""

from __future__ import annotations

import signal
import socket
from typing import Any

from vh import launch
from vh.launch import sockets


class Unreachable(Exception):
    """The peer can't be reached, or can't be started."""


def connect(path: str, timeout: float) -> socket.socket:
    """A connected socket; waits for a listener until the timeout."""
    try:
        return launch.reach(path, timeout)
    except OSError as e:
        raise Unreachable(f"{path}: {e.strerror or e}") from None


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
        self.name, self.path = path if path.startswith("@") else f"unix:{path}", path

    def connect(self, timeout: float) -> socket.socket:
        return connect(self.path, timeout)

    def once(self) -> None:
        try:
            connect(self.path, 0.3).close()
        except Unreachable:
            raise Unreachable(f"{self.name} served one connection and is gone; exec: starts it for each check") from None


class Command(Target):
    """A back-end that is started from a command, and again when it is gone."""

    START = 20.0  # seconds until it listens, on a busy machine

    def __init__(self, command: str):
        self.name, self.command = f"exec:{command}", command
        self.running: Any = None

    def connect(self, timeout: float) -> socket.socket:
        if self.running and not self.running.done():
            try:
                return connect(self.running.path, timeout)
            except Unreachable:  # of what came before it may be about to end
                if not self._ends():
                    raise
        self.close()
        try:
            self.running = launch.start(self.command, timeout=self.START, prompt=True)
        except (launch.LaunchError, ValueError) as e:
            raise Unreachable(str(e)) from None
        return connect(str(self.running.path), timeout)

    def _ends(self, timeout: float = 1.0) -> bool:
        try:
            self.running.wait(timeout)
        except launch.TimedOut:
            return False
        return True

    @property
    def pid(self) -> int:  # type: ignore[override]
        return int(self.running.pid) if self.running and not self.running.done() else 0

    def died(self) -> str:
        if not self.running or not self.running.done():
            return ""
        code = self.running.returncode
        return "" if self.one_shot and code >= 0 else f"the back-end ended: {how(code)}{last_words(self.running)}"

    def once(self) -> None:
        self.settle(0.3)
        self.one_shot = bool(self.running and self.running.done() and self.running.returncode >= 0)

    def settle(self, timeout: float) -> None:
        if self.running and (self.one_shot or timeout < 1):
            self._ends(timeout)

    def close(self) -> None:
        if self.running:
            self.running.close()
            self.running = None


def how(code: int) -> str:
    """An exit code in words."""
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def last_words(running: Any, lines: int = 8) -> str:
    return "".join(f"\n    {line}" for line in running.output(4096).splitlines()[-lines:])


def target(text: str) -> Target:
    """The address of a socket or exec:COMMAND as a target."""
    kind, _, rest = text.partition(":")
    if kind == "exec" and rest.strip():
        return Command(rest)
    if sockets.is_one(text):
        return Socket(sockets.named(text))
    raise ValueError(f'{text}: what is checked is a socket, PATH or @NAME, or exec:"COMMAND {{socket}}"')
