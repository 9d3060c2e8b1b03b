# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Section F: where a ring is and how large."""

import contextlib
import os
import struct
import time

import pytest
from lib import QUEUE_SIZE, QUEUES, SERVER, addr, observe, outcome, refused, state
from rig import SECTOR, WRITE, Rig, page_aligned, settle
from vh.testing import BlkRequest, Memory, Queue, wire
from vh.testing.wire import FE, F, bits

TOP = 1 << 64
BIG = 32768


def with_memory(mem, q=None):
    """Memory, and the size of queue 0."""

    def prepare(fe):
        fe.set_mem_table([mem])
        fe.vring_state(FE.SET_VRING_NUM, 0, q.num if q else 8)

    return prepare


STATES = [FE.SET_VRING_NUM, FE.SET_VRING_BASE, FE.SET_VRING_ENABLE, FE.GET_VRING_BASE]
NOTIFIERS = [FE.SET_VRING_KICK, FE.SET_VRING_CALL, FE.SET_VRING_ERR]


@pytest.mark.parametrize("index", [QUEUES, QUEUES + 1, 128, 255, 256, 65535, 1 << 31, 0xFFFFFFFF])
@pytest.mark.parametrize("request_", STATES, ids=lambda r: r.name)
def test_case_100_a_ring_that_is_not_there(server, request_, index):
    want = outcome("100:get" if request_ == FE.GET_VRING_BASE else "100:set")
    assert refused(server, request_, state(index, 1)) == want


@pytest.mark.parametrize("index", [QUEUES, 128, 255, 256, 65535, 0xFFFFFFFF])
def test_case_100_addresses_of_a_ring_that_is_not_there(server, index):
    with Memory(1 << 16) as mem, Queue(mem, 0, 8) as q:
        assert refused(server, FE.SET_VRING_ADDR, addr(q, index), prepare=with_memory(mem)) == outcome("100:set")


@pytest.mark.parametrize("index", [QUEUES, 128, 255, 512, 65535 & ~0x100, 1 << 32, 1 << 63])
@pytest.mark.parametrize("request_", NOTIFIERS, ids=lambda r: r.name)
def test_case_100_fds_of_a_ring_that_is_not_there(server, request_, index):
    fd = os.eventfd(0)
    try:
        assert refused(server, request_, wire.pack("U64", value=index), [fd]) == outcome("100:set")
        if index == QUEUES:
            assert refused(server, request_, wire.vring_fd(index, nofd=True)) == outcome("100:set")
    finally:
        os.close(fd)


def test_case_101_no_entries(server):
    assert refused(server, FE.SET_VRING_NUM, state(0, 0)) == outcome(101)


@pytest.mark.parametrize("num", [3, 5, 6, 7, 100, 255])
def test_case_102_no_power_of_two(server, num):
    assert refused(server, FE.SET_VRING_NUM, state(0, num)) == outcome("102:split")


@pytest.mark.parametrize("num", [QUEUE_SIZE * 2, 32767, BIG, BIG + 1, 65536, 65537, 65536 + 256, 1 << 31, 0xFFFFFFFF])
def test_case_103_larger_than_this_device_takes(server, num):
    assert refused(server, FE.SET_VRING_NUM, state(0, num)) == outcome("103:over")


def test_case_103_the_largest(start):
    server = start("--ram", "4M", "--queues", "2", "--queue-size", str(BIG))
    for num in (BIG + 1, 2 * BIG, 2 * BIG + 1, 0xFFFFFFFF):
        assert refused(server, FE.SET_VRING_NUM, state(0, num)) == outcome("103:over")
    with Rig(server, BIG, size=2 << 20) as rig:
        rig.describe(rig.read_chain(), at=BIG - 3)
        rig.offer(BIG - 3)
        assert rig.served() == [(BIG - 3, SECTOR + 1)]
    assert outcome("103:largest") == "OK"


@pytest.mark.parametrize("part,by", [("desc", 1), ("desc", 2), ("desc", 4), ("desc", 8), ("desc", 15), ("avail", 1),
                                     ("avail", 3), ("used", 1), ("used", 2), ("used", 3)])  # fmt: skip
def test_case_104_misaligned(server, part, by):
    with Memory(1 << 16) as mem, Queue(mem, 0, 8) as q:
        payload = addr(q, **{part: q.addr[part] + by})
        assert refused(server, FE.SET_VRING_ADDR, payload, prepare=with_memory(mem)) == outcome(104)


