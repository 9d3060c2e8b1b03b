# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""A GPU's socket, which a front-end hands over, is traced as the other channels are."""
import contextlib
import io
import os
import socket
import subprocess
import threading

import pytest
from binding import WAIT, vh
from tracing import rig
from vh.testing import FE, wire
from vh.trace import Printer, read
from vh.trace.files import tell

SIZE = 640 * 480 * 4  # of a picture, more than fits into a socket


@contextlib.contextmanager
def display(tmp_path, **options):
    """A rig, the socket of a display, and the one that its device has got, with the tracer between."""
    with rig(tmp_path, serve=False, **options) as r:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            r.fe.send(FE.GPU_SET_SOCKET, fds=[theirs.fileno()])
            with r.be.conn.recv() as got, socket.socket(fileno=os.dup(got.fds[0])) as device:
                theirs.close()
                yield r, ours, device


@pytest.fixture(name="session")
def _session(tmp_path):
    """What was seen of one, with all that libvh's two ends can say."""
    with display(tmp_path) as (r, ours, theirs):
        with vh.GpuDisplay(ours, features=vh.GpuFeatures.EDID | vh.GpuFeatures.DMABUF2) as shown, vh.GpuDevice(theirs, timeout=WAIT) as gpu:
            got = []

            def show():
                for _ in range(7):
                    m = shown.wait(WAIT)
                    got.append(m)
                    if m.request == vh.GpuRequest.GET_DISPLAY_INFO:
                        shown.reply_modes([vh.GpuMode(width=800, height=600, enabled=1)])
                    elif m.request == vh.GpuRequest.GET_EDID:
                        shown.reply_edid(b"monitor")
                    elif m.request == vh.GpuRequest.DMABUF_UPDATE:
                        shown.reply_shown()
            thread = threading.Thread(target=show)
            thread.start()
            gpu.negotiate()
            gpu.modes()
            gpu.edid(3)
            gpu.send(vh.GpuRequest.SCANOUT, width=640, height=480)
            gpu.send(vh.GpuRequest.UPDATE, x=1, y=2, width=640, height=480, data=os.urandom(SIZE))
            gpu.send(vh.GpuRequest.CURSOR_UPDATE, hot_x=5, data=bytes(vh.GPU_CURSOR_BYTES))
            fd = os.memfd_create("dma-buf")
            gpu.send(vh.GpuRequest.DMABUF_SCANOUT2, fd=fd, width=2, height=1, fd_stride=8, modifier=1 << 56)
            os.close(fd)
            gpu.send(vh.GpuRequest.DMABUF_UPDATE, width=2, height=1)
            thread.join(WAIT)
            os.close(got[5].fd)
            assert len(got[3].data) == SIZE
        assert r.tracer.wait_for(lambda: [m for m in r.tracer.messages if m.channel == "gpu"][-1].is_reply, WAIT)
    return r.tracer


def test_each_message_has_its_name_and_fields(session):
    assert not session.violations, [str(v) for v in session.violations]
    seen = [m for m in session.messages if m.channel == "gpu"]
    assert [m.name for m in seen if not m.is_reply] == [
        "GPU_GET_PROTOCOL_FEATURES", "GPU_SET_PROTOCOL_FEATURES", "GPU_GET_DISPLAY_INFO", "GPU_GET_EDID", "GPU_SCANOUT", "GPU_UPDATE",
        "GPU_CURSOR_UPDATE", "GPU_DMABUF_SCANOUT2", "GPU_DMABUF_UPDATE"]
    by_name = {(m.name[4:], m.is_reply): m for m in seen}
    assert by_name["GET_PROTOCOL_FEATURES", True].fields == {"value": 3}
    assert by_name["GET_DISPLAY_INFO", True].fields["modes"][0]["height"] == 600
    assert by_name["GET_EDID", True].fields == {"size": 7}
    assert by_name["DMABUF_SCANOUT2", False].fields["modifier"] == 1 << 56
    assert [fd.kind for fd in by_name["DMABUF_SCANOUT2", False].fds] == ["memfd"]
    update = by_name["UPDATE", False]
    assert update.fields == {"scanout_id": 0, "x": 1, "y": 2, "width": 640, "height": 480}
    assert update.size == 20 + SIZE and len(update.payload) <= 2048  # the picture is not kept
    for m in seen:
        assert m.sender == ("front-end" if m.is_reply else "back-end")
        assert not m.is_reply or m.reply_to


def test_it_is_printed_recorded_and_read_again(session, tmp_path):
    log, packets = tmp_path / "log.jsonl", tmp_path / "log.pcapng"
    session.save(jsonl=log, pcapng=packets)
    lines = io.StringIO()
    tell(read(log), Printer(lines))
    assert " <~ " in lines.getvalue() and " ~> " in lines.getvalue()
    assert "GPU_UPDATE" in lines.getvalue() and "width=640 height=480" in lines.getvalue()
    for path in (log, packets):
        assert [(m.name, m.fields, m.is_reply, m.size) for m in read(path).messages] == \
            [(m.name, m.fields, m.is_reply, m.size) for m in session.messages]
    dissector = os.path.join(os.path.dirname(vh.__file__), "trace", "vhost-user.lua")
    shown = subprocess.run(["tshark", "-X", f"lua_script:{dissector}", "-r", packets], capture_output=True, text=True, timeout=60,
                           env={**os.environ, "HOME": str(tmp_path)}, check=True).stdout
    assert "GPU_SCANOUT scanout_id=0 width=640 height=480" in shown and "GPU_GET_EDID reply" in shown, shown


def test_what_is_wrong_is_told(tmp_path):
    with display(tmp_path) as (r, ours, device):
        for end, request, flags, payload, fds in (
                (device, 99, 0, b"", 0), (ours, 7, 0, bytes(12), 0), (device, 7, 0, bytes(8), 0), (device, 7, 0, bytes(16), 0),
                (ours, 1, 4, bytes(8), 0), (device, 7, 0, bytes(12), 1)):
            with open(os.devnull, "rb") as null:
                socket.send_fds(end, [wire.HEADER.pack(request, flags, len(payload)) + payload], [null.fileno()] * fds)
            other = ours if end is device else device
            other.settimeout(WAIT)
            assert len(other.recv(4096)) == 12 + len(payload)
        texts = [v.text for v in r.tracer.violations]
    assert texts == ["there is no message 99", "a request of the front-end", "8 bytes, not 12", "16 bytes, not 12",
                     "nobody has asked for that", "1 file descriptors"]
    assert set(r.rules()) == {"display-message"}
