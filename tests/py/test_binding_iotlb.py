# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""The IOTLB: by itself."""
import errno

import pytest
from binding import vh

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


def test_an_iotlb_without_a_memory_is_a_map():
    with vh.Iotlb(max_entries=1) as iotlb:
        iotlb.update(0, PAGE, 0x1234)
        assert iotlb.entries()[0].addr == 0x1234
        with pytest.raises(vh.VhError) as e:
            iotlb.update(2 * PAGE, PAGE, 0x1234)
        assert e.value.errno == errno.ENOSPC
        with pytest.raises(ValueError):
            iotlb.segments(0, 1)
