# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""The kernel's own vhost devices: /dev/vhost-net, /dev/vhost-vsock, /dev/vhost-scsi."""
import os
from typing import Any, Sequence

from vh._backend import Drivable
from vh._dirty import Dirty
from vh._handle import create, listed, pointer
from vh._iotlb import Iotlb
from vh._lib import fd_of, ffi, lib, new_sized, path_bytes, record, text
from vh._memory import Memory
from vh._model import KERN_IOCTL_UNKNOWN, KERN_NET_HDR, MEM_READ, MEM_WRITE, Features, IotlbMiss


class Kern(Drivable):
    """A device file of the kernel's: a path, or one that is open already, which stays yours.

    Driver(kern) drives it, after attach(), vsock_set_cid() or scsi_set_target() said what it is about. The other methods are
    the ioctls as they are; what one of them fails with names it, and says what may be done.
    """

    _free = "vh_kern_free"
    _target = "vh_kern_backend"

    def __init__(self, path: "str | bytes | os.PathLike[str] | None" = None, *, fd: Any = None, kind: int = 0,
                 net_hdr: bool = False, mask_features: int = 0, more_features: int = 0):
        """kind: KERN_NET, KERN_VSOCK or KERN_SCSI, where the name of the file does not tell. net_hdr: what is attached knows no
        headers. more_features: what a driver is offered beside what the kernel has."""
        if (path is None) == (fd is None):
            raise TypeError("a path or an fd")
        opts = new_sized("vh_kern_opts", kind=kind, flags=KERN_NET_HDR if net_hdr else 0, mask_features=mask_features,
                         more_features=more_features)
        if path is not None:
            self._adopt(create("vh_kern_open", "vh_kern", path_bytes(path), opts))
        else:
            self._adopt(create("vh_kern_adopt", "vh_kern", fd_of(fd), opts))

    def _u32(self, name: str, *args: Any) -> int:
        out = ffi.new("uint32_t *")
        self._call(name, *args, out)
        return int(out[0])

    def _u64(self, name: str) -> int:
        out = ffi.new("uint64_t *")
        self._call(name, out)
        return int(out[0])

    @property
    def kind(self) -> int:
        """KERN_NET, KERN_VSOCK or KERN_SCSI."""
        return self._call("vh_kern_kind")

    def dup_fd(self) -> int:
        """The device file, for an ioctl by hand; yours to close."""
        out = ffi.new("vh_fd *")
        self._call("vh_kern_dup_fd", out)
        return int(out[0])

    # What a driver needs to know beside.

    def attach(self, fd: Any, queue: "int | None" = None) -> None:
        """What network rings are attached to: a tap device or a packet socket; both, or ring 0 (receives) or 1 (sends)."""
        for q in (0, 1) if queue is None else (queue,):
            self._call("vh_kern_attach", q, fd_of(fd))

    def set_config(self, config: "bytes | None") -> None:
        """The config space that a driver reads; None: there is none."""
        data = config or b""
        self._call("vh_kern_set_config", data, len(data))

    def scsi_set_target(self, wwpn: "str | None", tpgt: int = 1) -> None:
        """What a SCSI device shows when a driver starts it."""
        self._call("vh_kern_scsi_set_target", ffi.NULL if wwpn is None else wwpn.encode(), tpgt)

    def probe(self) -> "dict[str, bool | None]":
        """Which ioctls this kernel has, by name; None: nobody can say before set_owner()."""
        found = listed(lambda array, n: self._call("vh_kern_probe", array, n), "vh_kern_ioctl", 64)
        return {text(lib.vh_kern_ioctl_name(i.request)): None if i.state == KERN_IOCTL_UNKNOWN else bool(i.state) for i in found}

    # The device as such.

    def get_features(self) -> Features:
        return Features(self._u64("vh_kern_get_features"))

    def set_features(self, features: int) -> None:
        self._call("vh_kern_set_features", features)

    def get_features_array(self, n: int = 2) -> "list[int]":
        """n words of 64 bits."""
        out = ffi.new("uint64_t[]", max(n, 1))
        self._call("vh_kern_get_features_array", out, n)
        return list(out[0:n])

    def set_features_array(self, words: "Sequence[int]") -> None:
        self._call("vh_kern_set_features_array", ffi.new("uint64_t[]", list(words)), len(words))

    def get_backend_features(self) -> int:
        return self._u64("vh_kern_get_backend_features")

    def set_backend_features(self, features: int) -> None:
        self._call("vh_kern_set_backend_features", features)

    def set_owner(self) -> None:
        """The device uses this process's memory from now on."""
        self._call("vh_kern_set_owner")

    def reset_owner(self) -> None:
        """Network devices: everything as it was when it was opened."""
        self._call("vh_kern_reset_owner")

    def get_fork_from_owner(self) -> bool:
        """Are its threads the owner's, not the kernel's?"""
        return bool(self._u32("vh_kern_get_fork_from_owner"))

    def set_fork_from_owner(self, on: bool) -> None:
        self._call("vh_kern_set_fork_from_owner", int(on))

    def set_mem(self, memory: Memory) -> None:
        """Guest memory, as it is now."""
        with pointer(memory, Memory) as mem:
            self._call("vh_kern_set_mem", mem)

    def set_log_base(self, log: Dirty) -> None:
        """Where to log what is written, before LOG_ALL is set."""
        with pointer(log, Dirty) as d:
            self._call("vh_kern_set_log_base", d)

    def set_log_fd(self, eventfd: Any) -> None:
        self._call("vh_kern_set_log_fd", fd_of(eventfd))

    # Rings.

    def set_vring_num(self, queue: int, num: int) -> None:
        self._call("vh_kern_set_vring_num", queue, num)

    def set_vring_addr(self, queue: int, desc: int, used: int, avail: int, *, log: int = 0, flags: int = 0) -> None:
        """Addresses of this process, or I/O addresses with ACCESS_PLATFORM."""
        self._call("vh_kern_set_vring_addr", ffi.new("struct vh_vring_addr *", {
            "index": queue, "flags": flags, "desc": desc, "used": used, "avail": avail, "log": log}))

    def set_vring_base(self, queue: int, base: int) -> None:
        self._call("vh_kern_set_vring_base", queue, base)

    def get_vring_base(self, queue: int) -> int:
        """Where a ring goes on, once it was stopped."""
        return self._u32("vh_kern_get_vring_base", queue)

    def set_vring_kick(self, queue: int, eventfd: Any) -> None:
        self._call("vh_kern_set_vring_kick", queue, fd_of(eventfd))

    def set_vring_call(self, queue: int, eventfd: Any) -> None:
        self._call("vh_kern_set_vring_call", queue, fd_of(eventfd))

    def set_vring_err(self, queue: int, eventfd: Any) -> None:
        self._call("vh_kern_set_vring_err", queue, fd_of(eventfd))

    def set_vring_endian(self, queue: int, endian: int) -> None:
        self._call("vh_kern_set_vring_endian", queue, endian)

    def get_vring_endian(self, queue: int) -> int:
        return self._u32("vh_kern_get_vring_endian", queue)

    def set_vring_busyloop(self, queue: int, microseconds: int) -> None:
        self._call("vh_kern_set_vring_busyloop", queue, microseconds)

    def get_vring_busyloop(self, queue: int) -> int:
        return self._u32("vh_kern_get_vring_busyloop", queue)

    # Threads that serve rings.

    def new_worker(self) -> int:
        return self._u32("vh_kern_new_worker")

    def free_worker(self, worker: int) -> None:
        self._call("vh_kern_free_worker", worker)

    def attach_vring_worker(self, queue: int, worker: int) -> None:
        self._call("vh_kern_attach_vring_worker", queue, worker)

    def get_vring_worker(self, queue: int) -> int:
        return self._u32("vh_kern_get_vring_worker", queue)

    # What starts rings, by kind.

    def net_set_backend(self, queue: int, fd: Any) -> None:
        """Attach a ring, which runs then; None: stop it."""
        self._call("vh_kern_net_set_backend", queue, fd_of(fd))

    def vsock_set_cid(self, cid: int) -> None:
        """The address of the guest."""
        self._call("vh_kern_vsock_set_cid", cid)

    def vsock_set_running(self, on: bool) -> None:
        self._call("vh_kern_vsock_set_running", int(on))

    def scsi_set_endpoint(self, wwpn: str, tpgt: int = 1) -> None:
        self._call("vh_kern_scsi_set_endpoint", wwpn.encode(), tpgt)

    def scsi_clear_endpoint(self, wwpn: str, tpgt: int = 1) -> None:
        self._call("vh_kern_scsi_clear_endpoint", wwpn.encode(), tpgt)

    def scsi_get_abi_version(self) -> int:
        out = ffi.new("int32_t *")
        self._call("vh_kern_scsi_get_abi_version", out)
        return int(out[0])

    def scsi_set_events_missed(self, missed: bool) -> None:
        self._call("vh_kern_scsi_set_events_missed", int(missed))

    def scsi_get_events_missed(self) -> bool:
        return bool(self._u32("vh_kern_scsi_get_events_missed"))

    # The IOTLB.

    def set_iotlb(self, table: "Iotlb | None") -> None:
        """Answer misses from a map."""
        with pointer(table, Iotlb) as t:
            self._call("vh_kern_set_iotlb", t)

    def iotlb_update(self, iova: int, length: int, gpa: int, perm: int = MEM_READ | MEM_WRITE) -> None:
        """Tell what I/O addresses mean: guest addresses of the memory of set_mem()."""
        self._call("vh_kern_iotlb_update", ffi.new("struct vh_iotlb_entry *",
                                                   {"iova": iova, "len": length, "addr": gpa, "perm": perm}))

    def iotlb_invalidate(self, iova: int, length: int) -> None:
        """Take back what was told."""
        self._call("vh_kern_iotlb_invalidate", iova, length)

    def fileno(self) -> int:
        """Readable when the kernel misses an I/O address."""
        return self._call("vh_kern_fd")

    def dispatch(self) -> bool:
        """Read what the kernel misses, answer what the map knows. True: there may be more."""
        return bool(self._call("vh_kern_dispatch"))

    def next_miss(self) -> "IotlbMiss | None":
        """The oldest miss that the map did not know; answer by iotlb_update()."""
        out = new_sized("vh_iotlb_miss")
        return record(IotlbMiss, out) if self._call("vh_kern_next_miss", out) else None


__all__ = ["Kern"]
