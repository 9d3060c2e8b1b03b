# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""The tracer passes bytes and fds on as they came, tells every message once, and ends cleanly."""
import contextlib
import errno
import io
import json
import os
import resource
import select
import shlex
import signal
import socket
import subprocess
import sys
import threading

import pytest
from binding import MIB, VHCTL, WAIT, vh
from tracing import ENV, module, rig, running
from vh.launch import sockets
from vh.testing import BE, FE, PF, BackEnd, F, FrontEnd, Memory, Queue, wire
from vh.testing.wire import Closed, Conn, bits
from vh.trace import BACK_END, BACKEND, FRONT_END, MAIN, Fd, Message, Printer, Tracer, message_text, read
from vh.trace.relay import take


def same_file(a, b):
    x, y = os.fstat(a), os.fstat(b)
    return (x.st_dev, x.st_ino) == (y.st_dev, y.st_ino)


def test_a_session_is_told_message_by_message(tmp_path):
    with rig(tmp_path) as r, Memory(1 << 20) as mem, Queue(mem, 0, 64) as q:
        r.fe.negotiate()
        r.fe.set_mem_table([mem])
        r.fe.start(q)
        assert r.fe.stop(q) == 0
        assert not r.tracer.violations
        m = r.tracer.messages
        assert [x.name for x in m[:4]] == ["GET_FEATURES"] * 2 + ["GET_PROTOCOL_FEATURES"] * 2
        assert [x.sender for x in m[:2]] == [FRONT_END, BACK_END]
        assert m[1].fields == {"value": r.be.features} and m[1].reply_to == 1 and m[1].latency_ns > 0
        table = next(x for x in m if x.name == "SET_MEM_TABLE")
        assert table.fields["regions"] == [{"gpa": mem.gpa, "size": 1 << 20, "uva": mem.uva, "offset": 0}]
        assert [str(fd) for fd in table.fds] == ["memfd 1 MiB"] and table.need_reply
        kick = next(x for x in m if x.name == "SET_VRING_KICK")
        assert [str(fd) for fd in kick.fds] == ["eventfd"] and kick.fields == {"index": 0, "nofd": False}
        assert all(x.reply_to for x in m if x.is_reply)
        assert [x.number for x in m] == list(range(1, len(m) + 1))
        assert [x.request for x in r.be.log] == [x.request for x in m if not x.is_reply]
    assert [n.event for n in r.tracer.notes] == ["connected", "ended"] and "front-end" in r.tracer.notes[1].text


def test_bytes_and_fds_arrive_as_they_left(tmp_path):
    """Also in pieces, with fds on other bytes than the first, and flags, sizes and numbers that mean nothing."""
    with rig(tmp_path, serve=False) as r, Memory(4096) as a, Memory(8192) as b:
        r.fe.send(FE.SET_MEM_TABLE, b"\1\2\3", [a.fd, b.fd, a.fd], flags=0xF1)
        with r.be.conn.recv() as got:
            assert (got.request, got.flags, got.payload) == (FE.SET_MEM_TABLE, 0xF1, b"\1\2\3")
            assert [same_file(x, y) for x, y in zip(got.fds, (a.fd, b.fd, a.fd))] == [True] * 3
        raw = wire.header(4000, 1, 9) + b"ninebytes"
        for i, byte in enumerate(raw):
            r.fe.send_bytes(bytes([byte]), [b.fd] if i in (5, 14) else ())
        with r.be.conn.recv() as got:
            assert (got.request, got.payload, len(got.fds)) == (4000, b"ninebytes", 2)
            assert same_file(got.fds[0], b.fd)
        r.fe.send_bytes(raw + wire.header(1, 1, 0) + wire.header(2, 1, 8) + bytes(8))
        for request in (4000, 1, 2):
            with r.be.conn.recv() as got:
                assert got.request == request
        assert [m.request for m in r.tracer.messages] == [FE.SET_MEM_TABLE, 4000, 4000, 1, 2]
        assert [len(m.fds) for m in r.tracer.messages] == [3, 2, 0, 0, 0]


