# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Peers that do what the specification forbids: each rule of the tracer is broken once, and nothing else is flagged."""
import os
import socket

import pytest
from tracing import WAIT, rig
from vh.testing import BE, FE, PF, F, Memory, Queue, wire
from vh.testing.wire import NET, Conn, bits, pack
from vh.trace import FRONT_END, MAIN, Message, rules
from vh.trace.session import MOST_OWED, MOST_REGIONS, MOST_RINGS, Session

OFFER = bits(F.VERSION_1, F.PROTOCOL_FEATURES, F.RING_EVENT_IDX, F.LOG_ALL, NET.MTU)
ACK = bits(F.VERSION_1, F.PROTOCOL_FEATURES, NET.MTU)
PROTOCOL = bits(PF.MQ, PF.REPLY_ACK, PF.BACKEND_REQ, PF.CONFIG, PF.CONFIGURE_MEM_SLOTS, PF.STATUS, PF.MTU, PF.INFLIGHT_SHMFD,
                PF.LOG_SHMFD)
EVERYTHING = bits(*PF) & ~bits(PF.XEN_MMAP)
CASES = {}


def case(*expected, **options):
    """A test: the rules that it breaks, in their order. The first gives it its name."""
    def add(function):
        CASES[function.__name__] = expected, options, function
        return function
    return add


class Talk:
    """Both ends by hand: what one says has arrived at the other before the next thing is said."""

    def __init__(self, r, mem, q):
        self.r, self.mem, self.q, self.channel = r, mem, q, None

    def ask(self, request, payload=b"", fds=(), flags=1, **kw):
        self.r.fe.send(request, payload, fds, flags=flags, **kw)
        return self.r.be.conn.recv()

    def answer(self, request, payload=b"", fds=(), flags=5):
        self.r.be.conn.send(request, payload, fds, flags=flags)
        self.r.fe.recv().close()

    def told(self, request, payload=b"", fds=(), flags=1):
        """A request whose fds nobody wants."""
        self.ask(request, payload, fds, flags).close()

    def u64(self, request, value, **kw):
        self.told(request, pack("U64", value=value), **kw)

    def state(self, request, index, num=0):
        self.told(request, pack("VRING_STATE", index=index, num=num))

    def offer(self, features=OFFER, protocol=EVERYTHING & ~bits(PF.RARP)):
        self.told(FE.GET_FEATURES)
        self.answer(FE.GET_FEATURES, pack("U64", value=features))
        if features >> F.PROTOCOL_FEATURES & 1:
            self.told(FE.GET_PROTOCOL_FEATURES)
            self.answer(FE.GET_PROTOCOL_FEATURES, pack("U64", value=protocol))

    def negotiate(self, ack=ACK, protocol=PROTOCOL):
        self.offer(protocol=PROTOCOL | protocol)
        self.u64(FE.SET_PROTOCOL_FEATURES, protocol)
        self.told(FE.SET_OWNER)
        self.u64(FE.SET_FEATURES, ack)

    def memory(self, **changes):
        gpa, size, uva, offset = self.mem.region
        region = {"gpa": gpa, "size": size, "uva": uva, "offset": offset, **changes}
        self.told(FE.SET_MEM_TABLE, wire.mem_table([tuple(region.values())]), [self.mem.fd])

    def address(self, **changes):
        self.told(FE.SET_VRING_ADDR, pack("VRING_ADDR", index=0, **{**self.q.addr, **changes}))

    def ready(self):
        self.negotiate()
        self.memory()
        self.state(FE.SET_VRING_NUM, 0, self.q.num)
        self.state(FE.SET_VRING_BASE, 0, 0)
        self.address()

    def kick(self):
        self.told(FE.SET_VRING_KICK, wire.vring_fd(0), [self.q.kick_fd])

    def open(self, request=FE.SET_BACKEND_REQ_FD):
        ours, theirs = socket.socketpair()
        with theirs, self.ask(request, b"", [theirs.fileno()]) as msg:
            self.channel = Conn(ours), Conn(socket.socket(fileno=msg.take()[0]))

    def back_asks(self, request, payload=b"", fds=(), flags=1):
        front, back = self.channel
        back.send(request, payload, fds, flags=flags)
        front.recv(WAIT).close()


