# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""vDPA devices behind /dev/vhost-vdpa-N: what may be said when, what is refused, what a reset and a suspension do."""

from __future__ import annotations

import errno
import os
from typing import Sequence

from vh.check.context import DRIVER_OK, FEATURES_OK, QUIET
from vh.check.core import INFO, MUST, NODE, ROBUST, SHOULD, VIRTIO, Skips, check, equal, require
from vh.check.node.context import BF, PAGE, NodeContext, VdpaSession
from vh.check.node.ioctls import ABSENT, BATCH_BEGIN, BATCH_END, INVALIDATE, IOCTLS, UPDATE, VDPA, Node, error
from vh.testing.peer import Memory, Queue
from vh.testing.wire import F, bits

KERNEL = "linux/vhost.h: vDPA"
STATUS = f"{VIRTIO}: 2.1 Device Status Field"
INIT = f"{VIRTIO}: 3.1.1 Driver Requirements: Device Initialization"
CONFIG = f"{VIRTIO}: 2.5 Device Configuration Space"
RINGS = f"{KERNEL}: rings"
MAPS = f"{KERNEL}: mappings"
SPACES = f"{KERNEL}: address spaces"
SUSPEND = f"{KERNEL}: VHOST_VDPA_SUSPEND, VHOST_VDPA_RESUME"

MIB = 1 << 20
#: those that came with vDPA; and what came later, by the backend feature that says so, or by nothing
BASIC = ("GET_FEATURES", "GET_BACKEND_FEATURES", "VDPA_GET_DEVICE_ID", "VDPA_GET_STATUS", "VDPA_GET_VRING_NUM", "VDPA_GET_IOVA_RANGE")
LATER = ("VDPA_GET_CONFIG_SIZE", "VDPA_GET_VQS_COUNT", "VDPA_GET_AS_NUM", "VDPA_GET_GROUP_NUM", "VDPA_GET_VRING_SIZE")


def owned(c: NodeContext) -> Node:
    """The file with an owner, and the features of the file itself."""
    node = c.node()
    node.call("SET_OWNER")
    node.call("SET_BACKEND_FEATURES", c.has.backend & sum(BF))
    return node


def stepped(c: NodeContext) -> VdpaSession:
    """A device with features, and no ring yet."""
    session: VdpaSession = c.negotiated()
    return session


def status(node: Node, wanted: int, what: str) -> None:
    equal(node.call("VDPA_GET_STATUS"), wanted, f"status {what}")


def room(c: NodeContext, node: Node, size: int = 4 * PAGE) -> Memory:
    """Memory to be mapped, at an I/O address that can be used."""
    first, last = node.pair("VDPA_GET_IOVA_RANGE")
    mem = Memory(size, gpa=MIB if first <= MIB <= last else (first + PAGE - 1) & -PAGE)
    c.stack.callback(mem.close)
    return mem


def refused(node: Node, why: str, kind: int, iova_: int, size: int, host: int, asid: int = 0) -> None:
    """A message about mappings that has to fail."""
    require(node.try_message(kind, iova_, size, host, asid), f"{why} is done, and not refused")


# --- calls ----------------------------------------------------------------------------------------------------------


@check("vdpa.calls", MUST, KERNEL, side=NODE)
def calls(c: NodeContext) -> None:
    """The calls that each vDPA device has are answered, at any time, by anybody who has the file."""
    node = c.node()
    for name in BASIC:
        number = node.try_call(name)[0]
        require(not number, f"{name}: {error(number)}")


@check("vdpa.calls-later", INFO, KERNEL, side=NODE)
def calls_later(c: NodeContext) -> None:
    """The calls by which later kernels say more of a device are there. (A device may not have what they ask for.)"""
    node = owned(c)
    missing = [name for name in LATER if node.try_call(name)[0] == errno.ENOTTY]
    require(not missing, f"not there: {', '.join(missing)}")


