# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Section A: framing and transport (1 to 22)."""

import contextlib
import os
import select
import shutil
import socket
import subprocess
import threading
import time

import pytest
from lib import (
    FULL,
    MESSAGE_TIMEOUT,
    SERVER,
    Bytewise,
    Server,
    Session,
    in_step,
    observe,
    outcome,
    refused,
    state,
    u64,
    unread,
    until,
    vhctl,
)
from reference import Stage, stage
from vh.testing import BlkRequest, Closed, Memory, Queue, wire
from vh.testing.wire import FE, FRONT_END, PF, bits

GET_FEATURES = wire.header(FE.GET_FEATURES, wire.VERSION, 0)


def ended(conn) -> bool:
    """The peer ends the connection without a word."""
    return conn.closed_by_peer(2.0)


# --- overdue messages take long, so they run beside the other tests ---


class Overdue(threading.Thread):
    """Sends bytes with a pause before each, until the server ends the connection; notes when that was."""

    def __init__(self, server, data, pause):
        super().__init__(daemon=True)
        self.server, self.data, self.pause = server, data, pause
        self.seconds = None
        self.latency = 0.0
        self.first = server.connect()
        self.start()

    def run(self):
        started = time.monotonic()
        with self.first as conn, contextlib.suppress(Closed):
            for i in range(len(self.data)):
                conn.send_bytes(self.data[i : i + 1])
                # How long a second client waits for its answer, which is that there is one already.
                asked = time.monotonic()
                with self.server.connect() as second:
                    refused = second.closed_by_peer(0.5)
                if not conn.silent(self.pause):
                    break
                self.latency = max(self.latency, time.monotonic() - asked - self.pause if refused else 99)
            if not conn.closed_by_peer(2 * MESSAGE_TIMEOUT):
                return
        self.seconds = time.monotonic() - started


@pytest.fixture(scope="module", autouse=True)
def _early(request):
    """Start them now; not where each test has to answer for what the servers of its own do."""
    if "VH_SITE_LOG" not in os.environ:
        request.getfixturevalue("overdue")


@pytest.fixture(scope="module")
def overdue(request):
    """{case: Overdue}, of those cases that were selected."""
    wanted = {
        "silence": (wire.header(FE.SET_FEATURES, wire.VERSION, 8), 0.0),
        "trickle": (wire.header(FE.SET_CONFIG, wire.VERSION, 200) + b"\1" * 200, 0.3),
    }
    running = {}
    names = " ".join(item.name for item in request.session.items)
    try:
        for name, (data, pause) in wanted.items():
            if name in names:
                running[name] = Overdue(Server(SERVER), data, pause)
        yield running
    finally:
        for one in running.values():
            one.server.end()


# --- the cases ---


@pytest.mark.parametrize("n", range(1, 12))
def test_case_001_header_cut(server, n):
    with server.connect() as conn:
        conn.send_bytes(wire.header(FE.SET_FEATURES, wire.VERSION, 0xFFFFFFFF)[:n])
        conn.sock.shutdown(socket.SHUT_WR)
        assert (ended(conn) and "CLOSE") == outcome(1)


def test_case_001_header_cut_and_gone(server):
    for n in range(1, 12):
        with server.connect() as conn:
            conn.send_bytes(GET_FEATURES[:n])


def test_case_002_byte_by_byte(server):
    with Bytewise.connect(server.path) as fe, Memory(1 << 20) as mem, Queue(mem, 0, 16) as q:
        fe.negotiate()
        fe.set_mem_table([mem])
        fe.start(q)
        with fe.open_channel():
            assert Session(fe, mem, q).works() and outcome(2) == "OK"
            assert fe.get_u64(FE.GET_QUEUE_NUM) == 4
            assert len(fe.get_config()) == 60
            fe.set_config(64, bytes(8))
            with Memory(1 << 16, gpa=1 << 32, uva=1 << 40) as more:
                fe.add_mem_region(more)
                fe.remove_mem_region(more)
            fe.do(FE.SET_STATUS, u64(1))
            assert fe.get_u64(FE.GET_STATUS) == 1
            assert fe.stop(q) == q.ring.avail_idx
            fe.do(FE.RESET_DEVICE)
            fe.do(FE.RESET_OWNER)


def test_case_003_three_in_one_send(fe):
    fe.send_bytes(GET_FEATURES + wire.header(FE.GET_PROTOCOL_FEATURES, wire.VERSION, 0) + GET_FEATURES)
    for request in (FE.GET_FEATURES, FE.GET_PROTOCOL_FEATURES, FE.GET_FEATURES):
        fe.recv_reply(request)
    assert (in_step(fe) and "OK") == outcome(3)


