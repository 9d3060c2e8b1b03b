# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""What a hostile or broken front-end does. A back-end may refuse it in any way, but it lives, and serves the next one."""

from __future__ import annotations

import contextlib
import os
import struct
from typing import Callable, Iterable, Iterator, Sequence

from vh.check.context import Context, Rig, fds_of
from vh.check.core import ROBUST, USER, VIRTIO, check, require
from vh.check.wires import Wire
from vh.testing import wire
from vh.testing.peer import VRING_DESC_F_INDIRECT, VRING_DESC_F_NEXT, VRING_DESC_F_WRITE, Memory
from vh.testing.wire import FE, FRONT_END, F, bits

HEADER = f"{USER}: Header"
MEMORY = f"{USER}: Memory regions description"
RINGS = f"{USER}: Vring state and address descriptions"
SPLIT = f"{VIRTIO}: 2.7 Split Virtqueues"
FAR = 0x7FFF_FFFF_0000
U32 = 0xFFFFFFFF


@contextlib.contextmanager
def misuse(c: Context, what: str, negotiate: bool = True) -> Iterator[Wire]:
    """A connection to be misused. Afterwards the back-end serves the next one."""
    fe = c.negotiated() if negotiate else c.wire()
    with contextlib.suppress(wire.ProtocolError, OSError):
        yield fe
    fe.close()
    c.survives(what)


def fd() -> int:
    return os.memfd_create("vh-check", os.MFD_CLOEXEC)


@contextlib.contextmanager
def fds(n: int, size: int = 4096) -> Iterator[list[int]]:
    made = [fd() for _ in range(n)]
    for one in made:
        os.ftruncate(one, size)
    try:
        yield made
    finally:
        for one in made:
            os.close(one)


# --- messages -------------------------------------------------------------------------------------------------------


@check("robust.cut", ROBUST, HEADER)
def cut(c: Context) -> None:
    """The connection may end in the middle of a header, or of a payload."""
    message = wire.header(FE.SET_FEATURES, wire.VERSION, 8) + bytes(8)
    for size in (1, 11, 12, 15):
        with misuse(c, f"{size} bytes of a message, and the end", negotiate=False) as fe:
            fe.send_bytes(message[:size])


@check("robust.huge", ROBUST, HEADER)
def huge(c: Context) -> None:
    """A header may announce more than any message has."""
    for size in (4097, 0x10000, 0x7FFFFFFF, U32):
        with misuse(c, f"a payload of {size:#x} bytes is announced", negotiate=False) as fe:
            fe.send_bytes(wire.header(FE.SET_MEM_TABLE, wire.VERSION, size) + bytes(64))


@check("robust.header", ROBUST, HEADER)
def header(c: Context) -> None:
    """A header may have another version, flags without a meaning, or those of a reply."""
    for flags in (0, 2, 3, wire.VERSION | wire.REPLY, wire.VERSION | 0xFFFFFFF0, U32):
        with misuse(c, f"flags {flags:#x}") as fe:
            fe.send(FE.GET_QUEUE_NUM, flags=flags)


@check("robust.unknown", ROBUST, f"{USER}: Front-end message types")
def unknown(c: Context) -> None:
    """A request may have a number that has no meaning, with and without need_reply."""
    for request in (0, 60, 255, 0x80000000, U32):
        for need_reply in (False, True):
            with misuse(c, f"request {request}") as fe:
                fe.send(request, bytes(8), need_reply=need_reply)


@check("robust.sizes", ROBUST, f"{USER}: Front-end message types")
def sizes(c: Context) -> None:
    """A payload may have another size than its request has."""
    rows = [row for row in FRONT_END.values() if row.payload not in ("NONE", "CRYPTO")]
    for row in rows[:: 5 if c.target.one_shot else 1]:
        with misuse(c, f"{row.name} without a payload") as fe:
            fe.send(row.id)
        with misuse(c, f"{row.name} with one byte too few") as fe:
            fe.send(row.id, bytes(row.min - 1))


@check("robust.more-fds", ROBUST, f"{USER}: Communication")
def more_fds(c: Context) -> None:
    """File descriptors may come with a request that has none, or more of them than any has."""
    for request, payload, n in ((FE.GET_FEATURES, b"", 1), (FE.SET_OWNER, b"", 8), (FE.SET_OWNER, b"", 60),
                                (FE.SET_VRING_NUM, wire.pack("VRING_STATE", num=16), 3)):  # fmt: skip
        with misuse(c, f"{FE(request).name} with {n} fds") as fe, fds(n) as many:
            fe.send(request, payload, many)


