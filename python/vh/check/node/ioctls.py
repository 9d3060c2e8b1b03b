# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""The calls of a vhost device file, one by one and as they are: a check of the device must not meet the library's checks first."""

from __future__ import annotations

import errno
import fcntl
import os
import platform
import struct
from typing import NamedTuple

from vh.check.core import Fails
from vh.check.wires import History, Seen

NET, VSOCK, SCSI, VDPA = "vhost-net", "vhost-vsock", "vhost-scsi", "vhost-vdpa"
WORKERS = (NET, VSOCK, SCSI)
ALL = (*WORKERS, VDPA)

_NONE, _READ, _WRITE = 0, 1, 2  # as a program sees it
_STATE, _FILE, _ADDR = "II", "Ii", "IIQQQQ"


class Ioctl(NamedTuple):
    """direction, number, what is passed as struct has it, which files know it, and whether it needs an owner."""

    direction: int
    number: int
    form: str
    nodes: tuple[str, ...]
    owner: bool = False

    @property
    def request(self) -> int:
        return (_DIRECTIONS[self.direction] << _SHIFT) | (struct.calcsize("=" + self.form) << 16) | (0xAF << 8) | self.number


_MACHINE = platform.machine()
_ODD = _MACHINE.startswith(("ppc", "mips", "sparc", "alpha"))
_SHIFT = 29 if _ODD else 30
_DIRECTIONS = {_NONE: 1, _READ: 2, _WRITE: 4, _READ | _WRITE: 6} if _ODD else {_NONE: 0, _READ: 2, _WRITE: 1, _READ | _WRITE: 3}

