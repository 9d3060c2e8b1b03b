# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Section B: ancillary data (23 to 40)."""

import array
import contextlib
import ctypes
import os
import resource
import select
import socket
import struct
import time
from pathlib import Path

import pytest
from lib import SERVER, in_step, observe, outcome, pipes, refusal_of, refused, unread, until
from reference import spare_fds, stage
from vh.testing import BlkRequest, Closed, FrontEnd, Memory, Queue, wire
from vh.testing.wire import BE, FE, FRONT_END

libc = ctypes.CDLL(None, use_errno=True)
SCM_RIGHTS = (socket.SOL_SOCKET, socket.SCM_RIGHTS)
SO_PASSPIDFD = 76
NOTIFIERS = (FE.SET_VRING_KICK, FE.SET_VRING_CALL, FE.SET_VRING_ERR)

NO_FDS = sorted(i for i in FRONT_END if not FRONT_END[i].accept_fd_max)


@pytest.mark.parametrize("request_id", NO_FDS, ids=lambda i: FRONT_END[i].name)
def test_case_023_fds_where_none_belong(server, request_id):
    with spare_fds() as spare:
        for n in (1, 8, 64, 253):
            for need_reply in (True, False):
                with stage(server, "negotiated") as s:
                    want = refusal_of(request_id, need_reply, True) if n <= 32 else outcome("23:many")
                    got = observe(s.fe, request_id, s.exact(request_id), spare[:n], need_reply=need_reply)
                    assert got == want, (n, need_reply)
    assert outcome("23:few") == "N/C" and refusal_of(0, True, True) == "NACK" and refusal_of(0, False, True) == "CLOSE"


@pytest.mark.parametrize("n", (33, 34, 252, 253))
@pytest.mark.parametrize("request_id", (FE.SET_MEM_TABLE, FE.SET_VRING_KICK), ids=lambda i: i.name)
def test_case_024_more_fds_than_there_is_room_for(server, request_id, n):
    with spare_fds() as spare, stage(server, "negotiated") as s:
        fds = s.fds(request_id, n, spare)
        assert observe(s.fe, request_id, s.exact(request_id), fds, need_reply=True) == outcome(24)


@pytest.mark.parametrize("at", (1, 11, 12, 13, 51))
def test_case_025_fds_later_than_the_first_byte(server, at):
    for need_reply, want in ((True, "NACK"), (False, "CLOSE")):
        with stage(server, "negotiated") as s:
            payload = s.exact(FE.SET_MEM_TABLE)
            flags = wire.VERSION | (wire.NEED_REPLY if need_reply else 0)
            data = wire.header(FE.SET_MEM_TABLE, flags, len(payload)) + payload
            s.fe.send_bytes(data[:at])
            assert until(lambda: not unread(s.fe))
            s.fe.send_bytes(data[at:], [s.mem.fd])
            if need_reply:
                assert s.fe.recv_reply(FE.SET_MEM_TABLE).u64 and in_step(s.fe)
            else:
                assert s.fe.closed_by_peer()
            assert want in ("NACK", "CLOSE") and outcome(25) == "N/C"


def test_case_025_one_fd_in_time_and_one_late(server):
    """Two fds for two regions, but one of them comes late."""
    with stage(server, "negotiated") as s:
        payload = wire.mem_table([s.mem.region, s.more.region])
        head = wire.header(FE.SET_MEM_TABLE, wire.VERSION | wire.NEED_REPLY, len(payload))
        s.fe.send_bytes(head, [s.mem.fd, s.more.fd])
        s.fe.send_bytes(payload, [s.more.fd])
        assert s.fe.recv_reply(FE.SET_MEM_TABLE).u64 and in_step(s.fe)


def rights(*fds):
    return (*SCM_RIGHTS, array.array("i", fds))


def credentials():
    return (socket.SOL_SOCKET, socket.SCM_CREDENTIALS, struct.pack("iII", os.getpid(), os.getuid(), os.getgid()))


def ask(fe, request_id, payload, ancillary) -> int:
    """The status of a message with control data of its own."""
    head = wire.header(request_id, wire.VERSION | wire.NEED_REPLY, len(payload))
    fe.send_bytes(head + payload, ancillary=ancillary)
    return fe.recv_reply(request_id).u64