@check("robust.fewer-fds", ROBUST, f"{USER}: Communication")
def fewer_fds(c: Context) -> None:
    """File descriptors may be missing where a request has some."""
    one = (0x100000, 4096, 0x100000, 0)
    for request, payload, n in ((FE.SET_MEM_TABLE, wire.mem_table([one]), 0),
                                (FE.SET_MEM_TABLE, wire.mem_table([one, (0x200000, 4096, 0x200000, 0)]), 1),
                                (FE.ADD_MEM_REG, wire.pack("MEM_REG", gpa=0x100000, size=4096, uva=0x100000), 0),
                                (FE.SET_BACKEND_REQ_FD, b"", 0), (FE.SET_LOG_FD, b"", 0),
                                (FE.SET_LOG_BASE, wire.pack("LOG", mmap_size=4096), 0),
                                (FE.SET_INFLIGHT_FD, wire.pack("INFLIGHT", mmap_size=4096, num_queues=1, queue_size=16), 0),
                                (FE.SET_VRING_KICK, wire.vring_fd(0), 0), (FE.SET_VRING_CALL, wire.vring_fd(0), 0)):  # fmt: skip
        with misuse(c, f"{FE(request).name} with {n} fds") as fe, fds(n) as some:
            fe.send(request, payload, some)


# --- memory ---------------------------------------------------------------------------------------------------------


@check("robust.table-count", ROBUST, MEMORY)
def table_count(c: Context) -> None:
    """A memory table may lie about the number of its regions."""
    for n in (0, 2, 9, 0x10000, U32):
        with misuse(c, f"a table of {n} regions that has one") as fe, fds(1) as some:
            fe.send(FE.SET_MEM_TABLE, wire.mem_table([(0x100000, 4096, 0x100000, 0)], n=n), some)


@check("robust.region", ROBUST, MEMORY)
def region(c: Context) -> None:
    """A region may be empty, wrap around, or lie where its file has nothing."""
    top = 1 << 64
    for what, one in (("an empty region", (0x100000, 0, 0x100000, 0)), ("all of the address space", (0, top - 1, 0, 0)),
                      ("guest addresses that wrap", (top - 4096, 8192, 0x100000, 0)),
                      ("user addresses that wrap", (0x100000, 8192, top - 4096, 0)),
                      ("an offset that wraps", (0x100000, 8192, 0x100000, top - 4096)),
                      ("an offset behind the file", (0x100000, 4096, 0x100000, 1 << 40)),
                      ("an offset between pages", (0x100000, 512, 0x100000, 100))):  # fmt: skip
        with misuse(c, what) as fe, fds(1) as some:
            fe.send(FE.SET_MEM_TABLE, wire.mem_table([one]), some)


@check("robust.overlap", ROBUST, MEMORY)
def overlap(c: Context) -> None:
    """Two regions of a table may be the same."""
    with misuse(c, "a region twice") as fe, fds(2) as some:
        fe.send(FE.SET_MEM_TABLE, wire.mem_table([(0x100000, 4096, 0x100000, 0)] * 2), some)


@check("robust.no-memory-file", ROBUST, MEMORY)
def no_memory_file(c: Context) -> None:
    """The fd of a region may be of something that can't be mapped."""
    ours, theirs = os.pipe2(os.O_CLOEXEC)
    try:
        with misuse(c, "a region that is a pipe") as fe:
            fe.send(FE.SET_MEM_TABLE, wire.mem_table([(0x100000, 4096, 0x100000, 0)]), [ours])
    finally:
        os.close(ours)
        os.close(theirs)


@check("robust.memory-removed", ROBUST, f"{USER}: REM_MEM_REG", ("PF.CONFIGURE_MEM_SLOTS", "io"))
def memory_removed(c: Context) -> None:
    """The region in which the rings lie may be removed while they run."""
    rig = c.rig()
    with contextlib.suppress(wire.ProtocolError):
        rig.fe.remove_mem_region(rig.mem)
        rig.submit()
        rig.q.wait(1, 0.05)
    c.survives("the rings' memory was removed")


@check("robust.memory-replaced", ROBUST, f"{USER}: SET_MEM_TABLE", "io")
def memory_replaced(c: Context) -> None:
    """A table without the region in which the rings lie may come while they run."""
    rig = c.rig()
    other = Memory(1 << 16, gpa=1 << 30, uva=1 << 40)
    c.stack.callback(other.close)
    with contextlib.suppress(wire.ProtocolError):
        rig.fe.set_mem_table([other])
        rig.submit()
        rig.q.wait(1, 0.05)
    c.survives("the rings' memory is not in the new table")


