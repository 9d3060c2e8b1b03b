# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""A Python class as a device, driven by the library's own front-end over a socket."""
import contextlib
import errno
import gc
import os
import subprocess
import sys
import textwrap
import threading
import traceback

import numpy
import pytest
from binding import BUILD, LIBRARY, MIB, MODE, PACKAGE, VHCTL, WAIT, Null, Turns, script, served, vh
from vh.testing import FE, FrontEnd, Memory, Queue, wire


def drive(turns):
    """A session with a block driver on the other end of the turns."""
    driver = turns.run(lambda: vh.Driver(turns.master, type=vh.TYPE_BLK))
    turns.run(driver.start)
    return driver, turns.run(lambda: vh.Blk(driver))


def test_a_class_answers_requests_and_is_told_what_happens(tmp_path):
    device = Null()
    with served(device, tmp_path / "s") as slave:
        with vh.Blk(f"unix:{tmp_path}/s", n_queues=2) as disk:
            assert disk.capacity == MIB
            disk.write(512, b"x" * 512)
            assert disk.read(0, 1024) == bytes(1024)
        assert slave.stats.queue_requests >= 2
    assert not slave.raised
    assert {("started", 0), ("started", 1), ("stopped", 0), ("stopped", 1)} <= set(device.said)
    assert any(kind == "features" and bits & vh.Features.VERSION_1 for kind, bits in
               (s for s in device.said if isinstance(s, tuple)))


def test_config_space_is_read_and_written():
    class Configured(Null):
        written = None

        def get_config(self, offset, length, later):
            return bytes(range(64))[offset:offset + length]

        def set_config(self, offset, data, flags, later):
            self.written = (offset, data, flags)
            return -errno.EPERM if data == b"no" else None

    device = Configured()
    with Turns(device) as t:
        t.run(t.master.negotiate)
        assert t.run(t.master.get_config, 60, 8) == bytes([60, 61, 62, 63, 0, 0, 0, 0])
        t.run(t.master.set_config, 4, b"yes")
        assert device.written == (4, b"yes", 0)
        with pytest.raises(vh.VhError) as e:
            t.run(t.master.set_config, 0, numpy.frombuffer(b"no", "u1"))
        assert e.value.errno == errno.EREMOTEIO and e.value.request == 25 and device.written == (0, b"no", 0)


def test_an_answer_may_come_later():
    class Slow(Null):
        later = None

        def set_features(self, features, later):
            if features:
                self.later = later
                return later
            return None

    device = Slow()
    with Turns(device) as t:
        t.run(t.master.set_owner)
        offered = t.run(t.master.get_features)
        thread = threading.Timer(0.1, lambda: device.later.finish())
        thread.start()
        t.run(t.master.set_features, offered)
        t.run(t.master.get_features)  # the answer to this one is behind it
        thread.join()
        with pytest.raises(vh.VhError) as e:
            device.later.finish()
        assert e.value.errno == errno.ESTALE


@pytest.mark.parametrize("what", (ValueError("mine"), KeyboardInterrupt(), SystemExit(3), OSError(errno.EIO, "disk")))
def test_what_a_method_raises_comes_out_of_dispatch_as_the_same_object(what):
    class Bad(Null):
        armed = False

        def on_batch(self, queue, index, budget):
            if self.armed:
                raise what

    device = Bad()
    with Turns(device) as t:
        _, disk = drive(t)
        device.armed = True
        buffer = t.run(disk.alloc, 512)
        disk.submit([vh.BlkIo(vh.BlkOp.READ, 0, buffer, 1)])
        with pytest.raises(type(what)) as e:
            for _ in range(100):
                t.slave.wait(0.1)
        assert e.value is what
        assert "in on_batch" in "".join(traceback.format_tb(e.value.__traceback__))
        event = [x for x in t.slave.events() if x.kind == vh.EventKind.BROKEN]
        assert event and event[0].reason == -(what.errno if isinstance(what, OSError) else errno.ECANCELED)
        assert t.slave.dispatch() in (True, False)  # and only once


@pytest.mark.parametrize("method", ("get_config", "set_config", "set_features", "queue_started", "queue_stopped"))
def test_every_method_may_raise(method):
    error = RuntimeError(method)

    def fail(self, *args):
        raise error

    device = type("Failing", (Null,), {method: fail})()
    with pytest.raises(RuntimeError) as e:
        with Turns(device) as t:
            t.run(t.master.negotiate)
            t.run(lambda: pytest.raises(vh.VhError, t.master.get_config, 0, 8) if method == "get_config" else None)
            if method == "set_config":
                t.run(lambda: pytest.raises(vh.VhError, t.master.set_config, 0, b"1"))
            kept = drive(t)
            assert kept
    assert e.value is error
    gc.collect()


