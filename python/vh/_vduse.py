# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""VDUSE: a device that the kernel has, and this process is."""
import os
from typing import Any

from vh._device import Device
from vh._handle import create, expect, pointer
from vh._error import check
from vh._lib import fd_of, ffi, lib, milliseconds, new_sized, record
from vh._metrics import Metrics
from vh._model import VDUSE_MAKE, VDUSE_TAKE_UP, VDUSE_UMEM, VduseInfo
from vh._serving import Serving


class Vduse(Serving):
    """A device given to the kernel as /dev/vduse/NAME. When a vDPA device of that name is added (from another thread or process,
    because that waits for answers of this one), the kernel's own drivers use it, or whoever opens /dev/vhost-vdpa-N."""

    _free = "vh_vduse_free"
    _side = "vh_vduse"

    def __init__(self, name: str, device: Device, *, records: Any = -1, make: bool = False, take_up: bool = False,
                 drain_timeout: "float | None" = None, budget: int = 0, coalesce: int = 0, vendor_id: int = 0, groups: int = 0,
                 address_spaces: int = 0, more_features: int = 0, mask_features: int = 0,
                 umem: bool = False):
        """A device of that name that the kernel has is taken up, else it is made; make and take_up allow one of the two.

        records: a file in which it is recorded what is in flight, for who takes the device up after a crash. Other options
        are those of struct vh_vduse_opts, times in seconds. umem: the pages through which the kernel's drivers are bounced are
        this process's own; info.umem says how many bytes of it are in use, info.umem_rc why not."""
        opts = new_sized("vh_vduse_opts", flags=make * VDUSE_MAKE | take_up * VDUSE_TAKE_UP | umem * VDUSE_UMEM,
                         drain_timeout_ms=milliseconds(drain_timeout), budget=budget, coalesce=coalesce, vendor_id=vendor_id,
                         groups=groups, address_spaces=address_spaces, more_features=more_features,
                         mask_features=mask_features)
        ptr = expect(device, Device)._enter()
        try:
            self._adopt(create("vh_vduse_new", "vh_vduse", opts, name.encode(), ptr, fd_of(records)), device)
        finally:
            device._leave()
        self._serves(device)

    def _end(self) -> None:
        self._queues.clear()
        super()._end()

    def set_metrics(self, metrics: "Metrics | None", name: "str | None" = None) -> None:
        """Show this device and its queues on a page that other processes can look at, by this name; None: no more."""
        with pointer(metrics, Metrics) as ptr:
            self._call("vh_vduse_set_metrics", ptr, ffi.NULL if name is None else os.fsencode(name))

    @property
    def info(self) -> VduseInfo:
        """What it is like now."""
        out = new_sized("vh_vduse_info")
        self._call("vh_vduse_get_info", out)
        return record(VduseInfo, out)  # type: ignore[no-any-return]

    @staticmethod
    def remove(name: str) -> None:
        """The kernel forgets a device that nobody has open, and whose vDPA device was deleted."""
        check(lib.vh_vduse_remove(name.encode()))


__all__ = ["Vduse"]