def test_an_fd_stays_with_its_byte():
    ours, theirs = socket.socketpair()
    with ours, theirs, Memory(4096) as mem:
        theirs.setblocking(False)
        ours.send(b"abc")
        socket.send_fds(ours, [b"def"], [mem.fd])
        got = []
        while len(got) < 6:
            data, fds = take(theirs, 64)
            got += [(data[i:i + 1], bool(fds) and not i) for i in range(len(data))]
            for fd in fds:
                os.close(fd)
        assert [data for data, had in got if had] == [b"d"]


class NoFds:
    """A process that has none left but those that it has; in a with statement."""

    def __init__(self, spare=0):
        self.spare = spare

    def __enter__(self):
        self.usual = resource.getrlimit(resource.RLIMIT_NOFILE)
        free = os.open("/dev/null", os.O_RDONLY)
        self.held = [free]
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 1, self.usual[1]))
        while True:
            try:
                self.held.append(os.dup(free))
            except OSError:
                break
        for _ in range(self.spare):
            os.close(self.held.pop())

    def __exit__(self, *exc):
        resource.setrlimit(resource.RLIMIT_NOFILE, self.usual)
        for fd in self.held:
            os.close(fd)


def open_fds():
    return len(os.listdir("/proc/self/fd"))


def test_fds_that_can_not_be_taken_are_not_left_out():
    """Neither are some of them: what a message is without its fds nobody said."""
    ours, theirs = socket.socketpair()
    with ours, theirs, Memory(4096) as mem:
        socket.send_fds(ours, [b"abc"], [mem.fd] * 3)
        before = open_fds()
        for spare in (0, 2):
            with NoFds(spare), pytest.raises(OSError) as e:
                take(theirs, 64)
            assert e.value.errno == errno.EMFILE and open_fds() == before
        data, fds = take(theirs, 64)
        assert data == b"a" and len(fds) == 3  # nothing was lost by trying
        for fd in fds:
            os.close(fd)


@pytest.mark.parametrize("spare", (0, 1, 3, 4))
def test_without_fds_a_connection_ends_and_the_tracer_goes_on(tmp_path, spare):
    """Whether there is none for what came, or for a copy of it to look into. Nothing is left open."""
    front, back = str(tmp_path / "front.sock"), str(tmp_path / "back.sock")
    with BackEnd.listen(back) as listening, Tracer(front, back) as tracer, Memory(4096) as mem:
        with FrontEnd.connect(front, timeout=WAIT) as fe, BackEnd.accept(listening, timeout=WAIT) as be:
            before = open_fds()
            with NoFds(spare):
                fe.send(FE.SET_MEM_TABLE, bytes(8), [mem.fd] * 3)
                with pytest.raises(wire.ProtocolError):
                    be.conn.recv()
                assert tracer.wait_for(lambda: tracer.notes[-1].event == "ended", WAIT)
            assert open_fds() == before - 2  # of the tracer's two ends
        assert "by the tracer: Too many open files" in tracer.notes[-1].text
        with FrontEnd.connect(front, timeout=WAIT) as fe, BackEnd.accept(listening, timeout=WAIT) as be:
            fe.send(FE.SET_OWNER)
            with be.conn.recv() as msg:
                assert msg.request == FE.SET_OWNER


def test_who_connects_waits_until_there_is_an_fd(tmp_path):
    front, back = str(tmp_path / "front.sock"), str(tmp_path / "back.sock")
    with BackEnd.listen(back) as listening, Tracer(front, back) as tracer, socket.socket(socket.AF_UNIX) as fe:
        tried = threading.Event()
        accept, tracer._accept = tracer._accept, lambda: (accept(), tried.set())  # pylint: disable=protected-access
        with NoFds():
            fe.connect(front)
            assert tried.wait(WAIT) and not tracer.failed
        BackEnd.accept(listening, timeout=WAIT).close()
        assert tracer.wait_for(lambda: tracer.notes, WAIT) and tracer.notes[0].event == "connected"


