# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Processes that tests start: with a deadline, a log file, and an end that always comes."""
import contextlib
import os
import signal
import subprocess
import sys
import time

sys.path.append(os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "python"))
from vh import launch  # noqa: E402  # pylint: disable=wrong-import-position


class Failed(Exception):
    """A step did not do what it had to; the text says which and where its log is."""


class Process:
    """A daemon under test, its output in a file; a context manager that ends it."""

    def __init__(self, name, argv, log_dir, pass_fds=(), stdin=subprocess.DEVNULL):
        self.name = name
        self.log = os.path.join(log_dir, name + ".log")
        with open(self.log, "wb") as out:
            self.popen = subprocess.Popen(argv, stdin=stdin, stdout=out, stderr=subprocess.STDOUT,
                                          pass_fds=pass_fds, start_new_session=True)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.end()

    def alive(self):
        return self.popen.poll() is None

    def output(self):
        with open(self.log, "rb") as f:
            return f.read().decode(errors="replace")

    def tail(self, lines=15):
        return "\n".join(self.output().splitlines()[-lines:])

    def wait(self, seconds):
        """Exit code; Failed when the process is still there after that time."""
        try:
            return self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            self.end()
            raise Failed(f"{self.name}: no end after {seconds} s\n{self.tail()}") from None

    def end(self, seconds=5):
        """SIGTERM, then SIGKILL for the whole group; the exit code."""
        for sig in (signal.SIGTERM, signal.SIGKILL):
            if self.alive():
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self.popen.pid, sig)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.popen.wait(seconds)
        return self.popen.returncode

    def wait_for(self, condition, what, seconds=10):
        """Poll until condition() holds; Failed when the process ends before or the time is up."""
        deadline = time.monotonic() + seconds
        while not condition():
            if not self.alive():
                raise Failed(f"{self.name}: ended with {self.popen.returncode} before {what}\n{self.tail()}")
            if time.monotonic() > deadline:
                raise Failed(f"{self.name}: no {what} after {seconds} s\n{self.tail()}")
            time.sleep(0.02)

    def wait_for_socket(self, path, seconds=10):
        """Until a listening socket lies at path. It is not connected to: some back-ends serve one client only."""
        self.wait_for(lambda: launch.listening(path), f"socket {path}", seconds)


def run(name, argv, log_dir, seconds=60, ok=(0,)):
    """One command to its end; its output. Failed with the end of its log when the exit code is not among ok."""
    with Process(name, argv, log_dir) as p:
        rc = p.wait(seconds)
        if rc not in ok:
            raise Failed(f"{name}: exit code {rc} of: {' '.join(argv)}\n{p.tail()}")
        return p.output()
