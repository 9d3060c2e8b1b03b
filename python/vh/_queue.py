# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Virtqueues: batches of requests that are not touched before you touch them.

A queue is driven by one thread at a time; a second one that comes at the same time gets VhError with EBUSY.
"""
import array
import errno
import itertools
import struct
from typing import Any, Iterable, Iterator, NamedTuple, Sequence, overload

from vh._iotlb import Iotlb, give
from vh import _aio, _error, _model
from vh._dirty import Dirty
from vh._event import known
from vh._handle import Handle, create, expect, pointer
from vh._inflight import Inflight
from vh._lib import fd_of, ffi, lib, new_sized, push_batch, record
from vh._memory import Memory, Snapshot, take_snapshot
from vh._model import QUEUE_MAX_SIZE, QueueState, QueueStats

ALL = 0xFFFFFFFF  # written: everything that the request has room for

_pop = lib.vh_queue_pop
_REFUSED = (-errno.EINVAL, -errno.EBUSY)  # of a push: nothing changed; after all other failures its requests have ended
_at = {name: ffi.offsetof("struct vh_req", name) for name in ("token", "mem")}
_REQ, _CPL = ffi.sizeof("struct vh_req"), ffi.sizeof("struct vh_cpl")
_BYTES = ffi.typeof("char *")
_SEG = struct.Struct("=QQ")  # struct vh_seg, which is frozen
_serials = itertools.count()


class _Room:
    """Arrays for a batch. Tokens go from one to the other without a step of the interpreter for each."""

    def __init__(self, queue: "Queue", size: int):
        self.queue = queue
        self.size = size
        self.reqs, self.cpls = ffi.new("struct vh_req[]", size), ffi.new("struct vh_cpl[]", size)
        reqs, cpls = memoryview(ffi.buffer(self.reqs)).cast("B"), memoryview(ffi.buffer(self.cpls)).cast("B")
        self.mem = reqs.cast("I")[_at["mem"] // 4::_REQ // 4]
        self.tokens = reqs.cast("Q")[_at["token"] // 8::_REQ // 8]
        self.written = cpls.cast("I")[ffi.offsetof("struct vh_cpl", "written") // 4::_CPL // 4]
        self.uniform: "int | None" = 0  # what all of written are, if they are the same
        self.pinned: "Snapshot | None" = None  # the memory that its requests lie in
        self.number = -1  # of that snapshot
        # Of the batch that has it now:
        self.touched = False  # a request has a length of its own
        self.pushed: "set[int]" = set()  # indices of requests that were pushed alone

    def prepare(self, written: "int | None") -> None:
        """Completions that say so; None: those that no request has a length for say nothing."""
        if written is not None:
            self.fill(written)
        elif not self.touched:
            self.fill(0)

    def fill(self, written: int) -> None:
        if self.uniform == written:
            return
        self.written[:] = memoryview(array.array("I", [written]) * self.size)
        self.uniform = written


class Request:
    """One request of a batch. It can be used until it is pushed."""

    __slots__ = ("_batch", "_index", "_req", "_room")

    def __init__(self, batch: "Batch", index: int, room: _Room):
        self._batch, self._index, self._room, self._req = batch, index, room, room.reqs[index]

    def _live(self) -> Any:
        if self._batch._room is not self._room or self._index in self._room.pushed:
            raise ValueError("this request was completed; its memory is the driver's again")
        return self._req

    def _snapshot(self) -> Snapshot:
        assert self._room.pinned is not None  # since its room has requests
        return self._room.pinned

    @property
    def token(self) -> int:
        return int(self._live().token)

    @property
    def rd_len(self) -> int:
        """Bytes that can be read."""
        return int(self._live().rd_len)

    @property
    def wr_len(self) -> int:
        """Bytes that can be written."""
        return int(self._live().wr_len)

    @property
    def seq(self) -> int:
        """Order of pop since the ring started."""
        return int(self._live().seq)

    @property
    def queue(self) -> int:
        """Index of its queue."""
        return int(self._live().queue)

    @property
    def flags(self) -> int:
        """REQ_RESUBMITTED, REQ_LAST."""
        return int(self._live().flags)

    def _segments(self, writable: bool) -> "list[tuple[Any, ...]]":
        """Address and length of each. That list goes with the queue; nobody can close it between the question whether
        it is closed and the copy, because threads are switched at calls only."""
        queue, r = self._room.queue, self._live()
        first, n = (r.n_rd, r.n_wr) if writable else (0, r.n_rd)
        segs = ffi.buffer(ffi.cast(_BYTES, r.segs + first * _SEG.size), n * _SEG.size)
        if queue._closed:
            raise queue._gone()
        raw = segs[:]
        return list(_SEG.iter_unpack(raw))

    @property
    def readable(self) -> "tuple[memoryview, ...]":
        """What the driver sends: read-only views, nothing is copied."""
        return tuple(self._snapshot()._pin(addr, n, False) for addr, n in self._segments(False))

    @property
    def writable(self) -> "tuple[memoryview, ...]":
        """Room for the answer. Let go of these views before the push: release(), del, or a with block."""
        return tuple(self._room.queue._export(self._snapshot(), self._live().token, addr, n)
                     for addr, n in self._segments(True))

    def read(self, length: int = -1, offset: int = 0) -> bytes:
        """A copy of readable bytes, from an offset on."""
        if offset < 0:
            raise ValueError(f"an offset of {offset}")
        left = self._live().rd_len if length < 0 else length
        kept = self._snapshot()  # whatever another thread does with the batch
        parts: "list[bytes]" = []
        for addr, n in self._segments(False):
            skip = min(offset, n)
            take = min(n - skip, left)
            parts.append(ffi.buffer(ffi.cast(_BYTES, addr + skip), take)[:])
            offset, left = offset - skip, left - take
            if not left:
                break
        del kept
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def write(self, data: Any, offset: int = 0) -> int:
        """Copy data into the room for the answer, from an offset on, and count it as written. Bytes written."""
        req, source = self._live(), ffi.from_buffer(data)
        size, done = len(source), 0
        end = offset + size
        if offset < 0 or end > req.wr_len:
            raise ValueError(f"{size} bytes at {offset}: the request has room for {req.wr_len}")
        kept = self._snapshot()
        for addr, n in self._segments(True):
            skip = min(offset, n)
            take = min(n - skip, size - done)
            if take:
                ffi.memmove(ffi.cast(_BYTES, addr + skip), source + done, take)
            offset, done = offset - skip, done + take
        del kept
        room = self._batch._touch()
        if room.written[self._index] < end:
            room.written[self._index], room.uniform = end, None
        return done

    @property
    def written(self) -> int:
        """Bytes from the start of the writable ones that the driver is told were written."""
        self._live()
        return self._batch._touch().written[self._index]

    @written.setter
    def written(self, n: int) -> None:
        if not 0 <= n <= ALL:
            raise ValueError(f"{n} bytes written")
        self._live()
        room = self._batch._touch()
        room.written[self._index], room.uniform = n, None

    def __repr__(self) -> str:
        if self._batch._room is not self._room:
            return "<vh.Request completed>"
        return f"<vh.Request {self._req.token:#x}: {self._req.rd_len} bytes to read, {self._req.wr_len} to write>"


class Batch(Sequence[Request]):
    """Requests that were popped together. They are turned into Python objects one by one, when they are looked at."""

    __slots__ = ("_room", "_n")

    def __init__(self, room: "_Room | None", n: int):
        self._room = room  # None: completed, or empty from the start
        self._n = n

    def _open(self) -> _Room:
        if self._room is None:
            raise ValueError("this batch was completed")
        return self._room

    def _touch(self) -> _Room:
        """Its completions, after which each has a length of its own."""
        room = self._open()
        if not room.touched:
            room.prepare(None)
            room.touched = True
        return room

    def _done(self, room: _Room) -> None:
        """It is over; its arrays are for another."""
        self._room = None
        if room.touched:
            room.touched = False
            room.pushed.clear()
        room.queue._rooms.append(room)

    def _rest(self) -> "list[Request]":
        """Those that were not pushed alone."""
        if not self._n:
            return []
        room = self._open()
        return [Request(self, i, room) for i in range(self._n) if i not in room.pushed]

    def __len__(self) -> int:
        return self._n

    @overload
    def __getitem__(self, index: int) -> Request: ...

    @overload
    def __getitem__(self, index: slice) -> "list[Request]": ...

    def __getitem__(self, index: "int | slice") -> "Request | list[Request]":
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self._n))]
        i = index + self._n if index < 0 else index
        if not 0 <= i < self._n:
            raise IndexError(f"request {index} of a batch of {self._n}")
        return Request(self, i, self._open())

    def __iter__(self) -> "Iterator[Request]":
        for i in range(self._n):
            yield Request(self, i, self._open())

    def __repr__(self) -> str:
        return f"<vh.Batch of {self._n}{' completed' if self._room is None and self._n else ''}>"


class Completion(NamedTuple):
    """A request that a device has done, on the driver's side."""

    user: int
    written: int


