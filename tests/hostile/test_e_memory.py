# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Section E: memory tables and mappings."""

import contextlib
import fcntl
import os
import random
import re
import resource
import select
import socket
import struct
import time
from pathlib import Path

import pytest
from lib import FULL, observe, outcome, refused
from rig import SECTOR, WRITE, Rig, mem_reg, memfd, region
from vh.testing import BlkRequest, Memory, Queue, wire
from vh.testing.wire import FE

TOP = 1 << 64
PAGE = 4096
SLOTS = 509


def both(server, regions, fds):
    """A table of these regions, and the last of them added to the others: how the two are refused, or OK."""
    seen = {refused(server, FE.SET_MEM_TABLE, wire.mem_table(regions), fds)}

    def others(fe):
        if regions[:-1]:
            fe.do(FE.SET_MEM_TABLE, wire.mem_table(regions[:-1]), fds[:-1])

    seen.add(refused(server, FE.ADD_MEM_REG, mem_reg(regions[-1]), fds[-1:], prepare=others))
    assert len(seen) == 1, seen
    return seen.pop()


@contextlib.contextmanager
def files(n, size=1 << 16):
    fds = [memfd(size) for _ in range(n)]
    try:
        yield fds
    finally:
        for fd in fds:
            os.close(fd)


def test_case_078_a_region_of_no_bytes(server):
    with files(1) as fds:
        assert both(server, [(0x100000, 0, 0x7F0000000000, 0)], fds) == outcome(78)
        assert both(server, [(0, 0, 0, 0)], fds) == outcome(78)


OVERFLOWS = [
    (TOP - PAGE, 2 * PAGE, 0, 0),
    (TOP - 1, PAGE, 0, 0),
    (TOP - PAGE, PAGE, 0, 0),
    (0, 2 * PAGE, TOP - PAGE, 0),
    (0, PAGE, TOP - 1, 0),
    (0, PAGE, 0, TOP - PAGE),
    (0, 2 * PAGE, 0, TOP - PAGE),
    (0, PAGE, 0, TOP - 16),
    (0, PAGE, 0, (1 << 63) - PAGE),
    (0, PAGE, 0, 1 << 63),
    (0, TOP - 1, 0, 0),
    (0, TOP - PAGE, 0, 0),
    (0, TOP - PAGE + 1, 0, 0),
    (0, TOP - PAGE, 0, PAGE),
    (0, 1 << 63, 0, 0),
    (0, (1 << 63) - 1, 0, 0),
    (1 << 63, 1 << 63, 1 << 63, 0),
]


@pytest.mark.parametrize("numbers", OVERFLOWS, ids=lambda r: "-".join(f"{v:x}" for v in r))
def test_case_079_sums_that_wrap(server, numbers):
    with files(1) as fds:
        assert both(server, [numbers], fds) == outcome(79)


A = (0x100000, 0x8000, 0x7F0000000000, 0)
OVERLAPS = {
    "identical": (0, 0x8000),
    "the end": (0x7FF0, 0x8000),
    "the start": (-0x7FF0, 0x8000),
    "inside": (0x1000, 0x1000),
    "around": (-0x1000, 0xA000),
}
TOUCHING = {"behind": (0x8000, 0x8000), "before": (-0x8000, 0x8000)}


@pytest.mark.parametrize("where", OVERLAPS)
@pytest.mark.parametrize("space", ["gpa", "uva"])
@pytest.mark.parametrize("turned", [False, True])
def test_case_080_overlaps(server, where, space, turned):
    by, size = OVERLAPS[where]
    far = 1 << 40
    b = (A[0] + (by if space == "gpa" else far), size, A[2] + (by if space == "uva" else far), 0)
    with files(2) as fds:
        assert both(server, [b, A] if turned else [A, b], fds) == outcome("80:overlap")


@pytest.mark.parametrize("where", TOUCHING)
def test_case_080_neighbours(server, where):
    by, size = TOUCHING[where]
    with files(2) as fds:
        assert both(server, [A, (A[0] + by, size, A[2] + by, 0)], fds) == outcome("80:touching")


def slot(i):
    """One page of its own, every other page of the file."""
    return 0x10000000 + i * 2 * PAGE, PAGE, 0x600000000000 + i * 4 * PAGE, 2 * i * PAGE


