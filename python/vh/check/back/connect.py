# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Connecting, what is negotiated, and how requests are answered."""

from __future__ import annotations

from typing import Sequence

from vh.check.context import Context
from vh.check.core import INFO, MUST, SHOULD, USER, VIRTIO, check, equal, require
from vh.check.wires import Wire
from vh.testing import wire
from vh.testing.peer import FrontEnd
from vh.testing.wire import FE, PF, F, bits

NEGOTIATION = f"{USER}: Protocol features"
HEADER = f"{USER}: Header"
ACK = f"{USER}: Reply acknowledgement"

@check("connect.reply", MUST, HEADER)
def reply(c: Context) -> None:
    """A reply has its request's number, version 1, the reply flag and no other, and the size of its payload."""
    with c.wire().call(FE.GET_FEATURES) as msg:
        equal(len(msg.payload), 8, "bytes of GET_FEATURES's reply")
        equal(len(msg.fds), 0, "fds with GET_FEATURES's reply")


@check("connect.again", SHOULD, f"{USER}: Communication", "again")
def again(c: Context) -> None:
    """A back-end that listens serves one connection after the other, and offers the same on each."""
    for _ in range(3):
        with c.wire() as fe:
            equal(fe.offered, c.offer.features, "features of a later connection")


@check("connect.steady", MUST, f"{USER}: GET_FEATURES")
def steady(c: Context) -> None:
    """GET_FEATURES may come at any time, and says the same each time; front-ends use it as a barrier."""
    fe = c.negotiated()
    equal(fe.get_u64(FE.GET_FEATURES), fe.offered, "features after SET_FEATURES")


@check("connect.pieces", SHOULD, f"{USER}: Communication", differs="DPDK and virtiofsd want a header in one piece")
def pieces(c: Context) -> None:
    """The socket is a stream: a message whose bytes come one by one is the same message."""
    fe = c.wire()
    head = wire.header(FE.GET_FEATURES, wire.VERSION, 0)
    fe.send_bytes(head[:1])
    require(fe.silent(0.05), "one byte of a message was answered, or ended the connection")
    for byte in head[1:]:
        fe.send_bytes(bytes([byte]))
    with fe.recv_reply(FE.GET_FEATURES) as msg:
        equal(msg.u64, fe.offered, "features")


@check("connect.together", MUST, f"{USER}: Communication")
def together(c: Context) -> None:
    """Requests that arrive in one piece are answered one by one, in their order."""
    fe = c.wire()
    one = wire.header(FE.GET_FEATURES, wire.VERSION, 0)
    fe.send_bytes(one + wire.header(FE.SET_OWNER, wire.VERSION, 0) + one)
    for _ in range(2):
        with fe.recv_reply(FE.GET_FEATURES) as msg:
            equal(msg.u64, fe.offered, "features")


@check("features.version-1", SHOULD, f"{VIRTIO}: 6.1 Driver Requirements: Reserved Feature Bits")
def version_1(c: Context) -> None:
    """A device of today offers VIRTIO_F_VERSION_1; without it only legacy drivers can use it."""
    require(c.wire().offered & bits(F.VERSION_1), "VIRTIO_F_VERSION_1 is not offered")


@check("features.protocol", SHOULD, NEGOTIATION)
def protocol(c: Context) -> None:
    """VHOST_USER_F_PROTOCOL_FEATURES is offered; without it there is no configuration space, no status, no second queue."""
    require(c.wire().offered & bits(F.PROTOCOL_FEATURES), "bit 30 is not offered")


@check("features.known", INFO, NEGOTIATION, "F.PROTOCOL_FEATURES")
def known_bits(c: Context) -> None:
    """Protocol features that are offered have a meaning in the specification."""
    unknown = c.wire().get_u64(FE.GET_PROTOCOL_FEATURES) & ~bits(*PF)
    require(not unknown, f"bits without a meaning: {unknown:#x}")


@check("features.depends", MUST, NEGOTIATION, "F.PROTOCOL_FEATURES")
def depends(c: Context) -> None:
    """A protocol feature that needs another one is offered together with it."""
    offered = c.wire().get_u64(FE.GET_PROTOCOL_FEATURES)
    for feature, needs in wire.PF_NEEDS.items():
        missing = [other.name for other in PF if bits(other) & needs & ~offered]
        require(not (offered & bits(feature) and missing), f"{feature.name} is offered without {' '.join(missing)}")


@check("features.protocol-first", MUST, NEGOTIATION, "F.PROTOCOL_FEATURES")
def protocol_first(c: Context) -> None:
    """Protocol features may be asked for and set before SET_FEATURES, as soon as bit 30 was seen."""
    fe = c.wire()
    equal(fe.get_u64(FE.GET_PROTOCOL_FEATURES), c.offer.pf, "protocol features")
    fe.set_protocol_features(c.offer.pf & FrontEnd.PROTOCOL_FEATURES)
    fe.do(FE.SET_OWNER)
    fe.do(FE.SET_FEATURES, wire.pack("U64", value=fe.offered & FrontEnd.FEATURES))
    equal(fe.get_u64(FE.GET_FEATURES), fe.offered, "features afterwards")


