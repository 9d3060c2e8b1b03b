# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""The table of guest memory, and regions that come and go."""

from __future__ import annotations

import os

from vh.check.back.connect import refused
from vh.check.context import Context, Rig, fds_of
from vh.check.core import MUST, ROBUST, SHOULD, USER, VIRTIO, check, equal, require
from vh.testing import wire
from vh.testing.peer import Memory
from vh.testing.wire import FE

REGIONS = f"{USER}: Memory regions description"
SLOTS = f"{USER}: ADD_MEM_REG, REM_MEM_REG"

MIB = 1 << 20


def more(c: Context, number: int = 1, size: int = 1 << 16, offset: int = 0) -> Memory:
    """A memory behind a rig's own, the number-th, with a hole before it."""
    mem = Memory(size, gpa=number * 16 * MIB, uva=0x7F1000000000 + number * 16 * MIB, offset=offset)
    c.stack.callback(mem.close)
    return mem


def io_in(rig: Rig, mem: Memory) -> None:
    """One request whose buffers lie in that memory."""
    mem.next = mem.gpa
    request = rig.request(mem)
    rig.finished({rig.q.submit(request.chain): request})


@check("mem.table", MUST, f"{USER}: SET_MEM_TABLE", "io", nodes=True)
def table(c: Context) -> None:
    """Buffers in the region of a table are reached."""
    c.rig().io()


@check("mem.regions", MUST, REGIONS, "io", nodes=True)
def regions(c: Context) -> None:
    """Buffers are reached in each of several regions, wherever in its file a region begins."""
    mems = [more(c, 1), more(c, 2, offset=1 << 16)]
    rig = c.rig(mems=mems)
    for mem in mems:
        io_in(rig, mem)


@check("mem.eight", MUST, REGIONS, "io", nodes=True)
def eight(c: Context) -> None:
    """A table may have eight regions."""
    mems = [more(c, i) for i in range(1, 8)]
    rig = c.rig(mems=mems)
    for mem in mems:
        io_in(rig, mem)


@check("mem.adjoining", MUST, f"{VIRTIO}: 2.6 Virtqueues", "io", nodes=True)
def adjoining(c: Context) -> None:
    """A buffer is a range of guest addresses: it may begin in one region and end in the next, where they meet."""
    first = more(c, 1)
    second = c.stack.enter_context(Memory(1 << 16, gpa=first.gpa + first.size, uva=first.uva + (1 << 30)))
    rig = c.rig(mems=[first, second])
    request = rig.request()
    k = min(1, len(request.chain) - 1)
    addr, size, writable = request.chain[k]
    half = size // 2
    data = rig.mem.read(addr, size)
    first.write(second.gpa - half, data[:half])
    second.write(second.gpa, data[half:])
    request.chain[k] = (second.gpa - half, size, writable)
    head = rig.q.submit(request.chain)
    done = rig.q.wait(1, rig.wait)
    require([h for h, _ in done] == [head], "a request with a buffer across two regions did not come back")
    if c.device.name == "blk":
        wrong = request.wrong(done[0][1])
        require(not wrong, wrong)


@check("mem.replace", MUST, f"{USER}: SET_MEM_TABLE", "io", nodes=True)
def replace(c: Context) -> None:
    """A table may be replaced while rings run: they go on, and reach what is new in it."""
    rig = c.rig()
    rig.io()
    mem = more(c)
    rig.fe.set_mem_table([rig.mem, mem])
    rig.io()
    io_in(rig, mem)


@check("mem.slots", MUST, f"{USER}: GET_MAX_MEM_SLOTS", "PF.CONFIGURE_MEM_SLOTS")
def slots(c: Context) -> None:
    """GET_MAX_MEM_SLOTS tells at least one slot, and the same each time."""
    fe = c.negotiated()
    count = fe.get_u64(FE.GET_MAX_MEM_SLOTS)
    require(count >= 1, f"{count} slots")
    equal(fe.get_u64(FE.GET_MAX_MEM_SLOTS), count, "slots, asked again")


