# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Block devices: what requests do, and what is refused."""

from __future__ import annotations

import os
import struct
from typing import Sequence

from vh.check.context import Context, Rig
from vh.check.core import MUST, ROBUST, SHOULD, VIRTIO, check, equal, require
from vh.testing.peer import BLK_T_DISCARD, BLK_T_GET_ID, BLK_T_IN, BLK_T_OUT, BLK_T_WRITE_ZEROES, SECTOR, BlkRequest
from vh.testing.wire import BLK, bits

BLOCK = f"{VIRTIO}: 5.2.6 Block Device: Device Operation"
LAYOUT = f"{VIRTIO}: 5.2.4 Block Device: Device configuration layout"
OK, IOERR, UNSUPP, UNTOUCHED = 0, 1, 2, 0xEE


def capacity(c: Context) -> int:
    """In sectors."""
    sectors: int = struct.unpack("<Q", c.space(0, 8))[0]
    return sectors


def done(rig: Rig, request: BlkRequest, wanted: Sequence[int] = (OK,)) -> int:
    """The request comes back with one of these statuses; the number of bytes that the used element tells."""
    rig.mem.write(request.status_at, bytes([UNTOUCHED]))
    head = rig.q.submit(request.chain)
    came = rig.q.wait(1, rig.wait)
    require([h for h, _ in came] == [head], "a request did not come back" + (": the err fd was signalled" if rig.q.failed() else ""))
    require(request.status in wanted, f"status {request.status}, not {' or '.join(map(str, wanted))}")
    return came[0][1]


@check("blk.capacity", MUST, LAYOUT, ("PF.CONFIG",), device="blk", nodes=True)
def last_sector(c: Context) -> None:
    """The capacity is told in sectors of 512 bytes; the last one can be read, the one behind it not."""
    sectors = capacity(c)
    require(sectors, "the capacity is 0")
    rig = c.rig()
    done(rig, BlkRequest.read(rig.mem, sectors - 1, SECTOR))
    done(rig, BlkRequest.read(rig.mem, sectors, SECTOR), (IOERR,))
    done(rig, BlkRequest.read(rig.mem, sectors - 1, 2 * SECTOR), (IOERR,))


@check("blk.read-write", MUST, BLOCK, "write", device="blk", nodes=True)
def read_write(c: Context) -> None:
    """What was written is read."""
    rig = c.rig()
    for sector, size in ((0, SECTOR), (3, 8 * SECTOR), (1, 4 * SECTOR)):
        data = os.urandom(size)
        done(rig, BlkRequest.write(rig.mem, sector, data))
        back = BlkRequest.read(rig.mem, sector, size)
        done(rig, back)
        equal(back.data() == data, True, f"{size} bytes at sector {sector} are what was written")


@check("blk.used-length", SHOULD, f"{VIRTIO}: 2.7.8.2 Device Requirements: The Virtqueue Used Ring", device="blk", nodes=True)
def used_length(c: Context) -> None:
    """The used element tells how many bytes the device wrote: the data of a read, and the status."""
    rig = c.rig()
    equal(done(rig, BlkRequest.read(rig.mem, 0, SECTOR)), SECTOR + 1, "length of a read of one sector")
    equal(done(rig, BlkRequest.read(rig.mem, 0, 4 * SECTOR)), 4 * SECTOR + 1, "length of a read of four")


@check("blk.segments", MUST, f"{VIRTIO}: 2.7.4 Message Framing", device="blk", nodes=True)
def segments(c: Context) -> None:
    """How a request is divided into descriptors has no meaning: many small buffers are as good as one."""
    rig = c.rig()
    whole = BlkRequest.read(rig.mem, 0, 2 * SECTOR)
    done(rig, whole)
    parts = BlkRequest.read(rig.mem, 0, 2 * SECTOR)
    head, data, status = parts.chain
    rig.mem.write(data[0], b"\xa5" * 2 * SECTOR)
    parts.chain = [head, *[(data[0] + at, 128, True) for at in range(0, 2 * SECTOR, 128)], status]
    done(rig, parts)
    equal(parts.data() == whole.data(), True, "a read into parts is like one into a whole")


@check("blk.header-in-parts", SHOULD, f"{VIRTIO}: 2.7.4 Message Framing", device="blk", nodes=True)
def header_in_parts(c: Context) -> None:
    """The header may come in parts, and status and data in one buffer."""
    rig = c.rig()
    request = BlkRequest.read(rig.mem, 0, SECTOR)
    (head, size, _), data, status = request.chain
    request.chain = [(head, 8, False), (head + 8, size - 8, False), data, status]
    done(rig, request)


@check("blk.flush", MUST, BLOCK, "BLK.FLUSH", device="blk", nodes=True)
def flush(c: Context) -> None:
    """A flush is done when it was negotiated."""
    rig = c.rig(features=bits(BLK.FLUSH))
    done(rig, BlkRequest.flush(rig.mem))


@check("blk.unknown", MUST, BLOCK, device="blk", nodes=True)
def unknown(c: Context) -> None:
    """A request of a type that the device does not know is answered by UNSUPP (2), and the ring goes on."""
    rig = c.rig()
    done(rig, BlkRequest.make(rig.mem, 0x7777, size=SECTOR), (UNSUPP,))
    rig.io()