@check("vdpa.calls-other", SHOULD, KERNEL, side=NODE)
def calls_other(c: NodeContext) -> None:
    """Calls of other device files, and those that do not exist, are refused."""
    node = owned(c)
    for name, row in IOCTLS.items():
        if VDPA not in row.nodes and "_VRING_" not in name:  # those are harmless
            node.refuses(name)


@check("vdpa.device-id", MUST, KERNEL, side=NODE)
def device_id(c: NodeContext) -> None:
    """A device has a type, which is not 0, and the same each time."""
    node = c.node()
    first = node.call("VDPA_GET_DEVICE_ID")
    require(first, "the type is 0")
    equal(node.call("VDPA_GET_DEVICE_ID"), first, "the type, asked again")


@check("vdpa.one-user", MUST, KERNEL, side=NODE)
def one_user(c: NodeContext) -> None:
    """A device has one user: a second opening fails while there is one, and not afterwards."""
    node = c.node()
    equal(error(c.file.second()), error(errno.EBUSY), "how a second opening ends")
    node.close()
    c.node().call("VDPA_GET_STATUS")


@check("vdpa.owner", MUST, f"{KERNEL}: VHOST_SET_OWNER", side=NODE)
def owner(c: NodeContext) -> None:
    """Calls about rings need an owner, and there is one at most."""
    node = c.node()
    for name, row in IOCTLS.items():
        if VDPA in row.nodes and row.owner and node.has(name) and name != "SET_MEM_TABLE":
            node.refuses(name, why="without an owner", wanted=(errno.EPERM,))
    node.call("SET_OWNER")
    node.refuses("SET_OWNER", why="once more", wanted=(errno.EBUSY,))


# --- features -------------------------------------------------------------------------------------------------------


@check("vdpa.version-1", MUST, f"{VIRTIO}: 6.1 Driver Requirements: Reserved Feature Bits", side=NODE)
def version_1(c: NodeContext) -> None:
    """A vDPA device offers VIRTIO_F_VERSION_1: it has no legacy interface."""
    require(c.offers("F.VERSION_1"), f"the features are {c.offer.features:#x}")


@check("vdpa.platform", SHOULD, f"{VIRTIO}: 6 Reserved Feature Bits", side=NODE)
def platform(c: NodeContext) -> None:
    """ACCESS_PLATFORM is offered: addresses are I/O addresses, which have to be mapped."""
    require(c.offers("F.ACCESS_PLATFORM"), f"the features are {c.offer.features:#x}")


@check("vdpa.features-steady", MUST, INIT, side=NODE)
def features_steady(c: NodeContext) -> None:
    """Features that are offered are the same before and after some were taken, and after a reset."""
    session = stepped(c)
    for _ in range(2):
        equal(session.node.call("GET_FEATURES"), c.offer.features, "features")
        session.set_status(0)


@check("vdpa.features-not-offered", SHOULD, INIT, side=NODE)
def not_offered(c: NodeContext) -> None:
    """Features that were not offered are refused, by SET_FEATURES, or by FEATURES_OK that does not stay."""
    node = owned(c)
    for value in (1, 3):
        node.call("VDPA_SET_STATUS", value)
    taken = c.offer.features & bits(F.VERSION_1, F.ACCESS_PLATFORM)
    strange = next(1 << i for i in range(63, -1, -1) if not c.offer.features >> i & 1)
    if node.try_call("SET_FEATURES", taken | strange)[0]:
        return
    if not node.try_call("VDPA_SET_STATUS", FEATURES_OK)[0]:
        require(not node.call("VDPA_GET_STATUS") & 8, f"bit {strange.bit_length() - 1} was not offered, and is accepted")


@check("vdpa.features-late", MUST, INIT, side=NODE)
def features_late(c: NodeContext) -> None:
    """Features can't be changed after FEATURES_OK."""
    session = stepped(c)
    session.node.refuses("SET_FEATURES", session.acked, why="after FEATURES_OK")