def test_poll_fd_raising_comes_out_of_the_constructor():
    class Bad(Null):
        def poll_fd(self):
            raise LookupError("no fd")

        def on_poll(self):
            pass

    with Bad() as device, pytest.raises(LookupError):
        vh.Slave(device)


def test_a_device_of_its_own_pace_completes_from_on_poll():
    class Async(Null):
        def __init__(self):
            super().__init__()
            self.r, self.w = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
            self.waiting = []

        def poll_fd(self):
            return self.r

        def on_batch(self, queue, index, budget):
            batch = queue.pop(budget)
            if batch:
                self.waiting.append((queue, batch))
                os.write(self.w, b"1")

        def on_poll(self):
            os.read(self.r, 100)
            while self.waiting:
                queue, batch = self.waiting.pop(0)
                for request in batch:
                    request.write(bytes(request.wr_len))
                queue.push(batch)

    device = Async()
    with Turns(device) as t:
        _, disk = drive(t)
        assert t.run(disk.read, 0, 512) == bytes(512)
    os.close(device.r)
    os.close(device.w)


def test_half_of_a_poll_is_refused():
    class Half(Null):
        def on_poll(self):
            pass

    with pytest.raises(TypeError, match="poll_fd"):
        Half()


def test_a_driver_that_breaks_its_queue_does_not_end_the_serving():
    with Turns(Null()) as t, vh.Memory() as memory:
        run, m = t.run, t.master
        run(m.negotiate, vh.Features.VERSION_1)
        memory.alloc(0x100000, MIB)
        run(m.set_mem, memory)
        uva = memory.regions()[0].uva
        run(m.set_vring_num, 0, 64)
        run(m.set_vring_addr, vh.VringAddr(index=0, desc=uva, avail=uva + 0x1000, used=uva + 0x2000))
        memory.view(0x101002, 2)[:] = b"\xff\xff"
        run(m.set_vring_kick, 0, None)
        run(m.set_vring_enable, 0)
        run(m.get_features)
        broken = [e for e in t.slave.events() if e.kind == vh.EventKind.BROKEN]
        assert broken and broken[0].queue == 0 and broken[0].reason == -errno.EPROTO
        with pytest.raises(vh.VhError) as e:
            t.slave.queue(0).pop()
        assert e.value.queue == 0 and e.value.domain is vh.ErrorDomain.QUEUE


def test_a_second_exception_of_one_call_is_a_note_of_the_first():
    def trace(message):
        raise RuntimeError(message.name)

    with Turns(Null()) as t:
        t.master.set_trace(trace)
        with pytest.raises(RuntimeError) as e:
            t.run(t.master.get_features)
        assert "GET_FEATURES" in e.value.__notes__[0]
        t.master.set_trace(None)


def test_what_one_callback_raised_does_not_come_out_of_what_the_next_one_calls():
    class Caller(Null):
        armed, calls, wrong = False, 0, None

        def on_batch(self, queue, index, budget):
            self.calls += self.armed
            if self.calls == 1:
                raise ArithmeticError("the first")
            try:
                self.error(index, -errno.EIO)
            except ArithmeticError as e:
                self.wrong = e
            super().on_batch(queue, index, budget)

    device = Caller()
    with Turns(device) as t:
        driver = t.run(lambda: vh.Driver(t.master, type=vh.TYPE_BLK, n_queues=2))
        t.run(driver.start)
        disk = t.run(lambda: vh.Blk(driver))
        buffer = t.run(disk.alloc, 1024)
        while t.slave.wait(0.05):
            pass
        device.armed = True
        for i in range(2):
            disk.submit([vh.BlkIo(vh.BlkOp.READ, 0, buffer[512 * i:512 * i + 512], i)], queue=i)
        with pytest.raises(ArithmeticError):
            t.slave.dispatch()
        assert device.calls == 2 and device.wrong is None


def test_work_that_is_left_when_a_method_raises_is_not_forgotten():
    """Six requests, one for each dispatch, and an exception in the first."""
    def trace(message):
        raise ArithmeticError("trace")

    with Turns(Null(), budget=1) as t:
        _, disk = drive(t)
        buffer = t.run(disk.alloc, 6 * 512)
        while t.slave.dispatch():
            pass
        disk.submit([vh.BlkIo(vh.BlkOp.READ, 0, buffer[512 * i:512 * i + 512], i) for i in range(6)])
        t.master.submit(1)
        t.slave.set_trace(trace)
        with pytest.raises(ArithmeticError):
            t.slave.wait(WAIT)
        t.slave.set_trace(None)
        while t.slave.wait(0.1):
            pass
        assert len(disk.reap()) == 6