@check("features.protocol-later", SHOULD, NEGOTIATION, "F.PROTOCOL_FEATURES")
def protocol_later(c: Context) -> None:
    """They may come after SET_FEATURES too: SPDK's front-end does it so."""
    fe = c.wire()
    fe.do(FE.SET_OWNER)
    fe.do(FE.SET_FEATURES, wire.pack("U64", value=fe.offered & FrontEnd.FEATURES))
    equal(fe.get_u64(FE.GET_PROTOCOL_FEATURES), c.offer.pf, "protocol features after SET_FEATURES")
    fe.set_protocol_features(c.offer.pf & FrontEnd.PROTOCOL_FEATURES)
    equal(fe.get_u64(FE.GET_FEATURES), fe.offered, "features afterwards")


@check("features.few", MUST, f"{USER}: SET_FEATURES", "F.VERSION_1")
def few(c: Context) -> None:
    """A driver may take the smallest part of the offer, VERSION_1 alone."""
    fe = c.negotiated(bits(F.VERSION_1, F.PROTOCOL_FEATURES), 0)
    equal(fe.get_u64(FE.GET_FEATURES), fe.offered, "features after a small SET_FEATURES")


@check("features.not-offered", SHOULD, f"{USER}: SET_FEATURES", "PF.REPLY_ACK")
def not_offered(c: Context) -> None:
    """Features that were not offered are refused, by a status or by the end of the connection."""
    fe = c.wire()
    fe.set_protocol_features(bits(PF.REPLY_ACK))
    fe.do(FE.SET_OWNER)
    free = next(bit for bit in range(63, 0, -1) if not fe.offered >> bit & 1)
    refused(c, fe, FE.SET_FEATURES, wire.pack("U64", value=fe.offered & FrontEnd.FEATURES | bits(free)))


@check("features.queues", MUST, f"{USER}: Multiple queue support", "PF.MQ")
def queues(c: Context) -> None:
    """GET_QUEUE_NUM says how many queues there can be: one at least, and the same each time."""
    fe = c.negotiated()
    count = fe.get_u64(FE.GET_QUEUE_NUM)
    require(1 <= count <= 65536, f"{count} queues")
    equal(fe.get_u64(FE.GET_QUEUE_NUM), count, "queues, asked again")


@check("ack.status", MUST, ACK, "PF.REPLY_ACK")
def status(c: Context) -> None:
    """With REPLY_ACK a request that asks for it gets a status as its reply, 0 when it was done."""
    fe = c.negotiated()
    for _ in range(2):
        with fe.call(FE.SET_VRING_BASE, wire.pack("VRING_STATE", index=0), need_reply=True) as msg:
            equal(len(msg.payload), 8, "bytes of a status")
            equal(msg.u64, 0, "status of SET_VRING_BASE")


@check("ack.silent", MUST, ACK, "PF.REPLY_ACK")
def silent(c: Context) -> None:
    """A request that does not ask for a status gets none, also when REPLY_ACK was negotiated."""
    fe = c.negotiated()
    fe.send(FE.SET_VRING_BASE, wire.pack("VRING_STATE", index=0))
    with fe.call(FE.GET_FEATURES) as msg:
        equal(msg.u64, fe.offered, "what follows")


@check("ack.once", MUST, ACK, "PF.REPLY_ACK")
def once(c: Context) -> None:
    """A request that has a reply of its own gets that one and no status, whether it asks for one or not."""
    fe = c.negotiated()
    fe.send(FE.GET_FEATURES, need_reply=True)
    with fe.recv() as msg:
        equal(msg.request, FE.GET_FEATURES, "what is answered")
        equal(msg.u64, fe.offered, "features")
    with fe.call(FE.GET_PROTOCOL_FEATURES) as msg:
        equal(msg.u64, c.offer.pf, "the next reply")


@check("ack.flags", SHOULD, HEADER, "PF.REPLY_ACK", differs="libvhost-user repeats it in replies that are not a status")
def flags(c: Context) -> None:
    """The need_reply flag is not repeated in a reply: front-ends compare the flags of a reply with 5."""
    c.negotiated().call(FE.GET_FEATURES, need_reply=True).close()


@check("ack.refusal", SHOULD, ACK, "PF.REPLY_ACK")
def refusal(c: Context) -> None:
    """A request that can't be done gets a status that is not 0: a size for a ring that does not exist."""
    refused(c, c.negotiated(), FE.SET_VRING_NUM, wire.pack("VRING_STATE", index=0xFFF0, num=16))


def refused(c: Context, fe: Wire, request: int, payload: bytes = b"", fds: Sequence[int] = ()) -> None:
    """This request gets a status that is not 0, or ends the connection."""
    try:
        value = fe.status(request, payload, fds)
    except wire.Closed:
        died = c.target.died()
        require(not died, died)
        value = 1
    require(value, f"{FE(request).name} is answered by 0")
