# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""The dirty log: which pages of guest memory were written."""
from typing import Any, Iterator

from vh._handle import Handle, create
from vh._lib import fd_of, ffi, new_sized, record
from vh._model import DIRTY_PAGE, DirtyInfo

_ROOM = 512  # pages that are taken at once


class Dirty(Handle):
    """One bit for each DIRTY_PAGE bytes of guest addresses below end, in a memfd; or in the file that fd names."""

    _free = "vh_dirty_free"

    def __init__(self, end: int = 0, *, fd: Any = None, offset: int = 0, length: int = 0):
        if fd is None:
            self._adopt(create("vh_dirty_new", "vh_dirty", end))
        else:
            self._adopt(create("vh_dirty_open", "vh_dirty", fd_of(fd), offset, length))

    def mark(self, gpa: int, length: int) -> None:
        """The range was written."""
        self._call("vh_dirty_mark", gpa, length)

    def take(self, start: int = 0) -> "Iterator[int]":
        """Guest addresses of the pages that were written since they were taken last, from start on; ascending."""
        pages = ffi.new("vh_gpa[]", _ROOM)
        n = _ROOM
        while n == _ROOM:
            n = self._call("vh_dirty_take", start, pages, _ROOM)
            found = list(pages[0:n])
            yield from found
            start = found[-1] + DIRTY_PAGE if found else 0

    def dup_fd(self) -> int:
        """The file that it is in; yours to close."""
        out = ffi.new("vh_fd *")
        self._call("vh_dirty_dup_fd", out)
        return int(out[0])

    @property
    def info(self) -> DirtyInfo:
        """Where it is, how far it goes, whether something was lost."""
        out = new_sized("vh_dirty_info")
        self._call("vh_dirty_get_info", out)
        return record(DirtyInfo, out)  # type: ignore[no-any-return]


__all__ = ["Dirty"]
