# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""What a check of a device file works with: an open file, and sessions over it that look as those of vhost-user do."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
from dataclasses import dataclass
from typing import Any, Iterator, Sequence

import vh
from vh._model import VdpaBackendFeatures
from vh.check.context import DRIVER_OK, FEATURES_OK, Context, Offer, Options, Rig
from vh.check.core import NODE, Check, Fails, Skips
from vh.check.devices import DEVICES, Device, by_number
from vh.check.node import ioctls
from vh.check.node.ioctls import BATCH_BEGIN, BATCH_END, INVALIDATE, UPDATE, VDPA, Node, Refused
from vh.check.targets import Target, Unreachable
from vh.check.wires import History
from vh.launch import sockets
from vh.testing.peer import Memory, Queue
from vh.testing.wire import FE, F, bits

PAGE = 4096
BF = VdpaBackendFeatures
TAP, TUNSETIFF, TUNSETVNETHDRSZ = "/dev/net/tun", 0x400454CA, 0x400454D8
#: of vhost-net's own: it makes headers for what is attached
NET_HEADERS = 27
_TYPES = {ioctls.NET: "net", ioctls.VSOCK: "none", ioctls.SCSI: "none"}


class File(Target):
    """A device file, by its path or by the name of a vDPA device."""

    def __init__(self, text: str):
        self.name = self.path = text
        if text.startswith("vdpa:"):
            try:
                with vh.VdpaMgmt() as mgmt:
                    self.path = mgmt.place(text[5:]).path
            except vh.VhError as e:
                raise Unreachable(str(e)) from None
        base = os.path.basename(self.path)
        self.kind = VDPA if base.startswith(VDPA) else base
        if self.kind not in (*ioctls.WORKERS, VDPA):
            raise ValueError(f"{text}: no device file of vhost is called so")

    def open(self, history: History | None = None) -> Node:
        """The file, open. Raises Unreachable."""
        try:
            return Node(os.open(self.path, os.O_RDWR | os.O_CLOEXEC), history)
        except OSError as e:
            busy = "; another process has it" if e.errno == errno.EBUSY else ""
            raise Unreachable(f"{self.path}: {e.strerror}{busy}") from None

    def second(self) -> int:
        """Opened while it is open: the errno value, or 0."""
        try:
            os.close(os.open(self.path, os.O_RDWR | os.O_CLOEXEC))
        except OSError as e:
            return e.errno or errno.EIO
        return 0


def is_node(text: str) -> bool:
    return text.startswith("vdpa:") or text.startswith("/dev/") and not sockets.is_one(text)


class Session:
    """A device that was negotiated with, by the calls that a rig makes of a connection of vhost-user."""

    pf_acked = 0

    def __init__(self, node: Node, features: int):
        self.node = node
        self.offered = node.call("GET_FEATURES")
        self.acked = self.offered & features
        self.mems: list[Memory] = []
        self.negotiate()

    def close(self) -> None:
        self.node.close()

    def get_u64(self, request: int, timeout: float | None = None) -> int:
        """Of a vhost-user session it is a barrier; calls of a file need none."""
        assert request == FE.GET_FEATURES
        return self.node.call("GET_FEATURES")

    def vring_fd(self, request: int, index: int, fd: int = -1) -> None:
        self.node.call(FE(request).name, index, fd)

    def address(self, mem: Memory, gpa: int) -> int:
        """What SET_VRING_ADDR names a guest address by."""
        raise NotImplementedError

    def prepare(self, q: Queue, base: int | None) -> None:
        """All of a ring but what starts it."""
        node, ring = self.node, q.ring
        node.call("SET_VRING_NUM", q.index, q.num)
        node.call("SET_VRING_BASE", q.index, ring.avail_idx if base is None else base)
        desc, avail, used = (self.address(ring.mem, at) for at in (ring.desc, ring.avail, ring.used))
        node.call("SET_VRING_ADDR", q.index, 0, desc, used, avail, 0)
        for request, fd in ((FE.SET_VRING_ERR, q.err_fd), (FE.SET_VRING_CALL, q.call_fd), (FE.SET_VRING_KICK, q.kick_fd)):
            self.vring_fd(request, q.index, fd)

    def negotiate(self) -> None:
        raise NotImplementedError

    def set_mem_table(self, mems: Sequence[Memory]) -> None:
        raise NotImplementedError

    def start(self, q: Queue, base: int | None = None, enable: bool = True) -> None:
        self.prepare(q, base)
        if enable:
            self.enable(q)

    def enable(self, q: Queue, on: bool = True) -> None:
        raise NotImplementedError

    def stop(self, q: Queue) -> int:
        raise NotImplementedError

    def set_status(self, value: int) -> None:
        raise NotImplementedError


