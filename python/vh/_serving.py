# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""What serves a device, whatever asks for it: over a socket, or in the kernel."""
import asyncio
import errno
import weakref
from typing import Any, AsyncIterator, Callable

from vh import _aio, _error
from vh._device import Device
from vh._event import Logged
from vh._lib import ffi, lib
from vh._model import Event
from vh._queue import Queue


class Serving(Logged):
    """It serves while dispatch(), wait() or serve() is called."""

    _more = False  # the last dispatch left something
    _stopping = False

    def _serves(self, device: Device) -> None:
        device._slave = weakref.ref(self)
        self._device = device
        self._queues: "dict[int, Queue]" = {}

    @property
    def device(self) -> Device:
        return self._device

    def _end(self) -> None:
        self._queues.clear()
        super()._end()

    def dispatch(self) -> bool:
        """Do what is to be done, never wait. True: there is more to do at once."""
        if self._stopping:
            raise _error.make(errno.ESHUTDOWN, "it was stopped")
        self._more = True  # nobody knows, if a method of the device raises something
        self._more = super().dispatch()
        return self._more

    def stop(self) -> None:
        """Make every call fail with ESHUTDOWN; from any thread. Waits for the one in progress."""
        if self._closed:
            raise self._gone()
        self._stopping = True  # a busy thread would come back for the lock before this one is awake
        with self._serial:  # a wait that Ctrl-C ends, other than that of the library
            super().stop()

    def wait(self, timeout: "float | None" = None) -> bool:
        """Wait until there is something to do, and do it. False: the time passed.

        Other threads may use it meanwhile. What a device's method raises is raised here.
        """
        if not self._more and not _aio.wait(self, timeout):
            return False
        self.dispatch()
        return True

    def serve(self, until: "Callable[[], object] | None" = None) -> None:
        """Serve until stop(), close(), or until() says so, which is asked a few times a second.

        A peer that truncates its memory does not end this process: as guard_install(), which who calls wait() in a loop of
        his own calls himself.
        """
        lib.vh_mem_guard_install()
        try:
            while not (until and until()):
                self.wait(_aio.SLICE_S if until else None)
        except _error.VhError as e:
            self._over(e)

    def _over(self, e: _error.VhError) -> None:
        if e.errno != errno.ESHUTDOWN and not self._closed:
            raise e

    async def async_serve(self) -> None:
        """Serve as an asyncio task, until it is cancelled or stop() or close()."""
        async for _ in self.async_events():
            pass

    async def async_events(self) -> "AsyncIterator[Event]":
        """Serve, and tell what is new. Truncated memory does not end the process, as with serve()."""
        lib.vh_mem_guard_install()
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
        self._call(f"{self._side}_queue", index, out)
        queue = self._queue_at(out[0], index)
        if stale_views is not None:
            queue.stale_views = stale_views
        return queue

    def _queue_at(self, ptr: Any, index: int) -> Queue:
        queue = self._queues.get(index)
        if queue is None or queue.closed:
            queue = self._queues[index] = Queue._borrow(ptr, self, index)
        return queue

    def close(self) -> None:
        """Close it. A thread that serves it ends that first, with the methods of the device that it is in."""
        if not self._closed and not _error.state.exiting:  # at the end of the interpreter a method may never end
            try:
                self.stop()
            except _error.VhError:
                pass  # another thread was faster
        super().close()


__all__ = ["Serving"]
