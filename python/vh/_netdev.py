# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Network devices in C: no frame enters Python."""
import fcntl
import os
import struct
from typing import Any

from vh import _model
from vh._device import Device
from vh._handle import create
from vh._lib import fd_of, ffi, new_sized
from vh._model import NETDEV_LOOPBACK, NETDEV_SINK, NETDEV_SOURCE, NETDEV_TAP

_IFF_TAP, _IFF_NO_PI, _TUNSETIFF = 0x0002, 0x1000, 0x400454CA


def _mac_bytes(mac: "str | bytes") -> bytes:
    raw = bytes.fromhex(mac.replace(":", "")) if isinstance(mac, str) else bytes(mac)
    if len(raw) != 6:
        raise ValueError(f"a MAC address of {len(raw)} bytes; it has 6")
    return raw


class NetDev(Device):
    """A network device in C: NetDev.loopback(), tap(), sink() or source(). Options of each: pairs, mtu, mac,
    max_queue_size."""

    type = _model.TYPE_NET

    def __init__(self, kind: int, *, fd: Any = -1, pairs: int = 0, mtu: int = 0, mac: "str | bytes" = bytes(6), frame: int = 0,
                 max_queue_size: int = 0):
        opts = new_sized("vh_netdev_opts", kind=kind, pairs=pairs, mtu=mtu, frame=frame, max_queue_size=max_queue_size)
        ffi.memmove(opts.mac, _mac_bytes(mac), 6)
        self._adopt(create("vh_netdev_new", "vh_device", opts, fd_of(fd)))

    @classmethod
    def loopback(cls, **options: Any) -> "NetDev":
        """What is sent is received, by the same pair."""
        return cls(NETDEV_LOOPBACK, **options)

    @classmethod
    def tap(cls, tap: Any, **options: Any) -> "NetDev":
        """On a tap device: its name, or a file of /dev/net/tun that is set up; or on a datagram socket."""
        if not isinstance(tap, str):
            return cls(NETDEV_TAP, fd=tap, **options)
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.ioctl(fd, _TUNSETIFF, struct.pack("16sH22x", tap.encode(), _IFF_TAP | _IFF_NO_PI))
            return cls(NETDEV_TAP, fd=fd, **options)
        finally:
            os.close(fd)

    @classmethod
    def sink(cls, **options: Any) -> "NetDev":
        """Takes what is sent, receives nothing."""
        return cls(NETDEV_SINK, **options)

    @classmethod
    def source(cls, frame: int = 0, **options: Any) -> "NetDev":
        """Fills every receive buffer with a frame of that many bytes, 60 unless told otherwise."""
        return cls(NETDEV_SOURCE, frame=frame, **options)


__all__ = ["NetDev"]