@pytest.mark.parametrize("by", [("avail", 2), ("used", 4), ("desc", 16)], ids=lambda b: b[0])
def test_case_104_just_aligned(server, by):
    """As little aligned as may be, and the ring works."""
    with server.session(start=False) as s:
        q, (part, n) = s.q, by
        setattr(q.ring, part, getattr(q.ring, part) + n)
        if part == "avail":  # it would lie in the used ring's page otherwise
            q.ring.used = page_aligned(s.mem, 6 + 8 * q.num)
        s.mem.write(getattr(q.ring, part), bytes(16 * q.num))
        s.fe.start(q)
        assert s.works()


@pytest.mark.parametrize("part", ["desc", "avail", "used"])
@pytest.mark.parametrize("where", [0, 0x1000, 0x100000, TOP - 16, TOP - 256, TOP - 4096, 1 << 63])
def test_case_105_not_in_memory(server, part, where):
    """0x100000 is where the memory is for the guest, which is not what these addresses are."""
    with Memory(1 << 16) as mem, Queue(mem, 0, 8) as q:
        payload = addr(q, **{part: where})
        assert refused(server, FE.SET_VRING_ADDR, payload, prepare=with_memory(mem)) == outcome(105)


@pytest.mark.parametrize("event_idx", [False, True])
@pytest.mark.parametrize("part,size,align", [("desc", 16 * 8, 16), ("avail", 4 + 2 * 8, 2), ("used", 4 + 8 * 8, 4)])
def test_case_106_the_end_of_the_region(server, part, size, align, event_idx):
    """Exactly to the end is right, one unit of alignment further is not; with EVENT_IDX the ends are two bytes off."""
    features = bits(F.VERSION_1, F.PROTOCOL_FEATURES) | (bits(F.RING_EVENT_IDX) if event_idx else 0)
    if event_idx and part != "desc":
        size += 2
    with Memory(1 << 16) as mem, Queue(mem, 0, 8) as q:
        last = (mem.uva + mem.size - size) & ~(align - 1)
        for at, want in ((last, "OK"), (last + align, "NACK")):
            with server.connect() as fe:
                fe.negotiate(features)
                with_memory(mem)(fe)
                payload = addr(q, **{part: at})
                assert observe(fe, FE.SET_VRING_ADDR, payload, need_reply=True) == want
                if want == "NACK":
                    assert observe(fe, FE.SET_VRING_ADDR, payload) == "CLOSE"
    assert outcome("106:over") == "N/C" and outcome("106:end") == "OK"


def test_case_106_the_end_counts_when_the_size_comes_last(server):
    """ADDR before NUM can't be refused for what it does not say; the ring does not start, and nothing is touched."""
    with Memory(1 << 16) as mem, Queue(mem, 0, 8) as q, server.connect() as fe:
        fe.negotiate()
        fe.set_mem_table([mem])
        payload = addr(q, used=mem.uva + mem.size - 4)
        assert observe(fe, FE.SET_VRING_ADDR, payload, need_reply=True) == "OK"
        fe.vring_state(FE.SET_VRING_NUM, 0, 8)
        before = mem.read(mem.gpa, mem.size)
        assert fe.status(FE.SET_VRING_KICK, wire.vring_fd(0), [q.kick_fd]) != 0
        q.kick()
        settle(0.02)
        assert mem.read(mem.gpa, mem.size) == before


def test_case_107_three_regions(server):
    with contextlib.ExitStack() as stack:
        parts = [Memory(1 << 16, gpa=0x1000000 * (i + 2), uva=0x600000000000 - 0x10000000 * i) for i in range(3)]
        for mem in parts:
            stack.enter_context(mem)
        s = stack.enter_context(server.session(start=False))
        q = s.q
        for mem in parts:
            s.fe.add_mem_region(mem)
        where = dict(zip(("desc", "avail", "used"), (mem.uva + 4096 for mem in parts)))
        s.fe.vring_state(FE.SET_VRING_NUM, 0, q.num)
        s.fe.do(FE.SET_VRING_ADDR, addr(q, **where))
        s.fe.vring_fd(FE.SET_VRING_KICK, 0, q.kick_fd)
        s.fe.enable(q)
        request = BlkRequest.read(s.mem, 0, SECTOR)
        for k, (at, size, writable) in enumerate(request.chain):
            flags = (2 if writable else 0) | (1 if k < 2 else 0)
            parts[0].write(parts[0].gpa + 4096 + 16 * k, struct.pack("<QIHH", at, size, flags, (k + 1) % 3))
        parts[1].store16(parts[1].gpa + 4096 + 4, 0)
        parts[1].store16(parts[1].gpa + 4096 + 2, 1)
        q.kick()
        end = time.monotonic() + 2
        while not parts[2].load16(parts[2].gpa + 4096 + 2) and time.monotonic() < end:
            time.sleep(0.001)
        assert struct.unpack("<II", parts[2].read(parts[2].gpa + 4100, 8)) == (0, SECTOR + 1)
        assert request.status == 0
    assert outcome("107:three") == "OK"


