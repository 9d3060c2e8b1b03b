# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""What can be driven, by name: a socket, a vDPA device, a device file of the kernel's."""
import os
from typing import Any

from vh._backend import Drivable
from vh._kern import Kern
from vh._master import connect
from vh._vdpa import Vdpa

_KERN = ("vhost-net", "vhost-vsock", "vhost-scsi")


def open_target(target: "str | bytes | os.PathLike[str]", *, timeout: "float | None" = None, **options: Any) -> Drivable:
    """What is behind "unix:/path" or another address of a socket (a Master), "vdpa:NAME" or /dev/vhost-vdpa-N (a Vdpa), or
    /dev/vhost-net, -vsock, -scsi (a Kern). timeout: for each answer of a Master; options: those of the class."""
    name = os.fsdecode(target)
    if name.startswith("vdpa:"):
        return Vdpa(name.removeprefix("vdpa:"), **options)
    file = os.path.basename(name) if name.startswith("/dev/") else ""
    if file.startswith("vhost-vdpa-"):
        return Vdpa(name, **options)
    if file in _KERN:
        return Kern(name, **options)
    return connect(target, timeout=timeout, **options)


__all__ = ["open_target"]
