# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Section G: what a driver puts into a split ring."""

import contextlib
import os
import struct
import subprocess
import sys
import threading
import time

import pytest
from lib import CAPACITY, FULL, outcome
from rig import INDIRECT, NEXT, SECTOR, WRITE, Rig, memfd, page_aligned
from vh.testing import Memory, wire
from vh.testing.wire import BLK, FE, F, bits

GONE = 0x40000000  # in no memory
FLUSH, GET_ID = 4, 8


@pytest.fixture
def rig(server):
    with Rig(server) as one:
        yield one


# --- the available ring ---


@pytest.mark.parametrize("ahead", [9, 10, 16, 255, 256, 4096, 32768, 65535])
def test_case_113_index_ahead_of_the_ring(rig, ahead):
    rig.good()
    assert rig.stops(idx=1 + ahead, base=1) == outcome(113)


@pytest.mark.parametrize("back", [1, 2, 3])
def test_case_114_index_goes_back(rig, back):
    for _ in range(3):
        rig.good()
    assert rig.stops(idx=3 - back, base=3) == outcome(114)


@pytest.mark.parametrize("base", [0, 65532])
def test_case_115_a_full_ring(server, base):
    with Rig(server, start=False) as rig:
        ring = rig.q.ring
        ring.avail_idx = ring.used_idx = base
        rig.mem.store16(ring.avail + 2, base)
        rig.mem.store16(ring.used + 2, base)
        rig.fe.start(rig.q)
        rig.say_read(type_=FLUSH)
        chain = [(rig.header, 16, 0), (rig.status, 1, WRITE)]
        for _ in range(3):
            rig.offer(*(rig.indirect(chain, slot) for slot in range(rig.q.num)))
            assert rig.served(rig.q.num) == [(slot, 1) for slot in range(rig.q.num)]
    assert outcome(115) == "OK"


@pytest.mark.parametrize("head", [8, 9, 255, 32768, 65535])
def test_case_116_head_outside_of_the_table(rig, head):
    rig.good()
    assert rig.stops(head, base=1) == outcome(116)


def test_case_116_after_good_ones(rig):
    """What stands before the bad entry is served, and the base names the bad one."""
    rig.describe(rig.read_chain())
    rig.offer(0, 8)
    assert rig.q.wait(1) == [(0, SECTOR + 1)]
    assert rig.broken(1) == outcome(116)


# --- chains ---


@pytest.mark.parametrize("following", [8, 9, 255, 65535])
def test_case_117_next_outside_of_the_table(rig, following):
    rig.say_read()
    rig.q.ring.write_desc(0, rig.header, 16, NEXT, following)
    assert rig.stops(0) == outcome(117)


LOOPS = {
    "itself": {0: 0},
    "two": {0: 1, 1: 0},
    "all": {i: (i + 1) % 8 for i in range(8)},
    "entered in the middle": {0: 3, 3: 4, 4: 5, 5: 3},
}


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("flags", [0, WRITE])
def test_case_118_loops(rig, loop, flags):
    for i, following in LOOPS[loop].items():
        rig.q.ring.write_desc(i, rig.data, 16, NEXT | flags, following)
    assert rig.stops(0) == outcome(118)


@pytest.mark.parametrize("num", [4, 8, 256])
def test_case_119_as_long_as_the_table(server, num):
    with Rig(server, num) as rig:
        rig.say_read()
        size = SECTOR * (num - 2)
        data = page_aligned(rig.mem, size)
        rig.mem.write(data, b"\xaa" * size)
        parts = [(data + SECTOR * i, SECTOR, WRITE) for i in range(num - 2)]
        rig.offer(rig.describe([(rig.header, 16, 0), *parts, (rig.status, 1, WRITE)]))
        assert rig.served() == [(0, size + 1)]
        assert rig.mem.read(rig.status, 1) == b"\0" and b"\xaa" * 16 not in rig.mem.read(data, size)
    assert outcome(119) == "OK"


# --- indirect tables ---


def test_case_120_not_negotiated(server):
    with Rig(server, features=bits(F.VERSION_1, F.PROTOCOL_FEATURES, BLK.MQ)) as rig:
        rig.offer(rig.indirect(rig.read_chain()))
        assert rig.broken(0) == outcome("120:off")


def test_case_120_with_next(rig):
    rig.offer(rig.indirect(rig.read_chain(), flags=NEXT))
    assert rig.broken(0) == outcome("120:next")


