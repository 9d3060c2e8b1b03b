# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Back-ends that poll their queues, and waits that somebody ends."""
import math
import threading

import pytest
from binding import MIB, WAIT, Null, served, vh


@pytest.mark.parametrize("poll", [math.inf, 0.001])
def test_a_back_end_that_polls_serves(tmp_path, poll):
    ram = vh.Device.ram(MIB)
    with served(ram, tmp_path / "s", poll=poll) as slave, vh.Blk(tmp_path / "s") as disk:
        for i in range(20):
            disk.write(512 * i, bytes([i]) * 512)
        assert disk.read(512 * 19, 512) == bytes([19]) * 512
        assert poll != math.inf or slave.stats.queue_kicks <= 2  # sent before it said that it wants none
    assert not slave.raised

@pytest.mark.parametrize("poll", [math.inf, 0.001])
def test_a_front_end_that_polls_is_served(tmp_path, poll):
    with served(vh.Device.ram(MIB), tmp_path / "s"), vh.connect(tmp_path / "s", timeout=WAIT) as master:
        driver = vh.Driver(master, type=vh.DeviceType.BLK, poll=poll)
        driver.start()
        disk = vh.Blk(driver)
        for i in range(20):
            disk.write(512 * i, bytes([i]) * 512)
        assert disk.read(512 * 19, 512) == bytes([19]) * 512
        assert not disk.wait(0.01)


def test_a_time_is_not_negative():
    for poll in (-1, math.nan):
        with pytest.raises(ValueError):
            vh.Slave(Null(), poll=poll)


def test_a_wait_is_ended_by_wake(tmp_path):
    with vh.Slave(Null()) as slave:
        slave.listen(tmp_path / "s")
        assert not slave.wait(0)
        woken = threading.Thread(target=slave.wake)
        woken.start()
        assert slave.wait(WAIT)
        woken.join()
        slave.wake()
        assert slave.wait(WAIT) and not slave.wait(0)
