# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""The kernel's own devices: /dev/vhost-net, /dev/vhost-vsock, /dev/vhost-scsi."""

from __future__ import annotations

import errno
import os
from typing import Sequence

from vh.check.core import INFO, MUST, NODE, ROBUST, SHOULD, VIRTIO, Skips, check, equal, require
from vh.check.node.context import PAGE, NodeContext, try_table
from vh.check.node.ioctls import ABSENT, IOCTLS, SCSI, Node, error
from vh.testing.peer import Memory
from vh.testing.wire import F, bits

KERNEL = "linux/vhost.h"
RINGS = f"{KERNEL}: rings"
MEMORY = f"{KERNEL}: VHOST_SET_MEM_TABLE"
BACKEND = f"{KERNEL}: backend features"
NET_RULES, VSOCK_RULES, SCSI_RULES = f"{KERNEL}: vhost-net", f"{KERNEL}: vhost-vsock", f"{KERNEL}: vhost-scsi"

MIB = 1 << 20
#: what not each kernel has, and since when
LATER = {"GET_FEATURES_ARRAY": "6.17", "GET_FORK_FROM_OWNER": "6.17"}


def owned(c: NodeContext) -> Node:
    node = c.node()
    node.call("SET_OWNER")
    return node


def memory(c: NodeContext, number: int = 0) -> tuple[int, int, int]:
    """A region: its guest address, size and address here."""
    mem = Memory(4 * PAGE, gpa=MIB * (number + 1))
    c.stack.callback(mem.close)
    return mem.gpa, mem.size, mem.host


def table_refused(node: Node, why: str, regions: Sequence[tuple[int, int, int]], **wrong: int) -> None:
    require(try_table(node, regions, **wrong), f"SET_MEM_TABLE with {why} is done, and not refused")


# --- all of them ----------------------------------------------------------------------------------------------------


@check("vhost.calls-later", INFO, KERNEL, side=NODE)
def calls_later(c: NodeContext) -> None:
    """The calls that later kernels have are there."""
    node = owned(c)
    missing = [name for name in LATER if c.file.kind in IOCTLS[name].nodes and node.try_call(name)[0] in ABSENT]
    require(not missing, f"not there: {', '.join(f'{name} (Linux {LATER[name]})' for name in missing)}")


@check("vhost.calls-other", SHOULD, KERNEL, side=NODE)
def calls_other(c: NodeContext) -> None:
    """Calls of other device files are refused."""
    node = owned(c)
    for name, row in IOCTLS.items():
        if c.file.kind not in row.nodes:
            node.refuses(name)


@check("vhost.version-1", MUST, f"{VIRTIO}: 6.1 Driver Requirements: Reserved Feature Bits", side=NODE)
def version_1(c: NodeContext) -> None:
    """VIRTIO_F_VERSION_1 is offered."""
    require(c.offers("F.VERSION_1"), f"the features are {c.offer.features:#x}")


@check("vhost.features", MUST, KERNEL, side=NODE)
def features(c: NodeContext) -> None:
    """What is offered is the same each time, and can be taken, all but the log, which needs memory of its own."""
    node = owned(c)
    equal(node.call("GET_FEATURES"), c.offer.features, "features, asked again")
    node.call("SET_FEATURES", c.offer.features & ~bits(F.LOG_ALL))
    equal(node.call("GET_FEATURES"), c.offer.features, "features, after they were taken")


@check("vhost.features-not-offered", MUST, KERNEL, side=NODE)
def not_offered(c: NodeContext) -> None:
    """Features that were not offered are refused."""
    node = owned(c)
    strange = next(1 << i for i in range(63, -1, -1) if not c.offer.features >> i & 1)
    node.refuses("SET_FEATURES", strange, why=f"of bit {strange.bit_length() - 1}", wanted=(errno.EOPNOTSUPP,))