#: all of them; what has room behind it has the size of its head
IOCTLS: dict[str, Ioctl] = {
    "GET_FEATURES": Ioctl(_READ, 0x00, "Q", ALL),
    "SET_FEATURES": Ioctl(_WRITE, 0x00, "Q", ALL),
    "SET_OWNER": Ioctl(_NONE, 0x01, "", ALL),
    "RESET_OWNER": Ioctl(_NONE, 0x02, "", (NET,), True),
    "SET_MEM_TABLE": Ioctl(_WRITE, 0x03, "II", ALL, True),
    "SET_LOG_BASE": Ioctl(_WRITE, 0x04, "Q", WORKERS, True),
    "SET_LOG_FD": Ioctl(_WRITE, 0x07, "i", WORKERS, True),
    "NEW_WORKER": Ioctl(_READ, 0x08, "I", (SCSI,), True),
    "FREE_WORKER": Ioctl(_WRITE, 0x09, "I", (SCSI,), True),
    "SET_VRING_NUM": Ioctl(_WRITE, 0x10, _STATE, ALL, True),
    "SET_VRING_ADDR": Ioctl(_WRITE, 0x11, _ADDR, ALL, True),
    "SET_VRING_BASE": Ioctl(_WRITE, 0x12, _STATE, ALL, True),
    "GET_VRING_BASE": Ioctl(_READ | _WRITE, 0x12, _STATE, ALL, True),
    "SET_VRING_ENDIAN": Ioctl(_WRITE, 0x13, _STATE, WORKERS, True),
    "GET_VRING_ENDIAN": Ioctl(_WRITE, 0x14, _STATE, WORKERS, True),
    "ATTACH_VRING_WORKER": Ioctl(_WRITE, 0x15, _STATE, (SCSI,), True),
    "GET_VRING_WORKER": Ioctl(_READ | _WRITE, 0x16, _STATE, (SCSI,), True),
    "SET_VRING_KICK": Ioctl(_WRITE, 0x20, _FILE, ALL, True),
    "SET_VRING_CALL": Ioctl(_WRITE, 0x21, _FILE, ALL, True),
    "SET_VRING_ERR": Ioctl(_WRITE, 0x22, _FILE, ALL, True),
    "SET_VRING_BUSYLOOP_TIMEOUT": Ioctl(_WRITE, 0x23, _STATE, WORKERS, True),
    "GET_VRING_BUSYLOOP_TIMEOUT": Ioctl(_WRITE, 0x24, _STATE, WORKERS, True),
    "SET_BACKEND_FEATURES": Ioctl(_WRITE, 0x25, "Q", (NET, VSOCK, VDPA)),
    "GET_BACKEND_FEATURES": Ioctl(_READ, 0x26, "Q", (NET, VSOCK, VDPA)),
    "NET_SET_BACKEND": Ioctl(_WRITE, 0x30, _FILE, (NET,), True),
    "SCSI_SET_ENDPOINT": Ioctl(_WRITE, 0x40, "I224sHH", (SCSI,)),
    "SCSI_CLEAR_ENDPOINT": Ioctl(_WRITE, 0x41, "I224sHH", (SCSI,)),
    "SCSI_GET_ABI_VERSION": Ioctl(_WRITE, 0x42, "i", (SCSI,)),
    "SCSI_SET_EVENTS_MISSED": Ioctl(_WRITE, 0x43, "I", (SCSI,)),
    "SCSI_GET_EVENTS_MISSED": Ioctl(_WRITE, 0x44, "I", (SCSI,)),
    "VSOCK_SET_GUEST_CID": Ioctl(_WRITE, 0x60, "Q", (VSOCK,)),
    "VSOCK_SET_RUNNING": Ioctl(_WRITE, 0x61, "i", (VSOCK,), True),
    "VDPA_GET_DEVICE_ID": Ioctl(_READ, 0x70, "I", (VDPA,)),
    "VDPA_GET_STATUS": Ioctl(_READ, 0x71, "B", (VDPA,)),
    "VDPA_SET_STATUS": Ioctl(_WRITE, 0x72, "B", (VDPA,)),
    "VDPA_GET_CONFIG": Ioctl(_READ, 0x73, "II", (VDPA,)),
    "VDPA_SET_CONFIG": Ioctl(_WRITE, 0x74, "II", (VDPA,)),
    "VDPA_SET_VRING_ENABLE": Ioctl(_WRITE, 0x75, _STATE, (VDPA,), True),
    "VDPA_GET_VRING_NUM": Ioctl(_READ, 0x76, "H", (VDPA,)),
    "VDPA_SET_CONFIG_CALL": Ioctl(_WRITE, 0x77, "i", (VDPA,)),
    "VDPA_GET_IOVA_RANGE": Ioctl(_READ, 0x78, "QQ", (VDPA,)),
    "VDPA_GET_CONFIG_SIZE": Ioctl(_READ, 0x79, "I", (VDPA,)),
    "VDPA_GET_AS_NUM": Ioctl(_READ, 0x7A, "I", (VDPA,)),
    "VDPA_GET_VRING_GROUP": Ioctl(_READ | _WRITE, 0x7B, _STATE, (VDPA,), True),
    "VDPA_SET_GROUP_ASID": Ioctl(_WRITE, 0x7C, _STATE, (VDPA,), True),
    "VDPA_SUSPEND": Ioctl(_NONE, 0x7D, "", (VDPA,)),
    "VDPA_RESUME": Ioctl(_NONE, 0x7E, "", (VDPA,)),
    "VDPA_GET_VRING_DESC_GROUP": Ioctl(_READ | _WRITE, 0x7F, _STATE, (VDPA,), True),
    "VDPA_GET_VQS_COUNT": Ioctl(_READ, 0x80, "I", (VDPA,)),
    "VDPA_GET_GROUP_NUM": Ioctl(_READ, 0x81, "I", (VDPA,)),
    "VDPA_GET_VRING_SIZE": Ioctl(_READ | _WRITE, 0x82, _STATE, (VDPA,), True),
    "GET_FEATURES_ARRAY": Ioctl(_READ, 0x83, "Q", (NET,)),
    "SET_FEATURES_ARRAY": Ioctl(_WRITE, 0x83, "Q", (NET,)),
    "SET_FORK_FROM_OWNER": Ioctl(_WRITE, 0x84, "B", ALL),
    "GET_FORK_FROM_OWNER": Ioctl(_READ, 0x85, "B", ALL),
}

#: what a kernel says of a call that it does not have, or that this device does not
ENOTSUPP = 524
ABSENT = (errno.ENOTTY, errno.ENOTSUP, ENOTSUPP)

#: of a message about mappings
MSG_V2 = 2
UPDATE, INVALIDATE, BATCH_BEGIN, BATCH_END = 2, 3, 5, 6
READ_WRITE = 3


def error(number: int) -> str:
    """The name of an errno value; 0 is ok."""
    return "ok" if not number else "ENOTSUPP" if number == ENOTSUPP else errno.errorcode.get(number, str(number))


