# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""The state of a device: out of one, into another, and what goes wrong on the way."""
import errno
import os
import tempfile
import threading

import pytest
from binding import MIB, WAIT, Null, Turns, served, vh

HEAD = 32  # bytes of a block device's state before its contents


class Box(Null):
    """Its state is all that it is."""

    def __init__(self, state=b""):
        super().__init__()
        self.state, self.arriving = state, b""
        self.later = None

    def save_state(self, offset, room, later):
        return self.state[offset:offset + room]

    def load_state(self, offset, data, later):
        self.arriving = data if not offset else self.arriving + data
        if not data:
            if not self.arriving.startswith(b"box"):
                return -errno.EINVAL
            self.state = self.arriving
        return None


def refused(call, *args, **options):
    with pytest.raises(vh.VhError) as e:
        call(*args, **options)
    return e.value.errno


def negotiated(t):
    t.run(t.master.negotiate)



def test_scenario_device_state(tmp_path):
    """A disk in memory is written to, and moves to another back-end."""
    data = os.urandom(65536)
    with vh.Device.ram(4 * MIB) as first, served(first, tmp_path / "a"), vh.connect(tmp_path / "a", timeout=WAIT) as m:
        with vh.Blk(m) as blk:
            blk.write(3 * MIB, data)
            assert refused(m.save_state) == errno.EREMOTEIO
            blk.driver.stop()
            state = m.save_state()
        assert len(state) == 4 * MIB + HEAD
        moved = [e for e in m.events() if e.kind == vh.EventKind.STATE_MOVED]
        assert moved[-1].value == len(state)
    with vh.Device.ram(4 * MIB) as second, served(second, tmp_path / "b"), vh.connect(tmp_path / "b", timeout=WAIT) as m:
        m.negotiate()
        assert m.load_state(state) == len(state)
        with vh.Blk(m) as blk:
            assert blk.read(3 * MIB, len(data)) == data
            assert blk.read(0, 4096) == bytes(4096)


def test_scenario_migration(tmp_path):
    """A session moves to another back-end: its memory while requests go on, by what the log says, then the device's state."""
    page, data = vh.DIRTY_PAGE, os.urandom(MIB)
    with vh.Device.ram(4 * MIB) as first, served(first, tmp_path / "a"), vh.connect(tmp_path / "a", timeout=WAIT) as m:
        with vh.Blk(m) as blk, vh.Dirty(1 << 30) as log:
            buffer = blk.alloc(MIB)
            snapshot = blk.driver.snapshot()
            region = snapshot.regions()[0]
            memory = snapshot.view(region.gpa, region.len)
            blk.write(MIB, data)
            blk.driver.set_dirty(log)
            arrived = bytearray(memory)
            for at in range(0, MIB, 65536):
                blk.submit([vh.BlkIo(vh.BlkOp.READ, MIB + at, buffer[at:at + 65536], at)])
                assert blk.wait(WAIT) and [(d.user, d.rc) for d in blk.reap()] == [(at, 0)]
                for gpa in log.take():
                    there = gpa - region.gpa
                    arrived[there:there + page] = memory[there:there + page]
            blk.driver.stop()
            assert bytes(buffer) == data and data in arrived
            blk.driver.set_dirty(None)
            state = m.save_state()
    with vh.Device.ram(4 * MIB) as second, served(second, tmp_path / "b"), vh.connect(tmp_path / "b", timeout=WAIT) as m:
        m.negotiate()
        m.load_state(state)
        with vh.Blk(m) as blk:
            assert blk.read(MIB, MIB) == data


def test_a_device_in_python_is_moved():
    state = b"box" + os.urandom(300000)
    with Turns(Box(state)) as a, Turns(Box()) as b:
        negotiated(a)
        negotiated(b)
        with tempfile.TemporaryFile() as file:
            assert a.run(a.master.save_state, file) == len(state)
            file.seek(0)
            assert b.run(b.master.load_state, file) == len(state)
        assert b.slave.device.state == state
        assert b.run(b.master.save_state) == state


def test_a_state_that_is_none_is_refused():
    device = Box(b"box1")
    with Turns(device) as t:
        negotiated(t)
        assert t.run(lambda: refused(t.master.load_state, b"something else")) == errno.EREMOTEIO
        assert device.state == b"box1"


def test_a_state_is_as_long_as_it_may_be():
    with Turns(Box(b"box" * 100), max_state_bytes=200) as t:
        negotiated(t)
        assert t.run(lambda: refused(t.master.save_state)) == errno.EREMOTEIO
        assert t.run(lambda: refused(t.master.load_state, b"box" * 100)) in (errno.EREMOTEIO, errno.EPIPE)
    with Turns(Box(b"box" * 100)) as t:
        negotiated(t)
        assert t.run(lambda: refused(t.master.save_state, max_bytes=200)) == errno.EFBIG


def test_a_state_may_come_later():
    class Slow(Box):
        def save_state(self, offset, room, later):
            data = self.state[offset:offset + room]
            timer = threading.Timer(0.02, lambda: later.reply(data) if data else later.finish())
            timer.start()
            return later

    with Turns(Slow(b"box, late")) as t:
        negotiated(t)
        assert t.run(t.master.save_state) == b"box, late"


def test_what_a_method_raises_comes_out_of_the_slave():
    class Broken(Box):
        def save_state(self, offset, room, later):
            return bytes(room + 1)

    with Turns(Broken()) as t:
        negotiated(t)
        with pytest.raises(ValueError, match="room"):
            t.run(lambda: refused(t.master.save_state))


def test_the_messages_one_by_one():
    state = b"box" * 1000
    with Turns(Box(state)) as t:
        negotiated(t)
        ours, theirs = os.pipe()
        assert t.run(t.master.set_device_state_fd, theirs) is None
        os.close(theirs)
        with open(ours, "rb") as file:
            assert t.run(file.read) == state
        t.run(t.master.check_device_state)
        # A file could block: the back-end gives something else.
        with tempfile.TemporaryFile() as file:
            fd = t.run(t.master.set_device_state_fd, file, vh.STATE_LOAD)
        with open(fd, "wb") as file:
            file.write(b"boxed")
        t.run(t.master.check_device_state)
        assert t.slave.device.state == b"boxed"
        assert t.run(lambda: refused(t.master.set_device_state_fd, 0, 7)) == errno.EINVAL


def test_without_the_methods_it_is_not_offered():
    with Turns(Null()) as t:
        negotiated(t)
        assert refused(t.master.save_state) == errno.EOPNOTSUPP
        assert vh.ProtocolFeatures.DEVICE_STATE not in t.run(t.master.get_protocol_features)