@check("vdpa.backend-features", MUST, f"{KERNEL}: backend features", side=NODE)
def backend_features(c: NodeContext) -> None:
    """What the file itself offers can be taken, all or nothing; what it does not offer is refused."""
    node = c.node()
    for value in (c.has.backend & sum(BF), 0):
        node.call("SET_BACKEND_FEATURES", value)
    strange = next(1 << i for i in range(1, 64) if not c.has.backend >> i & 1)
    node.refuses("SET_BACKEND_FEATURES", strange, why=f"of bit {strange.bit_length() - 1}, which was not offered")


@check("vdpa.backend-depends", MUST, f"{KERNEL}: backend features", side=NODE)
def backend_depends(c: NodeContext) -> None:
    """Address spaces, batches and mappings that persist need messages of the second version; descriptors apart need address spaces."""
    for bit, needs in ((BF.ASID, BF.MSG_V2), (BF.BATCH, BF.MSG_V2), (BF.PERSIST, BF.MSG_V2), (BF.DESC_ASID, BF.ASID)):
        require(not c.has.backend & bit or c.has.backend & needs, f"{bit.name} is offered without {needs.name}")


# --- status ---------------------------------------------------------------------------------------------------------


@check("vdpa.status", MUST, STATUS, side=NODE)
def status_kept(c: NodeContext) -> None:
    """The status is 0 at first, and keeps each bit that a driver sets."""
    node = owned(c)
    status(node, 0, "of a file that was just opened")
    for value in (1, 3):
        node.call("VDPA_SET_STATUS", value)
        status(node, value, "after that was set")


@check("vdpa.status-cleared", MUST, STATUS, side=NODE)
def status_cleared(c: NodeContext) -> None:
    """A driver does not clear bits of the status: only a reset does."""
    session = stepped(c)
    session.node.refuses("VDPA_SET_STATUS", 3, why="without FEATURES_OK, which was set")
    status(session.node, FEATURES_OK, "after that")


@check("vdpa.features-ok", MUST, INIT, side=NODE)
def features_ok(c: NodeContext) -> None:
    """All features that were offered can be taken: FEATURES_OK stays."""
    node = owned(c)
    for value in (1, 3):
        node.call("VDPA_SET_STATUS", value)
    node.call("SET_FEATURES", c.offer.features)
    node.call("VDPA_SET_STATUS", FEATURES_OK)
    status(node, FEATURES_OK, f"with all features, {c.offer.features:#x}")


@check("vdpa.reset", MUST, STATUS, side=NODE)
def reset(c: NodeContext) -> None:
    """Writing 0 resets: the status is 0, and the device can be negotiated with anew."""
    session = stepped(c)
    session.set_status(DRIVER_OK)
    session.set_status(0)
    status(session.node, 0, "after a reset")
    for value in (1, 3):
        session.set_status(value)
    session.node.call("SET_FEATURES", session.acked)
    session.set_status(FEATURES_OK)
    status(session.node, FEATURES_OK, "after it was negotiated once more")


@check("vdpa.reset-again", MUST, STATUS, "io", side=NODE)
def reset_again(c: NodeContext) -> None:
    """After a reset rings can be set up and served as at first."""
    rig = c.rig()
    rig.io(2)
    fe = rig.session
    fe.set_status(0)
    for q in rig.queues.values():
        forget(q)
    for value in (1, 3):
        fe.set_status(value)
    fe.node.call("SET_FEATURES", fe.acked)
    fe.set_status(FEATURES_OK)
    fe.mems = [] if not fe.backend & BF.PERSIST else fe.mems
    if not fe.mems:  # whether mappings live through a reset without PERSIST differs
        fe.node.message(INVALIDATE, rig.mem.gpa, rig.mem.size)
    fe.set_mem_table(rig.mems)
    rig.start()
    rig.io(2)


def forget(q: Queue) -> None:
    """The ring as it was when it was new."""
    ring = q.ring
    ring.avail_idx = ring.used_idx = 0
    ring.free, ring.chains = list(range(ring.num)), {}
    for at in (ring.avail, ring.used):
        ring.mem.write(at, bytes(4))


