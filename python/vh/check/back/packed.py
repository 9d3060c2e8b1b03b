# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Rings as libvh's own driver has them: packed, in order, with whole sessions."""

from __future__ import annotations

import time

import vh
from vh.check.context import Context
from vh.check.core import MUST, VIRTIO, check, require
from vh.check.devices import FRAME
from vh.testing.peer import SECTOR
from vh.testing.wire import F, bits

def around(c: Context, session: vh.Driver, n: int) -> None:
    """n requests, so many at a time as there is room for."""
    if c.device.name == "blk":
        with vh.Blk(session) as disk:
            _reads(c, disk, n)
    else:
        with vh.Net(session) as net:
            _frames(c, net, n)


def _reads(c: Context, disk: vh.Blk, n: int) -> None:
    buffer = disk.alloc(SECTOR)
    done, asked, deadline = 0, 0, time.monotonic() + c.options.wait
    while done < n:
        if asked < n:
            asked += disk.submit([vh.BlkIo(vh.BlkOp.READ, 0, buffer, i) for i in range(asked, min(n, asked + 3))])
        disk.wait(0.05)
        for one in disk.reap():
            require(one.rc == 0, f"a read ended with {one.rc}")
            done += 1
            deadline = time.monotonic() + c.options.wait
        require(time.monotonic() < deadline, f"{done} of {n} reads came back")


def _frames(c: Context, net: vh.Net, n: int) -> None:
    deadline = time.monotonic() + c.options.wait
    sent = 0
    while sent < n:
        now = net.submit([FRAME] * min(3, n - sent))
        sent += now
        deadline = time.monotonic() + c.options.wait if now else deadline
        require(time.monotonic() < deadline, f"{sent} of {n} frames were taken")
        if not now:
            net.wait(0.05, to_send=True)


@check("packed.around", MUST, f"{VIRTIO}: 2.8 Packed Virtqueues", ("io", "F.RING_PACKED"), nodes=True)
def packed(c: Context) -> None:
    """A packed ring is served, around its end several times."""
    session = c.driver()
    require(session.features & bits(F.RING_PACKED), "the session did not take packed rings")
    around(c, session, 100)


@check("packed.plain", MUST, f"{VIRTIO}: 2.8 Packed Virtqueues", ("io", "F.RING_PACKED"), nodes=True)
def plain(c: Context) -> None:
    """A packed ring is served without event suppression and without indirect descriptors too."""
    session = c.driver(bits(F.RING_EVENT_IDX, F.RING_INDIRECT_DESC, F.IN_ORDER))
    around(c, session, 100)


@check("packed.restart", MUST, f"{VIRTIO}: 2.8 Packed Virtqueues", ("io", "F.RING_PACKED"), device="blk", nodes=True)
def restart(c: Context) -> None:
    """A packed ring that was stopped goes on where it was, wrap counters and all."""
    session = c.driver()
    around(c, session, 21)
    session.stop()
    session.start()
    around(c, session, 21)


@check("driver.session", MUST, f"{VIRTIO}: 2.7 Split Virtqueues", "io", nodes=True)
def split(c: Context) -> None:
    """A whole session of libvh's driver, with split rings, as a program would have it."""
    session = c.driver(bits(F.RING_PACKED))
    around(c, session, 100)
