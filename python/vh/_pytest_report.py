# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""What the report of a failed test has, of vh.pytest_plugin: its sections, its files, and what stands in them."""
import contextlib
import os
import re
import zlib
from typing import TYPE_CHECKING, Any, Callable, Iterator

import pytest

if TYPE_CHECKING:
    import vh
    from vh import launch
    from vh.trace import Tracer

LINES = 200  # of a trace that a report shows


class Evidence:
    """What a report of a test that failed is to have."""

    def __init__(self, config: pytest.Config, nodeid: str) -> None:
        self.told: "list[tuple[str, Callable[[], str]]]" = []
        self.files: "list[tuple[str, Callable[[str], object]]]" = []
        folder = config.getoption("--vh-artifacts")
        # Workers of xdist have different tests, so each folder is of one.
        name = re.sub(r"[^\w.\[\]=-]+", "_", nodeid)
        if len(name) > 180:  # a file's name has an end
            name = f"{name[:170]}-{zlib.crc32(nodeid.encode()):08x}"
        self.folder = os.path.join(folder, name) if folder else None

    def text(self, title: str, say: "Callable[[], str]", file: str = "") -> None:
        """A section of the report; with @file a file too."""
        self.told.append((title, say))
        if file:
            def write(path: str) -> None:
                with open(path, "w", encoding="utf-8") as f:
                    f.write(say())
            self.files.append((file, write))

    def file(self, name: str, write: "Callable[[str], object]") -> None:
        self.files.append((name, write))

    def report(self, report: pytest.TestReport) -> None:
        for title, say in self.told:
            report.sections.append((f"vh: {title}", _safely(say)))
        paths = self.save()
        if paths:
            report.sections.append(("vh: files", "\n".join(paths)))

    def save(self) -> "list[str]":
        if not self.folder or not self.files:
            return []
        os.makedirs(self.folder, exist_ok=True)
        paths = []
        for name, write in self.files:
            path = os.path.join(self.folder, name)
            n = 1
            while path in paths:  # a second back-end
                n += 1
                path = os.path.join(self.folder, f"{n}-{name}")
            said = _safely(lambda w=write, p=path: w(p))  # type: ignore[misc]
            paths.append(path + (f": {said}" if said and not os.path.exists(path) else ""))
        return paths


def _safely(say: "Callable[[], Any]") -> str:
    try:
        return str(say() or "")
    except Exception as e:  # pylint: disable=broad-except
        return f"can't be told: {type(e).__name__}: {e}"


def trace_text(tracer: "Tracer", device: int = 0) -> str:
    """The end of what was said, and all that the specification forbids."""
    from vh.trace import message_text
    recording = tracer.recording()
    lines = [message_text(m, device) for m in recording.messages]
    more = [f"... {len(lines) - LINES} earlier"] if len(lines) > LINES else []
    return "\n".join([*more, *lines[-LINES:], *(f"!! {v}" for v in recording.violations)]) or "nothing was said"


def rings_text(handle: "Any") -> str:
    """Where the queues of a session stand."""
    driver = getattr(handle, "driver", handle)
    lines = [repr(driver)]
    if not hasattr(driver, "features") or driver.closed:
        return lines[0]
    lines.append(f"features {driver.features!r}")
    for index, queue in _queues(driver):
        s = queue.stats
        lines.append(f"queue {index}: {queue.state!r}, {s.requests} requests, {s.completed} completed, {s.in_flight} in flight, "
                     f"{s.kicks} kicks, {s.calls} calls, {s.errors} errors")
    return "\n".join(lines)


def in_flight(handle: "vh.Blk | vh.Net") -> bool:
    """Has the device a request, other than a buffer to receive into?"""
    import vh
    return any(queue.stats.in_flight for index, queue in _queues(handle.driver) if index % 2 or not isinstance(handle, vh.Net))


def _queues(driver: "Any") -> "Iterator[tuple[int, Any]]":
    for index in range(64):
        try:
            yield index, driver.queue(index)
        except OSError:
            return


def process_text(backend: "launch.Backend") -> str:
    """How it is, and its fds."""
    lines = [repr(backend), " ".join(backend.command)]
    if backend.done():
        return "\n".join([*lines, str(backend.err() or f"it ended with {backend.returncode}")])
    proc = f"/proc/{backend.pid}"
    for name, keep in (("status", ("State", "Threads", "VmRSS", "SigBlk")), ("wchan", None), ("stack", None)):
        with contextlib.suppress(OSError):
            with open(f"{proc}/{name}", encoding="utf-8", errors="replace") as f:
                text = f.read().strip()
            lines += [line for line in text.splitlines() if not keep or line.startswith(keep)] if keep else [f"{name}: {text}"]
    with contextlib.suppress(OSError):
        for fd in sorted(os.listdir(f"{proc}/fd"), key=int):
            with contextlib.suppress(OSError):
                lines.append(f"fd {fd}: {os.readlink(f'{proc}/fd/{fd}')}")
    return "\n".join(lines)
