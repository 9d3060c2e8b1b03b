# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Section E, cases 85 to 88: memory whose file is cut while the device uses it. Never touched here after the cut.

A fault is known of all of the memory: what a device reads or writes for one queue may have come through any of it. So
each queue of that memory breaks when it is used next, nothing is reported as done after the fault, and a new memory
table heals.
"""

import contextlib
import os
import threading
import time

import pytest
from lib import CAPACITY, FULL, outcome
from rig import NEEDS_RESET, SECTOR, Rig, get_status, settle
from vh.testing import BlkRequest, Memory, Queue, wire
from vh.testing.wire import FE

SIZE = 1 << 20


def far(size=SIZE):
    """Memory beside a Rig's."""
    return Memory(size, gpa=0x10000000, uva=0x7D0000000000)


class Cut(Rig):
    """Queue 2's ring or its data in memory of its own, which is cut."""

    def __init__(self, server, **kwargs):
        self.gone = far()
        super().__init__(server, mems=[self.gone], **kwargs)
        self.stack.callback(self.gone.close)

    def cut(self, size=0):
        os.ftruncate(self.gone.fd, size)

    def victim(self, where=None, num=8):
        q = self.stack.enter_context(Queue(where or self.gone, 2, num))
        self.fe.start(q)
        return q

    def is_broken(self, q, base):
        """The err fd, NEEDS_RESET, the base; the other queues break when they are used, and all are healed. VQERR."""
        assert q.failed(2.0), "the err fd was not signalled"
        assert get_status(self.fe) & NEEDS_RESET
        assert self.fe.stop(q) == base
        used = self.mem.load16(self.q.ring.used + 2)
        self.offer(self.describe(self.read_chain()))
        self.fails()
        assert self.mem.load16(self.q.ring.used + 2) == used, "a request was reported as done"
        assert self.fe.stop(self.q) == used
        self.healed()
        return "VQERR"

    def healed(self):
        """A memory table without what was cut: queues 0 and 1 go on."""
        self.fe.stop(self.other)
        self.fe.set_mem_table([self.mem])
        self.fe.start(self.other)
        self.restart()
        self.other_works()


@pytest.fixture
def rig(server):
    with Cut(server) as one:
        yield one


def test_case_085_all_of_it_gone(rig):
    q = rig.victim()
    for _ in range(3):
        request = BlkRequest.read(rig.mem, 0, SECTOR)
        q.submit(request.chain)
        assert len(q.wait()) == 1
    settle(0.02)
    rig.cut()
    q.kick()
    assert rig.is_broken(q, 3) == outcome(85)


def test_case_085_the_only_memory_gone(server):
    with server.session() as s:
        assert s.works()
        base = s.q.ring.avail_idx
        settle(0.02)
        os.ftruncate(s.mem.fd, 0)
        s.q.kick()
        assert s.q.failed(2.0) and get_status(s.fe) & NEEDS_RESET
        assert s.fe.stop(s.q) == base


def requests(rig, n, size, at=0):
    """n reads with header and status in the memory that stays and data in the memory that goes."""
    chains = []
    for i in range(n):
        r = BlkRequest.read(rig.mem, 0, SECTOR)
        r.chain[1] = (rig.gone.gpa + at + i * size, size, True)
        chains.append(r.chain)
    return chains


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("left", [0, 4096])
@pytest.mark.parametrize("write", [False, True])
def test_case_086_data_gone_under_memcpy(rig, n, left, write):
    """A copy that begins in a page that is there and goes on into pages that are not."""
    q = rig.victim(rig.mem)
    chains = requests(rig, n, 16384)
    if write:
        chains = [[c[0], (c[1][0], c[1][1], False), c[2]] for c in chains]
        for chain in chains:
            rig.mem.write(chain[0][0], b"\1")
    for chain in chains:
        q.ring.add(chain)
    rig.cut(left)
    q.kick()
    assert rig.is_broken(q, 0) == outcome(86)
    assert rig.mem.load16(q.ring.used + 2) == 0, "a request was reported as done"


@pytest.mark.parametrize("n", [1, 4])
@pytest.mark.parametrize("write", [False, True])
def test_case_086_data_gone_under_preadv(start, tmp_path, n, write):
    path = tmp_path / "disk"
    path.write_bytes(bytes(CAPACITY))
    server = start("--file", str(path), "--queues", "4")
    with Cut(server) as rig:
        q = rig.victim(rig.mem, 16)
        chains = requests(rig, n, 16384)
        if write:
            chains = [[c[0], (c[1][0], c[1][1], False), c[2]] for c in chains]
            for chain in chains:
                rig.mem.write(chain[0][0], b"\1")
        for chain in chains:
            q.ring.add(chain)
        rig.cut()
        q.kick()
        assert rig.is_broken(q, 0) == outcome(86)
        assert rig.mem.load16(q.ring.used + 2) == 0, "a request was reported as done"


