# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""One message of a traced session: its bytes, the fields by name (the C library's decoder), its fds, what is wrong with it."""

from __future__ import annotations

import json
import os
import socket
import stat
import struct
from dataclasses import dataclass, field
from typing import Any

from vh import _event
from vh._lib import lib, text
from vh.testing import wire

FRONT_END, BACK_END = "front-end", "back-end"
MAIN, BACKEND, GPU = "main", "backend", "gpu"
CHANNELS = (MAIN, BACKEND, GPU)
ERROR, WARNING = "error", "warning"


def size_text(n: int) -> str:
    """1073741824 as 1 GiB; what is no multiple stays in bytes."""
    for unit, shift in (("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if n >= 1 << shift and not n & ((1 << shift) - 1):
            return f"{n >> shift} {unit}"
    return f"{n} bytes"


@dataclass
class Fd:
    """What came as a file descriptor."""

    kind: str  # memfd, file, eventfd, socket, pipe, device, userfaultfd, other
    size: int = 0
    name: str = ""

    SIZED = ("memfd", "file")

    @classmethod
    def of(cls, fd: int) -> Fd:
        """Looks, and changes nothing."""
        st = os.fstat(fd)
        try:
            link = os.readlink(f"/proc/self/fd/{fd}")
        except OSError:
            link = ""
        if stat.S_ISSOCK(st.st_mode):
            return cls("socket", name=_socket_type(fd))
        if stat.S_ISFIFO(st.st_mode):
            return cls("pipe")
        if stat.S_ISCHR(st.st_mode) or stat.S_ISBLK(st.st_mode):
            return cls("device", name=link)
        if link.startswith("/memfd:"):
            return cls("memfd", st.st_size, link[len("/memfd:"):].replace(" (deleted)", ""))
        if stat.S_ISREG(st.st_mode):
            return cls("file", st.st_size, link)
        for kind in ("eventfd", "userfaultfd"):
            if kind in link:
                return cls(kind)
        return cls("other", name=link)

    def __str__(self) -> str:
        return f"{self.kind} {size_text(self.size)}" if self.kind in self.SIZED else self.kind

    def as_dict(self) -> dict[str, Any]:
        out: dict[str, Any] = {"kind": self.kind}
        if self.kind in self.SIZED:
            out["size"] = self.size
        if self.name:
            out["name"] = self.name
        return out


def _socket_type(fd: int) -> str:
    with socket.socket(fileno=os.dup(fd)) as s:
        return {socket.SOCK_STREAM: "stream", socket.SOCK_DGRAM: "dgram"}.get(s.type, "other")


@dataclass
class Violation:
    """What the specification forbids."""

    rule: str
    section: str
    severity: str  # ERROR, WARNING
    text: str
    number: int = 0  # of the message that it is about; 0: of none
    conn: int = 0

    def __str__(self) -> str:
        return f"{self.severity}: {self.rule}: {self.text} (specification: {self.section})"

    def as_dict(self) -> dict[str, Any]:
        return {"rule": self.rule, "section": self.section, "severity": self.severity, "text": self.text}


@dataclass
class Message:
    """A message as it crossed the tracer."""

    number: int  # from 1, in the order in which they were seen
    conn: int  # number of the front-end's connection, from 1
    time_ns: int  # since the tracer started
    sender: str  # FRONT_END, BACK_END
    channel: str  # MAIN, BACKEND, GPU
    request: int
    flags: int
    payload: bytes = b""
    fds: list[Fd] = field(default_factory=list)
    reply_to: int = 0  # number of the request that it answers
    latency_ns: int = 0  # since that request
    violations: list[Violation] = field(default_factory=list)
    size: int | None = None  # in the header, where the payload is shorter: the connection ended

    @property
    def is_reply(self) -> bool:
        return bool(self.flags & wire.REPLY)

    @property
    def need_reply(self) -> bool:
        return bool(self.flags & wire.NEED_REPLY)

    @property
    def is_status(self) -> bool:
        """Is it the reply that need_reply asks for: 0, or an error?"""
        return self.is_reply and self.row is not None and self.row.reply != "OWN" and len(self.payload) == 8

    @property
    def row(self) -> wire.Message | None:
        """Its row of the message table."""
        return _ROWS[self.channel].get(self.request)

    @property
    def gpu_row(self) -> wire.GpuMessage | None:
        """The same of a GPU's socket."""
        return wire.GPU_MESSAGES.get(self.request) if self.channel == GPU else None

    @property
    def name(self) -> str:
        """Without VHOST_USER_; UNKNOWN for an id that has none."""
        if self.channel == GPU:
            return f"GPU_{self.gpu_row.name}" if self.gpu_row else "UNKNOWN"
        return text(lib.vh_msg_name(CHANNELS.index(self.channel), self.request))

    @property
    def raw(self) -> bytes:
        """As on the wire."""
        size = len(self.payload) if self.size is None else self.size
        return bytes(wire.header(self.request, self.flags, size)) + self.payload

    @property
    def fields(self) -> dict[str, Any]:
        """The payload's fields by name."""
        if self.channel == GPU:
            return _gpu_fields(self)
        seen = _event.Message.of(self.sender != BACK_END, CHANNELS.index(self.channel), self.request, self.flags, self.payload,
                                 len(self.fds))  # fmt: skip
        decoded: dict[str, Any] = json.loads(seen.json()).get("payload", {})
        return decoded

    def as_dict(self) -> dict[str, Any]:
        """As a line of a JSON recording: everything, the bytes of the payload too."""
        out: dict[str, Any] = {
            "n": self.number, "conn": self.conn, "t": self.time_ns, "from": self.sender, "chan": self.channel,
            "req": self.name, "id": self.request, "flags": self.flags, "size": len(self.payload), "reply": self.is_reply,
            "need_reply": self.need_reply, "payload": self.fields, "fds": [fd.as_dict() for fd in self.fds],
        }  # fmt: skip
        if self.size is not None:
            out["cut"] = self.size
        if self.reply_to:
            out.update(reply_to=self.reply_to, latency_ns=self.latency_ns)
        if self.violations:
            out["violations"] = [v.as_dict() for v in self.violations]
        out["raw"] = self.payload.hex()
        return out

    @classmethod
    def from_dict(cls, d: dict[str, Any]) -> Message:
        """Of a line of a JSON recording; ValueError if it is none."""
        try:
            m = cls(d["n"], d["conn"], d["t"], d["from"], d["chan"], d["id"], d["flags"], bytes.fromhex(d["raw"]),
                    [Fd(f["kind"], f.get("size", 0), f.get("name", "")) for f in d["fds"]],
                    d.get("reply_to", 0), d.get("latency_ns", 0), size=d.get("cut"))  # fmt: skip
            m.violations = [Violation(number=m.number, conn=m.conn, **v) for v in d.get("violations", ())]
        except (KeyError, TypeError) as e:
            raise ValueError(f"a message of a recording lacks {e}") from e
        if m.channel not in CHANNELS or m.sender not in (FRONT_END, BACK_END):
            raise ValueError(f"a message of a recording goes from {m.sender} on {m.channel}")
        return m


_ROWS: dict[str, dict[int, wire.Message]] = {MAIN: wire.FRONT_END, BACKEND: wire.BACK_END, GPU: {}}


def _gpu_fields(m: Message) -> dict[str, Any]:
    """What is before the pixels; of a reply, modes that are enabled, bytes of an EDID."""
    row = m.gpu_row
    if not row:
        return {}
    if not m.is_reply:
        return _unpacked(row.layout, row.fields, m.payload)
    if row.reply == 8:
        return _unpacked("=Q", ("value",), m.payload)
    if row.name == "GET_EDID":  # structs of virtio-gpu, which are little-endian
        return _unpacked("<24xI", ("size",), m.payload)
    modes = [_unpacked("<6I", ("x", "y", "width", "height", "enabled", "flags"), m.payload[at:at + 24])
             for at in range(24, len(m.payload) - 23, 24)]
    return {"modes": [mode for mode in modes if mode["enabled"]]} if modes else {}


def _unpacked(layout: str, names: tuple[str, ...], payload: bytes) -> dict[str, Any]:
    return dict(zip(names, struct.unpack_from(layout, payload))) if len(payload) >= struct.calcsize(layout) else {}


@dataclass
class Note:
    """What happens besides messages: a connection, its end, bytes that are no messages."""

    conn: int
    time_ns: int
    event: str  # connected, ended, pipe, channel, refused
    text: str = ""

    def as_dict(self) -> dict[str, Any]:
        return {"event": self.event, "conn": self.conn, "t": self.time_ns, "text": self.text}