@pytest.mark.parametrize("at", [0, 1, 2])
def test_case_121_in_an_indirect_table(rig, at):
    chain = rig.read_chain()
    inner = page_aligned(rig.mem, 64)
    rig.describe(chain, table=inner)
    chain[at] = (inner, 48, INDIRECT)
    rig.offer(rig.indirect(chain))
    assert rig.broken(0) == outcome(121)


@pytest.mark.parametrize("size", [0, 1, 15, 17, 47, 0xFFFFFFF0, 0xFFFFFFFF])
def test_case_122_length_of_the_table(rig, size):
    assert rig.stops(rig.indirect(rig.read_chain(), size=size)) == outcome(122)


def long_table(rig, entries):
    """A read whose data are `entries` - 2 zero-length or one-sector parts; true sectors first."""
    rig.say_read()
    sectors = min(entries - 2, 64)
    data = page_aligned(rig.mem, SECTOR * sectors)
    parts = [(data + SECTOR * i, SECTOR, WRITE) for i in range(sectors)]
    parts += [(data, 0, WRITE)] * (entries - 2 - sectors)
    return rig.indirect([(rig.header, 16, 0), *parts, (rig.status, 1, WRITE)]), SECTOR * sectors + 1


@pytest.mark.parametrize("entries", [9, 64, 1024])
def test_case_123_more_entries_than_the_ring(rig, entries):
    head, written = long_table(rig, entries)
    rig.offer(head)
    assert rig.served() == [(0, written)]
    assert rig.mem.read(rig.status, 1) == b"\0"
    assert outcome("123:bounded") == "OK"


@pytest.mark.parametrize("entries", [1025, 65536])
def test_case_123_more_entries_than_any_chain(server, entries):
    with Rig(server, size=4 << 20) as rig:
        rig.offer(long_table(rig, entries)[0])
        assert rig.broken(0) == outcome("123:big")


def second(rig_mem_size=1 << 20, size=1 << 16):
    """Memory that follows directly on a Rig's in guest addresses."""
    return Memory(size, gpa=0x100000 + rig_mem_size, uva=0x7E0000000000)


def put(mems, at, data):
    """Bytes across memories that follow each other."""
    for mem in mems:
        n = max(0, min(len(data), mem.gpa + mem.size - at))
        if n and mem.gpa <= at:
            mem.write(at, data[:n])
            at, data = at + n, data[n:]
    assert not data


def packed(chain):
    return b"".join(
        struct.pack("<QIHH", addr, size, flags | (NEXT if k + 1 < len(chain) else 0), k + 1 if k + 1 < len(chain) else 0)
        for k, (addr, size, flags) in enumerate(chain)
    )


def prepare_sector(rig):
    """Sector 0 gets bytes to be known by; what they are."""
    content = os.urandom(SECTOR)
    rig.mem.write(rig.header, struct.pack("<IIQ", 1, 0, 0))
    rig.mem.write(rig.data, content)
    rig.offer(rig.describe([(rig.header, 16, 0), (rig.data, SECTOR, 0), (rig.status, 1, WRITE)]))
    assert rig.served() == [(0, 1)] and rig.mem.read(rig.status, 1) == b"\0"
    rig.mem.write(rig.data, bytes(SECTOR))
    return content


def test_case_124_table_at_the_end_of_a_region(rig):
    content = prepare_sector(rig)
    table = rig.mem.gpa + rig.mem.size - 48
    rig.offer(rig.indirect(rig.read_chain(), table=table))
    assert rig.served() == [(0, SECTOR + 1)] and rig.mem.read(rig.data, SECTOR) == content
    assert outcome("124:end") == "OK"


@pytest.mark.parametrize("before", [1, 4, 8, 16, 20, 31, 47])
def test_case_124_table_in_two_regions(server, before):
    with second() as more, Rig(server, mems=[more]) as rig:
        content = prepare_sector(rig)
        table = more.gpa - before
        put([rig.mem, more], table, packed(rig.read_chain()))
        rig.q.ring.write_desc(0, table, 48, INDIRECT)
        rig.offer(0)
        assert rig.served() == [(0, SECTOR + 1)] and rig.mem.read(rig.data, SECTOR) == content
    assert outcome("124:straddles") == "OK"


