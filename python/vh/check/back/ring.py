# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""How rings start, run, are disabled and stop; and what the features of rings change."""

from __future__ import annotations

import os
import struct
import time

from vh.check.context import Context, Rig
from vh.check.core import MUST, SHOULD, USER, VIRTIO, check, equal, require
from vh.testing import wire
from vh.testing.peer import Queue
from vh.testing.wire import FE, F, bits

STATES = f"{USER}: Ring states"
SPLIT = f"{VIRTIO}: 2.7 Split Virtqueues"
USED_EVENT = f"{VIRTIO}: 2.7.7 Used Buffer Notification Suppression"
BASE = f"{USER}: GET_VRING_BASE"


@check("ring.io", MUST, STATES, "io", nodes=True)
def io(c: Context) -> None:
    """A ring that was started and enabled is served when it is kicked, and its call fd is signalled."""
    rig = c.rig()
    rig.io(3)
    drain(rig.q)
    rig.submit()
    require(rig.q.called(rig.wait), "the call fd was not signalled")


@check("ring.no-kick", SHOULD, STATES, "io", differs="until QEMU 11's text the first kick started a ring")
def no_kick(c: Context) -> None:
    """SET_VRING_KICK starts the ring: what is in it by then is served without a kick."""
    rig = c.rig(start=False)
    for q in rig.queues.values():
        if q is not rig.q:
            rig.fe.start(q)
            q.kick()
    request = rig.submit(kick=False)
    rig.fe.start(rig.q, base=0)
    rig.driver_ok()
    rig.finished(request)


@check("ring.base", MUST, BASE, ("io", "stop"), nodes=True)
def base(c: Context) -> None:
    """GET_VRING_BASE stops a ring, and tells the next entry of the available ring and the ring's index."""
    rig = c.rig()
    rig.io(3)
    equal(rig.stop(), 3, "base after 3 requests")


@check("ring.base-given", MUST, f"{USER}: SET_VRING_BASE", "io", nodes=True)
def base_given(c: Context) -> None:
    """A ring begins where SET_VRING_BASE says, in the available and in the used ring."""
    rig = c.rig(base=1000)
    rig.io(3)
    rig.ends_at(1003, "base after 3 requests from 1000 on")


@check("ring.base-wraps", MUST, SPLIT, "io", nodes=True)
def base_wraps(c: Context) -> None:
    """The indices of a split ring have 16 bits and wrap around."""
    rig = c.rig(base=0xFFFE)
    rig.io(3)
    rig.io(2)
    rig.ends_at(3, "base after 5 requests from 0xfffe on")


@check("ring.around", MUST, SPLIT, "io", nodes=True)
def around(c: Context) -> None:
    """A ring goes on behind its last entry with the first one."""
    rig = c.rig(num=8)
    for n in (1, 2, 1, 2, 2, 2, 1, 2, 2, 2, 2):
        rig.io(n)
    rig.ends_at(19, "base after 19 requests")


@check("ring.stop-start", MUST, BASE, ("io", "one by one"), nodes=True)
def stop_start(c: Context) -> None:
    """A ring that was stopped starts again where the front-end says, and nothing is lost or done twice."""
    rig = c.rig()
    for n in (2, 1):
        rig.io(n)
        equal(rig.stop(), rig.q.ring.avail_idx, "base")
        rig.restart()
    rig.io(2)


@check("ring.stopped", MUST, STATES, ("io", "one by one"), nodes=True)
def stopped(c: Context) -> None:
    """A ring that is stopped is not looked at: what comes into it waits until it is started."""
    rig = c.rig()
    rig.io()
    at = rig.stop()
    request = rig.submit()
    rig.fe.get_u64(FE.GET_FEATURES)
    rig.untouched()
    rig.fe.start(rig.q, base=at)
    rig.q.kick()
    rig.finished(request)


@check("ring.never-started", MUST, BASE)
def never_started(c: Context) -> None:
    """GET_VRING_BASE is answered for a ring that was never started too, with the base that it was given."""
    fe = c.negotiated()
    fe.vring_state(FE.SET_VRING_BASE, 0, 7)
    with fe.call(FE.GET_VRING_BASE, wire.pack("VRING_STATE", index=0)) as msg:
        fields = msg.fields("VRING_STATE")
    equal(fields["index"], 0, "index")
    equal(fields["num"], 7, "base")


@check("ring.disabled", MUST, STATES, ("io", "F.PROTOCOL_FEATURES"))
def disabled(c: Context) -> None:
    """With protocol features a ring is disabled at first: what is in it has no effect until SET_VRING_ENABLE. (A network
    device may take frames out and drop them.)"""
    rig = c.rig(enable=False)
    request = rig.submit()
    rig.fe.get_u64(FE.GET_FEATURES)
    if c.device.name != "net":
        rig.untouched()
    dropped = c.device.name == "net" and rig.q.wait(1, 0.05)
    rig.fe.enable(rig.q)
    rig.q.kick()
    if not dropped:
        rig.finished(request)
    rig.io()


@check("ring.disable", MUST, STATES, ("io", "F.PROTOCOL_FEATURES"))
def disable(c: Context) -> None:
    """A ring can be disabled and enabled while it runs; it goes on where it was."""
    rig = c.rig()
    for _ in range(3):
        rig.io(2)
        rig.fe.enable(rig.q, False)
        rig.fe.enable(rig.q, True)
    rig.io(2)
    equal(rig.stop(), rig.q.ring.avail_idx, "base")


@check("ring.always-enabled", MUST, STATES, "io")
def always_enabled(c: Context) -> None:
    """Without protocol features there is no SET_VRING_ENABLE: a ring runs as soon as it is started."""
    c.rig(without=bits(F.PROTOCOL_FEATURES), pf=0).io(2)