def test_case_081_as_many_slots_as_there_are(server):
    fd = memfd(2 * (SLOTS + 1) * PAGE)
    try:
        with server.connect() as fe:
            fe.negotiate()
            assert fe.get_u64(FE.GET_MAX_MEM_SLOTS) == SLOTS
            for i in range(SLOTS):
                assert observe(fe, FE.ADD_MEM_REG, mem_reg(slot(i)), [fd], need_reply=True) == "OK"
            maps = server.maps()
            assert observe(fe, FE.ADD_MEM_REG, mem_reg(slot(SLOTS)), [fd], need_reply=True) == "NACK"
            assert server.maps() == maps
            assert observe(fe, FE.REM_MEM_REG, mem_reg(slot(7)), need_reply=True) == "OK"
            assert observe(fe, FE.ADD_MEM_REG, mem_reg(slot(SLOTS)), [fd], need_reply=True) == "OK"
            assert observe(fe, FE.ADD_MEM_REG, mem_reg(slot(7)), [fd]) == "CLOSE"
    finally:
        os.close(fd)
    assert outcome("81:limit") == "N/C"


def test_case_081_added_and_removed_at_random(server):
    """Against a model; every now and then the device reads into a region that is there, or into one that is not."""
    rounds, slots = (100000 if FULL else 1500), 40
    r = random.Random(81)
    with Rig(server) as rig, Memory(2 * slots * PAGE) as pages:
        there = set()
        for n in range(rounds):
            i = r.randrange(slots)
            adds = r.random() < 0.5
            request = FE.ADD_MEM_REG if adds else FE.REM_MEM_REG
            status = rig.fe.status(request, mem_reg(slot(i)), [pages.fd] if adds else [])
            assert (status == 0) == ((i in there) != adds)
            (there.add if adds else there.discard)(i)
            if n % 50:
                continue
            chain = rig.read_chain()
            chain[1] = (slot(i)[0] + PAGE - SECTOR, SECTOR, WRITE)
            rig.offer(rig.describe(chain))
            if i in there:
                assert rig.served() == [(0, SECTOR + 1)]
            else:
                rig.fails()
                rig.fe.stop(rig.q)
                rig.restart()
        assert len([m for m in server.maps().elements() if "vh-testing" in m]) == len(there) + 1
    assert outcome("81:random") == "OK"


@pytest.mark.parametrize("offset", [PAGE, 512, 16, PAGE - 16, 3 * PAGE + 0x230])
def test_case_082_offsets_that_are_not_page_aligned(server, offset):
    with Memory(1 << 16, gpa=0x300000 + offset % PAGE, uva=0x7E0000000000 + offset, offset=offset) as odd:
        with Rig(server, mems=[odd]) as rig:
            content = os.urandom(SECTOR)
            at = odd.gpa + odd.size - SECTOR
            odd.write(at, content)
            rig.mem.write(rig.header, struct.pack("<IIQ", 1, 0, 3))
            rig.offer(rig.describe([(rig.header, 16, 0), (at, SECTOR, 0), (rig.status, 1, WRITE)]))
            assert rig.served() == [(0, 1)]
            chain = rig.read_chain()
            rig.say_read(3)
            chain[1] = (odd.gpa, SECTOR, WRITE)
            rig.offer(rig.describe(chain))
            assert rig.served() == [(0, SECTOR + 1)]
            assert odd.read(odd.gpa, SECTOR) == content
            assert bytes(odd.view[:offset]) == bytes(offset), "written before the region"
            chain[1] = (odd.gpa - 16, 16, WRITE)
            assert rig.stops(rig.describe(chain), base=2) == "VQERR"
    assert outcome("82:unaligned") == "OK"


@pytest.mark.parametrize("offset", [1, 2, 4, 8, 15, PAGE + 1])
def test_case_082_offsets_that_would_misalign_rings(server, offset):
    with files(1) as fds:
        assert both(server, [(0x100000, PAGE, 0x7F0000000000, offset)], fds) == outcome("82:modulo 16")


@pytest.mark.parametrize("offset", [0, 1 << 40])
def test_case_083_a_terabyte(server, offset):
    size = 1 << 40
    fd = memfd(offset + size)
    try:
        with Rig(server) as rig:
            before, started = server.rss(), time.monotonic()
            where = (1 << 41, size, 0x100000000000, offset)
            assert rig.fe.status(FE.ADD_MEM_REG, mem_reg(where), [fd]) == 0
            chain = rig.read_chain()
            chain[1] = (where[0] + size - SECTOR, SECTOR, WRITE)
            rig.offer(rig.describe(chain))
            assert rig.served() == [(0, SECTOR + 1)]
            assert rig.fe.status(FE.REM_MEM_REG, mem_reg(where)) == 0
            assert time.monotonic() - started < 2
            assert server.rss() - before < 16 << 20
            rig.good()
        assert os.fstat(fd).st_blocks <= 4096, "the file was filled"
    finally:
        os.close(fd)
    assert outcome(83) == "OK"


