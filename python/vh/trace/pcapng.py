# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Recordings that Wireshark reads: pcapng, link type 252 (exported PDU), in which a packet names its dissector.

Before each message stand the things that its bytes don't say; python/vh/trace/vhost-user.lua, which ./run regen makes, knows
them too:

    0  u8   1, the format
    1  u8   bit 0: only violations of a message that came earlier; bit 1: numbers are big-endian, here and in the message
    2  u8   sender: 0 front-end, 1 back-end
    3  u8   channel: 0 main, 1 the back-end's, 2 a GPU's
    4  u32  number of the front-end's connection
    8  u32  number of the message
    12 u32  number of the request that it answers, 0 = none
    16 u64  nanoseconds since that
    24 u8   fds; each: u8 kind, 7 bytes of nothing, u64 size
    25 u8   violations, behind the fds; each: u16 length, and so many bytes: severity, rule, section, text, with NUL between
    26 u16  bytes of all this, then the message
"""

from __future__ import annotations

import struct
import sys
from typing import IO, Any, Iterator

from vh.testing import wire
from vh.trace.message import BACK_END, CHANNELS, FRONT_END, Fd, Message, Note, Violation

MAGIC = b"\x0a\x0d\x0d\x0a"
SECTION, INTERFACE, PACKET = 0x0A0D0D0A, 1, 6
LINK_TYPE = 252
DISSECTOR = b"vhostuser"
KINDS = ("other", "memfd", "file", "eventfd", "socket", "pipe", "device", "userfaultfd")
SENDERS = (FRONT_END, BACK_END)
HEAD = "BBBBIIIQBBH"
_FD = "B7xQ"
_LATE, _BIG = 1, 2 if sys.byteorder == "big" else 0
_OPT_COMMENT, _OPT_END = 1, 0
_TAG_DISSECTOR, _TAG_END = 12, 0
_NS = 10**9


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("=HH", code, len(value)) + _padded(value)


def _block(kind: int, body: bytes) -> bytes:
    size = len(body) + 12
    return struct.pack("=II", kind, size) + body + struct.pack("=I", size)


def _violations(vs: list[Violation]) -> bytes:
    out = b""
    for v in vs:
        text = "\0".join((v.severity, v.rule, v.section, v.text)).encode()[:0xFFFF]
        out += struct.pack("=H", len(text)) + text
    return out


def frame(m: Message) -> bytes:
    """The message, with what stands before it."""
    extra = b"".join(struct.pack("=" + _FD, KINDS.index(fd.kind) if fd.kind in KINDS else 0, fd.size) for fd in m.fds)
    extra += _violations(m.violations[:255])
    size = struct.calcsize("=" + HEAD) + len(extra)
    head = struct.pack("=" + HEAD, 1, _BIG, SENDERS.index(m.sender), CHANNELS.index(m.channel), m.conn, m.number, m.reply_to,
                       m.latency_ns, len(m.fds), len(m.violations[:255]), size)
    return head + extra + m.raw


def _late(v: Violation) -> bytes:
    extra = _violations([v])
    size = struct.calcsize("=" + HEAD) + len(extra)
    return struct.pack("=" + HEAD, 1, _BIG | _LATE, 0, 0, v.conn, v.number, 0, 0, 0, 1, size) + extra


class Pcapng:
    """A sink."""

    def __init__(self, file: IO[bytes], started_ns: int):
        self._file, self._started, self._last = file, started_ns, 0
        section = struct.pack("=IHHq", 0x1A2B3C4D, 1, 0, -1) + _option(4, b"vhctl trace") + _option(_OPT_END, b"")
        nanoseconds = _option(9, b"\x09") + _option(_OPT_END, b"")
        interface = struct.pack("=HHI", LINK_TYPE, 0, 0) + nanoseconds
        self._file.write(_block(SECTION, section) + _block(INTERFACE, interface))
        self._file.flush()

    def _packet(self, time_ns: int, data: bytes, comments: list[str]) -> None:
        self._last = time_ns
        tags = struct.pack(">HH", _TAG_DISSECTOR, len(_padded(DISSECTOR))) + _padded(DISSECTOR)
        data = tags + struct.pack(">HH", _TAG_END, 0) + data
        at = self._started + time_ns
        head = struct.pack("=IIIII", 0, at >> 32, at & 0xFFFFFFFF, len(data), len(data))
        options = b"".join(_option(_OPT_COMMENT, c.encode()[:0xFFFF]) for c in comments)
        self._file.write(_block(PACKET, head + _padded(data) + (options + _option(_OPT_END, b"") if options else b"")))
        self._file.flush()

    def message(self, m: Message) -> None:
        self._packet(m.time_ns, frame(m), [str(v) for v in m.violations])

    def violation(self, v: Violation) -> None:
        self._packet(self._last, _late(v), [f"message {v.number}: {v}"])

    def note(self, n: Note) -> None:
        pass  # a packet is a message

    def close(self) -> None:
        self._file.close()


# --- reading ---------------------------------------------------------------------------------------------------------


def _blocks(data: bytes) -> Iterator[tuple[str, int, bytes]]:
    """(byte order, type, body) of each block."""
    at, order = 0, "="
    while at < len(data):
        if data[at:at + 4] == MAGIC:
            order = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}.get(data[at + 8:at + 12], "")
            if not order:
                raise ValueError("a section whose byte order can't be told")
        if len(data) - at < 12:
            raise ValueError("it ends within a block")
        kind, size = struct.unpack_from(order + "II", data, at)
        if size < 12 or size % 4 or at + size > len(data):
            raise ValueError(f"a block of {size} bytes")
        yield order, kind, data[at + 8:at + size - 4]
        at += size


def _pdu(data: bytes) -> bytes | None:
    """What the tags of an exported PDU stand before; None if it is for another dissector."""
    at, mine = 0, False
    while at + 4 <= len(data):
        tag, size = struct.unpack_from(">HH", data, at)
        value = data[at + 4:at + 4 + size]
        at += 4 + size
        if tag == _TAG_END:
            return data[at:] if mine else None
        mine = mine or (tag == _TAG_DISSECTOR and value.rstrip(b"\0") == DISSECTOR)
    return None


def _parse(order: str, data: bytes, time_ns: int) -> tuple[Message | None, list[Violation]]:
    form, bits, sender, channel, conn, number, reply_to, latency, n_fds, n_violations, size = \
        struct.unpack_from(order + HEAD, data)
    if form != 1 or sender >= len(SENDERS) or channel >= len(CHANNELS) or size > len(data):
        raise ValueError("a packet that is not as vhctl trace writes it")
    at = struct.calcsize(order + HEAD)
    fds = []
    for _ in range(n_fds):
        kind, fd_size = struct.unpack_from(order + _FD, data, at)
        fds.append(Fd(KINDS[kind] if kind < len(KINDS) else "other", fd_size))
        at += struct.calcsize(order + _FD)
    violations = []
    for _ in range(n_violations):
        (length,) = struct.unpack_from(order + "H", data, at)
        parts = data[at + 2:at + 2 + length].decode(errors="replace").split("\0", 3)
        if len(parts) != 4:
            raise ValueError("a violation that has not four parts")
        violations.append(Violation(parts[1], parts[2], parts[0], parts[3], number, conn))
        at += 2 + length
    if bits & _LATE:
        return None, violations
    request, flags, said = struct.unpack_from(order + "III", data, size)
    payload = data[size + wire.HEADER_SIZE:]
    m = Message(number, conn, time_ns, SENDERS[sender], CHANNELS[channel], request, flags, payload, fds, reply_to, latency,
                violations, None if said == len(payload) else said)  # fmt: skip
    return m, violations


def packets(data: bytes) -> Iterator[tuple[Message | None, list[Violation]]]:
    """What a file holds: messages with their violations, or (None, violations of earlier ones). ValueError when it is wrong.

    Times are since the first packet: the file does not say when the tracer started."""
    first: Any = None
    try:
        for order, kind, body in _blocks(data):
            if kind == INTERFACE and struct.unpack_from(order + "H", body)[0] != LINK_TYPE:
                raise ValueError("no recording of vhctl trace: its link type is another")
            if kind != PACKET:
                continue
            _, high, low, size, _ = struct.unpack_from(order + "IIIII", body)
            pdu = _pdu(body[20:20 + size])
            if pdu is None:
                continue
            time_ns = high << 32 | low
            first = time_ns if first is None else first
            yield _parse(order, pdu, time_ns - first)
    except struct.error as e:
        raise ValueError("a block that is too short") from e
