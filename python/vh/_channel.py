# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""What a back-end asks its front-end, by message: the calls of a slave, and what answers them at a master."""
import dataclasses
import errno
from typing import Any, Callable, Sequence

from vh import _error
from vh._byhand import ByHand
from vh._event import target
from vh._lib import fd_of, ffi, new_sized, record
from vh._model import FsRange


@dataclasses.dataclass(frozen=True)
class ShmemMap:
    """A part of a file in a region of a device's shared memory. flags: 0 or SHMEM_WRITABLE."""

    shmid: int
    shm_offset: int
    len: int
    fd_offset: int = 0
    flags: int = 0


class AnswerLater:
    """The answer to a request that can't be given yet: return it from the method, and answer() it once."""

    def __init__(self, master: ByHand, token: int):
        self._master, self._token = master, token

    def answer(self, rc: int = 0) -> None:
        """0, or a negative errno value to refuse."""
        self._master.answer(self._token, rc)

    def answer_object(self, fd: Any) -> None:
        """The object that was wanted; it stays yours."""
        self._master.answer(self._token, 0, bytes(8), [fd])


class BackendHandler:
    """What a Master does for its back-end. Derive from it: what a class defines is negotiated, and asked.

    A method that refuses returns a negative errno value, one that grants None, one that can't say yet its later. File
    descriptors are closed after the call: os.dup() those to keep.
    """

    def shmem_map(self, part: ShmemMap, fd: int, later: AnswerLater) -> "int | AnswerLater | None":
        """Map a part of a file into the device's shared memory; the place exists and is free. With shmem_unmap()."""

    def shmem_unmap(self, part: ShmemMap, later: AnswerLater) -> "int | AnswerLater | None":
        """Undo one mapping, just as it was made. EventKind.SHMEM_RESET: undo all of them."""

    def host_notifier(self, queue: int, fd: "int | None", offset: int, length: int,
                      later: AnswerLater) -> "int | AnswerLater | None":
        """A queue's doorbell is a page that the guest may be given; None: not any more."""

    def object_added(self, uuid: bytes, later: AnswerLater) -> "int | AnswerLater | None":
        """The device has an object, which Master.get_shared_object() gives. With the two below."""

    def object_removed(self, uuid: bytes, later: AnswerLater) -> "int | AnswerLater | None":
        """The device has it no more."""

    def object_wanted(self, uuid: bytes, later: AnswerLater) -> Any:
        """The device wants an object of another one: a file or its descriptor, which stays yours."""
        return -errno.ENOENT

    def fs_request(self, op: int, ranges: "list[FsRange]", fd: "int | None",
                   later: AnswerLater) -> "int | AnswerLater | None":
        """What a virtio-fs device wants of its cache, in a dialect that has such requests: FS_MAP, FS_UNMAP, FS_SYNC, FS_IO."""

    def _members(self) -> "dict[str, str]":
        """The callbacks that this class defines."""
        return {name: f"vhpy_master_{name}" for name in _NAMES
                if getattr(type(self), name) is not getattr(BackendHandler, name)}


