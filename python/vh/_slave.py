# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""The back-end: a device behind a unix socket."""
import asyncio
import dataclasses
import errno
import os
import weakref
from typing import Any, AsyncIterator, Callable, Sequence

from vh import _aio, _error, _event
from vh._byhand import FrontendRequest, answered, callable_or_none
from vh._channel import Asking
from vh._device import Device
from vh._event import target
from vh._handle import create, expect
from vh._lib import fd_of, ffi, microseconds, milliseconds, new_ops, new_sized, path_bytes, record
from vh._memory import Snapshot, take_snapshot
from vh._model import Event, SlaveStats
from vh._queue import Queue
from vh._reconnect import Reconnect, policy_of


@dataclasses.dataclass(frozen=True)
class SlaveState:
    """What Slave.export_state() gives. The file descriptors are yours: send them, or pass them on by inheritance, and close()."""

    data: bytes
    fds: "tuple[int, ...]"

    def close(self) -> None:
        for fd in self.fds:
            os.close(fd)


class Slave(Asking):
    """A device and one connection at a time. It serves while dispatch(), wait() or serve() is called."""

    _free = "vh_slave_free"
    _side = "vh_slave"

    _more = False  # the last dispatch left something
    _stopping = False

    def __init__(self, device: Device, *, message_timeout: "float | None" = None, drain_timeout: "float | None" = None,
                 more_features: int = 0,
                 budget: int = 0, mask_features: int = 0, mask_protocol_features: int = 0, require_seal: bool = False,
                 socket_mode: int = 0, postcopy: bool = False, poll: float = 0, max_state_bytes: int = 0,
                 more_protocol_features: int = 0, dialect: int = 0, coalesce: int = 0,
                 on_request: "Callable[[FrontendRequest], int | FrontendRequest | None] | None" = None):
        """Times in seconds; poll: how long a queue is looked at after its last request, before its driver is asked to kick
        again (math.inf: always, which takes a processor); budget: requests per queue and wake-up; dialect: DIALECT_SPEC or what the front-end speaks;
        coalesce: completions for a call, see Queue.set_coalescing().

        on_request gets the requests of the front-end that neither the library nor the device answers, those of
        more_protocol_features among them: it returns None for yes, a negative errno value to refuse, the request itself
        to answer() it another time.
        """
        opts = new_sized("vh_slave_opts", more_features=more_features, message_timeout_ms=milliseconds(message_timeout),
                         drain_timeout_ms=milliseconds(drain_timeout), budget=budget, mask_features=mask_features,
                         mask_protocol_features=mask_protocol_features, require_seal=int(require_seal),
                         socket_mode=socket_mode, postcopy=int(postcopy), poll_us=microseconds(poll),
                         max_state_bytes=max_state_bytes, more_protocol_features=more_protocol_features, dialect=dialect,
                         coalesce=coalesce)
        self._on_request = callable_or_none("on_request", on_request)
        ops, ctx = ffi.NULL, ffi.NULL
        ptr = expect(device, Device)._enter()
        try:
            if on_request is not None:
                ops = new_ops("vh_slave_ops", {"destroy": "vhpy_slave_destroy", "request": "vhpy_slave_request"})
                ctx = _event.context(weakref.ref(self))
            self._adopt(create("vh_slave_new", "vh_slave", opts, ptr, ops, ctx), device)
        finally:
            device._leave()
        device._slave = weakref.ref(self)
        self._device = device
        self._queues: "dict[int, Queue]" = {}

    @property
    def device(self) -> Device:
        return self._device

    def _end(self) -> None:
        self._queues.clear()
        super()._end()

    def listen(self, path: "str | bytes | os.PathLike[str]") -> None:
        """Listen on a unix socket: a path, "unix:/path", "@abstract", "fd:3", or "systemd:name" of socket activation."""
        self._call("vh_slave_listen", path_bytes(path))

    def connect(self, path: "str | bytes | os.PathLike[str]", policy: "Reconnect | None" = None) -> None:
        """Connect to a front-end that listens. With a policy: while it serves, and again after each end; events tell."""
        self._call("vh_slave_connect", path_bytes(path), policy_of(policy))

    def adopt(self, fd: Any) -> None:
        """Use a unix stream socket that is open already, listening or connected; it stays yours."""
        self._call("vh_slave_adopt", fd_of(fd))

    def dispatch(self) -> bool:
        """Do what is to be done, never wait. True: there is more to do at once."""
        if self._stopping:
            raise _error.make(errno.ESHUTDOWN, "the slave was stopped")
        self._more = True  # nobody knows, if a method of the device raises something
        self._more = super().dispatch()
        return self._more

    def wake(self) -> None:
        """Make wait() return, as if something had come; from any thread."""
        self._call("vh_slave_wake")

    def stop(self) -> None:
        """Make every call on this slave fail with ESHUTDOWN; from any thread. Waits for the one in progress."""
        if self._closed:
            raise self._gone()
        self._stopping = True  # a busy thread would come back for the lock before this one is awake
        with self._serial:  # a wait that Ctrl-C ends, other than that of the library
            super().stop()

    def wait(self, timeout: "float | None" = None) -> bool:
        """Wait until there is something to do, and do it. False: the time passed.

        Other threads may use the slave meanwhile. What a device's method raises is raised here.
        """
        if not self._more and not _aio.wait(self, timeout):
            return False
        self.dispatch()
        return True

    def serve(self, until: "Callable[[], object] | None" = None) -> None:
        """Serve until stop(), close(), or until() says so, which is asked a few times a second."""
        try:
            while not (until and until()):
                self.wait(_aio.SLICE_S if until else None)
        except _error.VhError as e:
            self._over(e)

    def _over(self, e: _error.VhError) -> None:
        if e.errno != errno.ESHUTDOWN and not self._closed:
            raise e

    async def async_serve(self) -> None:
        """Serve as an asyncio task, until it is cancelled or the slave is stopped or closed."""
        async for _ in self.async_events():
            pass

    async def async_events(self) -> "AsyncIterator[Event]":
        """Serve, and tell what is new."""
        try:
            while True:
                while self.dispatch():
                    await asyncio.sleep(0)
                for event in self.events():
                    yield event
                await _aio.readable(self)
        except _error.VhError as e:
            self._over(e)

    def queue(self, index: int, *, stale_views: "str | None" = None) -> Queue:
        """A queue of the device; the same object each time."""
        out = ffi.new("struct vh_queue **")
        self._call("vh_slave_queue", index, out)
        queue = self._queue_at(out[0], index)
        if stale_views is not None:
            queue.stale_views = stale_views
        return queue

    def _queue_at(self, ptr: Any, index: int) -> Queue:
        queue = self._queues.get(index)
        if queue is None or queue.closed:
            queue = self._queues[index] = Queue._borrow(ptr, self, index)
        return queue

    def snapshot(self) -> Snapshot:
        """The guest memory that the front-end shares now."""
        return take_snapshot(self, "vh_slave_dup_snapshot")

    def pause(self, timeout: "float | None" = None) -> bool:
        """Take nothing new, and serve until nothing is owed or in flight. False: the time passed; it is still asked for."""
        end = _aio.deadline(timeout)
        while not self._is_quiet():
            left = _aio.left(end)
            if not self.wait(left) and left == 0.0:
                return False
        return True

    def _is_quiet(self) -> bool:
        try:
            self._call("vh_slave_pause")
        except BlockingIOError:
            return False
        return True

    def resume(self) -> None:
        """Go on after pause(), also after export_state() when the successor did not come up."""
        self._call("vh_slave_resume")

    def export_state(self) -> SlaveState:
        """What a successor needs to go on where this one stands; it has to be paused. Close this one when that serves."""
        n_fds = ffi.new("uint32_t *")
        size = self._call("vh_slave_export", ffi.NULL, 0, ffi.NULL, 0, n_fds)
        buf, fds = ffi.new("char[]", size), ffi.new("vh_fd[]", n_fds[0])
        self._call("vh_slave_export", buf, size, fds, n_fds[0], n_fds)
        return SlaveState(bytes(ffi.buffer(buf, size)), tuple(fds))

    def import_state(self, data: bytes, fds: "Sequence[Any]") -> None:
        """Go on where another slave stood: bytes and files of its SlaveState, which stay yours. This one is new."""
        numbers = [fd_of(fd) for fd in fds]
        self._call("vh_slave_import", ffi.from_buffer(data), len(data), ffi.new("vh_fd[]", numbers), len(numbers))

    @property
    def stats(self) -> SlaveStats:
        out = new_sized("vh_slave_stats")
        self._call("vh_slave_get_stats", out)
        return record(SlaveStats, out)  # type: ignore[no-any-return]

    def close(self) -> None:
        """Close it. A thread that serves it ends that first, with the methods of the device that it is in."""
        if not self._closed and not _error.state.exiting:  # at the end of the interpreter a method may never end
            try:
                self.stop()
            except _error.VhError:
                pass  # another thread was faster
        super().close()


def serve(device: Device, path: "str | bytes | os.PathLike[str]", **options: Any) -> None:
    """Serve a device on a unix socket until Ctrl-C."""
    with Slave(device, **options) as slave:
        slave.listen(path)
        slave.serve()


def _request(ctx: Any, req: Any) -> int:
    return answered(target(ctx)(), req, FrontendRequest)


_error.bind("vhpy_slave_request", _request)
