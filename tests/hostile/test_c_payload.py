# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Section C: payload (41 to 55)."""

import struct

import pytest
from lib import CAPACITY, OFFERED_PF, QUEUES, in_step, observe, outcome, refusal_of, refused, state, u64
from reference import HANDLED, PROGRESS, payload_of, stage
from vh.testing import BlkRequest, Memory, wire
from vh.testing.wire import FE, FRONT_END, PF, F, bits

FEATURES_OK = 8
CONFIG_MAX = 256


def name(request_id) -> str:
    return FRONT_END[request_id].name


@pytest.mark.parametrize("request_id", sorted(FRONT_END), ids=name)
def test_case_041_another_size(server, request_id):
    for need_reply in (True, False):
        with stage(server, "memory") as s:
            exact = s.exact(request_id)
        for size in {0, len(exact) - 1, len(exact) + 1, wire.MAX_PAYLOAD} - {-1, len(exact)}:
            with stage(server, "memory") as s:
                fds = s.fds(request_id, FRONT_END[request_id].accept_fd_min, [0])
                got = observe(s.fe, request_id, payload_of(exact, size), fds, need_reply=need_reply)
                assert got == refusal_of(request_id, need_reply, True), size
    assert outcome(41) == "N/C"


@pytest.mark.parametrize("size", (8, 39, 41, 48, 72, 264, 328))
def test_case_042_memory_table_of_another_size(server, size):
    """Also where it is the whole fixed struct: one region is 40 bytes."""
    with Memory(1 << 16) as mem:
        payload = wire.mem_table([mem.region]).ljust(size, b"\0")[:size]
        assert refused(server, FE.SET_MEM_TABLE, payload, [mem.fd]) == outcome(42)


def test_case_042_padding(server):
    with Memory(1 << 16) as mem:
        assert refused(server, FE.SET_MEM_TABLE, wire.mem_table([mem.region], padding=1), [mem.fd]) == outcome(42)


@pytest.mark.parametrize("n", (0, 2, 9, 0x10000, 0x08000001, 0xFFFFFFFF))
def test_case_043_number_of_regions(server, n):
    with Memory(1 << 16) as mem:
        for regions in ([], [mem.region], [mem.region] * 8):
            for fds in ([], [mem.fd], [mem.fd] * 8):
                if len(regions) != n:
                    assert refused(server, FE.SET_MEM_TABLE, wire.mem_table(regions, n=n), fds) == outcome(43)
        assert refused(server, FE.SET_MEM_TABLE, wire.mem_table([], n=n), []) == outcome(43)


@pytest.mark.parametrize("n", (9, 10, 127))
def test_case_043_more_regions_than_there_may_be(server, n):
    with Memory(n << 16) as mem:
        table = wire.mem_table([(i << 16, 1 << 16, i << 16, i << 16) for i in range(n)])
        assert refused(server, FE.SET_MEM_TABLE, table, [mem.fd] * 8) == outcome(43)


@pytest.mark.parametrize("offset, size, length", [
    (0, 0, 0), (0, 257, 257), (0, 0xFFFFFFFF, 60), (0xFFFFFFFC, 8, 8), (0xFFFFFFFF, 1, 1), (256, 1, 1), (255, 2, 2),
    (1, 256, 256), (0, 8, 7), (0, 8, 9), (0, 7, 8), (0, 8, 0), (0, 0, 8), (0x80000000, 0x80000000, 8), (0, 60, 256),
])  # fmt: skip
def test_case_044_config_out_of_bounds(server, offset, size, length):
    payload = wire.config(offset, size, data=bytes(length))
    with stage(server, "negotiated") as s:
        for need_reply in (False, True):
            assert observe(s.fe, FE.GET_CONFIG, payload, need_reply=need_reply) == outcome("44:out")
        assert refused_alike(s.fe, payload)
        assert len(s.fe.get_config()) == 60


def refused_alike(fe, payload) -> bool:
    """SET_CONFIG with the same bounds."""
    return fe.status(FE.SET_CONFIG, payload) != 0


def test_case_044_less_than_a_header(server):
    with stage(server, "negotiated") as s:
        for size in range(12):
            assert observe(s.fe, FE.GET_CONFIG, bytes(size)) == outcome("44:out")


def test_case_044_what_the_device_has_not(fe):
    """256 bytes are there for every device; behind its own fields they are zeros."""
    fe.negotiate()
    whole = fe.get_config(0, CONFIG_MAX)
    assert struct.unpack_from("<Q", whole)[0] == CAPACITY // 512
    for offset, size in ((0, 60), (60, 196), (255, 1), (100, 100), (1, 255)):
        assert (fe.get_config(offset, size) == whole[offset : offset + size] and "OK") == outcome("44:tail")