@check("ring.new-call", MUST, f"{USER}: SET_VRING_CALL", "io", nodes=True)
def new_call(c: Context) -> None:
    """The call fd may be replaced while the ring runs; the new one is signalled from then on."""
    rig = c.rig()
    rig.io()
    old, rig.q.call_fd = rig.q.call_fd, wire.eventfd()
    try:
        rig.fe.vring_fd(FE.SET_VRING_CALL, rig.q.index, rig.q.call_fd)
        rig.fe.get_u64(FE.GET_FEATURES)
        drain(rig.q)
        rig.submit()
        require(rig.q.called(rig.wait), "the new call fd was not signalled")
    finally:
        os.close(old)


@check("ring.no-call", MUST, f"{USER}: SET_VRING_CALL", "io", nodes=True)
def no_call(c: Context) -> None:
    """A ring without a call fd (bit 8) is served all the same; the driver looks by itself."""
    rig = c.rig()
    rig.fe.vring_fd(FE.SET_VRING_CALL, rig.q.index)
    rig.io(2)


@check("ring.sizes", MUST, f"{USER}: SET_VRING_NUM", "io", nodes=True)
def sizes(c: Context) -> None:
    """A ring may have any power of two as its size, up to what the device can, which is 256 at least."""
    for num in (4, 32, min(256, c.largest)):
        with c.rig(num=num) as rig:
            rig.io(num // 4)
            rig.io(num // 4)


@check("ring.all-queues", MUST, f"{USER}: Multiple queue support", ("io", "queues"))
def all_queues(c: Context) -> None:
    """Each queue that GET_QUEUE_NUM tells can be used. (Of more than 8, 8 are tried.)"""
    rig = c.rig(size=4 << 20)
    for i in list(range(c.device.first, c.queue_count, c.device.step))[:8]:
        rig.io(2, rig.add_queue(i))


@check("ring.others-go-on", MUST, STATES, ("io", "queues"))
def others_go_on(c: Context) -> None:
    """To stop one ring does not stop another one."""
    rig = c.rig(size=4 << 20)
    other = rig.add_queue(c.device.first + c.device.step)
    rig.io()
    rig.io(1, other)
    rig.stop()
    rig.io(2, other)


@check("ring.indirect", MUST, f"{VIRTIO}: 2.7.5.3 Indirect Descriptors", ("io", "F.RING_INDIRECT_DESC"), nodes=True)
def indirect(c: Context) -> None:
    """A chain may stand in a table of its own, when indirect descriptors were negotiated."""
    rig = c.rig(num=4)
    rig.io(3, indirect=True)
    rig.io(3, indirect=True)


@check("ring.event-idx", MUST, USED_EVENT, ("io", "F.RING_EVENT_IDX"), nodes=True)
def event_idx(c: Context) -> None:
    """With event indices the device signals when the used index passes the one that the driver asked for."""
    rig = c.rig(features=bits(F.RING_EVENT_IDX))
    for _ in range(3):
        _used_event(rig, rig.q.ring.used_idx)
        drain(rig.q)
        rig.submit()
        require(rig.q.called(rig.wait), "the call fd was not signalled at the index that was asked for")
        rig.q.wait(1, rig.wait)


@check("ring.event-idx-quiet", SHOULD, USED_EVENT, ("io", "F.RING_EVENT_IDX"), nodes=True)
def event_idx_quiet(c: Context) -> None:
    """With event indices the device does not signal before the used index passes the one that was asked for."""
    rig = c.rig(features=bits(F.RING_EVENT_IDX))
    _used_event(rig, rig.q.ring.used_idx)
    rig.io()
    _used_event(rig, (rig.q.ring.used_idx + 100) & 0xFFFF)
    rig.fe.get_u64(FE.GET_FEATURES)
    drain(rig.q)
    before = rig.q.ring.used_idx
    rig.submit()
    while not rig.q.ring.reap():  # Queue.wait() would take the signal away; the time of the check limits this
        time.sleep(0.001)
    equal(rig.q.ring.used_idx, before + 1, "used index after one more request")
    rig.fe.get_u64(FE.GET_FEATURES)
    require(not rig.q.called(0.05), "the call fd was signalled 100 entries too early")


@check("ring.order-of-setup", SHOULD, STATES, "io")
def order_of_setup(c: Context) -> None:
    """What a ring is made of may come in any order before SET_VRING_KICK, and SET_VRING_CALL after it."""
    rig = c.rig(start=False)
    fe = rig.fe
    for q in rig.queues.values():
        fe.vring_fd(FE.SET_VRING_ERR, q.index, q.err_fd)
        fe.vring_state(FE.SET_VRING_NUM, q.index, q.num)
        fe.do(FE.SET_VRING_ADDR, wire.pack("VRING_ADDR", index=q.index, **q.addr))
        fe.vring_state(FE.SET_VRING_BASE, q.index, 0)
        fe.vring_fd(FE.SET_VRING_KICK, q.index, q.kick_fd)
        fe.vring_fd(FE.SET_VRING_CALL, q.index, q.call_fd)
        if fe.acked & bits(F.PROTOCOL_FEATURES):
            fe.enable(q)
        q.kick()
    rig.driver_ok()
    rig.io(2)


def _used_event(rig: Rig, index: int) -> None:
    """The used index at which the driver wants to be signalled: it stands behind the available ring."""
    ring = rig.q.ring
    rig.mem.write(ring.avail + 4 + 2 * ring.num, struct.pack("<H", index))


def drain(q: Queue) -> None:
    """Forget signals of the past."""
    while q.called(0.02):
        pass
