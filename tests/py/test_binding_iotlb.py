# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""The IOTLB: by itself."""
import errno
import os
import time

import pytest
from binding import WAIT, Null, served, vh

PAGE = 4096
GUEST = 0x4000_0000


def test_an_iotlb_translates_faults_and_misses():
    with vh.Memory() as memory:
        memory.alloc(GUEST, 16 * PAGE)
        with vh.Iotlb(memory) as iotlb:
            iotlb.update(0x1000, PAGE, GUEST + PAGE)
            iotlb.update(0x2000, PAGE, GUEST + 2 * PAGE, vh.MEM_READ)
            memory.view(GUEST + PAGE, 5)[:] = b"hello"
            assert [bytes(v) for v in iotlb.segments(0x1000, 5)] == [b"hello"]
            iotlb.segments(0x1001, 1, write=True)[0][:] = b"a"
            assert bytes(memory.view(GUEST + PAGE, 5)) == b"hallo"
            for iova, code in ((0x3000, errno.EAGAIN), (0x2000, errno.EFAULT)):
                with pytest.raises(vh.VhError) as e:
                    iotlb.segments(iova, 1, write=True)
                assert e.value.errno == code
            assert iotlb.entries() == [vh.IotlbEntry(0x1000, PAGE, GUEST + PAGE, 3, 0),
                                       vh.IotlbEntry(0x2000, PAGE, GUEST + 2 * PAGE, 1, 0)]
            iotlb.invalidate(0x1800, PAGE)
            assert [(e.iova, e.len) for e in iotlb.entries(0x1fff)] == [(0x2800, 0x800)]
            iotlb.invalidate()
            assert not iotlb.entries() and iotlb.stats.invalidations == 2 and iotlb.next_miss() is None
            assert iotlb.fileno() >= 0
            with pytest.raises(vh.VhError) as e:
                iotlb.deny(0x3000)
            assert e.value.errno == errno.ENOENT


def test_a_range_may_have_any_number_of_pieces():
    with vh.Memory() as memory:
        memory.alloc(0, 16 * PAGE)
        with vh.Iotlb(memory) as iotlb:
            for i in range(40):  # from back to front: none goes on with its neighbour
                iotlb.update(64 * i, 64, PAGE - 64 * i)
            assert [len(v) for v in iotlb.segments(0, 40 * 64)] == [64] * 40
            with pytest.raises(BlockingIOError):
                iotlb.segments(0, 1 << 63)


def test_an_iotlb_without_a_memory_is_a_map():
    with vh.Iotlb(max_entries=1) as iotlb:
        iotlb.update(0, PAGE, 0x1234)
        assert iotlb.entries()[0].addr == 0x1234
        with pytest.raises(vh.VhError) as e:
            iotlb.update(2 * PAGE, PAGE, 0x1234)
        assert e.value.errno == errno.ENOSPC
        with pytest.raises(ValueError):
            iotlb.segments(0, 1)


def test_scenario_iommu(tmp_path):
    path = str(tmp_path / "null")
    offset = 0x7F00_0000_0000
    device = Null()
    with served(device, path, more_features=vh.Features.ACCESS_PLATFORM) as slave, vh.connect(path) as master:
        with vh.Driver(master, type=vh.DeviceType.BLK, iommu=True, iova_offset=offset) as driver:
            assert driver.features & vh.Features.ACCESS_PLATFORM
            disk = vh.Blk(driver)
            buffer = disk.alloc(4096)
            buffer[:] = b"x" * 4096
            driver.start()
            for _ in range(3):
                disk.submit([vh.BlkIo(vh.BlkOp.READ, 0, buffer, 1)])
                assert disk.wait(WAIT) and disk.reap() == [(1, 0)]
                assert bytes(buffer[:512]) == bytes(512)
                master.iotlb_invalidate(offset, 1 << 40)
        assert slave.queue(0).stats.iotlb_misses > 3


def test_misses_come_to_a_callback(tmp_path):
    path = str(tmp_path / "null")
    asked = []
    with served(Null(), path, more_features=vh.Features.ACCESS_PLATFORM), vh.Memory() as memory:
        memory.alloc(GUEST, 16 * PAGE)

        def missed(iova, perm):
            asked.append((iova, perm))
            master.iotlb_update(vh.IotlbEntry(0, 16 * PAGE, memory.regions()[0].uva, 3, 0))

        with vh.Master() as master, vh.Iotlb() as table:
            master.set_iotlb_miss(missed)
            master.connect(path)
            master.negotiate(vh.Features.VERSION_1 | vh.Features.ACCESS_PLATFORM)
            master.set_mem(memory)
            master.set_iotlb(table)
            ring = vh.VringAddr(0, 0, 0x1000, 0x3000, 0x2000, 0)
            master.set_vring_num(0, 16)
            master.set_vring_addr(ring)
            kick = os.eventfd(0) if hasattr(os, "eventfd") else None
            master.set_vring_kick(0, kick)
            end = time.monotonic() + WAIT
            while not asked and time.monotonic() < end:
                master.get_features()
                master.dispatch()
            assert asked[0] == (0x1000, vh.MEM_READ)
            master.iotlb_invalidate(0x1000, PAGE)
            master.set_iotlb(None)
            with pytest.raises(TypeError):
                master.set_iotlb_miss(3)
