# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Frames, driver side: a network device to send to and receive from."""
import asyncio
import dataclasses
import errno
import threading
import time
from typing import Any, Iterable

from vh import _aio, _error, _model
from vh._lib import ffi, new_sized
from vh._model import NET_RECEIVE, NET_SEND, NET_TRUNCATED, Features
from vh._session import OverSession, Where

_BATCH = 64


@dataclasses.dataclass(frozen=True)
class NetInfo:
    """What a network device is. mtu 0 and mac None: it does not say."""

    mac: "bytes | None"
    mtu: int
    frame_max: int
    link_up: bool
    n_pairs: int
    max_pairs: int
    features: Features


_HEADER = ("hdr_flags", "gso_type", "hdr_len", "gso_size", "csum_start", "csum_offset")  # of a frame that is sent


class Frame(bytes):
    """Bytes, and what the virtio header before them says (virtio 1.2, 5.1.6): all 0 where no offload was negotiated, but for the
    buffers that a received one came in."""

    hdr_flags = gso_type = hdr_len = gso_size = csum_start = csum_offset = num_buffers = 0

    def __new__(cls, data: Any, **header: int) -> "Frame":
        """header: any of hdr_flags, gso_type, hdr_len, gso_size, csum_start, csum_offset."""
        unknown = set(header) - set(_HEADER)
        if unknown:
            raise TypeError(f"a frame has no {', '.join(sorted(unknown))}")
        self = super().__new__(cls, data)
        self.__dict__.update(header)
        return self


def _received(data: Any, frame: Any) -> Frame:
    it = Frame(data, **{name: getattr(frame, name) for name in _HEADER if getattr(frame, name)})
    it.num_buffers = frame.num_buffers
    return it


def _to_send(frame: Any, data: Any) -> "dict[str, int]":
    row = {"data": int(ffi.cast("uintptr_t", data)), "len": len(data)}
    return {**row, **{name: getattr(frame, name) for name in _HEADER}} if isinstance(frame, Frame) else row


class Net(OverSession):
    """A network device to send frames to and receive them from: at "unix:/path", behind a Master, or in a Driver session of
    your own, of DeviceType.NET. One thread may send while another one receives."""

    _free = "vh_net_free"

    def __init__(self, where: Where, *, frame_max: int = 0, queue_size: int = 0, features: int = 0,
                 timeout: "float | None" = None):
        """frame_max: bytes of the longest frame, by the MTU of the device if 0; features: more that a session made here is
        to ask for, 1 << vh.NET_F_MRG_RXBUF for one."""
        self._gates: "list[Any]" = []
        opts = new_sized("vh_net_opts", frame_max=frame_max)
        self._open(where, "vh_net_new", timeout, opts, type=_model.TYPE_NET, queue_size=queue_size, features=features)
        self._gates = self._fresh()
        self._longest = self.info.frame_max

    def _fresh(self) -> "list[Any]":
        return [threading.Lock() for _ in range(2 * self.info.n_pairs)]

    def _forked(self) -> None:
        super()._forked()
        self._gates = [threading.Lock() for _ in self._gates]

    def _gate(self, pair: int, what: int) -> Any:
        if not 0 <= pair < len(self._gates) // 2:
            raise _error.make(errno.EINVAL, f"pair {pair} of {len(self._gates) // 2}; count from 0")
        gate = self._gates[2 * pair + what]
        if not gate.acquire(False):
            raise _error.make(errno.EBUSY, f"another thread is in this direction of pair {pair}")
        return gate

    @property
    def info(self) -> NetInfo:
        """Address, MTU, limits."""
        out = new_sized("vh_net_info")
        self._call("vh_net_get_info", out)
        mac = bytes(ffi.buffer(out.mac))
        return NetInfo(mac if any(mac) else None, out.mtu, out.frame_max, bool(out.link_up), out.n_pairs, out.max_pairs,
                       Features(out.features))

    # Batches: what goes at once.

    def submit(self, frames: "Iterable[Any]", pair: int = 0) -> int:
        """Send frames, each anything with the buffer protocol, or a Frame; the number taken, fewer when the ring is full."""
        kept = [(frame, ffi.from_buffer(frame)) for frame in frames]
        rows = [_to_send(frame, data) for frame, data in kept]
        gate = self._gate(pair, NET_SEND)
        try:
            return self._call("vh_net_send", pair, ffi.new("struct vh_net_frame[]", rows), len(rows))
        finally:
            gate.release()

    def reap(self, max: int = _BATCH, pair: int = 0) -> "list[Frame]":  # pylint: disable=redefined-builtin
        """Frames that came; none is longer than info.frame_max, but where receive buffers are merged: it is cut then."""
        gate = self._gate(pair, NET_RECEIVE)
        try:
            room = ffi.new("uint8_t[]", max * self._longest)
            frames = ffi.new("struct vh_net_frame[]", max)
            for i in range(max):
                frames[i].data = int(ffi.cast("uintptr_t", room + i * self._longest))
                frames[i].room = self._longest
            n = self._call("vh_net_receive", pair, frames, max)
            return [_received(ffi.buffer(room + i * self._longest, self._bytes(frames[i])), frames[i]) for i in range(n)]
        finally:
            gate.release()

    @staticmethod
    def _bytes(frame: Any) -> int:
        return int(frame.room if frame.flags & NET_TRUNCATED else frame.len)

    def wait(self, timeout: "float | None" = None, pair: int = 0, *, to_send: bool = False) -> bool:
        """Sleep until reap() has a frame, or submit() has room. False: the time passed. The back-end's connection is served
        meanwhile."""
        what = NET_SEND if to_send else NET_RECEIVE
        gate = self._gate(pair, what)
        try:
            return self._sleeping(timeout, "vh_net_wait", pair, what)
        finally:
            gate.release()

    # One by one, waited for.

    def send(self, *frames: Any, pair: int = 0) -> None:
        """Send frames, and wait for room if need be."""
        rest = list(frames)
        while rest:
            done = self.submit(rest, pair)
            del rest[:done]
            if rest and not done:
                self.wait(None, pair, to_send=True)

    def receive(self, timeout: "float | None" = None, pair: int = 0) -> "Frame | None":
        """The next frame; None when the time passed."""
        end = _aio.deadline(timeout)
        while True:
            got = self.reap(1, pair)
            if got:
                return got[0]
            if not self.wait(None if end is None else max(0.0, end - time.monotonic()), pair):
                return None

    async def async_receive(self, max: int = _BATCH, pair: int = 0) -> "list[Frame]":  # pylint: disable=redefined-builtin
        """Frames that came, at least one; an asyncio task sleeps meanwhile."""
        ring = self._driver.queue(2 * pair)
        while True:
            got = self.reap(max, pair)
            if got:
                return got
            if ring.arm():
                continue
            await _aio.first(ring, self._driver)
            while self._driver.dispatch():
                await asyncio.sleep(0)


__all__ = ["Frame", "Net", "NetInfo"]