def control_data(fe, mem, more, q):
    """Blocks that come together count together, and credentials count for nothing."""
    two = wire.mem_table([mem.region, more.region])
    assert ask(fe, FE.SET_MEM_TABLE, two, [rights(mem.fd), rights(more.fd)]) == 0
    assert ask(fe, FE.SET_MEM_TABLE, two, [credentials(), rights(mem.fd, more.fd)]) == 0
    assert ask(fe, FE.SET_MEM_TABLE, two, [rights(mem.fd), credentials(), rights(more.fd)]) == 0
    assert ask(fe, FE.SET_OWNER, b"", [credentials()]) == 0
    assert outcome("26:right") == "OK"
    assert ask(fe, FE.SET_MEM_TABLE, two, [rights(mem.fd), rights(more.fd), rights(more.fd)])
    assert ask(fe, FE.SET_VRING_KICK, wire.vring_fd(0), [rights(q.kick_fd), rights(q.kick_fd)])
    assert ask(fe, FE.SET_OWNER, b"", [credentials(), rights(q.kick_fd)])
    assert in_step(fe) and outcome("26:wrong") == "N/C"


def test_case_026_blocks_of_control_data(server):
    with stage(server, "negotiated") as s:
        control_data(s.fe, s.mem, s.more, s.q)


