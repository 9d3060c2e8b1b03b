# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""The front-end, the driver session and the block driver, against back-ends of the library and of vhctl."""
import asyncio
import contextlib
import copy
import errno
import json
import os
import pickle
import signal
import socket
import subprocess
import threading
import time

import numpy
import pytest
from binding import MIB, VHCTL, WAIT, Null, Pair, Turns, served, vh
from vh.testing import BackEnd, wire


@pytest.fixture(name="ram")
def _ram(tmp_path):
    """vhctl serving a disk in memory, in a process of its own."""
    path = str(tmp_path / "ram")
    with subprocess.Popen([VHCTL, "serve", "blk", "--socket", path, "--ram", "4M", "--queues", "2"],
                          stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as server:
        server.stderr.readline()  # it listens
        yield path
        server.send_signal(signal.SIGTERM)
        server.stderr.read()


def test_whole_reads_and_writes(ram):
    with vh.Blk("unix:" + ram) as disk:
        data = os.urandom(3 * MIB)  # more than one chunk
        disk.write(512, data)
        disk.flush()
        assert disk.read(512, len(data)) == data
        array = numpy.zeros((4, 128), "<u4")
        assert disk.readinto(512, array) is array
        assert array.tobytes() == data[:2048]
        disk.write(0, numpy.arange(128, dtype="<u4"))
        assert numpy.frombuffer(disk.read(0, 512), "<u4")[127] == 127
        disk.write_zeroes(512, 4096, unmap=True)
        disk.discard(0, 512)
        assert disk.read(512, 4096) == bytes(4096)
        assert disk.capacity == 4 * MIB and disk.info.n_queues == 1
        assert isinstance(disk.get_id(), str)


def test_batches_without_a_copy(ram):
    with vh.Blk(ram, n_queues=2, queue_size=16) as disk:
        memory = disk.alloc(16 * 512)
        for i in range(16):
            memory[512 * i:512 * i + 512] = bytes([i]) * 512
        taken = disk.submit([vh.BlkIo(vh.BlkOp.WRITE, 512 * i, memory[512 * i:512 * i + 512], i) for i in range(4)], queue=1)
        assert taken == 4
        done = []
        while len(done) < 4:
            assert disk.wait(WAIT, queue=1)
            done += disk.reap(queue=1)
        assert sorted(done) == [(i, 0) for i in range(4)]
        assert disk.read(0, 2048) == bytes(memory[:2048])
        assert disk.wait(0.02) is False
        assert disk.submit([]) == 0 and disk.submit(iter(()), queue=1) == 0 and disk.reap(0) == []


def test_completions_of_a_batch_survive_a_read_on_the_same_queue(ram):
    with vh.Blk(ram) as disk:
        buffer = disk.alloc(512)
        disk.submit([vh.BlkIo(vh.BlkOp.READ, 0, buffer, 77)])
        disk.read(512, 512)
        assert disk.wait(WAIT) and disk.reap() == [(77, 0)]


def test_what_the_device_can_t_do_is_an_error(ram):
    with vh.Blk(ram) as disk:
        for call, code in ((lambda: disk.read(4 * MIB, 512), errno.ERANGE), (lambda: disk.read(1, 512), errno.EINVAL),
                           (lambda: disk.submit([vh.BlkIo(99)]), errno.EINVAL),
                           (lambda: disk.submit([vh.BlkIo(vh.BlkOp.READ, 0, bytearray(512))]), errno.EFAULT),
                           (lambda: disk.wait(0, queue=9), errno.EINVAL), (lambda: disk.reap(queue=-1), errno.EINVAL)):
            with pytest.raises(vh.VhError) as e:
                call()
            assert e.value.errno in (code, errno.EOPNOTSUPP), e.value
        with pytest.raises((BufferError, TypeError, ValueError)):
            disk.submit([vh.BlkIo(vh.BlkOp.READ, 0, b"not writable")])
        for at, length in ((-512, 512), (0, -1)):
            with pytest.raises(ValueError):
                disk.read(at, length)
        with pytest.raises(ValueError):
            disk.write(-512, bytes(512))
        assert disk.read(0, 0) == b""


def test_a_request_that_is_never_done_is_a_timeout_error(tmp_path):
    class Keeps(vh.Device):
        type = vh.DeviceType.BLK
        config = (64).to_bytes(8, "little")
        kept: "list[object]" = []

        def on_batch(self, queue, index, budget):
            self.kept.append(queue.pop(budget))

    with vh.Slave(Keeps()) as slave:
        slave.listen(tmp_path / "keeps")
        thread = threading.Thread(target=slave.serve)
        thread.start()
        with vh.connect(f"{tmp_path}/keeps", timeout=WAIT) as master, vh.Driver(master, type=vh.DeviceType.BLK) as driver:
            driver.start()
            began = time.monotonic()
            with vh.Blk(driver, timeout=0.2) as disk:
                for call in (lambda: disk.read(0, 512), lambda: disk.write(512, bytes(512))):
                    with pytest.raises(TimeoutError, match="has not done"):
                        call()
        assert time.monotonic() - began < WAIT / 2  # its queues are not waited for either
        slave.stop()
        thread.join(WAIT)
        assert not thread.is_alive()


def test_what_can_t_be_read_or_written_whole_is_not_begun(ram):
    with vh.Blk(ram) as disk:
        disk.write(2 * MIB, b"\1" * 2 * MIB)
        for call in (lambda: disk.read(0, 1 << 50), lambda: disk.write(2 * MIB, bytes(2 * MIB + 512))):
            with pytest.raises(vh.VhError) as e:
                call()
            assert e.value.errno == errno.ERANGE and "past the end" in str(e.value)
        assert disk.read(2 * MIB, 2 * MIB) == b"\1" * 2 * MIB
        with pytest.raises(TypeError, match="an address"):
            vh.Blk(3)


def test_the_session_keeps_its_parents_and_closes_in_the_right_order(ram):
    master = vh.connect("unix:" + ram, timeout=WAIT)
    driver = vh.Driver(master, type=vh.DeviceType.BLK)
    driver.start()
    disk = vh.Blk(driver)
    queue, window = driver.queue(0), driver.alloc(4096)
    assert queue is driver.queue(0) and queue.index == 0
    assert driver.features & vh.Features.VERSION_1
    backend = master.backend()
    assert backend.kind == "vhost-user" and backend.get_features() & vh.Features.VERSION_1
    assert int.from_bytes(backend.get_config(0, 8), "little") == 4 * MIB // 512
    disk.write(0, b"1" * 512)
    master.close()
    assert disk.closed and driver.closed and queue.closed and backend.closed
    window[:4] = b"safe"
    assert bytes(window[:4]) == b"safe"
    for use in (lambda: disk.read(0, 512), driver.start, queue.reap, master.get_features, backend.get_features):
        with pytest.raises(vh.VhError) as e:
            use()
        assert e.value.errno == errno.EBADF


def test_a_child_keeps_its_parent_alive(ram):
    master = vh.connect(ram)
    driver = vh.Driver(master, type=vh.TYPE_BLK)
    driver.start()
    disk = vh.Blk(driver)
    owner, master, driver = master, None, None
    assert disk.read(0, 512) == bytes(512)
    owner.close()


def test_an_end_of_the_connection_is_the_built_in_exception(tmp_path):
    with served(Null(), tmp_path / "s") as slave:
        master = vh.connect(tmp_path / "s", timeout=WAIT)
        master.get_features()
        slave.close()
        with pytest.raises(ConnectionResetError) as e:
            for _ in range(100):
                master.get_features()
        assert isinstance(e.value, vh.VhError) and e.value.domain is vh.ErrorDomain.PEER
        master.close()
    with pytest.raises(FileNotFoundError):
        vh.connect(f"unix:{tmp_path}/none")
    with pytest.raises(ConnectionRefusedError):
        with socket.socket(socket.AF_UNIX) as s:
            s.bind(str(tmp_path / "dead"))
        vh.connect(tmp_path / "dead")


def test_an_error_can_be_copied_and_sent_to_another_process(tmp_path):
    with pytest.raises(FileNotFoundError) as e:
        vh.connect(tmp_path / "none")
    for same in (pickle.loads(pickle.dumps(e.value)), copy.copy(e.value)):
        assert type(same) is type(e.value) and str(same) == str(e.value)
        assert (same.errno, same.domain, same.queue) == (errno.ENOENT, e.value.domain, None)


def test_a_read_that_fails_costs_no_memory(ram):
    def memory():
        with disk.driver.snapshot() as snap:
            return sum(r.len for r in snap.regions())

    with vh.Blk(ram) as disk:
        disk.read(0, 512)
        before = memory()
        for _ in range(40):  # each with a megabyte to read into
            with pytest.raises(vh.VhError):
                disk.read(8 * MIB, 512)
            with pytest.raises(OverflowError):
                disk.read(1 << 64, 512)
        assert memory() == before


def test_a_deadline_is_a_timeout_error(tmp_path):
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(tmp_path / "mute"))
        mute.listen()
        with vh.connect(tmp_path / "mute", timeout=0.1) as master, pytest.raises(TimeoutError) as e:
            master.get_features()
    assert e.value.name == "ETIMEDOUT" and e.value.request == 1


