# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""The library's queue as the model sees it: requests as addresses and lengths, refusals as the numbers of their checks."""
import os
import random
import struct
import sys

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("VH_BUILD", os.path.join(TOP, "build"))
os.environ.setdefault("VH_PYTHON_LIBRARY", os.path.join(BUILD, "libvh.so.1"))
sys.path[:0] = [os.path.join(TOP, "python"), os.path.join(BUILD, "python"), os.path.dirname(os.path.abspath(__file__))]

import vh  # noqa: E402  # pylint: disable=wrong-import-position
from vh import _error  # noqa: E402  # pylint: disable=wrong-import-position
from vh._lib import ffi, lib  # noqa: E402  # pylint: disable=wrong-import-position
from ring import Geometry, Guest  # noqa: E402  # pylint: disable=wrong-import-position

FULL = os.environ.get("VH_FULL") == "1"
SEED = int(os.environ.get("VH_SEED") or str(random.SystemRandom().randrange(1 << 32)), 0)
#: How many times the usual number of steps.
SCALE = float(os.environ.get("VH_MODEL_SCALE") or (40 if FULL else 1))

INDIRECT, EVENT_IDX, PACKED, IN_ORDER = (
    1 << bit for bit in (vh.F_RING_INDIRECT_DESC, vh.F_RING_EVENT_IDX, vh.F_RING_PACKED, vh.F_IN_ORDER))
REQ, SEG, CPL = struct.Struct("=QQQQQIIIHHII"), struct.Struct("=QQ"), struct.Struct("=QII")

RINGS, TABLES, BORDER = 0x10000000, 0x40000000, 0x40008000
TABLES_LEN, STRIDE, PER_TABLE = 0x90000, 16 * 40 + 24, 40
#: (address, length); the first two are neighbours, and behind each pair there is a hole
DATA = ((0x20000000, 0x8000), (0x20008000, 0x8000), (0x30000000, 0x10000))

#: what the model says is wrong -> numbers of the library's checks, split and packed
SITES = {"jump": {410}, "head": {411}, "busy": {412, 427}, "next": {413}, "loop": {414}, "order": {415},
         "indirect not negotiated": {416}, "indirect and next": {417}, "nested": {418}, "length of table": {419},
         "size of table": {420}, "table outside": {421}, "outside": {422}, "segments": {423}, "overrun": {425},
         "name": {426}, "mixed": {428}}


class Broken(Exception):
    def __init__(self, error):
        super().__init__(str(error))
        self.site = error.site


def checked(rc):
    if rc < 0:
        raise Broken(_error.last(rc))
    return rc


