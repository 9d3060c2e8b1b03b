# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Section D: what comes while requests are in flight, on a file whose flushes take their time (64, 66, 71, 75)."""

import os
import time

import pytest
from lib import Server, in_step, outcome, state, until
from vh.testing import BlkRequest, Memory, Queue, wire
from vh.testing.wire import FE

SECTORS = 8192
N = 128


@pytest.fixture(scope="module")
def _disk(tmp_path_factory):
    image = tmp_path_factory.mktemp("disk") / "image"
    image.write_bytes(bytes(SECTORS * 512))
    server = Server(("--file", str(image), "--queues", "2", "--queue-size", "512", "--verbose"))
    server.image = os.open(image, os.O_RDWR | os.O_CLOEXEC)
    yield server
    os.close(server.image)
    server.end()


@pytest.fixture
def disk(_disk):
    yield _disk
    _disk.check()


def load(s, n=N) -> list[BlkRequest]:
    """n requests, every other one a flush, published at once; writes of a pattern of their own."""
    requests = []
    for i in range(n):
        one = BlkRequest.flush(s.mem) if i % 2 else BlkRequest.write(s.mem, 8 * i, bytes([i]) * 4096)
        s.q.ring.add(one.chain)
        requests.append(one)
    s.q.kick()
    return requests


def used(s) -> int:
    return s.mem.load16(s.q.ring.used + 2)


def wait_for_some(s, pause) -> None:
    """Until the device has begun, and a while longer."""
    until(lambda: used(s) > 0)
    time.sleep(pause)


@pytest.mark.parametrize("pause", (None, 0.0, 0.0005, 0.002, 0.01))
def test_case_064_the_base_with_requests_in_flight(disk, pause):
    with disk.session(4 << 20, 512) as s:
        requests = load(s)
        if pause is not None:
            wait_for_some(s, pause)
        base = s.fe.stop(s.q)
        before = bytes(s.mem.view)
        assert base == used(s), "what was taken is not what was given back"
        while s.q.called():
            pass
        time.sleep(0.1)
        assert bytes(s.mem.view) == before and not s.q.called() and outcome(64) == "OK"
        done = [r for r in requests if r.status == 0]
        assert len(done) == base and (pause is None or base > 0)
        # From there on the rest is done, and nothing twice.
        s.fe.start(s.q, base=base)
        assert until(lambda: used(s) == N) and all(r.status == 0 for r in requests)
        for i in range(0, N, 2):
            assert os.pread(disk.image, 4096, 4096 * i) == bytes([i]) * 4096