@check("robust.memory-truncated", ROBUST, MEMORY, "io")
def memory_truncated(c: Context) -> None:
    """The file behind a region may become shorter while rings run: touching what is gone is a SIGBUS."""
    rig = c.rig()
    rig.io()
    rig.submit(kick=False)
    os.ftruncate(rig.mem.fd, 0)  # from here on nothing may look into the memory here either
    rig.q.kick()
    with contextlib.suppress(wire.ProtocolError):
        rig.fe.get_u64(FE.GET_FEATURES, timeout=0.5)
    c.survives("the rings' memory was truncated")


# --- rings ----------------------------------------------------------------------------------------------------------


@check("robust.ring-index", ROBUST, RINGS)
def ring_index(c: Context) -> None:
    """A request may name a ring that does not exist."""
    state = (FE.SET_VRING_NUM, FE.SET_VRING_BASE, FE.GET_VRING_BASE, FE.SET_VRING_ENABLE)
    for index in (255, 0x10000, U32):
        for request in state:
            with misuse(c, f"{FE(request).name} of ring {index}") as fe:
                fe.send(request, wire.pack("VRING_STATE", index=index, num=1))
        with misuse(c, f"SET_VRING_ADDR of ring {index}") as fe:
            fe.send(FE.SET_VRING_ADDR, wire.pack("VRING_ADDR", index=index))
    for request in (FE.SET_VRING_KICK, FE.SET_VRING_CALL, FE.SET_VRING_ERR):
        with misuse(c, f"{FE(request).name} of ring 255") as fe, fds(1) as some:
            fe.send(request, wire.vring_fd(255), some)


@check("robust.ring-size", ROBUST, RINGS, "io")
def ring_size(c: Context) -> None:
    """A ring may have no entries, a number that is no power of two, or more than there can be."""
    for num in (0, 3, 0x8001, 0x10000, U32):
        rig = c.rig(start=False)
        with contextlib.suppress(wire.ProtocolError):
            _start(rig, num=num)
        c.survives(f"a ring of {num} entries")


@check("robust.ring-address", ROBUST, RINGS, "io")
def ring_address(c: Context) -> None:
    """A ring's parts may lie outside of memory, at its end, or at odd addresses."""
    rig = c.rig(start=False)
    mem = rig.mem
    where = (("desc", FAR), ("avail", FAR), ("used", FAR), ("desc", mem.uva + mem.size - 16), ("used", mem.uva + mem.size - 2),
             ("avail", (1 << 64) - 2), ("desc", mem.uva + 1), ("used", mem.uva + 0x801), ("avail", mem.uva + 0x801))  # fmt: skip
    rig.__exit__()
    for part, at in where:
        rig = c.rig(start=False)
        with contextlib.suppress(wire.ProtocolError):
            _start(rig, **{part: at})
        c.survives(f"{part} of a ring at {at:#x}")


def _start(rig: Rig, num: int | None = None, **addr: int) -> None:
    """A ring is started with something that is wrong, and kicked with a request in it."""
    q = rig.q
    for other in rig.queues.values():
        if other is not q:
            rig.fe.start(other)
    rig.submit(kick=False)
    send: Callable[..., None] = rig.fe.do
    send(FE.SET_VRING_NUM, wire.pack("VRING_STATE", index=q.index, num=q.num if num is None else num))
    send(FE.SET_VRING_BASE, wire.pack("VRING_STATE", index=q.index))
    send(FE.SET_VRING_ADDR, wire.pack("VRING_ADDR", index=q.index, **{**q.addr, **addr}))
    rig.fe.vring_fd(FE.SET_VRING_CALL, q.index, q.call_fd)
    rig.fe.vring_fd(FE.SET_VRING_KICK, q.index, q.kick_fd)
    rig.fe.enable(q)
    rig.driver_ok()
    q.kick()
    q.wait(1, 0.05)


@check("robust.kick-first", ROBUST, f"{USER}: SET_VRING_KICK")
def kick_first(c: Context) -> None:
    """A ring may be started before it has a size, addresses or memory."""
    with misuse(c, "a ring is started out of nothing") as fe:
        event = wire.eventfd()
        os.write(event, struct.pack("=Q", 1))
        try:
            fe.send(FE.SET_VRING_KICK, wire.vring_fd(0), [event])
            fe.send(FE.SET_VRING_ENABLE, wire.pack("VRING_STATE", num=1))
            fe.get_u64(FE.GET_FEATURES, timeout=0.5)
        finally:
            os.close(event)


