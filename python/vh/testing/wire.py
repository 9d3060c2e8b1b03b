# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""vhost-user messages in pure Python: payloads by kind, and a connection that sends and receives them with fds.

Nothing is refused when sending: sizes, flags, ids, fds and bytes can be anything. What arrives is cut into messages
exactly (12 bytes, then `size`), and :meth:`Conn.recv` says when the peer closed, sent half a message or too late.
"""

from __future__ import annotations

import array
import os
import select
import socket
import struct
import time
from dataclasses import dataclass, field

from vh.launch import sockets
from vh.testing._messages import BACK_END, BE, BLK, FE, FRONT_END, GPU_MESSAGES, NET, PF, F, GpuMessage, Message

__all__ = [
    "BACK_END", "BE", "BLK", "FE", "FRONT_END", "GPU_MESSAGES", "NET", "PF", "F", "GpuMessage", "Message",
    "VERSION", "REPLY", "NEED_REPLY", "HEADER_SIZE", "MAX_PAYLOAD", "VRING_NOFD",
    "Closed", "Conn", "Msg", "ProtocolError", "Timeout",
    "bits", "pack", "unpack", "header", "mem_table", "config", "vring_fd", "eventfd",
]  # fmt: skip

VERSION = 1
REPLY = 4
NEED_REPLY = 8
HEADER = struct.Struct("=III")
HEADER_SIZE = HEADER.size
MAX_PAYLOAD = 4096
VRING_NOFD = 0x100
#: fds that the receive buffer has room for; the kernel never delivers more in one message
MAX_RECEIVED_FDS = 253


class ProtocolError(Exception):
    """The peer sent something that can't be followed."""


class Closed(ProtocolError):
    """The peer closed the connection. `partial` holds the bytes of a message that it had begun."""

    def __init__(self, partial: bytes = b""):
        super().__init__(f"the peer closed the connection after {len(partial)} bytes of a message")
        self.partial = partial


class Timeout(ProtocolError):
    """Nothing, or half a message, arrived in time."""


def bits(*numbers: int) -> int:
    """bits(PF.MQ, PF.CONFIG): a mask from bit numbers."""
    mask = 0
    for n in numbers:
        mask |= 1 << n
    return mask


# --- payloads -------------------------------------------------------------------------------------------------------

#: fixed payloads: struct format and field names; "x" bytes are padding
LAYOUTS = {
    "NONE": ("=", ()),
    "U64": ("=Q", ("value",)),
    "VRING_FD": ("=Q", ("value",)),
    "VRING_STATE": ("=II", ("index", "num")),
    "VRING_ADDR": ("=IIQQQQ", ("index", "flags", "desc", "used", "avail", "log")),
    "MEM_REG": ("=QQQQQ", ("padding", "gpa", "size", "uva", "offset")),
    "LOG": ("=QQ", ("mmap_size", "mmap_offset")),
    "IOTLB": ("=QQQBB6x", ("iova", "size", "uva", "perm", "type")),
    "VRING_AREA": ("=QQQ", ("u64", "size", "offset")),
    "INFLIGHT": ("=QQHH4x", ("mmap_size", "mmap_offset", "num_queues", "queue_size")),
    "UUID": ("=16s", ("uuid",)),
    "DEVICE_STATE": ("=II", ("direction", "phase")),
    "MMAP": ("=B7xQQQQ", ("shmid", "fd_offset", "shm_offset", "len", "flags")),
    "CRYPTO": ("=Q1056sq", ("op_code", "session", "session_id")),
}


def pack(kind: str, **values) -> bytes:
    """The payload of a kind, fields by name; what is not given is 0. MEM_TABLE: regions=[(gpa, size, uva, offset)]."""
    if kind == "MEM_TABLE":
        return mem_table(**values)
    if kind == "CONFIG":
        return config(**values)
    if kind == "SHMEM_CONFIG":
        sizes = values["sizes"]
        return struct.pack("=II256Q", values.get("n", sum(1 for s in sizes if s)), 0, *sizes)
    layout, names = LAYOUTS[kind]
    unknown = set(values) - set(names)
    if unknown:
        raise TypeError(f"{kind} has no field {sorted(unknown)}")
    empty = {"uuid": b"", "session": b""}
    return struct.pack(layout, *(values.get(name, empty.get(name, 0)) for name in names))


