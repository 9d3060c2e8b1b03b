# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Failures of the library as exceptions, and exceptions of callbacks on their way through it."""
import errno
import os
import threading
from traceback import format_exception
from typing import Any, Callable

from vh import _lib, _model
from vh._lib import ffi, lib, text


class VhError(OSError):
    """A call that failed. errno says what, strerror who did what and what to try.

    It is also a ConnectionResetError, a TimeoutError and so on, when errno is of that kind.
    """

    domain: "_model.ErrorDomain | None" = None  # who refused
    queue: "int | None" = None  # index of the queue concerned
    request: "int | None" = None  # id of the vhost-user message concerned
    site: int = 0  # number of the check that refused, 0 = none

    def __reduce__(self) -> "tuple[Any, ...]":
        """To be copied, and sent to other processes: the class of some is made at run time."""
        return make, (self.errno, self.strerror), self.__dict__

    @property
    def name(self) -> str:
        """Such as "EPROTO"; also of values that only the kernel knows."""
        return error_name(self.errno or 0)


def error_name(code: int) -> str:
    """Symbolic name of an errno value of either sign."""
    return text(lib.vh_error_name(code))


_kinds: "dict[type[OSError], type[VhError]]" = {}


def make(code: int, what: str) -> VhError:
    """An error that the built-in exceptions for its errno catch as well."""
    builtin = type(OSError(abs(code), ""))
    if builtin is OSError:
        return VhError(abs(code), what)
    if builtin not in _kinds:
        _kinds[builtin] = type(f"Vh{builtin.__name__}", (VhError, builtin), {"__doc__": "VhError as well."})
    return _kinds[builtin](abs(code), what)


def last(code: int) -> BaseException:
    """The failure that this thread's last call told as code."""
    if state.exiting:  # of a daemon thread: what it works on goes away under it
        return SystemExit()
    e = ffi.new("struct vh_error *")
    e.size = ffi.sizeof(e[0])
    if lib.vh_error_get(e) or e.code != code:
        return make(code, os.strerror(abs(code)))
    error = make(code, ffi.string(e.text).decode("utf-8", "replace"))
    error.domain = _model.ErrorDomain(e.domain) if e.domain in list(_model.ErrorDomain) else None
    error.queue = None if e.queue == _model.ERROR_NONE else e.queue
    error.request = None if e.request == _model.ERROR_NONE else e.request
    error.site = e.site
    return error


def check(rc: int) -> int:
    if rc < 0:
        raise last(rc)
    return rc


class _State(threading.local):
    """What callbacks of the calls in progress on this thread raised first."""

    raised: "BaseException | None" = None
    exiting = False  # for all threads: set on the class


state = _State()


def raised(_kind: Any, value: BaseException, traceback: Any) -> int:
    """cffi calls this for an exception that a callback let through; the result goes to the library."""
    value = value.with_traceback(traceback)
    first = state.raised
    if first is None or isinstance(first, Exception) and not isinstance(value, Exception):  # such as KeyboardInterrupt
        state.raised, value.__context__ = value, first
    else:  # one call raises one exception
        first.add_note("Then, in the same call: " + "".join(format_exception(value)).rstrip())
    code = getattr(value, "errno", None) if isinstance(value, OSError) else None
    return -code if isinstance(code, int) and 0 < code < 4096 else -errno.ECANCELED


def raised_void(kind: Any, value: BaseException, traceback: Any) -> None:
    raised(kind, value, traceback)


def bind(name: str, function: "Callable[..., Any]", void: bool = False) -> None:
    """Make function what the library calls as name."""

    def called(*args: Any) -> Any:
        # What an earlier callback raised is for the call that both are in, not for those which this one makes.
        earlier, state.raised = state.raised, None
        try:
            return function(*args)
        finally:
            if earlier is not None:
                state.raised = earlier

    _lib.bind(name, called, raised_void if void else raised)


def reraise() -> None:
    """After a call that may have run callbacks: raise what one of them raised, the same object."""
    value = state.raised
    if value is not None:
        state.raised = None
        raise value
