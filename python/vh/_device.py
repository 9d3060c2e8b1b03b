# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Devices: built in ones in C, and Python classes."""
import dataclasses
import errno
import os
import weakref
from typing import Any, Callable, Mapping

from vh import _error, _event, _model
from vh._event import target
from vh._handle import Handle, create
from vh._lib import copied, fd_of, ffi, new_ops, new_sized
from vh._model import (BLK_ID_SIZE, BLKDEV_FILE, BLKDEV_NO_URING, BLKDEV_NULL, BLKDEV_RAM, BLKDEV_READONLY, CONFIG_MAX,
                       DEVICE_MANUAL_QUEUES, DEVICE_NO_REPEAT)
from vh._queue import Queue


class Later:
    """The answer to a callback that can't be given yet: return it from the callback, and finish() it once."""

    def __init__(self, device: "Device", token: int):
        self._device, self._token = device, token

    def finish(self, rc: int = 0) -> None:
        """0, or a negative errno value. VhError with ESTALE when nobody waits for it any more."""
        self._device._call("vh_device_finish", self._token, rc)

    def reply(self, data: Any = b"", fd: Any = None) -> None:
        """The answer of a callback that has one: config space, state, or (as 8 bytes) the number of a crypto session."""
        buf = ffi.from_buffer(data)
        self._device._call("vh_device_reply", self._token, buf, len(buf), fd_of(fd))


@dataclasses.dataclass(frozen=True)
class CryptoSession:
    """Parameters of a crypto session (virtio 1.2 section 5.9.7.2); op_code 0x404 is an asymmetric one."""

    op_code: int = 0
    algo: int = 0
    key: bytes = b""
    auth_key: bytes = b""
    hash_alg: int = 0
    hash_result_len: int = 0
    add_len: int = 0
    op_type: int = 0
    direction: int = 0
    hash_mode: int = 0
    alg_chain_order: int = 0
    key_type: int = 0
    rsa_padding_algo: int = 0
    rsa_hash_algo: int = 0

    @classmethod
    def _shown(cls, p: Any) -> "CryptoSession":
        """What the library shows for the time of a call."""
        numbers = {name: getattr(p, name) for name in cls.__dataclass_fields__ if name not in ("key", "auth_key")}
        return cls(key=copied(p.key, p.key_len), auth_key=copied(p.auth_key, p.auth_key_len), **numbers)

    def _lent(self) -> "tuple[Any, ...]":
        """As a struct, and what it points to."""
        keys = {name: ffi.from_buffer(getattr(self, name)) for name in ("key", "auth_key")}
        values = {name: getattr(self, name) for name in self.__dataclass_fields__ if name not in keys}
        for name, buf in keys.items():
            values |= {name: int(ffi.cast("uintptr_t", buf)), name + "_len": len(buf)}
        return new_sized("vh_crypto_session", **values), keys