def manual_turns():
    return Turns(type("Manual", (vh.Device,), {"type": vh.TYPE_BLK, "config": (2048).to_bytes(8, "little")})())


def submitted(turns):
    """The slave's queue, with one request that is not popped yet, and the disk that asks."""
    _, disk = drive(turns)
    disk.submit([vh.BlkIo(vh.BlkOp.READ, 0, turns.run(disk.alloc, 512), 9)])
    queue = turns.slave.queue(0)
    assert queue.wait(WAIT)
    return queue, disk


def test_a_batch_of_a_ring_that_was_stopped_can_not_be_given_back():
    with manual_turns() as t:
        queue, disk = submitted(t)
        batch = queue.pop()
        request = batch[0]
        t.slave.disconnect()
        assert request.wr_len == 513 and len(request.writable[0]) == 512
        with pytest.raises(vh.VhError) as e:
            queue.unpop(batch)
        assert e.value.errno == errno.ESTALE
        with pytest.raises(ValueError, match="completed"):
            request.read()
        assert disk.reap() == []


def test_a_ring_that_stops_while_it_is_popped_has_nothing(monkeypatch):
    """Between the pop and the look at its memory; the requests are given back, not lost."""
    from vh import _queue
    with manual_turns() as t:
        queue, disk = submitted(t)
        real, ended = _queue.take_snapshot, []

        def late(handle, call):
            if not ended:
                ended.append(t.slave.disconnect())
            return real(handle, call)

        monkeypatch.setattr(_queue, "take_snapshot", late)
        batch = queue.pop()
        assert ended and len(batch) == 0 and queue.stats.in_flight == 0
        queue.push(batch)
        assert disk.reap() == []


def test_without_on_batch_the_queues_are_the_user_s():
    class Manual(vh.Device):
        type = vh.TYPE_BLK
        config = (2048).to_bytes(8, "little")

    with Turns(Manual()) as t:
        _, disk = drive(t)
        buffer = t.run(disk.alloc, 512)
        buffer[:] = b"\1" * 512
        disk.submit([vh.BlkIo(vh.BlkOp.READ, 0, buffer, 9)])
        queue = t.slave.queue(0)
        assert queue is t.slave.queue(0)
        assert queue.wait(WAIT)
        batch = queue.pop()
        for request in batch:
            request.write(bytes(request.wr_len))
        queue.push(batch)
        assert disk.wait(WAIT) and disk.reap() == [vh.BlkDone(9, 0)]
        assert bytes(buffer) == bytes(512)


def test_a_wrong_result_is_a_type_error():
    class Wrong(Null):
        def set_features(self, features, later):
            return "yes" if features else None

    with Turns(Wrong()) as t, pytest.raises(TypeError, match="str"):
        t.run(t.master.negotiate)
        t.slave.wait(0.1)


def test_a_slave_closed_inside_of_its_own_callback_ends_when_the_call_returns():
    class Closing(Null):
        def set_features(self, features, later):
            if features:
                self.slave.close()

    device = Closing()
    with Turns(device) as t:
        device.slave = t.slave
        t.master.submit(3)  # SET_OWNER
        t.master.submit(1)
        t.master.submit(2, (1 << 32).to_bytes(8, "little"))
        try:
            for _ in range(100):
                t.slave.wait(0.02)
        except vh.VhError as e:
            assert e.errno in (errno.EBADF, errno.ESHUTDOWN)
        assert t.slave.closed and device._uses == 0


