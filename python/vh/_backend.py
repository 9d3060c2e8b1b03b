# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""A device to drive, whatever it is reached through."""
import errno
from typing import Any

from vh import _error, _model
from vh._handle import Handle
from vh._lib import ffi, lib, text
from vh._model import Features


class Drivable(Handle):
    """What a Driver can drive, and where the calls of its Backend wait: a Master, a Kern."""

    _target: str  # the function that gives its struct vh_backend

    def _go_on(self, call: Any, *args: Any) -> int:
        """A call of the library that may wait; the caller is using both. Python's signal handlers run meanwhile; if they raise
        nothing it goes on."""
        rc = call(*args)
        _error.reraise()
        while rc == -errno.EINTR:  # of a driver's own wait
            rc = call(*args)
            _error.reraise()
        return _error.check(rc)

    def _wait(self, name: str, *args: Any) -> int:
        ptr = self._enter()
        try:
            with self._serial:
                return self._go_on(getattr(lib, name), ptr, *args)
        finally:
            self._leave()

    def _give_up(self) -> None:
        """What was asked for is not waited for any more. A device of the kernel's has no connection to end."""

    def backend(self) -> "Backend":
        """This as a target for a driver."""
        return Backend(self)


class Waiting(Handle):
    """What has calls that wait for a back-end, as that one's own do."""

    _host: Drivable

    def _wait(self, name: str, *args: Any) -> int:
        ptr = self._enter()
        try:
            with self._serial:
                return self._host._go_on(getattr(lib, name), ptr, *args)
        finally:
            self._leave()


class Backend(Waiting):
    """A device to drive, whatever it is reached through."""

    def __init__(self, host: Drivable):
        out = ffi.new("struct vh_backend **")
        ptr = host._enter()
        try:
            _error.check(getattr(lib, host._target)(ptr, out))
            self._adopt(out[0], host)
        finally:
            host._leave()
        self._host = host

    @property
    def kind(self) -> str:
        """"vhost-user" for a Master, "vhost-kernel" for a Kern."""
        ptr = self._enter()
        try:
            return text(lib.vh_backend_kind(ptr))
        finally:
            self._leave()

    def get_features(self) -> Features:
        """What the device offers, without what only the transport has."""
        out = ffi.new("uint64_t *")
        self._wait("vh_backend_get_features", out)
        return Features(out[0])

    def get_config(self, offset: int = 0, length: int = _model.CONFIG_MAX) -> bytes:
        buf = ffi.new("char[]", max(length, 1))
        self._wait("vh_backend_get_config", offset, buf, length)
        return ffi.buffer(buf, length)[:]  # type: ignore[no-any-return]

    def set_config(self, offset: int, data: Any) -> None:
        buf = ffi.from_buffer(data)
        self._wait("vh_backend_set_config", offset, buf, len(buf))


__all__ = ["Backend", "Drivable"]
