# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""The GPU protocol: a device and a display, over the socket that a front-end hands over."""
import contextlib
import errno
import os
import socket
import struct
import threading

import pytest
from binding import WAIT, Turns, vh

ALL = vh.GpuFeatures.EDID | vh.GpuFeatures.DMABUF2


class Gpu(vh.Device):
    type = 16
    max_queues = 2
    gpu = None

    def set_gpu_socket(self, fd, later):
        self.gpu = vh.GpuDevice(fd, timeout=WAIT)


@contextlib.contextmanager
def display_at(sock, **options):
    """A thread that shows what comes; what it was told."""
    told = []
    display = vh.GpuDisplay(sock, **options)

    def run():
        with display, contextlib.suppress(ConnectionResetError):
            while True:
                m = display.wait(WAIT)
                told.append(m)
                if m.request == vh.GpuRequest.GET_DISPLAY_INFO:
                    display.reply_modes([vh.GpuMode(width=800, height=600, enabled=1)])
                elif m.request == vh.GpuRequest.GET_EDID:
                    display.reply_edid(b"monitor %d" % m.scanout_id)
                elif m.request == vh.GpuRequest.DMABUF_UPDATE:
                    display.reply_shown()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield told
    finally:
        thread.join(2 * WAIT)
        assert not thread.is_alive()


def test_scenario_gpu():
    device = Gpu()
    ours, theirs = socket.socketpair()
    with Turns(device) as t, ours, theirs:
        t.run(t.master.negotiate)
        t.run(t.master.set_gpu_socket, theirs)
        theirs.close()
        with display_at(ours, features=ALL) as told, device.gpu as gpu:
            assert gpu.negotiate() == ALL
            modes = gpu.modes()
            assert len(modes) == vh.GPU_MAX_SCANOUTS and modes[0].width == 800 and not modes[1].enabled
            assert gpu.edid(3) == b"monitor 3"
            gpu.send(vh.GpuRequest.SCANOUT, width=640, height=480)
            pixels = os.urandom(640 * 480 * 4)
            gpu.send(vh.GpuRequest.UPDATE, x=1, y=2, width=640, height=480, data=pixels)
            gpu.send(vh.GpuRequest.CURSOR_UPDATE, hot_x=5, data=bytes(vh.GPU_CURSOR_BYTES))
            fd = os.memfd_create("dma-buf")
            gpu.send(vh.GpuRequest.DMABUF_SCANOUT2, fd=fd, width=2, height=1, fd_stride=8, modifier=1 << 56)
            os.close(fd)
            gpu.send(vh.GpuRequest.DMABUF_UPDATE, width=2, height=1)
    kinds = vh.GpuRequest
    assert [m.request for m in told] == [kinds.GET_DISPLAY_INFO, kinds.GET_EDID, kinds.SCANOUT, kinds.UPDATE,
                                         kinds.CURSOR_UPDATE, kinds.DMABUF_SCANOUT2, kinds.DMABUF_UPDATE]
    update, buffer = told[3], told[5]
    assert (update.x, update.y, update.width, update.data) == (1, 2, 640, pixels)
    assert buffer.modifier == 1 << 56 and buffer.fd_stride == 8
    assert os.readlink(f"/proc/self/fd/{buffer.fd}").startswith("/memfd:dma-buf")
    os.close(buffer.fd)


def test_a_display_refuses_what_breaks_the_rules():
    a, b = socket.socketpair()
    with a, b, vh.GpuDisplay(a) as display:
        assert display.recv() is None and display.wait(0.01) is None
        b.sendall(struct.pack("=3I5I", 8, 0, 20, 16, 0, 0, 0, 0))
        with pytest.raises(vh.VhError) as e:
            display.recv()
        assert e.value.errno == errno.EPROTO and e.value.site == 905
        with pytest.raises(vh.VhError) as e:
            display.recv()
        assert e.value.errno == errno.ENOTCONN


def test_a_device_is_told_what_it_does_wrong():
    a, b = socket.socketpair()
    with a, b, vh.GpuDevice(a, timeout=0.05) as gpu:
        for request, numbers in ((vh.GpuRequest.UPDATE, {"width": 1, "height": 1}), (vh.GpuRequest.GET_EDID, {}),
                                 (vh.GpuRequest.SCANOUT, {"scanout_id": 16})):
            with pytest.raises(vh.VhError) as e:
                gpu.send(request, **numbers)
            assert e.value.errno == errno.EINVAL
        with pytest.raises(vh.VhError) as e:
            gpu.edid(0)
        assert e.value.errno == errno.EOPNOTSUPP
        with pytest.raises(TimeoutError):
            gpu.modes()
