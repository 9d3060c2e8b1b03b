# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Connections that remember what crossed them, for the report of a check that fails."""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass
from typing import Any, List, Sequence

from vh._event import Message
from vh._model import MSG_CHANNEL_BACKEND, MSG_CHANNEL_MAIN
from vh.testing import wire
from vh.testing.peer import FrontEnd
from vh.testing.wire import Msg


@dataclass
class Seen:
    """A message, or bytes that are none (request is -1 then), as they crossed."""

    sent: bool
    request: int
    flags: int = 0
    payload: bytes = b""
    n_fds: int = 0
    channel: int = MSG_CHANNEL_MAIN
    time_ns: int = 0
    note: str = ""

    def line(self) -> str:
        """One line of JSON as VH_TRACE has it, or a note."""
        if self.request < 0:
            return f"{'sent' if self.sent else 'received'}: {self.note}"
        return Message.of(self.sent, self.channel, self.request, self.flags, self.payload, self.n_fds, self.time_ns).json()


class History(List[Seen]):
    """What was seen last, in order, over all connections of one check."""

    LIMIT = 400

    def add(self, seen: Seen) -> None:
        seen.time_ns = time.monotonic_ns()
        self.append(seen)
        if len(self) > self.LIMIT:
            del self[: -self.LIMIT]

    def bytes(self, sent: bool, data: bytes, n_fds: int = 0, channel: int = MSG_CHANNEL_MAIN) -> None:
        """One write: a whole message, or what is to be looked at as bytes."""
        whole = len(data) >= wire.HEADER_SIZE and wire.HEADER.unpack_from(data)[2] == len(data) - wire.HEADER_SIZE
        if whole:
            request, flags, _ = wire.HEADER.unpack_from(data)
            self.add(Seen(sent, request, flags, data[wire.HEADER_SIZE :], n_fds, channel))
        else:
            shown = data[:48].hex() + ("..." if len(data) > 48 else "")
            self.add(Seen(sent, -1, n_fds=n_fds, note=f"{len(data)} bytes, {n_fds} fds: {shown}"))

    def lines(self, last: int = 20) -> list[str]:
        more = [f"({len(self) - last} messages before)"] if len(self) > last else []
        return more + [seen.line() for seen in self[-last:]]


class _Remembering(wire.Conn):
    """Over a Conn: notes what is sent, received, and how it ended."""

    history: History
    channel_id = MSG_CHANNEL_MAIN

    def send_bytes(self, data: Any, fds: Sequence[int] = (), timeout: float | None = None, ancillary: Any = None) -> None:
        self.history.bytes(True, bytes(data), len(fds), self.channel_id)
        super().send_bytes(data, fds, timeout, ancillary)

    def recv(self, timeout: float | None = None) -> Msg:
        try:
            msg = super().recv(timeout)
        except wire.ProtocolError as e:
            self.history.add(Seen(False, -1, note=str(e)))
            raise
        self.history.add(Seen(False, msg.request, msg.flags, msg.payload, len(msg.fds), self.channel_id))
        return msg


class Wire(_Remembering, FrontEnd):
    """A front-end by hand whose messages are remembered."""

    def __init__(self, sock: socket.socket, timeout: float = 5.0, history: History | None = None):
        super().__init__(sock, timeout)
        self.history = History() if history is None else history

    def recv_reply(self, request: int, timeout: float | None = None) -> Msg:
        """The reply, and when it does not come, an error that says which request it was."""
        try:
            return super().recv_reply(request, timeout)
        except wire.Timeout as e:
            raise wire.Timeout(f"no reply to {name(request)}: {e}") from None

    def set_status(self, value: int) -> None:
        """Where STATUS was negotiated there are back-ends that start nothing before DRIVER_OK."""
        if self.pf_acked & wire.bits(wire.PF.STATUS):
            self.do(wire.FE.SET_STATUS, wire.pack("U64", value=value))

    def open_channel(self) -> "Channel":
        ours, theirs = socket.socketpair()
        channel = Channel(ours, self.timeout)
        channel.history = self.history
        with theirs:
            self.do(wire.FE.SET_BACKEND_REQ_FD, b"", [theirs.fileno()])
        return channel


class Channel(_Remembering):
    """The back-end's channel, seen from the front-end."""

    channel_id = MSG_CHANNEL_BACKEND


def name(request: int) -> str:
    """The name of a front-end's request."""
    row = wire.FRONT_END.get(request)
    return row.name if row else f"request {request}"