@pytest.mark.parametrize("how", ("slave.serve()", "asyncio.run(slave.async_serve())"))
def test_memory_that_the_front_end_truncates_does_not_end_who_serves(tmp_path, how):
    """Whoever serves by a loop of ours need not know that there is a guard to install."""
    path = str(tmp_path / "s")
    text = f"""
        import asyncio, os, sys
        from binding import Null, vh
        with vh.Slave(Null()) as slave:
            slave.listen({path!r})
            os.write(1, b"listens")
            {how}
    """
    words = [sys.executable, "-c", textwrap.dedent(text)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join((PACKAGE, os.path.dirname(os.path.abspath(__file__))))}
    with subprocess.Popen(words, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as server:
        try:
            assert server.stdout.read(7) == b"listens"
            with Memory(MIB) as mem, Queue(mem, 0, 16) as q, FrontEnd.connect(path, timeout=WAIT) as fe:
                fe.negotiate()
                fe.set_mem_table([mem])
                fe.start(q)
                os.ftruncate(mem.fd, 0)  # from here on nothing may look into it here either
                q.kick()
                with contextlib.suppress(wire.ProtocolError):
                    fe.get_u64(FE.GET_FEATURES)
            with FrontEnd.connect(path, timeout=WAIT) as fe:
                assert fe.get_u64(FE.GET_FEATURES)
            assert server.poll() is None
        finally:
            server.kill()


def test_a_device_serves_one_slave_after_the_other(tmp_path):
    device = Null()
    for _ in range(2):
        with served(device, tmp_path / "s"), vh.Blk(str(tmp_path / "s")) as disk:
            disk.flush() if disk.info.write_cache else disk.write(0, bytes(512))
    with vh.Slave(device), pytest.raises(vh.VhError) as e:
        vh.Slave(device)
    assert e.value.errno == errno.EBUSY
    device.close()


@pytest.mark.parametrize("make", (lambda p: vh.Device.null(MIB), lambda p: vh.Device.ram(MIB, serial="of ram"),
                                  lambda p: vh.Device.file(p), lambda p: vh.Device.file(p, uring=False)))
def test_devices_in_c_are_attached_by_handle(tmp_path, make):
    path = tmp_path / "disk"
    path.write_bytes(bytes(MIB))
    with make(path) as device, served(device, tmp_path / "s"), vh.Blk(tmp_path / "s") as disk:
        data = os.urandom(4096)
        disk.write(8192, data)
        if disk.info.write_cache:
            disk.flush()
            assert disk.read(8192, 4096) == data
        assert isinstance(disk.get_id(), str)


def test_nonsense_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError):
        vh.Device.file(tmp_path / "none")
    with pytest.raises(ValueError, match="serial"):
        vh.Device.ram(MIB, serial="x" * 21)
    with pytest.raises(vh.VhError) as e:
        vh.Device.ram(100)
    assert e.value.errno == errno.EINVAL and e.value.domain is vh.ErrorDomain.ARGUMENT
    with pytest.raises(OverflowError):
        vh.Device.null(-1)
    with pytest.raises(TypeError):
        vh.Device.null("1M")
    with pytest.raises(TypeError):
        vh.Slave(None)
    with pytest.raises(TypeError):
        vh.Device.file(3.5)
    device = type("Bad", (vh.Device,), {"max_queues": 1000})
    with pytest.raises(vh.VhError):
        device()
    with vh.Device.null(MIB) as device, vh.Slave(device) as slave, vh.Master() as master:
        for path in ("with\0nul", b"\0"):
            with pytest.raises(ValueError):
                slave.listen(path)
        with pytest.raises(vh.VhError) as e:
            slave.listen("x" * 200)
        assert e.value.errno == errno.ENAMETOOLONG
        with pytest.raises(TypeError):
            slave.set_logger("print")
        with pytest.raises(vh.VhError):
            slave.queue(7)
        for wrong in (lambda: slave.adopt("fd"), lambda: master.set_mem(device), lambda: vh.Driver(slave),
                      lambda: vh.Blk(7), lambda: vh.Queue(device, role=1, num=8, desc=0, driver=0, device=0)):
            with pytest.raises(TypeError):
                wrong()
        for timeout in (-1, float("nan")):
            with pytest.raises(ValueError):
                slave.wait(timeout)

    class Unfinished(vh.Device):
        def __init__(self):  # pylint: disable=super-init-not-called
            pass

    with pytest.raises(vh.VhError, match="never made"):
        vh.Slave(Unfinished())


def test_an_unattached_device_can_t_tell_anything():
    with Null() as device:
        with pytest.raises(vh.VhError) as e:
            device.config_changed()
        assert e.value.errno == errno.ENOTCONN
        device.error(0, -errno.EIO)


def test_errors_of_a_device_are_news_and_a_line_of_log():
    class Failing(Null):
        def on_batch(self, queue, index, budget):
            super().on_batch(queue, index, budget)
            self.error(index, -errno.EIO)

    lines = []
    with Turns(Failing()) as t:
        t.slave.set_logger(lambda level, text: lines.append((level, text)))
        _, disk = drive(t)
        t.run(disk.read, 0, 512)
        events = {e.kind: e for e in t.slave.events()}
        assert events[vh.EventKind.DEVICE_ERROR].reason == -errno.EIO
    assert any(level in (vh.LogLevel.ERROR, vh.LogLevel.WARNING) and "EIO" in text for level, text in lines)