def test_each_request_has_its_method(tmp_path):
    device = Null()
    with Turns(device) as t, vh.Memory() as memory:
        m, run = t.master, t.run
        offered = run(m.get_features)
        run(m.set_owner)
        protocol = run(m.get_protocol_features)
        run(m.set_protocol_features, protocol & ~vh.ProtocolFeatures.BACKEND_REQ)
        run(m.set_features, offered & ~vh.Features.RING_PACKED)
        assert run(m.get_queue_num) == 2 and run(m.get_max_mem_slots) > 1
        memory.alloc(0x100000, MIB)
        run(m.set_mem, memory)
        memory.alloc(0x10000000, MIB)
        run(m.add_mem_region, memory, 1)
        run(m.remove_mem_region, memory.regions()[1])
        region = memory.regions()[0]
        run(m.set_vring_num, 0, 64)
        run(m.set_vring_base, 0, 5)
        run(m.set_vring_addr, vh.VringAddr(index=0, desc=region.uva, avail=region.uva + 0x1000, used=region.uva + 0x2000))
        memory.view(0x101002, 2)[:] = (5).to_bytes(2, "little")  # nothing new is available
        kick, call = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC), os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        run(m.set_vring_call, 0, call)
        run(m.set_vring_err, 0, None)
        run(m.set_vring_kick, 0, kick)
        run(m.set_vring_enable, 0, True)
        with t.slave.snapshot() as seen:
            assert [(r.gpa, r.len) for r in seen.regions()] == [(0x100000, MIB)]
        assert run(m.get_vring_base, 0) == 5
        run(m.set_status, 3)
        assert run(m.get_status) == 3
        run(m.reset_device)
        run(m.reset_owner)
        assert device.said.count("reset") == 2
        events = {e.kind for e in t.slave.events()}
        assert {vh.EventKind.CONNECTED, vh.EventKind.STARTED, vh.EventKind.STOPPED, vh.EventKind.RESET} <= events
        assert m.stats.messages_out == t.slave.stats.messages_in > 15
        os.close(kick)
        os.close(call)


