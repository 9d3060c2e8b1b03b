# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Threads, signals, fork, and ends of the interpreter with everything alive."""
import contextlib
import errno
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from binding import BUILD, MIB, PACKAGE, VHCTL, WAIT, Null, served, script, vh
from vh.testing import BackEnd, wire

HERE = os.path.dirname(os.path.abspath(__file__))


# Threads


def test_calls_of_several_threads_on_one_handle_wait_for_each_other(tmp_path):
    with served(Null(), tmp_path / "s") as slave, vh.connect(tmp_path / "s") as master:
        errors, want = [], master.get_features()

        def work():
            try:
                for _ in range(200):
                    assert master.get_features() == want
                    assert slave.stats.connected == 1
            except BaseException as e:  # pylint: disable=broad-except
                errors.append(e)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join(WAIT)
        assert not errors
    assert not slave.raised


def test_other_threads_run_while_a_call_waits(tmp_path):
    """The GIL is not held: a thread counts on while another waits for an answer that does not come."""
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(tmp_path / "mute"))
        mute.listen()
        with vh.connect(tmp_path / "mute", timeout=0.5) as master:
            thread = threading.Thread(target=lambda: pytest.raises(TimeoutError, master.get_features))
            thread.start()
            n = 0
            while thread.is_alive():
                n += 1
            assert n > 1000
            thread.join()


def test_a_wait_is_ended_from_another_thread(tmp_path):
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(tmp_path / "mute"))
        mute.listen()
        for end, codes in (("cancel", {errno.ECANCELED}), ("close", {errno.ECANCELED, errno.EBADF})):
            master, seen = vh.connect(tmp_path / "mute", timeout=60), []

            def work(master=master, seen=seen):
                try:
                    master.get_features()
                except vh.VhError as e:
                    seen.append(e.errno)

            thread = threading.Thread(target=work)
            thread.start()
            time.sleep(0.1)
            getattr(master, end)()
            thread.join(WAIT)
            assert not thread.is_alive() and seen and seen[0] in codes
            master.close()
            assert master._ptr is None


def test_closing_wakes_whoever_serves_and_whoever_waits(tmp_path):
    with served(vh.Device.ram(MIB), tmp_path / "s"):
        disk = vh.Blk(tmp_path / "s")
        seen = []

        def work():
            try:
                disk.wait()
            except vh.VhError as e:
                seen.append(e.errno)

        thread = threading.Thread(target=work)
        thread.start()
        with pytest.raises(vh.VhError) as e:
            end = time.monotonic() + WAIT
            while time.monotonic() < end:  # until the thread is there
                disk.reap()
        assert e.value.errno == errno.EBUSY and "one at a time" in str(e.value)
        disk.close()
        thread.join(WAIT)
        assert not thread.is_alive() and seen == [errno.EBADF]


def test_a_method_in_progress_ends_before_its_slave_does(tmp_path):
    class Slow(Null):
        def on_batch(self, queue, index, budget):
            batch = queue.pop(budget)
            if batch:
                inside.set()
                time.sleep(0.2)
            queue.complete(batch, vh.ALL)

    inside = threading.Event()
    with served(Slow(), tmp_path / "s") as slave:
        disk = vh.Blk(tmp_path / "s")
        disk.submit([vh.BlkIo(vh.BlkOp.READ, 0, disk.alloc(512))])
        assert inside.wait(WAIT)
    assert not slave.raised
    disk.close()


def test_stop_ends_serve(tmp_path):
    with served(Null(), tmp_path / "s") as slave:
        time.sleep(0.05)
        slave.stop()
        with pytest.raises(vh.VhError) as e:
            slave.dispatch()
        assert e.value.errno == errno.ESHUTDOWN
    assert not slave.raised


# Signals


SERVE = """
    import sys, vh
    from binding import Null
    print("up", flush=True)
    try:
        vh.serve(Null(), sys.argv[1])
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""
BLOCK = """
    import sys, vh
    with vh.connect(sys.argv[1], timeout=60) as master:
        print("up", flush=True)
        try:
            {call}
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        assert master.stats.connected == 1
"""
QUEUE = """
    import vh
    from binding import Pair
    with Pair() as pair:
        print("up", flush=True)
        try:
            pair.device.wait()
        except KeyboardInterrupt:
            print("interrupted", flush=True)