def test_memory_that_changes_under_a_running_queue_is_pinned_anew():
    class Views(Null):
        def __init__(self):
            super().__init__()
            self.views = []

        def on_batch(self, queue, index, budget):
            batch = queue.pop(budget)
            for request in batch:
                self.views += request.readable
                request.write(bytes(request.wr_len))
            queue.push(batch)

    device = Views()
    with Turns(device) as t:
        _, disk = drive(t)
        for i in range(3):
            buffer = t.run(disk.alloc, 1 << 20)  # a new region
            buffer[:512] = bytes([i + 1]) * 512
            disk.submit([vh.BlkIo(vh.BlkOp.WRITE, 0, buffer[:512], i)])
            t.run(disk.wait, WAIT)
            assert disk.reap() == [vh.BlkDone(i, 0)]
    shown = [bytes(v) for v in device.views if len(v) == 512]
    assert shown == [bytes([i + 1]) * 512 for i in range(3)]  # after all of it is gone
    gc.collect()


# destroy() runs once


def test_contexts_go_with_what_they_are_for():
    from vh import _event
    before = len(_event._targets)
    with Null() as device, vh.Slave(device) as slave:
        slave.set_logger(print)
        slave.set_logger(print)
        slave.set_trace(print)
        assert len(_event._targets) == before + 3
        slave.set_logger(None)
        assert len(_event._targets) == before + 2
    assert len(_event._targets) == before
    with pytest.raises(vh.VhError):
        type("Bad", (vh.Device,), {"max_queues": 1000})()
    assert len(_event._targets) == before
    with vh.Device.null(MIB) as device:
        slave = vh.Slave(device)
        slave.stop()
        with pytest.raises(vh.VhError):
            slave.set_logger(print)
        slave.close()
        with pytest.raises(vh.VhError):
            slave.set_logger(print)
    assert len(_event._targets) == before


TWICE = """
    #include <string.h>
    #include <vh/vh.h>
    static void (*real)(void *);
    static void twice(void *ctx) { real(ctx); real(ctx); }
    vh_rc shim(const struct vh_device_opts *, const struct vh_device_ops *, void *, struct vh_device **) __asm__("vh_device_new");
    extern vh_rc next(const struct vh_device_opts *, const struct vh_device_ops *, void *, struct vh_device **);
    #include <dlfcn.h>
    vh_rc shim(const struct vh_device_opts *o, const struct vh_device_ops *ops, void *ctx, struct vh_device **out)
    {
        vh_rc (*f)(const struct vh_device_opts *, const struct vh_device_ops *, void *, struct vh_device **);
        struct vh_device_ops copy = *ops;
        *(void **)&f = dlsym(RTLD_NEXT, "vh_device_new");
        real = ops->destroy;
        copy.destroy = twice;
        return f(o, &copy, ctx, out);
    }
"""


def test_a_library_that_destroys_twice_turns_a_test_red(tmp_path):
    """The same test file, on such a library: it must not pass."""
    if os.environ.get("VH_TEST_TWICE"):
        return
    source, shim = tmp_path / "twice.c", tmp_path / "twice.so"
    source.write_text(TWICE)
    include = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "include")
    subprocess.run(["gcc", "-shared", "-fPIC", "-D_GNU_SOURCE", f"-I{include}", "-o", shim, source, f"-L{BUILD}",
                    "-Wl,--no-as-needed", "-l:libvh.so.1", f"-Wl,-rpath,{BUILD}"], check=True)
    loaded = {"VH_PYTHON_LIBRARY": str(shim)} if MODE == "abi" else {"LD_PRELOAD": str(shim)}
    for env, code in ((loaded, 1), ({}, 0)):
        got = script("""
            import sys, pytest
            sys.exit(pytest.main(["-q", "-W", "error", "-p", "no:cacheprovider", sys.argv[1], "-k", "answers_requests"]))
        """, os.path.abspath(__file__), env={"VH_TEST_TWICE": "1", "VH_PYTHON_LIBRARY": LIBRARY, **env}, timeout=60)
        assert got.returncode == code, got.stdout + got.stderr
        assert code == 0 or "destroyed already" in got.stdout


def test_vhctl_reads_from_a_device_in_python(tmp_path):
    with served(Null(), tmp_path / "s"):
        got = subprocess.run([VHCTL, "probe", f"unix:{tmp_path}/s"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, timeout=30, text=True, check=False)
    assert got.returncode == 0, got.stderr
