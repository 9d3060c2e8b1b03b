# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""What is checked, and how it is reached: a socket, a command, a device file."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import socket
import subprocess
import tempfile
import time
from typing import Any


class Unreachable(Exception):
    """The peer can't be reached, or can't be started."""


def connect(path: str, timeout: float) -> socket.socket:
    """A connected socket; waits for a listener until the timeout. A path that is too long goes by its folder."""
    deadline = time.monotonic() + timeout
    while True:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            _connect(sock, path)
            return sock
        except OSError as e:
            sock.close()
            if time.monotonic() >= deadline or not isinstance(e, (FileNotFoundError, ConnectionRefusedError, BlockingIOError)):
                raise Unreachable(f"{path}: {e.strerror or e}") from None
            time.sleep(0.01)


def _connect(sock: socket.socket, path: str) -> None:
    if path.startswith("@"):
        sock.connect("\0" + path[1:])
    elif len(os.fsencode(path)) < 108:
        sock.connect(path)
    else:
        folder = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY)
        try:
            sock.connect(f"/proc/self/fd/{folder}/{os.path.basename(path)}")
        finally:
            os.close(folder)


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
        self.log = os.path.join(self.dir.name, "log")
        self.process: subprocess.Popen[bytes] | None = None
        self.starts = 0

    def connect(self, timeout: float) -> socket.socket:
        if not self.process or self.process.poll() is not None:
            self._start()
        return connect(self.path, timeout)

    def _start(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)
        argv = [word.replace("{socket}", self.path) for word in shlex.split(self.command)]
        self.starts += 1
        with open(self.log, "wb") as out:
            try:
                # Its stdin stays open: a program with a prompt would take an end of file for "quit".
                self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=out, stderr=subprocess.STDOUT,
                                                start_new_session=True)  # fmt: skip
            except OSError as e:
                raise Unreachable(f"{argv[0]}: {e.strerror}") from None
        deadline = time.monotonic() + self.START
        while not listens(self.path):
            if self.process.poll() is not None:
                raise Unreachable(f"{argv[0]} ended with {self.process.returncode} before it listened{self.tail()}")
            if time.monotonic() > deadline:
                raise Unreachable(f"{argv[0]} did not listen at {self.path} within {self.START:.0f} s{self.tail()}")
            time.sleep(0.01)

    @property
    def pid(self) -> int:  # type: ignore[override]
        return self.process.pid if self.process and self.process.poll() is None else 0

    def tail(self, lines: int = 8) -> str:
        with open(self.log, "rb") as f:
            last = f.read().decode(errors="replace").splitlines()[-lines:]
        return "".join(f"\n    {line}" for line in last)

    def died(self) -> str:
        code = self.process.poll() if self.process else None
        if code is None or (self.one_shot and code >= 0):
            return ""
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return f"the back-end ended: {how}{self.tail()}"

    def once(self) -> None:
        """It went away by itself, and well."""
        if self.process:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.one_shot = self.process.wait(0.3) >= 0

    def settle(self, timeout: float) -> None:
        if self.one_shot and self.process:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout)

    def close(self) -> None:
        if self.process:
            for sig in (signal.SIGTERM, signal.SIGKILL):
                if self.process.poll() is None:
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(self.process.pid, sig)
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        self.process.wait(5)
            if self.process.stdin:
                self.process.stdin.close()
        self.dir.cleanup()


def listens(path: str) -> bool:
    """Whether the kernel knows a listening socket at path. Nothing is connected to it: that could be its only one."""
    with open("/proc/net/unix", encoding="utf-8", errors="replace") as f:
        for line in f:
            fields = line.split(None, 7)
            if len(fields) == 8 and fields[7].strip() == path and int(fields[3], 16) & 0x10000:
                return True
    return False


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
