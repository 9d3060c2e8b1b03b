# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Network devices, driven by a session of their type."""
import errno
import os
import socket

import pytest
from binding import WAIT, Turns, served, vh

HEADER = bytes(vh.NET_HDR_SIZE)


class Frames:
    """A driver of one pair: 16 receive buffers, and one to send from."""

    def __init__(self, path, **options):
        self.master = vh.connect(path)
        self.driver = vh.Driver(self.master, type=vh.DeviceType.NET, **options)
        memory = self.driver.alloc(17 * 2048)
        self.room = [memory[i * 2048:(i + 1) * 2048] for i in range(16)]
        self.out = memory[16 * 2048:]
        self.driver.start()
        self.rx, self.tx = self.driver.queue(0), self.driver.queue(1)
        assert self.rx.submit(([], [b], i) for i, b in enumerate(self.room)) == 16

    def done(self, queue):
        while not (got := queue.reap(1)):
            assert queue.wait(WAIT)
        return got[0]

    def send(self, frame):
        data = HEADER + frame
        self.out[:len(data)] = data
        assert self.tx.submit([([self.out[:len(data)]], [], 0)]) == 1
        assert self.done(self.tx).written == 0

    def receive(self):
        got = self.done(self.rx)
        frame = bytes(self.room[got.user][len(HEADER):got.written])
        assert self.rx.submit([([], [self.room[got.user]], got.user)]) == 1
        return frame

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.room.clear()
        self.out = None
        self.driver.close()
        self.master.close()


@pytest.mark.parametrize("mask", (0, 1 << vh.F_RING_PACKED))
def test_frames_go_through_a_loopback_device(tmp_path, mask):
    path = str(tmp_path / "s")
    with vh.NetDev.loopback(mac="52:54:00:00:00:01", mtu=1500) as device, served(device, path), \
            Frames(path, mask_features=mask) as frames:
        assert frames.driver.features & (1 << vh.NET_F_MAC) and not frames.driver.features & (1 << vh.NET_F_MRG_RXBUF)
        assert frames.master.backend().get_config(0, 12) == bytes.fromhex("525400000001 0100 0100 dc05")
        for i in range(100):
            frame = os.urandom(14 + i * 15)
            frames.send(frame)
            assert frames.receive() == frame


def test_a_socket_is_the_wire_of_a_tap_device(tmp_path):
    path = str(tmp_path / "s")
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    ours.settimeout(WAIT)
    with ours, theirs, vh.NetDev.tap(theirs) as device, served(device, path), Frames(path) as frames:
        frames.send(b"from the driver")
        assert ours.recv(2048) == b"from the driver"
        ours.send(b"from the other end")
        assert frames.receive() == b"from the other end"


def test_a_sink_swallows_and_a_source_counts(tmp_path):
    path = str(tmp_path / "s")
    with vh.NetDev.sink() as device, served(device, path), Frames(path) as frames:
        frames.send(bytes(60))
        assert not frames.rx.reap()
    path = str(tmp_path / "t")
    with vh.NetDev.source(100) as device, served(device, path), Frames(path) as frames:
        for i in range(40):
            frame = frames.receive()
            assert len(frame) == 100 and frame[14:22] == i.to_bytes(8, "little")


def test_what_makes_no_sense_is_refused():
    for call in (lambda: vh.NetDev(9), lambda: vh.NetDev.loopback(pairs=200), lambda: vh.NetDev.sink(mac=b"\1" + bytes(5))):
        with pytest.raises(vh.VhError) as e:
            call()
        assert e.value.errno == errno.EINVAL
    with pytest.raises(ValueError, match="6"):
        vh.NetDev.sink(mac="52:54")
    with pytest.raises(vh.VhError) as e, open("/dev/null", "rb") as null:
        vh.NetDev.tap(null)
    assert e.value.errno == errno.ENOTSUP
    with vh.NetDev.sink() as device, Turns(device) as turns:
        with pytest.raises(vh.VhError) as e:
            turns.run(lambda: vh.Driver(turns.master, type=vh.DeviceType.NET, n_queues=3))
        assert e.value.errno == errno.ENOSPC
