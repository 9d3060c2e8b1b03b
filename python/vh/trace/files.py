# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Recordings: a file of JSON lines, written while a session runs, and read again."""

from __future__ import annotations

import json
import os
from pathlib import Path
from dataclasses import dataclass, field
from typing import IO, Any, Iterator

from vh.trace import pcapng
from vh.trace.message import Message, Note, Violation
from vh.trace.rings import RingState

FORMAT = 1


@dataclass
class Recording:
    """What a file holds."""

    messages: list[Message] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)
    rings: list[list[dict[str, Any]]] = field(default_factory=list)  # each time that they were told, as RingState.as_dict()
    started_ns: int = 0


class JsonLines:
    """A sink: first a line that says what the file is, then a line for each message, violation of an earlier one, or event."""

    def __init__(self, file: IO[str], started_ns: int):
        self._file = file
        self._line({"vh_trace": FORMAT, "started_ns": started_ns})

    def _line(self, value: dict[str, Any]) -> None:
        self._file.write(json.dumps(value, separators=(",", ":")) + "\n")
        self._file.flush()

    def message(self, m: Message) -> None:
        self._line(m.as_dict())

    def violation(self, v: Violation) -> None:
        self._line({"violation": v.as_dict(), "n": v.number, "conn": v.conn})

    def note(self, n: Note) -> None:
        self._line(n.as_dict())

    def rings(self, states: list[RingState]) -> None:
        self._line({"rings": [s.as_dict() for s in states]})

    def close(self) -> None:
        self._file.close()


def _objects(path: str | os.PathLike[str]) -> Iterator[dict[str, Any]]:
    with open(path, encoding="utf-8") as f:
        for number, line in enumerate(f, 1):
            try:
                value = json.loads(line)
            except ValueError as e:
                raise ValueError(f"line {number} is no JSON") from e
            if not isinstance(value, dict):
                raise ValueError(f"line {number} is no object")
            yield value


def _read_json(path: str | os.PathLike[str]) -> Recording:
    out = Recording()
    objects = _objects(path)
    first: dict[str, Any] = next(objects, {})
    if first.get("vh_trace") != FORMAT:
        raise ValueError("the first line does not say so")
    out.started_ns = int(first.get("started_ns", 0))
    for d in objects:
        if "rings" in d:
            out.rings.append(d["rings"])
        elif "event" in d:
            out.notes.append(Note(d.get("conn", 0), d.get("t", 0), d["event"], d.get("text", "")))
        elif "violation" in d:
            out.violations.append(Violation(number=d.get("n", 0), conn=d.get("conn", 0), **d["violation"]))
        else:
            m = Message.from_dict(d)
            out.messages.append(m)
            out.violations += m.violations
    return out


def _read_pcapng(path: str | os.PathLike[str]) -> Recording:
    out = Recording()
    for m, violations in pcapng.packets(Path(path).read_bytes()):
        out.violations += violations
        if m:
            out.messages.append(m)
    return out


def write(recording: Recording, path: str | os.PathLike[str], as_pcapng: bool = False) -> None:
    """All of it, in the order in which it was recorded."""
    if as_pcapng:
        with open(path, "wb") as binary:
            tell(recording, pcapng.Pcapng(binary, recording.started_ns))
    else:
        with open(path, "w", encoding="utf-8") as text:
            tell(recording, JsonLines(text, recording.started_ns))


def tell(recording: Recording, sink: Any) -> None:
    """Tell a sink all of it again."""
    inline = {id(v) for m in recording.messages for v in m.violations}
    things: list[Message | Note] = [*recording.notes, *recording.messages]
    for thing in sorted(things, key=lambda thing: thing.time_ns):
        if isinstance(thing, Message):
            sink.message(thing)
        else:
            sink.note(thing)
    for v in recording.violations:
        if id(v) not in inline:
            sink.violation(v)


def read(path: str | os.PathLike[str]) -> Recording:
    """A recording of either kind; ValueError when it is none, OSError when it can't be read."""
    with open(path, "rb") as f:
        is_pcapng = f.read(4) == pcapng.MAGIC
    try:
        return _read_pcapng(path) if is_pcapng else _read_json(path)
    except (ValueError, AttributeError, KeyError, TypeError) as e:  # whoever wrote it, it is not what vhctl trace writes
        raise ValueError(f"{os.fspath(path)}: not a recording of vhctl trace: {e}") from e
