# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Guest memory, and snapshots of it that keep what views show."""
import errno
from typing import Any, Callable

from vh import _error, _handle
from vh._handle import Handle, create
from vh._lib import fd_of, ffi, lib, new_sized, record
from vh._model import MEM_READ, MEM_WRITE, REGION_HUGE, Region


def _region(region: Region) -> Any:
    return ffi.new("struct vh_region *", {name: getattr(region, name) for name in Region.__dataclass_fields__})


def _regions(call: "Callable[[Any, int], int]") -> "list[Region]":
    return [record(Region, r) for r in _handle.listed(call, "vh_region")]


class Snapshot(Handle):
    """The regions as they were at one moment. It keeps their mappings, and so does every view taken from it."""

    _free = "vh_snapshot_free"

    def __init__(self, ptr: Any):
        """Not for users: memory, slaves, drivers and queues give them out."""
        self._adopt(ptr)

    @property
    def number(self) -> int:
        ptr = self._enter()
        try:
            return int(lib.vh_snapshot_number(ptr))
        finally:
            self._leave()

    def regions(self) -> "list[Region]":
        """By ascending guest address."""
        return _regions(lambda array, n: self._call("vh_snapshot_regions", array, n))

    def segments(self, gpa: int, length: int, write: bool = False) -> "list[memoryview]":
        """A range of guest memory in pieces, one for each region that it crosses; read-only unless for writing."""
        perm = MEM_READ | (MEM_WRITE if write else 0)

        def translate(array: Any, n: int) -> int:
            try:
                return self._call("vh_snapshot_translate", gpa, length, perm, array, n)
            except _error.VhError as e:
                if e.errno != errno.ENOSPC:
                    raise
                return n * 2

        return [self._pin(s.addr, s.len, write) for s in _handle.listed(translate, "vh_seg", 4)]

    def view(self, gpa: int, length: int, write: bool = False) -> memoryview:
        """A range of guest memory that lies in one region."""
        found = self.segments(gpa, length, write)
        if len(found) > 1:
            raise _error.make(errno.ERANGE, f"the range lies in {len(found)} regions; segments() gives all pieces")
        return found[0]

    def _pin(self, addr: int, length: int, write: bool, gone: "Callable[[], object] | None" = None) -> memoryview:
        """A view of memory of this process; the snapshot lives until its last slice is gone. Then gone() is called."""
        self._enter()

        def release(_: Any) -> None:
            if gone:
                gone()
            self._leave()

        start = ffi.gc(ffi.cast("char *", addr), release)
        view = memoryview(ffi.buffer(start, length))
        return view if write else view.toreadonly()

    def _about(self) -> str:
        return f" {self.number}"


class Memory(Handle):
    """Guest memory that this process allocates, or maps from files."""

    _free = "vh_mem_free"

    def __init__(self, *, max_regions: int = 0, require_seal: bool = False):
        opts = new_sized("vh_mem_opts", max_regions=max_regions, require_seal=int(require_seal))
        self._adopt(create("vh_mem_new", "vh_mem", opts))

    def alloc(self, gpa: int, length: int, *, huge: bool = False) -> None:
        """A new region, in a memfd that can't shrink."""
        self._call("vh_mem_alloc", gpa, length, REGION_HUGE if huge else 0)

    def add_fd(self, fd: Any, region: Region) -> None:
        """Map gpa, uva, len and offset of a file, or by map_flags the memory of a Xen domain; the file descriptor stays
        yours."""
        self._call("vh_mem_add_fd", fd_of(fd), _region(region))

    def remove(self, region: Region) -> None:
        """Take the region with exactly this gpa, uva and len out."""
        self._call("vh_mem_remove", _region(region))

    def regions(self) -> "list[Region]":
        """By ascending guest address."""
        return _regions(lambda array, n: self._call("vh_mem_regions", array, n))

    def dup_fd(self, index: int) -> int:
        """The file behind a region; yours to close."""
        out = ffi.new("vh_fd *")
        self._call("vh_mem_dup_fd", index, out)
        return int(out[0])

    def snapshot(self) -> Snapshot:
        return take_snapshot(self, "vh_mem_dup_snapshot")

    def view(self, gpa: int, length: int) -> memoryview:
        """A writable range of one region; stays good when the memory is closed."""
        return self.snapshot().view(gpa, length, write=True)


def take_snapshot(handle: Handle, call: str) -> Snapshot:
    out = ffi.new("struct vh_snapshot **")
    handle._call(call, out)
    return Snapshot(out[0])


def guard_install() -> None:
    """Survive guest memory that a peer truncates: a SIGBUS handler for the whole process. serve() does it by itself."""
    _error.check(lib.vh_mem_guard_install())


def guard_remove() -> None:
    """Put the handler back that was there before."""
    _error.check(lib.vh_mem_guard_remove())


__all__ = ["Memory", "Snapshot", "guard_install", "guard_remove"]