@case()
def a_session_as_it_should_be(t):
    t.ready()
    t.kick()
    t.state(FE.SET_VRING_ENABLE, 0, 1)
    t.open()
    t.back_asks(BE.CONFIG_CHANGE_MSG)
    t.state(FE.GET_VRING_BASE, 0)
    t.answer(FE.GET_VRING_BASE, pack("VRING_STATE", index=0, num=3))
    t.state(FE.SET_VRING_NUM, 0, 32)


@case("header-version")
def another_version(t):
    t.told(FE.SET_OWNER, flags=2)


@case("header-flags")
def reserved_flags(t):
    t.told(FE.SET_OWNER, flags=0x11)


@case("cut-short")
def an_end_within_a_message(t):
    t.r.fe.send_bytes(wire.header(FE.SET_OWNER, 1, 8) + b"1")
    t.r.fe.close()
    with pytest.raises(wire.Closed):
        t.r.be.conn.recv()


@case("request-direction")
def a_back_end_that_asks_on_the_front_ends_socket(t):
    t.answer(FE.SET_OWNER, flags=1)


@case("unknown-request")
def a_message_that_nobody_knows(t):
    t.told(99)


@case("payload-size")
def a_payload_too_long(t):
    t.told(FE.SET_FEATURES, bytes(9))


@case("payload-size", "table-fds")
def a_table_shorter_than_it_says(t):
    t.negotiate()
    t.told(FE.SET_MEM_TABLE, wire.mem_table([t.mem.region], n=2), [t.mem.fd, t.mem.fd])


@case("fd-count")
def a_stray_fd(t):
    t.told(FE.SET_OWNER, fds=[t.mem.fd])


@case("protocol-feature")
def a_message_of_a_feature_that_was_not_acked(t):
    t.negotiate(protocol=PROTOCOL & ~bits(PF.CONFIG))
    t.told(FE.GET_CONFIG, wire.config(0, 8))
    t.answer(FE.GET_CONFIG, wire.config(0, 8))


@case("protocol-feature")
def a_request_of_the_back_end_that_was_not_negotiated(t):
    t.negotiate()
    t.open()
    t.back_asks(BE.SHMEM_UNMAP, pack("MMAP", len=4096))


@case("feature-offered", "ack-features")
def a_feature_that_was_not_offered(t):
    t.offer(OFFER & ~bits(NET.MTU))
    t.u64(FE.SET_PROTOCOL_FEATURES, PROTOCOL)
    t.u64(FE.NET_SET_MTU, 1500)
    t.u64(FE.SET_FEATURES, ACK)


@case("feature-acked")
def a_message_before_its_feature_is_acked(t):
    t.offer()
    t.state(FE.SET_VRING_ENABLE, 0, 1)


@case("need-reply")
def a_reply_is_wanted_without_reply_ack(t):
    t.told(FE.SET_OWNER, flags=9)


@case("ring-index")
def a_ring_that_there_is_not(t):
    t.negotiate()
    t.told(FE.GET_QUEUE_NUM)
    t.answer(FE.GET_QUEUE_NUM, pack("U64", value=2))
    t.state(FE.SET_VRING_NUM, 4, 64)
    t.state(FE.SET_VRING_NUM, 5, 64)


@case("ring-running", "ring-running", "ring-running", "ring-running")
def settings_of_a_ring_that_runs(t):
    t.ready()
    t.kick()
    t.state(FE.SET_VRING_NUM, 0, 64)
    t.state(FE.SET_VRING_BASE, 0, 0)
    t.address(flags=1)
    t.address(used=t.q.addr["used"] + 4)
    t.told(FE.SET_INFLIGHT_FD, pack("INFLIGHT", mmap_size=4096, num_queues=1, queue_size=64), [t.mem.fd])


@case("ack-features")
def an_ack_of_what_was_not_offered(t):
    t.offer()
    t.u64(FE.SET_FEATURES, OFFER | bits(F.ACCESS_PLATFORM))


@case("ack-protocol-features")
def a_protocol_feature_that_was_not_offered(t):
    t.offer()
    t.u64(FE.SET_PROTOCOL_FEATURES, PROTOCOL | bits(PF.RARP))