class VdpaSession(Session):
    """Over vDPA: rings start together, with DRIVER_OK, and stop together, by a suspension."""

    def negotiate(self) -> None:
        node = self.node
        node.call("SET_OWNER")
        self.backend = node.call("GET_BACKEND_FEATURES") & sum(BF)
        node.call("SET_BACKEND_FEATURES", self.backend)
        for status in (1, 3):
            self.set_status(status)
        self.acked |= self.offered & bits(F.ACCESS_PLATFORM)
        node.call("SET_FEATURES", self.acked)
        self.set_status(FEATURES_OK)
        if not node.call("VDPA_GET_STATUS") & 8:
            raise Fails(f"features {self.acked:#x} of {self.offered:#x} are not accepted")

    def set_status(self, value: int) -> None:
        self.node.call("VDPA_SET_STATUS", value)

    def address(self, mem: Memory, gpa: int) -> int:
        return gpa

    @contextlib.contextmanager
    def batch(self) -> Iterator[None]:
        """Mappings that are one change, where there is that."""
        known = self.backend & BF.BATCH
        if known:
            self.node.message(BATCH_BEGIN)
        yield
        if known:
            self.node.message(BATCH_END)

    def set_mem_table(self, mems: Sequence[Memory]) -> None:
        with self.batch():
            for mem in self.mems:
                if mem not in mems:
                    self.node.message(INVALIDATE, mem.gpa, mem.size)
            for mem in mems:
                if mem not in self.mems:
                    self.node.message(UPDATE, mem.gpa, mem.size, mem.host)
        self.mems = list(mems)

    def enable(self, q: Queue, on: bool = True) -> None:
        self.node.call("VDPA_SET_VRING_ENABLE", q.index, int(on))

    def stop(self, q: Queue) -> int:
        self.node.call("VDPA_SUSPEND")
        return self.node.call("GET_VRING_BASE", q.index)


class KernSession(Session):
    """Over vhost-net, each ring attached to a tap of this process."""

    def __init__(self, node: Node, features: int, tap: int = -1):
        self.tap = tap
        super().__init__(node, features & ~bits(F.LOG_ALL, F.ACCESS_PLATFORM, NET_HEADERS))

    def close(self) -> None:
        super().close()
        if self.tap >= 0:
            os.close(self.tap)
            self.tap = -1

    def negotiate(self) -> None:
        self.node.call("SET_OWNER")
        self.node.call("SET_FEATURES", self.acked)

    def set_status(self, value: int) -> None:
        """There is none."""

    def address(self, mem: Memory, gpa: int) -> int:
        return mem.host + gpa - mem.gpa

    def set_mem_table(self, mems: Sequence[Memory]) -> None:
        set_table(self.node, [(m.gpa, m.size, m.host) for m in mems])
        self.mems = list(mems)

    def enable(self, q: Queue, on: bool = True) -> None:
        self.node.call("NET_SET_BACKEND", q.index, self.tap if on else -1)

    def stop(self, q: Queue) -> int:
        self.enable(q, False)
        return self.node.call("GET_VRING_BASE", q.index)


def set_table(node: Node, regions: Sequence[tuple[int, int, int]], padding: int = 0) -> None:
    """SET_MEM_TABLE of (guest address, size, address here). Raises Refused."""
    number = try_table(node, regions, padding)
    if number:
        raise Refused("SET_MEM_TABLE", number)


def try_table(node: Node, regions: Sequence[tuple[int, int, int]], padding: int = 0, flags: int = 0) -> int:
    tail = b"".join(struct.pack("=QQQQ", *region, flags) for region in regions)
    return node.try_call("SET_MEM_TABLE", len(regions), padding, tail=tail)[0]