class Asking(ByHand):
    """The requests of a vhost-user back-end, one method for each message. Each gives a ticket: finish() or reply_to()
    say what came of it."""

    def _ask(self, name: str, *args: Any) -> int:
        ticket = ffi.new("uint64_t *")
        self._call(name, *args, ticket)
        return int(ticket[0])

    def set_host_notifier(self, queue: int, fd: Any, offset: int = 0, length: int = 0) -> int:
        """Let the guest reach a queue's doorbell itself: one page of a file; None takes it back."""
        return self._ask("vh_slave_set_host_notifier", queue, fd_of(fd), offset, length)

    def object_add(self, uuid: Any) -> int:
        """The device has an object that other devices may ask for."""
        return self._ask("vh_slave_object_add", ffi.from_buffer(uuid), len(uuid))

    def object_remove(self, uuid: Any) -> int:
        """It has it no more."""
        return self._ask("vh_slave_object_remove", ffi.from_buffer(uuid), len(uuid))

    def object_lookup(self, uuid: Any) -> int:
        """Ask for an object of another device: Reply.fds."""
        return self._ask("vh_slave_object_lookup", ffi.from_buffer(uuid), len(uuid))

    def shmem_map(self, part: ShmemMap, fd: Any) -> int:
        """Show the driver a part of a file in the device's shared memory."""
        return self._ask("vh_slave_shmem_map", _struct(part), fd_of(fd))

    def shmem_unmap(self, part: ShmemMap) -> int:
        """Take it away: shmid, shm_offset and len of just one mapping."""
        return self._ask("vh_slave_shmem_unmap", _struct(part))

    def fs_request(self, op: int, ranges: "Sequence[FsRange]", fd: Any = None) -> int:
        """What a virtio-fs device wants of its cache, in a dialect that has such requests: FS_MAP and FS_IO with a file,
        FS_UNMAP and FS_SYNC."""
        array = ffi.new("struct vh_fs_range[]", [dataclasses.asdict(r) for r in ranges] or 1)
        return self._ask("vh_slave_fs_request", op, array, len(ranges), fd_of(fd))


def _struct(part: ShmemMap) -> Any:
    return new_sized("vh_shmem_map", **dataclasses.asdict(part))


def _part(p: Any) -> ShmemMap:
    return ShmemMap(p.shmid, p.shm_offset, p.len, p.fd_offset, p.flags)


def _asked(name: str, ctx: Any, token: int, *args: Any) -> Any:
    """What the handler says, None when the master is gone."""
    master = target(ctx)()
    if master is None:
        return -errno.EOPNOTSUPP
    result = getattr(master._handler, name)(*args, AnswerLater(master, token))
    return -errno.EINPROGRESS if isinstance(result, AnswerLater) else result


def _status(name: str, *args: Any) -> int:
    result = _asked(name, *args)
    if not isinstance(result, (int, type(None))):
        raise TypeError(f"{name}() returned {type(result).__name__}; it can be None, an int or its later")
    return int(result or 0)


def _uuid(p: Any, length: int) -> bytes:
    return ffi.buffer(ffi.cast("char *", p), length)[:]  # type: ignore[no-any-return]


def _shmem_map(ctx: Any, part: Any, fd: int, token: int) -> int:
    return _status("shmem_map", ctx, token, _part(part), fd)


def _shmem_unmap(ctx: Any, part: Any, token: int) -> int:
    return _status("shmem_unmap", ctx, token, _part(part))


def _host_notifier(ctx: Any, queue: int, fd: int, offset: int, length: int, token: int) -> int:
    return _status("host_notifier", ctx, token, queue, None if fd < 0 else fd, offset, length)


def _object_added(ctx: Any, uuid: Any, length: int, token: int) -> int:
    return _status("object_added", ctx, token, _uuid(uuid, length))


def _object_removed(ctx: Any, uuid: Any, length: int, token: int) -> int:
    return _status("object_removed", ctx, token, _uuid(uuid, length))


def _object_wanted(ctx: Any, uuid: Any, length: int, token: int) -> int:
    result = _asked("object_wanted", ctx, token, _uuid(uuid, length))
    return -errno.ENOENT if result is None else fd_of(result)


def _fs_request(ctx: Any, op: int, ranges: Any, n: int, fd: int, token: int) -> int:
    return _status("fs_request", ctx, token, op, [record(FsRange, ranges[i]) for i in range(n)], None if fd < 0 else fd)


_functions: "tuple[Callable[..., Any], ...]" = (_shmem_map, _shmem_unmap, _host_notifier, _object_added, _object_removed,
                                                _object_wanted, _fs_request)
_NAMES = [function.__name__[1:] for function in _functions]
for _function in _functions:
    _error.bind(f"vhpy_master_{_function.__name__[1:]}", _function)
