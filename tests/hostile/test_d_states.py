# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Section D: the state machine (56 to 77), as far as it shows with a disk in memory."""

import contextlib
import os
import random
import socket
import struct

import pytest
from lib import FULL, Session, addr, in_step, observe, outcome, refused, state, u64, until
from reference import HANDLED, PROGRESS, expected, payload_of, spare_fds, stage
from vh.testing import BlkRequest, Closed, FrontEnd, Memory, Queue, wire
from vh.testing.wire import FE, FRONT_END, F, bits

SERVER = ("--ram", str(4 << 20), "--queues", "4", "--queue-size", "32768")
SEED = int(os.environ.get("VH_SEED", "1"))
LOG_FLAG = 1


def name(request_id) -> str:
    return FRONT_END[request_id].name


def flush(mem) -> list:
    return BlkRequest.flush(mem).chain


@pytest.mark.parametrize("request_id", sorted(FRONT_END), ids=name)
def test_case_056_as_the_very_first(server, request_id):
    for need_reply in (False, True):
        with stage(server, "fresh") as s, spare_fds(8) as spare:
            n = FRONT_END[request_id].accept_fd_min
            exact = s.exact(request_id)
            got = observe(s.fe, request_id, exact, s.fds(request_id, n, spare), need_reply=need_reply)
            assert got == expected(request_id, len(exact), len(exact), n, need_reply, "fresh")
    assert outcome(56) == "SAFE"


@pytest.mark.parametrize("request_id", sorted(HANDLED), ids=name)
def test_case_057_twice(server, request_id):
    """The second time it is what the first was, but for a region that is there already, or no more, and a state under way."""
    for state_name in PROGRESS[1:]:
        with stage(server, state_name) as s, spare_fds(8) as spare:
            n = FRONT_END[request_id].accept_fd_min
            exact = s.exact(request_id)
            got = []
            for _ in range(3):
                got.append(observe(s.fe, request_id, exact, s.fds(request_id, n, spare), need_reply=True))
            before = server.fds()
            got.append(observe(s.fe, request_id, exact, s.fds(request_id, n, spare), need_reply=True))
            assert server.fds() == before
            again = "NACK" if request_id in (FE.ADD_MEM_REG, FE.REM_MEM_REG) else got[0]
            if request_id in (FE.RESET_OWNER, FE.RESET_DEVICE):
                again = "OK"
            if request_id == FE.SET_DEVICE_STATE_FD:
                again = "ERRREPLY"  # one at a time
            assert got[1:] == [again] * 3, state_name
    assert outcome(57) == "SAFE"


@pytest.mark.parametrize("first", sorted(FRONT_END), ids=name)
def test_case_058_every_pair(server, first):
    chance = random.Random(f"{SEED} {first}")
    with spare_fds(8) as spare:
        for second in sorted(FRONT_END):
            with stage(server, chance.choice(PROGRESS)) as s, contextlib.suppress(Closed):
                for request_id in (first, second):
                    fds = s.fds(request_id, FRONT_END[request_id].accept_fd_min, spare)
                    s.fe.send(request_id, s.exact(request_id), fds, need_reply=chance.random() < 0.5)
                s.q.kick()
            assert server.alive(), name(second)
        assert until(lambda: server.fds() == server.fds_at_start)
    assert outcome(58) == "SAFE"


@pytest.mark.parametrize("seed", range(20000 if FULL else 120))
def test_case_058_fifty_at_random(server, seed):
    """Well-formed messages, and some that were spoiled: another size, other fds, a field of chance."""
    chance = random.Random(f"{SEED} {seed}")
    ids = sorted(HANDLED) * 3 + sorted(FRONT_END) + [0, 46]
    with stage(server, chance.choice(PROGRESS)) as s, spare_fds(8) as spare:
        s.q.ring.add(BlkRequest.write(s.mem, 0, b"\x22" * 512).chain)
        s.fe.negotiate()
        with contextlib.suppress(Closed):
            for _ in range(50):
                request_id = chance.choice(ids)
                payload = bytearray(s.exact(request_id))
                fds = s.fds(request_id, FRONT_END[request_id].accept_fd_min if request_id in FRONT_END else 0, spare)
                # Always with need_reply, so that a refusal is not the end.
                if payload and chance.random() < 0.3:
                    at = chance.randrange(len(payload))
                    payload[at] = chance.choice((0, 1, 2, 0x7F, 0x80, 0xFF))
                if chance.random() < 0.05:
                    payload = bytearray(payload_of(bytes(payload), chance.randrange(300)))
                if chance.random() < 0.05:
                    fds = spare[: chance.randrange(8)]
                s.fe.send(request_id, bytes(payload), fds, need_reply=True)
                if chance.random() < 0.3:
                    s.q.kick()
            with contextlib.suppress(wire.Timeout):
                while True:
                    s.fe.recv(timeout=0.002).close()
    assert server.alive() and until(lambda: server.fds() == server.fds_at_start)


