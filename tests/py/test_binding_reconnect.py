# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Driver sessions whose back-end goes away and comes back, and sessions over memory of the caller's."""
import asyncio
import contextlib
import errno
import os
import select
import signal
import subprocess
import threading
import time

import pytest
from binding import MIB, VHCTL, WAIT, Null, served, vh

QUICK = vh.Reconnect(first=0.001, longest=0.02)


class Server:
    """`vhctl serve blk` over a file, in a process that can be killed and started again."""

    def __init__(self, folder):
        self.path, self.disk = str(folder / "socket"), str(folder / "disk")
        with open(self.disk, "wb") as f:
            f.truncate(MIB)
        self.process = None

    def start(self):
        self.process = subprocess.Popen(  # pylint: disable=consider-using-with
            [VHCTL, "serve", "blk", "--socket", self.path, "--file", self.disk], stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True)
        self.process.stderr.readline()  # it listens

    def kill(self):
        if self.process:
            self.process.kill()
            self.process.communicate(timeout=WAIT)
            self.process = None


@pytest.fixture(name="server")
def _server(tmp_path):
    server = Server(tmp_path)
    server.start()
    yield server
    server.kill()


def next_kind(driver):
    """In an event loop, until there is an event."""
    end = time.monotonic() + WAIT
    while time.monotonic() < end:
        for event in driver.events():
            return event
        if not driver.dispatch():
            assert select.select([driver], [], [], WAIT)[0]
    raise AssertionError("no event")


def test_scenario_reconnect(server):
    with vh.connect(server.path) as master, vh.Driver(master, type=vh.DeviceType.BLK) as driver:
        driver.start()
        driver.set_reconnect(QUICK)
        with vh.Blk(driver) as disk:
            data = os.urandom(4096)
            disk.write(0, data)
            server.kill()
            event = next_kind(driver)
            assert event.kind == vh.EventKind.RECONNECTING and event.reason < 0 and event.value <= 20
            server.start()
            while event.kind == vh.EventKind.RECONNECTING:
                event = next_kind(driver)
            assert event.kind == vh.EventKind.CONNECTED
            assert next_kind(driver).kind == vh.EventKind.SESSION_RUNNING
            assert disk.read(0, 4096) == data


def test_calls_that_wait_bring_it_back_by_themselves(server):
    with vh.connect(server.path) as master, vh.Driver(master, type=vh.DeviceType.BLK) as driver:
        driver.start()
        driver.set_reconnect(QUICK)
        with vh.Blk(driver) as disk:
            for i in range(5):
                data = os.urandom(4096)
                disk.write(4096 * i, data)
                server.kill()
                later = threading.Timer(0.02, server.start)
                later.start()
                assert disk.read(4096 * i, 4096) == data
                later.join()
            buffer = disk.alloc(4096)
            server.kill()
            server.start()

            async def read():
                return await disk.async_io(vh.BlkIo(vh.BlkOp.READ, 0, buffer))

            assert asyncio.run(asyncio.wait_for(read(), WAIT)).rc == 0


def test_it_gives_up(server):
    with vh.connect(server.path) as master, vh.Driver(master, type=vh.DeviceType.BLK) as driver:
        driver.start()
        driver.set_reconnect(vh.Reconnect(max_tries=2, first=0.001))
        server.kill()
        with pytest.raises(ConnectionResetError):
            while True:
                next_kind(driver)
        kinds = [e.kind for e in driver.events()]
        assert kinds in ([vh.EventKind.GAVE_UP], [vh.EventKind.RECONNECTING, vh.EventKind.GAVE_UP])
        with pytest.raises(ConnectionResetError):
            driver.dispatch()


def test_a_signal_ends_the_wait_for_requests_in_flight(server):
    """Which never end: there is nobody."""
    def stop(*_args):
        raise KeyboardInterrupt

    with vh.connect(server.path) as master, vh.Driver(master, type=vh.DeviceType.BLK) as driver:
        driver.start()
        driver.set_reconnect(QUICK)
        with vh.Blk(driver) as disk:
            server.kill()
            disk.submit([vh.BlkIo(vh.BlkOp.READ, 0, disk.alloc(512))])
            before = signal.signal(signal.SIGALRM, stop)
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            try:
                with pytest.raises(KeyboardInterrupt):
                    driver.stop()
            finally:
                signal.signal(signal.SIGALRM, before)
            with pytest.raises(vh.VhError) as e:
                driver.stop(timeout=0.01)
            assert e.value.errno == errno.EBUSY
            driver.stop(drop=True)


def test_rings_of_somebody_else(tmp_path):
    """The test is the guest, with a queue of its own over its memory."""
    path, ring = str(tmp_path / "s"), vh.Ring(num=8, desc=0x1000, driver=0x2000, device=0x3000)
    memory = vh.Memory()
    memory.alloc(0, MIB)
    with contextlib.ExitStack() as after:
        kick, call = os.eventfd(0, os.EFD_NONBLOCK), os.eventfd(0, os.EFD_NONBLOCK)
        after.callback(os.close, kick)
        after.callback(os.close, call)
        after.enter_context(served(Null(), path))
        master = after.enter_context(vh.connect(path))
        driver = after.enter_context(vh.Driver(master, memory=memory, features=1 << 32))
        assert driver.features & 1 << 32 and driver.ring(0) is None
        driver.set_ring(0, ring, kick, call)
        assert driver.ring(0) == ring
        with pytest.raises(PermissionError):
            driver.queue(0)
        guest = vh.Queue(memory, num=8, role=vh.QUEUE_DRIVER, features=1 << 32, desc=0x1000, driver=0x2000, device=0x3000,
                         kick=kick, call=call)
        driver.start()
        driver.share()
        with guest:
            buffer = memory.view(0x8000, 64)
            buffer[:] = b"x" * 64
            assert guest.submit([((), (buffer,), 5)]) == 1
            assert guest.wait(WAIT)
            assert [(done.user, done.written) for done in guest.reap()] == [(5, 64)]
        assert bytes(buffer) == bytes(64)
        driver.enable(0, False)
        driver.stop()
        assert driver.ring(0).base == 1 and not driver.ring(0).enabled
        memory.close()  # the session has it
        driver.start()
        driver.stop()