@check("blk.serial", SHOULD, BLOCK, device="blk", nodes=True)
def serial(c: Context) -> None:
    """GET_ID gives 20 bytes: text, with zeros behind it when it is shorter."""
    rig = c.rig()
    request = BlkRequest.make(rig.mem, BLK_T_GET_ID, size=20)
    done(rig, request)
    text = request.data().rstrip(b"\0")
    require(text.isascii() and b"\0" not in text, f"the serial is {request.data()!r}")


@check("blk.readonly", MUST, BLOCK, "BLK.RO", device="blk", nodes=True)
def readonly(c: Context) -> None:
    """A device that is read-only refuses to write, by IOERR (1)."""
    rig = c.rig(features=bits(BLK.RO))
    before = BlkRequest.read(rig.mem, 0, SECTOR)
    done(rig, before)
    done(rig, BlkRequest.write(rig.mem, 0, bytes(b ^ 0xFF for b in before.data())), (IOERR,))


@check("blk.far", ROBUST, BLOCK, device="blk", nodes=True)
def far(c: Context) -> None:
    """Sectors far behind the end, where a multiplication by 512 overflows, are refused by IOERR (1)."""
    rig = c.rig()
    for sector in ((1 << 64) - 1, 1 << 55, (1 << 63) // 512):
        done(rig, BlkRequest.read(rig.mem, sector, SECTOR), (IOERR,))
    rig.io()


@check("blk.odd-size", ROBUST, BLOCK, device="blk", nodes=True)
def odd_size(c: Context) -> None:
    """A read whose size is not a multiple of 512 is refused or done in part, and the ring goes on."""
    rig = c.rig()
    done(rig, BlkRequest.read(rig.mem, 0, 100), (OK, IOERR, UNSUPP))
    rig.io()


@check("blk.large", MUST, BLOCK, ("PF.CONFIG",), device="blk", nodes=True)
def large(c: Context) -> None:
    """A request may have a megabyte, when the disk is so large."""
    size = min(1 << 20, capacity(c) * SECTOR)
    rig = c.rig(size=4 << 20)
    whole = BlkRequest.read(rig.mem, 0, size)
    done(rig, whole)


def cleared(c: Context, feature: int, type_: int) -> bytes:
    """Eight sectors of 0x5a, of which four, from the third on, were named to a request of that type."""
    rig = c.rig(features=bits(feature))
    done(rig, BlkRequest.write(rig.mem, 0, b"\x5a" * (8 * SECTOR)))
    done(rig, BlkRequest.make(rig.mem, type_, data=struct.pack("<QII", 2, 4, 0)))
    back = BlkRequest.read(rig.mem, 0, 8 * SECTOR)
    done(rig, back)
    data = back.data()
    equal(data[: 2 * SECTOR] + data[6 * SECTOR :] == b"\x5a" * (4 * SECTOR), True, "the neighbours are as they were")
    return data[2 * SECTOR : 6 * SECTOR]


@check("blk.zeroes", MUST, BLOCK, ("BLK.WRITE_ZEROES", "write"), device="blk", nodes=True)
def zeroes(c: Context) -> None:
    """Sectors after WRITE_ZEROES are zeros, and their neighbours as they were."""
    require(not any(cleared(c, BLK.WRITE_ZEROES, BLK_T_WRITE_ZEROES)), "what was to be zeros is not")


@check("blk.discard", MUST, BLOCK, ("BLK.DISCARD", "write"), device="blk", nodes=True)
def discard(c: Context) -> None:
    """DISCARD is done when it was negotiated, and leaves the neighbours as they were."""
    cleared(c, BLK.DISCARD, BLK_T_DISCARD)


@check("blk.in-flight", MUST, f"{BLOCK}", device="blk", nodes=True)
def many(c: Context) -> None:
    """As many requests as the ring has room for may be in flight; each comes back once."""
    rig = c.rig(num=64, size=4 << 20)
    for _ in range(3):
        rig.io(21)


@check("blk.no-status", ROBUST, BLOCK, device="blk", nodes=True)
def no_status(c: Context) -> None:
    """A request without a buffer for its status, or without a header, costs no more than its ring."""
    for part in (slice(0, 1), slice(1, 3), slice(2, 3)):
        rig = c.rig()
        request = BlkRequest.make(rig.mem, BLK_T_IN, size=SECTOR)
        rig.q.submit(request.chain[part])
        rig.q.wait(1, 0.05)
        c.survives("a request that is not whole")


@check("blk.wrong-way", ROBUST, BLOCK, device="blk", nodes=True)
def wrong_way(c: Context) -> None:
    """Buffers that are readable where they should be writable, or the other way round, are refused."""
    for type_, way in ((BLK_T_IN, False), (BLK_T_OUT, True)):
        if type_ == BLK_T_OUT and not c.options.allow_write:
            continue
        rig = c.rig()
        request = BlkRequest.make(rig.mem, type_, size=SECTOR)
        rig.mem.write(request.data_at, b"\xa5" * SECTOR)
        at, size, _ = request.chain[1]
        request.chain[1] = (at, size, way)
        rig.q.submit(request.chain)
        rig.q.wait(1, 0.05)
        equal(rig.mem.read(at, size) == b"\xa5" * SECTOR or way, True, "a readable buffer is as it was")
        c.survives("a buffer of the wrong direction")
