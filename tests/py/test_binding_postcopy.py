# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Postcopy: a disk is driven while the pages of its buffers are elsewhere. It takes userfaultfd."""
import ctypes
import errno
import os
import select
import threading

import pytest
from binding import MIB, WAIT, Turns, served, vh

PAGE = 4096
MADV_REMOVE = 9
LIBC = ctypes.CDLL(None, use_errno=True)


class Pager:
    """Brings pages out of what the memory held where the guest was."""

    def __init__(self, late, gpa, source):
        self.late, self.gpa, self.source, self.brought = late, gpa, source, 0
        self._woken, self._stop = os.pipe()
        self._thread = threading.Thread(target=self._run)

    def _run(self):
        while self._woken not in select.select([self.late, self._woken], [], [])[0]:
            while (fault := self.late.next()) is not None:
                assert fault.page_size == PAGE
                at = fault.gpa - self.gpa
                self.brought += 1  # before it wakes who looks at the number
                self.late.place(fault.gpa, self.source[at:at + PAGE])

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        os.close(self._stop)
        self._thread.join(WAIT)
        os.close(self._woken)
        assert not self._thread.is_alive()


def take_away(address, length):
    """Pages out of the file that is mapped there."""
    assert not LIBC.madvise(ctypes.c_void_p(address), ctypes.c_size_t(length), MADV_REMOVE), os.strerror(ctypes.get_errno())


@pytest.mark.parametrize("slots", (True, False))
def test_scenario_postcopy(tmp_path, slots):
    """A write whose data is elsewhere, and a read into pages that are missing."""
    mask = 0 if slots else vh.ProtocolFeatures.CONFIGURE_MEM_SLOTS
    length = 64 * 1024
    with vh.Device.ram(4 * MIB) as disk, served(disk, tmp_path / "s", postcopy=True), \
            vh.Master(timeout=WAIT, mask_protocol_features=mask) as m:
        m.connect(tmp_path / "s")
        m.negotiate()
        with m.postcopy_advise() as late:
            m.postcopy_listen()
            with vh.Driver(m, type=vh.DeviceType.BLK) as driver, vh.Blk(driver) as blk:
                buffer = blk.alloc(MIB)
                region = driver.snapshot().regions()[0]
                start = ctypes.addressof(ctypes.c_char.from_buffer(buffer))
                start += -start % PAGE
                at = start - region.host
                view = memoryview(driver.snapshot().view(region.gpa + at, 2 * length, write=True))
                source = os.urandom(region.len)
                with Pager(late, region.gpa, source) as pager:
                    driver.start()
                    take_away(start, 2 * length)
                    blk.submit([vh.BlkIo(vh.BlkOp.WRITE, 0, view[:length], 1)])
                    assert blk.wait(WAIT) and [(d.user, d.rc) for d in blk.reap(4)] == [(1, 0)]
                    assert pager.brought >= length // PAGE and view[:length] == source[at:at + length]
                    take_away(start, 2 * length)
                    blk.submit([vh.BlkIo(vh.BlkOp.READ, 0, view[length:], 2)])
                    assert blk.wait(WAIT) and [(d.user, d.rc) for d in blk.reap(4)] == [(2, 0)]
                    assert view[length:] == source[at:at + length]
                    m.postcopy_end()
                assert blk.read(0, length) == source[at:at + length]


def test_arguments_and_order(tmp_path):
    with vh.Device.ram(MIB) as disk, served(disk, tmp_path / "s", postcopy=True), vh.connect(tmp_path / "s", timeout=WAIT) as m:
        m.negotiate()
        for call in (m.postcopy_listen, m.postcopy_end):
            with pytest.raises(vh.VhError):
                call()
        late = m.postcopy_advise()
        m.postcopy_listen()
        assert late.next() is None and late.fileno() >= 0
        with vh.Memory() as memory:
            memory.alloc(0x100000, MIB)
            m.set_mem(memory)
            late.place(0x100000, bytes(PAGE))
            late.wake(0x100000, PAGE)
            for gpa, data, why in ((0x100000, b"x", errno.EINVAL), (0x200000, bytes(PAGE), errno.EFAULT)):
                with pytest.raises(vh.VhError) as e:
                    late.place(gpa, data)
                assert e.value.errno == why
        m.postcopy_end()
        late.close()
        with pytest.raises(vh.VhError):
            late.next()


def test_who_does_not_ask_offers_nothing():
    with vh.Device.ram(MIB) as disk, Turns(disk) as t:
        t.run(t.master.negotiate)
        with pytest.raises(vh.VhError) as e:
            t.master.postcopy_advise()
        assert e.value.errno == errno.EOPNOTSUPP
