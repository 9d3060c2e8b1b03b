# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""A driver session: from a back-end to running queues."""
import contextlib
import dataclasses
import errno
import os
import time
from typing import Any

from vh._backend import Backend, Drivable, Waiting
from vh._dirty import Dirty
from vh._error import VhError
from vh._event import Pollable
from vh._handle import CLOSE_GRACE_S, expect, pointer
from vh._lib import fd_of, ffi, lib, microseconds, milliseconds, new_sized
from vh._memory import Memory, Snapshot, take_snapshot
from vh._metrics import Metrics
from vh._model import DRIVER_IOMMU, DRIVER_RING_NEEDS_RESET, DRIVER_RING_OFF, DRIVER_STOP_DROP, Features
from vh._queue import Queue
from vh._reconnect import Reconnect, policy_of

_STOP_S = 30.0
_SLICE_S = 0.25  # a signal that comes between two sleeps of the library's own


@dataclasses.dataclass(frozen=True)
class Ring:
    """A ring that somebody else drives, by guest addresses; base is where it goes on."""

    num: int
    desc: int
    driver: int
    device: int
    base: int = 0
    enabled: bool = True
    needs_reset: bool = False


class Driver(Waiting, Pollable):
    """A session with a back-end: it negotiates, owns the memory of rings and buffers, starts and stops the queues.

    Over memory of yours it has no rings of its own: set_ring() says where those are that somebody else drives.
    """

    _side = "vh_driver"
    _free = "vh_driver_free"

    def __init__(self, backend: "Drivable | Backend", *, memory: "Memory | None" = None, n_queues: int = 0,
                 queue_size: int = 0, type: int = 0, features: int = 0,
                 mask_features: int = 0, iommu: bool = False, iova_offset: int = 0,
                 poll: float = 0):  # pylint: disable=redefined-builtin
        """type: DeviceType.BLK wants what Blk can do with; DeviceType.NET a pair of queues, and what needs no knowledge of
        frames; features: further bits that you can do with; over memory of yours all of them, of rings too;
        iommu: the device uses I/O addresses, which are guest addresses plus iova_offset; poll: seconds for which a wait looks at
        its queue before it sleeps (math.inf: it never does)."""
        backend = expect(backend.backend() if isinstance(backend, Drivable) else backend, Backend)
        opts = new_sized("vh_driver_opts", n_queues=n_queues, queue_size=queue_size, type=type, features=features,
                         mask_features=mask_features, flags=DRIVER_IOMMU if iommu else 0, iova_offset=iova_offset,
                         poll_us=microseconds(poll))
        self._host = backend._host
        self._queues: "dict[int, Queue]" = {}
        self._stuck = False  # a request was not done in time: who keeps it does not answer that its queue stops
        out = ffi.new("struct vh_driver **")
        ptr = backend._enter()
        try:
            with backend._serial, pointer(memory, Memory) as mem:
                self._host._go_on(lib.vh_driver_new, opts, ptr, mem, out)
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
        end = time.monotonic() + (_STOP_S if timeout is None else timeout)
        while True:
            left = max(0.0, end - time.monotonic())
            try:
                self._wait("vh_driver_stop", int(drop) * DRIVER_STOP_DROP, milliseconds(min(left, _SLICE_S)))
                return
            except VhError as e:
                if e.errno != errno.EBUSY or left <= _SLICE_S:
                    raise

    def queue(self, index: int) -> Queue:
        """A queue of the session, to submit() and reap(); the same object each time."""
        out = ffi.new("struct vh_queue **")
        self._call("vh_driver_queue", index, out)
        if index not in self._queues or self._queues[index].closed:
            self._queues[index] = Queue._borrow(out[0], self, index)
        return self._queues[index]

    def set_ring(self, index: int, ring: "Ring | None", kick: Any = None, call: Any = None) -> None:
        """A ring that somebody else drives, for the next start, or at once in a session that runs; kick and call are eventfds, which stay yours. None: there
        is none any more."""
        args = ffi.NULL
        if ring is not None:
            args = new_sized("vh_driver_ring", num=ring.num, desc=ring.desc, driver=ring.driver, device=ring.device,
                             base=ring.base, flags=0 if ring.enabled else DRIVER_RING_OFF)
        self._wait("vh_driver_set_ring", index, args, fd_of(kick), fd_of(call))

    def ring(self, index: int) -> "Ring | None":
        """Where a ring is, and where it goes on."""
        out = new_sized("vh_driver_ring")
        self._call("vh_driver_get_ring", index, out)
        if not out.num:
            return None
        return Ring(out.num, out.desc, out.driver, out.device, out.base, not out.flags & DRIVER_RING_OFF,
                    bool(out.flags & DRIVER_RING_NEEDS_RESET))

    def enable(self, index: int, on: bool = True) -> None:
        """Have the device take from a queue, or not; it counts for each start to come."""
        self._wait("vh_driver_enable", index, int(on))

    def reset_queue(self, index: int) -> None:
        """One queue begins anew, and the others run on; what was in flight does not come back. A ring that somebody else
        drives stays stopped until set_ring()."""
        self._wait("vh_driver_reset_queue", index)

    def share(self) -> None:
        """Tell the back-end that memory of yours has changed."""
        self._wait("vh_driver_share")

    def set_reconnect(self, policy: "Reconnect | None") -> None:
        """Have a back-end that goes away come back, and tell it all that the session had told before; None: never.

        Calls that wait for it do so, and dispatch() of an event loop. events() tell how it went."""
        self._call("vh_driver_set_reconnect", policy_of(policy))

    def set_dirty(self, log: "Dirty | None") -> None:
        """Have the device log which pages of the session's memory it writes; None: no more."""
        with pointer(log, Dirty) as ptr:
            self._wait("vh_driver_set_dirty", ptr)

    def set_metrics(self, metrics: "Metrics | None", name: "str | None" = None) -> None:
        """Show this session and its queues on a page that other processes can look at, by this name; None: no more, once it
        is stopped."""
        with pointer(metrics, Metrics) as ptr:
            self._call("vh_driver_set_metrics", ptr, ffi.NULL if name is None else os.fsencode(name))

    def snapshot(self) -> Snapshot:
        """The session's guest memory as it is now."""
        return take_snapshot(self, "vh_driver_dup_snapshot")

    def _end(self) -> None:
        self._queues.clear()
        # It tells the back-end to stop, by the connection that another thread may be dispatching: not while it is.
        mine = self._serial.acquire(timeout=CLOSE_GRACE_S)
        try:
            if self._stuck:
                with contextlib.suppress(OSError):
                    self._host._give_up()
            super()._end()
        finally:
            if mine:
                self._serial.release()