def test_a_sink_that_fails_ends_the_connections(tmp_path):
    """Who waits for the other side is not left waiting, nor is who waits for the tracer."""
    class Full:
        def message(self, m):
            raise OSError(errno.ENOSPC, "No space left on device")

        def note(self, n):
            pass

    front, back = str(tmp_path / "front.sock"), str(tmp_path / "back.sock")
    with BackEnd.listen(back) as listening, pytest.raises(OSError) as e:
        with Tracer(front, back, sinks=(Full(),)) as tracer:
            with FrontEnd.connect(front, timeout=WAIT) as fe, BackEnd.accept(listening, timeout=WAIT) as be:
                fe.send(FE.SET_OWNER)
                for end in (fe, be.conn):
                    with pytest.raises(wire.Closed):
                        while True:
                            end.recv().close()
                assert not tracer.wait_for(lambda: False)
            assert not os.path.exists(front)
    assert e.value.errno == errno.ENOSPC


def test_what_is_no_message_goes_through_a_pipe(tmp_path):
    with rig(tmp_path, serve=False) as r, Memory(4096) as mem:
        junk = wire.header(5, 1, 1 << 20) + os.urandom(300_000)
        threading.Thread(target=r.fe.send_bytes, args=(junk, [mem.fd], WAIT)).start()
        got, fds = bytearray(), []
        while len(got) < len(junk):
            with Part(r.be.conn, len(junk) - len(got)) as part:
                got += part.data
                fds += [same_file(fd, mem.fd) for fd in part.fds]
        assert bytes(got) == junk and fds == [True]
        r.be.conn.send_bytes(b"the other way is cut as before: ")
        assert r.tracer.messages == []
    pipe = next(n for n in r.tracer.notes if n.event == "pipe")
    assert "1048576 bytes" in pipe.text


class Part:
    """What comes in one read."""

    def __init__(self, conn, n):
        assert select.select([conn], [], [], WAIT)[0]
        self.data, self.fds = take(conn.sock, n)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        for fd in self.fds:
            os.close(fd)


def test_half_a_message_at_the_end(tmp_path):
    with rig(tmp_path, serve=False) as r:
        r.fe.send_bytes(wire.header(FE.SET_FEATURES, 1, 8) + b"abc")
        r.fe.close()
        with pytest.raises(Closed) as e:
            r.be.conn.recv()
        assert e.value.partial[-3:] == b"abc"
    cut, = r.tracer.messages
    assert (cut.payload, cut.size) == (b"abc", 8) and [v.rule for v in cut.violations] == ["cut-short"]


def test_the_back_ends_channel_is_traced_too(tmp_path):
    with rig(tmp_path) as r:
        r.fe.negotiate()
        with r.fe.open_channel() as channel, Memory(4096) as mem:
            r.fe.get_u64(FE.GET_QUEUE_NUM)  # the back-end has taken its socket
            result = []
            ask = threading.Thread(target=lambda: result.append(r.be.config_changed()))
            ask.start()
            with channel.recv() as asked:
                assert asked.request == BE.CONFIG_CHANGE_MSG
                channel.reply(asked, wire.pack("U64", value=0))
            ask.join(WAIT)
            assert result == [0]
            r.be.channel.send(BE.SHMEM_MAP, wire.pack("MMAP", len=4096), [mem.fd])
            with channel.recv() as asked:
                assert same_file(asked.fds[0], mem.fd)
        request, reply, shmem = [m for m in r.tracer.messages if m.channel == BACKEND]
        assert (request.sender, request.name) == (BACK_END, "BACKEND_CONFIG_CHANGE_MSG")
        assert (reply.sender, reply.reply_to) == (FRONT_END, request.number) and reply.is_status
        assert [v.rule for v in shmem.violations] == ["protocol-feature"]
        assert r.be.channel.closed_by_peer()