"""
BLK = """
    import sys, vh
    with vh.Blk(sys.argv[1]) as disk:
        print("up", flush=True)
        try:
            disk.wait()
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        assert len(disk.read(0, 512)) == 512
"""


def started(text, *args):
    import textwrap
    return subprocess.Popen([sys.executable, "-X", "dev", "-W", "error", "-c", textwrap.dedent(text), *map(str, args)],
                            env={**os.environ, "PYTHONPATH": f"{PACKAGE}{os.pathsep}{HERE}"}, text=True,
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def sleeps(pid):
    """Wait until the process has nothing to do: a fifth of a second of no other state, not of waiting for a processor."""
    quiet, end = 0, time.monotonic() + WAIT
    while quiet < 10:
        assert time.monotonic() < end
        with open(f"/proc/{pid}/stat", encoding="ascii") as f:
            quiet = quiet + 1 if f.read().rpartition(")")[2].split()[0] == "S" else 0
        time.sleep(0.02)


@pytest.mark.parametrize("what", ("serve", "request", "negotiate", "queue", "blk"))
def test_ctrl_c_ends_a_call_that_waits(tmp_path, what):
    with socket.socket(socket.AF_UNIX) as mute, served(vh.Device.ram(MIB), tmp_path / "ram"):
        mute.bind(str(tmp_path / "mute"))
        mute.listen()
        text, arg = {"serve": (SERVE, "new"), "request": (BLOCK.format(call="master.get_features()"), "mute"),
                     "negotiate": (BLOCK.format(call="master.negotiate()"), "mute"), "queue": (QUEUE, ""),
                     "blk": (BLK, "ram")}[what]
        with started(text, tmp_path / arg) as p:
            assert p.stdout.readline() == "up\n", p.stderr.read()
            sleeps(p.pid)
            p.send_signal(signal.SIGINT)
            out, err = p.communicate(timeout=20)
        assert (p.returncode, out) == (0, "interrupted\n"), err


@pytest.mark.parametrize("what", ("master", "slave"))
def test_a_signal_whose_handler_returns_does_not_end_a_wait(tmp_path, what):
    """A timer that fires all the time, while requests are made and served: each ends as it should."""
    hits = []
    old = signal.signal(signal.SIGALRM, lambda *_: hits.append(1))
    try:
        with served(Null(), tmp_path / "s") as slave:
            signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
            with vh.connect(tmp_path / "s", timeout=WAIT) as master:
                if what == "master":
                    for _ in range(300):
                        assert master.get_features()
                        master.negotiate()
                    with vh.Driver(master, type=vh.TYPE_BLK) as driver:
                        driver.start()
                        with vh.Blk(driver) as disk:
                            for _ in range(50):
                                assert disk.read(0, 512) == bytes(512)
                        driver.stop()
                else:
                    with vh.Slave(Null()) as other:
                        assert other.wait(0.2) is False
        assert not slave.raised
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    assert len(hits) > 20


def test_a_timer_that_is_faster_than_the_back_end_does_not_make_a_request_endless():
    """Each signal takes the reply away from the request that was waiting for it, which then has to be made again."""
    def slow(back, msg):
        time.sleep(0.02)
        back.conn.reply(msg, back.default(msg))

    def tick(*_):
        hits.append(1)
        if time.monotonic() > end:
            raise TimeoutError(f"{len(back.log)} requests, and still no reply")

    hits, end = [], time.monotonic() + WAIT
    back, theirs = BackEnd.pair()
    back.handlers[wire.FE.GET_FEATURES] = slow
    old = signal.signal(signal.SIGALRM, tick)
    try:
        with back, vh.Master(timeout=WAIT) as master:
            with theirs:
                master.adopt(theirs)
            back.start()
            signal.setitimer(signal.ITIMER_REAL, 0.005, 0.005)
            try:
                assert master.get_features() & vh.Features.VERSION_1
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
            assert master.get_features() and not signal.pthread_sigmask(signal.SIG_BLOCK, ())
            assert len(hits) > 2 and len(back.log) < 10
    finally:
        signal.signal(signal.SIGALRM, old)


@contextlib.contextmanager
def interrupted_elsewhere():
    """SIGINT comes to another thread while the body runs, which has to end by it soon."""
    def elsewhere():
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        time.sleep(0.2)
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)

    thread = threading.Thread(target=elsewhere)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    start = time.monotonic()
    try:
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        thread.join()
    assert time.monotonic() - start < 5


def test_a_signal_just_before_the_wait_is_handled_all_the_same(tmp_path):
    """It came when the handler could not run and the system call was not there to be interrupted: as if it had come on
    another thread, whose system calls go on."""
    with vh.Slave(Null()) as slave:
        slave.listen(tmp_path / "s")
        with interrupted_elsewhere():
            slave.wait()


def test_a_signal_just_before_a_request_is_handled_all_the_same(tmp_path):
    """As above, for a call that waits for a reply: its deadline is far away."""
    with socket.socket(socket.AF_UNIX) as mute, vh.Master(timeout=60) as master:
        mute.bind(str(tmp_path / "mute"))
        mute.listen()
        master.connect(tmp_path / "mute")
        with interrupted_elsewhere():
            master.get_features()
        assert master.stats.connected


def ignoring(call):
    with contextlib.suppress(vh.VhError):
        call()


def test_ctrl_c_ends_a_close_that_waits_for_a_method(tmp_path):
    class Stuck(Null):
        def set_features(self, features, later):
            inside.set()
            free.wait(2 * WAIT)

    inside, free = threading.Event(), threading.Event()
    with served(Stuck(), tmp_path / "s") as slave, vh.connect(tmp_path / "s", timeout=WAIT) as master:
        asking = threading.Thread(target=ignoring, args=(master.negotiate,))
        asking.start()
        assert inside.wait(WAIT)
        timer = threading.Timer(0.2, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT))
        rescue = threading.Timer(WAIT, free.set)
        timer.start()
        rescue.start()
        with pytest.raises(KeyboardInterrupt):
            slave.close()
        assert not free.is_set() and not slave.closed  # it can be closed again
        rescue.cancel()
        free.set()
        slave.close()
        asking.join(WAIT)


# Fork


def test_handles_of_the_parent_are_refused_in_a_forked_child(tmp_path):
    got = script("""
        import os, sys, gc, vh
        from binding import Null, Pair, MIB
        path = sys.argv[1]
        slave, pair = vh.Slave(Null()), Pair()
        slave.listen(path)
        master = vh.connect(path)
        pair.offer(1)
        batch = pair.device.pop()
        view = batch[0].readable[0]
        pid = os.fork()
        if pid == 0:
            try:
                for use in (slave.dispatch, slave.fileno, master.get_features, pair.device.pop, lambda: pair.device.push(batch),
                            pair.memory.regions, lambda: vh.Slave(slave.device)):
                    try:
                        use()
                    except vh.VhError as e:
                        assert "fork" in str(e), e
                    else:
                        raise AssertionError("no error")
                assert bytes(view) == b"question"
                slave.close(); master.close(); pair.memory.close()
                del slave, master, view, batch, use
                gc.collect()
                with Pair() as other:  # a new one works
                    assert other.offer(1) == 1
            except BaseException as e:
                import traceback; traceback.print_exc()
                os._exit(1)
            sys.exit(7)  # and the usual end
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
        assert os.path.exists(path)  # the child did not take the socket away
        slave.dispatch()
        view.release()
        pair.device.push(batch)
        pair.__exit__(); master.close(); slave.close()
        assert not os.path.exists(path)
    """, tmp_path / "s")
    assert got.returncode == 0, got.stderr


# Ends


ALIVE = """
    import atexit, gc, os, sys, threading, time, vh
    from binding import Null, Pair, MIB
    path = sys.argv[1]
    slave = vh.Slave(Null())
    slave.set_logger(lambda *a: None)
    slave.set_trace(lambda m: None)
    slave.listen(path)
    thread = threading.Thread(target=slave.serve, daemon=True)
    thread.start()
    disk = vh.Blk(path)
    disk.read(0, 512)
    window = disk.alloc(4096)
    pair = Pair()
    pair.offer(2)
    batch = pair.device.pop()
    views = [*batch[0].readable, *batch[1].writable]
