# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Messages as lines for people."""

from __future__ import annotations

import os
from typing import IO, Any

from vh._lib import lib, text
from vh.testing import wire
from vh.testing.wire import FE
from vh.trace.message import BACK_END, ERROR, FRONT_END, GPU, MAIN, Message, Note, Violation

_ARROWS = {(FRONT_END, MAIN): "->", (BACK_END, MAIN): "<-", (FRONT_END, GPU): "~>", (BACK_END, GPU): "<~"}
_HEX = {"gpa", "uva", "offset", "desc", "used", "avail", "log", "iova", "mmap_offset", "fd_offset", "shm_offset"}
_VIRTIO = {FE.GET_FEATURES, FE.SET_FEATURES}
_PROTOCOL = {FE.GET_PROTOCOL_FEATURES, FE.SET_PROTOCOL_FEATURES}
_NO_TYPE = 0xFFFF  # of a device that is not told: only what means the same for all types has a name
_COLOURS = {"request": "\033[36m", "reply": "\033[32m", ERROR: "\033[1;31m", "warning": "\033[33m", "dim": "\033[2m"}


def bit_names(space: int, mask: int) -> str:
    """Names of the bits; space as in vh.feature_name()."""
    names = (text(lib.vh_feature_name(space, bit)) or f"bit{bit}" for bit in range(64) if mask >> bit & 1)
    return " ".join(names) or "none"


def value_text(key: str, value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(value_text(key, v) for v in value) + "]"
    if isinstance(value, dict):
        return fields_text(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return hex(value) if key in _HEX or value > 0xFFFFFF else str(value)
    return str(value)


def fields_text(fields: dict[str, Any]) -> str:
    return " ".join(f"{key}={value_text(key, value)}" for key, value in fields.items())


def payload_text(m: Message, device: int = 0) -> str:
    """The payload's fields in a line; features by name."""
    fields = m.fields
    if m.channel == MAIN and list(fields) == ["value"] and len(m.payload) == 8:
        value = fields["value"]
        if m.request in _VIRTIO:
            return f"{value:#x} {bit_names(device or _NO_TYPE, value)}"
        if m.request in _PROTOCOL:
            return f"{value:#x} {bit_names(0, value)}"
    return fields_text(fields)


def message_text(m: Message, device: int = 0) -> str:
    """One message as one line, without what it breaks."""
    arrow = _ARROWS.get((m.sender, m.channel)) or ("<=" if m.sender == BACK_END else "=>")
    what = payload_text(m, device)
    if m.is_status:
        what = f"refused: {wire.unpack('U64', m.payload)['value']}" if any(m.payload) else "ok"
    name = m.name if m.name != "UNKNOWN" else f"UNKNOWN {m.request}"
    parts = [f"{m.time_ns / 1e9:11.6f} {arrow} {m.number:4d} {name:<22}"]
    if m.reply_to:
        parts.append(f"#{m.reply_to} {m.latency_ns / 1000:.0f} us")
    if what:
        parts.append(what)
    if m.need_reply:
        parts.append("need_reply")
    if m.fds:
        parts.append(f"fds: {', '.join(map(str, m.fds))}")
    return "  ".join(parts).rstrip()


class Printer:
    """A sink that prints. device: virtio's number of the device type, for the names of its feature bits."""

    def __init__(self, out: IO[str], device: int = 0, colour: bool | None = None):
        self.out, self.device = out, device
        self.colour = out.isatty() and "NO_COLOR" not in os.environ if colour is None else colour

    def _print(self, line: str, colour: str) -> None:
        print(f"{_COLOURS[colour]}{line}\033[0m" if self.colour else line, file=self.out, flush=True)

    def message(self, m: Message) -> None:
        self._print(message_text(m, self.device), "reply" if m.is_reply else "request")
        for v in m.violations:
            self._print(f"{'':11} !! {v}", v.severity)

    def violation(self, v: Violation) -> None:
        self._print(f"{'':11} !! {f'{v.number:4d} ' if v.number else ''}{v}", v.severity)

    def note(self, n: Note) -> None:
        self._print(f"{n.time_ns / 1e9:11.6f} -- connection {n.conn} {n.event}{': ' if n.text else ''}{n.text}", "dim")
