# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""What a process with libvh is doing: a page that it shows, and how another one looks at it."""
import dataclasses
import functools
import os
from typing import Any

from vh._event import feature_name, message_name
from vh._handle import Handle, create
from vh._lib import fd_of, ffi, lib, milliseconds, new_sized, text
from vh._model import METRICS_BRIEF, METRICS_CONNECTION, METRICS_QUEUE, METRICS_UNKNOWN, MetricsType


@dataclasses.dataclass(frozen=True)
class MetricsProperty:
    """What a value of a connection or a queue is."""

    name: str
    type: MetricsType
    unit: str
    help: str
    brief: bool  # belongs into a table that is to fit on a screen
    space: int = 0  # of feature bits, as of feature_name()


@dataclasses.dataclass(frozen=True)
class MetricsInfo:
    """Whose page it is."""

    version: int
    pid: int
    max_rows: int
    interval: float  # seconds
    name: str


def _string(member: Any) -> str:
    return bytes(ffi.string(member)).decode("utf-8", "replace")


@functools.lru_cache(None)
def metrics_properties(kind: int) -> "tuple[MetricsProperty, ...]":
    """The properties of METRICS_CONNECTION or METRICS_QUEUE, in their order."""
    found: "list[MetricsProperty]" = []
    out = new_sized("vh_metrics_prop")
    while lib.vh_metrics_get_prop(kind, len(found), out) == 0:
        found.append(MetricsProperty(_string(out.name), MetricsType(out.type), _string(out.unit), _string(out.help),
                                     bool(out.flags & METRICS_BRIEF), out.space))
    return tuple(found)


class Metrics(Handle):
    """A page that other processes of this user can look at: MetricsReader(pid), vhctl state. Give it to Slave.set_metrics().

    name: what to call this program; interval: seconds after which counters are written again, at the earliest."""

    _free = "vh_metrics_free"

    def __init__(self, name: "str | None" = None, *, max_rows: int = 0, interval: "float | None" = None):
        opts = new_sized("vh_metrics_opts", max_rows=max_rows, interval_ms=milliseconds(interval))
        self._adopt(create("vh_metrics_new", "vh_metrics", opts, ffi.NULL if name is None else os.fsencode(name)))

    def dup_fd(self) -> int:
        """The page's file, for someone who can't find it by /proc; yours to close."""
        out = ffi.new("vh_fd *")
        self._call("vh_metrics_dup_fd", out)
        return int(out[0])


class MetricsReader(Handle):
    """Look at a process. nth: which of its pages; fd: the file of a page instead, from Metrics.dup_fd(), which stays yours."""

    _free = "vh_metrics_reader_free"

    def __init__(self, pid: "int | None" = None, nth: int = 0, *, fd: Any = None):
        if fd is not None:
            self._adopt(create("vh_metrics_reader_adopt", "vh_metrics_reader", fd_of(fd)))
        else:
            self._adopt(create("vh_metrics_reader_open", "vh_metrics_reader", os.getpid() if pid is None else pid, nth))

    @property
    def info(self) -> MetricsInfo:
        """Whose page it is."""
        out = new_sized("vh_metrics_info")
        self._call("vh_metrics_reader_get_info", out)
        return MetricsInfo(out.version, out.pid, out.max_rows, out.interval_ms / 1000, _string(out.name))

    def _rows(self, kind: int) -> "list[dict[str, Any]]":
        found: "list[dict[str, Any]]" = []
        out, start = new_sized("vh_metrics_row"), 0
        while self._call("vh_metrics_reader_next", kind, start, out) == 1:
            found.append(_values(kind, out))
            start = out.row + 1
        return found

    def connections(self) -> "list[dict[str, Any]]":
        """Each connection, by name of its properties; and "connection", its number, and "rings", its queues.

        What is not known is None. Of a moment it is told how many seconds ago it was, None: it was not; feature bits are a
        number, for feature_names(); a choice and a request are their names."""
        rings = self.queues()
        found = self._rows(METRICS_CONNECTION)
        for row in found:
            row["rings"] = [ring for ring in rings if ring["connection"] == row["connection"]]
        return found

    def queues(self) -> "list[dict[str, Any]]":
        """Each queue, in the same way; "connection" is that of its connection."""
        return self._rows(METRICS_QUEUE)

    def openmetrics(self) -> str:
        """All that is counted, in the OpenMetrics text format."""
        room = 0
        while True:
            buf = ffi.new("char[]", room + 1)
            n = self._call("vh_metrics_reader_openmetrics", buf, room + 1)
            if n <= room:
                return bytes(ffi.buffer(buf, n)).decode()
            room = n + 4096


def _values(kind: int, row: Any) -> "dict[str, Any]":
    values: "dict[str, Any]" = {"connection": int(row.connection)}
    for i, prop in enumerate(metrics_properties(kind)):
        values[prop.name] = _value(kind, row, i, prop)
    return values


def _value(kind: int, row: Any, i: int, prop: MetricsProperty) -> Any:
    if prop.type == MetricsType.TEXT:
        return _string(row.address if prop.space else row.name)
    value = int(row.values[i])
    if i >= row.n_values or value == METRICS_UNKNOWN:
        return None
    if prop.type == MetricsType.TIME:
        return max(0, row.now_ns - value) / 1e9 if value else None
    if prop.type == MetricsType.CHOICE:
        return text(lib.vh_metrics_choice(kind, i, value)) or value
    if prop.type == MetricsType.REQUEST:
        return message_name(value) if value else None
    return value


def feature_names(bits: int, device_type: int = 0) -> "list[str]":
    """The names of feature bits of a kind of device; 0: of protocol features. A bit without a name is its number."""
    return [feature_name(bit, device_type) or str(bit) for bit in range(64) if bits >> bit & 1]


__all__ = ["Metrics", "MetricsInfo", "MetricsProperty", "MetricsReader", "feature_names", "metrics_properties"]