@case("feature-offered", "bit-30")
def protocol_features_without_bit_30(t):
    t.offer(bits(F.VERSION_1))
    t.u64(FE.SET_PROTOCOL_FEATURES, 0)


@case("bit-30")
def protocol_features_before_anything_is_known(t):
    t.u64(FE.SET_PROTOCOL_FEATURES, 0)


@case("protocol-feature-needs")
def a_protocol_feature_without_what_it_needs(t):
    t.offer()
    t.u64(FE.SET_PROTOCOL_FEATURES, bits(PF.BACKEND_REQ, PF.SHMEM))


@case("features-while-running")
def other_features_while_a_ring_runs(t):
    t.ready()
    t.kick()
    t.u64(FE.SET_FEATURES, ACK | bits(F.LOG_ALL))
    t.u64(FE.SET_FEATURES, ACK | bits(F.LOG_ALL, F.RING_EVENT_IDX))


@case("owner-twice")
def two_owners(t):
    t.told(FE.SET_OWNER)
    t.told(FE.SET_OWNER)


@case("ring-size", "ring-size", "ring-size")
def sizes_of_rings(t):
    for num in (0, 24, 65536, 64):
        t.state(FE.SET_VRING_NUM, 0, num)


@case("enable-value")
def neither_on_nor_off(t):
    t.negotiate()
    t.state(FE.SET_VRING_ENABLE, 0, 2)


@case("base-value")
def a_base_for_a_packed_ring(t):
    t.negotiate()
    t.state(FE.SET_VRING_BASE, 0, 0x80008000)


@case("address-flags")
def unknown_flags_of_an_address(t):
    t.ready()
    t.address(flags=2)


@case("address-alignment")
def an_odd_address(t):
    t.ready()
    t.address(avail=t.q.addr["avail"] + 1)


@case("address-memory")
def a_ring_outside_of_memory(t):
    t.ready()
    t.address(used=t.mem.uva + t.mem.size - 4)


@case("ring-fd", "ring-fd", "ring-fd")
def fds_and_the_bit_that_says_so(t):
    t.told(FE.SET_VRING_CALL, wire.vring_fd(0, nofd=True), [t.q.call_fd])
    t.told(FE.SET_VRING_CALL, wire.vring_fd(0))
    t.u64(FE.SET_VRING_CALL, 0x10100)


@case("ring-eventfd")
def a_call_that_is_no_eventfd(t):
    t.told(FE.SET_VRING_CALL, wire.vring_fd(0), [t.mem.fd])


@case("ring-incomplete")
def a_kick_before_the_addresses(t):
    t.negotiate()
    t.state(FE.SET_VRING_NUM, 0, 64)
    t.kick()


@case("channel-socket")
def a_channel_that_is_no_socket(t):
    t.negotiate()
    with t.ask(FE.SET_BACKEND_REQ_FD, b"", [t.mem.fd]) as got:
        assert os.fstat(got.fds[0]).st_ino == os.fstat(t.mem.fd).st_ino


@case("display-message")
def a_device_that_shows_too_little(t):
    t.open(FE.GPU_SET_SOCKET)
    t.back_asks(7, bytes(8), flags=0)


@case("table-fds")
def fewer_fds_than_regions(t):
    gpa, size, uva, offset = t.mem.region
    t.told(FE.SET_MEM_TABLE, wire.mem_table([t.mem.region, (gpa + size, size, uva + size, offset)]), [t.mem.fd])


@case("table-padding")
def padding_of_a_table(t):
    t.told(FE.SET_MEM_TABLE, wire.mem_table([t.mem.region], padding=1), [t.mem.fd])


@case("region-range")
def a_region_of_nothing(t):
    t.memory(size=0)


@case("region-overlap")
def a_region_over_another(t):
    t.negotiate()
    t.memory()
    gpa, size, uva, offset = t.mem.region
    t.told(FE.ADD_MEM_REG, pack("MEM_REG", gpa=gpa + size - 4096, size=4096, uva=uva + size, offset=offset), [t.mem.fd])


@case("region-file", "region-file")
def a_region_beyond_its_file(t):
    t.memory(offset=4096)
    t.told(FE.SET_MEM_TABLE, wire.mem_table([t.mem.region]), [t.q.kick_fd])


