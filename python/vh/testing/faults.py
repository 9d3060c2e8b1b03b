# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""A bad line between a front-end and a back-end: messages are dropped, delayed, cut, corrupted, repeated, told in another order.

What happens is a script, a line for each fault::

    drop back GET_FEATURES            # the first one that the back-end sends is lost
    delay front SET_VRING_KICK 0.05   # seconds; what the front-end sends after it waits too
    cut front SET_MEM_TABLE 20        # the connection ends after so many bytes of the message
    corrupt back GET_CONFIG 16 ff     # these bytes (hex), at that offset of the payload
    reorder front SET_VRING_NUM       # it comes after the next message
    repeat front SET_OWNER            # it comes twice
    strip front SET_VRING_CALL        # without its fds

The first message is meant; a number with # after the name is another one, #* means each: `drop back any #3`. The name `any` is any
message. Who stands on either side is not told::

    with Faults("cut front SET_MEM_TABLE 20", listen="/tmp/bad.sock", connect="/tmp/back.sock"):
        ...

The back-end's own channel passes as it is.
"""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from dataclasses import dataclass

from vh.launch import sockets
from vh.testing import wire
from vh.testing.wire import FE, Closed, Conn, Msg, ProtocolError

FRONT, BACK = "front", "back"
#: what a fault does -> how many words it takes
ACTIONS = {"drop": 0, "delay": 1, "cut": 1, "corrupt": 2, "reorder": 0, "repeat": 0, "strip": 0}


@dataclass
class Fault:
    """One line of a script."""

    action: str
    sender: str
    request: int | None = None  # None: any
    nth: int = 1  # 0: each
    seconds: float = 0.0  # delay
    at: int = 0  # cut: bytes that pass, with the header; corrupt: offset in the payload
    data: bytes = b""  # corrupt
    seen: int = 0  # messages that it was about
    done: int = 0  # times that it happened

    @classmethod
    def parse(cls, line: str) -> Fault:
        words = line.split()
        nth = next((w[1:] for w in words if w.startswith("#")), "1")
        words = [w for w in words if not w.startswith("#")]
        if len(words) < 3 or words[0] not in ACTIONS or words[1] not in (FRONT, BACK) or len(words) != 3 + ACTIONS[words[0]]:
            raise ValueError(f"{line!r}: use {', '.join(ACTIONS)}, then front or back, the name of a message, and what that takes")
        action, sender, name, *values = words
        if name != "any" and name not in FE.__members__:
            raise ValueError(f"{line!r}: there is no message {name}")
        fault = cls(action, sender, None if name == "any" else int(FE[name]), 0 if nth == "*" else int(nth))
        if action == "delay":
            fault.seconds = float(values[0])
        elif values:
            fault.at = int(values[0], 0)
            fault.data = bytes.fromhex(values[1]) if len(values) > 1 else b""
        return fault

    def meant(self, sender: str, msg: Msg) -> bool:
        """Whether it happens to this message; called once for each."""
        if sender != self.sender or self.request not in (None, msg.request):
            return False
        self.seen += 1
        if self.nth not in (0, self.seen):
            return False
        self.done += 1
        return True


def script(text: str) -> list[Fault]:
    """A line each; `;` ends one as well, `# ` begins a comment."""
    lines = [line.split("# ")[0].strip() for whole in text.splitlines() for line in whole.split(";")]
    return [Fault.parse(line) for line in lines if line]


class _Over(Exception):
    """The connection is to end."""


class _Way:
    """One direction: what waits there, in order."""

    def __init__(self, sender: str, source: Conn, sink: Conn):
        self.sender, self.source, self.sink = sender, source, sink
        self.waiting: list[tuple[float, Msg]] = []  # until when
        self.held: Msg | None = None  # comes after the next one

    def took(self, msg: Msg, faults: list[Fault], now: float) -> None:
        until = max([now, *(t for t, _ in self.waiting[-1:])])
        out, hold = [msg], False
        for fault in [f for f in faults if f.meant(self.sender, msg)]:
            if fault.action == "drop":
                msg.close()
                return
            if fault.action == "delay":
                until += fault.seconds
            elif fault.action == "cut":
                self.flush(float("inf"))
                self.sink.send_bytes((wire.header(msg.request, msg.flags, len(msg.payload)) + msg.payload)[: fault.at], msg.fds)
                msg.close()
                raise _Over
            elif fault.action == "corrupt":
                payload = bytearray(msg.payload)
                payload[fault.at : fault.at + len(fault.data)] = fault.data[: max(0, len(payload) - fault.at)]
                msg.payload = bytes(payload)
            elif fault.action == "repeat":
                out.append(Msg(msg.request, msg.flags, msg.payload, [os.dup(fd) for fd in msg.fds]))
            elif fault.action == "strip":
                msg.close()
            else:
                hold = True
        if hold and not self.held:
            self.held = msg
            return
        if self.held:
            out.append(self.held)
            self.held = None
        self.waiting += [(until, m) for m in out]

    def flush(self, now: float) -> None:
        """Send on what has waited long enough."""
        while self.waiting and self.waiting[0][0] <= now:
            with self.waiting.pop(0)[1] as msg:
                self.sink.send(msg.request, msg.payload, msg.fds, flags=msg.flags)

    def close(self) -> None:
        for _, msg in self.waiting:
            msg.close()
        if self.held:
            self.held.close()
        self.source.close()


class Faults:
    """The bad line. In a with statement it runs in a thread of its own, for one connection after the other.

    listen and connect are paths; or pair, two connected sockets, that of the front-end first. Its faults count over all
    connections, and `faults[0].done` tells how often one happened.
    """

    def __init__(self, text: str = "", *, listen: str | os.PathLike | None = None, connect: str | os.PathLike | None = None,
                 pair: tuple[socket.socket, socket.socket] | None = None, timeout: float = 5.0):  # fmt: skip
        if (listen is None or connect is None) == (pair is None):
            raise ValueError("a bad line needs listen and connect, or a pair of connected sockets")
        self.faults = script(text)
        self._connect, self._pair, self._timeout = connect, pair, timeout
        self._path = os.fsdecode(listen) if listen is not None else ""
        self._listener = sockets.listen(self._path, backlog=8) if self._path else None
        self._file = sockets.which(self._path)
        self._wake, self._woken = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name="vh.testing.faults", daemon=True)
        self.failed: BaseException | None = None

    def __enter__(self) -> Faults:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._wake.close()
        self._thread.join()
        self.close()
        if self.failed:
            raise self.failed

    def close(self) -> None:
        for sock in (self._listener, self._wake, self._woken, *(self._pair or ())):
            if sock:
                sock.close()
        sockets.remove(self._path, self._file)
        self._listener = None

    def _run(self) -> None:
        try:
            if self._pair:
                self._line(*(Conn(s, self._timeout) for s in self._pair))
            while self._listener and self._readable(None, self._listener):
                came, _ = self._listener.accept()
                front = Conn(came, self._timeout)
                try:
                    back = Conn.connect(self._connect, self._timeout)
                except OSError:  # there is nobody: as if it had hung up
                    front.close()
                    continue
                self._line(front, back)
        except BaseException as e:  # noqa: BLE001 - __exit__() raises it
            self.failed = e

    def _readable(self, timeout: float | None, *sources) -> list[int]:
        """Which of these can be read from; none of them when it is to end."""
        poll = select.poll()
        for source in (self._woken, *sources):
            poll.register(source, select.POLLIN)
        ready = [fd for fd, _ in poll.poll(None if timeout is None else max(0.0, timeout) * 1000)]
        return [] if self._woken.fileno() in ready else ready or [-1]

    def _line(self, front: Conn, back: Conn) -> None:
        """One connection, until either side ends it or a fault does."""
        ways = {front.fileno(): _Way(FRONT, front, back), back.fileno(): _Way(BACK, back, front)}
        try:
            while True:
                now = time.monotonic()
                for way in ways.values():
                    way.flush(now)
                due = [way.waiting[0][0] for way in ways.values() if way.waiting]
                ready = self._readable(min(due) - now if due else None, front, back)
                if not ready:
                    return
                for fd in ready:
                    if fd in ways:
                        ways[fd].took(ways[fd].source.recv(), self.faults, time.monotonic())
        except Closed:
            self._last(ways)
        except (_Over, ProtocolError):
            pass
        finally:
            for way in ways.values():
                way.close()

    @staticmethod
    def _last(ways: dict[int, _Way]) -> None:
        """One side has gone; the other gets what was on its way."""
        try:
            for way in ways.values():
                way.flush(float("inf"))
        except ProtocolError:
            pass