@check("vdpa.reset-stops", MUST, STATUS, "io", side=NODE)
def reset_stops(c: NodeContext) -> None:
    """After a reset nothing is taken from a ring that ran."""
    rig = c.rig()
    rig.io()
    rig.fe.set_status(0)
    rig.submit()
    rig.untouched()


# --- rings ----------------------------------------------------------------------------------------------------------


@check("vdpa.ring-count", MUST, RINGS, side=NODE)
def ring_count(c: NodeContext) -> None:
    """GET_VQS_COUNT tells the rings that there are: the last one has a base, and there is none behind it."""
    node = owned(c)
    number, (count,), _ = node.try_call("VDPA_GET_VQS_COUNT")
    if number in ABSENT:
        count = c.device.first + 1
    require(count, "there is no ring")
    node.call("SET_VRING_BASE", count - 1, 0)
    if number not in ABSENT:
        node.refuses("SET_VRING_BASE", count, 0, why="of a ring that is not there", wanted=(errno.ENOBUFS,))
    for name in ("SET_VRING_NUM", "GET_VRING_BASE", "VDPA_SET_VRING_ENABLE"):
        node.refuses(name, 0xFFFFFFFF, 1, why="of ring 4294967295", wanted=(errno.ENOBUFS,))


@check("vdpa.ring-size", MUST, RINGS, side=NODE)
def ring_size(c: NodeContext) -> None:
    """GET_VRING_NUM tells the largest size, which a ring may have; no entries, or 3 of a split ring, are refused."""
    node = owned(c)
    largest = node.call("VDPA_GET_VRING_NUM")
    require(largest and not largest & largest - 1, f"the largest size is {largest}")
    node.call("SET_VRING_NUM", c.device.first, largest)
    for num in (0, 3, 0x10000, 0xFFFFFFFF):
        node.refuses("SET_VRING_NUM", c.device.first, num, why=f"{num}")


@check("vdpa.ring-too-large", SHOULD, RINGS, side=NODE)
def ring_too_large(c: NodeContext) -> None:
    """A ring that is larger than GET_VRING_NUM tells is refused, or fails to start."""
    session = stepped(c)
    num = session.node.call("VDPA_GET_VRING_NUM") * 2
    if num > 0x8000:
        return
    require(session.node.try_call("SET_VRING_NUM", c.device.first, num)[0], f"a ring of {num} entries is accepted")


@check("vdpa.ring-address", MUST, f"{VIRTIO}: 2.7 Split Virtqueues", side=NODE)
def ring_address(c: NodeContext) -> None:
    """An available ring at an odd address is refused, and a used ring that is not aligned to 4."""
    node = owned(c)
    node.call("SET_VRING_NUM", c.device.first, 16)
    for avail, used in ((MIB + 1, 2 * MIB), (MIB, 2 * MIB + 2)):
        node.refuses("SET_VRING_ADDR", c.device.first, 0, 3 * MIB, used, avail, 0, why=f"avail {avail:#x}, used {used:#x}")


@check("vdpa.base", MUST, RINGS, side=NODE)
def base(c: NodeContext) -> None:
    """The base that a ring was given before DRIVER_OK is told again."""
    session = stepped(c)
    session.node.call("SET_VRING_BASE", c.device.first, 7)
    equal(session.node.call("GET_VRING_BASE", c.device.first), 7, "base")


@check("vdpa.base-large", SHOULD, RINGS, side=NODE)
def base_large(c: NodeContext) -> None:
    """The base of a split ring has 16 bits; what is larger is refused."""
    stepped(c).node.refuses("SET_VRING_BASE", c.device.first, 0x10000, why="0x10000")


@check("vdpa.base-running", MUST, RINGS, "io", side=NODE)
def base_running(c: NodeContext) -> None:
    """The base and the addresses of a ring that runs can't be changed."""
    rig = c.rig()
    rig.io()
    node = rig.node
    node.refuses("SET_VRING_BASE", rig.q.index, 5, why="of a ring that runs")
    ring = rig.q.ring
    node.refuses("SET_VRING_ADDR", rig.q.index, 0, ring.desc, ring.used, ring.avail, 0, why="of a ring that runs")
    rig.io()