def test_any_message_can_be_sent_as_it_is():
    with Turns(Null()) as t:
        ticket = t.master.submit(1)
        assert t.master.finish(ticket) is None
        reply = t.run(lambda: t.master.request(1))
        assert int.from_bytes(reply.payload, "little") & vh.Features.VERSION_1 and reply.fds == ()
        assert t.master.finish(ticket).payload == reply.payload
        assert t.run(lambda: t.master.request(3)) is None  # SET_OWNER has no reply
        with pytest.raises(vh.VhError) as e:
            t.master.submit(1, bytes(5000))
        assert e.value.errno == errno.EINVAL
        with pytest.raises(TypeError):
            t.master.submit(1, "text")
        with pytest.raises((vh.VhError, OverflowError)):
            t.master.submit(5, bytes(8), fds=[-5])
        with pytest.raises(vh.VhError):
            t.master.finish(12345)


def test_the_back_end_may_ask_too():
    asked = []

    def answer(request):
        asked.append((request.name, request.request, request.payload))
        return -errno.EOPNOTSUPP

    device = Null()
    with vh.Slave(device) as slave, vh.Master(timeout=WAIT, on_backend_request=answer) as master:
        fd = master.socketpair()
        slave.adopt(fd)
        os.close(fd)
        stop = threading.Event()
        thread = threading.Thread(target=lambda: slave.serve(stop.is_set))
        thread.start()
        driver = vh.Driver(master, type=vh.TYPE_BLK)
        driver.start()
        device.config_changed()
        end = time.monotonic() + WAIT
        while not any(e.kind == vh.EventKind.CONFIG_CHANGED for e in master.events()):
            master.dispatch()
            assert time.monotonic() < end
        stop.set()
        slave.disconnect()
        thread.join(WAIT)
    assert asked == []  # that one the library answers