@pytest.mark.parametrize("before", [1, 8, 16, 32, 47])
def test_case_124_table_half_gone(rig, before):
    table = rig.mem.gpa + rig.mem.size - before
    rig.mem.write(table, packed(rig.read_chain())[:before])
    rig.q.ring.write_desc(0, table, 48, INDIRECT)
    assert rig.stops(0) == outcome("124:gone")


def test_case_125_table_as_its_own_buffer(rig):
    table = page_aligned(rig.mem, 4096)
    rig.say_read()
    for size in (SECTOR, 2 * SECTOR):
        chain = [(rig.header, 16, 0), (table, size, WRITE), (rig.status, 1, WRITE)]
        head = rig.indirect(chain, table=table)
        with rig.no_stray_writes((table, size), (rig.status, 1)):
            rig.offer(head)
            assert rig.served() == [(0, size + 1)]
    assert outcome(125) == "SAFE"


@pytest.mark.parametrize("links", [{0: 3}, {0: 65535}, {0: 0}, {0: 1, 1: 0}, {0: 1, 1: 2, 2: 0}])
def test_case_126_next_in_an_indirect_table(rig, links):
    table = page_aligned(rig.mem, 48)
    for i, following in links.items():
        rig.mem.write(table + 16 * i, struct.pack("<QIHH", rig.data, 16, NEXT, following))
    rig.q.ring.write_desc(0, table, 48, INDIRECT)
    assert rig.stops(0) == outcome(126)


# --- lengths and addresses ---


@pytest.mark.parametrize("where", [0, 1, 2, 3])
@pytest.mark.parametrize("addr", ["in memory", "nowhere"])
def test_case_127_zero_length_descriptors(rig, where, addr):
    chain = rig.read_chain()
    flags = WRITE if where > 1 else 0
    chain.insert(where, (rig.data if addr == "in memory" else GONE, 0, flags))
    rig.offer(rig.describe(chain))
    assert rig.served() == [(0, SECTOR + 1)] and rig.mem.read(rig.status, 1) == b"\0"
    assert outcome("127:some") == "OK"


@pytest.mark.parametrize("flags", [0, WRITE])
def test_case_127_nothing_but_zero_length(rig, flags):
    head = rig.describe([(rig.data, 0, flags)] * rig.q.num)
    with rig.no_stray_writes():
        rig.offer(head)
        assert rig.served() == [(0, 0)]
    rig.good()
    assert outcome("127:all") == "REQERR"


def bad_places(rig):
    end = rig.mem.gpa + rig.mem.size
    top = 1 << 64
    return {
        "wraps": (top - 256, SECTOR),
        "ends at the top": (top - SECTOR, SECTOR),
        "last address": (top - 1, SECTOR),
        "in no region": (GONE, SECTOR),
        "0": (0, SECTOR),
        "one byte too far": (end - SECTOR + 1, SECTOR),
        "behind the end": (end, SECTOR),
        "before the start": (rig.mem.gpa - 1, SECTOR),
        "a user address": (rig.mem.uva, SECTOR),
        "4 GiB": (rig.mem.gpa, 0xFFFFFFFF),
    }


@pytest.mark.parametrize("what", ["wraps", "ends at the top", "last address", "in no region", "0", "one byte too far",
                                  "behind the end", "before the start", "a user address", "4 GiB"])  # fmt: skip
@pytest.mark.parametrize("indirect", [False, True])
def test_case_128_bad_addresses(rig, what, indirect):
    chain = rig.read_chain()
    at, size = bad_places(rig)[what]
    chain[1] = (at, size, WRITE)
    head = rig.indirect(chain) if indirect else rig.describe(chain)
    assert rig.stops(head) == outcome(128)


@pytest.mark.parametrize("parts", [2, 4, 6])
def test_case_129_more_than_4_gib(server, parts):
    """Lengths whose sum, cut to 32 bits, would be a sector or so."""
    size = 1 << 32
    fd = memfd(size)
    try:
        with Rig(server) as rig:
            huge = (0x100000000, size, 0x600000000000, 0)
            rig.fe.do(FE.ADD_MEM_REG, wire.pack("MEM_REG", gpa=huge[0], size=huge[1], uva=huge[2]), [fd])
            rig.say_read()
            rest = (-0xFFFFFFFF * (parts - 1) + SECTOR) % (1 << 32)
            lengths = [0xFFFFFFFF] * (parts - 1) + [rest]
            assert sum(lengths) % (1 << 32) == SECTOR
            chain = [(huge[0], n, WRITE) for n in lengths]
            head = rig.describe([(rig.header, 16, 0), *chain, (rig.status, 1, WRITE)])
            with rig.no_stray_writes((rig.status, 1)):
                rig.offer(head)
                assert rig.served() == [(0, 0xFFFFFFFF)]
            assert rig.mem.read(rig.status, 1) == b"\1"
            rig.good()
        assert os.stat(f"/proc/self/fd/{fd}").st_blocks == 0
    finally:
        os.close(fd)
    assert outcome(129) == "REQERR"


