# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""The dirty log: of a queue that stands alone, and of a driver session."""
import errno
import os

import pytest
from binding import MIB, RING, WAIT, Null, Pair, served, vh


def test_a_dirty_log_has_what_a_queue_wrote():
    with Pair() as pair, vh.Dirty(RING + 4 * MIB) as log:
        pair.device.set_dirty(log, used=RING + 0x80000)
        pair.offer(2)
        batch = pair.device.pop()
        for request in batch:
            request.write(b"answer")
        pair.device.push(batch)
        assert list(log.take()) == [RING + 0x80000, RING + MIB + 4096, RING + MIB + 3 * 4096]
        pair.device.mark(pair.buffer(9))
        assert list(log.take()) == [RING + MIB + 9 * 4096]
        pair.device.set_dirty(None)
        pair.device.mark(pair.buffer(9))
        assert not list(log.take())


def test_pages_are_taken_once_and_what_is_beyond_is_counted():
    with vh.Dirty(1000 * vh.DIRTY_PAGE) as log:
        log.mark(0, 1000 * vh.DIRTY_PAGE)
        assert list(log.take(7 * vh.DIRTY_PAGE)) == [page * vh.DIRTY_PAGE for page in range(7, 1000)]
        assert len(list(log.take())) == 7
        with pytest.raises(vh.VhError) as e:
            log.mark(2000 * vh.DIRTY_PAGE, 1)
        assert e.value.errno == errno.ERANGE and log.info.lost == 1
        fd = log.dup_fd()
        with vh.Dirty(fd=fd, offset=0, length=log.info.len) as same:
            same.mark(4096, 1)
        os.close(fd)
        assert list(log.take()) == [4096]


def test_scenario_ring_reset(tmp_path):
    with served(Null(), str(tmp_path / "null")), vh.Blk(str(tmp_path / "null")) as disk:
        assert disk.driver.features & vh.Features.RING_RESET
        for _ in range(3):
            disk.read(0, 512)
            disk.driver.reset_queue(0)
        disk.read(0, 512)
        with pytest.raises(OSError):
            disk.driver.reset_queue(99)


def test_a_driver_has_its_device_log(tmp_path):
    with served(Null(), str(tmp_path / "null")), vh.Dirty(1 << 30) as log, vh.Blk(str(tmp_path / "null")) as disk:
        buffer = disk.alloc(4096)
        disk.driver.set_dirty(log)
        disk.submit([vh.BlkIo(vh.BlkOp.READ, 0, buffer, 1)])
        assert disk.wait(WAIT) and disk.reap() == [(1, 0)]
        assert len(list(log.take())) > 1
        disk.driver.set_dirty(None)
        list(log.take())
        disk.read(0, 512)
        assert not list(log.take())