@pytest.mark.parametrize("kind", ["memfd", "file"])
@pytest.mark.parametrize("size,offset", [(PAGE + 1, 0), (PAGE, 1 << 12), (1 << 20, 0), (PAGE, 1 << 40), (16, PAGE - 0)])
def test_case_084_more_than_the_file_has(server, tmp_path, kind, size, offset):
    fd = memfd(PAGE) if kind == "memfd" else os.open(tmp_path / "short", os.O_RDWR | os.O_CREAT)
    try:
        os.ftruncate(fd, PAGE)
        assert both(server, [(0x100000, size, 0x7F0000000000, offset)], [fd]) == outcome(84)
    finally:
        os.close(fd)


def test_case_089_what_can_shrink_is_accepted_by_default(server):
    sealed = memfd(1 << 16, os.MFD_ALLOW_SEALING)
    fcntl.fcntl(sealed, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
    try:
        with files(1) as fds:
            assert both(server, [A], fds) == both(server, [A], [sealed]) == outcome("89:default")
    finally:
        os.close(sealed)


@pytest.mark.parametrize("why", ["read-only", "write-only", "sealed against writing", "O_PATH"])
def test_case_090_files_that_cant_be_written(server, tmp_path, why):
    path = tmp_path / "file"
    path.write_bytes(bytes(1 << 16))
    if why == "sealed against writing":
        fd = memfd(1 << 16, os.MFD_ALLOW_SEALING)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)
    else:
        fd = os.open(path, {"read-only": os.O_RDONLY, "write-only": os.O_WRONLY, "O_PATH": os.O_PATH}[why])
    try:
        assert both(server, [A], [fd]) == outcome("90:no write")
    finally:
        os.close(fd)


def test_case_090_no_right_to_execute_is_needed(server):
    """A memfd that can't be executed, as on a file system that is mounted noexec."""
    noexec_seal = 8
    fd = memfd(1 << 16, os.MFD_CLOEXEC | noexec_seal)
    try:
        assert both(server, [A], [fd]) == outcome("90:noexec")
    finally:
        os.close(fd)


def not_memory(kind, stack):
    """fds that are no memory; the stack closes them."""
    if kind == "pipe":
        fds = os.pipe()
    elif kind == "socket":
        pair = socket.socketpair()
        fds = [s.detach() for s in pair]
    elif kind == "eventfd":
        fds = [os.eventfd(0)]
    elif kind == "epoll":
        fds = [select.epoll().fileno()]
        fds = [os.dup(fds[0])]
    elif kind == "memfd of no bytes":
        fds = [memfd(0)]
    else:
        fds = [os.open(kind, os.O_RDONLY if os.path.isdir(kind) else os.O_RDWR)]
    for fd in fds:
        stack.callback(os.close, fd)
    return fds[0]


@pytest.mark.parametrize("kind", ["pipe", "socket", "eventfd", "/tmp", "/dev/null", "/dev/tty", "memfd of no bytes"])
def test_case_091_fds_that_are_no_memory(server, kind):
    with contextlib.ExitStack() as stack:
        if kind == "/dev/tty":
            kind = "/dev/ptmx"
        assert both(server, [A], [not_memory(kind, stack)]) == outcome("91:no memory")


def test_case_091_a_device_that_can_be_mapped(server):
    fd = os.open("/dev/zero", os.O_RDWR)
    try:
        assert both(server, [A], [fd]) == outcome("91:device")
    finally:
        os.close(fd)


def test_case_093_one_file_for_all(server):
    """Eight regions of one file, one table ten thousand times: no mapping and no fd is left over."""
    rounds = 10000 if FULL else 500
    fd = memfd(8 << 16)
    try:
        with server.connect() as fe:
            fe.negotiate()
            regions = [(0x100000 + (i << 20), 1 << 16, 0x7F0000000000 + (i << 20), i << 16) for i in range(8)]
            table = wire.mem_table(regions)
            fe.do(FE.SET_MEM_TABLE, table, [fd] * 8)
            maps, fds = server.maps(), server.fds()
            for _ in range(rounds):
                fe.do(FE.SET_MEM_TABLE, table, [fd] * 8)
            assert (server.maps(), server.fds()) == (maps, fds)
    finally:
        os.close(fd)
    assert outcome(93) == "OK"


def test_case_094_regions_with_the_wrong_number_of_fds(server):
    with files(2) as fds:
        for n in (0, 2):
            assert refused(server, FE.ADD_MEM_REG, mem_reg(A), fds[:n]) == outcome("94:add")
        for size in (0, 8, 32, 39, 41, 48, 64):
            assert refused(server, FE.ADD_MEM_REG, mem_reg(A).ljust(64, b"\0")[:size], fds[:1]) == outcome("94:add")

        def add(fe):
            fe.do(FE.ADD_MEM_REG, mem_reg(A), fds[:1])

        assert refused(server, FE.REM_MEM_REG, mem_reg(A), prepare=add) == outcome("94:remove")
        assert refused(server, FE.REM_MEM_REG, mem_reg(A), fds[:1], prepare=add) == outcome("94:remove")
        assert refused(server, FE.REM_MEM_REG, mem_reg(A), fds, prepare=add) == outcome("94:remove with 2")
        assert refused(server, FE.REM_MEM_REG, mem_reg(A)[:32], prepare=add) == outcome("94:remove with 2")