@pytest.mark.parametrize("part,before", [("desc", 16), ("desc", 64), ("avail", 2), ("avail", 4), ("used", 4), ("used", 64)])
def test_case_107_across_two_regions(server, part, before):
    """Neighbours in guest and in user addresses, and so in this process they may be as well."""
    fd = os.memfd_create("two")
    os.ftruncate(fd, 1 << 17)
    try:
        with Memory(1 << 16) as mem, Queue(mem, 0, 8) as q:
            regions = [(mem.gpa, mem.size, mem.uva, 0), (mem.gpa + mem.size, 1 << 16, mem.uva + mem.size, 1 << 16)]

            def prepare(fe):
                fe.do(FE.SET_MEM_TABLE, wire.mem_table(regions), [fd, fd])
                fe.vring_state(FE.SET_VRING_NUM, 0, 8)

            payload = addr(q, **{part: mem.uva + mem.size - before})
            assert refused(server, FE.SET_VRING_ADDR, payload, prepare=prepare) == outcome("107:across")
    finally:
        os.close(fd)


@pytest.mark.parametrize("over", [{"avail": "desc"}, {"used": "desc"}, {"used": "avail"}, {"avail": "desc", "used": "desc"}])
def test_case_108_rings_over_each_other(server, over):
    """Whatever it makes of that: only the memory that it calls its used ring changes."""
    with Rig(server, start=False) as rig:
        q = rig.q
        where = {**q.addr, **{part: q.addr[on] for part, on in over.items()}}
        rig.describe(rig.read_chain())
        rig.q.ring.set_avail(0)
        rig.q.ring.publish()
        before = bytearray(rig.mem.read(rig.mem.gpa, rig.mem.size))
        rig.fe.vring_state(FE.SET_VRING_NUM, 0, q.num)
        rig.fe.do(FE.SET_VRING_ADDR, addr(q, **where))
        rig.fe.vring_fd(FE.SET_VRING_ERR, 0, q.err_fd)
        rig.fe.vring_fd(FE.SET_VRING_KICK, 0, q.kick_fd)
        rig.fe.enable(q)
        for _ in range(5):
            q.kick()
            settle(0.01)
        used = where["used"] - rig.mem.uva + rig.mem.gpa
        after = rig.mem.read(rig.mem.gpa, rig.mem.size)
        may = {*range(used, used + 4 + 8 * q.num), *range(rig.data, rig.data + 4096), rig.status, *rig.usable()}
        assert all(a == b or rig.mem.gpa + i in may for i, (a, b) in enumerate(zip(before, after)))
        rig.other_works()
        rig.fe.stop(q)
        rig.restart()
    assert outcome(108) == "SAFE"


def test_case_108_rings_of_two_queues_and_data(server):
    """Two queues with one used ring, which is a buffer too."""
    with Rig(server) as rig, Queue(rig.mem, 2, 8) as q:
        rig.fe.vring_state(FE.SET_VRING_NUM, 2, 8)
        rig.fe.do(FE.SET_VRING_ADDR, addr(q, used=rig.q.addr["used"]))
        rig.fe.vring_fd(FE.SET_VRING_KICK, 2, q.kick_fd)
        rig.fe.enable(q)
        for _ in range(20):
            q.submit([(rig.header, 16, False), (rig.q.ring.used & ~0xFFF, SECTOR, True), (rig.status, 1, True)])
            rig.offer(rig.describe([(rig.header, 16, 0), (rig.q.ring.used, SECTOR, WRITE), (rig.status, 1, WRITE)]))
            q.ring.free = list(range(8))
        settle()
        rig.other_works()
        rig.fe.stop(q)
        rig.fe.stop(rig.q)
        rig.restart()
    assert outcome(108) == "SAFE"