@check("vhost.owner", MUST, f"{KERNEL}: VHOST_SET_OWNER", side=NODE)
def owner(c: NodeContext) -> None:
    """Calls about memory and rings need an owner, and there is one at most."""
    node = c.node()
    for name, row in IOCTLS.items():
        if c.file.kind in row.nodes and row.owner and name not in ("RESET_OWNER", "NEW_WORKER", "FREE_WORKER", "SET_VRING_ENDIAN",
                                                                    "GET_VRING_ENDIAN"):  # fmt: skip
            number = node.try_call(name)[0]
            require(number, f"{name} without an owner is done, and not refused")
    node.call("SET_OWNER")
    node.refuses("SET_OWNER", why="once more", wanted=(errno.EBUSY,))


@check("vhost.two-users", MUST, KERNEL, side=NODE)
def two_users(c: NodeContext) -> None:
    """Each opening of the file is a device of its own."""
    first, second = owned(c), owned(c)
    first.call("SET_VRING_NUM", 0, 64)
    second.call("SET_VRING_BASE", 0, 5)
    equal(first.call("GET_VRING_BASE", 0), 0, "base of the other's ring")


@check("vhost.backend-features", MUST, BACKEND, side=NODE)
def backend_features(c: NodeContext) -> None:
    """What the file itself offers can be taken; what it does not offer is refused."""
    if c.file.kind == SCSI:
        raise Skips("vhost-scsi has no backend features")
    node = c.node()
    offered = node.call("GET_BACKEND_FEATURES")
    node.call("SET_BACKEND_FEATURES", offered)
    strange = next(1 << i for i in range(1, 64) if not offered >> i & 1)
    node.refuses("SET_BACKEND_FEATURES", strange, why=f"of bit {strange.bit_length() - 1}", wanted=(errno.EOPNOTSUPP,))


@check("vhost.memory", MUST, MEMORY, side=NODE)
def memory_table(c: NodeContext) -> None:
    """A table of regions can be told, replaced and emptied."""
    node = owned(c)
    tables: Sequence[Sequence[tuple[int, int, int]]] = ([memory(c)], [memory(c, i) for i in range(8)], [])
    for regions in tables:
        number = try_table(node, regions)
        require(not number, f"a table of {len(regions)} regions: {error(number)}")


@check("vhost.memory-wrong", ROBUST, MEMORY, side=NODE)
def memory_wrong(c: NodeContext) -> None:
    """A table of more regions than there can be, one with padding, and a region that wraps around are refused."""
    node, region = owned(c), memory(c)
    table_refused(node, "padding", [region], padding=1)
    table_refused(node, "memory that wraps around", [(region[0], (1 << 64) - PAGE, region[2])])
    node.refuses("SET_MEM_TABLE", 0xFFFFFFFF, 0, why="of 4294967295 regions")
    require(not try_table(node, [region]), "after that a table is refused that is right")


@check("vhost.ring-index", MUST, RINGS, side=NODE)
def ring_index(c: NodeContext) -> None:
    """A ring that does not exist is refused."""
    node = owned(c)
    for index in (1024, 0x10000, 0xFFFFFFFF):
        for name in ("SET_VRING_NUM", "SET_VRING_BASE", "GET_VRING_BASE"):
            node.refuses(name, index, 1, why=f"of ring {index}", wanted=(errno.ENOBUFS,))


@check("vhost.ring-size", MUST, RINGS, side=NODE)
def ring_size(c: NodeContext) -> None:
    """A ring may have any power of two of entries up to 32768; no entries, 3 or 65536 are refused."""
    node = owned(c)
    for num in (1, 256, 32768):
        node.call("SET_VRING_NUM", 0, num)
    for num in (0, 3, 0x10000, 0xFFFFFFFF):
        node.refuses("SET_VRING_NUM", 0, num, why=f"{num}")


