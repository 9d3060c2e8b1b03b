# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Messages by hand, the same for both sides: a request, its reply, a request that the other side makes."""
import dataclasses
import errno
from typing import Any, Callable, ClassVar, Sequence

from vh import _aio, _error, _event, _model
from vh._event import Observed
from vh._lib import copied, fd_of, ffi, new_sized
from vh._model import MSG_MAX_FDS, MSG_MAX_PAYLOAD


@dataclasses.dataclass(frozen=True)
class Reply:
    """What came back for a raw request. The file descriptors are yours to close."""

    request: int
    flags: int
    payload: bytes
    fds: "tuple[int, ...]"


class PeerRequest:
    """A request that the other side makes. Its file descriptors are closed after the callback: os.dup() those to keep."""

    _channel: ClassVar[int]

    def __init__(self, side: "ByHand", req: Any):
        self.request = int(req.request)
        self.payload = copied(req.payload, req.payload_size)
        self.fds = tuple(ffi.cast("vh_fd *", req.fds)[0:req.n_fds]) if req.n_fds else ()
        self.token = int(req.token)
        self._side = side

    @property
    def name(self) -> str:
        return _event.message_name(self.request, self._channel)

    def answer(self, rc: int = 0, payload: Any = b"", fds: "Sequence[Any]" = ()) -> None:
        """The answer, also from inside of the callback, which has to return the request itself then."""
        self._side.answer(self.token, rc, payload, fds)


class BackendRequest(PeerRequest):
    """One of the back-end, at a Master."""

    _channel = _model.MSG_CHANNEL_BACKEND


class FrontendRequest(PeerRequest):
    """One of the front-end, at a Slave."""

    _channel = _model.MSG_CHANNEL_MAIN


class ByHand(Observed):
    """What has requests of its own, and answers those of the other side."""

    _on_request: "Callable[[Any], Any] | None"

    def submit(self, request: int, payload: Any = b"", fds: "Sequence[Any]" = (),
               reply: int = _model.REPLY_TABLE) -> int:
        """Send any request. A ticket for finish(), 0 when no reply is expected."""
        buf, numbers = ffi.from_buffer(payload), ffi.new("vh_fd[]", [fd_of(fd) for fd in fds] or 1)
        msg = new_sized("vh_msg", request=request, reply=reply, payload_size=len(buf),
                        payload=int(ffi.cast("uintptr_t", buf)), n_fds=len(fds))
        ticket = ffi.new("uint64_t *")
        self._call(self._side + "_submit", msg, numbers, ticket)
        return int(ticket[0])

    def finish(self, ticket: int) -> "Reply | None":
        """The reply to a request, None when it is not here yet."""
        buf, fds = ffi.new("char[]", MSG_MAX_PAYLOAD), ffi.new("vh_fd[]", MSG_MAX_FDS)
        out = new_sized("vh_msg_reply")
        try:
            self._call(self._side + "_finish", ticket, buf, MSG_MAX_PAYLOAD, fds, MSG_MAX_FDS, out)
        except _error.VhError as e:
            if e.errno == errno.EINPROGRESS:
                return None
            raise
        return Reply(out.request, out.flags, ffi.buffer(buf, out.payload_size)[:], tuple(fds[0:out.n_fds]))

    def request(self, request: int, payload: Any = b"", fds: "Sequence[Any]" = (),
                reply: int = _model.REPLY_TABLE, timeout: "float | None" = 10.0) -> "Reply | None":
        """Send any request and wait for its reply. None when it has none."""
        ticket = self.submit(request, payload, fds, reply)
        return self.reply_to(ticket, timeout) if ticket else None

    def reply_to(self, ticket: int, timeout: "float | None" = 10.0) -> Reply:
        """Wait for the reply to a ticket."""
        found: "list[Reply]" = []

        def ready() -> bool:
            while self.dispatch():
                pass
            found.extend(r for r in (self.finish(ticket),) if r)
            return bool(found)

        if not _aio.wait(self, timeout, ready):
            self._give_up()
            raise _error.make(errno.ETIMEDOUT, f"no reply to ticket {ticket} in {timeout} s")
        return found[0]

    def _give_up(self) -> None:
        """A reply did not come in time."""

    def disconnect(self) -> None:
        """End the connection. A slave goes on listening."""
        self._call(self._side + "_disconnect")

    def answer(self, token: int, rc: int = 0, payload: Any = b"", fds: "Sequence[Any]" = ()) -> None:
        """Answer a request of the other side that its callback left open."""
        buf, numbers = ffi.from_buffer(payload), ffi.new("vh_fd[]", [fd_of(fd) for fd in fds] or 1)
        self._call(self._side + "_answer", token, rc, buf if len(buf) else ffi.NULL, len(buf), numbers, len(fds))


def callable_or_none(name: str, function: Any) -> Any:
    if function is not None and not callable(function):
        raise TypeError(f"{name} is no callable")
    return function


def answered(side: "ByHand | None", req: Any, kind: "type[PeerRequest]") -> int:
    """What the user's function says to a request, for the library."""
    if side is None or side._on_request is None:
        return -errno.EOPNOTSUPP
    result = side._on_request(kind(side, req))
    if not isinstance(result, (int, PeerRequest, type(None))):
        raise TypeError(f"the callback of a request returned {type(result).__name__}; it can be None, an int or its request")
    return -errno.EINPROGRESS if isinstance(result, PeerRequest) else int(result or 0)
