# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Rings seen from outside: right where memory tells it, said to be a guess where not, and unmoved by nonsense."""
import json
import os
import random
import re
import signal
import struct
import sys

import pytest
from binding import TOP, VHCTL, WAIT, vh
from tracing import module, rig, running
from vh.testing import BlkRequest, Memory, Queue
from vh.testing.peer import Ring
from vh.testing.wire import FE, F, bits
from vh.trace import Tracer, read, rings

sys.path.insert(0, os.path.join(TOP, "tests", "model"))
from ring import SIDES, Geometry, Guest  # noqa: E402  # pylint: disable=wrong-import-position

SEED = int(os.environ.get("VH_SEED") or str(random.SystemRandom().randrange(1 << 32)), 0)
STEPS = 4000 if os.environ.get("VH_FULL") == "1" else 400
GPA, TABLES = 0x10000, 0x80000


class Model:
    """A driver and a device of tests/model on one ring, and what is in flight: published, and not told to be used."""

    def __init__(self, rng, packed, in_order, num, event_idx):
        self.rng, self.packed, self.num = rng, packed, num
        self.guest = Guest([(GPA, memoryview(bytearray(0x100000)), 0)])
        self.ring = Geometry(num, GPA, GPA + 0x8000, GPA + 0xC000, event_idx, True, in_order)
        make_driver, make_device = SIDES[packed]
        self.driver = make_driver(self.guest, self.ring, lambda free: free.pop(rng.randrange(len(free))))
        self.device = make_device(self.guest, self.ring)
        self.device.brief = lambda: rng.random() < 0.5
        self.flying = {}
        self.tables = 0

    def read(self, addr, size):
        got = self.guest.read(addr, size)
        if got is None:
            raise IndexError(addr)
        return got

    def offer(self, most=3):
        n = self.rng.randrange(1, most + 1)
        if self.driver.room() < n:
            return
        parts = [(0x90000 + 16 * i, 16, i > 0) for i in range(n)]
        table = None
        if self.rng.random() < 0.4:
            self.tables = (self.tables + 1) % 256
            table = GPA + 0x20000 + 256 * self.tables
        self.flying[self.driver.add(parts, table)] = [rings.Descriptor(*part) for part in parts]
        self.driver.publish()
        self.driver.ask(self.rng.random() < 0.7)

    def use(self, oldest):
        if not self.device.flying:
            return
        names = [name for name in self.device.flying if name not in self.device.held]
        name = names[0] if oldest else self.rng.choice(names)
        for done, _ in self.device.put(name, 0):
            del self.flying[done]
        self.device.publish()

    def look(self):
        ring = self.ring
        return rings.look(self.read, {"desc": ring.desc, "avail": ring.driver, "used": ring.device}, ring.num, self.packed,
                          ring.event_idx, ring.in_order, self.read)