@pytest.mark.parametrize("regions", [2, 3, 8])
def test_case_130_a_buffer_across_regions(server, regions):
    """Each region but the last is one page; the buffer starts and ends in the middle of a page."""
    page = 4096
    with contextlib.ExitStack() as stack:
        # user addresses in the opposite order, so that only guest addresses are in a row
        mems = [stack.enter_context(Memory(page, gpa=0x800000 + page * i, uva=0x7D0000000000 - 2 * page * i))
                for i in range(regions)]  # fmt: skip
        rig = stack.enter_context(Rig(server, size=1 << 18))
        for mem in mems:
            if len(mems) < 8:
                rig.fe.add_mem_region(mem)
        if len(mems) == 8:
            for mem in mems:
                rig.fe.add_mem_region(mem)
        start, size = 0x800000 + page - SECTOR, page * (regions - 2) + 2 * SECTOR
        content = os.urandom(size)
        put(mems, start, content)
        rig.mem.write(rig.header, struct.pack("<IIQ", 1, 0, 16))
        rig.offer(rig.describe([(rig.header, 16, 0), (start, size, 0), (rig.status, 1, WRITE)]))
        assert rig.served() == [(0, 1)] and rig.mem.read(rig.status, 1) == b"\0"
        back = page_aligned(rig.mem, size)
        rig.say_read(16)
        rig.offer(rig.describe([(rig.header, 16, 0), (back, size, WRITE), (rig.status, 1, WRITE)]))
        assert rig.served() == [(0, size + 1)] and rig.mem.read(back, size) == content
        for mem in mems:
            mem.write(mem.gpa, bytes(page))
        rig.offer(rig.describe([(rig.header, 16, 0), (start, size, WRITE), (rig.status, 1, WRITE)]))
        assert rig.served() == [(0, size + 1)]
        got = b"".join(mem.read(mem.gpa, page) for mem in mems)
        at = start - 0x800000
        assert got[at : at + size] == content and not any(got[:at]) and not any(got[at + size :])
    assert outcome("130:across") == "OK"


def test_case_130_more_segments_than_a_chain_may_have(server):
    """1024 descriptors, the last of which is in two regions."""
    with second() as more, Rig(server, mems=[more]) as rig:
        rig.say_read()
        parts = [(rig.data + 4 * (i % 8), 1, WRITE) for i in range(1022)]
        head = rig.indirect([(rig.header, 16, 0), *parts, (more.gpa - 1, 2, WRITE)])
        assert rig.stops(head) == outcome("130:cap")
        assert more.read(more.gpa, more.size) == bytes(more.size)
        rig.offer(rig.indirect([(rig.header, 16, 0), *parts, (rig.data, 1, WRITE)]))
        assert rig.served() == [(0, 1023)]  # as many as there may be: the request is wrong, the ring is not
        rig.offer(rig.indirect([(rig.header, 16, 0), *parts, (rig.data, 1, WRITE), (rig.status, 1, WRITE)]))
        assert rig.broken(2) == outcome("130:cap")


@pytest.mark.parametrize("indirect", [False, True])
@pytest.mark.parametrize("size", [16, 0])
def test_case_131_readable_after_writable(rig, indirect, size):
    rig.say_read()
    chain = [(rig.data, SECTOR, WRITE), (rig.header, size, 0), (rig.status, 1, WRITE)]
    head = rig.indirect(chain) if indirect else rig.describe(chain)
    assert rig.stops(head) == outcome(131)