class Queue(Handle):
    """One virtqueue, of a slave or a driver, or stand-alone over rings in memory of your own.

    With stale_views="allow" a push does not mind that writable views of its requests are around. Such a view is safe to
    look at, but shows what the driver does with its memory now.
    """

    def __init__(self, memory: Memory, *, role: int, num: int, desc: int, driver: int, device: int, index: int = 0,
                 features: int = 1 << _model.F_VERSION_1, base: int = 0, max_segs: int = 0, indirect: int = 0,
                 max_indirect: int = 0, kick: Any = None, call: Any = None, stale_views: str = "refuse",
                 hold: bool = False):
        """A stand-alone queue; kick and call are eventfds, which stay yours. hold: start() starts it."""
        opts = new_sized("vh_queue_opts", role=role, num=num, index=index, features=features, desc=desc, driver=driver,
                         device=device, base=base, max_segs=max_segs, indirect=indirect, max_indirect=max_indirect,
                         flags=_model.QUEUE_HOLD if hold else 0)
        ptr = expect(memory, Memory)._enter()
        try:
            self._take(create("vh_queue_open", "vh_queue", ptr, opts, fd_of(kick), fd_of(call)), memory, index,
                       stale_views, "vh_queue_free")
        finally:
            memory._leave()

    @classmethod
    def _borrow(cls, ptr: Any, owner: Handle, index: int) -> "Queue":
        self = cls.__new__(cls)
        self._take(ptr, owner, index, "refuse", None)
        return self

    def _take(self, ptr: Any, owner: Handle, index: int, stale_views: str, free: "str | None") -> None:
        self._free = free  # type: ignore[misc]
        self._inside = False  # a call is in progress
        self._rooms: "list[_Room]" = []
        self._exports: "set[tuple[int, int]]" = set()  # writable views: token of the request, number of the view
        self._newest: "_Room | None" = None  # of the last pop
        self._full = False  # the last pop got all that it asked for
        self.index = index
        self.stale_views = stale_views
        self._adopt(ptr, owner)

    @property
    def stale_views(self) -> str:
        """"refuse" or "allow"."""
        return "allow" if self._stale_ok else "refuse"

    @stale_views.setter
    def stale_views(self, what: str) -> None:
        if what not in ("allow", "refuse"):
            raise ValueError(f"stale_views can be \"allow\" or \"refuse\", not {what!r}")
        self._stale_ok = what == "allow"

    def _forked(self) -> None:
        super()._forked()
        self._inside = False

    # One call at a time. The interpreter switches threads at calls and at loops only, so nothing comes between the
    # question and the mark, and a mark is cheaper than a lock. Who closes a queue leaves the end to the call in progress.

    def _begin(self) -> None:
        if self._inside:
            raise self._busy()
        self._inside = True

    def _finish(self) -> None:
        self._inside = False
        if self._closed and not self._uses:
            self._end()

    def _busy(self) -> BaseException:
        return _error.make(errno.EBUSY, "another call of this queue is in progress; one thread at a time may drive it")

    def _guarded(self, name: str, *args: Any) -> int:
        self._begin()
        try:
            return self._call(name, *args)
        finally:
            self._finish()

    def _end(self) -> None:
        if not self._inside:
            self._rooms.clear()
            self._newest = None
            super()._end()

    # The data path: no call and no look-up that is not needed.

    def pop(self, max: int = 64) -> Batch:  # pylint: disable=redefined-builtin
        """Requests that the driver made available, up to that many; an empty batch when there are none."""
        if self._inside:
            raise self._busy()
        self._inside = True
        try:
            rooms = self._rooms
            room = rooms.pop() if rooms else _Room(self, 64)
            if max > room.size:
                max = min(max, QUEUE_MAX_SIZE)
                room = _Room(self, max)
            if self._closed:
                raise self._gone()
            n = _pop(self._ptr, room.reqs, max)
            self._full = n == max
            if n <= 0:
                rooms.append(room)
                return Batch(None, _error.check(n))
            self._newest = room
            if room.mem[0] != room.number:
                n = self._pin_room(room, n, max)
            if not n:
                rooms.append(room)
                return Batch(None, 0)
            return Batch(room, n)
        finally:
            self._inside = False
            if self._closed:
                self._finish()

    def _pin_room(self, room: _Room, n: int, limit: int) -> int:
        """Keep the memory of what was popped, for views. If it changed just now the requests are popped again; how many
        they are then: none of a ring that was stopped just now."""
        while True:
            try:
                room.pinned = take_snapshot(self, "vh_queue_dup_snapshot")
                room.number = room.pinned.number
            except _error.VhError as e:
                if e.errno != errno.ENOENT:
                    raise
                room.pinned, room.number = None, -1
            if not n or room.mem[0] == room.number:
                return n
            try:
                self._call("vh_queue_unpop", n)
            except _error.VhError as e:
                if e.errno != errno.ESTALE:
                    raise
                return 0
            n = self._call("vh_queue_pop", room.reqs, limit)

    def complete(self, batch: Batch, written: "int | None" = 0) -> None:
        """Push a whole batch. Each of its requests has written that many bytes; ALL: as many as it has room for; None:
        what its `written` says."""
        if self._inside:
            raise self._busy()
        self._inside = True
        try:
            room = batch._room
            if room is None or room.queue is not self or room.pushed:
                return self._complete_rest(batch, written)
            if room.uniform != written:
                room.prepare(written)
            if self._exports:
                self._refuse_exported(room.tokens[:batch._n])
            if self._closed:
                raise self._gone()
            rc = push_batch(self._ptr, room.reqs, room.cpls, batch._n)
            if rc in _REFUSED:
                raise _error.last(rc)
            if room.touched:
                batch._done(room)
            else:  # as _done() does
                batch._room = None
                self._rooms.append(room)
            if rc:
                raise _error.last(rc)
        except AttributeError:
            if isinstance(batch, Batch):
                raise
            raise TypeError(f"a Batch is wanted, not {type(batch).__name__}; push() takes requests") from None
        finally:
            self._inside = False
            if self._closed:
                self._finish()

    def _complete_rest(self, batch: Batch, written: "int | None") -> None:
        rest = batch._rest()
        for request in rest:
            if written is not None:
                request.written = written
        self._push_some(rest)

    def push(self, what: "Batch | Request | Iterable[Request]") -> None:
        """Push a batch, a request or some of them, each with its own `written`."""
        if isinstance(what, Batch):
            return self.complete(what, None)
        self._begin()
        try:
            self._push_some([what] if isinstance(what, Request) else list(what))
        finally:
            self._finish()

    def _push_some(self, requests: "list[Request]") -> None:
        if not all(isinstance(r, Request) for r in requests):
            raise TypeError("a Batch, a Request or some of these are wanted")
        if any(r._room.queue is not self for r in requests):
            raise ValueError("a request of another queue")
        if not requests:
            return
        self._refuse_exported([r.token for r in requests])
        cpls = ffi.new("struct vh_cpl[]", [{"token": r.token, "written": r.written} for r in requests])
        try:
            self._call("vh_queue_push", cpls, len(requests))
        except _error.VhError as e:
            if -(e.errno or 0) not in _REFUSED:
                self._pushed(requests)
            raise
        self._pushed(requests)

    @staticmethod
    def _pushed(requests: "list[Request]") -> None:
        for r in requests:
            room, batch = r._room, r._batch
            room.pushed.add(r._index)
            if len(room.pushed) == batch._n:
                batch._done(room)

    def _export(self, snapshot: Snapshot, token: int, addr: int, length: int) -> memoryview:
        key = (token, next(_serials))
        view = snapshot._pin(addr, length, True, lambda: self._exports.discard(key))
        self._exports.add(key)
        return view

    def _refuse_exported(self, tokens: "Iterable[int]") -> None:
        if self._stale_ok or not self._exports:
            return
        held = {token for token, _ in list(self._exports)}
        if not held.isdisjoint(tokens):
            raise BufferError("a writable view of a request that is to be pushed is still around: release() it, or "
                              "take the queue with stale_views=\"allow\"")

    def unpop(self, batch: Batch) -> None:
        """Give a batch back, the last one that was popped, as if it had not been."""
        if not isinstance(batch, Batch):
            raise TypeError(f"a Batch is wanted, not {type(batch).__name__}")
        self._begin()
        try:
            room = batch._open()
            if room is not self._newest or room.pushed:
                raise ValueError("only the last batch can be given back, and only whole")
            self._refuse_exported(room.tokens[:batch._n])
            try:
                self._call("vh_queue_unpop", batch._n)
            except _error.VhError as e:
                if e.errno == errno.ESTALE:  # dropped
                    batch._done(room)
                raise
            batch._done(room)
        finally:
            self._finish()

    # The driver's side.

    def submit(self, requests: "Iterable[tuple[Sequence[Any], Sequence[Any], int]]") -> int:
        """Make requests available: (readable buffers, writable buffers, cookie), all buffers in the queue's memory.
        The number taken; fewer when the ring is full."""
        keep, rows = [], []
        for readable, writable, user in requests:
            buffers = [*(ffi.from_buffer(b) for b in readable),
                       *(ffi.from_buffer(b, require_writable=True) for b in writable)]
            segs = ffi.new("struct vh_seg[]", [{"addr": int(ffi.cast("uintptr_t", b)), "len": len(b)} for b in buffers])
            keep.append((buffers, segs))
            rows.append({"segs": int(ffi.cast("uintptr_t", segs)), "n_rd": len(readable), "n_wr": len(writable),
                         "user": user})
        return self._guarded("vh_queue_submit", ffi.new("struct vh_req[]", rows), len(rows))

    def reap(self, max: int = 64) -> "list[Completion]":  # pylint: disable=redefined-builtin
        """Requests that the device has done."""
        max = min(max, QUEUE_MAX_SIZE)
        cpls = ffi.new("struct vh_cpl[]", max)
        n = self._guarded("vh_queue_reap", cpls, max)
        return [Completion(c.token, c.written) for c in cpls[0:n]]

    # Waiting.

    def arm(self) -> bool:
        """Ask to be notified, before going to sleep on fileno(). True: there is work already, do not sleep."""
        return self._guarded("vh_queue_arm") == _model.QUEUE_MORE

    def look(self) -> bool:
        """Whether there is something to pop or reap; nothing is asked for."""
        return self._guarded("vh_queue_look") == _model.QUEUE_MORE

    def disarm(self) -> None:
        """Ask not to be notified while polling."""
        self._guarded("vh_queue_disarm")

    def fileno(self) -> int:
        """Readable when the queue wants attention; the same for the life of the queue."""
        return self._call("vh_queue_fd")

    def wait(self, timeout: "float | None" = None) -> bool:
        """Sleep until there may be something to pop or reap. False: the time passed."""
        return _aio.wait(self, timeout, self.arm)

    async def async_wait(self) -> None:
        """Sleep until there may be something to pop or reap."""
        while not self.arm():
            await _aio.readable(self)

    @property
    def state(self) -> "QueueState | int":
        return known(QueueState, self._call("vh_queue_state"))

    @property
    def stats(self) -> QueueStats:
        out = new_sized("vh_queue_stats")
        self._call("vh_queue_get_stats", out)
        return record(QueueStats, out)  # type: ignore[no-any-return]

    def set_coalescing(self, completions: int) -> None:
        """Device: call the driver once so many were completed, nothing is in flight any more, or at arm(). 0: at each push."""
        self._call("vh_queue_set_coalescing", completions)

    def doorbell(self) -> "int | None":
        """Driver without a kick fd: what to write to the device's doorbell. None: the device does not want to be told."""
        out = ffi.new("uint32_t *")
        return int(out[0]) if self._call("vh_queue_doorbell", out) else None

    def set_dirty(self, log: "Dirty | None", used: "int | None" = None) -> None:
        """Log what a stand-alone queue's device writes; used: the ring too, under that guest address. None: no more."""
        with pointer(log, Dirty) as ptr:
            self._call("vh_queue_set_dirty", ptr, 0 if used is None else _model.QUEUE_LOG_USED, used or 0)

    def set_iotlb(self, iotlb: "Iotlb | None") -> None:
        """The ring and descriptors of a stand-alone queue have I/O addresses, from its next start on. None: guest addresses."""
        give(self, "vh_queue_set_iotlb", iotlb)

    def mark(self, view: Any) -> None:
        """The device wrote into this piece of guest memory, and the length that it pushes does not tell."""
        buf = ffi.from_buffer(view)
        self._guarded("vh_queue_mark", int(ffi.cast("uintptr_t", buf)), len(buf))

    def snapshot(self) -> Snapshot:
        """The guest memory that its segments point into."""
        return take_snapshot(self, "vh_queue_dup_snapshot")

    def start(self) -> None:
        """Start a stand-alone queue that was opened with hold=True, or stopped."""
        self._guarded("vh_queue_start")

    def set_inflight(self, records: "Inflight | None") -> None:
        """Keep records of what is in flight, from the next start on; what they say was in flight is popped first, with
        REQ_RESUBMITTED. None: no records. For a stand-alone queue that stands."""
        lent = (ffi.NULL, -1) if records is None else records._lent()
        self._guarded("vh_queue_set_inflight", *lent)

    def stop(self) -> int:
        """Stop a stand-alone queue; index of the first request that was not taken."""
        out = ffi.new("uint32_t *")
        self._guarded("vh_queue_stop", out)
        return int(out[0])

    def _about(self) -> str:
        return f" {self.index}"