def open_tap() -> int:
    """A tap interface with headers of twelve bytes, which goes with its file. Raises Skips."""
    fd = -1
    try:
        fd = os.open(TAP, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", b"vhcheck%d", 0x5002))  # IFF_TAP | IFF_NO_PI | IFF_VNET_HDR
        fcntl.ioctl(fd, TUNSETVNETHDRSZ, struct.pack("i", 12))
    except OSError as e:
        if fd >= 0:
            os.close(fd)
        raise Skips(f"no tap interface for it: {e.strerror}") from None
    return fd


class NodeRig(Rig):
    """A session over a device file with one memory and running queues."""

    @property
    def session(self) -> Any:
        """VdpaSession or KernSession."""
        return self.fe

    @property
    def node(self) -> Node:
        node: Node = self.session.node
        return node

    def start(self, enable: bool = True) -> None:
        """A network device that gives back may not take what it has no room for: then each frame gets some."""
        self.supply = self.device.name == "net" and self.context.options.loopback
        super().start(enable)

    def ends_at(self, wanted: int, what: str) -> None:
        if self.context.lacks("stop"):
            return
        super().ends_at(wanted, what)


class NodeContext(Context):
    """What one check of a device file may use. Everything that it opens is closed after it."""

    subject = "the device"

    def __init__(self, target: File, options: Options, offer: NodeOffer, device: Device):
        super().__init__(target, options, offer, device)
        self.file, self.has = target, offer

    def offers(self, name: str) -> bool:
        if name.startswith("BF."):
            return bool(self.has.backend & int(getattr(BF, name[3:])))
        if name.startswith("PF."):
            return name == "PF.CONFIG" and bool(self.has.config_size)
        return super().offers(name)

    def lacks(self, need: str) -> str:
        if need == "io" and not self.has.io:
            return self.has.why
        words = {
            "stop": (self.file.kind == ioctls.NET or self.has.backend & BF.SUSPEND, "the device can't be suspended"),
            "one by one": (self.file.kind != VDPA, "rings of vDPA stop all together"),
            "config": (self.has.config_size, "the device has no configuration space"),
            "queues": (False, "rings of a device file start all together"),
            "driver": (self.file.kind == VDPA, "libvh's driver needs the other end of what is attached"),
        }
        if need in words:
            can, why = words[need]
            return "" if can else why
        return super().lacks(need)

    def applies(self, check: Check) -> str:
        if not holds(self.file, check):
            return f"it is no rule of {self.file.kind}"
        return super().applies(check)

    @property
    def largest(self) -> int:
        return self.has.largest

    # --- files and sessions ---

    def node(self) -> Node:
        """The file, as it is when it was just opened."""
        node = self.file.open(self.history)
        self.stack.callback(node.close)
        return node

    def negotiated(self, features: int | None = None, pf: int | None = None) -> Any:
        wanted = Rig.FEATURES if features is None else features
        node = self.node()
        if self.file.kind == VDPA:
            return VdpaSession(node, wanted)
        session = KernSession(node, wanted, open_tap() if self.file.kind == ioctls.NET else -1)
        self.stack.callback(session.close)
        return session

    def rig(self, **options: Any) -> NodeRig:
        made = NodeRig(self, **options)
        self.stack.callback(made.__exit__)
        return made

    def space(self, offset: int, size: int) -> bytes:
        node = self.node()
        try:
            return node.config(offset, size)
        finally:
            node.close()

    def driver(self, without: int = 0, size: int = 16) -> vh.Driver:
        self.need("driver")
        vdpa = vh.Vdpa(self.file.path)
        self.stack.callback(vdpa.close)
        made = vh.Driver(vdpa, type=self.device_type, queue_size=size, mask_features=without)
        self.stack.callback(made.close)
        made.start()
        return made


@dataclass
class NodeOffer(Offer):
    """What the file offers. io: can requests be made; why: not."""

    backend: int = 0
    config_size: int = 0
    largest: int = 256
    io: bool = False
    why: str = ""


def holds(file: File, check: Check) -> bool:
    """Is it a rule of this kind of file? Those of vDPA and of the kernel's own devices have names that say so; the rings of
    vsock and SCSI devices speak to what is not here."""
    if check.side != NODE:
        return file.kind in (VDPA, ioctls.NET) or "io" not in check.needs
    return check.group in (("vdpa",) if file.kind == VDPA else ("vhost", file.kind))


def survey(file: File, options: Options) -> tuple[NodeOffer, Device]:
    """One opening of the file before the first check. Raises Unreachable."""
    offer, node = NodeOffer(), file.open()
    try:
        offer.features = node.call("GET_FEATURES")
        offer.backend = node.try_call("GET_BACKEND_FEATURES")[1][0] if file.kind != ioctls.SCSI else 0
        name = _TYPES.get(file.kind) or by_number(node.call("VDPA_GET_DEVICE_ID"))
        device = DEVICES[options.type or name]
        offer.io, offer.why = bool(device.make), f"no request is known for a device of type {device.name}"
        if file.kind == VDPA:
            offer.largest = node.call("VDPA_GET_VRING_NUM")
            offer.config_size = node.try_call("VDPA_GET_CONFIG_SIZE")[1][0]
        elif file.kind == ioctls.NET:
            try:
                os.close(open_tap())
            except Skips as e:
                offer.io, offer.why = False, str(e)
        else:
            offer.io, offer.why = False, "what its rings speak to is not here"
    except Refused as e:
        raise Unreachable(f"{file.name}: {e}") from None
    finally:
        node.close()
    return offer, device


__all__ = ["DRIVER_OK", "FEATURES_OK", "File", "NodeContext", "NodeOffer", "holds", "is_node", "survey"]
