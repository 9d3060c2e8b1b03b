# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""What a device shares: shared memory, shared objects, doorbells; a slave and a master of this package."""
import contextlib
import errno
import mmap
import os
import threading

import pytest

from binding import WAIT, Null, vh

PAGE = mmap.PAGESIZE
UUID, OTHER = bytes(range(1, 17)), bytes(range(2, 18))


class Sharing(Null):
    shmem = {3: 4 * PAGE, 255: PAGE}

    def __init__(self, file):
        super().__init__()
        self.file = file

    def get_shared_object(self, uuid, later):
        if uuid == OTHER:
            threading.Timer(0.05, later.reply, (), {"fd": self.file}).start()
            return later
        return self.file if uuid == UUID else None


class Handler(vh.BackendHandler):
    """Keeps what it is told."""

    def __init__(self, file):
        self.file, self.said = file, []

    def shmem_map(self, part, fd, later):
        self.said.append((part, os.pread(fd, 4, part.fd_offset)))

    def shmem_unmap(self, part, later):
        self.said.append((part, None))

    def host_notifier(self, queue, fd, offset, length, later):
        self.said.append((queue, fd is not None, offset, length))
        threading.Timer(0.05, later.answer).start()
        return later

    def object_added(self, uuid, later):
        self.said.append(uuid)

    def object_removed(self, uuid, later):
        return -errno.EPERM

    def object_wanted(self, uuid, later):
        return self.file if uuid == UUID else -errno.ENOENT


class Cache(vh.BackendHandler):
    """Of a virtio-fs device."""

    def __init__(self):
        self.said = []

    def fs_request(self, op, ranges, fd, later):
        self.said.append((op, ranges, fd is not None))
        return -errno.EIO if op == vh.FS_SYNC else None


@contextlib.contextmanager
def connected(slave, master):
    """Each with a thread that serves it, and a running driver."""
    fd = master.socketpair()
    slave.adopt(fd)
    os.close(fd)
    ends = threading.Event(), threading.Event()
    threads = [threading.Thread(target=lambda: slave.serve(ends[0].is_set)), threading.Thread(target=turn, args=(master, ends[1]))]
    threads[0].start()
    driver = vh.Driver(master, type=vh.TYPE_BLK)
    driver.start()
    threads[1].start()
    try:
        yield
    finally:
        ends[1].set()
        threads[1].join(WAIT)
        driver.close()
        ends[0].set()
        threads[0].join(WAIT)


@contextlib.contextmanager
def shared():
    """A front-end and a slave, each with a thread that serves it; the handler of the first."""
    with open(os.memfd_create("shared"), "w+b", buffering=0) as file:
        file.truncate(4 * PAGE)
        os.pwrite(file.fileno(), b"abcd", PAGE)
        handler = Handler(file)
        with vh.Slave(Sharing(file), more_protocol_features=vh.ProtocolFeatures.HOST_NOTIFIER) as slave, \
                vh.Master(timeout=WAIT, handler=handler) as master:
            with connected(slave, master):
                yield master, slave, handler


def turn(master, stop):
    while not stop.is_set():
        master.dispatch()
        stop.wait(0.001)


def refused(call, *args):
    with pytest.raises(vh.VhError) as e:
        call(*args)
    return e.value.errno == errno.EREMOTEIO


def test_scenario_backend_requests():
    with shared() as (master, slave, handler):
        done = slave.reply_to
        assert master.get_shmem() == {3: 4 * PAGE, 255: PAGE}
        part = vh.ShmemMap(3, 2 * PAGE, PAGE, fd_offset=PAGE, flags=vh.SHMEM_WRITABLE)
        done(slave.shmem_map(part, handler.file))
        assert handler.said.pop() == (part, b"abcd")
        assert refused(done, slave.shmem_map(part, handler.file))
        done(slave.shmem_unmap(part))
        assert handler.said.pop() == (vh.ShmemMap(3, 2 * PAGE, PAGE), None)
        assert refused(done, slave.shmem_unmap(part))
        done(slave.object_add(UUID))
        assert handler.said.pop() == UUID
        assert refused(done, slave.object_remove(UUID))
        reply = done(slave.object_lookup(UUID))
        assert os.path.sameopenfile(reply.fds[0], handler.file.fileno())
        os.close(reply.fds[0])
        assert refused(done, slave.object_lookup(OTHER))
        for uuid in UUID, OTHER:
            fd = master.get_shared_object(uuid)
            assert os.path.sameopenfile(fd, handler.file.fileno())
            os.close(fd)
        assert refused(master.get_shared_object, bytes(16 * [7]))
        done(slave.set_host_notifier(1, handler.file, PAGE, PAGE))
        assert handler.said.pop() == (1, True, PAGE, PAGE)
        done(slave.set_host_notifier(1, None))
        assert handler.said.pop() == (1, False, 0, 0)
        assert not handler.said


def test_mappings_end_with_a_reset():
    with shared() as (master, slave, handler):
        slave.reply_to(slave.shmem_map(vh.ShmemMap(3, 0, PAGE), handler.file))
        master.reset_device()
        assert [e.value for e in master.events() if e.kind == vh.EventKind.SHMEM_RESET] == [1]


@pytest.mark.parametrize("dialect", (vh.DIALECT_VIRTIO_FS, vh.DIALECT_CROSVM))
def test_a_virtio_fs_device_asks_for_its_cache(dialect):
    ranges = [vh.FsRange(PAGE, 0, PAGE, vh.FS_READ), vh.FsRange(0, PAGE, 5, vh.FS_WRITE)]
    cache = Cache()
    with open(os.devnull, "rb") as file, vh.Slave(Null(), dialect=dialect) as slave, \
            vh.Master(timeout=WAIT, handler=cache, dialect=dialect) as master, connected(slave, master):
        for op in vh.FS_MAP, vh.FS_UNMAP, vh.FS_IO:
            fd = file if op != vh.FS_UNMAP else None
            slave.reply_to(slave.fs_request(op, ranges, fd))
            assert cache.said.pop() == (op, ranges, fd is not None)
        assert refused(slave.reply_to, slave.fs_request(vh.FS_SYNC, ranges))
    with vh.Slave(Null()) as slave, pytest.raises(vh.VhError):
        slave.fs_request(vh.FS_SYNC, ranges)
    with pytest.raises(vh.VhError):
        vh.Master(dialect=77)


def test_what_a_class_does_not_define_is_not_negotiated():
    class Few(vh.BackendHandler):
        def object_added(self, uuid, later):
            raise AssertionError

    with vh.Master(handler=Few()):
        pass
    assert list(Few()._members()) == ["object_added"]
    with pytest.raises(TypeError):
        vh.Master(handler=7)
