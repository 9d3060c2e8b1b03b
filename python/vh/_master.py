# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""The front-end: a connection to a back-end, and what can be asked of it."""
import asyncio
import errno
import os
import weakref
from typing import Any, AsyncIterator, Callable

from vh import _aio, _error, _event
from vh._backend import Drivable
from vh._byhand import BackendRequest, answered, callable_or_none
from vh._channel import BackendHandler
from vh._event import target
from vh._handle import create
from vh._lib import fd_of, ffi, lib, milliseconds, new_ops, new_sized, path_bytes, record
from vh._model import Event, Features, MasterStats
from vh._request import Requests


class Master(Drivable, Requests):
    """A front-end. What waits does so for timeout seconds at most (10 if not said), which ends the connection; Ctrl-C
    ends a wait, not the connection. Calls of several threads wait for each other."""

    _free = "vh_master_free"
    _side = "vh_master"
    _target = "vh_master_backend"

    def __init__(self, *, timeout: "float | None" = None, mask_features: int = 0, mask_protocol_features: int = 0,
                 more_protocol_features: int = 0, dialect: int = 0,
                 on_backend_request: "Callable[[BackendRequest], int | BackendRequest | None] | None" = None,
                 handler: "BackendHandler | None" = None):
        """on_backend_request gets the requests of the back-end that the library does not answer: it returns None for
        yes, a negative errno value to refuse, the request itself to answer() it another time. A handler gets those that
        it has a method for. Dialect: DIALECT_SPEC, or what the back-end speaks."""
        opts = new_sized("vh_master_opts", timeout_ms=milliseconds(timeout), mask_features=mask_features,
                         mask_protocol_features=mask_protocol_features,
                         more_protocol_features=more_protocol_features, dialect=dialect)
        members = {"destroy": "vhpy_master_destroy", "waiting": "vhpy_master_waiting"}
        if not isinstance(handler, (BackendHandler, type(None))):
            raise TypeError(f"handler is a BackendHandler, not {type(handler).__name__}")
        if handler is not None:
            members |= handler._members()
        self._handler = handler
        self._on_request = callable_or_none("on_backend_request", on_backend_request)
        if on_backend_request is not None:
            members["backend_request"] = "vhpy_master_backend_request"
        members["iotlb_miss"] = "vhpy_master_iotlb_miss"
        self._on_iotlb_miss: "Callable[[int, int], int | None] | None" = None
        self._adopt(create("vh_master_new", "vh_master", opts, new_ops("vh_master_ops", members),
                           _event.context(weakref.ref(self))))

    def set_iotlb_miss(self, function: "Callable[[int, int], int | None] | None") -> None:
        """function(iova, perm) is asked what set_iotlb() has no answer to, and answers by iotlb_update(), now or later, or returns
        a negative errno value."""
        self._on_iotlb_miss = callable_or_none("function", function)

    def _give_up(self) -> None:
        self.disconnect()  # a late reply must not meet the next request

    def _interrupt(self, ptr: Any) -> None:
        lib.vh_master_cancel(ptr)

    # The connection.

    def connect(self, path: "str | bytes | os.PathLike[str]") -> None:
        """Connect to a back-end that listens on a unix socket: a path or another address, see Slave.listen()."""
        self._wait("vh_master_connect", path_bytes(path))

    def listen(self, path: "str | bytes | os.PathLike[str]") -> None:
        """Listen for a back-end that connects."""
        self._call("vh_master_listen", path_bytes(path))

    def accept(self) -> None:
        """Wait for the back-end to connect after listen()."""
        self._wait("vh_master_accept")

    def adopt(self, fd: Any) -> None:
        """Use a connected unix stream socket; it stays yours."""
        self._call("vh_master_adopt", fd_of(fd))

    def socketpair(self) -> int:
        """Connect to a back-end that will be given this file descriptor; yours to close."""
        out = ffi.new("vh_fd *")
        self._call("vh_master_socketpair", out)
        return int(out[0])

    def cancel(self) -> None:
        """End a wait of another thread: it gets VhError with ECANCELED, and the connection is over."""
        self._call("vh_master_cancel")

    def negotiate(self, features: int = (1 << 64) - 1) -> Features:
        """Features and protocol features, in the order that every back-end takes; what both sides have."""
        out = ffi.new("uint64_t *")
        self._wait("vh_master_negotiate", features, out)
        return Features(out[0])

    @property
    def stats(self) -> MasterStats:
        out = new_sized("vh_master_stats")
        self._call("vh_master_get_stats", out)
        return record(MasterStats, out)  # type: ignore[no-any-return]

    async def async_events(self) -> "AsyncIterator[Event]":
        """Serve the connection as an asyncio task, and tell what is new, until the connection ends."""
        over = False
        try:
            while not over:
                try:
                    while self.dispatch():
                        await asyncio.sleep(0)
                except _error.VhError:
                    over = True
                for event in self.events():
                    yield event
                if not over:
                    await _aio.readable(self)
        except _error.VhError as e:
            if not self._closed and e.errno != errno.ESHUTDOWN:
                raise


def connect(path: "str | bytes | os.PathLike[str]", **options: Any) -> Master:
    """A front-end that is connected to the back-end at "unix:/path" or another address."""
    master = Master(**options)
    try:
        master.connect(path)
    except BaseException:
        master.close()
        raise
    return master


def _backend_request(ctx: Any, req: Any) -> int:
    return answered(target(ctx)(), req, BackendRequest)


def _iotlb_miss(ctx: Any, iova: int, perm: int) -> int:
    master = target(ctx)()
    if master is None or master._on_iotlb_miss is None:
        return -errno.EOPNOTSUPP
    return int(master._on_iotlb_miss(iova, perm) or 0)


def _waiting(_ctx: Any) -> int:
    """Python runs the handlers of signals that came while this function is entered; what they raise ends the wait."""
    return 0


_error.bind("vhpy_master_backend_request", _backend_request)
_error.bind("vhpy_master_waiting", _waiting)
_error.bind("vhpy_master_iotlb_miss", _iotlb_miss)