def test_case_059_kick_before_all_else(server):
    with server.connect() as fe, Memory(1 << 20) as mem, Queue(mem, 0, 16) as q:
        fe.negotiate()
        fe.vring_fd(FE.SET_VRING_KICK, 0, q.kick_fd)
        fe.enable(q)
        write = BlkRequest.write(mem, 1, b"\x33" * 512)
        q.submit(write.chain)
        for step in (
            lambda: None,
            lambda: fe.vring_state(FE.SET_VRING_NUM, 0, q.num),
            lambda: fe.do(FE.SET_VRING_ADDR, addr(q)),
        ):
            step()
            q.kick()
            assert in_step(fe) and q.ring.reap() == []
        # The memory was what was missing; nobody kicks any more.
        fe.set_mem_table([mem])
        assert (len(q.wait()) == 1 and write.status == 0 and "OK") == outcome(59)
        assert Session(fe, mem, q).works()


def test_case_060_addresses_before_what_they_mean(server):
    with server.connect() as fe, Memory(1 << 20) as mem, Queue(mem, 0, 16) as q:
        fe.negotiate()
        assert observe(fe, FE.SET_VRING_ADDR, addr(q), need_reply=True) == outcome("60:early")
        fe.set_mem_table([mem])
        fe.start(q)
        assert Session(fe, mem, q).works()


@pytest.mark.parametrize("area, value", [("desc", 0), ("used", 0x7000_0000_0000), ("avail", 0xFFFF_FFFF_FFFF_FFF0)])
def test_case_060_wrong_addresses_before_the_memory(server, area, value):
    with server.connect() as fe, Memory(1 << 20) as mem, Queue(mem, 0, 16) as q:
        fe.negotiate()
        wrong = addr(q, **{area: value})
        fe.do(FE.SET_VRING_ADDR, wrong)
        fe.vring_state(FE.SET_VRING_NUM, 0, 16)
        fe.set_mem_table([mem])
        assert observe(fe, FE.SET_VRING_KICK, wire.vring_fd(0), [q.kick_fd], need_reply=True) == outcome("60:wrong")
        assert observe(fe, FE.SET_VRING_ADDR, wrong, need_reply=True) == outcome("60:wrong")
        fe.start(q)
        assert Session(fe, mem, q).works()


def ring_at_the_end(mem: Memory, num: int) -> dict:
    """Addresses of a ring of this size whose three parts end where the region does, one behind the other."""
    end = mem.uva + mem.size
    used = end - (6 + 8 * num + 3 & ~3)
    avail = used - (6 + 2 * num + 1 & ~1)
    return {"desc": avail - 16 * num & ~15, "avail": avail & ~1, "used": used & ~3}


@pytest.mark.parametrize("num", (8, 64, 1024, 32768))
def test_case_061_a_ring_that_grows_out_of_its_memory(server, num):
    with server.connect() as fe, Memory(1 << 16) as mem, Queue(mem, 0, 4) as q:
        fe.negotiate()
        fe.set_mem_table([mem])
        fe.vring_state(FE.SET_VRING_NUM, 0, 4)
        fe.do(FE.SET_VRING_ADDR, wire.pack("VRING_ADDR", **ring_at_the_end(mem, 4)))
        fe.vring_state(FE.SET_VRING_NUM, 0, num)
        assert observe(fe, FE.SET_VRING_KICK, wire.vring_fd(0), [q.kick_fd], need_reply=True) == outcome("61:start")
        q.kick()
        # With the size that fits it starts, and then can't grow.
        fe.vring_state(FE.SET_VRING_NUM, 0, 4)
        fe.vring_fd(FE.SET_VRING_KICK, 0, q.kick_fd)
        assert observe(fe, FE.SET_VRING_NUM, state(0, num), need_reply=True) == outcome("61:running")
        fe.enable(q)
        q.kick()
        assert in_step(fe)