@contextlib.contextmanager
def asked(answer):
    """A back-end of the test kit, whose questions answer() answers. A function that asks one: the status it gets."""
    back, theirs = BackEnd.pair(protocol_features=BackEnd.PROTOCOL_FEATURES | wire.bits(wire.PF.SHARED_OBJECT))
    with back, vh.Master(timeout=WAIT, on_backend_request=answer) as master:
        with theirs:
            master.adopt(theirs)
        back.start()
        master.negotiate()
        master.set_protocol_features(back.protocol_features)  # with one that the library leaves to its user

        def ask():
            got = []
            thread = threading.Thread(target=lambda: got.append(back.ask(wire.BE.SHARED_OBJECT_ADD, bytes(range(16)),
                                                                         timeout=WAIT)))
            thread.start()
            try:
                while thread.is_alive():
                    master.dispatch()
                    thread.join(0.01)
            finally:
                thread.join(2 * WAIT)
            return got[0]

        ask.master = master
        yield ask


@pytest.mark.parametrize("result, status", ((None, 0), (0, 0), (-errno.EOPNOTSUPP, 1)))
def test_a_function_answers_the_back_end(result, status):
    seen = []

    def answer(request):
        seen.append((request.name, request.request, request.payload, request.fds))
        return result

    with asked(answer) as ask:
        assert bool(ask()) == bool(status)
        assert ask.master.stats.backend_requests == 1
    assert seen == [("BACKEND_SHARED_OBJECT_ADD", 6, bytes(range(16)), ())]


def test_the_back_end_is_answered_at_once_or_later():
    def at_once(request):
        request.answer(0)
        return request

    def later(request):
        timer = threading.Timer(0.05, request.answer, (-errno.EPERM,))
        timer.start()
        return request

    with asked(at_once) as ask:
        assert ask() == 0
    with asked(later) as ask:
        assert ask() != 0


@pytest.mark.parametrize("fault", (ArithmeticError("mine"), "a text"))
def test_a_question_that_raises_is_refused_and_heard(fault):
    def answer(request):
        if isinstance(fault, Exception):
            raise fault
        return fault

    with asked(answer) as ask, pytest.raises(ArithmeticError if fault != "a text" else TypeError) as e:
        ask()
    assert e.value is fault or "str" in str(e.value)


def test_trace_and_log_see_what_happens():
    taken, other = [], []
    with Turns(Null()) as t:
        t.master.set_trace(taken.append)
        t.slave.set_trace(other.append)
        t.run(t.master.get_features)
        t.master.set_trace(None)
        t.run(t.master.get_features)
        t.slave.set_trace(None)
    assert [(m.name, m.sent, len(m.payload)) for m in taken] == [("GET_FEATURES", True, 0), ("GET_FEATURES", False, 8)]
    line = json.loads(taken[1].json())
    assert line["req"] == "GET_FEATURES" and line["size"] == 8
    assert taken[0].time_ns <= taken[1].time_ns and taken[1].verdict == 0 and taken[1].n_fds == 0
    assert len(other) == 4


def test_a_trace_that_raises_is_heard():
    error = ArithmeticError("trace")

    def trace(message):
        raise error

    with Turns(Null()) as t:
        t.master.set_trace(trace)
        with pytest.raises(ArithmeticError) as e:
            t.run(t.master.get_features)
        assert e.value is error
        t.master.set_trace(None)