@check("robust.start-twice", ROBUST, f"{USER}: Ring states", "io")
def start_twice(c: Context) -> None:
    """A ring that runs may be given a size, a base, addresses and fds once more."""
    rig = c.rig()
    rig.io()
    q, fe = rig.q, rig.fe
    with contextlib.suppress(wire.ProtocolError):
        fe.send(FE.SET_VRING_NUM, wire.pack("VRING_STATE", index=q.index, num=q.num // 2))
        fe.send(FE.SET_VRING_BASE, wire.pack("VRING_STATE", index=q.index, num=0))
        fe.send(FE.SET_VRING_ADDR, wire.pack("VRING_ADDR", index=q.index, **q.addr))
        fe.send(FE.SET_VRING_CALL, wire.vring_fd(q.index), [q.call_fd])
        fe.send(FE.SET_VRING_KICK, wire.vring_fd(q.index), [q.kick_fd])
        rig.submit()
        q.wait(1, 0.05)
    c.survives("a ring is started twice")


def broken(c: Context, what: str, descriptors: Sequence[tuple[int, int, int, int, int]], head: int = 0,
           idx: int | None = None, prepare: Callable[[Rig], Iterable[tuple[int, int, int, int, int]]] | None = None,
           features: int = 0) -> None:  # fmt: skip
    """A ring with these descriptors (index, address, length, flags, next), and a kick."""
    rig = c.rig(features=features)
    ring = rig.q.ring
    for one in [*descriptors, *(prepare(rig) if prepare else ())]:
        ring.write_desc(*one)
    ring.set_avail(head)
    ring.publish(idx)
    rig.q.kick()
    rig.q.wait(1, 0.05)
    with contextlib.suppress(wire.ProtocolError):
        rig.fe.get_u64(FE.GET_FEATURES, timeout=1.0)
    c.survives(what)


@check("robust.loop", ROBUST, f"{SPLIT}", "io", nodes=True)
def loop(c: Context) -> None:
    """A chain may lead back into itself."""
    gpa = 0x100000
    next_ = VRING_DESC_F_NEXT
    broken(c, "a descriptor that is its own next", [(0, gpa, 16, next_, 0)])
    broken(c, "two descriptors, each the other's next", [(0, gpa, 16, next_, 1), (1, gpa, 16, next_, 0)])
    write = VRING_DESC_F_NEXT | VRING_DESC_F_WRITE
    broken(c, "the same, writable", [(0, gpa, 16, next_, 1), (1, gpa + 0x80000, 512, write, 1)])


@check("robust.head", ROBUST, SPLIT, "io", nodes=True)
def head_outside(c: Context) -> None:
    """An entry of the available ring, or a next, may name a descriptor that does not exist."""
    for head in (16, 0x7FFF, 0xFFFF):
        broken(c, f"head {head} of 16", [], head)
        broken(c, f"next {head} of 16", [(0, 0x100000, 16, VRING_DESC_F_NEXT, head)])


@check("robust.jump", ROBUST, SPLIT, "io", nodes=True)
def jump(c: Context) -> None:
    """The available index may be further ahead than the ring has entries, or go backwards."""
    for idx in (17, 0x8000, 0xFFFF):
        broken(c, f"the available index is {idx}", [(0, 0x100000, 16, 0, 0)], idx=idx)


@check("robust.buffer", ROBUST, SPLIT, "io", nodes=True)
def buffer(c: Context) -> None:
    """A buffer may lie outside of memory, go beyond its end, wrap around, be empty or have four gigabytes."""
    for address, length in ((FAR, 512), (0x1FFFF0, 512), ((1 << 64) - 16, 512), (0, U32), (0x100000, 0), (0x100000, U32)):
        for flags in (0, VRING_DESC_F_WRITE):
            broken(c, f"a buffer at {address:#x} of {length} bytes", [(0, address, length, flags, 0)])


@check("robust.indirect", ROBUST, f"{VIRTIO}: 2.7.5.3 Indirect Descriptors", ("io", "F.RING_INDIRECT_DESC"), nodes=True)
def indirect(c: Context) -> None:
    """An indirect table may lie outside, have an odd size, be empty or huge, have tables in it, or go on behind it."""
    table = VRING_DESC_F_INDIRECT
    gpa = 0x180000
    for address, length in ((FAR, 16), (gpa, 0), (gpa, 15), (gpa, 17), (gpa, U32 & ~15), (0x1FFFF8, 16)):
        broken(c, f"a table at {address:#x} of {length} bytes", [(0, address, length, table, 0)])
    broken(c, "a table and a next", [(0, gpa, 16, table | VRING_DESC_F_NEXT, 1), (1, gpa, 16, 0, 0)])

    def nested(rig: Rig) -> Iterable[tuple[int, int, int, int, int]]:
        rig.mem.write(gpa, struct.pack("<QIHH", gpa, 16, table, 0))
        return [(0, gpa, 16, table, 0)]

    def looping(rig: Rig) -> Iterable[tuple[int, int, int, int, int]]:
        rig.mem.write(gpa, struct.pack("<QIHH", gpa + 64, 16, VRING_DESC_F_NEXT, 0))
        return [(0, gpa, 16, table, 0)]

    broken(c, "a table in itself", [], prepare=nested)
    broken(c, "a chain in a table that leads back", [], prepare=looping)


@check("robust.event-idx", ROBUST, f"{VIRTIO}: 2.7.7 Used Buffer Notification Suppression", ("io", "F.RING_EVENT_IDX"), nodes=True)
def event_idx(c: Context) -> None:
    """With event indices the available index may jump too."""
    broken(c, "the available index is 0x9000", [(0, 0x100000, 16, 0, 0)], idx=0x9000, features=bits(F.RING_EVENT_IDX))


# --- connections ----------------------------------------------------------------------------------------------------


@check("robust.end-anywhere", ROBUST, f"{USER}: Communication")
def end_anywhere(c: Context) -> None:
    """The connection may end after any message of a start, and in the middle of each."""
    script = _script(c)
    for n in range(0, len(script), 4 if c.target.one_shot else 1):
        for half in (False, True):
            fe = c.wire()
            with contextlib.suppress(wire.ProtocolError, OSError):
                for request, payload, _ in script[:n]:
                    fe.send(request, payload)
                request, payload, _ = script[n]
                data = wire.header(request, wire.VERSION, len(payload)) + payload
                fe.send_bytes(data[: len(data) // 2] if half else data)
            fe.close()
            c.target.settle(c.options.wait)
        c.survives(f"the end after {n} messages")


def _script(c: Context) -> list[tuple[int, bytes, int]]:
    """A start without fds: what is wrong in it is refused, what is right is done."""
    features = c.offer.features & Rig.FEATURES
    steps = [(FE.GET_FEATURES, b""), (FE.GET_PROTOCOL_FEATURES, b""), (FE.SET_PROTOCOL_FEATURES, wire.pack("U64", value=c.offer.pf & c.usual_pf)),
             (FE.SET_OWNER, b""), (FE.SET_FEATURES, wire.pack("U64", value=features)),
             (FE.SET_VRING_NUM, wire.pack("VRING_STATE", num=16)), (FE.SET_VRING_BASE, wire.pack("VRING_STATE")),
             (FE.SET_VRING_CALL, wire.vring_fd(0, nofd=True)), (FE.GET_VRING_BASE, wire.pack("VRING_STATE"))]  # fmt: skip
    return [(int(request), payload, 0) for request, payload in steps]


@check("robust.end-in-flight", ROBUST, f"{USER}: Communication", "io", nodes=True)
def end_in_flight(c: Context) -> None:
    """The connection may end while requests are in flight."""
    for _ in range(3):
        rig = c.rig(num=64)
        rig.submit(20)
        rig.__exit__()
        c.survives("the end with requests in flight")


@check("robust.files-closed", ROBUST, f"{USER}: Communication", ("process", "again", "io"))
def files_closed(c: Context) -> None:
    """Connections leave no file descriptors behind."""

    def turn() -> int:
        for _ in range(8):
            with c.rig() as rig:
                rig.io()
        with c.rig() as rig:
            rig.io()
            return fds_of(c.target.pid)

    turn()
    first, last = turn(), turn()
    require(last <= first, f"{first} fds, and nine connections later {last}")


@check("robust.second", ROBUST, f"{USER}: Communication", ("again", "io"))
def second(c: Context) -> None:
    """A second connection may come while one is served: that one goes on."""
    rig = c.rig()
    rig.io()
    with c.target.connect(c.options.wait) as other:
        other.settimeout(0.05)
        with contextlib.suppress(OSError):
            other.send(wire.header(FE.GET_FEATURES, wire.VERSION, 0))
            other.recv(64)
        rig.io(2)
    rig.io(2)
    c.survives("a second connection")