def test_case_003_a_thousand_in_a_row(fe):
    """In order: each value that is set is the one that is read next."""
    fe.negotiate()
    for i in range(500):
        fe.send_bytes(wire.header(FE.SET_VRING_BASE, wire.VERSION, 8) + state(i % 4, i)
                      + wire.header(FE.GET_VRING_BASE, wire.VERSION, 8) + state(i % 4))  # fmt: skip
    for i in range(500):
        assert fe.recv_reply(FE.GET_VRING_BASE).fields() == {"index": i % 4, "num": i}
    assert (in_step(fe) and "OK") == outcome(3)


def test_case_003_an_fd_stays_with_its_message(session):
    """Kick and call of one ring, in one stream of bytes with what comes before and after."""
    fe, q = session.fe, session.q
    calls = [os.eventfd(0) for _ in range(2)]
    for fd in calls:
        fe.send_bytes(wire.header(FE.SET_VRING_CALL, wire.VERSION, 8) + wire.vring_fd(0) + GET_FEATURES, [fd])
    for _ in calls:
        fe.recv_reply(FE.GET_FEATURES)
    session.q.submit(BlkRequest.flush(session.mem).chain)
    assert select.select([calls[1]], [], [], 2)[0] and len(q.wait()) == 1
    for fd in calls:
        os.close(fd)


def split_everywhere(fe, request, payload, fds=(), pause=None):
    """The message sent in two parts, cut at each of its bytes, the second when the first has been read."""
    data = wire.header(request, wire.VERSION | wire.NEED_REPLY, len(payload)) + payload
    for at in range(1, len(data)):
        fe.send_bytes(data[:at], fds)
        if pause:
            time.sleep(pause)
        else:
            assert until(lambda: not unread(fe))
        fe.send_bytes(data[at:])
        yield fe.recv_reply(request)


def test_case_004_cut_anywhere(session):
    fe, q = session.fe, session.q
    for request, payload, fds in (
        (FE.SET_VRING_CALL, wire.vring_fd(0), [q.call_fd]),
        (FE.SET_VRING_ADDR, wire.pack("VRING_ADDR", **q.addr), []),
        (FE.SET_MEM_TABLE, wire.mem_table([session.mem.region]), [session.mem.fd]),
    ):
        for reply in split_everywhere(fe, request, payload, fds):
            assert (reply.u64 == 0 and "OK") == outcome(4)
    for reply in split_everywhere(fe, FE.GET_CONFIG, wire.config(0, 60)):
        assert len(reply.payload) == 72
    assert session.works()


def test_case_004_with_a_pause(session):
    for reply in split_everywhere(session.fe, FE.SET_VRING_ENABLE, state(0, 1), pause=0.05):
        assert reply.u64 == 0


@pytest.mark.parametrize("version", (0, 2, 3))
def test_case_005_version(fe, version):
    assert observe(fe, FE.GET_FEATURES, flags=version) == outcome(5)


@pytest.mark.parametrize("request_id", (FE.GET_FEATURES, FE.SET_OWNER, FE.SET_VRING_NUM))
def test_case_006_reply_bit(fe, request_id):
    fe.negotiate()
    flags = wire.VERSION | wire.REPLY
    for more in (0, wire.NEED_REPLY):
        assert observe(fe, request_id, bytes(FRONT_END[request_id].min), flags=flags | more) == outcome(6)


@pytest.mark.parametrize("bit", range(4, 32))
def test_case_007_reserved_flag(fe, bit):
    fe.negotiate()
    assert observe(fe, FE.SET_OWNER, flags=wire.VERSION | 1 << bit, need_reply=bit % 2 == 0) == outcome(7)


def test_case_008_need_reply_too_early(fe):
    assert observe(fe, FE.SET_OWNER, need_reply=True, reply_ack=False) == outcome(8)
    fe.negotiate(protocol_features=bits(PF.MQ, PF.CONFIG))
    assert observe(fe, FE.SET_OWNER, need_reply=True, reply_ack=False) == outcome(8)
    # The message that acks it is handled under the old rule.
    ack = u64(bits(PF.REPLY_ACK))
    assert observe(fe, FE.SET_PROTOCOL_FEATURES, ack, need_reply=True, reply_ack=False) == outcome(8)
    assert fe.status(FE.SET_OWNER) == 0


@pytest.mark.parametrize("request_id", [FE.GET_FEATURES, FE.GET_PROTOCOL_FEATURES, FE.GET_QUEUE_NUM, FE.GET_CONFIG,
                                        FE.GET_VRING_BASE, FE.GET_MAX_MEM_SLOTS, FE.GET_STATUS])  # fmt: skip