@pytest.mark.parametrize("flags", [2, 4, 0x80000000, 0xFFFFFFFE])
def test_case_109_unknown_flags(server, flags):
    with Memory(1 << 16) as mem, Queue(mem, 0, 8) as q:
        assert refused(server, FE.SET_VRING_ADDR, addr(q, flags=flags), prepare=with_memory(mem)) == outcome("109:flags")


def test_case_109_log_without_a_log(server):
    """The log flag without LOG_ALL: accepted, and nothing is written at the log address."""
    with Rig(server, start=False) as rig:
        log = page_aligned(rig.mem, 4096)
        rig.fe.vring_state(FE.SET_VRING_NUM, 0, rig.q.num)
        payload = addr(rig.q, flags=1, log=log)
        assert observe(rig.fe, FE.SET_VRING_ADDR, payload, need_reply=True) == outcome("109:log")
        rig.fe.vring_fd(FE.SET_VRING_ERR, 0, rig.q.err_fd)
        rig.fe.vring_fd(FE.SET_VRING_KICK, 0, rig.q.kick_fd)
        rig.fe.enable(rig.q)
        head = rig.describe(rig.read_chain())
        with rig.no_stray_writes((rig.data, SECTOR), (rig.status, 1)):
            rig.offer(head)
            rig.served()


@pytest.mark.parametrize("base", [65536, 65537, 1 << 31, 0xFFFFFFFF])
def test_case_110_more_than_16_bits(server, base):
    assert refused(server, FE.SET_VRING_BASE, state(0, base)) == outcome("110:bits")


@pytest.mark.parametrize("base,avail", [(0, 9), (100, 0), (0, 65535), (65535, 9), (5, 4)])
def test_case_110_base_and_index_too_far_apart(server, base, avail):
    with Rig(server, start=False) as rig:
        rig.mem.store16(rig.q.ring.avail + 2, avail)
        rig.q.ring.avail_idx = base
        rig.fe.start(rig.q)
        assert rig.broken(base, restart=False) == outcome("110:apart")
        rig.restart()


@pytest.mark.parametrize("base,used", [(5, 3), (5, 5), (5, 0), (0, 65535), (65535, 65530)])
def test_case_111_used_index_is_not_the_base(server, base, used):
    """Taking goes on at the base, nothing is taken twice or left out; publishing goes on at the ring's own index."""
    with Rig(server, start=False) as rig:
        ring = rig.q.ring
        ring.avail_idx = base
        ring.used_idx = used
        rig.mem.store16(ring.used + 2, used)
        rig.mem.store16(ring.avail + 2, base)
        rig.fe.start(rig.q)
        for n in range(1, 4):
            rig.good()
            assert rig.mem.load16(ring.used + 2) == (used + n) & 0xFFFF
        assert rig.fe.stop(rig.q) == (base + 3) & 0xFFFF
    assert outcome(111) == "OK"


def test_case_112_two_of_256_queues(start):
    """Two break, again and again; the others lose nothing by it."""
    server = start(*SERVER[:2], "--queues", "256", "--queue-size", "16")
    with contextlib.ExitStack() as stack:
        mem = stack.enter_context(Memory(8 << 20))
        fe = stack.enter_context(server.connect())
        fe.negotiate()
        fe.set_mem_table([mem])
        queues = [stack.enter_context(Queue(mem, i, 4)) for i in range(256)]
        for q in queues:
            fe.start(q)
        bad = queues[17], queues[200]
        requests = {q.index: BlkRequest.read(mem, 0, SECTOR) for q in queues}

        def round_trip():
            started = time.monotonic()
            for q in queues:
                if q not in bad:
                    q.submit(requests[q.index].chain)
            for q in queues:
                if q not in bad:
                    assert len(q.wait(1, 2.0)) == 1 and requests[q.index].status == 0
            return time.monotonic() - started

        before = min(round_trip() for _ in range(5))
        for q in bad:
            q.ring.set_avail(4)
            q.ring.publish()
            q.kick()
            assert q.failed(2.0)
        for q in bad:
            for _ in range(1000):
                q.kick()
        after = min(round_trip() for _ in range(5))
        assert after < 5 * before + 0.05, (before, after)
        assert [fe.stop(q) for q in bad] == [0, 0]
    assert outcome(112) == "OK"