@pytest.mark.parametrize("flags", (0, 1))
@pytest.mark.parametrize("offset", (0, 20, 32, 255))
def test_case_045_a_config_space_to_read(server, offset, flags):
    with stage(server, "negotiated") as s:
        whole = s.fe.get_config(0, CONFIG_MAX)
    changed = wire.config(offset, flags=flags, data=bytes([whole[offset] ^ 1]))
    assert refused(server, FE.SET_CONFIG, changed) == outcome("45:changes")
    with stage(server, "negotiated") as s:
        same = wire.config(offset, flags=flags, data=whole[offset : offset + 1])
        assert observe(s.fe, FE.SET_CONFIG, same, need_reply=True) == outcome("45:same")
        assert s.fe.get_config(0, CONFIG_MAX) == whole


@pytest.mark.parametrize("flags", (2, 3, 0x80000000, 0xFFFFFFFF))
def test_case_045_flags(server, flags):
    assert refused(server, FE.SET_CONFIG, wire.config(64, 1, flags)) == outcome("45:flags")


def test_case_046_nothing_of_before_in_a_reply(server):
    """What was in the message before, or in another reply, is not in a reply's bytes that nobody wrote."""
    with stage(server, "negotiated") as s:
        first = s.fe.get_config(0, CONFIG_MAX)
        for offset in range(0, CONFIG_MAX, 16):
            with s.fe.call(FE.GET_CONFIG, wire.config(offset, 16, 0, b"\xa5" * 16)) as msg:
                assert msg.payload == wire.config(offset, 16, 0, first[offset : offset + 16])
            s.fe.status(FE.SET_CONFIG, wire.config(0, data=b"\x5a" * CONFIG_MAX))
        assert first[60:] == bytes(CONFIG_MAX - 60) and outcome(46) == "OK"


@pytest.mark.parametrize("bit", range(64))
def test_case_047_features_that_were_not_offered(server, bit):
    with server.connect() as fe:
        fe.negotiate()
        offered = fe.offered
    if offered & bits(bit):
        with server.connect() as fe:
            fe.negotiate()
            assert observe(fe, FE.SET_FEATURES, u64(bits(bit)), need_reply=True) == "OK"
    else:
        assert refused(server, FE.SET_FEATURES, u64(bits(bit, F.VERSION_1))) == outcome(47)


@pytest.mark.parametrize("bit", range(64))
def test_case_047_protocol_features_that_were_not_offered(server, bit):
    with stage(server, "fresh") as s:
        assert s.fe.get_u64(FE.GET_PROTOCOL_FEATURES) == OFFERED_PF
    if not OFFERED_PF & bits(bit):
        assert refused(server, FE.SET_PROTOCOL_FEATURES, u64(bits(bit, PF.REPLY_ACK))) == outcome(47)


def test_case_047_a_refused_feature_is_not_stored(session):
    """EVENT_IDX would change how the ring is served."""
    fe, q = session.fe, session.q
    fe.stop(q)
    assert fe.status(FE.SET_FEATURES, u64(bits(F.VERSION_1, F.RING_EVENT_IDX, F.IN_ORDER)))
    assert fe.status(FE.SET_PROTOCOL_FEATURES, u64(bits(PF.RARP)))
    fe.start(q)
    session.mem.store16(q.ring.avail + 4 + 2 * q.num, q.ring.used_idx + 100)  # used_event: far off
    q.submit(BlkRequest.flush(session.mem).chain)
    assert q.called(2), "the device waits for an event index that was refused"
    assert len(q.wait()) == 1 and session.works()


@pytest.mark.parametrize("others", (0, bits(PF.BACKEND_REQ), bits(PF.REPLY_ACK), bits(PF.BACKEND_REQ, PF.REPLY_ACK)))
def test_case_048_inband_notifications(fe, others):
    """Never offered, so refused with everything that it needs, and without."""
    fe.get_u64(FE.GET_FEATURES)
    ack = u64(bits(PF.INBAND_NOTIFICATIONS) | others)
    assert observe(fe, FE.SET_PROTOCOL_FEATURES, ack, need_reply=True, reply_ack=False) == outcome(48)


def test_case_049_protocol_features_acked_unseen(fe):
    fe.set_protocol_features(OFFERED_PF)
    assert fe.status(FE.SET_OWNER) == 0
    assert fe.status(FE.SET_VRING_ENDIAN, state(0, 1)) != 0
    fe.set_protocol_features(bits(PF.MQ))
    assert observe(fe, FE.SET_OWNER, need_reply=True) == outcome(49)  # again without an answer