@check("mem.all-slots", MUST, SLOTS, "PF.CONFIGURE_MEM_SLOTS")
def all_slots(c: Context) -> None:
    """As many regions can be added as slots were told, and removed again. (Of more than 32, 32 are tried.)"""
    fe = c.negotiated()
    mems = [more(c, i, 4096) for i in range(1, 1 + min(32, fe.get_u64(FE.GET_MAX_MEM_SLOTS)))]
    for mem in mems:
        fe.add_mem_region(mem)
    for mem in mems:
        fe.remove_mem_region(mem)
    equal(fe.get_u64(FE.GET_FEATURES), fe.offered, "features afterwards")


@check("mem.add-remove", MUST, SLOTS, ("PF.CONFIGURE_MEM_SLOTS", "io"))
def add_remove(c: Context) -> None:
    """A region that was added while rings run is reached; one that is not used can be removed, and added again."""
    rig = c.rig()
    rig.io()
    for _ in range(2):
        mem = more(c)
        rig.fe.add_mem_region(mem)
        io_in(rig, mem)
        rig.fe.remove_mem_region(mem)
        rig.io()
        mem.close()


@check("mem.added-only", MUST, SLOTS, ("PF.CONFIGURE_MEM_SLOTS", "io"))
def added_only(c: Context) -> None:
    """Memory may be told by ADD_MEM_REG alone, without any table."""
    rig = c.rig(start=False, table=False)
    rig.fe.add_mem_region(rig.mem)
    rig.start()
    rig.io()


@check("mem.remove-with-fd", SHOULD, SLOTS, "PF.CONFIGURE_MEM_SLOTS", differs="DPDK, rust-vmm and crosvm refuse the fd")
def remove_with_fd(c: Context) -> None:
    """REM_MEM_REG has no fd, but one that comes with it, as some front-ends have it, is taken and closed."""
    fe = c.negotiated()
    mem = more(c)
    fe.add_mem_region(mem)
    fe.remove_mem_region(mem, [mem.fd])
    equal(fe.get_u64(FE.GET_FEATURES), fe.offered, "features afterwards")


@check("mem.remove-unknown", SHOULD, SLOTS, ("PF.CONFIGURE_MEM_SLOTS", "PF.REPLY_ACK"))
def remove_unknown(c: Context) -> None:
    """A region that is not there can't be removed, and the front-end is told so."""
    gpa, size, uva, offset = more(c).region
    refused(c, c.negotiated(), FE.REM_MEM_REG, wire.pack("MEM_REG", gpa=gpa, size=size, uva=uva, offset=offset))


@check("mem.overlap", SHOULD, REGIONS, ("PF.CONFIGURE_MEM_SLOTS", "PF.REPLY_ACK"))
def overlap(c: Context) -> None:
    """Regions don't overlap: one that lies over another is refused."""
    fe = c.negotiated()
    mem = more(c)
    fe.add_mem_region(mem)
    other = c.stack.enter_context(Memory(mem.size, mem.gpa + 4096, mem.uva + 4096))
    gpa, size, uva, offset = other.region
    refused(c, fe, FE.ADD_MEM_REG, wire.pack("MEM_REG", gpa=gpa, size=size, uva=uva, offset=offset), [other.fd])


@check("mem.short-file", ROBUST, REGIONS, "PF.REPLY_ACK")
def short_file(c: Context) -> None:
    """A region larger than its file is refused: to touch what lies behind the file's end would be a SIGBUS."""
    mem = more(c)
    os.ftruncate(mem.fd, 4096)
    refused(c, c.negotiated(), FE.SET_MEM_TABLE, wire.mem_table([mem.region]), [mem.fd])


@check("mem.files-closed", ROBUST, f"{USER}: SET_MEM_TABLE", "process")
def files_closed(c: Context) -> None:
    """Tables that come and go leave no file descriptors behind."""
    fe = c.negotiated()
    mems = [more(c, i) for i in range(1, 4)]

    def turn() -> int:
        for _ in range(10):
            fe.set_mem_table(mems)
        fe.get_u64(FE.GET_FEATURES)
        return fds_of(c.target.pid)

    first, last = turn(), turn()
    require(last <= first, f"{first} fds, and after ten more tables {last}")
