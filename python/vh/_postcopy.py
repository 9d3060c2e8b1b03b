# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Postcopy: memory whose pages come when a back-end touches them."""
from typing import Any

from vh._handle import Handle
from vh._lib import ffi, new_sized, record
from vh._model import PostcopyFault


class Postcopy(Handle):
    """What Master.postcopy_advise() gives. Use it in a thread that makes no other calls of that master, since those may
    wait for a page."""

    _free = "vh_postcopy_free"

    def __init__(self, ptr: Any):
        """Not for users."""
        self._adopt(ptr)

    def fileno(self) -> int:
        """Readable when next() has something."""
        return self._call("vh_postcopy_fd")

    def next(self) -> "PostcopyFault | None":
        """A page that the back-end waits for; None when it waits for none."""
        out = new_sized("vh_postcopy_fault")
        return record(PostcopyFault, out) if self._call("vh_postcopy_next", out) else None

    def place(self, gpa: int, data: Any) -> None:
        """Bring whole pages, for all that map the memory. A page that is there already stays as it is."""
        buf = ffi.from_buffer(data)
        self._call("vh_postcopy_place", gpa, buf, len(buf))

    def wake(self, gpa: int, length: int) -> None:
        """Whole pages have come through another mapping of the same memory."""
        self._call("vh_postcopy_wake", gpa, length)
