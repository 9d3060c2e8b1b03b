# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""What a front-end and a back-end have said to each other so far: features, memory, rings, and who owes a reply."""

from __future__ import annotations

import os
from collections import deque
from dataclasses import dataclass, field
from typing import Callable, Iterable

from vh.testing import wire
from vh.testing.wire import FE, PF, F
from vh.trace import rules
from vh.trace.message import BACK_END, BACKEND, FRONT_END, GPU, MAIN, Message, Violation

#: what is remembered of one who makes up more than anybody has: rings, regions, requests that wait for a reply
MOST_RINGS, MOST_REGIONS, MOST_OWED = 1024, 512, 1024

#: which fd of a ring a message brings
RING_FDS = {FE.SET_VRING_KICK: "kick", FE.SET_VRING_CALL: "call", FE.SET_VRING_ERR: "err"}


@dataclass
class Region:
    """A region of guest memory, and what it is in."""

    gpa: int
    size: int
    uva: int
    offset: int
    fd: int = -1  # ours, to look into it; -1: not kept

    @property
    def key(self) -> tuple[int, int, int, int]:
        return self.gpa, self.size, self.uva, self.offset


@dataclass
class Ring:
    """What was said about one ring."""

    index: int
    num: int = 0
    base: int = 0
    addr: dict[str, int] = field(default_factory=dict)
    enabled: bool = False
    started: bool = False
    fds: dict[str, int] = field(default_factory=dict)  # kick, call, err: ours, for their counters


@dataclass
class _Owed:
    message: Message
    must: bool
    own: bool
    late: bool = False


