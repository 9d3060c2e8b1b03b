# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Bytes and fds from one socket to another, exactly as they came, and cut into messages on the way.

An fd belongs to a byte of a stream. It leaves with the same byte. What can't be cut into messages any more goes on all the
same, as a pipe.
"""

from __future__ import annotations

import array
import errno
import os
import socket
import time
from collections import deque
from typing import Callable

from vh.testing import wire

_ROOM = socket.CMSG_SPACE(wire.MAX_RECEIVED_FDS * 4)
_PATIENCE = 0.1  # seconds in which a message that has begun must be whole, or it leaves in pieces
_ENOUGH = 1 << 18  # bytes that wait for a reader, after which no more is read


def _rights(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    fds: list[int] = []
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds.extend(array.array("i", data[: len(data) - len(data) % 4]))
    return fds


def close_all(fds: list[int]) -> None:
    while fds:
        os.close(fds.pop())


def _received(sock: socket.socket, n: int, flags: int) -> tuple[bytes, list[int]]:
    """The fds of a message are all here, or this fails: it is not passed on without some of them."""
    data, ancillary, flags, _ = sock.recvmsg(n, _ROOM, flags | socket.MSG_CMSG_CLOEXEC)
    fds = _rights(ancillary)
    if flags & socket.MSG_CTRUNC:
        close_all(fds)
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    return data, fds


def take(sock: socket.socket, n: int) -> tuple[bytes, list[int]]:
    """Up to n bytes, and the fds of the first of them: no other byte of these has any. b"": the end of the stream."""
    data, peeked = _received(sock, n, socket.MSG_PEEK)
    if not peeked:
        return (sock.recv(len(data)) if data else b""), []
    close_all(peeked)
    # Where in these bytes the fds are, only reading them one by one can tell. Nearly always it is the first.
    return _received(sock, 1, 0)


def gulp(sock: socket.socket, n: int) -> tuple[bytes, list[int]]:
    """Up to n bytes, and their fds, which may be those of any of them. A peek would find fds that come later, too."""
    return _received(sock, n, 0)


class Flow:
    """One direction of a connection.

    message(header, payload, fds, cut) is called for each message, before its last byte leaves: what a peer has received was
    told. The fds are what describe() gave for them; cut: the stream ended within it. A message leaves in one piece, since
    there are peers that read its head and then want all of the rest at once (DPDK); one that comes slowly leaves slowly.
    Of a payload of more than keep bytes only these are told, and it leaves as it comes; one of more than limit is none.
    swap(header, fds) may replace the fds of a message before it leaves. broken(text): from here on it is a pipe.
    """

    def __init__(self, source: socket.socket, sink: socket.socket, describe: Callable[[list[int]], list[object]],
                 message: Callable[[tuple[int, int, int], bytes, list[object], bool], None],
                 swap: Callable[[tuple[int, int, int], list[int]], None], broken: Callable[[str], None], limit: int = wire.MAX_PAYLOAD, keep: int = wire.MAX_PAYLOAD):  # fmt: skip
        self.source, self.sink = source, sink
        self.describe, self.message, self.swap, self.broken = describe, message, swap, broken
        self.limit, self.keep = limit, keep
        self.ended = False  # nothing more will come
        self.done = False  # and all of it has left
        self._out: deque[tuple[bytes, list[int]]] = deque()
        self._held: list[tuple[bytes, list[int]]] = []  # of a header that is not whole
        self._head = b""
        self._payload = b""
        self._got = 0  # bytes of the payload
        self._fds: list[object] = []
        self._header: tuple[int, int, int] | None = None
        self._pipe = False
        self._since = 0.0  # when the first of what is held came
        self._loose = False  # a message takes its time: it is not held any more

    @property
    def wants_read(self) -> bool:
        return not self.ended and sum(len(data) for data, _ in self._out) < _ENOUGH

    @property
    def _large(self) -> bool:
        """Is it within a payload of which only a part is told?"""
        return self._header is not None and self._header[2] > self.keep

    @property
    def wants_write(self) -> bool:
        return bool(self._out)

    def close(self) -> None:
        """Close the fds that never left."""
        for _, fds in (*self._out, *self._held):
            close_all(fds)
        self._out.clear()
        self._held.clear()

    def read(self) -> None:
        """Take what is there now, one piece of it, and send it on once a message is whole.

        OSError: the connection can't go on, because fds are lacking here.
        """
        try:
            data, fds = (gulp if self._large else take)(self.source, self._want())
        except BlockingIOError:
            return
        except ConnectionError:
            data, fds = b"", []
        if data:
            self._feed(data, fds)
        else:
            self._end()
        if self._header and self._got == self._header[2]:
            self._tell(False)
        self.write()

    def hurry(self) -> float | None:
        """Send a message on that has not become whole in time; else: when to ask again."""
        if not self._held:
            return None
        if time.monotonic() < self._since + _PATIENCE:
            return self._since + _PATIENCE
        self._release()
        self._loose = True
        self.write()
        return None

    def write(self) -> None:
        """Send what waits, as far as it goes."""
        while self._out:
            data, fds = self._out[0]
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
            try:
                sent = self.sink.sendmsg([data], rights, socket.MSG_NOSIGNAL)
            except BlockingIOError:
                return
            except OSError:  # nobody reads there any more
                self.close()
                break
            close_all(fds)
            self._out.popleft()
            if sent < len(data):
                self._out.appendleft((data[sent:], []))
        if self.ended and not self.done:
            self.done = True
            try:
                self.sink.shutdown(socket.SHUT_WR)
            except OSError:
                pass

    def _want(self) -> int:
        if self._pipe:
            return 1 << 16
        return min(self._header[2] - self._got, _ENOUGH) if self._header else wire.HEADER_SIZE - len(self._head)

    def _feed(self, data: bytes, fds: list[int]) -> None:
        if self._pipe:
            self._queue(data, fds)
            return
        if not self._held:
            self._since = time.monotonic()
        self._held.append((data, fds))
        self._fds += self.describe(fds)
        if self._header:
            self._payload += data[:self.keep - len(self._payload)]
            self._got += len(data)
        else:
            self._head += data
            if len(self._head) == wire.HEADER_SIZE:
                request, flags, size = wire.HEADER.unpack(self._head)
                self._header = request, flags, size
        self._loose = self._loose or self._large
        if self._header and self._header[2] > self.limit:
            self._break(f"a payload of {self._header[2]} bytes is announced")
        elif self._loose:
            self._release()

    def _queue(self, data: bytes, fds: list[int]) -> None:
        """Behind what waits; in as few pieces as the fds allow."""
        if self._out and not fds:
            before, with_it = self._out.pop()
            self._out.append((before + data, with_it))
        else:
            self._out.append((data, fds))

    def _release(self) -> None:
        """What is held may leave."""
        while self._held:
            data, fds = self._held[0]
            if self._header and fds:
                self.swap(self._header, fds)
            self._held.pop(0)
            self._queue(data, fds)

    def _break(self, why: str) -> None:
        self._pipe = True
        self._head = self._payload = b""
        self._got = 0
        self._header = None
        self._release()
        self.broken(why)

    def _end(self) -> None:
        self.ended = True
        if self._header:
            self._tell(True)
        elif self._head:
            self._break(f"the stream ends after {len(self._head)} bytes of a header")

    def _tell(self, cut: bool) -> None:
        header, payload, fds = self._header, self._payload, self._fds
        assert header is not None
        self.message(header, payload, fds, cut)
        self._release()
        self._header, self._head, self._payload, self._got, self._fds, self._loose = None, b"", b"", 0, [], False