def test_connections_one_after_the_other_and_a_signal(tmp_path):
    front, back, log = (str(tmp_path / n) for n in ("f", "b", "log.jsonl"))
    with running(VHCTL, "serve", "blk", "--socket", back, "--ram", "1M"), \
            running(*module("vh.trace", "--listen", front, "--connect", back, "--jsonl", log, "--type", "blk", "--strict")) as trace:
        assert os.stat(front).st_mode & 0o777 == 0o600
        for _ in range(2):
            done = subprocess.run([VHCTL, "io", "blk", "unix:" + front, "verify"], capture_output=True, text=True,
                                  timeout=30, check=False)
            assert done.returncode == 0, done.stderr
        trace.send_signal(signal.SIGTERM)
        out, err = trace.communicate(timeout=WAIT)
    assert trace.returncode == 0 and not err, err
    assert not os.path.exists(front)
    assert "BLK_FLUSH" in out and "fds: memfd" in out and " us  ok" in out and "!!" not in out
    recording = read(log)
    assert {m.conn for m in recording.messages} == {1, 2} and not recording.violations
    assert [n.event for n in recording.notes] == ["connected", "ended"] * 2
    again = subprocess.run([sys.executable, "-m", "vh.trace.decode", log, "--type", "blk"], env=ENV, capture_output=True,
                           text=True, timeout=30, check=False)
    assert again.stdout == out and again.returncode == 0
    as_json = subprocess.run([VHCTL, "decode", log, "--json"], env={**ENV, "VHCTL_PYTHON": sys.executable},
                             capture_output=True, text=True, timeout=30, check=False)
    assert as_json.stdout == (tmp_path / "log.jsonl").read_text(encoding="utf-8"), as_json.stderr


def test_with_once_it_ends_with_the_connection_and_says_what_it_could_not_reach(tmp_path):
    front = str(tmp_path / "f")
    with running(*module("vh.trace", "--listen", front, "--connect", str(tmp_path / "none"), "--once", "--timeout", "1")) as trace:
        with FrontEnd.connect(front, timeout=WAIT) as fe:
            assert fe.closed_by_peer(WAIT)
        _, err = trace.communicate(timeout=WAIT)
    assert trace.returncode == 3 and "No such file" in err


def test_a_back_end_that_goes_away_takes_the_front_ends_connection(tmp_path):
    with rig(tmp_path, serve=False) as r:
        r.fe.send(FE.GET_FEATURES)
        r.be.conn.recv().close()
        r.be.close()
        assert r.fe.closed_by_peer(WAIT)
    assert r.rules() == ["reply-missing"]
    assert "back-end" in r.tracer.notes[-1].text


def test_a_front_end_that_does_not_read_holds_up_the_back_end_and_loses_nothing(tmp_path):
    with rig(tmp_path, serve=False) as r:
        n = 4000
        sender = threading.Thread(target=lambda: [r.be.conn.send(FE.GET_FEATURES, bytes(2048), flags=5) for _ in range(n)])
        r.be.conn.timeout = r.fe.timeout = WAIT
        sender.start()
        for _ in range(n):
            r.fe.recv().close()
        sender.join(WAIT)
        assert len(r.tracer.messages) == n


def test_the_end_of_the_back_end_may_be_the_one_that_connects(tmp_path):
    front, back = str(tmp_path / "f"), str(tmp_path / "b")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(front)
        listening.listen()
        with Tracer(back, front, once=True, reverse=True) as tracer, Conn.connect(back) as be:
            with FrontEnd(listening.accept()[0]) as fe:
                fe.send(FE.GET_FEATURES)
                be.reply(be.recv(), bytes(8))
                assert fe.recv().u64 == 0
            assert be.closed_by_peer(WAIT)
        assert [m.sender for m in tracer.messages] == [FRONT_END, BACK_END]


def test_sockets_instead_of_addresses_and_errors_of_use(tmp_path):
    fe, front = Conn.pair()
    be, back = Conn.pair()
    with fe, be, Tracer(pair=(front, back)) as tracer:
        fe.send(FE.SET_OWNER)
        assert be.recv().request == FE.SET_OWNER
    assert [m.name for m in tracer.messages] == ["SET_OWNER"]
    with pytest.raises(ValueError):
        Tracer("only one")
    taken = tmp_path / "file"
    taken.write_text("no socket")
    with pytest.raises(OSError):
        Tracer(str(taken), "b")
    assert taken.read_text() == "no socket"