@check("vdpa.before-driver-ok", MUST, INIT, "io", side=NODE)
def before_driver_ok(c: NodeContext) -> None:
    """Nothing is taken from a ring before DRIVER_OK; what is in it by then is served."""
    rig = c.rig(start=False)
    for q in rig.queues.values():
        rig.fe.start(q)
    request = rig.submit()
    rig.untouched()
    rig.driver_ok()
    rig.q.kick()
    rig.finished(request)


@check("vdpa.not-enabled", MUST, f"{KERNEL}: VHOST_VDPA_SET_VRING_ENABLE", "io", side=NODE)
def not_enabled(c: NodeContext) -> None:
    """Nothing is taken from a ring that was not enabled."""
    rig = c.rig(enable=False)
    rig.submit()
    rig.untouched()


@check("vdpa.eventfds", MUST, RINGS, side=NODE)
def eventfds(c: NodeContext) -> None:
    """What kicks and calls is an eventfd: another file is refused, and -1 takes it away."""
    node = owned(c)
    for name in ("SET_VRING_KICK", "SET_VRING_CALL", "SET_VRING_ERR"):
        node.refuses(name, c.device.first, c.stack.enter_context(open(os.devnull, "rb")).fileno(), why="with /dev/null")
        node.refuses(name, c.device.first, 9999, why="with an fd that is not open")
        node.call(name, c.device.first, -1)
    node.refuses("VDPA_SET_CONFIG_CALL", 9999, why="with an fd that is not open")
    node.call("VDPA_SET_CONFIG_CALL", -1)


# --- configuration space --------------------------------------------------------------------------------------------


