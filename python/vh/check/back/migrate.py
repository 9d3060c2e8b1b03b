# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""What outlives a connection or a machine: the dirty log, requests in flight, a device's state."""

from __future__ import annotations

import mmap
import os
import struct
from typing import Iterator

from vh.check.context import Context, Rig
from vh.check.core import MUST, SHOULD, USER, check, equal, require
from vh.testing import wire
from vh.testing.wire import FE, F, bits

LOG = f"{USER}: Migration"
INFLIGHT = f"{USER}: Inflight I/O tracking"
STATE = f"{USER}: Migrating back-end state"
VRING_F_LOG = 1
PAGE = 4096


class Log:
    """A dirty log in shared memory, over all that a rig has."""

    def __init__(self, rig: Rig):
        self.rig = rig
        self.size = (rig.mem.gpa + rig.mem.size) // PAGE // 8 + 8
        self.fd = os.memfd_create("log", os.MFD_CLOEXEC)
        os.ftruncate(self.fd, self.size)
        self.map = mmap.mmap(self.fd, self.size)
        rig.stack.callback(self.close)

    def close(self) -> None:
        self.map.close()
        os.close(self.fd)

    def give(self) -> None:
        """SET_LOG_BASE, which has a reply with LOG_SHMFD; what is in it differs from peer to peer."""
        self.rig.fe.call(FE.SET_LOG_BASE, wire.pack("LOG", mmap_size=self.size), [self.fd]).close()

    def dirty(self) -> set[int]:
        """Guest pages whose bit is set."""
        return {8 * i + b for i, byte in enumerate(self.map[:]) for b in range(8) if byte >> b & 1}

    def clear(self) -> None:
        self.map[:] = bytes(self.size)

    def switch(self, on: bool) -> None:
        """As a front-end does it while rings run: LOG_ALL, and then the addresses once more with their flag."""
        fe = self.rig.fe
        fe.acked = fe.acked | bits(F.LOG_ALL) if on else fe.acked & ~bits(F.LOG_ALL)
        fe.do(FE.SET_FEATURES, wire.pack("U64", value=fe.acked))
        for q in self.rig.queues.values():
            where = {"flags": VRING_F_LOG, "log": q.ring.used} if on else {}
            fe.do(FE.SET_VRING_ADDR, wire.pack("VRING_ADDR", index=q.index, **q.addr, **where))
        fe.get_u64(FE.GET_FEATURES)


def logged(c: Context) -> tuple[Rig, Log]:
    """A rig that runs, with its log switched on."""
    rig = c.rig(pf=c.usual_pf | bits(wire.PF.LOG_SHMFD))
    rig.io()
    rig.free = (rig.free + PAGE - 1) // PAGE * PAGE  # no data beside the used ring
    log = Log(rig)
    log.give()
    log.switch(True)
    return rig, log


@check("log.used-ring", MUST, LOG, ("PF.LOG_SHMFD", "F.LOG_ALL", "io"))
def used_ring(c: Context) -> None:
    """While the log is on, a write to a used ring sets the bit of its page; the log may be switched on while rings run."""
    rig, log = logged(c)
    rig.io()
    require(rig.q.ring.used // PAGE in log.dirty(), f"the used ring's page {rig.q.ring.used // PAGE:#x} is not marked; "
            f"marked are {sorted(map(hex, log.dirty()))}")  # fmt: skip


@check("log.data", MUST, LOG, ("PF.LOG_SHMFD", "F.LOG_ALL", "io"), device="blk")
def data(c: Context) -> None:
    """While the log is on, what a device writes to guest memory sets the bits of its pages."""
    rig, log = logged(c)
    rig.mem.next = rig.free
    request = rig.request()
    at = request.chain[1][0] // PAGE
    rig.finished({rig.q.submit(request.chain): request})
    require(at in log.dirty(), f"page {at:#x} was read into, and is not marked; marked are {sorted(map(hex, log.dirty()))}")


@check("log.off", SHOULD, LOG, ("PF.LOG_SHMFD", "F.LOG_ALL", "io"))
def off(c: Context) -> None:
    """A log that was switched off is not written to any more."""
    rig, log = logged(c)
    rig.io()
    log.switch(False)
    log.clear()
    rig.io()
    equal(sorted(log.dirty()), [], "pages marked after the log was switched off")