@case("region-unknown")
def a_region_that_is_not_there(t):
    t.negotiate()
    t.memory()
    gpa, size, uva, _ = t.mem.region
    t.told(FE.REM_MEM_REG, pack("MEM_REG", gpa=gpa + 4096, size=size, uva=uva))
    t.told(FE.REM_MEM_REG, pack("MEM_REG", gpa=gpa, size=size, uva=uva))


@case("config-length")
def config_shorter_than_it_says(t):
    t.negotiate()
    t.told(FE.SET_CONFIG, wire.config(0, 16, data=bytes(8)))


@case("config-range")
def config_beyond_its_end(t):
    t.negotiate()
    t.told(FE.SET_CONFIG, wire.config(250, 8))


@case("log-fd")
def a_log_without_memory(t):
    t.negotiate(ACK | bits(F.LOG_ALL))
    t.told(FE.SET_LOG_BASE, pack("LOG", mmap_size=4096))
    t.answer(FE.SET_LOG_BASE)


@case("status-value")
def a_status_of_nine_bits(t):
    t.negotiate()
    t.u64(FE.SET_STATUS, 0x100)


@case("iotlb", "iotlb", "iotlb", "iotlb")
def io_addresses_of_the_wrong_kind(t):
    t.offer(OFFER | bits(F.ACCESS_PLATFORM))
    t.u64(FE.SET_PROTOCOL_FEATURES, PROTOCOL)
    t.u64(FE.SET_FEATURES, ACK | bits(F.ACCESS_PLATFORM))
    t.told(FE.IOTLB_MSG, pack("IOTLB", type=2, perm=3, size=4096))
    t.told(FE.IOTLB_MSG, pack("IOTLB", type=1, perm=1))
    t.told(FE.IOTLB_MSG, pack("IOTLB", type=2, perm=0, size=1))
    t.told(FE.IOTLB_MSG, pack("IOTLB", type=2, perm=1, size=2, iova=(1 << 64) - 1))
    t.open()
    t.back_asks(BE.IOTLB_MSG, pack("IOTLB", type=1, perm=1))
    t.back_asks(BE.IOTLB_MSG, pack("IOTLB", type=3))


@case("inflight-count", "reply-inflight")
def inflight_memory_for_nothing(t):
    t.negotiate()
    t.told(FE.GET_INFLIGHT_FD, pack("INFLIGHT", num_queues=1))
    t.answer(FE.GET_INFLIGHT_FD, pack("INFLIGHT", mmap_size=4096))


def everything(t):
    t.negotiate(protocol=EVERYTHING)


@case("device-state")
def a_state_of_a_running_device(t):
    everything(t)
    t.told(FE.SET_DEVICE_STATE_FD, pack("DEVICE_STATE", phase=1), [t.mem.fd])
    t.answer(FE.SET_DEVICE_STATE_FD, pack("U64", value=0x101))


@case("shmem-range", "uuid-nil", "in-band-value")
def requests_of_a_back_end_that_mean_nothing(t):
    everything(t)
    t.open()
    t.back_asks(BE.SHMEM_UNMAP, pack("MMAP"))
    t.back_asks(BE.SHARED_OBJECT_ADD, bytes(16))
    t.back_asks(BE.VRING_CALL, pack("VRING_STATE", num=1))


@case("endian-value", "in-band-value")
def values_that_are_neither(t):
    everything(t)
    t.state(FE.SET_VRING_ENDIAN, 0, 2)
    t.state(FE.VRING_KICK, 0, 1)


@case("mtu-value")
def a_tiny_mtu(t):
    t.negotiate()
    t.u64(FE.NET_SET_MTU, 10)


@case("reply-unrequested")
def a_reply_out_of_the_blue(t):
    t.answer(FE.GET_FEATURES, bytes(8))


@case("reply-unrequested")
def a_reply_of_the_front_end(t):
    t.told(FE.GET_FEATURES)
    t.told(FE.GET_FEATURES, bytes(8), flags=5)


@case("need-reply", "reply-unasked")
def a_status_that_was_not_negotiated(t):
    t.told(FE.SET_OWNER, flags=9)
    t.answer(FE.SET_OWNER, bytes(8))


