# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""vhctl replay: what a recorded front-end said, said again to a back-end, and what that answers compared.

fds are made anew, of the kind and size that was recorded; memory is zero, and rings are empty where SET_VRING_BASE says. Requests of
guests are no messages, so none are done.
"""

from __future__ import annotations

import json
import os
import select
import socket
import struct
import sys
import time
from dataclasses import dataclass, field
from typing import Any

from vh._command import ended
from vh.testing import wire
from vh.testing.wire import FE, Conn, F
from vh.trace.cli import DONE, UNREACHABLE, WRONG, Parser, fail, recorded
from vh.trace.files import Recording
from vh.trace.message import FRONT_END, MAIN, Fd, Message
from vh.trace.relay import close_all
from vh.trace.session import Session
from vh.trace.tracer import connected

#: fields that tell of requests, which are not replayed
_OF_REQUESTS = {FE.GET_VRING_BASE: "num", FE.GET_VRING_BASE_SKIP_DRAIN: "num"}


@dataclass
class Difference:
    """The back-end did something else than the recording has."""

    number: int  # of the message in the recording
    request: str
    what: str
    recorded: str = ""
    got: str = ""

    def __str__(self) -> str:
        compared = f": {self.got}, recorded {self.recorded}" if self.recorded or self.got else ""
        return f"{self.number:4d} {self.request}: {self.what}{compared}"


class Stop(Exception):
    """What follows makes no sense any more."""


@dataclass
class Replay:
    """The play of one recorded connection against a back-end that conn is connected to."""

    conn: Conn
    timeout: float = 5.0
    sent: int = 0
    replies: int = 0
    channel_requests: int = 0
    differences: list[Difference] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._session = Session(keep=True)
        self._held: list[int] = []  # the other ends, and what the back-end gave
        self._inflight = -1
        self._channel: Conn | None = None

    def run(self, messages: list[Message]) -> None:
        """All of it; stops early when the back-end has gone, or says nothing."""
        names = {m.number: m.name for m in messages}
        try:
            for m in messages:
                if m.channel != MAIN or m.size is not None:
                    continue
                if m.sender == FRONT_END:
                    self._send(m)
                elif m.is_reply:
                    self._compare(m, names)
        except Stop:
            pass
        finally:
            close_all(self._held)
            self._session.close()
            if self._channel:
                self._channel.close()

    def _differ(self, m: Message, what: str, recorded: object = "", got: object = "") -> None:
        self.differences.append(Difference(m.number, m.name, what, str(recorded), str(got)))

    # --- the front-end's side ---

    def _send(self, m: Message) -> None:
        fds: list[int] = []
        try:
            for fd in m.fds:
                fds.append(self._make(m, fd))
        except (OSError, OverflowError) as e:  # a file larger than any is
            close_all(fds)
            self._differ(m, f"its file descriptors can't be made: {e}")
            raise Stop from e
        try:
            self._session.add(m, [os.dup(fd) for fd in fds])
            self._empty_ring(m)
            self.conn.send_bytes(m.raw, fds, self.timeout)
            self.sent += 1
        except wire.ProtocolError as e:
            self._differ(m, f"can't be sent: {e}")
            raise Stop from e
        finally:
            close_all(fds)

    def _make(self, m: Message, fd: Fd) -> int:
        if m.request == FE.SET_INFLIGHT_FD and self._inflight >= 0:
            return os.dup(self._inflight)
        if fd.kind in ("memfd", "file"):
            made = os.memfd_create("vhctl replay", os.MFD_CLOEXEC)
            try:
                os.ftruncate(made, fd.size)
            except BaseException:
                os.close(made)
                raise
            return made
        if fd.kind == "eventfd":
            return wire.eventfd()
        if fd.kind == "socket":
            ours, theirs = socket.socketpair()
            if m.request == FE.SET_BACKEND_REQ_FD:
                if self._channel:
                    self._channel.close()
                self._channel = Conn(ours, self.timeout)
            else:
                self._held.append(ours.detach())
            return theirs.detach()
        if fd.kind == "pipe":
            reader, writer = os.pipe2(os.O_CLOEXEC)
            # Which end it was is not recorded. A state is written by who is asked to save it.
            saves = m.request != FE.SET_DEVICE_STATE_FD or m.fields.get("direction") == 0
            self._held.append(reader if saves else writer)
            return writer if saves else reader
        return os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)

    def _empty_ring(self, m: Message) -> None:
        """A split ring that begins elsewhere than at 0 has its indices there, before its address is told."""
        if m.request not in (FE.SET_VRING_ADDR, FE.SET_VRING_BASE) or self._session.has(F.RING_PACKED) or len(m.payload) < 8:
            return
        ring = self._session.rings.get(wire.unpack("VRING_STATE", m.payload[:8])["index"])
        for name in ("avail", "used") if ring and ring.addr else ():
            at = ring.addr[name] if ring else 0
            region = self._session.region_of(at, 4)
            if region and region.fd >= 0 and ring:
                try:
                    os.pwrite(region.fd, struct.pack("<H", ring.base & 0xFFFF), region.offset + at + 2 - region.uva)
                except OSError:
                    pass  # the recording has a region that its file does not

    # --- the back-end's side ---

    def _wait(self, m: Message) -> None:
        """Until something comes on the main channel; what comes on the other is answered meanwhile."""
        deadline = time.monotonic() + self.timeout
        while True:
            poll = select.poll()
            poll.register(self.conn, select.POLLIN)
            if self._channel:
                poll.register(self._channel, select.POLLIN)
            ready = {fd for fd, _ in poll.poll(max(0.0, deadline - time.monotonic()) * 1000)}
            if self.conn.fileno() in ready:
                return
            if not ready:
                self._differ(m, f"no reply after {self.timeout:g} s")
                raise Stop
            self._answer()

    def _answer(self) -> None:
        assert self._channel
        try:
            with self._channel.recv(self.timeout) as asked:
                self.channel_requests += 1
                if asked.need_reply:
                    self._channel.reply(asked, wire.pack("U64", value=0))
        except wire.ProtocolError:
            self._channel.close()
            self._channel = None

    def _compare(self, m: Message, names: dict[int, str]) -> None:
        self._wait(m)
        try:
            got = self.conn.recv(self.timeout)
        except wire.Closed as e:
            self._differ(m, f"the back-end closed the connection instead of answering {names.get(m.reply_to, m.name)}")
            raise Stop from e
        except wire.ProtocolError as e:
            self._differ(m, str(e))
            raise Stop from e
        self.replies += 1
        answer = Message(m.number, 1, 0, m.sender, m.channel, got.request, got.flags, got.payload, [Fd.of(fd) for fd in got.fds])
        fds = got.take()
        self._session.add(answer, [os.dup(fd) for fd in fds])
        if m.request == FE.GET_INFLIGHT_FD and fds:
            self._inflight = fds[0]
        self._held += fds
        if (answer.request, answer.flags) != (m.request, m.flags):
            self._differ(m, "another reply", f"{m.name}, flags {m.flags:#x}", f"{answer.name}, flags {answer.flags:#x}")
            return
        if len(answer.fds) != len(m.fds):
            self._differ(m, "file descriptors", len(m.fds), len(answer.fds))
        self._compare_payload(m, answer)

    def _compare_payload(self, m: Message, answer: Message) -> None:
        if answer.payload == m.payload:
            return
        recorded, got = m.fields, answer.fields
        for key in {**recorded, **got}:
            if recorded.get(key) == got.get(key) or (m.request in _OF_REQUESTS and key == _OF_REQUESTS[FE(m.request)]):
                continue
            self._differ(m, key, *(hex(v) if isinstance(v, int) else v for v in (recorded.get(key, "nothing"),
                                                                                 got.get(key, "nothing"))))


def replay(recording: Recording, target: str, conn: int = 1, timeout: float = 5.0) -> Replay:
    """That connection of a recording, said again to the back-end that listens at target."""
    with Conn(connected(target, timeout), timeout) as there:
        play = Replay(there, timeout)
        play.run([m for m in recording.messages if m.conn == conn])
        return play


def _report(play: Replay, as_json: bool) -> None:
    if as_json:
        out: dict[str, Any] = {"sent": play.sent, "replies": play.replies, "channel_requests": play.channel_requests}
        print(json.dumps({**out, "differences": [vars(d) for d in play.differences]}))
        return
    for d in play.differences:
        print(d)
    result = "as recorded" if not play.differences else f"{len(play.differences)} differences"
    print(f"{play.sent} messages sent, {play.replies} replies: {result}")


def main(argv: list[str] | None = None) -> int:
    p = Parser(prog="vhctl replay", description="Say what a recorded front-end said to a back-end, and compare its replies. It uses "
               "up a connection.")
    p.add_argument("file", metavar="FILE", help="of vhctl trace --jsonl or --pcapng")
    p.add_argument("target", metavar="ADDRESS", help="where the back-end listens")
    p.add_argument("--conn", type=int, default=1, metavar="N", help="which connection of the recording (1)")
    p.add_argument("--timeout", type=float, default=5000, metavar="MS", help="for a reply, 5000")
    p.add_argument("--json", action="store_true")
    args = p.parse_args(argv)
    recording = recorded(p, args.file)
    if not any(m.conn == args.conn for m in recording.messages):
        return fail(p, WRONG, f"{args.file}: it has no messages of connection {args.conn}")
    try:
        play = replay(recording, args.target, args.conn, args.timeout / 1000)
    except OSError as e:
        return fail(p, UNREACHABLE, f"{args.target}: {e.strerror or e}")
    _report(play, args.json)
    return WRONG if play.differences else DONE


if __name__ == "__main__":
    sys.exit(ended("vhctl replay", main))