@check("vhost.ring-address", MUST, RINGS, side=NODE)
def ring_address(c: NodeContext) -> None:
    """Rings at odd addresses are refused, and flags that nobody knows."""
    node = owned(c)
    node.call("SET_VRING_NUM", 0, 16)
    at = memory(c)[2]
    node.call("SET_VRING_ADDR", 0, 0, at, at + PAGE, at + 2 * PAGE, 0)
    for why, flags, used, avail in (("an odd available ring", 0, at + PAGE, at + 1), ("a used ring aligned to 2", 0, at + 2, at),
                                    ("a flag that nobody knows", 2, at + PAGE, at)):  # fmt: skip
        node.refuses("SET_VRING_ADDR", 0, flags, at, used, avail, 0, why=f"with {why}")


@check("vhost.base", MUST, RINGS, side=NODE)
def base(c: NodeContext) -> None:
    """The base that a ring was given is told again; one of more than 16 bits is refused."""
    node = owned(c)
    node.call("SET_VRING_BASE", 0, 7)
    equal(node.call("GET_VRING_BASE", 0), 7, "base")
    node.refuses("SET_VRING_BASE", 0, 0x10000, why="0x10000")


@check("vhost.eventfds", MUST, RINGS, side=NODE)
def eventfds(c: NodeContext) -> None:
    """What kicks and calls is an eventfd: another file is refused, and -1 takes it away."""
    node = owned(c)
    null = c.stack.enter_context(open(os.devnull, "rb")).fileno()
    for name in ("SET_VRING_KICK", "SET_VRING_CALL", "SET_VRING_ERR"):
        node.refuses(name, 0, null, why="with /dev/null")
        node.refuses(name, 0, 9999, why="with an fd that is not open")
        node.call(name, 0, -1)


@check("vhost.log", MUST, f"{KERNEL}: VHOST_SET_LOG_BASE", side=NODE)
def log(c: NodeContext) -> None:
    """Where writes are logged can be told, and an eventfd that says so; what is none is refused."""
    node = owned(c)
    node.call("SET_LOG_BASE", memory(c)[2])
    node.call("SET_LOG_FD", -1)
    node.refuses("SET_LOG_FD", 9999, why="with an fd that is not open")


# --- by kind --------------------------------------------------------------------------------------------------------


@check("vhost-net.start", MUST, NET_RULES, side=NODE)
def net_start(c: NodeContext) -> None:
    """A ring without memory, size and addresses does not start, and there are two."""
    node = owned(c)
    null = c.stack.enter_context(open(os.devnull, "rb")).fileno()
    for index in (0, 1):
        node.refuses("NET_SET_BACKEND", index, null, why="of a ring that was not set up", wanted=(errno.EFAULT,))
    node.refuses("NET_SET_BACKEND", 2, -1, why="of ring 2", wanted=(errno.ENOBUFS,))


@check("vhost-net.attach", MUST, NET_RULES, "io", side=NODE)
def net_attach(c: NodeContext) -> None:
    """What is no tap device and no packet socket can't be attached to a ring that is ready."""
    rig = c.rig(start=False)
    rig.session.prepare(rig.q, None)
    null = c.stack.enter_context(open(os.devnull, "rb")).fileno()
    rig.node.refuses("NET_SET_BACKEND", rig.q.index, null, why="with /dev/null", wanted=(errno.ENOTSOCK,))
    rig.node.refuses("NET_SET_BACKEND", rig.q.index, 9999, why="with an fd that is not open")
    rig.start()
    rig.io()


@check("vhost-net.foreign-memory", ROBUST, NET_RULES, "io", side=NODE)
def net_foreign_memory(c: NodeContext) -> None:
    """A ring in the kernel's memory does not start."""
    rig = c.rig(start=False)
    ring, fe = rig.q.ring, rig.session
    for desc, used, avail in ((1 << 63, 0, 0), (0, 1 << 63, 0), (0, 0, 1 << 63)):
        fe.prepare(rig.q, None)
        here = [wrong or fe.address(rig.mem, at) for wrong, at in ((desc, ring.desc), (used, ring.used), (avail, ring.avail))]
        if not rig.node.try_call("SET_VRING_ADDR", rig.q.index, 0, *here, 0)[0]:
            rig.node.refuses("NET_SET_BACKEND", rig.q.index, fe.tap, why="of a ring in the kernel's memory", wanted=(errno.EFAULT,))
    c.survives("a ring in the kernel's memory")