def unpack(kind: str, payload: bytes) -> dict:
    """The fields of a payload. Raises ProtocolError when it does not have the kind's size."""
    try:
        if kind == "MEM_TABLE":
            n, padding = struct.unpack_from("=II", payload)
            regions = [struct.unpack_from("=QQQQ", payload, 8 + 32 * i) for i in range(min(n, 128))]
            return {"n": n, "padding": padding, "regions": regions}
        if kind == "CONFIG":
            offset, size, flags = struct.unpack_from("=III", payload)
            return {"offset": offset, "size": size, "flags": flags, "data": payload[12:]}
        if kind == "SHMEM_CONFIG":
            n, padding, *sizes = struct.unpack("=II256Q", payload)
            return {"n": n, "padding": padding, "sizes": sizes}
        layout, names = LAYOUTS[kind]
        return dict(zip(names, struct.unpack(layout, payload)))
    except struct.error as e:
        raise ProtocolError(f"{len(payload)} bytes are not a {kind} payload") from e


def mem_table(regions, n: int | None = None, padding: int = 0) -> bytes:
    """SET_MEM_TABLE; n can lie about the number of regions."""
    head = struct.pack("=II", len(regions) if n is None else n, padding)
    return head + b"".join(struct.pack("=QQQQ", *r) for r in regions)


def config(offset: int = 0, size: int | None = None, flags: int = 0, data: bytes | None = None) -> bytes:
    """GET_CONFIG and SET_CONFIG; without data, as many zeros as size says (up to a page)."""
    if data is None:
        data = bytes(min(size or 0, MAX_PAYLOAD - 12))
    return struct.pack("=III", offset, len(data) if size is None else size, flags) + data


def vring_fd(index: int, nofd: bool = False) -> bytes:
    """SET_VRING_KICK, CALL, ERR."""
    return struct.pack("=Q", index | (VRING_NOFD if nofd else 0))


def eventfd(value: int = 0) -> int:
    """An eventfd as rings have them: closed on exec, and not waiting."""
    return os.eventfd(value, os.EFD_CLOEXEC | os.EFD_NONBLOCK)


#: what a protocol feature can't do without
PF_NEEDS = {
    PF.BACKEND_SEND_FD: bits(PF.BACKEND_REQ),
    PF.HOST_NOTIFIER: bits(PF.BACKEND_REQ, PF.BACKEND_SEND_FD),
    PF.INBAND_NOTIFICATIONS: bits(PF.REPLY_ACK, PF.BACKEND_REQ),
    PF.GET_VRING_BASE_INFLIGHT: bits(PF.INFLIGHT_SHMFD),
    PF.SHMEM: bits(PF.BACKEND_REQ, PF.BACKEND_SEND_FD),
    PF.GET_VRING_BASE_SKIP_DRAIN: bits(PF.INFLIGHT_SHMFD, PF.GET_VRING_BASE_INFLIGHT),
}


def header(request: int, flags: int, size: int) -> bytes:
    return HEADER.pack(request & 0xFFFFFFFF, flags & 0xFFFFFFFF, size & 0xFFFFFFFF)


# --- messages -------------------------------------------------------------------------------------------------------


@dataclass
class Msg:
    """One message as it came. The fds are the receiver's to close: use it in a with statement, or take() them."""

    request: int
    flags: int
    payload: bytes = b""
    fds: list[int] = field(default_factory=list)

    @property
    def u64(self) -> int:
        return unpack("U64", self.payload)["value"]

    @property
    def is_reply(self) -> bool:
        return bool(self.flags & REPLY)

    @property
    def need_reply(self) -> bool:
        return bool(self.flags & NEED_REPLY)

    def fields(self, kind: str | None = None, table=FRONT_END) -> dict:
        """The payload's fields; without a kind, what the message table says of it."""
        if kind is None:
            row = table[self.request]
            kind = row.reply_payload if self.is_reply and row.reply != "ACK" else row.payload
        return unpack(kind, self.payload)

    def take(self) -> list[int]:
        fds, self.fds = self.fds, []
        return fds

    def close(self) -> None:
        for fd in self.take():
            os.close(fd)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()


