# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""The GPU protocol: what a GPU back-end shows, over a socket of its own."""
import dataclasses
from typing import Any, Sequence

from vh import _aio
from vh._event import known
from vh._handle import Handle, create
from vh._lib import copied, fd_of, ffi, milliseconds, new_sized, record
from vh._model import GPU_EDID_MAX, GPU_MAX_SCANOUTS, GpuFeatures, GpuMode, GpuRequest

_NUMBERS = ("scanout_id", "x", "y", "width", "height", "hot_x", "hot_y", "fd_width", "fd_height", "fd_stride", "fd_flags",
            "fd_fourcc", "modifier")
_ALL = (1 << 64) - 1


@dataclasses.dataclass(frozen=True)
class GpuMessage:
    """What a display is told. What the request does not have is zero."""

    request: "GpuRequest | int"
    scanout_id: int = 0
    x: int = 0
    y: int = 0
    width: int = 0
    height: int = 0
    hot_x: int = 0
    hot_y: int = 0
    fd_width: int = 0
    fd_height: int = 0
    fd_stride: int = 0
    fd_flags: int = 0
    fd_fourcc: int = 0
    modifier: int = 0
    data: bytes = b""
    fd: "int | None" = None  # of a dma-buf; yours to close


class _Gpu(Handle):
    _free = "vh_gpu_free"

    def _open(self, kind: str, socket: Any, timeout: "float | None", max_data: int, features: int) -> None:
        opts = new_sized("vh_gpu_opts", timeout_ms=milliseconds(timeout), max_data=max_data, features=features)
        self._adopt(create(kind, "vh_gpu", opts, fd_of(socket)))

    def fileno(self) -> int:
        """Readable when the other end said something, or is gone."""
        return self._call("vh_gpu_fd")


class GpuDevice(_Gpu):
    """The end that a back-end has, over the socket of Device.set_gpu_socket(); the socket stays yours.

    Its calls wait for the display, for timeout seconds at most (10 when None); so long a signal's handler waits as well.
    """

    def __init__(self, socket: Any, *, timeout: "float | None" = None, max_data: int = 0):
        self._open("vh_gpu_new_device", socket, timeout, max_data, 0)

    def negotiate(self, features: int = _ALL) -> GpuFeatures:
        """Agree on protocol features; what both ends have."""
        out = ffi.new("uint64_t *")
        self._call("vh_gpu_negotiate", features, out)
        return GpuFeatures(out[0])

    def modes(self) -> "tuple[GpuMode, ...]":
        """Of each scanout."""
        out = ffi.new("struct vh_gpu_mode[]", GPU_MAX_SCANOUTS)
        n = self._call("vh_gpu_get_modes", out, GPU_MAX_SCANOUTS)
        return tuple(record(GpuMode, out[i]) for i in range(n))

    def edid(self, scanout_id: int) -> bytes:
        """The description of a monitor."""
        buf = ffi.new("char[]", GPU_EDID_MAX)
        return bytes(ffi.buffer(buf, self._call("vh_gpu_get_edid", scanout_id, buf, GPU_EDID_MAX)))

    def send(self, request: int, *, data: Any = b"", fd: Any = None, **numbers: int) -> None:
        """A request that is about a scanout or the cursor: SCANOUT, UPDATE, CURSOR_*, DMABUF_*. Numbers are those of
        GpuMessage; DMABUF_UPDATE returns when it was shown."""
        pixels = ffi.from_buffer(data)
        msg = new_sized("vh_gpu_msg", request=request, data=int(ffi.cast("uintptr_t", pixels)) if len(pixels) else 0,
                        data_size=len(pixels), **numbers)
        self._call("vh_gpu_send", msg, fd_of(fd))


class GpuDisplay(_Gpu):
    """The end that a front-end keeps, when it gives the other one to Master.set_gpu_socket(); the socket stays yours."""

    def __init__(self, socket: Any, *, features: int = 0, timeout: "float | None" = None, max_data: int = 0):
        """Features: GpuFeatures that are offered."""
        self._open("vh_gpu_new_display", socket, timeout, max_data, features)

    def recv(self) -> "GpuMessage | None":
        """The next request; None: there is none yet. GET_DISPLAY_INFO, GET_EDID and DMABUF_UPDATE want an answer first."""
        msg, fd = new_sized("vh_gpu_msg"), ffi.new("vh_fd *")
        if not self._call("vh_gpu_recv", msg, fd):
            return None
        return GpuMessage(known(GpuRequest, msg.request), data=copied(msg.data, msg.data_size),
                          fd=None if fd[0] < 0 else int(fd[0]), **{name: int(getattr(msg, name)) for name in _NUMBERS})

    def wait(self, timeout: "float | None" = None) -> "GpuMessage | None":
        """The next request, when it is there; None: the time passed. ConnectionResetError: the device is gone."""
        end = _aio.deadline(timeout)
        while True:
            message = self.recv()
            if message is not None or not _aio.wait(self, _aio.left(end)):
                return message

    def reply_modes(self, modes: "Sequence[GpuMode]") -> None:
        """Answer GET_DISPLAY_INFO: by scanout; the others are off."""
        self._call("vh_gpu_reply_modes", ffi.new("struct vh_gpu_mode[]", [dataclasses.asdict(m) for m in modes]), len(modes))

    def reply_edid(self, edid: bytes) -> None:
        """Answer GET_EDID."""
        self._call("vh_gpu_reply_edid", ffi.from_buffer(edid), len(edid))

    def reply_shown(self) -> None:
        """Answer DMABUF_UPDATE: the device may use the buffer again."""
        self._call("vh_gpu_reply_shown")


__all__ = ["GpuDevice", "GpuDisplay", "GpuMessage"]