class Session:
    """One connection of a front-end.

    add() takes the messages as they come, in their order; what they break is in their .violations, and violation() is called
    for each. With keep, memory and eventfds are held to be looked into; close() lets go of them.
    """

    def __init__(self, conn: int = 1, keep: bool = False, late_ns: int = 0,
                 violation: Callable[[Violation], object] = lambda v: None):  # fmt: skip
        self.conn, self.keep, self.late_ns = conn, keep, late_ns
        self.violation = violation
        self.features: int | None = None  # offered; None: not yet
        self.acked: int | None = None
        self.pf_offered: int | None = None
        self.pf_acked = 0
        self.queues = 0  # GET_QUEUE_NUM
        self.owner = False
        self.rings: dict[int, Ring] = {}
        self.regions: list[Region] = []
        self.owed: dict[str, deque[_Owed]] = {channel: deque(maxlen=MOST_OWED) for channel in (MAIN, BACKEND, GPU)}
        self._fds: list[int] = []  # of the message in work, ours

    # --- what the rules ask ---

    def has(self, bit: F) -> bool:
        return bool((self.acked or 0) >> bit & 1)

    def has_pf(self, bit: PF) -> bool:
        return bool(self.pf_acked >> bit & 1)

    def ring(self, index: int) -> Ring:
        return self.rings.setdefault(index, Ring(index)) if index < MOST_RINGS else Ring(index)

    @property
    def started(self) -> list[Ring]:
        return [ring for ring in self.rings.values() if ring.started]

    def region_of(self, uva: int, size: int) -> Region | None:
        """The region that holds all of that range of the front-end's addresses."""
        return next((r for r in self.regions if r.uva <= uva and uva + size <= r.uva + r.size), None)

    # --- messages ---

    def add(self, m: Message, kept: Iterable[int] = ()) -> None:
        """kept: fds of ours, one for each of the message's; this takes them over."""
        self._fds = list(kept)
        try:
            if m.channel == GPU:
                self._display(m)
            elif m.is_reply:
                request = self._match(m)
                rules.check_reply(self, m, request)
                if request:
                    self._learn_reply(request.message, m)
            else:
                rules.check_request(self, m)
                self._learn(m)
                self._owe(m)
        finally:
            for fd in self._fds:
                if fd >= 0:
                    os.close(fd)
            self._fds = []

    def flag(self, rule: str, m: Message | None, text: str) -> None:
        """Rule is broken, by that message."""
        r = rules.BY_NAME[rule]
        v = Violation(rule, r.section, r.severity, text, m.number if m else 0, self.conn)
        if m:
            m.violations.append(v)
        self.violation(v)

    def _answer(self, m: Message) -> tuple[bool, bool]:
        """Must there be a reply, and is it one of the message's own?"""
        row = m.row
        asked = m.need_reply and self.has_pf(PF.REPLY_ACK)
        if row and m.channel == MAIN and m.request == FE.IOTLB_MSG:
            return asked, True  # the specification gives it a reply; back-ends exist that send it only when asked
        if row and (row.reply == "OWN" or (row.reply == "OWN_LOG" and self.has_pf(PF.LOG_SHMFD))):
            return True, True
        return asked, False

    def _display(self, m: Message) -> None:
        """On a GPU's socket the back-end asks, and says before how much it sends."""
        asked = self._match(m) if m.is_reply else None
        text = rules.of_display(m, bool(asked))
        if text:
            self.flag("display-message", m, text)
        if not m.is_reply and m.gpu_row and m.gpu_row.reply is not None:
            self.owed[GPU].append(_Owed(m, must=False, own=True))

    def _owe(self, m: Message) -> None:
        must, own = self._answer(m)
        if must or own or m.need_reply:
            self.owed[m.channel].append(_Owed(m, must and m.size is None, own))

    def _match(self, m: Message) -> _Owed | None:
        """The request that it answers: the oldest of its id. Those before it that must have been answered were not."""
        owed = self.owed[m.channel]
        place = next((i for i, o in enumerate(owed) if o.message.request == m.request), None)
        if place is None or self._sender(m) == FRONT_END:
            return None
        for _ in range(place):
            o = owed.popleft()
            if o.must:
                self.flag("reply-order", o.message, f"message {m.number} answers a later request first")
        o = owed.popleft()
        m.reply_to, m.latency_ns = o.message.number, m.time_ns - o.message.time_ns
        return o

    @staticmethod
    def _sender(m: Message) -> str:
        """Who it is that sends replies where it came from: as if every channel were the front-end's."""
        return m.sender if m.channel == MAIN else (BACK_END if m.sender == FRONT_END else FRONT_END)

    def tick(self, now_ns: int) -> int | None:
        """Flag what is not answered in time; when to look again, if ever."""
        if not self.late_ns:
            return None
        soonest: int | None = None
        for owed in self.owed.values():
            for o in owed:
                due = o.message.time_ns + self.late_ns
                if not o.must or o.late:
                    continue
                if due <= now_ns:
                    o.late = True
                    self.flag("reply-late", o.message, f"no reply after {self.late_ns / 1e9:g} s")
                elif soonest is None or due < soonest:
                    soonest = due
        return soonest

    def end(self, by: str) -> None:
        """The connection is over; @by: who closed it."""
        for channel, answers in ((MAIN, BACK_END), (BACKEND, FRONT_END)):
            for o in self.owed[channel]:
                if o.must and by == answers and channel == MAIN:
                    self.flag("reply-missing", o.message, f"the {by} closed the connection instead of answering")
        for owed in self.owed.values():
            owed.clear()

    def close(self) -> None:
        self._drop_regions(self.regions)
        for ring in self.rings.values():
            for fd in ring.fds.values():
                os.close(fd)
            ring.fds.clear()

    # --- what messages change ---

    def _fd(self, i: int = 0) -> int:
        """Our fd of the message's i-th, for keeps; -1: none."""
        if not self.keep or i >= len(self._fds):
            return -1
        fd, self._fds[i] = self._fds[i], -1
        return fd

    @staticmethod
    def _drop_regions(regions: list[Region]) -> None:
        for region in regions:
            if region.fd >= 0:
                os.close(region.fd)
        regions.clear()

    def _learn(self, m: Message) -> None:
        if m.channel == MAIN and m.sender == FRONT_END and m.size is None and m.request in _LEARN:
            try:
                _LEARN[FE(m.request)](self, m)
            except wire.ProtocolError:
                pass  # its size is wrong, and a rule said so

    def _set_features(self, m: Message) -> None:
        self.acked = m_u64(m)

    def _set_protocol_features(self, m: Message) -> None:
        self.pf_acked = m_u64(m)

    def _set_owner(self, _: Message) -> None:
        self.owner = True

    def _set_mem_table(self, m: Message) -> None:
        self._drop_regions(self.regions)
        stride = 40 if self.has_pf(PF.XEN_MMAP) else 32
        n = min(wire.unpack("VRING_STATE", m.payload[:8])["index"], (len(m.payload) - 8) // stride)
        for i in range(n):
            at = 8 + stride * i
            self._add_region(m.payload[at:at + 32], i)

    def _add_region(self, payload: bytes, i: int) -> None:
        r = wire.unpack("MEM_REG", bytes(8) + payload)
        if len(self.regions) < MOST_REGIONS:
            self.regions.append(Region(r["gpa"], r["size"], r["uva"], r["offset"], self._fd(i)))

    def _add_mem_reg(self, m: Message) -> None:
        self._add_region(m.payload[8:40], 0)

    def _rem_mem_reg(self, m: Message) -> None:
        r = wire.unpack("MEM_REG", m.payload[:40])
        gone = [x for x in self.regions if (x.gpa, x.size, x.uva) == (r["gpa"], r["size"], r["uva"])]
        self.regions = [x for x in self.regions if x not in gone]
        self._drop_regions(gone)

    def _set_vring_num(self, m: Message) -> None:
        s = wire.unpack("VRING_STATE", m.payload)
        self.ring(s["index"]).num = s["num"]

    def _set_vring_base(self, m: Message) -> None:
        s = wire.unpack("VRING_STATE", m.payload)
        self.ring(s["index"]).base = s["num"]

    def _set_vring_enable(self, m: Message) -> None:
        s = wire.unpack("VRING_STATE", m.payload)
        self.ring(s["index"]).enabled = bool(s["num"])

    def _set_vring_addr(self, m: Message) -> None:
        addr = wire.unpack("VRING_ADDR", m.payload)
        self.ring(addr["index"]).addr = addr

    def _set_vring_fd(self, m: Message) -> None:
        ring = self.ring(m_u64(m) & 0xFF)
        name = RING_FDS[FE(m.request)]
        if name in ring.fds:
            os.close(ring.fds.pop(name))
        fd = self._fd()
        if fd >= 0:
            ring.fds[name] = fd
        if name == "kick":
            ring.started = True
            if not self.has(F.PROTOCOL_FEATURES):
                ring.enabled = True

    def _vring_kick(self, m: Message) -> None:
        self.ring(wire.unpack("VRING_STATE", m.payload)["index"]).started = True

    def _get_vring_base(self, m: Message) -> None:
        self.ring(wire.unpack("VRING_STATE", m.payload)["index"]).started = False

    def _reset(self, _: Message) -> None:
        for ring in self.rings.values():
            ring.started = ring.enabled = False

    def _learn_reply(self, request: Message, m: Message) -> None:
        if request.channel != MAIN or request.request not in _LEARN_REPLY:
            return
        try:
            _LEARN_REPLY[FE(request.request)](self, m)
        except wire.ProtocolError:
            pass

    def _features(self, m: Message) -> None:
        self.features = m_u64(m)

    def _protocol_features(self, m: Message) -> None:
        self.pf_offered = m_u64(m)

    def _queue_num(self, m: Message) -> None:
        self.queues = m_u64(m)

    def _base(self, m: Message) -> None:
        s = wire.unpack("VRING_STATE", m.payload)
        self.ring(s["index"]).base = s["num"]


def m_u64(m: Message) -> int:
    return int(wire.unpack("U64", m.payload)["value"])


_LEARN: dict[FE, Callable[[Session, Message], None]] = {
    FE.SET_FEATURES: Session._set_features,
    FE.SET_PROTOCOL_FEATURES: Session._set_protocol_features,
    FE.SET_OWNER: Session._set_owner,
    FE.SET_MEM_TABLE: Session._set_mem_table,
    FE.ADD_MEM_REG: Session._add_mem_reg,
    FE.REM_MEM_REG: Session._rem_mem_reg,
    FE.SET_VRING_NUM: Session._set_vring_num,
    FE.SET_VRING_BASE: Session._set_vring_base,
    FE.SET_VRING_ENABLE: Session._set_vring_enable,
    FE.SET_VRING_ADDR: Session._set_vring_addr,
    FE.SET_VRING_KICK: Session._set_vring_fd,
    FE.SET_VRING_CALL: Session._set_vring_fd,
    FE.SET_VRING_ERR: Session._set_vring_fd,
    FE.VRING_KICK: Session._vring_kick,
    FE.GET_VRING_BASE: Session._get_vring_base,
    FE.GET_VRING_BASE_SKIP_DRAIN: Session._get_vring_base,
    FE.RESET_DEVICE: Session._reset,
    FE.RESET_OWNER: Session._reset,
}
_LEARN_REPLY: dict[FE, Callable[[Session, Message], None]] = {
    FE.GET_FEATURES: Session._features,
    FE.GET_PROTOCOL_FEATURES: Session._protocol_features,
    FE.GET_QUEUE_NUM: Session._queue_num,
    FE.GET_VRING_BASE: Session._base,
    FE.GET_VRING_BASE_SKIP_DRAIN: Session._base,
}
