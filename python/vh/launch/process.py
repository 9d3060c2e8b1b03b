# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Programs that are started and ended: no zombie, no fd left, nothing of theirs left running."""
import contextlib
import os
import select
import signal
import subprocess
import threading
import time
from typing import IO, Any, Mapping, Sequence

from vh.launch.errors import not_started

KEEP = 64 << 10  # bytes of output that are remembered
TAIL = 4 << 10  # bytes of them that an error shows
_CHUNK = 64 << 10


class Child:
    """A process in a session of its own, watched by a pidfd. What it has started goes when it has gone, if @group. One with a
    @prompt has a stdin where nothing comes, since it would take an end of file for an end."""

    def __init__(self, argv: "Sequence[str]", group: bool = True, prompt: bool = False, **how: "Any") -> None:
        self.group = group
        self._lock = threading.Lock()
        try:
            self.popen = subprocess.Popen(argv, stdin=subprocess.PIPE if prompt else subprocess.DEVNULL, start_new_session=True, **how)
        except OSError as e:
            raise not_started(str(argv[0]), e) from None
        try:
            self.fd = os.pidfd_open(self.popen.pid)
        except OSError:
            self.popen.kill()
            self._reaped()
            raise

    def _reaped(self) -> None:
        self.popen.wait()
        if self.popen.stdin:
            self.popen.stdin.close()

    def ended(self, timeout: float = 0) -> bool:
        """Whether it has ended, within that time."""
        end = time.monotonic() + timeout
        while True:
            watched = select.poll()
            with self._lock:
                if self.fd < 0:
                    return True
                watched.register(self.fd, select.POLLIN)
            # In slices: another thread may reap it, and then the number of the fd is anyone's.
            left = min(end - time.monotonic(), 0.5)
            if watched.poll(max(0, left) * 1000):
                return True
            if left <= 0:
                return False

    def tell(self, number: int) -> None:
        with self._lock, contextlib.suppress(ProcessLookupError):
            if self.fd >= 0:
                signal.pidfd_send_signal(self.fd, number)

    def end(self, grace: float) -> "tuple[int, bool]":
        """SIGTERM to the program, which knows what it has started; after that time SIGKILL to all. Its exit code, and whether
        it had to be killed."""
        if not self.ended():
            self.tell(signal.SIGTERM)
        late = not self.ended(grace)
        if late:
            self.tell(signal.SIGKILL)
            self.ended(60)  # in the kernel's hands now
        return self.reap(), late

    def reap(self) -> int:
        """Of one that has ended."""
        with self._lock:
            if self.fd >= 0:
                if self.group:
                    # Before it is reaped: its number is nobody else's so long.
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.killpg(self.popen.pid, signal.SIGKILL)
                self._reaped()
                fd, self.fd = self.fd, -1
                os.close(fd)
            return int(self.popen.returncode)


class Output:
    """What a program writes, by a pipe that never fills: the end of it is remembered, all of it goes to @sink if there is one."""

    def __init__(self, sink: "IO[bytes] | None" = None) -> None:
        self._sink, self._kept, self._lock = sink, bytearray(), threading.Lock()
        self._from, self.to = os.pipe()
        self._over, self._end = os.pipe()
        self._thread: "threading.Thread | None" = None

    def begin(self) -> None:
        """When the program has its end of the pipe."""
        os.close(self.to)
        os.set_blocking(self._from, False)
        self._thread = threading.Thread(target=self._work, name="output of a back-end", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        watched = select.poll()
        watched.register(self._from, select.POLLIN)
        watched.register(self._over, select.POLLIN)
        while True:
            over = any(fd == self._over for fd, _ in watched.poll())
            try:
                data = os.read(self._from, _CHUNK)
            except BlockingIOError:
                if over:  # someone else may have the pipe still, but all that the program wrote was read
                    return
                continue
            if not data:
                return
            with self._lock:
                self._kept += data
                del self._kept[:-KEEP]
            if self._sink:
                with contextlib.suppress(OSError, ValueError):  # a full disk is no reason to hold up the program
                    self._sink.write(data)
                    self._sink.flush()

    def text(self, size: int = KEEP) -> str:
        with self._lock:
            kept = bytes(self._kept[-size:])
        cut = kept.find(b"\n") + 1 if len(kept) == size else 0  # begin with a line
        return kept[cut:].decode("utf-8", "replace")

    def finish(self) -> None:
        """When the program has ended."""
        os.close(self._end)
        if self._thread:
            self._thread.join()
        else:
            os.close(self.to)
        os.close(self._from)
        os.close(self._over)


def ask(argv: "Sequence[str]", timeout: float, limit: int,
        env: "Mapping[str, str] | None" = None) -> "tuple[int | None, bytes, str]":
    """Run a program that is to say something and end: exit code, what it wrote to stdout, the end of what it wrote to stderr. It
    is killed when it writes more than limit bytes, of which one more comes back, or takes longer: then there is no exit code."""
    errors, out = Output(), os.pipe()
    child = None
    try:
        try:
            child = Child(argv, stdout=out[1], stderr=errors.to, env=env)
        finally:
            os.close(out[1])
        errors.begin()
        said, late = _read(out[0], child, time.monotonic() + timeout, limit)
        code, _ = child.end(0) if late or len(said) > limit else (child.reap(), False)
    finally:
        os.close(out[0])
        if child:
            child.end(0)
        errors.finish()
    return None if late else code, said, errors.text(TAIL)


def _read(fd: int, child: Child, end: float, limit: int) -> "tuple[bytes, bool]":
    """All that it writes until it ends, and whether it was late."""
    os.set_blocking(fd, False)
    said = bytearray()
    watched = select.poll()
    watched.register(fd, select.POLLIN)
    watched.register(child.fd, select.POLLIN)
    while len(said) <= limit:
        left = end - time.monotonic()
        ready = watched.poll(left * 1000) if left > 0 else []
        if not ready:
            return bytes(said), True
        over = any(f == child.fd for f, _ in ready)  # before the last look
        with contextlib.suppress(BlockingIOError):
            data = os.read(fd, limit + 1 - len(said))
            said += data
            if not data:
                return bytes(said), not child.ended(end - time.monotonic())
            continue
        if over:
            break
    return bytes(said), False
