# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""What all handles have in common: how they end, who may use them, and in which order things are freed.

Each handle counts its uses: calls in progress, children (a queue of a slave, a session of a master), views of memory.
It is freed when it is closed and the last use ends, whatever the order in which the objects die.
"""
import atexit
import contextlib
import errno
import os
import sys
import threading
import time
import warnings
import weakref
from types import TracebackType
from typing import Any, Callable, ClassVar, Iterator, TypeVar

from vh import _cdef, _error
from vh._lib import ffi, lib

Self = TypeVar("Self", bound="Handle")
CLOSE_GRACE_S = 1.0  # how long close() waits for other threads to come out of the library
EXIT_GRACE_S = 2.0  # and the end of the interpreter

_live: "weakref.WeakSet[Handle]" = weakref.WeakSet()


class Handle:
    """An object of the library. Closing it twice is fine; using it after that raises VhError with EBADF."""

    _free: "ClassVar[str | None]" = None  # what frees it; None: it is borrowed from its parent
    _leaks: "ClassVar[bool]" = False  # it holds a connection: not closing it is worth a warning

    _ptr: Any = None
    _closed = True
    _ended = True  # nothing of it is left in the library
    _why = "was never made: its __init__() did not run to the end"
    _parent: "Handle | None" = None

    def _adopt(self, ptr: Any, parent: "Handle | None" = None) -> None:
        """Become the handle at ptr. Of a parent (which the caller is using) it is one more use."""
        self._ptr = ptr
        self._why = "is closed"
        self._uses = 0
        self._mutex = threading.RLock()  # of these few members; the collector may come back here at any time
        self._serial: Any = parent._serial if parent else threading.RLock()
        self._children: "weakref.WeakSet[Handle]" = weakref.WeakSet()
        if parent:
            parent._enter()
            parent._children.add(self)
            self._parent = parent
        self._sleepers: "set[Callable[[], None]]" = set()  # what wakes the asyncio tasks that wait on its fd
        self._closed = self._ended = False
        _live.add(self)

    def _enter(self) -> Any:
        """Begin a use; the pointer."""
        if self._closed:
            raise self._gone()
        with self._mutex:
            if not self._closed:
                self._uses += 1
                return self._ptr
        raise self._gone()

    def _leave(self) -> None:
        """End a use."""
        with self._mutex:
            self._uses -= 1
            last = self._closed and not self._uses
        if last:
            self._end()

    def _end(self) -> None:
        ptr, self._ptr = self._ptr, None
        if ptr is None:
            return
        if self._free:
            getattr(lib, self._free)(ptr)
        self._ended = True
        parent, self._parent = self._parent, None
        try:
            if parent:
                parent._leave()
        finally:
            _error.reraise()

    def _gone(self) -> BaseException:
        if _error.state.exiting:
            return SystemExit()
        return _error.make(errno.EBADF, f"this {type(self).__name__} {self._why}")

    def _call(self, name: str, *args: Any) -> int:
        """A call with this handle as first argument. Those of one handle wait for each other where the header says
        @thread: handle."""
        p = self._enter()
        try:
            if _cdef.THREAD[name] == "handle":
                with self._serial:
                    rc = getattr(lib, name)(p, *args)
            else:
                rc = getattr(lib, name)(p, *args)
            _error.reraise()
            return _error.check(rc)
        finally:
            self._leave()

    def _interrupt(self, ptr: Any) -> None:
        """Make calls that wait on other threads come back; the handle is marked as closed already."""

    def _forked(self) -> None:
        """In a child process: forget the locks that another thread of the parent may have held."""
        self._mutex, self._serial = threading.RLock(), threading.RLock()

    def close(self) -> None:
        """Close it, and before it everything that was made from it. Memory that views show stays until they are gone.

        A thread that is in a call of a connection is waited for, a second at most: the end comes when the call returns.
        Inside of a callback it comes when the outermost call returns.
        """
        if self._closed:
            return
        with contextlib.ExitStack() as order:  # to the end, also when what closing runs raises something
            order.callback(self._close)
            for child in _members(self._children):
                order.callback(child.close)

    def _close(self) -> None:
        with self._mutex:
            if self._closed:
                return
            self._closed = True
            self._uses += 1
            busy = self._uses > 1
        for wake in list(self._sleepers):
            wake()
        try:
            if busy:
                self._interrupt(self._ptr)
        finally:
            self._leave()
        if self._leaks and not self._serial._is_owned():  # by this thread: then it is in a callback
            _settle([self], CLOSE_GRACE_S)

    @property
    def closed(self) -> bool:
        return self._closed

    def __enter__(self: Self) -> Self:
        if self._closed:
            raise self._gone()
        return self

    def __exit__(self, kind: "type[BaseException] | None", value: "BaseException | None",
                 traceback: "TracebackType | None") -> None:
        self.close()

    def __del__(self) -> None:
        if self._closed:
            return
        if self._leaks and not _error.state.exiting:
            warnings.warn(f"unclosed {self!r}", ResourceWarning, source=self)
        with self._mutex:
            self._closed = True
            idle = not self._uses
        if idle:
            self._end()

    def _about(self) -> str:
        return ""

    def __repr__(self) -> str:
        return f"<vh.{type(self).__name__}{' closed' if self._closed else self._about()}>"


def expect(handle: Any, kind: "type[Self]") -> Self:
    """That handle, if it is of that kind."""
    if not isinstance(handle, kind):
        raise TypeError(f"a {kind.__name__} is wanted, not {type(handle).__name__}")
    return handle


def create(name: str, struct: str, *args: Any) -> Any:
    """The handle that a constructor of the library gives out; what its callbacks raised comes before its failure."""
    out = ffi.new(f"struct {struct} **")
    rc = getattr(lib, name)(*args, out)
    try:
        _error.reraise()
    except BaseException:
        if not rc:
            getattr(lib, f"{struct}_free")(out[0])
        raise
    _error.check(rc)
    return out[0]


def listed(call: "Callable[[Any, int], int]", struct: str, first: int = 16) -> "Iterator[Any]":
    """The elements that a call of the shape (array, max) -> how many there are gives out."""
    while True:
        array = ffi.new(f"struct {struct}[]", first)
        n = call(array, first)
        if n <= first:
            return iter(array[0:n])
        first = n


def _members(handles: "weakref.WeakSet[Handle]") -> "list[Handle]":
    while True:
        try:
            return list(handles)
        except RuntimeError:  # another thread made a handle meanwhile
            pass


def _settle(handles: "list[Handle]", seconds: float) -> None:
    """Wait until all of them are over."""
    end = time.monotonic() + seconds
    while any(not h._ended for h in handles) and time.monotonic() < end:
        time.sleep(0.001)


@atexit.register
def _at_exit() -> None:
    """Free everything while Python callbacks can still run. A thread in the library is waited for, not for ever."""
    type(_error.state).exiting = True
    handles = _members(_live)
    for handle in handles:
        try:
            handle.close()
        except BaseException:  # pylint: disable=broad-except
            sys.excepthook(*sys.exc_info())
    _settle([h for h in handles if h._leaks], EXIT_GRACE_S)


def _after_fork() -> None:
    """A child process has the parent's connections and rings in its memory, but they are not its own."""
    _error.state.raised = None
    for handle in _members(_live):
        handle._closed = handle._ended = True
        handle._why, handle._ptr = "was made before fork(); make one in this process", None
        handle._forked()


os.register_at_fork(after_in_child=_after_fork)


@contextlib.contextmanager
def pointer(handle: Any, kind: "type[Handle]") -> "Iterator[Any]":
    """Of a handle of that kind, while it is used; NULL for None."""
    if handle is None:
        yield ffi.NULL
        return
    ptr = expect(handle, kind)._enter()
    try:
        yield ptr
    finally:
        handle._leave()