@case("reply-flags")
def a_reply_that_wants_a_reply(t):
    t.told(FE.GET_FEATURES)
    t.answer(FE.GET_FEATURES, bytes(8), flags=13)


@case("reply-size")
def a_short_reply(t):
    t.told(FE.GET_FEATURES)
    t.answer(FE.GET_FEATURES, bytes(4))


@case("reply-fds")
def a_reply_with_an_fd(t):
    t.told(FE.GET_FEATURES)
    t.answer(FE.GET_FEATURES, bytes(8), [t.mem.fd])


@case("reply-ring")
def the_base_of_another_ring(t):
    t.state(FE.GET_VRING_BASE, 0)
    t.answer(FE.GET_VRING_BASE, pack("VRING_STATE", index=1))


@case("reply-config")
def another_part_of_config(t):
    t.negotiate()
    t.told(FE.GET_CONFIG, wire.config(0, 8))
    t.answer(FE.GET_CONFIG, wire.config(8, 8))


@case("offered-unknown")
def protocol_features_from_the_future(t):
    t.offer(protocol=PROTOCOL | 1 << 60)


@case("reply-order")
def replies_in_another_order(t):
    t.told(FE.GET_FEATURES)
    t.told(FE.GET_VRING_BASE, bytes(8))
    t.answer(FE.GET_VRING_BASE, bytes(8))


@case("reply-late", late=0.01)
def a_reply_that_takes_its_time(t):
    t.told(FE.GET_FEATURES)
    assert t.r.tracer.wait_for(lambda: t.r.tracer.violations, WAIT)
    t.answer(FE.GET_FEATURES, bytes(8))


@case("reply-missing")
def an_end_instead_of_a_reply(t):
    t.told(FE.GET_FEATURES)
    t.r.be.close()
    assert t.r.fe.closed_by_peer(WAIT)


@pytest.mark.parametrize("name", CASES)
def test_a_peer_that(name, tmp_path):
    expected, options, act = CASES[name]
    with Memory(1 << 20) as mem, Queue(mem, 0, 64) as q, rig(tmp_path, serve=False, **options) as r:
        t = Talk(r, mem, q)
        try:
            act(t)
        finally:
            for conn in t.channel or ():
                conn.close()
    assert r.rules() == list(expected), [str(v) for v in r.tracer.violations]
    for v in r.tracer.violations:
        assert v.section == rules.BY_NAME[v.rule].section and v.number
    flagged = [v for m in r.tracer.messages for v in m.violations]
    assert sorted(v.rule for v in flagged) == sorted(expected)


def test_what_a_peer_makes_up_is_remembered_to_a_limit():
    session = Session(keep=True)
    fds = len(os.listdir("/proc/self/fd"))

    def say(request, payload, kept=()):
        session.add(Message(1, 1, 0, FRONT_END, MAIN, request, wire.VERSION | wire.NEED_REPLY, payload), kept)
    for i in range(1100):
        say(FE.SET_VRING_NUM, wire.pack("VRING_STATE", index=i * 1000, num=256))
        say(FE.ADD_MEM_REG, wire.pack("MEM_REG", gpa=i << 12, size=4096, uva=i << 12, offset=0), [wire.eventfd()] if i < 4 else ())
    assert len(session.rings) <= MOST_RINGS and len(session.regions) == MOST_REGIONS and len(session.owed[MAIN]) == MOST_OWED
    session.close()
    assert len(os.listdir("/proc/self/fd")) == fds


def test_a_tracer_that_only_tells_keeps_nothing(tmp_path):
    with rig(tmp_path, remember=False) as r:
        r.fe.send(FE.SET_OWNER)
        r.fe.send(FE.SET_OWNER)
        r.fe.get_u64(FE.GET_FEATURES)
        assert r.tracer.wait_for(lambda: r.tracer.n_violations == 1, WAIT)
        assert not r.tracer.messages and not r.tracer.violations and not r.tracer.notes


def test_each_rule_is_broken_by_a_case():
    assert {rule for expected, _, _ in CASES.values() for rule in expected} == set(rules.BY_NAME)
    assert len(rules.BY_NAME) == len(rules.TABLE)
