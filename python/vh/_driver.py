# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""A driver session: from a back-end to running queues."""
from typing import Any

from vh._dirty import Dirty, pointer
from vh._handle import expect
from vh._lib import ffi, lib, milliseconds, new_sized
from vh._master import Backend, Master, Waiting
from vh._memory import Snapshot, take_snapshot
from vh._model import DRIVER_STOP_DROP, Features
from vh._queue import Queue


class Driver(Waiting):
    """A session with a back-end: it negotiates, owns the memory of rings and buffers, starts and stops the queues."""

    _free = "vh_driver_free"
    _leaks = True

    def __init__(self, backend: "Master | Backend", *, n_queues: int = 0, queue_size: int = 0, type: int = 0,
                 features: int = 0, mask_features: int = 0):  # pylint: disable=redefined-builtin
        """type: DeviceType.BLK wants what Blk can do with; DeviceType.NET a pair of queues, and what needs no knowledge of
        frames; features: further bits that you can do with."""
        backend = expect(backend.backend() if isinstance(backend, Master) else backend, Backend)
        opts = new_sized("vh_driver_opts", n_queues=n_queues, queue_size=queue_size, type=type, features=features,
                         mask_features=mask_features)
        self._master = backend._master
        self._queues: "dict[int, Queue]" = {}
        out = ffi.new("struct vh_driver **")
        ptr = backend._enter()
        try:
            with backend._serial:
                self._master.go_on(lib.vh_driver_new, opts, ptr, ffi.NULL, out)
            self._adopt(out[0], backend)
        finally:
            backend._leave()

    @property
    def features(self) -> Features:
        """What both sides have."""
        out = ffi.new("uint64_t *")
        self._call("vh_driver_features", out)
        return Features(out[0])

    def alloc(self, length: int) -> memoryview:
        """Zeroed memory for buffers that the device can reach too; it lives as long as the session, and its views."""
        out = ffi.new("uint64_t *")
        self._wait("vh_driver_alloc", length, out)
        return self.snapshot()._pin(out[0], length, True)

    def start(self) -> None:
        """Share memory, start and enable every queue."""
        self._wait("vh_driver_start")

    def stop(self, *, drop: bool = False, timeout: "float | None" = None) -> None:
        """Stop every queue; requests in flight complete first, within timeout seconds (30 when None), unless they are to be
        dropped. start() goes on from there."""
        self._wait("vh_driver_stop", int(drop) * DRIVER_STOP_DROP, milliseconds(timeout))

    def queue(self, index: int) -> Queue:
        """A queue of the session, to submit() and reap(); the same object each time."""
        out = ffi.new("struct vh_queue **")
        self._call("vh_driver_queue", index, out)
        if index not in self._queues or self._queues[index].closed:
            self._queues[index] = Queue._borrow(out[0], self, index)
        return self._queues[index]

    def set_dirty(self, log: "Dirty | None") -> None:
        """Have the device log which pages of the session's memory it writes; None: no more."""
        with pointer(log) as ptr:
            self._wait("vh_driver_set_dirty", ptr)

    def snapshot(self) -> Snapshot:
        """The session's guest memory as it is now."""
        return take_snapshot(self, "vh_driver_dup_snapshot")

    def _end(self) -> None:
        self._queues.clear()
        super()._end()