@pytest.mark.parametrize("changes", [{"gpa": 0x101000}, {"uva": 0x7F0000001000}, {"size": 0x4000}, {"size": 0xC000},
                                     {"size": 0}, {"gpa": 16, "uva": 16}])  # fmt: skip
def test_case_095_remove_another_region(server, changes):
    with Rig(server) as rig, Memory(1 << 16, gpa=0x800000, uva=0x7D0000000000) as more:
        rig.fe.add_mem_region(more)
        wrong = mem_reg(region(more, **{k: v + getattr(more, k) for k, v in changes.items() if k != "size"},
                               **{k: v for k, v in changes.items() if k == "size"}))  # fmt: skip
        assert observe(rig.fe, FE.REM_MEM_REG, wrong, need_reply=True) == "NACK"
        rig.good()
        rig.fe.remove_mem_region(more)
        assert observe(rig.fe, FE.REM_MEM_REG, wrong) == "CLOSE"
    assert outcome("95:mismatch") == "N/C"


def test_case_095_remove_the_ring(server):
    """The rings in one region, the rest in another."""
    with Memory(1 << 16, gpa=0x800000, uva=0x7D0000000000) as rings, Queue(rings, 2, 8) as q, Rig(server) as rig:
        rig.fe.add_mem_region(rings)
        rig.fe.start(q)
        rig.fe.remove_mem_region(rings)
        before = rings.read(rings.gpa, rings.size)
        assert q.failed(2.0)
        q.submit(rig.read_chain())
        rings.write(rings.gpa, before)
        rig.good()
        rig.other_works()
        assert rings.read(rings.gpa, rings.size) == before
        assert rig.fe.stop(q) == 0
        rig.fe.add_mem_region(rings)
        with Queue(rings, 2, 8) as again:
            rig.fe.start(again)
            request = BlkRequest.read(rig.mem, 0, SECTOR)
            again.submit(request.chain)
            assert len(again.wait()) == 1 and request.status == 0
    assert outcome("95:ring") == "VQERR"


@pytest.mark.parametrize("over", [0, 1])
def test_case_096_a_buffer_at_the_end(server, over):
    with Rig(server) as rig:
        chain = rig.read_chain()
        end = rig.mem.gpa + rig.mem.size
        chain[1] = (end - SECTOR + over, SECTOR, WRITE)
        if not over:
            rig.offer(rig.describe(chain))
            assert rig.served() == [(0, SECTOR + 1)] and outcome("96:end") == "OK"
            chain[1:] = [(rig.data, SECTOR, WRITE), (end - 1, 1, WRITE)]
            rig.offer(rig.describe(chain))
            assert rig.served() == [(0, SECTOR + 1)] and rig.mem.read(end - 1, 1) == b"\0"
        else:
            assert rig.stops(rig.describe(chain)) == outcome("96:over")


@pytest.mark.parametrize("k", [0, 3, 7])
def test_case_097_no_room_to_map_region_k(server, k):
    """Room for k of eight regions: none of the new table is there, and the old one is."""
    size = 64 << 20
    fd = memfd(size)
    try:
        with Rig(server) as rig:
            maps, fds = server.maps(), server.fds()
            regions = [(0x10000000 + 2 * i * size, size, 0x600000000000 + 2 * i * size, 0) for i in range(8)]
            used = int(re.search(r"VmSize:\s+(\d+)", Path(f"/proc/{server.pid}/status").read_text())[1]) << 10
            old = resource.prlimit(server.pid, resource.RLIMIT_AS)
            resource.prlimit(server.pid, resource.RLIMIT_AS, (used + k * size + size // 2, old[1]))
            try:
                status = rig.fe.status(FE.SET_MEM_TABLE, wire.mem_table(regions), [fd] * 8)
                assert status != 0
                assert (server.maps(), server.fds()) == (maps, fds)
                rig.good()
            finally:
                resource.prlimit(server.pid, resource.RLIMIT_AS, old)
            rig.good()
            assert rig.fe.status(FE.SET_MEM_TABLE, wire.mem_table(regions), [fd] * 8) == 0
    finally:
        os.close(fd)
    assert outcome(97) == "NACK"


def test_case_098_not_in_core_dumps(server):
    with server.session() as s:
        assert s.works()
        smaps = Path(f"/proc/{server.pid}/smaps").read_text()
        flags = re.findall(r"vh-testing.*?VmFlags: ([a-z ]+)", smaps, flags=re.S)
        assert len(flags) == 1 and "dd" in flags[0].split()
    assert outcome("98:dump") == "OK"


