# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""What Blk and Net have in common: a session to be over, made here if need be, and waiting."""
import errno
import os
import time
from typing import Any, Union

from vh import _aio, _error
from vh._backend import Backend, Drivable
from vh._driver import Driver
from vh._handle import Handle
from vh._lib import ffi, lib
from vh._target import open_target

Where = Union[str, bytes, "os.PathLike[str]", Drivable, Backend, Driver]


class OverSession(Handle):
    """Drives the queues of a session: at a target of open_target(), behind a Master, Vdpa or Kern, or in a Driver of the user's."""

    def _open(self, where: Any, new: str, timeout: "float | None", *args: Any, **options: Any) -> None:
        """options are those of a Driver that is made here; args stand before the session in the library's call."""
        self._made: "list[Handle]" = []
        try:
            if isinstance(where, (str, bytes, os.PathLike)):
                where = self._own(open_target(where, timeout=timeout))
            if isinstance(where, (Drivable, Backend)):
                where = self._own(Driver(where, **options))
                where.start()
            if not isinstance(where, Driver):
                raise TypeError(f"an address, a Master, a device or a Driver is wanted, not {type(where).__name__}")
            self._driver: Driver = where
            out = ffi.new(f"struct {new.removesuffix('_new')} **")
            ptr = where._enter()
            try:
                with where._serial:
                    where._host._go_on(getattr(lib, new), *args, ptr, out)
                self._adopt(out[0], where)
            finally:
                where._leave()
        except BaseException:
            self._close_made()
            raise

    def _own(self, handle: Any) -> Any:
        self._made.append(handle)
        return handle

    def _close_made(self) -> None:
        while self._made:
            self._made.pop().close()

    def close(self) -> None:
        """Close it, and the connection if it was made here. Requests in flight are lost."""
        try:
            super().close()
        finally:
            self._close_made()

    @property
    def driver(self) -> Driver:
        return self._driver

    def _sleeping(self, timeout: "float | None", wait: str, *args: Any) -> bool:
        """The library's call that waits, in slices, so that signals and close() are seen. False: the time passed."""
        end = _aio.deadline(timeout)
        while True:
            left = _aio.SLICE_S if end is None else min(_aio.SLICE_S, max(0.0, end - time.monotonic()))
            try:
                self._call(wait, *args, int(left * 1000 + 0.999))
                return True
            except _error.VhError as e:
                if self._closed:  # by another thread, which ended the connection too
                    raise self._gone() from None
                if e.errno not in (errno.EINTR, errno.ETIMEDOUT):
                    raise
            if end is not None and time.monotonic() >= end:
                return False


__all__ = ["OverSession", "Where"]
