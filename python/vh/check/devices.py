# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""A harmless request for each kind of device, by which checks of rings see that a ring works."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Callable

from vh._types import TYPES
from vh.testing.peer import BLK_T_IN, SECTOR, BlkRequest, Memory
from vh.testing.wire import BLK, NET, F, bits

#: broadcast, from a locally administered address, of a type that is for experiments
FRAME = bytes.fromhex("ffffffffffff" "0288b5000001" "88b5") + b"libvh check".ljust(46, b".")
NET_HEADER = 12  # with VERSION_1; without it and without MRG_RXBUF it has 10


@dataclass
class Request:
    """A chain to submit, and what is wrong with how it came back: a function of the bytes written, "" when nothing is."""

    chain: list[tuple[int, int, bool]]
    wrong: Callable[[int], str]


def _read(mem: Memory, _features: int) -> Request:
    request = BlkRequest.make(mem, BLK_T_IN, 0, size=SECTOR)
    return Request(request.chain, lambda _: "" if request.status == 0 else f"a read of sector 0 has status {request.status}")


def _send(mem: Memory, features: int) -> Request:
    size = NET_HEADER if features & bits(F.VERSION_1, NET.MRG_RXBUF) else 10
    at = mem.alloc(size + len(FRAME))
    mem.write(at, bytes(size) + FRAME)
    return Request([(at, size + len(FRAME), False)], lambda written: f"{written} bytes written into a sent frame" if written else "")


def _init(mem: Memory, _features: int) -> Request:
    """FUSE_INIT, which every server of files answers first."""
    body = struct.pack("<IIII", 7, 31, 0, 0)
    ask = mem.alloc(40 + len(body))
    mem.write(ask, struct.pack("<IIQQIIII", 40 + len(body), 26, 1, 0, 0, 0, 0, 0) + body)
    room = mem.alloc(256)

    def wrong(_written: int) -> str:
        size, _, unique = struct.unpack("<IiQ", mem.read(room, 16))
        return "" if size >= 16 and unique == 1 else f"the reply to FUSE_INIT has length {size}, unique {unique}"

    return Request([(ask, 40 + len(body), False), (room, 256, True)], wrong)


@dataclass(frozen=True)
class Device:
    """first: the queue that I/O is done on first; step: from one such queue to the next; with: those started before."""

    name: str
    make: Callable[[Memory, int], Request] | None
    first: int = 0
    step: int = 1
    start: tuple[int, ...] = (0,)

    @property
    def number(self) -> int:
        """The virtio device type, 0 for none."""
        return TYPES.get(self.name, 0)

    def companions(self, index: int) -> tuple[int, ...]:
        """The queues that run when this one is used, in the order in which they are started."""
        return (index - 1, index) if self.step == 2 else tuple(sorted({*self.start, index}))


DEVICES = {
    "blk": Device("blk", _read),
    "net": Device("net", _send, first=1, step=2, start=(0, 1)),
    "fs": Device("fs", _init, first=1, start=(0, 1)),
    "none": Device("none", None),
}


def by_number(number: int) -> str:
    """The name of a virtio device type that requests are known for."""
    return next((name for name, device in DEVICES.items() if device.number == number), "none")


def guess(features: int) -> str:
    """A device type from features. The protocol does not tell it; bits below 24 are the device's own."""
    blk = bits(BLK.SEG_MAX, BLK.BLK_SIZE, BLK.FLUSH, BLK.TOPOLOGY, BLK.CONFIG_WCE)
    net = bits(NET.MRG_RXBUF, NET.STATUS, NET.CTRL_VQ, NET.GUEST_ANNOUNCE, NET.CTRL_RX, NET.GUEST_TSO4)
    own = features & 0xFFFFFF
    if not own:
        return "none"
    n_blk, n_net = bin(own & blk).count("1"), bin(own & net).count("1")
    return "net" if n_net > n_blk and n_net > 1 else "blk" if n_blk > n_net and n_blk > 1 else "none"