def test_case_132_all_descriptors_on_one_buffer(rig):
    rig.say_read()
    at = rig.header
    head = rig.describe([(at, 16, 0), *[(at, SECTOR, WRITE)] * 6, (at, 1, WRITE)])
    with rig.no_stray_writes((at, SECTOR)):
        rig.offer(head)
        assert rig.served() == [(0, 6 * SECTOR + 1)]
    assert rig.mem.read(at, 1) == b"\0"
    # a write that is all header
    rig.mem.write(at, struct.pack("<IIQ", 1, 0, 0).ljust(SECTOR, b"x"))
    rig.offer(rig.describe([(at, 16, 0), *[(at, SECTOR, 0)] * 6, (at, 1, WRITE)]))
    assert rig.served() == [(0, 1)]
    assert rig.mem.read(at, 1) == b"\0"
    assert outcome(132) == "SAFE"


def test_case_133_one_head_twice(rig):
    rig.offer(rig.describe(rig.read_chain()), 0)
    assert rig.served(2) == [(0, SECTOR + 1)] * 2
    rig.offer(*[0] * 8)
    assert rig.served(8) == [(0, SECTOR + 1)] * 8
    assert outcome("133:done") == "OK"


def test_case_133_one_head_twice_in_flight(start, tmp_path):
    """Files are read later, so the second may find the first in flight; either way nothing is freed twice."""
    path = tmp_path / "disk"
    path.write_bytes(bytes(CAPACITY))
    server = start("--file", str(path), "--queues", "4")
    for _ in range(20):
        with Rig(server) as rig:
            rig.offer(rig.describe(rig.read_chain()), *[0] * 7)
            deadline = time.monotonic() + 2
            done = []
            while len(done) < 8 and not rig.q.failed(0.001) and time.monotonic() < deadline:
                done += rig.q.ring.reap()
            assert time.monotonic() < deadline
            assert set(done) <= {(0, SECTOR + 1)}
            rig.fe.stop(rig.q)
    assert outcome("133:in flight") == "SAFE"


# --- long runs ---


@pytest.mark.parametrize("num", [1, 2, 4, 256, 32768])
def test_case_134_indices_wrap(start, num):
    """Completions across the wrap of the 16-bit indices, each used element as it must be."""
    total = 3 * 65536 if FULL else max(1200, num + 600)
    first = 65536 - 500
    server = start("--ram", "4M", "--queues", "4", "--queue-size", "32768")
    with Rig(server, num, size=4 << 20, start=False) as rig:
        q, ring, mem = rig.q, rig.q.ring, rig.mem
        ring.avail_idx = first
        mem.store16(ring.avail + 2, first)
        mem.store16(ring.used + 2, first)
        rig.fe.start(q)
        table = page_aligned(mem, 32)
        rig.say_read(type_=FLUSH)
        rig.describe([(rig.header, 16, 0), (rig.status, 1, WRITE)], table=table)
        for slot in range(num):
            ring.write_desc(slot, table, 32, INDIRECT)
        done = 0
        heads = [(7 * i) % num if num > 7 else i for i in range(num)]  # not in the order of the table
        while done < total:
            n = min(num, total - done)
            for i in range(n):
                ring.set_avail(heads[i])
            ring.publish()
            q.kick()
            want = (first + done + n) & 0xFFFF
            deadline = time.monotonic() + 5
            while mem.load16(ring.used + 2) != want and time.monotonic() < deadline:
                q.called(0.05)
            assert mem.load16(ring.used + 2) == want
            used = mem.read(ring.used + 4, 8 * num)
            for i in range(n):
                assert struct.unpack_from("<II", used, 8 * ((first + done + i) % num)) == (heads[i], 1)
            done += n
        assert not q.failed()
        assert rig.fe.stop(q) == (first + total) & 0xFFFF
    assert outcome(134) == "OK"


