# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""News of a handle, log lines, and messages as they cross the socket; the callbacks that tell of them."""
import enum
import itertools
from typing import Any, Callable, Iterator, TypeVar

from vh import _error, _model
from vh._handle import Handle
from vh._lib import copied, ffi, lib, new_ops, new_sized, text
from vh._model import Event

T = TypeVar("T", bound=enum.IntEnum)
_NUMBER = ffi.typeof("uintptr_t")  # known by now, because destroy() may come from the collector
_keys = itertools.count(1)
_targets: "dict[int, Any]" = {}


def known(kind: "type[T]", value: int) -> "T | int":
    """The member of an enumeration, or the number as it is."""
    try:
        return kind(value)
    except ValueError:
        return value


# The ctx of an ops struct is a number, looked up here: a library that calls once too often finds nothing.


def context(target: Any) -> Any:
    """A ctx that means this object until destroy() is called for it."""
    key = next(_keys)
    _targets[key] = target
    return ffi.cast("void *", key)


def target(ctx: Any) -> Any:
    return _targets[int(ffi.cast(_NUMBER, ctx))]


def _destroy(ctx: Any) -> None:
    key = int(ffi.cast(_NUMBER, ctx))
    if key not in _targets:
        raise RuntimeError("libvh called destroy() of a callback's context that was destroyed already")
    del _targets[key]


for _name in ("logger", "trace", "device", "master", "slave"):
    _error.bind(f"vhpy_{_name}_destroy", _destroy, void=True)


class Message:
    """One vhost-user message as it crossed the socket."""

    def __init__(self, info: Any):
        self.payload = copied(info.payload, info.payload_size)
        self._payload = ffi.from_buffer(self.payload)
        self._info = ffi.new("struct vh_msg_info *", info[0])
        self._info.payload = int(ffi.cast("uintptr_t", self._payload))

    @classmethod
    def of(cls, sent: bool, channel: int, request: int, flags: int, payload: bytes, n_fds: int, time_ns: int = 0) -> "Message":
        """One that was seen by other means than a trace."""
        held = ffi.from_buffer(payload)
        return cls(new_sized("vh_msg_info", direction=_model.MSG_SENT if sent else _model.MSG_RECEIVED, channel=channel,
                             request=request, flags=flags, payload_size=len(payload), n_fds=n_fds, time_ns=time_ns,
                             payload=int(ffi.cast("uintptr_t", held)) if payload else 0))

    @property
    def sent(self) -> bool:
        return bool(self._info.direction == _model.MSG_SENT)

    @property
    def channel(self) -> int:
        """MSG_CHANNEL_MAIN or MSG_CHANNEL_BACKEND."""
        return int(self._info.channel)

    @property
    def request(self) -> int:
        return int(self._info.request)

    @property
    def name(self) -> str:
        return message_name(self.request, self.channel)

    @property
    def flags(self) -> int:
        return int(self._info.flags)

    @property
    def n_fds(self) -> int:
        return int(self._info.n_fds)

    @property
    def verdict(self) -> int:
        """Number of the check that refused it, 0 = accepted."""
        return int(self._info.verdict)

    @property
    def time_ns(self) -> int:
        """Of CLOCK_MONOTONIC."""
        return int(self._info.time_ns)

    def json(self) -> str:
        """One line, with the payload's fields by name."""
        buf = ffi.new("char[]", 1 << 16)
        _error.check(lib.vh_msg_json(self._info, buf, len(buf)))
        return text(buf)

    def __repr__(self) -> str:
        return f"<vh.Message {self.name} {'sent' if self.sent else 'received'}, {len(self.payload)} bytes>"


def message_name(request: int, channel: int = _model.MSG_CHANNEL_MAIN) -> str:
    """Name of a message without VHOST_USER_."""
    return text(lib.vh_msg_name(channel, request))


def feature_name(bit: int, device: int = 0) -> str:
    """Name of a feature bit of that virtio device type; 0: of a protocol feature. "" for one without a name."""
    return text(lib.vh_feature_name(device, bit))


def event_name(kind: int) -> str:
    return text(lib.vh_event_name(kind))


def _line(ctx: Any, level: int, line: Any) -> None:
    target(ctx)(known(_model.LogLevel, level), text(line))


def _message(ctx: Any, info: Any) -> None:
    target(ctx)(Message(info))


_error.bind("vhpy_logger_line", _line, void=True)
_error.bind("vhpy_trace_message", _message, void=True)


class Pollable(Handle):
    """What lives in an event loop: a pollable fd, and events."""

    _side = ""  # "vh_slave", "vh_master", "vh_driver", "vh_vduse"
    _leaks = True

    def fileno(self) -> int:
        """Readable when dispatch() has something to do."""
        return self._call(f"{self._side}_fd")

    def dispatch(self) -> bool:
        """Do what is to be done, never wait. True: there is more to do at once."""
        return self._call(f"{self._side}_dispatch") > 0

    def next_event(self) -> "Event | None":
        """The oldest pending event."""
        e = ffi.new("struct vh_event *")
        e.size = ffi.sizeof(e[0])
        if not self._call(f"{self._side}_next_event", e):
            return None
        return Event(known(_model.EventKind, e.kind), e.queue, e.reason, e.value, e.count)

    def events(self) -> "Iterator[Event]":
        """All pending events."""
        while True:
            event = self.next_event()
            if event is None:
                return
            yield event


class Logged(Pollable):
    """What lives for long besides: a log, and an end from outside."""

    def set_logger(self, line: "Callable[[_model.LogLevel | int, str], object] | None",
                level: int = _model.LOG_WARNING) -> None:
        """Have line(level, text) called for each line of log, down to that level; None: nowhere."""
        self._observe("logger", line, level=level, line="vhpy_logger_line")

    def _observe(self, what: str, function: Any, level: int = 0, **members: str) -> None:
        if function is None:
            self._call(f"{self._side}_set_{what}", ffi.NULL, ffi.NULL)
            return
        if not callable(function):
            raise TypeError(f"a callable is wanted for the {what}, not {type(function).__name__}")
        values = {"level": level} if what == "logger" else {}
        ops = new_ops(f"vh_{what}_ops", {"destroy": f"vhpy_{what}_destroy", **members}, **values)
        self._enter()  # so that the context is not made for a call that does not happen
        try:
            self._call(f"{self._side}_set_{what}", ops, context(function))
        finally:
            self._leave()

    def stop(self) -> None:
        """Make every call on this handle fail with ESHUTDOWN; from any thread. Waits for calls in progress."""
        self._call(f"{self._side}_stop")


class Observed(Logged):
    """What speaks vhost-user besides: a trace."""

    def set_trace(self, message: "Callable[[Message], object] | None") -> None:
        """Have message(Message) called for each message that crosses the socket; None: off."""
        self._observe("trace", message, message="vhpy_trace_message")
