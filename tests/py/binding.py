# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""What the tests of the binding share: the package of the build under test, peers, and children that run a script."""
import contextlib
import os
import subprocess
import sys
import textwrap
import threading

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("VH_BUILD", os.path.join(TOP, "build"))
VHCTL = os.path.join(BUILD, "vhctl")
PACKAGE = os.pathsep.join((os.path.join(TOP, "python"), os.path.join(BUILD, "python")))
MODE = os.environ.get("VH_PYTHON_MODE", "api")
LIBRARY = os.path.join(BUILD, "libvh.so.1")
os.environ.setdefault("VH_PYTHON_LIBRARY", LIBRARY)
for _path in PACKAGE.split(os.pathsep):
    if _path not in sys.path:
        sys.path.insert(0, _path)

import vh  # noqa: E402  # pylint: disable=wrong-import-position

# Whole: pytester takes away again what was imported while a test of its ran, and a later test would get a second class of that name.
for _name in vh.__all__:
    getattr(vh, _name)

MIB = 1 << 20
WAIT = 10  # seconds before anything here has failed


class Null(vh.Device):
    """A block device that keeps nothing, and notes what it is told."""

    type = vh.DeviceType.BLK
    max_queues = 2
    config = (MIB >> 9).to_bytes(8, "little")

    def __init__(self):
        super().__init__()
        self.said = []

    def on_batch(self, queue, index, budget):
        batch = queue.pop(budget)
        for request in batch:
            request.write(bytes(request.wr_len))
        queue.push(batch)

    def queue_started(self, queue, index):
        self.said.append(("started", index))

    def queue_stopped(self, queue, index):
        self.said.append(("stopped", index))

    def set_features(self, features, later):
        self.said.append(("features", features))

    def reset(self, later):
        self.said.append("reset")


@contextlib.contextmanager
def served(device, path, **options):
    """A slave on a socket, with a thread that serves it; what serve() raised is in .raised."""
    with vh.Slave(device, **options) as slave:
        slave.listen(path)
        slave.raised = []

        def run():
            try:
                slave.serve()
            except BaseException as e:  # pylint: disable=broad-except
                slave.raised.append(e)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield slave
        finally:
            slave.close()
            thread.join(WAIT)
            assert not thread.is_alive()


class Turns:
    """A front-end and a back-end in one thread: calls that wait run in another thread, the back-end here, so that what
    its device raises comes out here."""

    def __init__(self, device, **options):
        self.slave = vh.Slave(device, **options)
        self.master = vh.Master(timeout=WAIT)
        fd = self.master.socketpair()
        self.slave.adopt(fd)
        os.close(fd)

    def run(self, call, *args):
        """call(*args) in a thread while the slave is served; its result."""
        result = []

        def work():
            try:
                result.append((call(*args), None))
            except BaseException as e:  # pylint: disable=broad-except
                result.append((None, e))

        thread = threading.Thread(target=work)
        thread.start()
        raised = []
        while thread.is_alive():
            try:
                self.slave.wait(0.01)
            except BaseException as e:  # pylint: disable=broad-except
                raised.append(e)
                if self.slave.closed:
                    break
        thread.join(WAIT)
        value, error = result[0]
        for e in (*raised, error):
            if e:
                raise e
        return value

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self.slave.close()  # first: nobody would answer the front-end's farewell
        finally:
            self.master.close()


def script(text, *args, env=None, timeout=30, dev=True):
    """A Python program of its own, under -X dev and with warnings as errors. The finished process."""
    words = [sys.executable, *(["-X", "dev", "-W", "error"] if dev else []), "-c", textwrap.dedent(text), *map(str, args)]
    path = os.pathsep.join((PACKAGE, os.path.dirname(os.path.abspath(__file__))))
    return subprocess.run(words, env={**os.environ, "PYTHONPATH": path, **(env or {})}, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=timeout, check=False)


RING, FAR = 0x100000, 0x10000000


class Pair:
    """Both sides of one ring over one memory, and no socket: a driver's queue, a device's queue."""

    def __init__(self, num=64, features=0, **device_options):
        self.memory = vh.Memory()
        self.memory.alloc(RING, 4 * MIB)
        self.memory.alloc(FAR, MIB)
        packed = bool(features & vh.Features.RING_PACKED)
        where = {"num": num, "features": features, "base": vh.QUEUE_PACKED_BASE if packed else 0,
                 "desc": RING, "driver": RING + 0x40000, "device": RING + 0x80000}
        self.driver = vh.Queue(self.memory, role=vh.QUEUE_DRIVER, **where)
        self.device = vh.Queue(self.memory, role=vh.QUEUE_DEVICE, **where, **device_options)
        self.ram = self.memory.view(RING + MIB, 3 * MIB)

    def buffer(self, slot, length=512):
        return self.ram[slot * 4096:slot * 4096 + length]

    def offer(self, n, readable=b"question", room=64):
        """n requests; each has that to read, and that much room for an answer."""
        rows = []
        for i in range(n):
            out = self.buffer(2 * i, len(readable))
            out[:] = readable
            rows.append(([out], [self.buffer(2 * i + 1, room)], i))
        return self.driver.submit(rows)

    def answer(self, slot, length=64):
        return bytes(self.buffer(2 * slot + 1, length))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.device.close()
        self.driver.close()
        self.ram.release()
        self.memory.close()
