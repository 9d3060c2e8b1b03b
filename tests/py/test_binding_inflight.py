# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Records of what is in flight: what one device began is given to the next."""
import errno
import os

import pytest
from binding import MIB, RING, served, vh

FEATURES = {"split": 1 << vh.F_VERSION_1, "packed": 1 << vh.F_VERSION_1 | 1 << vh.F_RING_PACKED}


@pytest.mark.parametrize("layout", FEATURES)
def test_scenario_inflight(layout):
    """A device goes away with requests in flight; the next one is given them again, before anything new."""
    features = FEATURES[layout]
    with vh.Memory() as memory:
        memory.alloc(RING, 4 * MIB)
        where = {"num": 64, "desc": RING, "driver": RING + 0x40000, "device": RING + 0x80000, "features": features,
                 "base": vh.QUEUE_PACKED_BASE if layout == "packed" else 0}
        ram = memory.view(RING + MIB, MIB)
        with vh.Queue(memory, role=vh.QUEUE_DRIVER, **where) as driver, vh.Inflight(1, 64, features) as records:
            def start():
                queue = vh.Queue(memory, role=vh.QUEUE_DEVICE, hold=True, **where)
                queue.set_inflight(records)
                queue.start()
                return queue

            with start() as first:
                assert driver.submit(([ram[0:8]], [ram[64:128]], i) for i in range(4)) == 4
                batch = first.pop(3)
                first.push(batch[1])
                del batch
            with start() as second:
                again = second.pop()
                assert len(again) == 2 and all(r.flags & vh.REQ_RESUBMITTED for r in again)
                second.complete(again)
                new = second.pop()
                assert len(new) == 1 and not new[0].flags & vh.REQ_RESUBMITTED
                second.complete(new)
                with pytest.raises(vh.VhError) as e:
                    second.set_inflight(None)
                assert e.value.errno == errno.EBUSY
            assert [c.user for c in driver.reap()] == [1, 0, 2, 3]
        ram.release()


def test_records_of_somebody_else_and_closed_ones():
    with vh.Inflight(2, 128) as records:
        assert records.mmap_size > 2 * 128 * 16 and "2 queues" in repr(records)
        same = vh.Inflight(2, 128, fd=records, mmap_size=records.mmap_size)
        assert os.fstat(same.fileno()).st_ino == os.fstat(records.fileno()).st_ino
    with pytest.raises(ValueError):
        records.fileno()
    same.close()
    same.close()
    with pytest.raises(vh.VhError):
        vh.Inflight(0, 128)


class Disk(vh.Device):
    type = vh.DeviceType.BLK

    def on_batch(self, queue, index, budget):
        return 0


class Printer(Disk):
    """What was printed can't be printed again."""

    repeats = False


def test_a_front_end_keeps_the_records_of_its_back_end(tmp_path):
    path = str(tmp_path / "s")
    with served(Disk(), path), vh.connect(path) as master:
        master.negotiate()
        with master.get_inflight(1, 128) as records:
            assert (records.num_queues, records.queue_size) == (1, 128)
            master.set_inflight(records)
        for call in (lambda: master.get_vring_base_skip_drain(0), lambda: master.vring_kick(0)):
            with pytest.raises(vh.VhError) as e:
                call()
            assert e.value.errno == errno.EOPNOTSUPP


def test_a_device_that_can_not_repeat(tmp_path):
    path = str(tmp_path / "s")
    with served(Printer(), path), vh.connect(path) as master:
        master.negotiate()
        with pytest.raises(vh.VhError) as e:
            master.get_inflight(1, 128)
        assert e.value.errno == errno.EOPNOTSUPP