def test_names():
    assert vh.error_name(-errno.EPROTO) == "EPROTO" and vh.error_name(524) == "ENOTSUPP"
    assert vh.message_name(1) == "GET_FEATURES"
    assert vh.feature_name(vh.PF_MQ) and vh.feature_name(vh.BLK_F_RO, vh.TYPE_BLK)
    assert vh.event_name(vh.EventKind.STARTED) == "started" and vh.event_name(999) == ""
    assert "VERSION_1" in repr(vh.Features(1 << 32 | 1 << 55))
    with pytest.raises(AttributeError):
        vh.nonsense  # pylint: disable=pointless-statement


def test_memory_and_snapshots(tmp_path):
    with vh.Memory(max_regions=2) as memory:
        memory.alloc(0x1000, 0x2000)
        path = tmp_path / "file"
        path.write_bytes(b"abc".ljust(8192, b"\0"))
        with open(path, "r+b") as f:
            memory.add_fd(f, vh.Region(gpa=0x3000, uva=1 << 40, len=8192))
        assert [(r.gpa, r.len) for r in memory.regions()] == [(0x1000, 0x2000), (0x3000, 0x2000)]
        with pytest.raises(vh.VhError) as e:
            memory.alloc(0x10000, 4096)
        assert e.value.errno == errno.ENOSPC
        with pytest.raises(FileExistsError):
            vh_two = vh.Memory()
            try:
                vh_two.alloc(0, 8192)
                vh_two.alloc(4096, 4096)
            finally:
                vh_two.close()
        with memory.snapshot() as snap:
            assert len(snap.segments(0x2ff0, 0x20)) == 2
            with pytest.raises(vh.VhError, match="2 regions"):
                snap.view(0x2ff0, 0x20)
            view = snap.view(0x3000, 3)
            assert view.readonly and bytes(view) == b"abc"
            with pytest.raises(vh.VhError) as e:
                snap.view(0x5000, 1)
            assert e.value.errno == errno.EFAULT
            number = snap.number
        memory.view(0x3000, 3)[:] = b"xyz"
        assert bytes(view) == b"xyz" and path.read_bytes()[:3] == b"xyz"
        fd = memory.dup_fd(1)
        assert os.fstat(fd).st_size == 8192
        os.close(fd)
        memory.remove(memory.regions()[1])
        with memory.snapshot() as snap:
            assert snap.number > number
        for wrong in (lambda: memory.alloc(-1, 4096), lambda: memory.alloc(1 << 70, 4096)):
            with pytest.raises(OverflowError):
                wrong()
        with pytest.raises(vh.VhError):
            memory.alloc(0, 0)
    assert bytes(view) == b"xyz"  # closed, and still there
    vh.guard_install()
    vh.guard_remove()
    with pytest.raises(vh.VhError) as e:
        vh.guard_remove()
    assert e.value.errno == errno.ENOENT


# asyncio


def test_a_slave_and_a_driver_in_one_event_loop(tmp_path):
    async def work():
        device = Null()
        with vh.Slave(device) as slave:
            slave.listen(tmp_path / "s")
            serving = asyncio.create_task(slave.async_serve())
            disk = await asyncio.to_thread(vh.Blk, tmp_path / "s")
            buffer = await asyncio.to_thread(disk.alloc, 512)
            assert await disk.async_io(vh.BlkIo(vh.BlkOp.READ, 0, buffer, 5)) == (5, 0)
            assert disk.submit([vh.BlkIo(vh.BlkOp.READ, 0, buffer, 6)]) == 1
            assert await disk.async_reap() == [(6, 0)]
            await asyncio.to_thread(disk.close)
            serving.cancel()
            with pytest.raises(asyncio.CancelledError):
                await serving

    asyncio.run(asyncio.wait_for(work(), 3 * WAIT))