def test_case_061_a_wanted_ring_that_grows_out_of_its_memory(server):
    """SET_VRING_KICK came first; NUM is the last thing that is missing, and too large."""
    with server.connect() as fe, Memory(1 << 16) as mem, Queue(mem, 0, 4) as q:
        fe.negotiate()
        fe.set_mem_table([mem])
        fe.vring_fd(FE.SET_VRING_KICK, 0, q.kick_fd)
        fe.vring_fd(FE.SET_VRING_ERR, 0, q.err_fd)
        fe.do(FE.SET_VRING_ADDR, wire.pack("VRING_ADDR", **ring_at_the_end(mem, 4)))
        fe.enable(q)
        before = bytes(mem.view)
        for num in (32768, 8):
            fe.vring_state(FE.SET_VRING_NUM, 0, num)
            q.kick()
            assert in_step(fe) and bytes(mem.view) == before
        assert fe.stop(q) == 0


def test_case_062_a_running_ring_stays_where_it_is(session):
    fe, q = session.fe, session.q
    assert session.works()
    with Queue(session.mem, 0, q.num) as other:
        for wrong in (addr(other), addr(q, desc=other.addr["desc"]), addr(q, avail=other.addr["avail"]),
                      addr(q, used=other.addr["used"]), addr(other, flags=LOG_FLAG)):  # fmt: skip
            assert observe(fe, FE.SET_VRING_ADDR, wrong, need_reply=True) == outcome("62:moves")
            assert session.works()
    for base in (0, q.ring.avail_idx, 0xFFFF):
        assert observe(fe, FE.SET_VRING_BASE, state(0, base), need_reply=True) == outcome("62:moves")
    for flags in (LOG_FLAG, 0):
        assert observe(fe, FE.SET_VRING_ADDR, addr(q, flags=flags, log=0x1000), need_reply=True) == outcome("62:log")
        assert session.works()
    assert fe.stop(q) == q.ring.avail_idx


def test_case_063_features_of_a_running_ring(session):
    fe = session.fe
    assert observe(fe, FE.SET_FEATURES, u64(fe.acked), need_reply=True) == "OK"
    for bit in range(64):
        expected = "OK" if bit == F.LOG_ALL else outcome(63)
        assert observe(fe, FE.SET_FEATURES, u64(fe.acked ^ bits(bit)), need_reply=True) == expected
    assert session.works()


def test_case_065_the_base_of_a_ring_that_rests(server):
    with server.connect() as fe, Memory(1 << 20) as mem:
        fe.negotiate()
        with Queue(mem, 3, 16) as q:
            for _ in range(3):
                assert (fe.stop(q) == 0 and "OK") == outcome(65)
            fe.vring_state(FE.SET_VRING_BASE, 3, 0xFFFE)
            for _ in range(3):
                assert fe.stop(q) == 0xFFFE
            fe.set_mem_table([mem])
            assert fe.stop(q) == 0xFFFE
        with Queue(mem, 3, 16, base=0xFFFE) as q:
            fe.start(q)
            assert Session(fe, mem, q).works() and Session(fe, mem, q).works()
            for _ in range(3):
                assert fe.stop(q) == 2


def test_case_067_the_ring_is_in_no_region_any_more(server):
    with server.session() as s, Memory(1 << 20, gpa=1 << 32, uva=1 << 40) as more, Queue(more, 1, 16) as other:
        s.fe.set_mem_table([s.mem, more])
        s.fe.start(other)
        assert s.works() and Session(s.fe, more, other).works()
        base = s.q.ring.avail_idx
        s.q.ring.add(flush(s.mem))
        before = bytes(s.mem.view)
        s.fe.set_mem_table([more])
        s.q.kick()
        assert s.q.failed(2) and outcome(67) == "VQERR"
        assert s.fe.get_u64(FE.GET_STATUS) & 64
        assert Session(s.fe, more, other).works()
        assert not changed(before, s.mem), "it was written where it is no more"
        assert s.fe.stop(s.q) == base
        # With memory again it starts where it was.
        s.fe.set_mem_table([s.mem, more])
        s.fe.start(s.q, base=base)
        assert len(s.q.wait()) == 1 and s.works()