#: A driver in a process of its own that changes the table, indirect tables and the available ring without end. Most of
#: what it offers is right or nearly so, that it be walked and not only refused.
FLIPPER = """
import mmap, random, struct, sys
fd, size, desc, avail, used, num, data, header, base = (int(a) for a in sys.argv[1:])
inner_at = data + 1024 - base
desc, avail, used = desc - base, avail - base, used - base
m = mmap.mmap(fd, size)
h = memoryview(m).cast("H")  # a store is one store
r = random.Random(135)
good = [(header, 16, 1), (data, 512, 3), (data + 512, 1, 2)]
def entry(i):
    addr, n, flags = good[i % 3]
    following = (i + 1) % num
    if r.random() < .1:
        addr = r.choice((data, data + 16, data + 512, data + 4096 - 8, 0, 2**64 - 8))
    if r.random() < .1:
        n = r.choice((0, 1, 16, 48, 512, 1024, 0xffffffff))
    if r.random() < .1:
        flags = r.choice((0, 1, 2, 3, 4, 6, 0xfff9))
    if r.random() < .1:
        following = r.randrange(num + 2)
    if r.random() < .1:
        addr, n, flags = data + 1024, 48, 4
    return struct.pack("<QIHH", addr, n, flags, following)
tables = [b"".join(entry(i) for i in range(num)) for _ in range(64)]
inner = [b"".join(entry(i) for i in range(3)) for _ in range(64)]
heads = [[3 * r.randrange(num // 3) if r.random() < .95 else r.randrange(num + 1) for _ in range(num)] for _ in range(16)]
sys.stdout.write("go"); sys.stdout.flush()
while True:
    for t in tables:
        m[desc:desc + 16 * num] = t
        m[inner_at:inner_at + 48] = r.choice(inner)
        for i, head in enumerate(r.choice(heads)):
            h[avail // 2 + 2 + i] = head
        ahead = r.randrange(num + 1) if r.random() < .99 else r.randrange(65536)
        h[avail // 2 + 1] = (h[used // 2 + 1] + ahead) & 0xffff
        for t in r.sample(tables, 8):
            for i in range(num):
                at = 16 * i + r.choice((0, 8))
                m[desc + at:desc + at + 8] = t[at:at + 8]
"""


def test_case_135_double_fetch(server):
    """Another process changes table, indirect tables and available ring as fast as it can."""
    seconds = 60 if FULL else 3
    with Rig(server, 16, size=1 << 18) as rig:
        ring = rig.q.ring
        guard = page_aligned(rig.mem, 8192) + 4096
        rig.mem.write(guard, b"\x5a" * 4096)
        rig.say_read()
        fd = rig.mem.fd
        numbers = (fd, rig.mem.size, ring.desc, ring.avail, ring.used, 16, rig.data, rig.header, rig.mem.gpa)
        argv = [sys.executable, "-c", FLIPPER, *map(str, numbers)]
        flipper = subprocess.Popen(argv, pass_fds=[fd], stdout=subprocess.PIPE)
        try:
            assert flipper.stdout.read(2) == b"go"
            end = time.monotonic() + seconds
            broken = used = 0
            last = rig.mem.load16(ring.used + 2)
            while time.monotonic() < end:
                for _ in range(50):
                    rig.q.kick()
                now = rig.mem.load16(ring.used + 2)
                used, last = used + ((now - last) & 0xFFFF), now
                if rig.q.failed(0.001):
                    broken += 1
                    rig.fe.stop(rig.q)
                    rig.fe.start(rig.q, base=rig.mem.load16(ring.used + 2))
        finally:
            flipper.kill()
            flipper.wait()
            flipper.stdout.close()
        assert broken > 100 and used > 100, (broken, used)
        assert rig.mem.read(guard, 4096) == b"\x5a" * 4096
        rig.fe.stop(rig.q)
        rig.restart()
        rig.other_works()
    assert outcome(135) == "SAFE"


def test_case_136_the_device_answers_what_it_took(server):
    """Descriptors that change after the kick: used ids and lengths are those of one moment, never a mixture."""
    with Rig(server) as rig:
        rig.describe(rig.read_chain(SECTOR))
        short = rig.mem.read(rig.q.ring.desc, 48)
        rig.describe(rig.read_chain(2 * SECTOR))
        long = rig.mem.read(rig.q.ring.desc, 48)
        stop = threading.Event()

        def edit():
            while not stop.is_set():
                rig.mem.write(rig.q.ring.desc, short)
                rig.mem.write(rig.q.ring.desc, long)

        thread = threading.Thread(target=edit)
        thread.start()
        try:
            for _ in range(2000 if FULL else 300):
                rig.offer(0)
                (entry,) = rig.served()
                assert entry in ((0, SECTOR + 1), (0, 2 * SECTOR + 1))
        finally:
            stop.set()
            thread.join()
    assert outcome(136) == "OK"