class Device(Handle):
    """What answers requests. Derive from it: attributes say what is offered, its slave's dispatch() calls its methods.

    A method that refuses returns a negative errno value; one that has nothing to say returns None. What a method raises
    comes out of the dispatch(), wait() or serve() in progress, as the same object.
    """

    _free = "vh_device_free"

    _slave: "weakref.ref[Any] | None" = None

    type: int = 0  # DeviceType, or any virtio device id
    features: int = 0  # feature bits, beyond what the rings add
    max_queues: int = 0  # 0 = 1
    max_queue_size: int = 0  # 0 = 32768
    config: bytes = b""  # config space; zeroes follow
    shmem: "Mapping[int, int]" = {}  # regions of shared memory: their sizes by number
    repeats: bool = True  # what was begun can be done again by the next process: inflight records are kept

    def __init__(self) -> None:
        mine = {name: c for name, c in _MEMBERS.items() if name in _ALWAYS or self._overrides(name)}
        if ("poll_fd" in mine) != ("on_poll" in mine):
            raise TypeError(f"{type(self).__name__} has one of poll_fd and on_poll; it needs both or none")
        opts = new_sized("vh_device_opts", type=self.type, features=self.features, max_queues=self.max_queues,
                         max_queue_size=self.max_queue_size)
        flags = (0 if "on_batch" in mine else DEVICE_MANUAL_QUEUES) | (0 if self.repeats else DEVICE_NO_REPEAT)
        ops = new_ops("vh_device_ops", mine, flags=flags)
        self._adopt(create("vh_device_new", "vh_device", opts, ops, _event.context(weakref.ref(self))))
        for shmid, size in self.shmem.items():
            self._call("vh_device_set_shmem", shmid, size)

    @classmethod
    def _overrides(cls, name: str) -> bool:
        return getattr(cls, name) is not getattr(Device, name)

    # What a class defines, if it wants to be asked or told.

    def get_config(self, offset: int, length: int, later: Later) -> "bytes | int | Later":
        """Read config space; fewer bytes than asked for are followed by zeroes. later.reply() takes just so many."""
        return self.config[offset:offset + length]

    def set_config(self, offset: int, data: bytes, flags: int, later: Later) -> "int | Later | None":
        """Write config space."""
        return -errno.EOPNOTSUPP

    def set_features(self, features: int, later: Later) -> "int | Later | None":
        """The driver's choice; 0 when its connection ends."""

    def reset(self, later: Later) -> "int | Later | None":
        """A device reset; the requests in flight have ended."""

    def queue_started(self, queue: Queue, index: int) -> None:
        """A queue became able to run."""

    def queue_stopped(self, queue: "Queue | None", index: int) -> None:
        """A queue stopped; None when that is because its slave is closed. Requests that it has in flight are to be pushed all the same."""

    def on_batch(self, queue: Queue, index: int, budget: int) -> "int | None":
        """There may be requests: pop at most budget, push now or later. A negative errno value breaks the queue.

        Without this method nobody is told: the queues of the slave are yours to drive.
        """

    def poll_fd(self) -> Any:
        """A file descriptor, or an object with one, that is readable when on_poll() has something to do."""

    def on_poll(self) -> "int | None":
        """poll_fd is readable: make it not so, and push what has completed."""

    def send_rarp(self, mac: bytes, later: Later) -> "int | Later | None":
        """Announce the guest, which has moved here and can't itself. Who has it offers the protocol feature RARP."""

    def set_mtu(self, mtu: int, later: Later) -> "int | Later | None":
        """The largest frame. Who has it, and the feature bit, offers the protocol feature MTU."""

    def create_crypto_session(self, session: CryptoSession, later: Later) -> "int | Later":
        """The number of a new session, or a negative errno value. With close_... CRYPTO_SESSION is offered."""
        return -errno.EOPNOTSUPP

    def close_crypto_session(self, number: int, later: Later) -> "int | Later | None":
        """A session ends."""

    def set_gpu_socket(self, fd: int, later: Later) -> "int | Later | None":
        """A connected socket to the display; closed after the call, so duplicate it."""

    def save_state(self, offset: int, room: int, later: Later) -> "bytes | int | Later":
        """The next bytes of what the device remembers, at most room; b"" when that was all. later.reply() takes bytes
        as well. Who has it and load_state() offers the protocol feature DEVICE_STATE."""
        return -errno.EOPNOTSUPP

    def load_state(self, offset: int, data: bytes, later: Later) -> "int | Later | None":
        """The next bytes of what another device like this one has saved; b"" when that was all: check it, and take it
        over. It may end before, without a word; then the next one begins at 0."""
        return -errno.EOPNOTSUPP

    def get_shared_object(self, uuid: bytes, later: Later) -> Any:
        """An object that another device wants: a file or its descriptor, which stays yours; later.reply(fd=...). Who has
        it offers the protocol feature SHARED_OBJECT; Slave.object_add() tells of objects."""
        return -errno.ENOENT

    # What it can do.

    def config_changed(self) -> None:
        """Tell the driver that config space changed."""
        self._call("vh_device_config_changed")

    def error(self, queue: int, rc: int) -> None:
        """The device could not do a request of that queue, for this reason (a negative errno value)."""
        self._call("vh_device_error", queue, rc)

    def _queue(self, ptr: Any, index: int) -> Queue:
        slave = self._slave() if self._slave else None
        if slave is None:
            raise _error.make(errno.EBADF, "the device's slave is gone")
        found: Queue = slave._queue_at(ptr, index)
        return found

    # Devices in C: no request enters Python.

    @staticmethod
    def null(capacity: int, **options: Any) -> "Device":
        """A block device of that many bytes which keeps nothing. Options: readonly, max_queues, max_queue_size,
        block_size, serial."""
        return Builtin(BLKDEV_NULL, capacity, **options)

    @staticmethod
    def ram(capacity: int, **options: Any) -> "Device":
        """A block device in memory."""
        return Builtin(BLKDEV_RAM, capacity, **options)

    @staticmethod
    def file(path: Any, capacity: int = 0, **options: Any) -> "Device":
        """A block device on a file: a path, a file descriptor or an open file. Option: uring=False."""
        if not isinstance(path, (str, bytes, os.PathLike)):
            return Builtin(BLKDEV_FILE, capacity, fd=fd_of(path), **options)
        fd = os.open(path, (os.O_RDONLY if options.get("readonly") else os.O_RDWR) | os.O_CLOEXEC)
        try:
            return Builtin(BLKDEV_FILE, capacity, fd=fd, **options)
        finally:
            os.close(fd)


