# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""What the tests of rings and memory share: two queues in one memory, one of them to be broken, and what must follow."""

from __future__ import annotations

import contextlib
import os
import struct
import time

from vh.testing import BlkRequest, FrontEnd, Memory, Queue, wire
from vh.testing.wire import FE

NEXT, WRITE, INDIRECT = 1, 2, 4
NEEDS_RESET = 64
SECTOR = 512


def get_status(fe: FrontEnd) -> int:
    return fe.get_u64(FE.GET_STATUS)


def page_aligned(mem: Memory, size: int) -> int:
    return mem.alloc(size, 4096)


class Rig:
    """A front-end, one memory, queue 0 to be misused and queue 1 to go on."""

    def __init__(self, server, num: int = 8, size: int = 1 << 20, features=None, mems=(), start=True):
        self.stack = contextlib.ExitStack()
        self.before: bytearray | None = None  # in no_stray_writes()
        try:
            self.fe = self.stack.enter_context(server.connect())
            self.mem = self.stack.enter_context(Memory(size))
            self.mems = [self.mem, *mems]
            self.q = self.stack.enter_context(Queue(self.mem, 0, num))
            self.other = self.stack.enter_context(Queue(self.mem, 1, 16))
            self.fe.negotiate(features)
            self.fe.set_mem_table(self.mems)
            if start:
                self.fe.start(self.q)
            self.fe.start(self.other)
            self.header = self.mem.alloc(16)
            self.data = page_aligned(self.mem, 4096)
            self.status = self.mem.alloc(1, 1)
        except BaseException:
            self.stack.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.stack.close()

    # --- descriptors by hand ---

    def say_read(self, sector: int = 0, type_: int = 0) -> None:
        """A request's header, and a status that nobody has written."""
        self.mem.write(self.header, struct.pack("<IIQ", type_, 0, sector))
        self.mem.write(self.status, b"\xee")

    def read_chain(self, size: int = SECTOR) -> list[tuple[int, int, int]]:
        self.say_read()
        return [(self.header, 16, 0), (self.data, size, WRITE), (self.status, 1, WRITE)]

    def describe(self, chain, at: int = 0, table=None) -> int:
        """[(addr, len, flags)] into descriptors at, at + 1, ... of the ring's table, or of an indirect one."""
        for k, (addr, size, flags) in enumerate(chain):
            last = k == len(chain) - 1
            words = struct.pack("<QIHH", addr & (1 << 64) - 1, size, flags | (0 if last else NEXT),
                                0 if last else at + k + 1)  # fmt: skip
            self.mem.write((self.q.ring.desc if table is None else table) + 16 * (at + k), words)
        return at

    def offer(self, *heads: int, idx: int | None = None) -> None:
        """Into the available ring, and a kick. idx: what its index is to say instead of what it should."""
        ring = self.q.ring
        for head in heads:
            ring.set_avail(head)
        ring.publish(idx)
        if self.before:
            at, size = ring.avail - self.mem.gpa, 4 + 2 * ring.num
            self.before[at : at + size] = self.mem.read(ring.avail, size)
        self.q.kick()

    def indirect(self, chain, slot: int = 0, table: int | None = None, size: int | None = None, flags: int = 0) -> int:
        table = page_aligned(self.mem, 16 * len(chain)) if table is None else table
        self.describe(chain, table=table)
        self.q.ring.write_desc(slot, table, 16 * len(chain) if size is None else size, INDIRECT | flags)
        return slot

    # --- what comes of it ---

    def served(self, n: int = 1, timeout: float = 2.0) -> list[tuple[int, int]]:
        """n used entries and no error."""
        done = self.q.wait(n, timeout)
        assert len(done) == n, f"{len(done)} of {n} came back"
        assert not self.q.failed()
        return done

    def good(self) -> None:
        """One correct read through queue 0."""
        self.offer(self.describe(self.read_chain()))
        assert self.served() == [(0, SECTOR + 1)]
        assert self.mem.read(self.status, 1) == b"\0"

    def other_works(self) -> None:
        request = BlkRequest.read(self.mem, 0, SECTOR)
        self.other.submit(request.chain)
        assert len(self.other.wait(1, 2.0)) == 1 and request.status == 0

    def stops(self, *heads: int, base: int = 0, idx: int | None = None, restart: bool = True) -> str:
        """This breaks the ring, and not a byte of the memory is written. VQERR."""
        with self.no_stray_writes():
            self.offer(*heads, idx=idx)
            self.fails()
        return self.broken(base, restart, signalled=True)

    def fails(self) -> None:
        assert self.q.failed(2.0), "the err fd was not signalled"

    def broken(self, base: int, restart: bool = True, signalled: bool = False) -> str:
        """Queue 0 is: err fd, NEEDS_RESET, nothing more is used, GET_VRING_BASE says where; queue 1 is not. VQERR."""
        if not signalled:
            self.fails()
        used = self.mem.load16(self.q.ring.used + 2)
        assert get_status(self.fe) & NEEDS_RESET
        self.other_works()
        assert not self.q.failed(0.02), "the err fd was signalled again"
        self.q.kick()
        assert self.mem.load16(self.q.ring.used + 2) == used, "a broken ring goes on"
        assert self.fe.stop(self.q) == base
        if restart:
            self.restart()
        return "VQERR"

    def restart(self, base: int = 0) -> None:
        """Queue 0 once more, with a ring like new."""
        ring = self.q.ring
        for area, size in ((ring.desc, 16 * ring.num), (ring.avail, 6 + 2 * ring.num), (ring.used, 6 + 8 * ring.num)):
            self.mem.write(area, bytes(size))
        ring.avail_idx = ring.used_idx = base
        self.mem.store16(ring.avail + 2, base)
        self.mem.store16(ring.used + 2, base)
        for fd in (self.q.kick_fd, self.q.call_fd, self.q.err_fd):
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(fd)
        self.fe.start(self.q)
        self.good()

    def usable(self) -> set[int]:
        """The guest addresses of queue 0's and 1's used rings."""
        return {a for q in (self.q, self.other) for a in range(q.ring.used, q.ring.used + 6 + 8 * q.ring.num)}

    @contextlib.contextmanager
    def no_stray_writes(self, *writable: tuple[int, int]):
        """Nothing of the memory changes but the used rings and these (address, length)."""
        self.before = bytearray(self.mem.read(self.mem.gpa, self.mem.size))
        yield
        before, self.before = bytes(self.before), None
        after = self.mem.read(self.mem.gpa, self.mem.size)
        allowed = self.usable()
        for at, size in writable:
            allowed.update(range(at, at + size))
        stray = [hex(self.mem.gpa + i) for i in differences(before, after) if self.mem.gpa + i not in allowed]
        assert not stray, f"written: {stray[:8]} and {max(0, len(stray) - 8)} more"


def differences(a: bytes, b: bytes, step: int = 4096):
    for at in range(0, len(a), step):
        if a[at : at + step] != b[at : at + step]:
            yield from (i for i in range(at, min(at + step, len(a))) if a[i] != b[i])


def region(mem: Memory, **changes) -> tuple[int, int, int, int]:
    """A memory's (gpa, size, uva, offset) with some of it changed."""
    gpa, size, uva, offset = mem.region
    have = {"gpa": gpa, "size": size, "uva": uva, "offset": offset, **changes}
    return have["gpa"], have["size"], have["uva"], have["offset"]


def mem_reg(where: tuple[int, int, int, int]) -> bytes:
    gpa, size, uva, offset = where
    return wire.pack("MEM_REG", gpa=gpa, size=size, uva=uva, offset=offset)


def memfd(size: int = 0, flags: int = os.MFD_CLOEXEC) -> int:
    fd = os.memfd_create("vh-hostile", flags)
    os.ftruncate(fd, size)
    return fd


def settle(seconds: float = 0.05) -> None:
    """Time for the server to do what it must not do."""
    time.sleep(seconds)