def test_long_paths_and_a_socket_that_is_not_ours_any_more(tmp_path):
    long = tmp_path / ("x" * 60) / ("y" * 60)
    long.mkdir(parents=True)
    front, back = str(long / "front"), str(long / "back")
    with sockets.listen(back) as listening, Tracer(front, back):
        with sockets.connect(front) as fe:
            assert os.stat(front).st_mode & 0o777 == 0o600
            listening.settimeout(WAIT)
            with listening.accept()[0] as be:
                fe.send(b"abc")
                be.settimeout(WAIT)
                assert be.recv(3) == b"abc"
        os.unlink(front)
        (long / "front").write_text("somebody else's")
    assert (long / "front").read_text() == "somebody else's"
    with Tracer("@" + str(os.getpid()), back):
        with pytest.raises(OSError):
            Tracer("abstract:" + str(os.getpid()), back)


def test_sockets_that_are_there_already(tmp_path):
    """A listening one and a connection of each side, by number; then it is over with that connection."""
    path = str(tmp_path / "s")
    front, theirs = socket.socketpair()
    ours, back = socket.socketpair()
    with front, theirs, ours, back, BackEnd.listen(path) as listening:
        for listen, connect in ((theirs, ours), (listening, ours), (theirs, None)):
            place = str(tmp_path / "back")
            with BackEnd.listen(place) as there, Tracer(f"fd:{listen.fileno()}", f"fd:{connect.fileno()}" if connect else place) as tracer:
                fe = socket.socket(socket.AF_UNIX) if listen is listening else front.dup()
                if listen is listening:
                    fe.connect(path)
                fe.sendall(bytes(wire.header(FE.GET_FEATURES, 1, 0)))
                be = back.dup() if connect else there.accept()[0]
                be.settimeout(WAIT)
                assert len(be.recv(64)) == 12
                tracer.stop()
                assert tracer.join(WAIT)
                assert [m.name for m in tracer.messages] == ["GET_FEATURES"]
                fe.close()
                be.close()
    assert os.path.exists(path), "it removed a socket that was not its own"


def test_an_inherited_front_end_whose_back_end_is_not_there(tmp_path):
    """There will be no other one: it is over before it began."""
    front, theirs = socket.socketpair()
    with front, theirs, Tracer(f"fd:{theirs.fileno()}", str(tmp_path / "none"), timeout=0.1) as tracer:
        assert tracer.join(WAIT)
        assert tracer.once and tracer.refused
        front.settimeout(WAIT)
        theirs.close()
        assert front.recv(1) == b""


def test_of_inherited_addresses_what_is_wrong_is_said(tmp_path, monkeypatch):
    place = str(tmp_path / "back")
    with open(os.devnull, "rb") as null, BackEnd.listen(place) as there:
        for target, why in ((f"fd:{null.fileno()}", "no socket"), ("fd:x", "number"), ("fd:99999", "no socket"),
                            ("systemd:", "LISTEN_PID"), ("fd:", "number"), ("fd:99999999999999999999", "no socket")):
            for addresses in ((target, place), (str(tmp_path / "f"), target)):
                with pytest.raises(OSError, match=why):
                    Tracer(*addresses)
        with pytest.raises(OSError, match="listens"):
            Tracer(str(tmp_path / "f"), f"fd:{there.fileno()}")
        monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
        monkeypatch.setenv("LISTEN_FDS", "2")
        monkeypatch.setenv("LISTEN_FDNAMES", "disk:disk")
        for name, why in (("disk", "several"), ("tape", "no socket"), ("", "several")):
            with pytest.raises(OSError, match=why):
                Tracer(f"systemd:{name}", place)