class Builtin(Device):
    """A block device in C."""

    type = _model.TYPE_BLK

    def __init__(self, kind: int, capacity: int, *, fd: int = -1, readonly: bool = False, uring: bool = True,
                 max_queues: int = 0, max_queue_size: int = 0, block_size: int = 0, serial: "str | bytes" = b""):
        raw = serial.encode() if isinstance(serial, str) else bytes(serial)
        if len(raw) > BLK_ID_SIZE:
            raise ValueError(f"a serial of {len(raw)} bytes; there is room for {BLK_ID_SIZE}")
        flags = (BLKDEV_READONLY if readonly else 0) | (0 if uring else BLKDEV_NO_URING)
        opts = new_sized("vh_blkdev_opts", kind=kind, capacity=capacity, flags=flags, max_queues=max_queues,
                         max_queue_size=max_queue_size, block_size=block_size)
        ffi.memmove(opts.serial, raw, len(raw))
        self._adopt(create("vh_blkdev_new", "vh_device", opts, fd))


# The callbacks. A device that is gone already, because it was never closed, has nothing to say any more.


def _status(result: Any) -> int:
    """What a callback returned, for the library."""
    if result is None:
        return 0
    if isinstance(result, Later):
        return -errno.EINPROGRESS
    if not isinstance(result, int):
        raise TypeError(f"a device's method returned {type(result).__name__}; it can be None, an int or its later")
    return int(result)


def _get_config(ctx: Any, offset: int, buf: Any, length: int, later: int) -> int:
    device = target(ctx)()
    data = b"" if device is None else device.get_config(offset, length, Later(device, later))
    if isinstance(data, (int, Later)):
        return _status(data)
    data = bytes(data)[:length]
    ffi.memmove(buf, data.ljust(length, b"\0"), length)
    return 0


def _set_config(ctx: Any, offset: int, buf: Any, length: int, flags: int, later: int) -> int:
    device = target(ctx)()
    data = ffi.buffer(ffi.cast("char *", buf), length)[:]
    return 0 if device is None else _status(device.set_config(offset, data, flags, Later(device, later)))


def _set_features(ctx: Any, features: int, later: int) -> int:
    device = target(ctx)()
    return 0 if device is None else _status(device.set_features(_model.Features(features), Later(device, later)))


def _reset(ctx: Any, later: int) -> int:
    device = target(ctx)()
    return 0 if device is None else _status(device.reset(Later(device, later)))


def _queue_started(ctx: Any, ptr: Any, index: int) -> None:
    device = target(ctx)()
    if device is not None:
        device.queue_started(device._queue(ptr, index), index)