@check("vdpa.config", MUST, CONFIG, "config", side=NODE)
def config(c: NodeContext) -> None:
    """The configuration space is read whole, and each part of it is that part of the whole."""
    node = c.node()
    size = c.has.config_size
    whole = node.config(0, size)
    equal(node.config(0, size), whole, "the configuration space, read again")
    for at, n in ((0, 4), (4, 4), (size - 1, 1), (size // 2, size - size // 2)):
        equal(node.config(at, n), whole[at : at + n], f"{n} bytes at {at}")


@check("vdpa.config-outside", ROBUST, CONFIG, "config", side=NODE)
def config_outside(c: NodeContext) -> None:
    """What lies outside of the configuration space, or is nothing, is neither read nor written."""
    node, size = owned(c), c.has.config_size
    for name in ("VDPA_GET_CONFIG", "VDPA_SET_CONFIG"):
        for at, n in ((size, 1), (0, size + 1), (size - 1, 2), (0xFFFFFFFC, 8), (0, 0), (4, 0xFFFFFFFC), (0xFFFFFFFF, 0xFFFFFFFF)):
            node.refuses(name, at, n, why=f"of {n} bytes at {at:#x} of {size}", tail=bytes(min(n, PAGE)))


# --- mappings -------------------------------------------------------------------------------------------------------


@check("vdpa.iova-range", MUST, MAPS, side=NODE)
def iova_range(c: NodeContext) -> None:
    """The range of I/O addresses has two ends in their order; a page can be mapped at its begin and at its end, and none outside."""
    node = owned(c)
    first, last = node.pair("VDPA_GET_IOVA_RANGE")
    require(first < last, f"the range is {first:#x} to {last:#x}")
    mem = room(c, node)
    for at in {(first + PAGE - 1) & -PAGE, ((last + 1) & -PAGE) - PAGE}:
        node.message(UPDATE, at, PAGE, mem.host)
        node.message(INVALIDATE, at, PAGE)
    if first >= PAGE:
        refused(node, "a page before the range", UPDATE, (first & -PAGE) - PAGE, PAGE, mem.host)
    if last < (1 << 64) - 2 * PAGE:
        refused(node, "a page behind the range", UPDATE, (last + PAGE) & -PAGE, PAGE, mem.host)


@check("vdpa.map", MUST, MAPS, side=NODE)
def map_(c: NodeContext) -> None:
    """Memory can be mapped and unmapped, and then mapped again; what is mapped can't be mapped over."""
    node = owned(c)
    mem = room(c, node)
    for _ in range(2):
        node.message(UPDATE, mem.gpa, mem.size, mem.host)
        refused(node, "a page of what is mapped", UPDATE, mem.gpa + PAGE, PAGE, mem.host)
        node.message(INVALIDATE, mem.gpa, mem.size)


@check("vdpa.map-many", MUST, MAPS, side=NODE)
def map_many(c: NodeContext) -> None:
    """Many mappings can stand side by side; one unmapping takes all that lie in its range."""
    node = owned(c)
    mem = room(c, node, 16 * PAGE)
    for turn in range(2):
        for i in range(turn, 16, 2):
            node.message(UPDATE, mem.gpa + i * PAGE, PAGE, mem.host + i * PAGE)
    node.message(INVALIDATE, mem.gpa, mem.size)
    node.message(UPDATE, mem.gpa, mem.size, mem.host)


@check("vdpa.map-unmapped", SHOULD, MAPS, side=NODE)
def map_unmapped(c: NodeContext) -> None:
    """To unmap what is not mapped any more does no harm."""
    node = owned(c)
    mem = room(c, node)
    for _ in range(2):
        node.message(UPDATE, mem.gpa, mem.size, mem.host)
        for _ in range(2):
            node.message(INVALIDATE, mem.gpa, mem.size)


@check("vdpa.map-wrong", ROBUST, MAPS, side=NODE)
def map_wrong(c: NodeContext) -> None:
    """A mapping of nothing, one that wraps around and one of the kernel's memory are refused."""
    node = owned(c)
    mem = room(c, node)
    for why, at, size, host in (("a mapping of nothing", mem.gpa, 0, mem.host),
                                ("a mapping that wraps around", (1 << 64) - PAGE, 2 * PAGE, mem.host),
                                ("a mapping of the kernel's memory", mem.gpa, PAGE, 1 << 63)):  # fmt: skip
        refused(node, why, UPDATE, at, size, host)
    node.message(UPDATE, mem.gpa, mem.size, mem.host)


@check("vdpa.map-owner", MUST, MAPS, side=NODE)
def map_owner(c: NodeContext) -> None:
    """Nothing can be mapped before there is an owner."""
    node = c.node()
    mem = room(c, node)
    refused(node, "a mapping without an owner", UPDATE, mem.gpa, mem.size, mem.host)


@check("vdpa.batch", MUST, MAPS, "BF.BATCH", side=NODE)
def batch(c: NodeContext) -> None:
    """Mappings between the begin of a batch and its end are there after it."""
    node = owned(c)
    mem = room(c, node, 8 * PAGE)
    node.message(BATCH_BEGIN)
    for i in range(0, 8, 2):
        node.message(UPDATE, mem.gpa + i * PAGE, PAGE, mem.host + i * PAGE)
    node.message(BATCH_END)
    for i in range(0, 8, 2):
        refused(node, f"page {i}, which is mapped,", UPDATE, mem.gpa + i * PAGE, PAGE, mem.host)
    node.message(INVALIDATE, mem.gpa, mem.size)


@check("vdpa.map-gone", ROBUST, MAPS, "io", side=NODE)
def map_gone(c: NodeContext) -> None:
    """The memory in which rings and buffers lie may be unmapped while they run: no more than the ring is lost."""
    rig = c.rig()
    rig.io()
    rig.fe.set_mem_table([])
    rig.submit()
    rig.q.wait(1, QUIET)
    c.survives("the rings' memory was unmapped")


# --- groups and address spaces --------------------------------------------------------------------------------------


def grouped(c: NodeContext) -> Node:
    """The file of a device whose rings have groups: what the file offers is of the kernel, not of the device."""
    node = owned(c)
    if not node.has("VDPA_GET_VRING_GROUP", 0):
        raise Skips("the device has no groups")
    return node


@check("vdpa.groups", MUST, SPACES, "BF.ASID", side=NODE)
def groups(c: NodeContext) -> None:
    """Each ring has a group, whose number is below the number of groups."""
    node = grouped(c)
    count = node.call("VDPA_GET_GROUP_NUM")
    require(count, "there is no group")
    for i in range(c.device.first + 1):
        group = node.call("VDPA_GET_VRING_GROUP", i)
        require(group < count, f"ring {i} is of group {group} of {count}")


@check("vdpa.spaces", MUST, SPACES, "BF.ASID", side=NODE)
def spaces(c: NodeContext) -> None:
    """A group can be given to each address space, and to none that is not there; nor can something be mapped there."""
    node = grouped(c)
    mem = room(c, node)
    count, n_groups = node.call("VDPA_GET_AS_NUM"), node.call("VDPA_GET_GROUP_NUM")
    require(count, "there is no address space")
    for asid in range(min(count, 4)):
        node.call("VDPA_SET_GROUP_ASID", 0, asid)
        node.message(UPDATE, mem.gpa, mem.size, mem.host, asid)
    node.refuses("VDPA_SET_GROUP_ASID", 0, count, why=f"to address space {count} of {count}")
    node.refuses("VDPA_SET_GROUP_ASID", n_groups, 0, why=f"of group {n_groups} of {n_groups}")
    refused(node, f"a mapping in address space {count} of {count}", UPDATE, mem.gpa + MIB, PAGE, mem.host, count)


# --- suspension -----------------------------------------------------------------------------------------------------


@check("vdpa.suspend", MUST, SUSPEND, ("io", "BF.SUSPEND"), side=NODE)
def suspend(c: NodeContext) -> None:
    """A device that is suspended takes nothing from its rings, and tells where they are."""
    rig = c.rig()
    rig.io(3)
    equal(rig.stop(), 3, "base after 3 requests")
    rig.submit()
    rig.untouched()
    equal(rig.node.call("GET_VRING_BASE", rig.q.index), 3, "base after one more request that was not taken")


@check("vdpa.suspend-moves", MUST, SUSPEND, ("io", "BF.SUSPEND"), side=NODE)
def suspend_moves(c: NodeContext) -> None:
    """What a suspended device told of a ring is where it goes on after a reset, as a migration has it."""
    rig = c.rig()
    rig.io(3)
    at = rig.stop()
    rig.fe.close()
    session: VdpaSession = c.negotiated()
    session.set_mem_table(rig.mems)
    request = rig.submit(kick=False)
    for q in rig.queues.values():
        session.start(q, at if q is rig.q else None)
    session.set_status(DRIVER_OK)
    rig.q.kick()
    rig.finished(request)
    session.close()


@check("vdpa.resume", MUST, SUSPEND, ("io", "BF.SUSPEND", "BF.RESUME"), side=NODE)
def resume(c: NodeContext) -> None:
    """A device that was suspended goes on where it was when it is resumed, with what came meanwhile."""
    rig = c.rig()
    rig.io(2)
    rig.stop()
    request = rig.submit()
    rig.node.call("VDPA_RESUME")
    rig.q.kick()
    rig.finished(request)
    rig.io(2)


@check("vdpa.suspend-not", SHOULD, SUSPEND, side=NODE)
def suspend_not(c: NodeContext) -> None:
    """Where it is not offered to suspend or to resume, those calls are refused."""
    session = stepped(c)
    absent: Sequence[tuple[BF, str]] = ((BF.SUSPEND, "VDPA_SUSPEND"), (BF.RESUME, "VDPA_RESUME"))
    session.set_status(DRIVER_OK)
    for bit, name in absent:
        if not c.has.backend & bit:
            session.node.refuses(name, why="though it was not offered")