def flush_takes_time(fd) -> bool:
    """On a disk, not in a file system that is memory."""
    started = time.monotonic()
    for _ in range(20):
        os.pwrite(fd, b"\x99" * 4096, 4096 * (SECTORS // 8 - 1))
        os.fdatasync(fd)
    return time.monotonic() - started > 20 * 0.0002


def test_case_064_it_did_drain(disk):
    """The cases here are about requests in flight: the server says that it waited for some."""
    for _ in range(20):
        with disk.session(4 << 20, 512) as s:
            load(s)
            wait_for_some(s, 0.0)
            s.fe.stop(s.q)
        if "draining" in disk.output():
            return
    assert not flush_takes_time(disk.image)


@pytest.mark.parametrize("change", ("same", "more", "less"))
def test_case_066_the_memory_table_with_requests_in_flight(disk, change):
    with disk.session(4 << 20, 512) as s, Memory(1 << 16, gpa=1 << 40, uva=1 << 41) as more:
        for pause in (0.0, 0.0005, 0.002):
            requests = load(s, 64)
            wait_for_some(s, pause)
            gpa, size, uva, offset = s.mem.region
            regions, fds = [s.mem.region], [s.mem.fd]
            if change == "more":
                regions, fds = [s.mem.region, more.region], [s.mem.fd, more.fd]
            elif change == "less":
                regions = [(gpa, size - 4096, uva, offset)]
            for _ in range(10):
                assert s.fe.status(FE.SET_MEM_TABLE, wire.mem_table(regions), fds) == 0
            assert len(s.q.wait(64)) == 64 and all(r.status == 0 for r in requests)
            s.mem.next = s.mem.gpa + (1 << 20)  # the requests before are over; their room is free again
        assert s.works() and outcome("66:there") == "OK"
        assert disk.maps()[f"rw-s {memfd_name()}"] == len(regions)


def memfd_name() -> str:
    return "/memfd:vh-testing (deleted)"


def test_case_066_another_file_behind_the_same_addresses(disk):
    """The ring is looked at where it is now; the old memory is left alone."""
    with disk.session() as s, Memory(s.mem.size) as copy:
        assert s.works()
        # The flags of the used ring are the device's to change until it has left.
        flags = s.q.ring.used - s.mem.gpa
        copy.view[:] = s.mem.view
        before = bytes(s.mem.view[flags + 2 :])
        s.fe.do(FE.SET_MEM_TABLE, wire.mem_table([s.mem.region]), [copy.fd])
        s.q.ring.mem, s.mem, old = copy, copy, s.mem
        copy.next = old.next
        assert s.works() and bytes(old.view[flags + 2 :]) == before and outcome("66:there") == "OK"


def test_case_066_the_ring_is_at_another_address_now(disk):
    """The same user address means another guest address: that is not where the driver's ring is."""
    with disk.session(4 << 20, 512) as s:
        load(s, 64)
        gpa, size, uva, offset = s.mem.region
        s.fe.do(FE.SET_MEM_TABLE, wire.mem_table([(gpa + (1 << 30), size, uva, offset)]), [s.mem.fd])
        assert s.q.failed(2) and outcome("66:elsewhere") == "VQERR"
        s.q.ring.reap()
        assert in_step(s.fe) and s.fe.stop(s.q) == used(s)


@pytest.mark.parametrize("request_id", (FE.RESET_OWNER, FE.RESET_DEVICE), ids=lambda i: i.name)
@pytest.mark.parametrize("pause", (None, 0.0, 0.001))
def test_case_071_reset_with_requests_in_flight(disk, request_id, pause):
    with disk.session(4 << 20, 512) as s:
        load(s)
        if pause is not None:
            wait_for_some(s, pause)
        assert s.fe.status(request_id) == 0
        before = bytes(s.mem.view)
        while s.q.called():
            pass
        assert fds_of_rings(disk) == 0, "the reset ring's fds are still there"
        s.q.kick()
        time.sleep(0.05)
        assert bytes(s.mem.view) == before and not s.q.called()
        # The device is there again, from the start.
        with Queue(s.mem, 0, 16) as q:
            s.fe.start(q)
            s.q = q
            assert s.works() and outcome(71) == "OK"


def fds_of_rings(server) -> int:
    kind = "anon_inode:[eventfd]"
    return server.fds()[kind] - server.fds_at_start[kind]


def test_case_075_messages_behind_one_that_waits(disk):
    """Answers come in the order of the requests, also where a later one could be answered sooner."""
    for pause in (None, 0.0, 0.001, 0.005):
        with disk.session(4 << 20, 512) as s, Queue(s.mem, 1, 16) as other:
            load(s)
            if pause is not None:
                wait_for_some(s, pause)
            s.fe.send(FE.GET_VRING_BASE, state(0))
            s.fe.send(FE.GET_FEATURES)
            s.fe.send(FE.SET_VRING_NUM, state(1, 8), need_reply=True)
            s.fe.send(FE.GET_CONFIG, wire.config(0, 8))
            s.fe.send(FE.SET_VRING_BASE, state(0, 77), need_reply=True)
            s.fe.send(FE.GET_VRING_BASE, state(0))
            base = s.fe.recv_reply(FE.GET_VRING_BASE).fields()["num"]
            assert base == used(s)
            s.fe.recv_reply(FE.GET_FEATURES)
            assert s.fe.recv_reply(FE.SET_VRING_NUM).u64 == 0
            assert len(s.fe.recv_reply(FE.GET_CONFIG).payload) == 20
            assert s.fe.recv_reply(FE.SET_VRING_BASE).u64 == 0
            assert s.fe.recv_reply(FE.GET_VRING_BASE).fields()["num"] == 77
            assert in_step(s.fe) and other.index == 1 and outcome(75) == "OK"


def test_case_064_gone_with_requests_in_flight(disk):
    """The connection ends in the middle: nothing is written for a front-end that is gone."""
    for pause in (None, 0.0, 0.001):
        with disk.session(4 << 20, 512) as s:
            load(s)
            if pause is not None:
                wait_for_some(s, pause)
            s.fe.close()
            assert until(lambda: not disk.maps()[f"rw-s {memfd_name()}"], 5)
            before = bytes(s.mem.view)
            time.sleep(0.02)
            assert bytes(s.mem.view) == before