def changed(before: bytes, mem: Memory) -> set[int]:
    """Offsets of the bytes that are not what they were."""
    now = bytes(mem.view)
    return {i for i in range(len(now)) if now[i] != before[i]}


@pytest.mark.parametrize("k", range(8))
def test_case_068_a_table_with_one_bad_region(session, k):
    """All or nothing, wherever the bad one stands and whatever the matter is with it."""
    assert session.works()
    with contextlib.ExitStack() as stack:
        mems = [stack.enter_context(Memory(1 << 16, gpa=i << 20, uva=i << 30)) for i in range(8)]
        r, w = os.pipe()
        stack.callback(os.close, r)
        stack.callback(os.close, w)
        gpa, size, uva, offset = mems[k].region
        bad = {
            "no bytes": ((gpa, 0, uva, offset), mems[k].fd),
            "beyond its file": ((gpa, size + 1, uva, offset), mems[k].fd),
            "wraps": ((2**64 - 4096, size, uva, offset), mems[k].fd),
            "overlaps": ((mems[k - 1].gpa, size, uva, offset), mems[k].fd),
            "is no file": ((gpa, size, uva, offset), r),
        }
        for what, (region, fd) in bad.items():
            regions, fds = [m.region for m in mems], [m.fd for m in mems]
            regions[k], fds[k] = region, fd
            got = observe(session.fe, FE.SET_MEM_TABLE, wire.mem_table(regions), fds, need_reply=True)
            assert got == outcome(68), what
            assert session.works(), what


def test_case_069_a_kick_before_enable(server):
    with server.session(start=False) as s:
        s.fe.start(s.q, enable=False)
        for _ in range(20):
            write = BlkRequest.write(s.mem, 3, b"\x44" * 512)
            s.q.submit(write.chain)
            assert in_step(s.fe)
            s.fe.enable(s.q)
            assert (len(s.q.wait()) == 1 and write.status == 0 and "OK") == outcome(69)
            s.fe.enable(s.q, False)


def test_case_070_a_disabled_ring_does_nothing(server):
    with server.session() as s, Queue(s.mem, 1, 16) as other:
        s.fe.start(other)
        reader = Session(s.fe, s.mem, other)
        assert s.write(5, b"\x55" * 512) == 0
        s.fe.enable(s.q, False)
        while s.q.called():
            pass
        before = s.mem.read(s.q.ring.used, 6 + 8 * s.q.num)
        write = BlkRequest.write(s.mem, 5, b"\x66" * 512)
        s.q.submit(write.chain)
        s.q.kick()
        for _ in range(20):
            assert reader.read(5, 512) == b"\x55" * 512
        assert write.status == 0xEE and s.mem.read(s.q.ring.used, 6 + 8 * s.q.num) == before
        assert not s.q.called(0.05) and outcome(70) == "OK"
        s.fe.enable(s.q)
        assert len(s.q.wait()) == 1 and reader.read(5, 512) == b"\x66" * 512


def test_case_072_who_enables_a_ring(server):
    without = bits(F.VERSION_1)
    with server.session(features=without) as s:
        assert (s.works() and "OK") == outcome(72)
    with server.session(features=without | bits(F.PROTOCOL_FEATURES), start=False) as s:
        s.fe.start(s.q, enable=False)
        s.q.submit(flush(s.mem))
        assert in_step(s.fe) and not s.q.wait(timeout=0.1)
        s.fe.enable(s.q)
        assert len(s.q.wait()) == 1 and s.works()
    # Protocol features negotiated, the bit itself not acked: enabled from the start all the same.
    with server.session(features=without, protocol_features=0) as s:
        assert s.works()


class Recorder(FrontEnd):
    """Keeps what it sends instead, and takes every answer for a good one."""

    def __init__(self):
        ours, self.other = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        super().__init__(ours)
        self.stream, self.fds = bytearray(), {}

    def send_bytes(self, data, fds=(), timeout=None, ancillary=None):
        if fds:
            self.fds[len(self.stream)] = list(fds)
        self.stream += data

    def do(self, request, payload=b"", fds=()):
        self.send(request, payload, fds, need_reply=len(self.stream) % 2 == 0)

    def call(self, request, payload=b"", fds=(), timeout=None, **kwargs):
        self.send(request, payload, fds, **kwargs)
        kind = FRONT_END[request].reply_payload
        value = bits(F.PROTOCOL_FEATURES, F.VERSION_1) if request == FE.GET_FEATURES else self.PROTOCOL_FEATURES
        return wire.Msg(request, 5, u64(value) if kind == "U64" else wire.pack(kind))


