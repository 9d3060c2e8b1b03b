# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Network devices: frames out and in."""

from __future__ import annotations

import struct

from vh.check.context import Context, Rig
from vh.check.core import MUST, ROBUST, SHOULD, USER, VIRTIO, Fails, check, equal, require
from vh.check.devices import FRAME, NET_HEADER
from vh.testing import wire
from vh.testing.wire import FE, NET, PF, F, bits

SEND = f"{VIRTIO}: 5.1.6.2 Packet Transmission"
RECEIVE = f"{VIRTIO}: 5.1.6.4 Processing of Incoming Packets"
RX, TX = 0, 1


def room(rig: Rig, size: int, n: int = 1) -> list[int]:
    """n buffers in the receive queue."""
    at = []
    for _ in range(n):
        at.append(rig.mem.alloc(size))
        rig.mem.write(at[-1], b"\xa5" * size)
        rig.queues[RX].submit([(at[-1], size, True)])
    return at


def send(rig: Rig, frame: bytes, header: int = NET_HEADER, parts: bool = False) -> None:
    at = rig.mem.alloc(header + len(frame))
    rig.mem.write(at, bytes(header) + frame)
    chain = [(at, header, False), (at + header, len(frame), False)] if parts else [(at, header + len(frame), False)]
    head = rig.q.submit(chain)
    came = rig.q.wait(1, rig.wait)
    require([h for h, _ in came] == [head], "a frame was not taken")


def received(rig: Rig) -> int:
    """The length of what came into the receive queue next."""
    came = rig.queues[RX].wait(1, rig.wait)
    require(len(came) == 1, f"{len(came)} frames came back")
    length: int = came[0][1]
    return length


@check("net.sent-length", MUST, SEND, device="net", nodes=True)
def sent_length(c: Context) -> None:
    """A sent frame comes back as used with length 0: nothing was written into it."""
    rig = c.rig()
    rig.io(3)


@check("net.parts", MUST, f"{VIRTIO}: 2.7.4 Message Framing", device="net", nodes=True)
def parts(c: Context) -> None:
    """The header and the frame may lie in one buffer, or in two."""
    rig = c.rig()
    send(rig, FRAME)
    send(rig, FRAME, parts=True)


@check("net.loopback", MUST, RECEIVE, "loopback", device="net", nodes=True)
def loopback(c: Context) -> None:
    """A frame is received as it was sent, behind a header of 12 bytes, and the length counts both."""
    rig = c.rig()
    at = room(rig, 2048)[0]
    send(rig, FRAME)
    equal(received(rig), NET_HEADER + len(FRAME), "length of a received frame with its header")
    equal(rig.mem.read(at + NET_HEADER, len(FRAME)), FRAME, "the frame")


@check("net.num-buffers", MUST, RECEIVE, "loopback", device="net", nodes=True)
def num_buffers(c: Context) -> None:
    """num_buffers in a received header is 1 where buffers are not merged."""
    rig = c.rig()
    at = room(rig, 2048)[0]
    send(rig, FRAME)
    received(rig)
    equal(struct.unpack("<H", rig.mem.read(at + 10, 2))[0], 1, "num_buffers")


@check("net.merged", MUST, RECEIVE, ("loopback", "NET.MRG_RXBUF"), device="net", nodes=True)
def merged(c: Context) -> None:
    """With MRG_RXBUF a frame that does not fit into one buffer fills as many as its header says."""
    rig = c.rig(features=bits(NET.MRG_RXBUF))
    frame = FRAME[:14] + bytes(i & 0xFF for i in range(600))
    at = room(rig, 256, 4)
    send(rig, frame)
    sizes = [n for _, n in rig.queues[RX].wait(3, rig.wait)]
    equal(sum(sizes), NET_HEADER + len(frame), "bytes received, with one header")
    equal(struct.unpack("<H", rig.mem.read(at[0] + 10, 2))[0], len(sizes), "num_buffers")
    equal(b"".join(rig.mem.read(a, n) for a, n in zip(at, sizes))[NET_HEADER:], frame, "the frame")


@check("net.short-header", SHOULD, SEND, "loopback", device="net", nodes=True)
def short_header(c: Context) -> None:
    """Without VERSION_1 and MRG_RXBUF the header has 10 bytes."""
    rig = c.rig(without=bits(F.VERSION_1))
    at = room(rig, 2048)[0]
    send(rig, FRAME, 10)
    equal(received(rig), 10 + len(FRAME), "length of a received frame with its header")
    equal(rig.mem.read(at + 10, len(FRAME)), FRAME, "the frame")


@check("net.disabled", MUST, f"{USER}: Ring states", ("loopback", "F.PROTOCOL_FEATURES"), device="net")
def disabled(c: Context) -> None:
    """A receive ring that is disabled gets no frames; frames out of a send ring that is disabled go nowhere."""
    rig = c.rig()
    rig.fe.enable(rig.queues[RX], False)
    rig.fe.get_u64(FE.GET_FEATURES)
    room(rig, 2048)
    try:
        send(rig, FRAME)
    except Fails:
        pass  # a device that can't deliver may wait
    rig.untouched(rig.queues[RX])


@check("net.no-room", MUST, RECEIVE, device="net", nodes=True)
def no_room(c: Context) -> None:
    """Frames are taken out of the send queue while there are no buffers to receive; nothing stands still."""
    rig = c.rig(num=64)
    rig.supply = False
    for _ in range(4):
        rig.io(32)


@check("net.mtu", MUST, f"{USER}: NET_SET_MTU", ("PF.MTU", "NET.MTU"), device="net")
def mtu(c: Context) -> None:
    """NET_SET_MTU is accepted once it was negotiated."""
    fe = c.negotiated(Rig.FEATURES | bits(NET.MTU), c.usual_pf | bits(PF.MTU))
    fe.do(FE.NET_SET_MTU, wire.pack("U64", value=1400))
    equal(fe.get_u64(FE.GET_FEATURES), fe.offered, "features afterwards")


@check("net.mac", SHOULD, f"{VIRTIO}: 5.1.4 Device configuration layout", ("PF.CONFIG", "NET.MAC"), device="net", nodes=True)
def mac(c: Context) -> None:
    """A device that offers a MAC address has one in its configuration space that is an address of a machine."""
    address = c.space(0, 6)
    require(any(address) and not address[0] & 1, f"the address is {address.hex(':')}")


@check("net.tiny", ROBUST, SEND, device="net", nodes=True)
def tiny(c: Context) -> None:
    """A frame that is shorter than its header costs no more than its ring."""
    for size in (1, 11, 12):
        rig = c.rig()
        at = rig.mem.alloc(16)
        rig.q.submit([(at, size, False)])
        rig.q.wait(1, 0.05)
        c.survives(f"a frame of {size} bytes with its header")


@check("net.small-room", ROBUST, RECEIVE, "loopback", device="net", nodes=True)
def small_room(c: Context) -> None:
    """A buffer into which a frame does not fit gets nothing written behind its end."""
    rig = c.rig()
    at = rig.mem.alloc(256)
    rig.mem.write(at, b"\xa5" * 256)
    rig.queues[RX].submit([(at, 20, True)])
    send(rig, FRAME)
    rig.queues[RX].wait(1, 0.05)
    equal(rig.mem.read(at + 20, 236), b"\xa5" * 236, "what lies behind the buffer")
    c.survives("a buffer that is too small")
