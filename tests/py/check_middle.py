# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""A connection with somebody in the middle, who sees each message, and may change, drop, add or answer some."""

from __future__ import annotations

import os
import select
import socket
import threading
from typing import Callable, Iterable, Optional

from vh.testing import wire
from vh.testing.wire import Conn, Msg

#: what is done with a message: (middle, to_back, message) -> the messages that go on; None is the message itself
Alter = Callable[["Middle", bool, Msg], Optional[Iterable[Msg]]]


class Middle:
    """Between a front-end and a back-end, in a thread of its own. Bytes that are no message go through as they are."""

    def __init__(self, front: socket.socket, back: socket.socket, alter: Alter, greedy: bool = False, whole: bool = False,
                 over: Callable[["Middle", int], None] = lambda middle, partial: None):
        """greedy: what comes behind a message in the same piece is lost; whole: a piece of a message is an end. Both are
        mistakes of back-ends. over: is called at the end, with how much of a message had come; -1: bytes that are none."""
        self.seen: list[Msg] = []
        self.over, self.partial = over, 0
        self.front, self.back = Conn(front, 30), Conn(back, 30)
        self.alter, self.greedy, self.whole = alter, greedy, whole
        self._wake = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name="vh.check middle", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End both connections."""
        self._wake[1].close()
        self._thread.join(10)

    def join(self) -> None:
        """The front-end has closed: wait until that was noticed."""
        self._thread.join(10)

    # --- for alter() ---

    def answer(self, msg: Msg, payload: bytes, fds: Iterable[int] = ()) -> None:
        """To the front-end, in the back-end's place."""
        self.front.reply(msg, payload, list(fds))

    def end(self) -> None:
        """Both connections end now."""
        raise wire.Closed()

    # --- the thread ---

    def _run(self) -> None:
        try:
            while self._turn():
                pass
        except (wire.ProtocolError, OSError):
            pass
        finally:
            self.over(self, self.partial)
            self.front.close()
            self.back.close()
            self._wake[0].close()

    def _turn(self) -> bool:
        poll = select.poll()
        for it in (self.front.sock, self.back.sock, self._wake[0]):
            poll.register(it, select.POLLIN)
        ready = {fd for fd, _ in poll.poll()}
        if self._wake[0].fileno() in ready:
            return False
        for source, to_back in ((self.front, True), (self.back, False)):
            if source.fileno() in ready:
                self._pass(source, self.back if to_back else self.front, to_back)
        return True

    def _pass(self, source: Conn, sink: Conn, to_back: bool) -> None:
        if to_back and self.whole and len(source.sock.recv(wire.HEADER_SIZE, socket.MSG_PEEK)) < wire.HEADER_SIZE:
            self.end()
        try:
            head = source.sock.recv(wire.HEADER_SIZE, socket.MSG_PEEK)
            if len(head) == wire.HEADER_SIZE and wire.HEADER.unpack(head)[2] > wire.MAX_PAYLOAD:
                self.partial = -1
                self._raw(source, sink)
                return
            msg = source.recv()
        except wire.Closed as e:
            if e.partial:
                self.partial = len(e.partial) if to_back else 0
                sink.send_bytes(e.partial)
            raise
        if to_back and self.greedy:
            self._lose(source)
        with msg:
            after = self.alter(self, to_back, msg)
            for m in [msg] if after is None else after:
                sink.send(m.request, m.payload, m.fds, flags=m.flags)

    @staticmethod
    def _lose(source: Conn) -> None:
        try:
            source.sock.recv(1 << 16)
        except BlockingIOError:
            pass

    @staticmethod
    def _raw(source: Conn, sink: Conn) -> None:
        """Bytes, and fds, as they are."""
        data, fds, _, _ = socket.recv_fds(source.sock, 1 << 16, wire.MAX_RECEIVED_FDS)
        try:
            if not data:
                raise wire.Closed()
            sink.send_bytes(data, fds)
        finally:
            for fd in fds:
                os.close(fd)