@pytest.mark.parametrize("request_id", (FE.SET_VRING_KICK, FE.SET_VRING_CALL, FE.SET_VRING_ERR), ids=name)
@pytest.mark.parametrize("bit", range(9, 64))
def test_case_050_more_than_an_index(server, request_id, bit):
    with stage(server, "negotiated") as s:
        for value in (1 << bit, 1 << bit | 1, 0xFFFFFFFFFFFFFEFF & ~0xFF | 1):
            assert observe(s.fe, request_id, u64(value), [s.q.kick_fd], need_reply=True) == "NACK"
            assert observe(s.fe, request_id, u64(value | 0x100), need_reply=True) == "NACK"
        assert observe(s.fe, request_id, u64(1 << bit), [s.q.kick_fd]) == "CLOSE"
        assert outcome(50) == "N/C"


@pytest.mark.parametrize("num", (2, 0x100, 0x80000000, 0xFFFFFFFF))
def test_case_051_neither_on_nor_off(server, num):
    assert refused(server, FE.SET_VRING_ENABLE, state(0, num)) == outcome(51)


def test_case_051_is_off_still(session):
    session.fe.enable(session.q, False)
    assert session.fe.status(FE.SET_VRING_ENABLE, state(0, 2))
    session.q.submit(BlkRequest.flush(session.mem).chain)
    assert in_step(session.fe) and not session.q.wait(timeout=0.1)
    session.fe.enable(session.q)
    assert len(session.q.wait()) == 1


@pytest.mark.parametrize("value", (0, 1, 67, 68, 1500, 65536, 1 << 63))
def test_case_052_messages_for_network_devices(server, value):
    for request_id in (FE.SEND_RARP, FE.NET_SET_MTU):
        assert refused(server, request_id, u64(value)) == outcome(52)


@pytest.mark.parametrize("value", (0x100, 0x108, 1 << 32, 1 << 63))
def test_case_053_status(server, value):
    assert refused(server, FE.SET_STATUS, u64(value)) == outcome("53:value")
    with stage(server, "negotiated") as s:
        s.fe.do(FE.SET_STATUS, u64(3))
        assert s.fe.status(FE.SET_STATUS, u64(value)) and s.fe.get_u64(FE.GET_STATUS) == 3


def test_case_053_features_that_are_not_ok(fe):
    fe.negotiate()
    assert fe.status(FE.SET_FEATURES, u64(bits(F.IN_ORDER)))
    fe.do(FE.SET_STATUS, u64(3 | FEATURES_OK))
    assert (fe.get_u64(FE.GET_STATUS) == 3 and "OK") == outcome("53:features")
    fe.do(FE.SET_FEATURES, u64(bits(F.VERSION_1)))
    fe.do(FE.SET_STATUS, u64(3 | FEATURES_OK))
    assert fe.get_u64(FE.GET_STATUS) == 3 | FEATURES_OK
    assert fe.status(FE.SET_FEATURES, u64(bits(F.VERSION_1, F.IN_ORDER)))
    assert fe.get_u64(FE.GET_STATUS) == 3


@pytest.mark.parametrize("num", (0, 1, 2, 0xFFFFFFFF))
def test_case_054_endianness(server, num):
    assert refused(server, FE.SET_VRING_ENDIAN, state(0, num)) == outcome(54)


@pytest.mark.parametrize("name_of_stage", PROGRESS)
def test_case_055_the_form_of_replies(server, name_of_stage):
    """recv_reply() holds id and flags to the byte; the size is the table's, one reply has an fd."""
    sizes = {FE.GET_CONFIG: 72, FE.GET_INFLIGHT_FD: 24}
    values = {FE.GET_QUEUE_NUM: QUEUES, FE.GET_PROTOCOL_FEATURES: OFFERED_PF, FE.GET_MAX_MEM_SLOTS: 509}
    for request_id in sorted(HANDLED):
        for flags in (wire.VERSION, wire.VERSION | wire.NEED_REPLY):
            with stage(server, name_of_stage) as s:
                row = FRONT_END[request_id]
                fds = s.fds(request_id, row.accept_fd_min, [0])
                own = row.reply == "OWN"
                s.fe.send(request_id, s.exact(request_id), fds, flags=flags)
                if own or (flags & wire.NEED_REPLY and s.fe.reply_ack):
                    with s.fe.recv_reply(request_id) as msg:
                        assert len(msg.payload) == sizes.get(request_id, 8)
                        assert len(msg.fds) == (request_id == FE.GET_INFLIGHT_FD)
                        assert request_id not in values or msg.u64 == values[request_id]
    assert outcome(55) == "OK"
