# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Back-ends that mean ill, each in its own way, for tests of front-ends.

`TRICKS` is what there is. A HostileBackEnd answers as a good one does, but for one reply, which it spoils::

    for trick in TRICKS:
        with HostileBackEnd("/tmp/bad.sock", trick, nth=3) as back:
            ...  # the front-end gets an error, in time; with TRICKS[trick].harmless it works

A front-end that hangs, crashes, or goes on with what it should not have believed has failed.
"""

from __future__ import annotations

import os
import random
import socket
import threading
import time
from dataclasses import dataclass
from typing import Callable

from vh.launch import sockets
from vh.testing import wire
from vh.testing.peer import BackEnd
from vh.testing.wire import REPLY, VERSION, Closed, Conn, Msg, ProtocolError

#: what a front-end has to do: say that it failed; work; either, but it must not hang
FAILS, WORKS, EITHER = "fails", "works", "either"
_NOISE = random.Random(1).randbytes(4096)


@dataclass(frozen=True)
class Trick:
    about: str
    outcome: str
    do: Callable[[Conn, Msg, bytes], object]  # instead of the reply with that payload

    @property
    def harmless(self) -> bool:
        return self.outcome == WORKS


def _head(msg: Msg, payload: bytes, request: int = 0, flags: int = VERSION | REPLY, size: int | None = None) -> bytes:
    return wire.header(request or msg.request, flags, len(payload) if size is None else size)


def _hang_up(conn: Conn, data: bytes = b"") -> None:
    conn.send_bytes(data)
    conn.sock.shutdown(socket.SHUT_RDWR)


def _with_fds(n: int) -> Callable[[Conn, Msg, bytes], None]:
    def do(conn: Conn, msg: Msg, payload: bytes) -> None:
        fd = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        try:
            conn.reply(msg, payload, [fd] * n)
        finally:
            os.close(fd)
    return do


def _drip(conn: Conn, msg: Msg, payload: bytes) -> None:
    for byte in _head(msg, payload) + payload:
        conn.send_bytes(bytes([byte]))
        time.sleep(0.0005)


def _late(conn: Conn, msg: Msg, payload: bytes) -> None:
    time.sleep(0.05)
    conn.reply(msg, payload)


TRICKS: dict[str, Trick] = {
    "silence": Trick("it never answers", FAILS, lambda c, m, p: None),
    "hang-up": Trick("it hangs up instead", FAILS, lambda c, m, p: _hang_up(c)),
    "half-header": Trick("it hangs up in the header", FAILS, lambda c, m, p: _hang_up(c, _head(m, p)[:7])),
    "half-payload": Trick("it hangs up in the payload", FAILS, lambda c, m, p: _hang_up(c, _head(m, p) + p[: len(p) // 2])),
    "other-request": Trick("it answers another request", FAILS, lambda c, m, p: c.send_bytes(_head(m, p, m.request + 1) + p)),
    "no-such-request": Trick("it answers one that there is not", FAILS, lambda c, m, p: c.send_bytes(_head(m, p, 0xFFFF) + p)),
    "version": Trick("it speaks version 2", FAILS, lambda c, m, p: c.send_bytes(_head(m, p, flags=2 | REPLY) + p)),
    "no-reply": Trick("its reply does not say that it is one", FAILS, lambda c, m, p: c.send_bytes(_head(m, p, flags=VERSION) + p)),
    "empty": Trick("its reply is empty", FAILS, lambda c, m, p: c.reply(m, b"")),
    "short": Trick("its reply is a byte too short", FAILS, lambda c, m, p: c.reply(m, p[:-1])),
    "long": Trick("its reply is 8 bytes too long", FAILS, lambda c, m, p: c.reply(m, p + bytes(8))),
    "huge": Trick("its reply is 4 GiB, it says", FAILS, lambda c, m, p: c.send_bytes(_head(m, p, size=0xFFFFFFFF) + p)),
    "noise": Trick("it sends noise", FAILS, lambda c, m, p: c.send_bytes(_NOISE)),
    "fd": Trick("its reply has an fd", EITHER, _with_fds(1)),
    "many-fds": Trick("its reply has as many fds as Linux lets through", EITHER, _with_fds(253)),
    "twice": Trick("it answers twice", EITHER, lambda c, m, p: (c.reply(m, p), c.reply(m, p))),
    "ones": Trick("all bits of its reply are set", EITHER, lambda c, m, p: c.reply(m, b"\xff" * len(p))),
    "zeroes": Trick("no bit of its reply is set", EITHER, lambda c, m, p: c.reply(m, bytes(len(p)))),
    "drip": Trick("its reply comes byte by byte", WORKS, _drip),
    "late": Trick("its reply comes late", WORKS, _late),
}


class _Spoiled(Conn):
    """A connection whose nth reply is done by a trick."""

    def __init__(self, sock: socket.socket, trick: Trick, nth: int):
        super().__init__(sock)
        self._trick, self._left = trick, nth

    def reply(self, msg: Msg, payload: bytes, fds=(), flags: int = VERSION | REPLY) -> None:
        self._left -= 1
        if self._left == 0:
            self._trick.do(self, msg, payload)
        else:
            super().reply(msg, payload, fds, flags)


class HostileBackEnd:
    """Listens on path and serves one connection after the other, in a thread of its own. The nth reply of each is spoiled.

    make(conn) makes a back-end of another kind, a BackEnd; it takes no requests, unless that does. done tells how often the trick was done.
    """

    def __init__(self, path: str | os.PathLike, trick: str, nth: int = 1, make: Callable[[Conn], BackEnd] = BackEnd):
        self.path, self.trick, self._nth, self._make = os.fsdecode(path), TRICKS[trick], nth, make
        self.done = 0
        self.failed: BaseException | None = None
        self._conn: Conn | None = None
        self._over = False
        self._listener = BackEnd.listen(path)
        self._file = sockets.which(self.path)
        self._thread = threading.Thread(target=self._run, name="vh.testing.hostile", daemon=True)

    def __enter__(self) -> HostileBackEnd:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over = True
        self._listener.shutdown(socket.SHUT_RDWR)
        conn = self._conn
        if conn:
            try:
                conn.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self._thread.join()
        self._listener.close()
        sockets.remove(self.path, self._file)
        if self.failed:
            raise self.failed

    def _run(self) -> None:
        while not self._over:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self._conn = _Spoiled(sock, Trick(self.trick.about, self.trick.outcome, self._did), self._nth)
            back = self._make(self._conn)
            try:
                if self._over:  # which came too late for __exit__() to see this connection
                    return
                back.serve()
            except (Closed, ProtocolError, OSError):  # the front-end did what it should
                pass
            except BaseException as e:  # noqa: BLE001 - __exit__() raises it
                self.failed = e
            finally:
                back.close()

    def _did(self, conn: Conn, msg: Msg, payload: bytes) -> None:
        self.done += 1
        self.trick.do(conn, msg, payload)