@contextlib.contextmanager
def adopted(start, *options, ends=True):
    """A front-end on a socket pair whose other end, set to these options, was handed to a server; and that end.

    ends: the server ends with the connection.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    for option in options:
        theirs.setsockopt(socket.SOL_SOCKET, option, 1)
    server = start(*SERVER, "--fd", str(theirs.fileno()), pass_fds=[theirs.fileno()], socket_args=False,
                   expect_end=True)  # fmt: skip
    with theirs, FrontEnd(ours, timeout=5) as fe:
        fe.negotiate()
        yield server, fe, theirs
    if not ends:
        server.popen.terminate()
    assert server.popen.wait(5) == 0, server.output()


@pytest.mark.parametrize("options", [(socket.SO_PASSCRED,), (SO_PASSPIDFD,), (socket.SO_PASSCRED, SO_PASSPIDFD)])
def test_case_026_a_socket_that_delivers_more_than_fds(start, options):
    """A socket that was handed over may be set to deliver who sent a message, too, even as an fd."""
    with adopted(start, *options) as (server, fe, _):
        with Memory(1 << 18) as mem, Memory(1 << 16, gpa=1 << 32, uva=1 << 40) as more, Queue(mem, 0, 16) as q:
            before = server.fds()
            for _ in range(50):
                fe.get_u64(FE.GET_FEATURES)
            control_data(fe, mem, more, q)
            fe.do(FE.SET_MEM_TABLE, wire.mem_table([mem.region]), [mem.fd])
            fe.remove_mem_region(mem)
            assert server.fds() == before


@pytest.mark.parametrize("n, fds", [(2, 1), (8, 0), (1, 0), (8, 7), (3, 8)])
def test_case_027_fewer_fds_than_regions(server, n, fds):
    table = wire.mem_table([(i << 20, 1 << 20, i << 30, 0) for i in range(1, n + 1)])
    stdin = os.readlink(f"/proc/{server.pid}/fd/0")
    with Memory(1 << 20) as mem:
        assert refused(server, FE.SET_MEM_TABLE, table, [mem.fd] * fds) == outcome(27)
    assert os.readlink(f"/proc/{server.pid}/fd/0") == stdin and server.maps() == server.maps_at_start


def test_case_028_more_fds_than_regions(server):
    with Memory(1 << 20) as mem:
        assert refused(server, FE.SET_MEM_TABLE, wire.mem_table([mem.region]), [mem.fd] * 2) == outcome(28)


@pytest.mark.parametrize("request_id", NOTIFIERS, ids=lambda i: i.name)
def test_case_029_an_fd_and_the_bit_that_says_none(server, request_id):
    fd = os.eventfd(0)
    assert refused(server, request_id, wire.vring_fd(0, nofd=True), [fd]) == outcome(29)
    os.close(fd)


@pytest.mark.parametrize("request_id", NOTIFIERS, ids=lambda i: i.name)
def test_case_030_no_fd_and_no_bit_that_says_so(server, request_id):
    assert refused(server, request_id, wire.vring_fd(0)) == outcome(30)


def files(tmp_path):
    """fds that are no eventfds, by name."""
    (tmp_path / "file").write_bytes(b"x" * 100)
    r, w = os.pipe()
    a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = (ctypes.c_ulong * 16)()
    return {
        "file": os.open(tmp_path / "file", os.O_RDWR),
        "directory": os.open(tmp_path, os.O_RDONLY),
        "zero": os.open("/dev/zero", os.O_RDWR),
        "null": os.open("/dev/null", os.O_RDWR),
        "pipe, to read": r,
        "pipe, to write": w,
        "socket": a.detach(),
        "the socket's other end": b.detach(),
        "datagram socket": socket.socket(socket.AF_INET, socket.SOCK_DGRAM).detach(),
        "epoll": libc.epoll_create1(0),
        "timerfd": libc.timerfd_create(1, 0),
        "signalfd": libc.signalfd(-1, mask, 0),
        "inotify": libc.inotify_init1(0),
        "memfd": os.memfd_create("x"),
        "path only": os.open(tmp_path / "file", os.O_PATH),
        "process": os.pidfd_open(os.getpid()),
    }


@pytest.mark.parametrize("request_id", NOTIFIERS, ids=lambda i: i.name)
def test_case_031_notifiers_of_another_kind(server, request_id, tmp_path):
    there = files(tmp_path)
    for name, fd in there.items():
        assert fd >= 0, name
        assert refused(server, request_id, wire.vring_fd(0), [fd]) == outcome("31:other"), name
    for fd in there.values():
        os.close(fd)


def idle(server, seconds=0.25) -> bool:
    """The server rests: almost no processor time goes by."""
    before = server.cpu()
    time.sleep(seconds)
    return server.cpu() - before < seconds / 5


@pytest.mark.parametrize("count", (0, 1, 1 << 40, 0xFFFFFFFFFFFFFFFE))
@pytest.mark.parametrize("flags", (0, os.EFD_NONBLOCK, os.EFD_SEMAPHORE, os.EFD_SEMAPHORE | os.EFD_NONBLOCK))
def test_case_031_eventfds_of_all_sorts(server, flags, count):
    with server.session() as s:
        fd = os.eventfd(0, flags)
        if count:
            os.eventfd_write(fd, count)
        s.fe.vring_fd(FE.SET_VRING_KICK, 0, fd)
        # Replacing the kick fd is a look at the ring. That eventfd at its end can't be written, so it only waits.
        for _ in range(3):
            s.q.ring.add(BlkRequest.flush(s.mem).chain)
            if count < 1 << 50:
                os.eventfd_write(fd, 1)
            else:
                s.fe.vring_fd(FE.SET_VRING_KICK, 0, fd)
            assert len(s.q.wait()) == 1
        assert (idle(server) and in_step(s.fe) and "OK") == outcome("31:eventfd")
        os.close(fd)


@pytest.mark.parametrize("flags", (0, os.EFD_NONBLOCK, os.EFD_SEMAPHORE))
def test_case_032_a_call_fd_that_is_full(server, flags):
    with server.session() as s:
        fd = os.eventfd(0, flags)
        os.eventfd_write(fd, 0xFFFFFFFFFFFFFFFE)
        s.fe.vring_fd(FE.SET_VRING_CALL, 0, fd)
        assert (all(s.works() for _ in range(3)) and idle(server, 0.1) and "OK") == outcome("32:eventfd")
        os.close(fd)


def test_case_032_a_pipe_to_call(server):
    with pipes(1) as (r,):
        assert refused(server, FE.SET_VRING_CALL, wire.vring_fd(0), [r]) == outcome("32:pipe")
    r, w = os.pipe()
    os.close(r)
    assert refused(server, FE.SET_VRING_CALL, wire.vring_fd(0), [w]) == outcome("32:pipe")
    os.close(w)


def kicked_until_done(q, kick):
    """A ring that drains the file of another may take a kick that was meant for it, so one is not always enough."""
    for _ in range(10):
        os.eventfd_write(kick, 1)
        if q.wait(timeout=1.0):
            return True
    return False


def test_case_033_one_file_for_everything(server):
    with server.session() as s, Queue(s.mem, 1, 16) as other:
        for _ in range(3):
            one = os.eventfd(0, os.EFD_NONBLOCK)
            s.fe.start(other, base=other.ring.avail_idx)
            for index in (0, 1):
                for request_id in NOTIFIERS:
                    s.fe.vring_fd(request_id, index, one)
            for q in (s.q, other):
                q.ring.add(BlkRequest.flush(s.mem).chain)
                assert kicked_until_done(q, one)
            assert idle(server, 0.1)
            # The other ring's own fds go; this one's stay what they are.
            s.fe.stop(other)
            s.q.ring.add(BlkRequest.flush(s.mem).chain)
            assert (kicked_until_done(s.q, one) and "OK") == outcome(33)
            os.close(one)


def test_case_034_notifiers_replaced_all_the_time(server):
    with server.session() as s:
        fds = [os.eventfd(0, os.EFD_NONBLOCK) for _ in range(4)]
        before = None
        for i in range(50_000):
            fd = fds[i % 4]
            s.fe.send(FE.SET_VRING_CALL, wire.vring_fd(0), [fd])
            s.fe.send(FE.SET_VRING_KICK, wire.vring_fd(0), [fds[(i + 1) % 4]])
            if i % 100 == 0:
                assert in_step(s.fe)
                before = before or server.fds()
                assert server.fds() == before
                drain(fds)
                s.q.ring.add(BlkRequest.flush(s.mem).chain)
                os.eventfd_write(fds[(i + 1) % 4], 1)
                assert select.select([fd], [], [], 2)[0], "no kick came through, or the newest fd was not signalled"
                assert len(s.q.wait()) == 1
                assert not select.select([fds[(i + 2) % 4], fds[(i + 3) % 4]], [], [], 0)[0], "an old fd was signalled"
        assert in_step(s.fe) and outcome(34) == "OK"
        for fd in fds:
            os.close(fd)


def drain(fds) -> None:
    for fd in fds:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(fd)


def test_case_035_close_on_exec(server):
    """Everything that the server has but standard input and output, while every kind of fd has been given to it."""
    with server.session() as s, s.fe.open_channel():
        in_step(s.fe)
        kept = []
        for fd in os.listdir(f"/proc/{server.pid}/fd"):
            text = Path(f"/proc/{server.pid}/fdinfo/{fd}").read_text()
            flags = int(text.split("flags:")[1].split()[0], 8)
            if int(fd) > 2 and not flags & os.O_CLOEXEC:
                kept.append(os.readlink(f"/proc/{server.pid}/fd/{fd}"))
        assert not kept and outcome(35) == "OK"


def allow_fds(server, n) -> None:
    """Let the server open n more fds, no more."""
    have = {int(fd) for fd in os.listdir(f"/proc/{server.pid}/fd")}
    free = (fd for fd in range(1 << 20) if fd not in have)
    limit = 0
    for _ in range(n + 1):
        limit = next(free)
    _, hard = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (limit, hard))


@pytest.mark.parametrize("n", range(17))
def test_case_036_no_fd_left(start, n):
    """Of 8 fds that arrive, and 8 more that the regions keep, only n can be had."""
    server = start()
    limits = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
    with server.session() as s, contextlib.ExitStack() as stack:
        mems = [stack.enter_context(Memory(1 << 16, gpa=i << 20, uva=i << 30)) for i in range(8)]
        assert s.works()
        allow_fds(server, n)
        table = wire.mem_table([m.region for m in mems])
        got = observe(s.fe, FE.SET_MEM_TABLE, table, [m.fd for m in mems], need_reply=True)
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, limits)
        if n < 8:
            assert got == outcome("36:arrive")
        elif n < 16:
            assert got == outcome("36:keep")
            assert s.works(), "the memory that was there before has to stay"
        else:
            assert got == "OK"


@pytest.mark.parametrize("request_id", [*NOTIFIERS, FE.SET_BACKEND_REQ_FD, FE.SET_MEM_TABLE, FE.ADD_MEM_REG],
                         ids=lambda i: i.name)  # fmt: skip
def test_case_037_the_connection_itself(server, request_id):
    for need_reply, want in ((True, "NACK"), (False, "CLOSE")):
        with stage(server, "negotiated") as s:
            payload = s.exact(request_id)
            assert observe(s.fe, request_id, payload, [s.fe.fileno()], need_reply=need_reply) == want
            assert outcome("37:listening") == "N/C"


def test_case_037_our_own_end(start):
    """Which a front-end has that made the socket pair itself."""
    with adopted(start) as (_, fe, theirs):
        assert fe.status(FE.SET_BACKEND_REQ_FD, b"", [theirs.fileno()]) and outcome("37:theirs") == "N/C"


def test_case_037_the_other_end_of_a_pair(start):
    """It can't be told from any other socket. Who does that keeps nobody connected but itself."""
    with adopted(start, ends=False) as (server, fe, _):
        fe.send(FE.SET_BACKEND_REQ_FD, b"", [fe.fileno()], need_reply=True)
        fe.send(FE.GET_FEATURES)
        # Either of us may read what the server says now; where it is the server, its channel ends by that.
        fe.silent(0.1)
        assert server.alive() and outcome("37:ours") == "SAFE"


