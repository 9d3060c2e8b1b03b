# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""A vDPA device: /dev/vhost-vdpa-N."""
import os
from typing import Any

from vh._backend import Drivable
from vh._handle import create, pointer
from vh._lib import fd_of, ffi, new_sized, path_bytes, record
from vh._memory import Memory
from vh._model import MEM_READ, MEM_WRITE, VdpaInfo, VdpaStatus


class Vdpa(Drivable):
    """A device by the path of its node or its name, or by a file that is open already, which stays yours.

    Driver(vdpa) drives it. The other methods are the ioctls as they are; what one of them fails with names it, and says what
    may be done.
    """

    _free = "vh_vdpa_free"
    _target = "vh_vdpa_backend"

    def __init__(self, where: "str | bytes | os.PathLike[str] | None" = None, *, fd: Any = None, mask_features: int = 0):
        if (where is None) == (fd is None):
            raise TypeError("a path, a name, or an fd")
        opts = new_sized("vh_vdpa_opts", mask_features=mask_features)
        if where is not None:
            self._adopt(create("vh_vdpa_open", "vh_vdpa", path_bytes(where), opts))
        else:
            self._adopt(create("vh_vdpa_adopt", "vh_vdpa", fd_of(fd), opts))

    def _u32(self, name: str, *args: Any) -> int:
        out = ffi.new("uint32_t *")
        self._call(name, *args, out)
        return int(out[0])

    @property
    def info(self) -> VdpaInfo:
        """What it says of itself."""
        out = new_sized("vh_vdpa_info")
        self._call("vh_vdpa_get_info", out)
        return record(VdpaInfo, out)  # type: ignore[no-any-return]

    def set_owner(self) -> None:
        """Make it this process's, before anything about rings or mappings."""
        self._call("vh_vdpa_set_owner")

    def set_backend_features(self, features: int) -> None:
        """VdpaBackendFeatures to take."""
        self._call("vh_vdpa_set_backend_features", features)

    def set_features(self, features: int) -> None:
        """Features to take, after DRIVER and before FEATURES_OK."""
        self._call("vh_vdpa_set_features", features)

    @property
    def status(self) -> VdpaStatus:
        return VdpaStatus(self._u32("vh_vdpa_get_status"))

    def set_status(self, status: int) -> None:
        """The next step, with those before it; 0 resets."""
        self._call("vh_vdpa_set_status", status)

    def get_config(self, offset: int, length: int) -> bytes:
        buf = ffi.new("char[]", max(length, 1))
        self._call("vh_vdpa_get_config", offset, buf, length)
        return bytes(ffi.buffer(buf, length))

    def set_config(self, offset: int, data: bytes) -> None:
        self._call("vh_vdpa_set_config", offset, data, len(data))

    def set_config_call(self, fd: Any) -> None:
        """An eventfd that tells of changes of config space; None: none."""
        self._call("vh_vdpa_set_config_call", fd_of(fd))

    # Rings. A queue is the index of a ring.

    def set_vring_num(self, queue: int, num: int) -> None:
        self._call("vh_vdpa_set_vring_num", queue, num)

    def set_vring_addr(self, queue: int, desc: int, avail: int, used: int) -> None:
        """I/O addresses."""
        addr = ffi.new("struct vh_vring_addr *", {"index": queue, "desc": desc, "avail": avail, "used": used})
        self._call("vh_vdpa_set_vring_addr", addr)

    def set_vring_base(self, queue: int, base: int) -> None:
        self._call("vh_vdpa_set_vring_base", queue, base)

    def get_vring_base(self, queue: int) -> int:
        """Where the ring of a suspended device is."""
        return self._u32("vh_vdpa_get_vring_base", queue)

    def set_vring_kick(self, queue: int, fd: Any) -> None:
        self._call("vh_vdpa_set_vring_kick", queue, fd_of(fd))

    def set_vring_call(self, queue: int, fd: Any) -> None:
        self._call("vh_vdpa_set_vring_call", queue, fd_of(fd))

    def set_vring_err(self, queue: int, fd: Any) -> None:
        self._call("vh_vdpa_set_vring_err", queue, fd_of(fd))

    def set_vring_enable(self, queue: int, on: bool = True) -> None:
        self._call("vh_vdpa_set_vring_enable", queue, int(on))

    def vring_size(self, queue: int) -> int:
        """Entries that it may have."""
        return self._u32("vh_vdpa_get_vring_size", queue)

    def vring_group(self, queue: int) -> int:
        return self._u32("vh_vdpa_get_vring_group", queue)

    def desc_group(self, queue: int) -> int:
        """The group of the ring's own memory."""
        return self._u32("vh_vdpa_get_desc_group", queue)

    def set_group_asid(self, group: int, asid: int) -> None:
        """Which address space a group uses; say it again after a reset."""
        self._call("vh_vdpa_set_group_asid", group, asid)

    # What I/O addresses mean.

    def map(self, iova: int, length: int, host: int, perm: int = MEM_READ | MEM_WRITE, *, asid: int = 0) -> None:
        """host: an address of this process, whose memory has to stay there."""
        self._call("vh_vdpa_map", asid, iova, length, host, perm)

    def unmap(self, iova: int, length: int, *, asid: int = 0) -> None:
        self._call("vh_vdpa_unmap", asid, iova, length)

    def batch(self, on: bool, *, asid: int = 0) -> None:
        """Mappings between True and False are one change."""
        self._call("vh_vdpa_batch", asid, int(on))

    def set_mem(self, memory: "Memory | None") -> None:
        """Let the device have a memory, at its guest addresses."""
        with pointer(memory, Memory) as ptr:
            self._call("vh_vdpa_set_mem", ptr)

    def suspend(self) -> None:
        """Stop, and keep all state."""
        self._call("vh_vdpa_suspend")

    def resume(self) -> None:
        self._call("vh_vdpa_resume")

    def map_doorbell(self, queue: int) -> int:
        """Address of the page by which a ring is kicked. EOPNOTSUPP: there is none."""
        out = ffi.new("uint64_t *")
        self._call("vh_vdpa_map_doorbell", queue, out)
        return int(out[0])

    def unmap_doorbell(self, addr: int) -> None:
        self._call("vh_vdpa_unmap_doorbell", addr)


__all__ = ["Vdpa"]
