# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Device files that are played, with the kernel's rules and a disk or a network behind them; and a mistake for each check of them."""
import ctypes
import errno
import os
import stat
import struct
import threading

from vh.check.node import context
from vh.check.node.ioctls import BATCH_BEGIN, BATCH_END, INVALIDATE, IOCTLS, NET, SCSI, UPDATE, VDPA, VSOCK, Node
from vh.check.targets import Unreachable
from vh.testing.wire import F, bits

OWN = {v: k for k, v in ((name, row.request) for name, row in IOCTLS.items())}
PAGE, LAST = 4096, (1 << 64) - 1
FEATURES = bits(F.RING_INDIRECT_DESC, F.VERSION_1, F.ACCESS_PLATFORM)
KERNELS = bits(F.LOG_ALL, F.RING_INDIRECT_DESC, F.VERSION_1)
BACKEND = 0x3E
DRIVER_OK = 4


class Ring:
    def __init__(self):
        self.num = self.base = self.used = 0
        self.addr, self.on, self.fds = None, False, {}


class Played(Node):
    """One opening. The mistake is asked first: mistake(node, name, values) gives an errno value, 0 for done, or None."""

    def __init__(self, file, history):
        super().__init__(os.open(os.devnull, os.O_RDWR), history)
        self.file, self.kind, self.mistake = file, file.kind, file.mistake
        self.owned = self.suspended = self.batch = self.dead = self.was_reset = False
        self.status = self.acked = self.missed = 0
        self.rings = [Ring() for _ in range(2)]
        self.maps, self.held, self.cid = [], [], None
        self.lock, self.over = threading.Lock(), threading.Event()
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def close(self):
        if self.fd >= 0:
            self.over.set()
            self.thread.join()
            self.file.opened.remove(self)
            self.file.was_dead |= self.dead
        super().close()

    # --- what is called ---

    def _ioctl(self, request, arg):
        name = OWN[request]
        row = IOCTLS[name]
        size = struct.calcsize("=" + row.form)
        values = struct.unpack_from("=" + row.form, arg) if size else ()
        number = self.mistake(self, name, values)
        out = None
        if number is None:
            with self.lock:
                try:
                    out = self._call(name, row, values, bytes(arg[size:]) if size else b"")
                except OSError as e:
                    number = e.errno
        if number:
            raise OSError(number, os.strerror(number))
        changed = self.file.answer(self, name, out)
        if changed is not None:
            data = changed if isinstance(changed, bytes) else struct.pack("=" + row.form, *(changed if isinstance(changed, tuple)
                                                                                            else (*values[:-1], changed)))
            arg[size if isinstance(changed, bytes) else 0:] = data.ljust(len(arg) - (size if isinstance(changed, bytes) else 0), b"\0")

    def _write(self, message):
        _, asid, iova, size, host, perm, kind = struct.unpack_from("=IIQQQBB", message)
        number = self.mistake(self, kind, (asid, iova, size, host))
        if number is None:
            with self.lock:
                number = self._message(kind, asid, iova, size, host)
        if number:
            raise OSError(number, os.strerror(number))

    def _refuse(self, number):
        raise OSError(number, os.strerror(number))

    def _call(self, name, row, values, tail):
        if self.kind not in row.nodes:
            self._refuse(errno.ENOTTY)
        if row.owner and not self.owned:
            self._refuse(errno.EPERM)
        if row.form in ("II", "Ii", "IIQQQQ") and ("VRING" in name or "NET_SET" in name):
            return self._ring_call(name, values)
        return getattr(self, "do_" + name.lower(), lambda *_: 0 if row.owner else None)(*values, *([tail] if tail else []))

    def do_get_features(self, *_):
        return FEATURES if self.kind == VDPA else KERNELS

    def do_set_features(self, value):
        if value & ~self.do_get_features():
            self._refuse(errno.EOPNOTSUPP)
        if self.status & 8:
            self._refuse(errno.EBUSY)
        self.acked = value

    def do_get_backend_features(self, *_):
        return self.file.backend

    def do_set_backend_features(self, value):
        if value & ~self.file.backend:
            self._refuse(errno.EOPNOTSUPP)

    def do_set_owner(self):
        if self.owned:
            self._refuse(errno.EBUSY)
        self.owned = True

    def do_reset_owner(self):
        self.owned, self.rings = False, [Ring() for _ in range(2)]

    def do_set_mem_table(self, count, padding, tail=b""):
        regions = [struct.unpack_from("=QQQQ", tail, 32 * i) for i in range(min(count, len(tail) // 32))]
        if count > 64 or len(regions) < count:
            self._refuse(errno.E2BIG)
        if padding or any(gpa + size - 1 > LAST for gpa, size, _, _ in regions):
            self._refuse(errno.EOPNOTSUPP)
        self.maps = [(0, gpa, size, host) for gpa, size, host, _ in regions]

    def do_set_log_fd(self, fd):
        self._eventfd(fd)

    def do_vdpa_get_device_id(self, *_):
        return 2

    def do_vdpa_get_status(self, *_):
        return self.status

    def do_vdpa_set_status(self, value):
        if value and self.status & ~value:
            self._refuse(errno.EINVAL)
        if not value:
            self.rings, self.acked, self.suspended, self.was_reset = [Ring() for _ in range(2)], 0, False, True
        self.status = value

    def _config(self, offset, size, _tail=b""):
        if not size or offset + size > len(self.file.config):
            self._refuse(errno.EINVAL)
        return self.file.config[offset:offset + size]

    do_vdpa_get_config = _config

    def do_vdpa_set_config(self, offset, size, tail=b""):
        self._config(offset, size)

    def do_vdpa_get_config_size(self, *_):
        return len(self.file.config)

    def do_vdpa_get_vring_num(self, *_):
        return 256

    def do_vdpa_get_iova_range(self, *_):
        return 0, LAST

    def do_vdpa_get_as_num(self, *_):
        return 2

    do_vdpa_get_group_num = do_vdpa_get_vqs_count = do_vdpa_get_as_num

    def do_vdpa_set_config_call(self, fd):
        self._eventfd(fd)

    def do_vdpa_suspend(self):
        if not self.file.backend & 16:
            self._refuse(errno.EOPNOTSUPP)
        self.suspended = True

    def do_vdpa_resume(self):
        if not self.file.backend & 32:
            self._refuse(errno.EOPNOTSUPP)
        self.suspended = False

    def do_vdpa_set_group_asid(self, group, asid):
        if group >= 2 or asid >= 2:
            self._refuse(errno.EINVAL)

    def do_scsi_get_abi_version(self, *_):
        return 1

    def do_scsi_set_events_missed(self, value):
        self.missed = value

    def do_scsi_get_events_missed(self, *_):
        return self.missed

    def do_scsi_set_endpoint(self, *_):
        self._refuse(errno.EFAULT)

    do_scsi_clear_endpoint = do_scsi_set_endpoint

    def do_vsock_set_guest_cid(self, cid):
        if cid <= 2 or cid >= 0xFFFFFFFF:
            self._refuse(errno.EINVAL)
        if any(node.cid == cid for node in self.file.opened if node is not self):
            self._refuse(errno.EADDRINUSE)
        self.cid = cid

    def do_vsock_set_running(self, on):
        if on:
            self._refuse(errno.EFAULT)

    @staticmethod
    def _eventfd(fd):
        if fd >= 0 and stat.S_IFMT(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "")

    def _ring_call(self, name, values):
        index, value = values[:2]
        if index >= 2:
            self._refuse(errno.ENOBUFS)
        ring = self.rings[index]
        stands = self.suspended or not self.status & DRIVER_OK if self.kind == VDPA else not ring.on
        if name == "SET_VRING_NUM":
            if not stands:
                self._refuse(errno.EBUSY)
            if not value or value & value - 1 or value > (256 if self.kind == VDPA else 32768):
                self._refuse(errno.EINVAL)
            ring.num = value
        elif name == "SET_VRING_BASE":
            if not stands or value > 0xFFFF:
                self._refuse(errno.EINVAL if self.kind == VDPA or stands else errno.EBUSY)
            ring.base = ring.used = value
        elif name == "SET_VRING_ADDR":
            _, flags, desc, used, avail, _ = values
            if not stands or avail & 1 or used & 3 or flags & ~1:
                self._refuse(errno.EINVAL)
            ring.addr = desc, avail, used
        elif name in ("SET_VRING_KICK", "SET_VRING_CALL", "SET_VRING_ERR"):
            self._eventfd(value)
            ring.fds[name] = value
        elif name == "VDPA_SET_VRING_ENABLE":
            ring.on = bool(value)
        elif name == "NET_SET_BACKEND":
            self._attach(ring, value)
        return ring.base if name == "GET_VRING_BASE" else int(name == "VDPA_GET_VRING_GROUP" and index == 1)

    def _attach(self, ring, fd):
        if not ring.num or not ring.addr or any(at >> 63 for at in ring.addr):
            self._refuse(errno.EFAULT)
        if fd >= 0 and fd != self.file.tap:
            self._refuse(errno.ENOTSOCK)
        ring.on = fd >= 0

    def _message(self, kind, asid, iova, size, host):
        if not self.owned:
            return errno.EFAULT
        if kind == UPDATE:
            if not size or iova + size - 1 > LAST or host >> 63 or asid >= 2 or self._mapped(asid, iova, size):
                return errno.EFAULT
            self.maps.append((asid, iova, size, host))
        if kind == INVALIDATE:
            self.maps = [m for m in self.maps if m[0] != asid or m[1] + m[2] <= iova or m[1] >= iova + size]
        return 0

    def _mapped(self, asid, iova, size):
        return [m for m in self.maps if m[0] == asid and m[1] < iova + size and m[1] + m[2] > iova]

    # --- the device ---

    def _serve(self):
        """What is in rings is done, whether they were kicked or not: what a check must not see done is what a ring is not ready for."""
        while not self.over.wait(0.002):
            with self.lock:
                for index, ring in enumerate(self.rings):
                    if self._ready(index, ring):
                        self._ring(index, ring)

    def _ready(self, index, ring):
        if self.file.ready is not None:
            return ring.num and ring.addr and self.file.ready(self, index, ring)
        return ring.num and ring.addr and self.runs(ring)

    def runs(self, ring):
        if self.kind != VDPA:
            return ring.on
        return ring.on and self.status & DRIVER_OK and not self.suspended

    def _at(self, gpa, size, ring_part=False):
        if self.kind != VDPA and ring_part:
            return gpa
        for _, iova, length, host in self.maps:
            if iova <= gpa and gpa + size <= iova + length:
                return host + gpa - iova
        raise LookupError

    def _ring(self, index, ring):
        desc, avail, used = ring.addr
        try:
            at = [self._at(a, n, True) for a, n in ((desc, 16 * ring.num), (avail, 6 + 2 * ring.num), (used, 6 + 8 * ring.num))]
            idx = ctypes.c_uint16.from_address(at[1] + 2).value
            if index == 0 and self.file.device == "net":
                return  # there is nothing to receive
            while ring.base != idx:
                head = ctypes.c_uint16.from_address(at[1] + 4 + 2 * (ring.base % ring.num)).value
                written = self._request(self._chain(at[0], head))
                ring.base = ring.base + 1 & 0xFFFF
                ctypes.memmove(at[2] + 4 + 8 * (ring.used % ring.num), struct.pack("<II", head, written), 8)
                ring.used = ring.used + 1 & 0xFFFF
                ctypes.c_uint16.from_address(at[2] + 2).value = ring.used
                if ring.fds.get("SET_VRING_CALL", -1) >= 0:
                    os.eventfd_write(ring.fds["SET_VRING_CALL"], 1)
        except (LookupError, OSError):
            self.dead = True
            ring.on = False

    def _chain(self, desc, head):
        out = []
        while True:
            addr, size, flags, following = struct.unpack("<QIHH", ctypes.string_at(desc + 16 * head, 16))
            out.append((addr, size, flags & 2))
            if not flags & 1:
                return out
            head = following

    def _request(self, chain):
        if self.file.device == "net":
            return 0
        written = 0
        for addr, size, writable in chain[1:]:
            if writable:
                ctypes.memset(self._at(addr, size), 0, size)
                written += size
        return written


REAL = context.File


class PlayedFile(REAL):
    """mistake: see Played; answer(node, name, value): what is answered instead; ready(node, index, ring): when a ring is served."""

    def __init__(self, kind, mistake=None, answer=None, ready=None, backend=BACKEND, shared=False, many=False, dies=False):
        REAL.__init__(self, "/dev/vhost-vdpa-0" if kind == VDPA else "/dev/" + kind)
        self.mistake = mistake or (lambda *_: None)
        self.answer = answer or (lambda node, name, value: value)
        self.ready, self.backend, self.shared, self.many, self.dies = ready, backend, shared, many, dies
        self.device = "net" if kind == NET else "blk"
        self.config = bytes(range(1, 61))
        self.opened = []
        self.tap = -1
        self.was_dead = False

    def second(self):
        return 0 if self.many else errno.EBUSY

    def open(self, history=None):
        if self.opened and self.kind == VDPA or self.dies and self.was_dead:
            raise Unreachable(f"{self.path}: it is busy")
        node = Played(self, history)
        if self.shared and self.opened:
            node.rings = self.opened[0].rings
        self.opened.append(node)
        return node


# --- mistakes -------------------------------------------------------------------------------------------------------


def done(*names, when=lambda node, values: True):
    """These calls are done, whatever they say, and change nothing."""
    return {"mistake": lambda node, name, values: 0 if name in names and when(node, values) else None}


def fails(number, *names, when=lambda node, values: True):
    return {"mistake": lambda node, name, values: number if name in names and when(node, values) else None}


def says(name_, change):
    """change(node, value) is what it answers."""
    return {"answer": lambda node, name, value: change(node, value) if name == name_ and value is not None else value}


def counting(*_, seen=[0]):  # pylint: disable=dangerous-default-value
    seen[0] += 1
    return seen[0]


def refused_features(node, name, values):
    """FEATURES_OK does not stay when all were taken."""
    if name == "VDPA_SET_STATUS" and values[0] == 11 and node.acked == FEATURES:
        node.status = 3
        return 0
    return None


def lost_in_batch(node, name, values):
    if name in (BATCH_BEGIN, BATCH_END):
        node.batch = name == BATCH_BEGIN
    return 0 if name == UPDATE and node.batch else None


LIES = {
    "vdpa.calls": (VDPA, fails(errno.ENOTTY, "VDPA_GET_IOVA_RANGE")),
    "vdpa.calls-later": (VDPA, fails(errno.ENOTTY, "VDPA_GET_AS_NUM")),
    "vdpa.calls-other": (VDPA, done("SET_LOG_FD")),
    "vdpa.device-id": (VDPA, says("VDPA_GET_DEVICE_ID", counting)),
    "vdpa.one-user": (VDPA, {"many": True}),
    "vdpa.owner": (VDPA, done("SET_OWNER", when=lambda node, _: node.owned)),
    "vdpa.version-1": (VDPA, says("GET_FEATURES", lambda _, value: value & ~bits(F.VERSION_1))),
    "vdpa.platform": (VDPA, says("GET_FEATURES", lambda _, value: value & ~bits(F.ACCESS_PLATFORM))),
    "vdpa.features-steady": (VDPA, says("GET_FEATURES", lambda node, value: value & ~bits(F.RING_INDIRECT_DESC) if node.acked else value)),
    "vdpa.features-not-offered": (VDPA, done("SET_FEATURES")),
    "vdpa.features-late": (VDPA, done("SET_FEATURES", when=lambda node, _: node.status & 8)),
    "vdpa.backend-features": (VDPA, done("SET_BACKEND_FEATURES")),
    "vdpa.backend-depends": (VDPA, {"backend": BACKEND & ~2}),
    "vdpa.status": (VDPA, says("VDPA_GET_STATUS", lambda _, value: value & ~2)),
    "vdpa.status-cleared": (VDPA, done("VDPA_SET_STATUS", when=lambda node, values: node.status & ~values[0])),
    "vdpa.features-ok": (VDPA, {"mistake": refused_features}),
    "vdpa.reset": (VDPA, done("VDPA_SET_STATUS", when=lambda node, values: not values[0])),
    "vdpa.reset-again": (VDPA, {"ready": lambda node, index, ring: not node.was_reset and node.runs(ring)}),
    "vdpa.reset-stops": (VDPA, done("VDPA_SET_STATUS", when=lambda node, values: not values[0])),
    "vdpa.ring-count": (VDPA, says("VDPA_GET_VQS_COUNT", lambda *_: 7)),
    "vdpa.ring-size": (VDPA, done("SET_VRING_NUM")),
    "vdpa.ring-too-large": (VDPA, done("SET_VRING_NUM")),
    "vdpa.ring-address": (VDPA, done("SET_VRING_ADDR")),
    "vdpa.base": (VDPA, says("GET_VRING_BASE", lambda *_: 1)),
    "vdpa.base-large": (VDPA, done("SET_VRING_BASE")),
    "vdpa.base-running": (VDPA, done("SET_VRING_BASE", when=lambda node, _: node.status & DRIVER_OK)),
    "vdpa.before-driver-ok": (VDPA, {"ready": lambda node, index, ring: ring.on}),
    "vdpa.not-enabled": (VDPA, {"ready": lambda node, index, ring: node.status & DRIVER_OK}),
    "vdpa.eventfds": (VDPA, done("SET_VRING_KICK")),
    "vdpa.config": (VDPA, says("VDPA_GET_CONFIG", lambda node, value: bytes([counting()]) + value[1:])),
    "vdpa.config-outside": (VDPA, done("VDPA_GET_CONFIG")),
    "vdpa.iova-range": (VDPA, says("VDPA_GET_IOVA_RANGE", lambda *_: (PAGE, 0))),
    "vdpa.map": (VDPA, done(UPDATE)),
    "vdpa.map-many": (VDPA, fails(errno.ENOSPC, UPDATE, when=lambda node, _: len(node.maps) > 4)),
    "vdpa.map-unmapped": (VDPA, fails(errno.ENOENT, INVALIDATE, when=lambda node, _: not node.maps)),
    "vdpa.map-wrong": (VDPA, done(UPDATE)),
    "vdpa.map-owner": (VDPA, done(UPDATE)),
    "vdpa.batch": (VDPA, {"mistake": lost_in_batch}),
    "vdpa.map-gone": (VDPA, {"dies": True}),
    "vdpa.groups": (VDPA, says("VDPA_GET_VRING_GROUP", lambda *_: 9)),
    "vdpa.spaces": (VDPA, done("VDPA_SET_GROUP_ASID")),
    "vdpa.suspend": (VDPA, {"ready": lambda node, index, ring: ring.on and node.status & DRIVER_OK}),
    "vdpa.suspend-moves": (VDPA, says("GET_VRING_BASE", lambda _, value: value + 1)),
    "vdpa.resume": (VDPA, done("VDPA_RESUME")),
    "vdpa.suspend-not": (VDPA, {"backend": BACKEND & ~48, **done("VDPA_SUSPEND")}),
    "vhost.calls-later": (NET, fails(errno.ENOTTY, "GET_FEATURES_ARRAY")),
    "vhost.calls-other": (NET, done("VSOCK_SET_GUEST_CID")),
    "vhost.version-1": (NET, says("GET_FEATURES", lambda _, value: value & ~bits(F.VERSION_1))),
    "vhost.features": (NET, says("GET_FEATURES", lambda node, value: node.acked or value)),
    "vhost.features-not-offered": (NET, done("SET_FEATURES")),
    "vhost.owner": (NET, done("SET_OWNER")),
    "vhost.two-users": (NET, {"shared": True}),
    "vhost.backend-features": (NET, done("SET_BACKEND_FEATURES")),
    "vhost.memory": (NET, fails(errno.E2BIG, "SET_MEM_TABLE", when=lambda _, values: values[0] > 4)),
    "vhost.memory-wrong": (NET, done("SET_MEM_TABLE")),
    "vhost.ring-index": (NET, done("SET_VRING_NUM")),
    "vhost.ring-size": (NET, done("SET_VRING_NUM")),
    "vhost.ring-address": (NET, done("SET_VRING_ADDR")),
    "vhost.base": (NET, says("GET_VRING_BASE", lambda *_: 1)),
    "vhost.eventfds": (NET, done("SET_VRING_CALL")),
    "vhost.log": (NET, done("SET_LOG_FD")),
    "vhost-net.start": (NET, done("NET_SET_BACKEND")),
    "vhost-net.attach": (NET, done("NET_SET_BACKEND", when=lambda node, values: values[1] != node.file.tap)),
    "vhost-net.running": (NET, done("SET_VRING_NUM", when=lambda node, _: any(ring.on for ring in node.rings))),
    "vhost-net.foreign-memory": (NET, done("NET_SET_BACKEND", when=lambda node, _: node.rings[1].addr[0] >> 63)),
    "vhost-net.reset-owner": (NET, done("RESET_OWNER")),
    "vhost-vsock.address": (VSOCK, done("VSOCK_SET_GUEST_CID")),
    "vhost-vsock.start": (VSOCK, done("VSOCK_SET_RUNNING")),
    "vhost-scsi.abi": (SCSI, says("SCSI_GET_ABI_VERSION", lambda *_: 2)),
    "vhost-scsi.events-missed": (SCSI, done("SCSI_SET_EVENTS_MISSED")),
    "vhost-scsi.target": (SCSI, done("SCSI_SET_ENDPOINT")),
}