class Records:
    """The region in which a back-end records what is in flight on split rings."""

    VERSION, HEAD, DESC = 1, 16, 16

    def __init__(self, rig: Rig):
        self.num = rig.q.num
        self.queues = 1 + max(rig.queues)
        ask = wire.pack("INFLIGHT", num_queues=self.queues, queue_size=self.num)
        with rig.fe.call(FE.GET_INFLIGHT_FD, ask) as msg:
            fields = msg.fields("INFLIGHT")
            self.size, self.offset = fields["mmap_size"], fields["mmap_offset"]
            equal(len(msg.fds), 1, "fds with GET_INFLIGHT_FD's reply")
            self.fd = msg.take()[0]
        rig.stack.callback(os.close, self.fd)
        stride = self.HEAD + self.DESC * self.num
        require(self.size >= self.queues * stride, f"{self.size} bytes for {self.queues} queues of {self.num}")
        require(os.fstat(self.fd).st_size >= self.offset + self.size, "the file is shorter than the region")
        self.map = mmap.mmap(self.fd, self.size, offset=self.offset)
        rig.stack.callback(self.map.close)
        # Each queue's part begins at a multiple of 64; that is how all known back-ends lay it out.
        self.at = rig.q.index * ((stride + 63) // 64 * 64)
        self.fields = {"mmap_size": self.size, "mmap_offset": self.offset, "num_queues": self.queues, "queue_size": self.num}

    def give(self, rig: Rig) -> None:
        rig.fe.do(FE.SET_INFLIGHT_FD, wire.pack("INFLIGHT", **self.fields), [self.fd])

    def in_flight(self) -> Iterator[int]:
        """Heads that are recorded as in flight."""
        return (i for i in range(self.num) if self.map[self.at + self.HEAD + self.DESC * i])

    def pretend(self, head: int, used: int) -> None:
        """As a back-end would leave it that ended with this head in flight, and after so many used ones."""
        struct.pack_into("=QHHHH", self.map, self.at, 0, self.VERSION, self.num, 0, used)
        struct.pack_into("=B5xHQ", self.map, self.at + self.HEAD + self.DESC * head, 1, 0, 1)


@check("inflight.region", MUST, INFLIGHT, "PF.INFLIGHT_SHMFD")
def region(c: Context) -> None:
    """GET_INFLIGHT_FD gives shared memory that has room for the queues that were told, and is all zeros."""
    rig = c.rig(start=False, pf=c.usual_pf | bits(wire.PF.INFLIGHT_SHMFD))
    records = Records(rig)
    require(not any(records.map[:]), "the region is not empty")


@check("inflight.resumed", MUST, INFLIGHT, ("PF.INFLIGHT_SHMFD", "io"))
def resumed(c: Context) -> None:
    """What is recorded as in flight when rings start is done again, and what was used is not."""
    rig = c.rig(start=False, pf=c.usual_pf | bits(wire.PF.INFLIGHT_SHMFD))
    records = Records(rig)
    ring = rig.q.ring
    lost, done = rig.submit(1, kick=False), rig.submit_more()
    head, other = next(iter(lost)), next(iter(done))
    rig.mem.write(ring.used + 4, struct.pack("<II", other, 0))  # the second came back first, and then the back-end ended
    rig.mem.store16(ring.used + 2, 1)
    ring.used_idx = 1
    records.pretend(head, 1)
    records.give(rig)
    for q in rig.queues.values():
        rig.fe.start(q, base=1 if q is rig.q else 0)
        q.kick()
    rig.driver_ok()
    rig.finished(lost)
    rig.untouched()
    rig.io(2)
    equal(rig.stop(), 4, "base after 2 requests from before, and 2 new ones")


@check("inflight.recorded", MUST, INFLIGHT, ("PF.INFLIGHT_SHMFD", "io"))
def recorded(c: Context) -> None:
    """The region says how far the used ring is, and nothing is recorded as in flight when all was used."""
    rig = c.rig(start=False, pf=c.usual_pf | bits(wire.PF.INFLIGHT_SHMFD))
    records = Records(rig)
    records.give(rig)
    rig.start()
    rig.io(3)
    rig.stop()
    _, version, num, _, used = struct.unpack_from("=QHHHH", records.map, records.at)
    equal((version, num), (Records.VERSION, rig.q.num), "version and size of the region")
    equal(used, 3, "used index in the region")
    equal(list(records.in_flight()), [], "heads in flight")


@check("state.moves", MUST, STATE, ("PF.DEVICE_STATE",))
def moves(c: Context) -> None:
    """A stopped device's state can be read through a pipe to its end, and be loaded again; CHECK_DEVICE_STATE tells 0."""
    fe = c.negotiated(pf=c.usual_pf | bits(wire.PF.DEVICE_STATE))
    state = _save(fe)
    _load(fe, state)
    equal(fe.get_u64(FE.GET_FEATURES), fe.offered, "features afterwards")


def _transfer(fe: wire.Conn, direction: int) -> int:
    """SET_DEVICE_STATE_FD with one end of a pipe: its other end, or what the back-end gives in its place."""
    reads, writes = os.pipe2(os.O_CLOEXEC)
    ours, theirs = (writes, reads) if direction else (reads, writes)
    try:
        with fe.call(FE.SET_DEVICE_STATE_FD, wire.pack("DEVICE_STATE", direction=direction), [theirs]) as msg:
            require(not msg.u64 & 0xFF, f"SET_DEVICE_STATE_FD is answered by {msg.u64:#x}")
            given: list[int] = msg.take()
    except BaseException:
        os.close(ours)
        raise
    finally:
        os.close(theirs)
    if not given:
        return ours
    os.close(ours)
    return given[0]


def _save(fe: wire.Conn) -> bytes:
    with open(_transfer(fe, 0), "rb") as f:
        state = f.read()  # to the end; the time of the check limits it
    _checked(fe)
    return state


def _load(fe: wire.Conn, state: bytes) -> None:
    with open(_transfer(fe, 1), "wb") as f:
        f.write(state)
    _checked(fe)


def _checked(fe: wire.Conn) -> None:
    with fe.call(FE.CHECK_DEVICE_STATE) as msg:
        equal(msg.u64, 0, "CHECK_DEVICE_STATE")