@pytest.mark.parametrize("in_order", (False, True))
@pytest.mark.parametrize("packed", (False, True))
def test_a_ring_in_use(packed, in_order):
    rng = random.Random(SEED)
    right = wrong = guessed = 0
    for _ in range(STEPS // 100):
        m = Model(rng, packed, in_order, rng.choice((4, 8, 16)), rng.random() < 0.5)
        patient = rng.random() < 0.5  # a device that completes in order by itself
        for _ in range(100):
            act = rng.random()
            if act < 0.4:
                m.offer(1 if patient else 3)
            elif act < 0.6:
                m.device.take()
            elif act < 0.9:
                m.use(patient or in_order)
            else:
                m.driver.collect()
            s = m.look()
            assert not [p for p in s.problems if "older than" not in p], f"VH_SEED={SEED}: {s.problems}"
            same = [(r.head, r.descriptors) for r in s.requests] == list(m.flying.items())
            if not packed:
                assert s.in_flight == len(m.flying), f"VH_SEED={SEED}"
            if not s.guessed:
                assert same, f"VH_SEED={SEED}: {[str(r) for r in s.requests]}, and in flight are {list(m.flying)}"
            guessed += s.guessed
            right += same
            wrong += not same
    # What is not in memory can't be told; most of the time it is.
    print(f"VH_SEED={SEED}: {right} right, {wrong} wrong, {guessed} said to be guesses")
    assert right > 2 * wrong and (packed or not in_order or not wrong), f"VH_SEED={SEED}"


@pytest.mark.parametrize("packed", (False, True))
def test_a_ring_of_a_depth_that_does_not_change(packed):
    """As a guest's disk has it: always as many in flight, indirect, done in order."""
    rng = random.Random(7)
    m = Model(rng, packed, False, 8, True)
    for turn in range(300):
        while len(m.flying) < 3:
            m.flying[m.driver.add([(0x90000, 16, False)], GPA + 0x20000)] = [rings.Descriptor(0x90000, 16, False)]
            m.driver.publish()
        s = m.look()
        assert [r.head for r in s.requests] == list(m.flying) and s.in_flight == 3, turn
        assert s.oldest.indirect and not s.problems
        assert s.oldest.head == next(iter(m.flying))
        m.device.take()
        m.use(True)
        m.driver.collect()


def test_a_request_that_is_stuck_while_others_pass():
    """In flight for longer than the ring goes back: it is counted, and said to be missing or the list to be a guess."""
    m = Model(random.Random(1), False, False, 4, False)
    stuck = m.driver.add([(0x90000, 16, False)])
    m.driver.publish()
    m.device.take()
    for _ in range(20):
        m.driver.add([(0x90010, 16, False)])
        m.driver.publish()
        for done, _ in m.device.put(m.device.take().name, 0):
            assert done != stuck
        m.device.publish()
        m.driver.collect()
    s = m.look()
    assert s.in_flight == 1 and s.guessed and stuck not in [r.head for r in s.requests]


def split_state(mem, ring):
    return rings.look(mem.read, {"desc": ring.desc, "avail": ring.avail, "used": ring.used}, ring.num, read_guest=mem.read)


def test_chains_that_are_wrong():
    with Memory(1 << 20) as mem:
        ring = Ring(mem, 8)
        ring.write_desc(0, 0x1000, 16, 1, 1)  # a loop
        ring.write_desc(1, 0x1000, 16, 1, 0)
        ring.write_desc(2, 0x1000, 16, 1, 8)  # beyond the table
        ring.write_desc(3, 0x5000, 24, 4)  # a table of one and a half
        ring.write_desc(4, 1 << 63, 16, 4)  # a table that is nowhere
        table = mem.alloc(16)
        mem.write(table, struct.pack("<QIHH", 0, 16, 4, 0))  # a table within a table
        ring.write_desc(5, table, 16, 4)
        for head in (0, 2, 3, 4, 5, 9):
            ring.set_avail(head)
        ring.publish()
        s = split_state(mem, ring)
        said = [r.wrong for r in s.requests]
        for words, text in zip(("loop", "goes on at 8", "24 bytes", "not in guest memory", "within", "8 descriptors"), said):
            assert words in text
        assert s.in_flight == 6 and all("!!" in line for line in s.lines()[3:7])
        ring.publish(500)
        s = split_state(mem, ring)
        assert s.problems == ["the indices are 500 apart, and the ring has 8 entries"] and not s.requests


def test_rings_that_are_not_there():
    with Memory(1 << 16) as mem:
        for addr, size, word in (({}, 8, "nobody"), ({"desc": 0, "avail": 0, "used": 0}, 8, "can't be read"), ({}, 0, "0 entries"),
                                 ({}, 12, "12 entries"), ({}, 65536, "65536 entries")):
            assert word in rings.look(mem.read, addr, size).problems[0]


@pytest.mark.parametrize("packed", (False, True))
def test_any_bytes_at_all(packed):
    rng = random.Random(SEED)
    for _ in range(STEPS):
        data = bytes(rng.choice((0, 1, 4, 0x80, 0xFF, rng.randrange(256))) for _ in range(2048))

        def read(addr, size, data=data):
            if addr + size > len(data):
                raise IndexError(addr)
            return data[addr:addr + size]
        s = rings.look(read, {"desc": 0, "avail": 512, "used": 1024}, rng.choice((1, 2, 16, 32)), packed, rng.random() < 0.5,
                       rng.random() < 0.5, read)
        assert json.dumps(s.as_dict()) and s.lines(), SEED


def test_through_the_tracer_with_a_back_end_that_does_nothing(tmp_path):
    with rig(tmp_path) as r, Memory(1 << 20) as mem, Queue(mem, 0, 64) as q, Queue(mem, 1, 32) as other:
        r.fe.negotiate(features=bits(F.VERSION_1, F.PROTOCOL_FEATURES))
        r.fe.set_mem_table([mem])
        r.fe.start(q)
        r.fe.start(other, enable=False)
        requests = [BlkRequest.read(mem, i, 512) for i in range(3)]
        for i, request in enumerate(requests):
            q.submit(request.chain, indirect=i == 1)
        os.eventfd_write(q.call_fd, 5)
        first, second = r.tracer.ring_states()
        assert (first.in_flight, first.started, first.enabled, first.size) == (3, True, True, 64)
        assert [[(d.addr, d.size, d.writable) for d in x.descriptors] for x in first.requests] == [x.chain for x in requests]
        assert [x.indirect for x in first.requests] == [False, True, False]
        assert (first.kicks_pending, first.calls_pending) == (3, 5)
        assert first.interrupts == "always" and not first.problems and not first.guessed
        assert (second.in_flight, second.enabled) == (0, False)
        assert "oldest: head 0" in rings.text([first])
        r.fe.stop(q)
        assert not r.tracer.ring_states()[0].started
    assert r.tracer.ring_states() == []  # what was kept is let go of with the tracer


def test_requests_do_not_pass_through_the_tracer(tmp_path):
    front, back = str(tmp_path / "f"), str(tmp_path / "b")
    with running(VHCTL, "serve", "blk", "--socket", back, "--ram", "1M"), Tracer(front, back) as tracer:
        with vh.Blk("unix:" + front) as disk:
            before = len(tracer.messages)
            for i in range(100):
                disk.write(4096 * i, bytes(4096))
            assert len(tracer.messages) == before


def test_memory_that_goes_away_is_no_danger(tmp_path):
    with rig(tmp_path) as r, Memory(1 << 20) as mem, Queue(mem, 0, 64) as q:
        r.fe.negotiate()
        r.fe.set_mem_table([mem])
        r.fe.start(q)
        os.ftruncate(mem.fd, 4096)
        state, = r.tracer.ring_states()
        assert "can't be read" in state.problems[0]
        r.fe.set_mem_table([mem])  # another table over the first
        assert "region-file" in r.rules()


def test_rings_in_a_recording_and_a_reader_that_goes_away(tmp_path):
    front, back, log = str(tmp_path / "f"), str(tmp_path / "b"), str(tmp_path / "log")
    with running(VHCTL, "serve", "blk", "--socket", back, "--ram", "1M"), \
            running(*module("vh.trace", "--listen", front, "--connect", back, "--once", "--rings", "--json", "--jsonl", log)) as trace:
        with vh.Blk("unix:" + front):
            pass
        out, err = trace.communicate(timeout=WAIT)
    assert trace.returncode == 0 and not err
    with open(log, encoding="utf-8") as f:
        assert f.read() == out
    (ring,), = read(log).rings
    assert ring["size"] == 256 and ring["in_flight"] == 0 and len(read(log).messages) > 20
    with running(VHCTL, "serve", "blk", "--socket", back, "--ram", "1M"), \
            running(*module("vh.trace", "--listen", front, "--connect", back)) as trace:
        trace.stdout.close()
        with pytest.raises(vh.VhError), vh.Blk("unix:" + front):
            pass
        assert trace.wait(WAIT) == 0 and not trace.stderr.read()


def test_rings_on_a_signal_and_at_the_end(tmp_path):
    front, back = str(tmp_path / "f"), str(tmp_path / "b")
    with running(VHCTL, "serve", "blk", "--socket", back, "--ram", "1M"), \
            running(*module("vh.trace", "--listen", front, "--connect", back, "--once", "--rings")) as trace:
        with vh.Blk("unix:" + front) as disk:
            disk.write(0, bytes(4096))
            trace.send_signal(signal.SIGUSR1)
            lines = []
            while not any("device at" in line for line in lines):
                lines.append(trace.stdout.readline())
                assert lines[-1], lines
            assert re.search("^ring 0: running, enabled, packed, 256 entries$", lines[-2]), lines
            assert re.search(r"driver at (\d+) \(wrap 1\), device at \1 \(wrap 1\), 0 in flight", lines[-1])
        out, err = trace.communicate(timeout=WAIT)
    assert trace.returncode == 0 and not err
    assert "ring 0: stopped, disabled" in out
    assert FE.GET_VRING_BASE.name in out