def test_events_of_both_sides_in_one_event_loop(tmp_path):
    async def work():
        seen = []
        with vh.Slave(vh.Device.ram(MIB)) as slave:
            slave.listen(tmp_path / "s")

            async def follow():
                async for event in slave.async_events():
                    seen.append(event.kind)
                    if event.kind == vh.EventKind.DISCONNECTED:
                        return

            following = asyncio.create_task(follow())
            with await asyncio.to_thread(vh.connect, tmp_path / "s") as master:
                await asyncio.to_thread(master.negotiate)
            await following
            with await asyncio.to_thread(vh.connect, tmp_path / "s") as master:
                slave.dispatch()
                slave.disconnect()
                theirs = [e.kind async for e in master.async_events()]
        assert vh.EventKind.CONNECTED in seen and vh.EventKind.NEGOTIATED in seen
        assert vh.EventKind.DISCONNECTED in theirs

    asyncio.run(asyncio.wait_for(work(), 3 * WAIT))


@pytest.mark.parametrize("where", ("loop", "thread"))
@pytest.mark.parametrize("what", ("slave", "master", "queue"))
def test_closing_ends_a_task_that_waits(tmp_path, what, where):
    async def events(handle):
        async for _ in handle.async_events():
            pass

    async def work():
        pair = peer = None
        if what == "slave":
            slave = vh.Slave(Null())
            slave.listen(tmp_path / "s")
            handle, waits = slave, slave.async_serve()
        elif what == "master":
            master = vh.Master()
            peer = master.socketpair()
            handle, waits = master, events(master)
        else:
            pair = Pair()
            handle, waits = pair.device, pair.device.async_wait()
        task = asyncio.create_task(waits)
        await asyncio.sleep(0.05)
        assert not task.done()
        if where == "loop":
            handle.close()
        else:
            await asyncio.to_thread(handle.close)
        if what == "queue":
            with pytest.raises(vh.VhError) as e:
                await asyncio.wait_for(task, WAIT)
            assert e.value.errno == errno.EBADF
            pair.__exit__()
        else:
            await asyncio.wait_for(task, WAIT)
        if what == "master":
            os.close(peer)

    asyncio.run(work())


def test_a_task_that_is_cancelled_leaves_nothing_and_disturbs_nobody():
    async def work(pair):
        pair.device.fileno()  # which makes it
        before = len(os.listdir("/proc/self/fd"))
        tasks = [asyncio.create_task(pair.device.async_wait()) for _ in range(2)]
        await asyncio.sleep(0.05)
        assert len(os.listdir("/proc/self/fd")) == before + 2
        tasks[0].cancel()
        with pytest.raises(asyncio.CancelledError):
            await tasks[0]
        assert len(os.listdir("/proc/self/fd")) == before + 1 and not tasks[1].done()
        pair.offer(1)
        os.eventfd_write(kick, 1)
        await tasks[1]
        assert len(os.listdir("/proc/self/fd")) == before and not pair.device._sleepers
        pair.device.complete(pair.device.pop())

    kick = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
    with Pair(kick=kick) as pair:
        asyncio.run(asyncio.wait_for(work(pair), WAIT))
    os.close(kick)


def test_an_idle_queue_wakes_its_task():
    async def work(pair):
        waiting = asyncio.create_task(pair.device.async_wait())
        await asyncio.sleep(0.05)
        assert not waiting.done()
        pair.offer(1)
        os.eventfd_write(kick, 1)
        await waiting
        pair.device.push(pair.device.pop())

    kick = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
    with Pair(kick=kick) as pair:
        asyncio.run(asyncio.wait_for(work(pair), WAIT))
    os.close(kick)


def test_a_session_ends_beside_a_thread_that_dispatches_its_connection(tmp_path):
    device = Null()
    over = threading.Event()

    def dispatch(master):
        while not over.wait(0.0001):
            master.dispatch()

    with served(device, str(tmp_path / "s")), vh.connect(str(tmp_path / "s")) as master:
        thread = threading.Thread(target=dispatch, args=(master,))
        thread.start()
        try:
            for i in range(8):
                driver = vh.Driver(master, type=vh.DeviceType.BLK)
                driver.start()
                driver.close()
                assert device.said.count(("stopped", 0)) == i + 1
        finally:
            over.set()
            thread.join(WAIT)