"""


@pytest.mark.parametrize("end, code, serving", (
    ("", 0, True),
    ("os._exit(3)", 3, True),
    ("raise SystemExit(4)", 4, True),
    ("class C: pass\nc = C(); c.me = c; c.all = (slave, disk, pair, batch, views); del slave, disk, pair, batch, views", 0, True),
    ("import builtins; builtins.kept = (slave, disk, views)", 0, True),
    ("threading.Thread(target=disk.wait, daemon=True).start(); time.sleep(0.1)", 0, True),
    ("def spin():\n    while True: pair.device.pop(1)\nthreading.Thread(target=spin, daemon=True).start(); time.sleep(0.05)", 0,
     True),
    ("slave.close(); disk.close(); raise SystemExit(5)", 5, False),
    ("sys.modules.clear()", 0, True),
))
def test_the_interpreter_ends_cleanly_with_everything_alive(tmp_path, end, code, serving):
    got = script(ALIVE + "\n".join("    " + line for line in end.splitlines()) + "\n", tmp_path / "s")
    assert got.returncode == code, got.stderr
    for word in ("Fatal", "Segmentation", "Exception ignored", "Traceback"):
        assert word not in got.stderr, got.stderr
    assert serving or not os.path.exists(tmp_path / "s")


def test_an_endless_callback_of_a_daemon_thread_does_not_hold_the_end_up(tmp_path):
    start = time.monotonic()
    got = script("""
        import sys, threading, time, vh
        from binding import Null
        class Endless(Null):
            def set_features(self, features, later):
                inside.set()
                while True:
                    time.sleep(1)
        inside = threading.Event()
        slave = vh.Slave(Endless())
        slave.listen(sys.argv[1])
        threading.Thread(target=slave.serve, daemon=True).start()
        master = vh.connect(sys.argv[1])
        threading.Thread(target=master.negotiate, daemon=True).start()
        inside.wait(10)
    """, tmp_path / "s")
    assert got.returncode == 0, got.stderr
    assert time.monotonic() - start < 15


def test_the_end_comes_while_other_threads_make_handles():
    """Of all handles there are the list is taken again and again, while it changes."""
    got = script("""
        import threading, time, vh
        from vh import _handle
        memory, over = vh.Memory(), []
        memory.alloc(0, 4096)
        def work():
            kept = []
            while not over:
                kept.append(memory.snapshot())
                del kept[:len(kept) - 300]
        threads = [threading.Thread(target=work, daemon=True) for _ in range(3)]
        for t in threads:
            t.start()
        for _ in range(3000):
            _handle._members(_handle._live)
    """, timeout=60)
    assert got.returncode == 0, got.stderr


def test_what_was_not_closed_is_warned_about(tmp_path):
    got = script("""
        import gc, sys, warnings, vh
        from binding import Null
        warnings.simplefilter("always")
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            device = Null()
            slave = vh.Slave(device)
            slave.listen(sys.argv[1])
            queue = slave.queue(0)
            del slave
            gc.collect()
            assert not seen, seen  # the queue keeps it
            assert queue.state == 0
            del queue
            gc.collect()
            assert [w.category for w in seen] == [ResourceWarning], seen
        vh.Slave(device).close()  # which is free again
        import os
        assert not os.path.exists(sys.argv[1])
    """, tmp_path / "s")
    assert got.returncode == 0, got.stderr


def test_a_cycle_is_collected_in_whatever_order(tmp_path):
    got = script("""
        import gc, sys, warnings, vh
        from binding import Null
        from vh import _event, _handle
        warnings.simplefilter("ignore")
        for i in range(20):
            device = Null()
            slave = vh.Slave(device)
            master = vh.Master()
            fd = master.socketpair()
            slave.adopt(fd)
            import os; os.close(fd)
            things = [device, slave, master, slave.queue(0), slave.queue(1), master.backend()]
            if i % 2:
                things.reverse()
            things.append(things)
            for t in things[:-1]:
                t.__dict__["ring"] = things
            del things, device, slave, master, t
            gc.collect()
        assert not _event._targets and not [h for h in _handle._live if not h.closed]
    """)
    assert got.returncode == 0, got.stderr


def test_the_kit_works_without_the_library():
    got = subprocess.run([sys.executable, "-c", "import vh.testing, vh, sys; vh.Features, vh.TYPE_BLK; "
                          "assert not [m for m in sys.modules if m in ('cffi', 'vh._lib', 'vh._cffi')]"],
                         env={**os.environ, "PYTHONPATH": PACKAGE.split(os.pathsep)[0], "LD_LIBRARY_PATH": "/none"},
                         stderr=subprocess.PIPE, text=True, check=False)
    assert got.returncode == 0, got.stderr
    assert BUILD and VHCTL