@check("vhost-net.running", MUST, NET_RULES, "io", side=NODE)
def net_running(c: NodeContext) -> None:
    """The size and the base of a ring that runs can't be changed."""
    rig = c.rig()
    for name in ("SET_VRING_NUM", "SET_VRING_BASE"):
        rig.node.refuses(name, rig.q.index, 8, why="of a ring that runs", wanted=(errno.EBUSY,))
    rig.io()


@check("vhost-net.reset-owner", MUST, NET_RULES, side=NODE)
def net_reset_owner(c: NodeContext) -> None:
    """RESET_OWNER makes it as it was when it was opened; without an owner it is refused."""
    node = c.node()
    node.refuses("RESET_OWNER", why="without an owner", wanted=(errno.EPERM,))
    for _ in range(2):
        node.call("SET_OWNER")
        equal(node.call("GET_VRING_BASE", 0), 0, "base")
        node.call("SET_VRING_BASE", 0, 9)
        node.call("RESET_OWNER")


@check("vhost-vsock.address", MUST, VSOCK_RULES, side=NODE)
def vsock_address(c: NodeContext) -> None:
    """A guest's address is above 2, has 32 bits, and is nobody else's."""
    first, second = c.node(), c.node()
    cid = next((cid for cid in range(0x7EAD0000, 0x7EAD0010) if not first.try_call("VSOCK_SET_GUEST_CID", cid)[0]), 0)
    require(cid, "no address is free")
    second.refuses("VSOCK_SET_GUEST_CID", cid, why="that another one has", wanted=(errno.EADDRINUSE,))
    for wrong in (0, 1, 2, 0xFFFFFFFF, 1 << 32):
        second.refuses("VSOCK_SET_GUEST_CID", wrong, why=f"{wrong}")
    first.close()
    second.call("VSOCK_SET_GUEST_CID", cid)


@check("vhost-vsock.start", MUST, VSOCK_RULES, side=NODE)
def vsock_start(c: NodeContext) -> None:
    """Rings that were not set up do not start; to stop them is allowed at any time."""
    node = owned(c)
    node.refuses("VSOCK_SET_RUNNING", 1, why="without rings", wanted=(errno.EFAULT,))
    node.call("VSOCK_SET_RUNNING", 0)


@check("vhost-scsi.abi", MUST, SCSI_RULES, side=NODE)
def scsi_abi(c: NodeContext) -> None:
    """GET_ABI_VERSION tells 1."""
    equal(c.node().call("SCSI_GET_ABI_VERSION"), 1, "version of the ABI")


@check("vhost-scsi.events-missed", MUST, SCSI_RULES, side=NODE)
def scsi_events(c: NodeContext) -> None:
    """Whether events were missed can be told, and is told again."""
    node = owned(c)
    for value in (1, 0):
        node.call("SCSI_SET_EVENTS_MISSED", value)
        equal(node.call("SCSI_GET_EVENTS_MISSED"), value, "events missed")


@check("vhost-scsi.target", MUST, SCSI_RULES, side=NODE)
def scsi_target(c: NodeContext) -> None:
    """A target that is not there can't be shown, nor one before there are rings."""
    node = owned(c)
    node.refuses("SCSI_SET_ENDPOINT", 0, b"naa.5001405feedf00d5", 1, 0, why="before there are rings")
    node.refuses("SCSI_SET_ENDPOINT", 0, b"naa.5001405feedf00d5", 1, 1, why="with something where zeros belong")