def test_a_socket_of_systemds(tmp_path):
    front, back = str(tmp_path / "f"), str(tmp_path / "b")
    with running(VHCTL, "serve", "blk", "--socket", back, "--ram", "1M"), BackEnd.listen(front) as listening:
        environment = f"LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=disk exec {shlex.join(module('vh.trace', '--listen', 'systemd:disk', '--connect', back))}"
        with subprocess.Popen(["bash", "-c", f"exec 3<&{listening.fileno()}; {environment}"], pass_fds=[listening.fileno()], env=ENV,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as trace:
            assert "listening at systemd:disk" in trace.stderr.readline()
            done = subprocess.run([VHCTL, "io", "blk", "unix:" + front, "verify"], capture_output=True, text=True, timeout=30, check=False)
            assert done.returncode == 0, done.stderr
            trace.send_signal(signal.SIGTERM)
            out, _ = trace.communicate(timeout=WAIT)
    assert trace.returncode == 0 and "GET_CONFIG" in out


def test_a_busy_back_end_is_waited_for_no_longer_than_told(tmp_path):
    """When its backlog is full, a connect() that blocks never comes back."""
    front, back = str(tmp_path / "front"), str(tmp_path / "back")
    with BackEnd.listen(back), contextlib.ExitStack() as waiting:
        with pytest.raises(BlockingIOError):
            while True:
                waiting.enter_context(FrontEnd.connect(back, timeout=0))
        with Tracer(front, back, timeout=0.05) as tracer, FrontEnd.connect(front, timeout=WAIT) as fe:
            assert fe.closed_by_peer()
            assert tracer.wait_for(lambda: tracer.notes, WAIT) and tracer.notes[0].event == "refused"


def test_the_socket_of_a_display_is_passed_on(tmp_path):
    with rig(tmp_path, serve=False) as r:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            r.fe.send(FE.GPU_SET_SOCKET, fds=[theirs.fileno()])
            with r.be.conn.recv() as got:
                os.write(got.fds[0], b"frame")
            assert ours.recv(5) == b"frame"
    assert not r.rules()


def test_kinds_of_fds():
    with Memory(8192) as mem, socket.socket(socket.AF_UNIX) as s, open("/dev/null", "rb") as null, open(__file__, "rb") as f:
        event, (r, w) = os.eventfd(0), os.pipe()
        kinds = [(fd.kind, fd.size) for fd in map(Fd.of, (mem.fd, s.fileno(), null.fileno(), f.fileno(), event, r))]
        for fd in (event, r, w):
            os.close(fd)
    assert kinds == [("memfd", 8192), ("socket", 0), ("device", 0), ("file", os.path.getsize(__file__)), ("eventfd", 0),
                     ("pipe", 0)]


def test_a_file_that_is_no_recording(tmp_path):
    for text in ("", "{}\n", "[]\n", "nonsense", '{"vh_trace":1}\n{"n":1}\n', '{"vh_trace":1}\n{"n":1,"conn":1,"t":1,"from":"x",'
                 '"chan":"main","id":1,"flags":1,"raw":"","fds":[]}\n'):
        (tmp_path / "x").write_text(text, encoding="utf-8")
        with pytest.raises(ValueError):
            read(tmp_path / "x")
        got = subprocess.run([sys.executable, "-m", "vh.trace.decode", str(tmp_path / "x")], env=ENV, capture_output=True,
                             text=True, timeout=30, check=False)
        assert got.returncode == 1 and len(got.stderr.splitlines()) == 1
    assert subprocess.run([sys.executable, "-m", "vh.trace.decode"], env=ENV, capture_output=True, timeout=30,
                          check=False).returncode == 2


def test_lines_for_people():
    m = Message(7, 1, 1_500_000, BACK_END, MAIN, FE.GET_PROTOCOL_FEATURES, 5, wire.pack("U64", value=bits(PF.MQ, PF.RARP, 60)),
                reply_to=6, latency_ns=12_000)
    assert message_text(m) == ("   0.001500 <-    7 GET_PROTOCOL_FEATURES   #6 12 us  0x1000000000000005 MQ RARP bit60")
    refused = Message(8, 1, 0, BACK_END, MAIN, FE.SET_OWNER, 5, wire.pack("U64", value=1))
    assert message_text(refused).endswith("refused: 1")
    out = io.StringIO()
    Printer(out, colour=True).message(refused)
    assert out.getvalue().startswith("\033[")
    assert json.loads(json.dumps(m.as_dict()))["payload"] == {"value": bits(PF.MQ, PF.RARP, 60)}
