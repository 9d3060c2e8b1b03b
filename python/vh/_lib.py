# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""The C library, in one of two ways: compiled declarations (vh._cffi), or dlopen and the same declarations at run time.

Users get the first. VH_PYTHON_MODE=abi chooses the second, which needs no compiler; VH_PYTHON_LIBRARY names its
library.
"""
import importlib
import os
from typing import Any, Callable

from vh import _cdef, _model

MODE = os.environ.get("VH_PYTHON_MODE", "api")
BUNDLED = os.path.join(os.path.dirname(__file__), "libvh.so.1")

ffi: Any
lib: Any
push_batch: Any  # vh_queue_push() of what was popped: (queue, requests, completions without tokens, n)
callbacks: dict[str, Any] = {}  # name in C -> what goes into an ops struct
_bind: Callable[..., Any]

if MODE == "abi":
    import cffi

    ffi = cffi.FFI()
    ffi.cdef(_cdef.CDEF)
    lib = ffi.dlopen(os.environ.get("VH_PYTHON_LIBRARY") or (BUNDLED if os.path.exists(BUNDLED) else "libvh.so.1"))
    # cffi looks names up under a lock that the collector, in the middle of it, must not want again.
    for _name in _cdef.THREAD:
        getattr(lib, _name)

    def push_batch(ptr: Any, reqs: Any, cpls: Any, n: int) -> int:
        for i in range(n):
            cpls[i].token = reqs[i].token
        return int(lib.vh_queue_push(ptr, cpls, n))

    def _bind(name: str, function: Callable[..., Any], onerror: Callable[..., Any]) -> Any:
        return ffi.callback(_cdef.CALLBACK_TYPES[name], function, onerror=onerror)

elif MODE == "api":
    _cffi: Any = importlib.import_module("vh._cffi")
    ffi, lib = _cffi.ffi, _cffi.lib
    push_batch = lib.vhpy_push

    def _bind(name: str, function: Callable[..., Any], onerror: Callable[..., Any]) -> Any:
        ffi.def_extern(name=name, onerror=onerror)(function)
        return getattr(lib, name)

else:
    raise ImportError(f"VH_PYTHON_MODE is {MODE!r}; it can be api (the default) or abi")


def version() -> "tuple[int, int, int]":
    """Of the library that is loaded."""
    number = lib.vh_version()
    return number >> 16, number >> 8 & 0xFF, number & 0xFF


def _check_version(found: "tuple[int, int, int]") -> None:
    """Before 1.0 each minor version may have other structs. Since then the soname says it."""
    if _model.VERSION_MAJOR == 0 and found[:2] != (0, _model.VERSION_MINOR):
        raise ImportError(f"vh is made for libvh {_model.__version__}, and the library that is loaded is "
                          f"{'.'.join(map(str, found))}; until 1.0 these must go together: install the package of "
                          "that version, or set LD_LIBRARY_PATH (VH_PYTHON_LIBRARY with VH_PYTHON_MODE=abi)")


_check_version(version())


def bind(name: str, function: Callable[..., Any], onerror: Callable[..., Any]) -> None:
    """Make function what the library calls as name."""
    callbacks[name] = _bind(name, function, onerror)


def new_sized(struct: str, **values: Any) -> Any:
    """A zeroed size-first struct with these members."""
    p = ffi.new(f"struct {struct} *", values)
    p.size = ffi.sizeof(p[0])
    return p


def new_ops(struct: str, members: dict[str, str], **values: Any) -> Any:
    """An ops struct whose callbacks are those, by name of the member."""
    return new_sized(struct, **values, **{member: callbacks[name] for member, name in members.items()})


def text(p: Any) -> str:
    """A static string of the library; "" for NULL."""
    return "" if p == ffi.NULL else str(ffi.string(p), "utf-8", "replace")


def copied(addr: int, length: int) -> bytes:
    """Bytes that the library shows for the time of a call."""
    return bytes(ffi.buffer(ffi.cast("char *", addr), length)) if length else b""


def record(cls: Any, struct: Any) -> Any:
    """A struct as the dataclass of the same members."""
    return cls(**{name: getattr(struct, name) for name in cls.__dataclass_fields__})


def path_bytes(path: "str | bytes | os.PathLike[str]") -> bytes:
    raw = os.fsencode(path)
    if b"\0" in raw:
        raise ValueError("a socket path with a NUL byte in it")
    return raw


def fd_of(fd: Any) -> int:
    """A file descriptor, or that of an object which has one; -1 for None."""
    if fd is None:
        return -1
    number = fd if isinstance(fd, int) else getattr(fd, "fileno", lambda: None)()
    if not isinstance(number, int):
        raise TypeError(f"a file descriptor is wanted, not {type(fd).__name__}")
    return number


def milliseconds(seconds: "float | None") -> int:
    """For an option whose 0 is the default: None is the default, and no time at all is the shortest that there is."""
    if seconds is None:
        return 0
    if not seconds >= 0:
        raise ValueError(f"a time of {seconds} seconds")
    return max(1, int(min(seconds * 1000, 0x7FFFFFFF)))


def microseconds(seconds: float) -> int:
    """For an option whose largest value is for ever."""
    if not seconds >= 0:
        raise ValueError(f"a time of {seconds} seconds")
    return int(min(seconds * 1000000, 0xFFFFFFFF))
