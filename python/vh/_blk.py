# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Block requests: whole reads and writes that wait, batches that don't, and both for asyncio."""
import asyncio
import collections
import contextlib
import errno
import itertools
import threading
import time
from typing import Any, Iterable, Iterator, NamedTuple, TypeVar

from vh import _aio, _error, _model
from vh._lib import ffi, new_sized, record
from vh._model import BLK_ID_SIZE, BlkInfo, BlkOp
from vh._session import OverSession, Where

CHUNK = 1 << 20  # bytes in one request of read() and write(), at most
OWN = 1 << 63  # in a cookie: of a request of read(), write() and so on
Buffer = TypeVar("Buffer")


class BlkIo(NamedTuple):
    """One request. The buffer lies in memory of alloc(); for discard and write-zeroes length says how much."""

    op: int
    offset: int = 0
    buffer: Any = None
    user: int = 0
    length: int = 0
    flags: int = 0


class BlkDone(NamedTuple):
    """The end of one request: its cookie, and 0 or a negative errno value."""

    user: int
    rc: int


class Blk(OverSession):
    """A block device to read and write: at "unix:/path", behind a Master, or in a Driver session of your own.

    timeout: seconds for each answer to a message, and for each request of read(), write() and so on; None = a request may take
    as long as it likes. After one that took longer, the end of the session is that of a Master's connection too."""

    _free = "vh_blk_free"

    def __init__(self, where: Where, *, n_queues: int = 0, queue_size: int = 0, timeout: "float | None" = None):
        self._gates: "list[Any]" = []
        self._timeout = timeout
        self._open(where, "vh_blk_new", timeout, type=_model.TYPE_BLK, n_queues=n_queues, queue_size=queue_size)
        self._bounce: "memoryview | None" = None
        self._lent = False  # a request of read(), write() and so on is on its way
        self._cookies = itertools.count(OWN)
        info = self.info
        self._step = min(CHUNK, info.max_bytes)
        n = info.n_queues
        self._gates = [threading.RLock() for _ in range(n)]
        self._others: "list[collections.deque[BlkDone]]" = [collections.deque() for _ in range(n)]

    def _forked(self) -> None:
        super()._forked()
        self._gates = [threading.RLock() for _ in self._gates]

    def _gate(self, queue: int) -> Any:
        if not 0 <= queue < len(self._gates):
            raise _error.make(errno.EINVAL, f"queue {queue} of {len(self._gates)}; count from 0")
        if not self._gates[queue].acquire(False):
            raise _error.make(errno.EBUSY, f"another thread is in a call of queue {queue}; one at a time may drive it")
        return self._gates[queue]

    @property
    def info(self) -> BlkInfo:
        """Capacity, block size, limits."""
        out = new_sized("vh_blk_info")
        self._call("vh_blk_get_info", out)
        return record(BlkInfo, out)  # type: ignore[no-any-return]

    @property
    def capacity(self) -> int:
        """In bytes."""
        return self.info.capacity

    def alloc(self, length: int) -> memoryview:
        """Memory that the device reaches without a copy."""
        return self._driver.alloc(length)

    # Batches.

    def submit(self, ios: "Iterable[BlkIo]", queue: int = 0) -> int:
        """Start requests; the number taken, fewer when the ring is full."""
        rows = [self._row(BlkIo(*io)) for io in ios]
        gate = self._gate(queue)
        try:
            return self._submit(rows, queue)
        finally:
            gate.release()

    @staticmethod
    def _row(io: BlkIo) -> "dict[str, int]":
        row = {"op": io.op, "flags": io.flags, "offset": io.offset, "len": io.length, "user": io.user}
        if io.buffer is not None:
            data = ffi.from_buffer(io.buffer, require_writable=io.op in (BlkOp.READ, BlkOp.GET_ID))
            row.update(addr=int(ffi.cast("uintptr_t", data)), len=len(data))
        return row

    def _submit(self, rows: "list[dict[str, int]]", queue: int) -> int:
        return self._call("vh_blk_submit", queue, ffi.new("struct vh_blk_io[]", rows), len(rows))

    def reap(self, max: int = 64, queue: int = 0) -> "list[BlkDone]":  # pylint: disable=redefined-builtin
        """Requests that ended."""
        gate = self._gate(queue)
        try:
            self._collect(max, queue)
            waiting = self._others[queue]
            return [waiting.popleft() for _ in range(min(max, len(waiting)))]
        finally:
            gate.release()

    def _collect(self, limit: int, queue: int, mine: int = 0) -> "int | None":
        """Take what ended; the result of that request of our own, None if it has not. Others of submit() are kept for
        reap(), and forgotten if they are of a read or write that was interrupted."""
        limit = min(limit, _model.QUEUE_MAX_SIZE)
        done, result = ffi.new("struct vh_blk_done[]", limit), None
        for d in done[0:self._call("vh_blk_reap", queue, done, limit)]:
            if mine and d.user == mine:
                result = d.rc
            elif d.user < OWN:
                self._others[queue].append(BlkDone(d.user, d.rc))
        return result

    def wait(self, timeout: "float | None" = None, queue: int = 0) -> bool:
        """Sleep until reap() has something. False: the time passed. The back-end's connection is served meanwhile."""
        gate = self._gate(queue)
        try:
            return bool(self._others[queue]) or self._sleep(timeout, queue)
        finally:
            gate.release()

    def _sleep(self, timeout: "float | None", queue: int) -> bool:
        return self._sleeping(timeout, "vh_blk_wait", queue)

    # One request, waited for.

    def _do(self, op: int, offset: int, buffer: Any = None, length: int = 0, flags: int = 0) -> None:
        user = next(self._cookies)
        row = self._row(BlkIo(op, offset, buffer, user, length, flags))
        gate, end = self._gate(0), _aio.deadline(self._timeout)
        try:
            self._lent = True
            while not self._start(row):
                self._await(end, op, offset)
                self._collect(64, 0)
            result = self._collect(64, 0, user)
            while result is None:
                self._await(end, op, offset)
                result = self._collect(64, 0, user)
            self._lent = False
        finally:
            gate.release()
        if result:
            raise _error.make(result, f"the device failed {BlkOp(op).name} at {offset}: {_error.error_name(result)}")

    def _await(self, end: "float | None", op: int, offset: int) -> None:
        """Something that ended, or time that is over: the device keeps the request then, and its memory."""
        if not self._sleep(None if end is None else max(0.0, end - time.monotonic()), 0):
            self._driver._stuck = True
            raise _error.make(errno.ETIMEDOUT, f"the device has not done {BlkOp(op).name} at {offset} within {self._timeout:g} s; "
                              "vhctl state tells what it has in flight")

    def _start(self, row: "dict[str, int]") -> int:
        try:
            return self._submit([row], 0)
        except Exception:  # refused: the device has nothing of it
            self._lent = False
            raise

    def _whole(self, offset: int, length: int) -> None:
        """Of several requests none is made when one can't be; a single one is the library's to check."""
        if offset < 0 or length < 0:
            raise ValueError(f"{length} bytes at {offset}: neither is negative")
        if length > self._step and offset + length > self.capacity:
            raise _error.make(errno.ERANGE, f"{length} bytes at {offset} go past the end of the device at {self.capacity}")

    def _chunks(self, op: int, offset: int, data: Any) -> None:
        """Read into or write from any buffer, through memory of the session."""
        view = memoryview(data).cast("B")
        self._whole(offset, len(view))
        with self._bouncing() as bounce:
            for start in range(0, len(view), self._step):
                part = view[start:start + self._step]
                if op == BlkOp.WRITE:
                    bounce[:len(part)] = part
                self._do(op, offset + start, bounce[:len(part)])
                if op == BlkOp.READ:
                    part[:] = bounce[:len(part)]

    @contextlib.contextmanager
    def _bouncing(self) -> "Iterator[memoryview]":
        """Memory of the session for one call. One that was interrupted leaves it to the device, which may write to it
        yet."""
        gate = self._gate(0)
        try:
            bounce, self._bounce, self._lent = self._bounce or self.alloc(self._step), None, False
            try:
                yield bounce
            finally:
                if not self._lent:
                    self._bounce = bounce
        finally:
            gate.release()

    def read(self, offset: int, length: int) -> bytes:
        """Bytes from an offset on."""
        self._whole(offset, length)
        return bytes(self.readinto(offset, bytearray(length)))

    def readinto(self, offset: int, buffer: Buffer) -> Buffer:
        """Fill a buffer, a numpy array for one, from an offset on; the same buffer."""
        self._chunks(BlkOp.READ, offset, buffer)
        return buffer

    def write(self, offset: int, data: Any) -> None:
        """Write anything with the buffer protocol at an offset."""
        self._chunks(BlkOp.WRITE, offset, data)

    def flush(self) -> None:
        """Have everything written on stable storage."""
        self._do(BlkOp.FLUSH, 0)

    def discard(self, offset: int, length: int) -> None:
        self._do(BlkOp.DISCARD, offset, length=length)

    def write_zeroes(self, offset: int, length: int, *, unmap: bool = False) -> None:
        self._do(BlkOp.WRITE_ZEROES, offset, length=length, flags=_model.BLK_UNMAP if unmap else 0)

    def get_id(self) -> str:
        """The serial of the device."""
        with self._bouncing() as bounce:
            self._do(BlkOp.GET_ID, 0, bounce[:BLK_ID_SIZE])
            found = bytes(bounce[:BLK_ID_SIZE])
        return found.rstrip(b"\0").decode("utf-8", "replace")

    async def async_reap(self, max: int = 64, queue: int = 0) -> "list[BlkDone]":  # pylint: disable=redefined-builtin
        """Requests that ended, at least one; an asyncio task sleeps meanwhile."""
        ring = self._driver.queue(queue)
        while True:
            done = self.reap(max, queue)
            if done:
                return done
            if ring.arm():
                continue
            await _aio.first(ring, self._driver)
            while self._driver.dispatch():
                await asyncio.sleep(0)

    async def async_io(self, io: BlkIo, queue: int = 0) -> BlkDone:
        """One request; only for a queue that nothing else uses."""
        while not self.submit([io], queue):
            await asyncio.sleep(0)
        return (await self.async_reap(1, queue))[0]
