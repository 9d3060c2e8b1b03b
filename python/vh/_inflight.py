# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Records of what is in flight, by which a back-end that crashed is continued."""
import os
from typing import Any

from vh import _error
from vh._lib import fd_of, ffi, lib, new_sized
from vh._model import F_VERSION_1


class Inflight:
    """A file of such records, and what it has room for. Queue.set_inflight() and Master.set_inflight() take it.

    The file is kept open until close(). Inflight(num_queues, queue_size) makes a new one, in which nothing is in flight; fd
    names one that somebody else made.
    """

    def __init__(self, num_queues: int, queue_size: int, features: int = 1 << F_VERSION_1, *, fd: Any = None,
                 mmap_size: int = 0, mmap_offset: int = 0):
        self.num_queues, self.queue_size = num_queues, queue_size
        self.mmap_size, self.mmap_offset = mmap_size, mmap_offset
        self._fd = -1
        if fd is not None:
            self._fd = os.dup(fd_of(fd))
            return
        out, made = new_sized("vh_inflight"), ffi.new("vh_fd *", -1)
        _error.check(lib.vh_inflight_make(num_queues, queue_size, features, out, made))
        self._fill(out, made[0])

    def _fill(self, out: Any, fd: int) -> None:
        self.mmap_size, self.mmap_offset = int(out.mmap_size), int(out.mmap_offset)
        self._fd = int(fd)

    def _lent(self) -> "tuple[Any, int]":
        return new_sized("vh_inflight", num_queues=self.num_queues, queue_size=self.queue_size, mmap_size=self.mmap_size,
                         mmap_offset=self.mmap_offset), self.fileno()

    def fileno(self) -> int:
        """The file; it stays this object's."""
        if self._fd < 0:
            raise ValueError("these inflight records were closed")
        return self._fd

    def close(self) -> None:
        """The file is closed here; whoever was given it keeps it."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> "Inflight":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_fd", -1) >= 0:
            self.close()

    def __repr__(self) -> str:
        return f"<vh.Inflight of {self.num_queues} queues with {self.queue_size} entries>"


__all__ = ["Inflight"]
