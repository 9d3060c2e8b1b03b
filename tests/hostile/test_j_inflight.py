# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""A live back-end that is killed with requests in flight, again and again: each of them is completed, and completed once."""

import contextlib
import os
import random
import signal
import struct
import time

import pytest
from lib import CAPACITY, FRESH_SECTOR, FULL, Server, outcome, until
from vh.testing import BlkRequest, Memory, Queue, wire
from vh.testing.wire import FE, PF, bits

SEED = int(os.environ.get("VH_SEED", "1"))
LIVES = 1000 if FULL else 25
DEPTH = 32
SECTORS = FRESH_SECTOR  # those behind it are for who looks whether it lives
INFLIGHT = bits(PF.INFLIGHT_SHMFD)


class Disk:
    """A guest's memory, one ring of it, and what was asked and answered over all lives of the back-end."""

    def __init__(self, rng):
        self.rng = rng
        self.mem = Memory(64 << 20)
        self.q = Queue(self.mem, 0, 128)
        self.model = {}  # sector: what was last written to it
        self.outstanding = {}  # head: (request, sector, what it writes)
        self.fd = -1  # of the records
        self.where = b""  # SET_INFLIGHT_FD's payload
        self.completed = 0

    def close(self):
        self.q.close()
        self.mem.close()
        if self.fd >= 0:
            os.close(self.fd)

    def connect(self, fe):
        fe.negotiate(None, fe.PROTOCOL_FEATURES | INFLIGHT)
        assert fe.pf_acked & INFLIGHT
        fe.set_mem_table([self.mem])
        if self.fd < 0:
            with fe.call(FE.GET_INFLIGHT_FD, wire.pack("INFLIGHT", num_queues=1, queue_size=self.q.num)) as msg:
                self.where = msg.payload
                (self.fd,) = msg.take()
        fe.do(FE.SET_INFLIGHT_FD, self.where, [self.fd])
        # What a front-end knows after a crash: as far as the ring says that requests were completed.
        fe.start(self.q, base=self.mem.load16(self.q.ring.used + 2))

    def submit(self, n):
        """n requests for sectors that no other one is in flight for: what they do does not depend on their order."""
        busy = {sector for _, sector, _ in self.outstanding.values()}
        for _ in range(min(n, DEPTH - len(self.outstanding))):
            sector = self.rng.choice([s for s in self.rng.sample(range(SECTORS), DEPTH + 1) if s not in busy])
            busy.add(sector)
            data = self.rng.randbytes(512) if self.rng.random() < 0.7 else None
            request = BlkRequest.write(self.mem, sector, data) if data else BlkRequest.read(self.mem, sector, 512)
            self.outstanding[self.q.ring.add(request.chain)] = (request, sector, data)
        self.q.kick()

    def reap(self):
        for head, _ in self.q.ring.reap():
            assert head in self.outstanding, f"request {head} was completed twice"
            request, sector, data = self.outstanding.pop(head)
            assert request.status == 0
            if data:
                self.model[sector] = data
            else:
                assert request.data() == self.model.get(sector, bytes(512)), f"sector {sector}"
            self.completed += 1

    def finish(self, timeout=10.0):
        def empty():
            self.reap()
            return not self.outstanding
        assert until(empty, timeout), f"{len(self.outstanding)} requests never came back"


@pytest.fixture
def disk(tmp_path):
    path = tmp_path / "disk.img"
    with open(path, "wb") as f:
        f.truncate(CAPACITY)
    one = Disk(random.Random(SEED))
    one.path = path
    print(f"VH_SEED={SEED}")
    yield one
    one.close()


@contextlib.contextmanager
def life(disk):
    """A back-end from its start to its end, which is sudden."""
    server = Server(("--file", os.fspath(disk.path)), expect_end=True)
    try:
        yield server
    finally:
        server.popen.send_signal(signal.SIGKILL)
        server.popen.wait()
        server.end()


def some_time(rng, most):
    """From nothing to so many seconds, mostly near to nothing."""
    end = time.monotonic() + most * rng.random() ** 3
    while time.monotonic() < end:
        pass


@pytest.mark.parametrize("while_recovering", (False, True), ids=("at work", "also while it recovers"))
def test_case_174_killed_at_any_time(disk, while_recovering):
    """Case 175: the second kill comes before the first one's requests are done."""
    for n in range(LIVES):
        with life(disk) as server, server.connect() as fe:
            disk.connect(fe)
            if while_recovering and n % 3:
                some_time(disk.rng, 0.001)
                continue
            for _ in range(disk.rng.randrange(1, 6)):
                disk.submit(disk.rng.randrange(1, DEPTH + 1))
                some_time(disk.rng, 0.002)
                disk.reap()
    with life(disk) as server, server.connect() as fe:
        disk.connect(fe)
        disk.finish()
        disk.submit(DEPTH)
        disk.finish()
    image = disk.path.read_bytes()
    assert disk.completed > LIVES
    wrong = [s for s, data in disk.model.items() if image[s * 512 : s * 512 + 512] != data]
    assert (not wrong and "OK") == outcome(174)


def test_case_171_the_used_index_wraps_between_crash_and_recovery(disk):
    ring = disk.q.ring
    for area in (ring.avail, ring.used):
        disk.mem.store16(area + 2, 0xFFF0)
    ring.avail_idx = ring.used_idx = 0xFFF0
    for _ in range(8):
        with life(disk) as server, server.connect() as fe:
            disk.connect(fe)
            disk.submit(7)
            some_time(disk.rng, 0.001)
            disk.reap()
    with life(disk) as server, server.connect() as fe:
        disk.connect(fe)
        disk.finish()
    assert (disk.mem.load16(ring.used + 2) < 0xFFF0 and "OK") == outcome(171)


def test_case_167_the_number_of_entries_is_changed_under_it(disk):
    """It is looked at once, when the ring starts."""
    with life(disk) as server, server.connect() as fe:
        disk.connect(fe)
        for wrong in (0, 1, 0xFFFF):
            disk.submit(8)
            os.pwrite(disk.fd, struct.pack("<H", wrong), 10)
            disk.submit(8)
            disk.finish()
        assert (server.alive() and "OK") == outcome(167)