def test_case_037_a_listener_that_was_handed_over(start, tmp_path):
    """Whoever would make the server keep its own connection could keep everybody else out by that."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        path = tmp_path / "socket"
        listener.bind(str(path))
        listener.listen()
        start(*SERVER, "--fd", str(listener.fileno()), pass_fds=[listener.fileno()], socket_args=False, expect_end=True)
        for _ in range(2):
            with FrontEnd.connect(path) as fe:
                fe.negotiate()
                assert fe.status(FE.SET_BACKEND_REQ_FD, b"", [fe.fileno()]) and outcome("37:listening") == "N/C"
                assert in_step(fe)


def test_case_038_not_one_fd(server):
    with pipes(2) as two:
        assert refused(server, FE.SET_BACKEND_REQ_FD) == outcome("38:wrong")
        assert refused(server, FE.SET_BACKEND_REQ_FD, b"", two) == outcome("38:wrong")


def test_case_038_not_a_connected_stream_socket(server, tmp_path):
    there = files(tmp_path)
    for name in ("socket", "the socket's other end"):
        os.close(there.pop(name))
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(tmp_path / "l"))
    listener.listen()
    there["listener"] = listener.detach()
    there["seqpacket"] = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)[0].detach()
    there["unconnected"] = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM).detach()
    there["eventfd"] = os.eventfd(0)
    for name, fd in there.items():
        assert refused(server, FE.SET_BACKEND_REQ_FD, b"", [fd]) == outcome("38:wrong"), name
        os.close(fd)


def test_case_038_a_second_channel_takes_the_place_of_the_first(session):
    channels = [session.fe.open_channel()]
    for _ in range(50):
        channels.append(session.fe.open_channel())
        assert (channels[-2].closed_by_peer(2) and "OK") == outcome("38:twice")
        assert channels[-1].silent(0)
        channels.pop(0).close()
    assert session.works()
    channels[0].close()


def test_case_038_nonsense_on_the_channel(session):
    """It ends the channel and nothing else."""
    status = wire.header(BE.CONFIG_CHANGE_MSG, wire.VERSION | wire.REPLY, 8) + bytes(8)
    nonsense = (status, os.urandom(4096), b"\0" * 12, wire.header(3, wire.VERSION, 0),
                wire.header(BE.CONFIG_CHANGE_MSG, wire.VERSION | wire.REPLY, 0xFFFFFFFF))  # fmt: skip
    for data in nonsense:
        with session.fe.open_channel() as channel, spare_fds(9) as fds:
            for n in (0, 1, 9):
                with contextlib.suppress(Closed):
                    channel.send_bytes(data, fds[:n])
            assert channel.closed_by_peer(2)
        assert session.works()


@pytest.mark.parametrize("n", (0, 2))
@pytest.mark.parametrize("request_id", (FE.SET_LOG_FD, FE.SET_LOG_BASE, FE.SET_INFLIGHT_FD, FE.SET_DEVICE_STATE_FD),
                         ids=lambda i: i.name)  # fmt: skip
def test_case_039_messages_of_fds_that_are_not_there_yet(server, request_id, n):
    with stage(server, "negotiated") as s:
        payload = s.exact(request_id)
    part = "39:state" if request_id == FE.SET_DEVICE_STATE_FD else "39:others"
    with pipes(2) as fds:
        assert refused(server, request_id, payload, fds[:n]) == outcome(part)