class World:
    """Guest memory with room for one ring, in one file."""

    def __init__(self, num):
        self.mem = vh.Memory()
        self.file = os.memfd_create("vh-model")
        regions = [(RINGS, -(-(16 * num + 2 * num + 8 * num + 64) // 4096) * 4096), *DATA,
                   (TABLES, BORDER - TABLES), (BORDER, TABLES + TABLES_LEN - BORDER)]
        os.ftruncate(self.file, sum(length for _, length in regions))
        self.ranges, offset = [], 0  # (guest address, offset in the file, length)
        for gpa, length in regions:
            self.mem.add_fd(self.file, vh.Region(gpa=gpa, uva=gpa, len=length, offset=offset))
            self.ranges.append((gpa, offset, length))
            offset += length
        self.views = [self.mem.view(gpa, length) for gpa, length in regions]
        self.guest = Guest([(gpa, view, int(ffi.cast("uintptr_t", ffi.from_buffer(view))))
                            for (gpa, _), view in zip(regions, self.views)])
        self.num = num

    def geometry(self, *features):
        driver = RINGS + 16 * self.num
        device = driver + -(-(6 + 2 * self.num) // 4) * 4
        return Geometry(self.num, RINGS, driver, device, *features)

    def table(self, name):
        """Where the indirect table of a name goes, none for large names."""
        at = STRIDE * name + name % 16
        return TABLES + at if at + 16 * PER_TABLE <= TABLES_LEN else None

    def close(self):
        self.guest.regions = ()
        for view in self.views:
            view.release()
        self.mem.close()
        os.close(self.file)


class Lib:
    """One queue."""

    def __init__(self, world, ring, packed, role, base, max_indirect=0, max_segs=0):
        self.kick, self.call = (os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC) for _ in range(2))
        features = (1 << vh.F_VERSION_1 | PACKED * packed | EVENT_IDX * ring.event_idx | INDIRECT * ring.indirect
                    | IN_ORDER * ring.in_order)
        self.queue = vh.Queue(world.mem, role=role, num=ring.num, desc=ring.desc, driver=ring.driver, device=ring.device,
                              features=features, base=base, max_segs=max_segs, kick=self.kick, call=self.call,
                              indirect=TABLES if max_indirect else 0, max_indirect=max_indirect)
        self.ptr = self.queue._ptr
        self.reqs, self.cpls = ffi.new("struct vh_req[]", 64), ffi.new("struct vh_cpl[]", 64)
        self.raw_reqs, self.raw_cpls = ffi.buffer(self.reqs), ffi.buffer(self.cpls)

    def close(self):
        self.queue.close()
        os.close(self.kick)
        os.close(self.call)

    @staticmethod
    def told(fd):
        """Whether the other side was notified since the last time."""
        try:
            return os.eventfd_read(fd) > 0
        except BlockingIOError:
            return False

    # Device side.

    def pop(self, most):
        """[(token, readable, writable, seq)]"""
        n = checked(lib.vh_queue_pop(self.ptr, self.reqs, most))
        found = []
        for token, segs, _, rd_len, wr_len, n_rd, n_wr, seq, _, flags, _, _ in REQ.iter_unpack(self.raw_reqs[:64 * n]):
            rows = list(SEG.iter_unpack(ffi.buffer(ffi.cast("char *", segs), 16 * (n_rd + n_wr))[:]))
            assert (sum(s[1] for s in rows[:n_rd]), sum(s[1] for s in rows[n_rd:])) == (rd_len, wr_len)
            assert flags == (vh.REQ_LAST if len(found) == n - 1 else 0)
            found.append((token, rows[:n_rd], rows[n_rd:], seq))
        return found

    def push(self, done):
        """[(token, written)]"""
        self.raw_cpls[:16 * len(done)] = b"".join(CPL.pack(token, written, 0) for token, written in done)
        checked(lib.vh_queue_push(self.ptr, self.cpls, len(done)))

    def unpop(self, n):
        return lib.vh_queue_unpop(self.ptr, n)

    # Driver side.

    def submit(self, wanted):
        """[(readable, writable, cookie)], parts as addresses here; how many were taken."""
        segs = [ffi.from_buffer(b"".join(SEG.pack(*s) for s in rd + wr)) for rd, wr, _ in wanted]
        rows = [REQ.pack(0, int(ffi.cast("uintptr_t", s)), user, 0, 0, len(rd), len(wr), 0, 0, 0, 0, 0)
                for s, (rd, wr, user) in zip(segs, wanted)]
        self.raw_reqs[:64 * len(rows)] = b"".join(rows)
        return checked(lib.vh_queue_submit(self.ptr, self.reqs, len(rows)))

    def reap(self, most):
        """[(cookie, written)]"""
        n = checked(lib.vh_queue_reap(self.ptr, self.cpls, most))
        return [(user, written) for user, written, _ in CPL.iter_unpack(self.raw_cpls[:16 * n])]


def apply(before, stores, areas):
    """A ring after some stores; areas: where each begins in it."""
    after = bytearray(before)
    for area, offset, data in stores:
        at = areas[area] + offset
        after[at:at + len(data)] = data
    return bytes(after)