class Conn:
    """A vhost-user connection over a unix stream socket: raw bytes and whole messages, both ways."""

    def __init__(self, sock: socket.socket, timeout: float = 5.0):
        self.sock = sock
        self.timeout = timeout
        sock.setblocking(False)

    @classmethod
    def connect(cls, path, timeout: float = 5.0, **kwargs):
        """Connect; waits for a listener to appear until the timeout."""
        return cls(sockets.reach(os.fsdecode(path), timeout), timeout=timeout, **kwargs)

    @classmethod
    def pair(cls, **kwargs):
        """A connection and the socket of its other end."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        return cls(ours, **kwargs), theirs

    def close(self) -> None:
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def fileno(self) -> int:
        return self.sock.fileno()

    # --- raw bytes ---

    def _wait(self, events: int, deadline: float) -> bool:
        poll = select.poll()
        poll.register(self.sock, events)
        return bool(poll.poll(max(0, (deadline - time.monotonic()) * 1000)))

    def send_bytes(self, data: bytes, fds=(), timeout: float | None = None, ancillary=None) -> None:
        """All of data, fds with the first byte. ancillary: control data of one's own instead of fds."""
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        if ancillary is None:
            ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if len(fds) else []
        view = memoryview(data)
        while view:
            try:
                sent = self.sock.sendmsg([view], ancillary, socket.MSG_NOSIGNAL)
            except BlockingIOError:
                if not self._wait(select.POLLOUT, deadline):
                    raise Timeout(f"{len(view)} bytes can't be sent: the peer does not read") from None
                continue
            except (BrokenPipeError, ConnectionResetError):
                raise Closed() from None
            view = view[sent:]
            ancillary = []

    def send(self, request: int, payload: bytes = b"", fds=(), need_reply: bool = False, flags: int = VERSION,
             size: int | None = None) -> None:  # fmt: skip
        """One message. flags and size go into the header as they are."""
        flags |= NEED_REPLY if need_reply else 0
        self.send_bytes(header(request, flags, len(payload) if size is None else size) + payload, fds)

    def reply(self, msg: Msg, payload: bytes, fds=(), flags: int = VERSION | REPLY) -> None:
        self.send(msg.request, payload, fds, flags=flags)

    def _recv_exactly(self, n: int, fds: list[int], deadline: float, before: bytes) -> bytes:
        data = b""
        while len(data) < n:
            try:
                room = socket.CMSG_SPACE(MAX_RECEIVED_FDS * 4)
                part, ancillary, flags, _ = self.sock.recvmsg(n - len(data), room, socket.MSG_CMSG_CLOEXEC)
            except BlockingIOError:
                if not self._wait(select.POLLIN, deadline):
                    raise Timeout(f"{len(before + data)} bytes of a message came in time") from None
                continue
            except ConnectionResetError:
                part, ancillary, flags = b"", [], 0
            for level, kind, cdata in ancillary:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                    fds.extend(array.array("i", cdata[: len(cdata) - len(cdata) % 4]))
            if flags & socket.MSG_CTRUNC:
                raise ProtocolError("control data was cut")
            if not part:
                raise Closed(before + data)
            data += part
        return data

    def recv(self, timeout: float | None = None) -> Msg:
        """The next message, whole."""
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        fds: list[int] = []
        try:
            head = self._recv_exactly(HEADER_SIZE, fds, deadline, b"")
            request, flags, size = HEADER.unpack(head)
            if size > MAX_PAYLOAD:
                raise ProtocolError(f"a payload of {size} bytes is announced")
            payload = self._recv_exactly(size, fds, deadline, head)
        except BaseException:
            for fd in fds:
                os.close(fd)
            raise
        return Msg(request, flags, payload, fds)

    # --- conversations ---

    def recv_reply(self, request: int, timeout: float | None = None) -> Msg:
        """The next message, which must be the reply to this request."""
        msg = self.recv(timeout)
        if msg.request != request or msg.flags != VERSION | REPLY:
            msg.close()
            raise ProtocolError(f"request {request} is answered by request {msg.request}, flags {msg.flags:#x}")
        return msg

    def call(self, request: int, payload: bytes = b"", fds=(), timeout: float | None = None, **kwargs) -> Msg:
        """Send a request that has a reply of its own (or need_reply set), return the reply."""
        self.send(request, payload, fds, **kwargs)
        return self.recv_reply(request, timeout)

    def status(self, request: int, payload: bytes = b"", fds=(), timeout: float | None = None) -> int:
        """Send with need_reply, return the status."""
        with self.call(request, payload, fds, timeout, need_reply=True) as msg:
            return msg.u64

    def closed_by_peer(self, timeout: float | None = None) -> bool:
        """True when the peer closes in time without sending another byte."""
        try:
            self.recv(timeout).close()
        except Closed as e:
            return not e.partial
        except Timeout:
            pass
        return False

    def silent(self, timeout: float = 0.1) -> bool:
        """True when nothing comes for so long, and the connection stays open."""
        return not self._wait(select.POLLIN, time.monotonic() + timeout)