def test_case_009_one_reply(server, request_id):
    with stage(server, "running") as s:
        with s.fe.call(request_id, s.exact(request_id), need_reply=True) as msg:
            assert len(msg.payload) == (72 if request_id == FE.GET_CONFIG else 8)
        assert (in_step(s.fe) and "OK") == outcome(9)


def test_case_010_id_0(server):
    assert refused(server, 0) == outcome(10)


@pytest.mark.parametrize("size", (0, 8, 4096))
@pytest.mark.parametrize("request_id", (46, 1000, 0x7FFFFFFF, 0xFFFFFFFF), ids=hex)
def test_case_011_unknown_id(server, request_id, size):
    """observe() asks for more behind the payload, so that has been consumed to the byte."""
    assert refused(server, request_id, b"\x01" * size) == outcome(11)


@pytest.mark.parametrize("size", (4097, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF), ids=hex)
def test_case_012_impossible_size(server, size):
    before = server.rss()
    for request_id in (FE.GET_FEATURES, FE.SET_MEM_TABLE, 0, 99):
        with server.connect() as conn:
            conn.send_bytes(wire.header(request_id, wire.VERSION, size))
            assert (ended(conn) and "CLOSE") == outcome(12)
    assert server.rss() - before < 1 << 20


def test_case_015_replies_not_read(server):
    """Where nobody reads the server stops reading, takes no more memory and no processor time, and forgets nothing."""
    n = 1_000_000 if FULL else 100_000
    with server.connect() as conn:
        data = GET_FEATURES * 1000
        sent = got = 0
        before = server.rss()
        conn.sock.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while sent < n * len(GET_FEATURES):
                sent += conn.sock.send(data[sent % len(GET_FEATURES) :])
        assert sent < n * len(GET_FEATURES), "there is no end to what the server buffers"
        time.sleep(0.1)
        busy = server.cpu()
        with server.connect() as second:
            assert ended(second)
        time.sleep(0.3)
        # A sanitizer keeps what was freed for a while.
        assert server.cpu() - busy < 0.2 and server.rss() - before < (8 if "ASAN_OPTIONS" in os.environ else 1) << 20
        while got < n * 20:
            readable, writable, _ = select.select([conn], [conn] if sent < n * 12 else [], [], 5)
            assert readable or writable
            if readable:
                got += len(conn.sock.recv(1 << 16))
            if writable:
                with contextlib.suppress(BlockingIOError):
                    sent += conn.sock.send(data[sent % 12 :][: n * 12 - sent])
        assert got == n * 20 and in_step(conn) and outcome(15) == "OK"


def test_case_015_and_gone(server):
    with server.connect() as conn, contextlib.suppress(BlockingIOError):
        while True:
            conn.sock.send(GET_FEATURES * 1000)


@pytest.mark.parametrize("n", (0, 1, 12, 13, 39))
def test_case_016_end_inside_a_payload(server, n):
    with stage(server, "negotiated") as s:
        payload = s.exact(FE.SET_MEM_TABLE)
        data = wire.header(FE.SET_MEM_TABLE, wire.VERSION, len(payload)) + payload[:n]
        s.fe.send_bytes(data, [s.mem.fd] * 8)
        s.fe.sock.shutdown(socket.SHUT_WR)
        assert (ended(s.fe) and "CLOSE") == outcome(16)
        assert until(lambda: server.fds() == server.fds_at_start)


def test_case_017_nobody_reads_the_reply(server):
    for how in (lambda s: s.shutdown(socket.SHUT_RD), lambda s: s.close()):
        for _ in range(20):
            with server.connect() as conn:
                conn.send_bytes(GET_FEATURES * 3)
                how(conn.sock)
    with server.connect() as conn:
        conn.sock.shutdown(socket.SHUT_RD)
        conn.send_bytes(GET_FEATURES)
        poll = select.poll()
        poll.register(conn, select.POLLHUP)
        assert (bool(poll.poll(2000)) and "CLOSE") == outcome(17)


#: a timer that interrupts every call, like a profiler that was loaded into the program
ALARMS = r"""
#include <signal.h>
#include <sys/time.h>
static volatile int count;
static void handler(int n) { (void)n; count++; }
__attribute__((constructor)) static void start(void)
{
	struct sigaction a = {.sa_handler = handler};
	struct itimerval every = {{0, 1000}, {0, 1000}};
	sigaction(SIGALRM, &a, 0);
	setitimer(ITIMER_REAL, &every, 0);
}
"""