def _queue_stopped(ctx: Any, ptr: Any, index: int) -> None:
    device = target(ctx)()
    if device is not None:
        slave = device._slave() if device._slave else None
        queue = None if slave is None or slave.closed else slave._queue_at(ptr, index)
        device.queue_stopped(queue, index)


_DRIVERS = (_model.ErrorDomain.QUEUE, _model.ErrorDomain.MEMORY, _model.ErrorDomain.PEER)


def _on_batch(ctx: Any, ptr: Any, index: int, budget: int) -> int:
    device = target(ctx)()
    if device is None:
        return 0
    queue = device._queue(ptr, index)
    queue._full = False
    try:
        result = device.on_batch(queue, index, budget)
    except _error.VhError as e:
        if e.domain not in _DRIVERS or e.queue != index:
            raise
        return -(e.errno or errno.EIO)  # the driver broke its queue: that is an event, and no reason to end serve()
    return int(queue._full) if result is None else _status(result)


def _poll_fd(ctx: Any) -> int:
    device = target(ctx)()
    return -1 if device is None else fd_of(device.poll_fd())


def _on_poll(ctx: Any) -> int:
    device = target(ctx)()
    return 0 if device is None else _status(device.on_poll())


def _send_rarp(ctx: Any, mac: Any, length: int, later: int) -> int:
    device = target(ctx)()
    data = ffi.buffer(ffi.cast("char *", mac), length)[:]
    return 0 if device is None else _status(device.send_rarp(data, Later(device, later)))


def _set_mtu(ctx: Any, mtu: int, later: int) -> int:
    device = target(ctx)()
    return 0 if device is None else _status(device.set_mtu(mtu, Later(device, later)))


def _create_crypto_session(ctx: Any, session: Any, later: int) -> int:
    device = target(ctx)()
    if device is None:
        return -errno.EOPNOTSUPP
    return _status(device.create_crypto_session(CryptoSession._shown(session), Later(device, later)))


def _close_crypto_session(ctx: Any, number: int, later: int) -> int:
    device = target(ctx)()
    return 0 if device is None else _status(device.close_crypto_session(number, Later(device, later)))


def _set_gpu_socket(ctx: Any, fd: int, later: int) -> int:
    device = target(ctx)()
    return 0 if device is None else _status(device.set_gpu_socket(fd, Later(device, later)))


def _save_state(ctx: Any, offset: int, buf: Any, room: int, later: int) -> int:
    device = target(ctx)()
    data = b"" if device is None else device.save_state(offset, room, Later(device, later))
    if isinstance(data, (int, Later)):
        return _status(data)
    data = bytes(data)
    if len(data) > room:
        raise ValueError(f"save_state() returned {len(data)} bytes, and there is room for {room}")
    ffi.memmove(buf, data, len(data))
    return len(data)


def _load_state(ctx: Any, offset: int, buf: Any, length: int, later: int) -> int:
    device = target(ctx)()
    data = ffi.buffer(ffi.cast("char *", buf), length)[:]
    return 0 if device is None else _status(device.load_state(offset, data, Later(device, later)))


def _get_shared_object(ctx: Any, uuid: Any, length: int, later: int) -> int:
    device = target(ctx)()
    if device is None:
        return -errno.ENOENT
    result = device.get_shared_object(ffi.buffer(ffi.cast("char *", uuid), length)[:], Later(device, later))
    if isinstance(result, Later):
        return -errno.EINPROGRESS
    return -errno.ENOENT if result is None else fd_of(result)


_MEMBERS = {"destroy": "vhpy_device_destroy"}
_ALWAYS = ("destroy", "get_config")
_functions: "tuple[Callable[..., Any], ...]" = (
    _get_config, _set_config, _set_features, _reset, _queue_started, _queue_stopped, _on_batch, _poll_fd,
    _on_poll, _send_rarp, _set_mtu, _create_crypto_session, _close_crypto_session, _set_gpu_socket,
    _save_state, _load_state, _get_shared_object)
for _function in _functions:
    _name = _function.__name__[1:]
    _error.bind(f"vhpy_device_{_name}", _function, _name.startswith("queue_"))
    _MEMBERS[_name] = f"vhpy_device_{_name}"