class Refused(Fails):
    """A call that failed, by its name, with the errno value."""

    def __init__(self, name: str, number: int):
        super().__init__(f"{name}: {error(number)}")
        self.name, self.errno = name, number


class Called(Seen):
    """A call and how it ended, as a line."""

    def line(self) -> str:
        return self.note


class Node:
    """An open device file. What is called, and how it ended, is remembered."""

    def __init__(self, fd: int, history: History | None = None):
        self.fd = fd
        self.history = History() if history is None else history

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    # What a test puts something else behind.

    def _ioctl(self, request: int, arg: bytearray | int) -> None:
        fcntl.ioctl(self.fd, request, arg)

    def _write(self, message: bytes) -> None:
        os.write(self.fd, message)

    def _note(self, what: str, number: int, answer: str = "") -> None:
        self.history.add(Called(True, -1, note=f"{what} = {answer if answer and not number else error(number)}"))

    def try_call(self, name: str, *values: int | bytes, tail: bytes = b"") -> tuple[int, tuple[int, ...], bytes]:
        """(errno value or 0, the values as they are afterwards, the bytes behind them). Values that are not told are 0."""
        row = IOCTLS[name]
        head = struct.calcsize("=" + row.form)
        values += struct.unpack("=" + row.form, bytes(head))[len(values) :]
        arg = bytearray(struct.pack("=" + row.form, *values) + tail)
        number = 0
        try:
            self._ioctl(row.request, arg if arg else 0)
        except OSError as e:
            number = e.errno or errno.EIO
        out = struct.unpack_from("=" + row.form, arg)
        shown = ", ".join(hex(v) if isinstance(v, int) and v > 9999 else str(v) for v in values)
        self._note(f"{name}({shown})", number, ", ".join(hex(v) if isinstance(v, int) else repr(v) for v in out))
        return number, out, bytes(arg[head:])

    def call(self, name: str, *values: int | bytes) -> int:
        """The last of the values afterwards. Raises Refused."""
        number, out, _ = self.try_call(name, *values)
        if number:
            raise Refused(name, number)
        return out[-1] if out else 0

    def pair(self, name: str) -> tuple[int, int]:
        """The same of two values."""
        number, out, _ = self.try_call(name)
        if number:
            raise Refused(name, number)
        return out[0], out[1]

    def refuses(self, name: str, *values: int | bytes, why: str = "", wanted: tuple[int, ...] = (), tail: bytes = b"") -> None:
        """The call must fail; with one of these, when they are told."""
        number = self.try_call(name, *values, tail=tail)[0]
        what = f"{name}{f' {why}' if why else ''}"
        if not number:
            raise Fails(f"{what} is done, and not refused")
        if wanted and number not in wanted:
            raise Fails(f"{what} is refused by {error(number)}, not by {' or '.join(map(error, wanted))}")

    def config(self, offset: int, size: int) -> bytes:
        """Bytes of the configuration space. Raises Refused."""
        number, _, data = self.try_call("VDPA_GET_CONFIG", offset, size, tail=bytes(size))
        if number:
            raise Refused("VDPA_GET_CONFIG", number)
        return data

    def try_message(self, kind: int, iova: int = 0, size: int = 0, host: int = 0, asid: int = 0, perm: int = READ_WRITE) -> int:
        """A message about mappings: its errno value or 0."""
        number = 0
        try:
            self._write(struct.pack("=IIQQQBB", MSG_V2, asid, iova, size, host, perm, kind).ljust(72, b"\0"))
        except OSError as e:
            number = e.errno or errno.EIO
        names = {UPDATE: "map", INVALIDATE: "unmap", BATCH_BEGIN: "batch begins", BATCH_END: "batch ends"}
        self._note(f"{names[kind]} {iova:#x} + {size:#x} at {host:#x}, address space {asid}", number)
        return number

    def message(self, kind: int, iova: int = 0, size: int = 0, host: int = 0, asid: int = 0) -> None:
        """The same; raises Refused."""
        number = self.try_message(kind, iova, size, host, asid)
        if number:
            raise Refused({UPDATE: f"map {iova:#x} + {size:#x}", INVALIDATE: f"unmap {iova:#x} + {size:#x}"}.get(kind, "batch"), number)

    def has(self, name: str, *values: int) -> bool:
        """Does it know the call? (What the call does is done.)"""
        return self.try_call(name, *values)[0] not in ABSENT