@pytest.mark.parametrize("device", ["ram", "file"])
def test_case_086_at_any_moment(start, tmp_path, device):
    """Cut in the middle of a stream of requests."""
    path = tmp_path / "disk"
    path.write_bytes(bytes(CAPACITY))
    server = start(*(("--ram", str(CAPACITY)) if device == "ram" else ("--file", str(path))), "--queues", "4")
    for round_ in range(100 if FULL else 10):
        with Cut(server) as rig:
            q = rig.victim(rig.mem, 64)
            chains = [[c[0], (rig.gone.gpa, SIZE, True), c[2]] for c in requests(rig, 4, SECTOR)]
            timer = threading.Timer(0.002 + round_ * 0.0003, rig.cut)
            timer.start()
            for chain in chains:
                q.submit(chain)
            end = time.monotonic() + 3
            while not q.failed() and time.monotonic() < end:
                for _, written in q.wait(1, 0.01):
                    assert written == SIZE + 1
                    q.submit(chains[0])
            timer.join()
            assert time.monotonic() < end
            used = rig.mem.load16(q.ring.used + 2)
            assert rig.fe.stop(q) == used
            rig.fe.stop(rig.q)
            rig.healed()


def test_case_087_truncated_and_extended_again(rig):
    q = rig.victim(rig.mem)
    (chain,) = requests(rig, 1, 16384)
    rig.cut()
    q.submit(chain)
    assert q.failed(2.0)
    rig.cut(SIZE)
    q.submit(requests(rig, 1, SECTOR)[0])
    settle()
    assert rig.mem.load16(q.ring.used + 2) == 0
    assert rig.fe.stop(q) == 0
    # the same memory, though it is as long as before: what is behind it is no longer the guest's
    with Queue(rig.mem, 2, 8) as again:
        rig.fe.start(again)
        again.submit(requests(rig, 1, SECTOR)[0])
        assert again.failed(2.0)
        assert rig.fe.stop(again) == 0
    rig.fe.set_mem_table([rig.mem, rig.gone])
    with Queue(rig.mem, 2, 8) as again:
        rig.fe.start(again)
        request = BlkRequest.read(rig.mem, 0, SECTOR)
        request.chain[1] = (rig.gone.gpa, SECTOR, True)
        rig.gone.write(rig.gone.gpa, b"\xaa" * 2 * SECTOR)
        again.submit(request.chain)
        assert len(again.wait()) == 1 and request.status == 0
        got = rig.gone.read(rig.gone.gpa, 2 * SECTOR)
        assert got[SECTOR:] == b"\xaa" * SECTOR and got[:SECTOR] != b"\xaa" * SECTOR, "it went to other memory"
    assert outcome(87) == "VQERR"


@pytest.mark.parametrize("part", ["desc", "avail", "used"])
@pytest.mark.parametrize("busy", [False, True])
def test_case_088_one_part_of_the_ring(rig, part, busy):
    """The part is in memory of its own; the ring has been idle, or finds a request there."""
    with Queue(rig.mem, 2, 8) as q:
        uva = {**q.addr, part: rig.gone.uva}
        rig.fe.vring_state(FE.SET_VRING_NUM, 2, 8)
        rig.fe.vring_state(FE.SET_VRING_BASE, 2, 0)
        rig.fe.do(FE.SET_VRING_ADDR, wire.pack("VRING_ADDR", index=2, **uva))
        rig.fe.vring_fd(FE.SET_VRING_ERR, 2, q.err_fd)
        rig.fe.vring_fd(FE.SET_VRING_KICK, 2, q.kick_fd)
        rig.fe.enable(q)
        settle(0.02)
        if busy:
            q.ring.add(BlkRequest.read(rig.mem, 0, SECTOR).chain)
        rig.cut()
        q.kick()
        if part == "desc" and not busy:
            # nobody looks at descriptors that nobody offers
            settle()
            assert not q.failed()
            q.submit(BlkRequest.read(rig.mem, 0, SECTOR).chain)
        assert rig.is_broken(q, 0) == outcome(88)


def test_case_085_cut_while_nothing_is_asked(rig):
    """Nothing is touched, so nothing is broken; stopping works, and the next table does."""
    q = rig.victim()
    settle(0.02)
    rig.cut()
    rig.good()
    assert rig.fe.stop(q) == 0
    rig.fe.remove_mem_region(rig.gone)
    rig.good()


def test_case_085_a_cut_file_in_a_new_table(server):
    """Truncated between SET_MEM_TABLE and the start of the ring."""
    with contextlib.ExitStack() as stack:
        rig = stack.enter_context(Cut(server))
        rig.cut()
        kick, err = os.eventfd(0, os.EFD_NONBLOCK), os.eventfd(0, os.EFD_NONBLOCK)
        stack.callback(os.close, kick)
        stack.callback(os.close, err)
        uva = rig.gone.uva
        rig.fe.vring_state(FE.SET_VRING_NUM, 2, 8)
        rig.fe.do(FE.SET_VRING_ADDR, wire.pack("VRING_ADDR", index=2, desc=uva, avail=uva + 4096, used=uva + 8192))
        rig.fe.vring_fd(FE.SET_VRING_ERR, 2, err)
        rig.fe.vring_fd(FE.SET_VRING_KICK, 2, kick)
        rig.fe.vring_state(FE.SET_VRING_ENABLE, 2, 1)
        end = time.monotonic() + 2
        while time.monotonic() < end:
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(err)
                break
            time.sleep(0.005)
        assert time.monotonic() < end, "the err fd was not signalled"
        rig.fe.stop(rig.q)
        rig.healed()