def test_case_073_gone_after_any_byte(server):
    """A full session as one stream, cut after each of its bytes."""
    with Memory(1 << 18) as mem, Queue(mem, 0, 16) as q:
        q.ring.add(BlkRequest.write(mem, 0, b"\x77" * 512).chain)
        with Recorder() as script, Memory(1 << 16, gpa=1 << 32, uva=1 << 40) as more:
            script.negotiate()
            script.set_mem_table([mem])
            script.do(FE.SET_STATUS, u64(7))
            script.start(q, base=0)
            script.add_mem_region(more)
            script.set_config(64, bytes(8))
            with script.open_channel():
                pass
            script.send(FE.GET_CONFIG, wire.config(0, 60))
            script.send(FE.REM_MEM_REG, struct.pack("=QQQQQ", 0, more.gpa, more.size, more.uva, 0))
            script.enable(q, False)
            script.send(FE.GET_VRING_BASE, state(0))
            script.do(FE.RESET_DEVICE)
            script.other.close()
        assert len(script.stream) > 500
        # These are closed by now; any memory and any socket will do.
        a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        marks = sorted(script.fds)
        script.fds[marks[-2]], script.fds[marks[-1]] = [mem.fd], [a.fileno()]
        for end in range(len(script.stream) + 1):
            with server.connect() as conn:
                for start, stop in zip([0, *marks], [*marks, len(script.stream)]):
                    if start < end:
                        conn.send_bytes(bytes(script.stream[start : min(stop, end)]), script.fds.get(start, ()))
                q.kick()
            assert server.alive(), end
        a.close()
        b.close()
        assert until(lambda: server.fds() == server.fds_at_start) and outcome(73) == "SAFE"


def test_case_076_a_stopped_device_is_silent(server):
    with server.session() as s, s.fe.open_channel() as channel:
        assert s.works()
        s.fe.stop(s.q)
        s.q.called()
        s.q.ring.add(BlkRequest.write(s.mem, 0, b"\x88" * 512).chain)
        before = bytes(s.mem.view)
        for _ in range(20):
            s.q.kick()
            assert in_step(s.fe)
        assert not changed(before, s.mem) and not s.q.called(0.05) and channel.silent(0)
        assert len(s.fe.get_config()) == 60 and outcome(76) == "OK"
        s.fe.start(s.q, base=s.q.ring.avail_idx - 1)
        assert len(s.q.wait()) == 1 and s.works()


@pytest.mark.parametrize(("direction", "phase"), ((2, 0), (0xFFFFFFFF, 0), (0, 1), (1, 1)))
def test_case_077_bad_direction_and_phase(server, direction, phase):
    payload = wire.pack("DEVICE_STATE", direction=direction, phase=phase)
    r, w = os.pipe()
    for fd in (r, w):
        assert refused(server, FE.SET_DEVICE_STATE_FD, payload, [fd]) == outcome(77)
    os.close(r)
    os.close(w)


@pytest.mark.parametrize("direction", (0, 1))
def test_case_077_running_rings(server, direction):
    payload = wire.pack("DEVICE_STATE", direction=direction)
    r, w = os.pipe()
    with server.session() as s:
        assert observe(s.fe, FE.SET_DEVICE_STATE_FD, payload, [(w, r)[direction]], need_reply=True) == outcome(77)
        assert observe(s.fe, FE.CHECK_DEVICE_STATE) == outcome(77)
        assert s.works()
    os.close(r)
    os.close(w)


def test_case_077_a_reader_that_leaves_and_a_writer_that_ends_early(server):
    with server.connect() as fe:
        fe.negotiate()
        for direction in (0, 1):
            r, w = os.pipe()
            payload = wire.pack("DEVICE_STATE", direction=direction)
            with fe.call(FE.SET_DEVICE_STATE_FD, payload, [(w, r)[direction]]) as msg:
                assert msg.u64 == 0x100 and not msg.fds
            if direction:
                os.write(w, b"not the state of a disk")
            os.close(r)
            os.close(w)
            assert observe(fe, FE.CHECK_DEVICE_STATE) == outcome(77)