@pytest.mark.parametrize("type_", [0, 1, FLUSH, GET_ID, 11, 13, 2, 99, 0xFFFFFFFF])
@pytest.mark.parametrize("size", [0, 1, 19, SECTOR, 3 * SECTOR])
def test_case_137_used_length(rig, type_, size):
    """Whatever is asked: the length is at most what could be written, and no byte behind it is."""
    rig.say_read(type_=type_)
    head = rig.describe([(rig.header, 16, 0), (rig.data, size, WRITE), (rig.status, 1, WRITE)])
    with rig.no_stray_writes((rig.data, size), (rig.status, 1)):
        rig.offer(head)
        ((head, written),) = rig.served()
    assert head == 0 and written <= size + 1
    assert rig.mem.read(rig.status, 1) in (b"\0", b"\1", b"\2")
    assert outcome(137) == "OK"


@pytest.mark.parametrize("reserved", [8, 16, 0x80, 0x8000, 0xFFF8])
@pytest.mark.parametrize("indirect", [False, True])
def test_case_138_reserved_flags(rig, reserved, indirect):
    chain = [(at, size, flags | reserved) for at, size, flags in rig.read_chain()]
    rig.offer(rig.indirect(chain, flags=reserved) if indirect else rig.describe(chain))
    assert rig.served() == [(0, SECTOR + 1)] and rig.mem.read(rig.status, 1) == b"\0"
    rig.mem.store16(rig.q.ring.avail, 0xFFFE)  # flags of the available ring
    rig.good()
    assert outcome(138) == "OK"


#: a producer that never lets the ring run dry, in a process of its own
PRODUCER = """
import mmap, os, sys
fd, size, avail, used, num, kick = (int(a) for a in sys.argv[1:])
h = memoryview(mmap.mmap(fd, size)).cast("H")  # a store is one store
sys.stdout.write("go"); sys.stdout.flush()
while True:
    h[avail // 2 + 1] = (h[used // 2 + 1] + num) & 0xffff
    os.eventfd_write(kick, 1)
"""


def test_case_139_fairness(server):
    """One queue is refilled for ever; the other is served within some milliseconds."""
    num = 256
    with Rig(server, num, size=4 << 20) as rig:
        ring = rig.q.ring
        rig.say_read()
        data = page_aligned(rig.mem, 64 << 10)
        table = page_aligned(rig.mem, 48)
        rig.describe([(rig.header, 16, 0), (data, 64 << 10, WRITE), (rig.status, 1, WRITE)], table=table)
        for slot in range(num):
            ring.write_desc(slot, table, 48, INDIRECT)
            rig.mem.store16(ring.avail + 4 + 2 * slot, slot)
        argv = [rig.mem.fd, rig.mem.size, ring.avail - rig.mem.gpa, ring.used - rig.mem.gpa, num, rig.q.kick_fd]
        os.set_blocking(rig.q.kick_fd, True)
        producer = subprocess.Popen([sys.executable, "-c", PRODUCER, *map(str, argv)],
                                    pass_fds=[rig.mem.fd, rig.q.kick_fd], stdout=subprocess.PIPE)  # fmt: skip
        try:
            assert producer.stdout.read(2) == b"go"
            took = []
            before = rig.mem.load16(ring.used + 2)
            end = time.monotonic() + (10 if FULL else 1.5)
            while time.monotonic() < end:
                started = time.monotonic()
                rig.other_works()
                took.append(time.monotonic() - started)
                rig.mem.next -= rig.mem.next - (table + 4096) if rig.mem.next > table + 8192 else 0
            moved = (rig.mem.load16(ring.used + 2) - before) & 0xFFFF
        finally:
            producer.kill()
            producer.wait()
            producer.stdout.close()
        assert moved, "the busy queue stood still"
        assert not rig.q.failed()
        took.sort()
        assert took[len(took) * 99 // 100] < 0.2, f"p99 {took[len(took) * 99 // 100]:.3f} s of {len(took)}"
    assert outcome(139) == "OK"


@pytest.mark.parametrize("chain", ["header", "header and data", "nothing but data"])
def test_case_140_nowhere_to_answer(rig, chain):
    parts = {"header": [(16, 0)], "header and data": [(16, 0), (SECTOR, 0)], "nothing but data": [(3, 0)] * 3}[chain]
    rig.say_read()
    head = rig.describe([(rig.header, size, flags) for size, flags in parts])
    with rig.no_stray_writes():
        rig.offer(head)
        assert rig.served() == [(0, 0)]
    rig.good()
    assert outcome(140) == "REQERR"
