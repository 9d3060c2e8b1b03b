# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""A back-end is replaced by another while its front-end goes on."""
import errno
import os
import threading

import pytest
from binding import MIB, Null, served, vh


class Relay:
    """One slave after the other, over the same file, on a thread of its own."""

    def __init__(self, disk, path):
        self.disk, self.count, self.raised = disk, 0, []
        self.wanted, self.done, self.ending = threading.Event(), threading.Event(), False
        self.slave = vh.Slave(vh.Device.file(disk))
        self.slave.listen(path)
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        try:
            while not self.ending:
                self.slave.wait(0.02)
                if self.wanted.is_set():
                    self.replace()
        except BaseException as e:  # pylint: disable=broad-except
            self.raised.append(e)
        finally:
            self.slave.close()
            self.slave.device.close()

    def replace(self):
        assert self.slave.pause(20)
        state = self.slave.export_state()
        successor = vh.Slave(vh.Device.file(self.disk))
        successor.import_state(state.data, state.fds)
        state.close()
        self.slave.close()
        self.slave.device.close()
        self.slave, self.count = successor, self.count + 1
        self.wanted.clear()
        self.done.set()


def test_io_goes_on_with_a_successor(tmp_path):
    path = tmp_path / "disk"
    path.write_bytes(bytes(MIB))
    with open(path, "r+b") as disk:
        relay = Relay(disk, tmp_path / "s")
        try:
            with vh.Blk(tmp_path / "s") as blk:
                for i in range(60):
                    data = os.urandom(4096)
                    if i % 10 == 5:
                        relay.done.clear()
                        relay.wanted.set()
                    blk.write(4096 * (i % 200), data)
                    assert blk.read(4096 * (i % 200), 4096) == data
                    if i % 10 == 5:
                        assert relay.done.wait(20), relay.raised
        finally:
            relay.ending = True
            relay.thread.join()
        assert not relay.raised and relay.count == 6


def test_what_is_not_quiet_or_does_not_fit_is_refused(tmp_path):
    with served(Null(), tmp_path / "s") as slave, vh.connect(tmp_path / "s") as master:
        master.negotiate(vh.Features.VERSION_1)
        with pytest.raises(vh.VhError) as e:
            slave.export_state()
        assert e.value.errno == errno.EAGAIN
        assert slave.pause(20)
        state = slave.export_state()
        with vh.Slave(Null(), mask_features=vh.Features.VERSION_1) as other:
            with pytest.raises(vh.VhError) as e:
                other.import_state(state.data, state.fds)
            assert e.value.errno == errno.EOPNOTSUPP
            with pytest.raises(vh.VhError) as e:
                other.import_state(state.data[:-1], state.fds)
            assert e.value.errno == errno.EINVAL
        state.close()
        slave.resume()
        assert master.get_features()