def test_case_018_interrupted_all_the_time(start, tmp_path):
    source, library = tmp_path / "alarms.c", tmp_path / "alarms.so"
    source.write_text(ALARMS)
    compiler = shutil.which("cc") or shutil.which("gcc")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
    image = tmp_path / "image"
    image.write_bytes(bytes(4 << 20))
    env = {"LD_PRELOAD": str(library), "ASAN_OPTIONS": "verify_asan_link_order=0"}
    for medium in ("--ram", 4 << 20), ("--file", image):
        server = start(*map(str, medium), env=env)
        deadline = time.monotonic() + 1
        while time.monotonic() < deadline:
            with server.session() as s:
                assert (all(s.works() for _ in range(20)) and "OK") == outcome(18)
                # A call fd that blocks is looked at before it is written; no signal may get lost by that.
                call = os.eventfd(0)
                s.fe.vring_fd(FE.SET_VRING_CALL, 0, call)
                if select.select([call], [], [], 0.05)[0]:
                    os.eventfd_read(call)  # a new one is signalled for what may have been missed
                for _ in range(100):
                    s.q.submit(BlkRequest.flush(s.mem).chain)
                    assert select.select([call], [], [], 2)[0], "an interrupt was lost"
                    os.eventfd_read(call)
                    assert until(s.q.ring.reap)
                assert s.fe.stop(s.q) == s.q.ring.avail_idx
                os.close(call)


def not_for_us():
    """fds that are no unix stream sockets, by name."""
    listener = socket.create_server(("127.0.0.1", 0))
    tcp = socket.create_connection(listener.getsockname())
    unbound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    return {
        "seqpacket": socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)[0],
        "dgram": socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)[0],
        "tcp": tcp,
        "tcp listener": listener,
        "neither connected nor listening": unbound,
        "pipe": os.fdopen(os.pipe()[0], "rb"),
        "file": open("/dev/zero", "rb"),  # noqa: SIM115
        "eventfd": os.fdopen(os.eventfd(0), "rb"),
    }


def test_case_019_no_control_socket():
    for name, file in not_for_us().items():
        with file:
            fd = file.fileno()
            got = subprocess.run([vhctl(), "serve", "blk", "--ram", "1M", "--fd", str(fd)], pass_fds=[fd], timeout=5,
                                 capture_output=True, text=True)  # fmt: skip
            assert (got.returncode == 2 and got.stderr.strip().count("\n") == 0 and "ERRNO") == outcome(19), name
            assert f"fd {fd}" in got.stderr, name
            os.fstat(fd)
    got = subprocess.run([vhctl(), "serve", "blk", "--ram", "1M", "--fd", "99"], timeout=5, capture_output=True)
    assert got.returncode == 2


def test_case_020_connect_and_close(server):
    def some(n):
        for _ in range(n):
            server.connect().close()
        assert until(lambda: server.fds() == server.fds_at_start)

    some(500)
    before = server.rss()
    some(10_000)
    assert server.rss() - before < 64 << 10 and outcome(20) == "OK"


def test_case_021_second_client(server, session):
    for _ in range(20):
        with server.connect() as second:
            assert (ended(second) and "CLOSE") == outcome(21)
        with server.connect() as second, contextlib.suppress(Closed):
            second.send(FE.RESET_OWNER)
        assert session.works() and in_step(session.fe)


def test_case_022_message_and_end_at_once(server):
    for _ in range(50):
        with server.connect() as conn:
            conn.send_bytes(GET_FEATURES * 2)
            conn.sock.shutdown(socket.SHUT_WR)
            conn.recv_reply(FE.GET_FEATURES)
            conn.recv_reply(FE.GET_FEATURES)
            assert (ended(conn) and "CLOSE") == outcome(22)


def test_case_022_a_write_and_the_end_at_once(server):
    """Everything that starts a ring, and the end, in one batch: it may be cut off, but nothing is half done."""
    with stage(server, "ring") as s:
        kick(s)
        s.fe.sock.shutdown(socket.SHUT_WR)
        assert ended(s.fe)


def kick(s: Stage) -> None:
    s.q.ring.add(BlkRequest.write(s.mem, 0, b"\x11" * 512).chain)
    s.fe.send(FE.SET_VRING_KICK, wire.vring_fd(0), [s.q.kick_fd])
    s.fe.send(FE.SET_VRING_ENABLE, state(0, 1))
    s.q.kick()


# --- last, because they take their time ---


def check_overdue(one, case):
    one.join(2 * MESSAGE_TIMEOUT)
    assert (one.seconds is not None and "CLOSE") == outcome(case)
    assert MESSAGE_TIMEOUT - 0.5 < one.seconds < MESSAGE_TIMEOUT + 2
    assert one.latency < 0.5
    one.server.check()


def test_case_013_silence(overdue):
    check_overdue(overdue["silence"], 13)


def test_case_014_trickle(overdue):
    """A byte now and then is no progress: the deadline is the message's."""
    check_overdue(overdue["trickle"], 14)
