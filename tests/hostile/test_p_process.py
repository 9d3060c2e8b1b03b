# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Section P: the process around the back-end: its fds, signals, sockets, log, and its confinement."""

import contextlib
import os
import re
import resource
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from lib import CAPACITY, FULL, ROOT, SERVER, observe, outcome, until, vhctl
from rig import memfd
from vh.testing import BlkRequest, Closed, FrontEnd, Memory, ProtocolError, Queue, wire
from vh.testing.wire import FE, PF, VERSION, bits

#: Sanitizers keep freed memory, and need more of the system than the profile allows.
SANITIZED = b"__asan_init" in Path(vhctl()).read_bytes()

# --- 239: fds run out ---


@contextlib.contextmanager
def fds_at_most(server, n):
    old = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (n, old[1]))
    try:
        yield
    finally:
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, old)


def highest_fd(server):
    return max(int(fd) for fd in os.listdir(f"/proc/{server.pid}/fd"))


def test_case_239_accept_without_fds(server):
    """The client waits in the backlog, nobody spins over it, and it is served once there are fds again."""
    with fds_at_most(server, highest_fd(server) + 1):
        clients = [FrontEnd.connect(server.path) for _ in range(3)]
        time.sleep(0.1)
        before = server.cpu()
        time.sleep(0.5)
        assert server.cpu() - before < 0.1, "it spins"
    try:
        clients[0].get_u64(FE.GET_FEATURES)
    finally:
        for c in clients:
            c.close()
    assert outcome("239:accept") == "OK"


@pytest.mark.parametrize("room", range(0, 16))
def test_case_239_any_fd_may_be_one_too_many(server, room):
    """A session of which the fd number `room` + 1 can't be had: a refusal or the end, never half of something."""
    with fds_at_most(server, highest_fd(server) + 1 + room):
        with contextlib.suppress(ProtocolError, OSError), server.connect(timeout=0.3) as fe:
            with server.connect(timeout=0.3), contextlib.suppress(ProtocolError):
                fe.negotiate()
        with contextlib.suppress(ProtocolError, OSError), server.connect(timeout=0.3) as fe:
            with Memory(1 << 17) as mem, Queue(mem, 0, 16) as q:
                fe.negotiate()
                fe.set_mem_table([mem])
                fe.start(q)
                fe.open_channel().close()
                q.submit(BlkRequest.read(mem, 0, 512).chain)
                assert len(q.wait(1, 0.3)) == 1
        fd = memfd(8 << 12)
        try:
            with contextlib.suppress(ProtocolError, OSError), server.connect(timeout=0.3) as fe:
                fe.negotiate()
                regions = [(0x100000 * (i + 1), 4096, 0x100000 * (i + 1), i << 12) for i in range(8)]
                maps = server.maps()
                if fe.status(FE.SET_MEM_TABLE, wire.mem_table(regions), [fd] * 8, 0.3):
                    assert server.maps() == maps
        finally:
            os.close(fd)
    assert server.alive()
    assert outcome("239:session") == "SAFE"


# --- 242: SIGPIPE ---


def test_case_242_no_sigpipe(server):
    """By replies, by our end of the channel, or by shutdown. vhctl ignores SIGPIPE; tests/integ/test_process.c does not."""
    for how in (socket.SHUT_RD, socket.SHUT_RDWR, None):
        for n in (1, 50):
            with server.connect() as fe:
                fe.negotiate()
                channel = fe.open_channel()
                message = wire.header(FE.GET_FEATURES, VERSION, 0)
                if how == socket.SHUT_RD:
                    fe.sock.shutdown(how)
                with contextlib.suppress(Closed):
                    fe.send_bytes(message * n)
                channel.close()
                if how == socket.SHUT_RDWR:
                    fe.sock.shutdown(how)
    assert server.alive()
    assert outcome(242) == "OK"


# --- 244: reconnects ---


def test_case_244_reconnects(start):
    """Nothing stays of a connection with I/O: fds, mappings, memory."""
    rounds, warm = (100000, 2000) if FULL else (2000, 500)
    server = start()
    for _ in range(warm):
        server.fresh()
    time.sleep(0.05)
    fds, maps, rss = server.fds(), server.maps(), server.rss()
    for _ in range(rounds):
        server.fresh()
    assert until(lambda: (server.fds(), server.maps()) == (fds, maps))
    assert SANITIZED or server.rss() - rss < 64 << 10
    assert outcome(244) == "OK"


# --- 246: stopped ---


def test_case_246_stopped_and_continued(server):
    """Time that the process could not use is nobody's fault: the session and a half-sent message go on."""
    with server.session() as s:
        assert s.works()
        message = wire.header(FE.GET_FEATURES, VERSION, 0)
        s.fe.send_bytes(message[:5])
        os.kill(server.pid, signal.SIGSTOP)
        try:
            time.sleep(60 if FULL else 3)
            s.fe.send_bytes(message[5:])
        finally:
            os.kill(server.pid, signal.SIGCONT)
        with s.fe.recv_reply(FE.GET_FEATURES) as reply:
            assert len(reply.payload) == 8
        assert s.works()
    assert outcome(246) == "OK"


# --- 247: the log ---


def test_case_247_log_is_bounded(start):
    """A flood of what is refused makes some lines a second, and nothing of the peer's is a format."""
    server = start(*SERVER)
    started = time.monotonic()
    n = 0
    while time.monotonic() - started < 2:
        with server.connect() as fe:
            fe.negotiate()
            for _ in range(50):
                assert observe(fe, FE.SET_VRING_NUM, wire.pack("VRING_STATE", index=0, num=3), need_reply=True) == "NACK"
                n += 1
            with contextlib.suppress(Closed):
                fe.send(0x6E257325, b"%s%n%s%n" * 8)  # id and payload
    lines = server.output().splitlines()
    seconds = time.monotonic() - started + 1
    assert n > 500, n
    assert len(lines) < 12 * seconds + 10, f"{len(lines)} lines in {seconds:.1f} s"
    assert any("dropped" in line for line in lines)
    assert "%" not in server.output() and "(nil)" not in server.output()
    assert outcome("247:rate") == "OK"


def test_case_247_broken_rings_are_not_a_flood(start):
    """The same for rings that break for ever."""
    server = start(*SERVER)
    started = time.monotonic()
    with server.session() as s:
        for _ in range(500):
            s.q.ring.publish(s.q.ring.avail_idx + 1000)
            s.q.kick()
            assert s.q.failed(2.0)
            s.fe.stop(s.q)
            s.fe.start(s.q, base=s.q.ring.avail_idx)
            assert s.q.failed(2.0)
            s.q.ring.publish(s.q.ring.avail_idx)
            s.fe.stop(s.q)
            s.fe.start(s.q)
    lines = server.output().splitlines()
    seconds = time.monotonic() - started + 1
    assert len(lines) < 25 * seconds + 20, f"{len(lines)} lines in {seconds:.1f} s"


# --- 248: the path ---


def serve(path, timeout=5.0, **options):
    """vhctl on a path; (exit code, output). The exit code is None when it serves, and it is ended then."""
    process = subprocess.Popen([vhctl(), "serve", "blk", "--ram", "1M", "--socket", str(path)], stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)  # fmt: skip
    line = process.stdout.readline()
    if "serving" in line:
        with FrontEnd.connect(path) as fe:
            fe.get_u64(FE.GET_FEATURES)
        process.terminate()
    rest = process.communicate(timeout=timeout)[0]
    return (None if "serving" in line else process.returncode), line + rest


def test_case_248_too_long(tmp_path):
    path = "/tmp/" + "x" * 103
    code, output = serve(path)
    assert code not in (None, 0) and "107" in output and len(output.splitlines()) == 1
    assert not os.path.exists(path)
    code, output = serve(tmp_path / ("y" * 300))
    assert code not in (None, 0)


def test_case_248_something_else_is_there(tmp_path):
    """Files, folders and links stay as they are."""
    file, folder = tmp_path / "file", tmp_path / "folder"
    file.write_text("content")
    folder.mkdir()
    links = {name: tmp_path / f"link to {name}" for name in ("file", "folder", "nowhere")}
    for name, link in links.items():
        link.symlink_to(tmp_path / name)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path in (file, folder, fifo, *links.values()):
        before = path.lstat()
        code, output = serve(path)
        assert code not in (None, 0) and str(path) in output
        after = path.lstat()
        assert (after.st_ino, after.st_mode, after.st_size) == (before.st_ino, before.st_mode, before.st_size)
    assert file.read_text() == "content" and not (tmp_path / "nowhere").exists()
    assert outcome("248:refused") == "OK"


def test_case_248_a_link_to_a_socket(tmp_path):
    """A socket that is alive behind a link, and one that is not: the link is no socket of ours."""
    real, link = tmp_path / "real", tmp_path / "link"
    link.symlink_to(real)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(real))
    for alive in (True, False):
        if alive:
            listener.listen()
        else:
            listener.close()
        assert serve(link)[0] not in (None, 0)
        assert link.is_symlink() and stat.S_ISSOCK(real.stat().st_mode)


def test_case_248_stale_and_living_sockets(tmp_path):
    path = tmp_path / "socket"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    code, output = serve(path)
    assert code not in (None, 0) and "in use" in output
    listener.close()
    assert path.exists()
    code, output = serve(path)
    assert code is None, output
    assert not path.exists(), "its own socket is left behind"


def test_case_248_mode_and_directories(tmp_path):
    with_mode = tmp_path / "socket"
    old = os.umask(0)
    try:
        process = subprocess.Popen([vhctl(), "serve", "blk", "--ram", "1M", "--socket", str(with_mode)],
                                   stderr=subprocess.PIPE)  # fmt: skip
        process.stderr.readline()
    finally:
        os.umask(old)
    assert stat.S_IMODE(with_mode.stat().st_mode) == 0o600
    process.terminate()
    process.communicate()
    assert serve(tmp_path / "missing" / "socket")[0] not in (None, 0)
    assert serve(with_mode / "below")[0] not in (None, 0)
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    if os.geteuid() == 0:  # root may do all; somebody else may not
        tmp_path.chmod(0o755)
        for folder in list(tmp_path.parents)[:2]:
            folder.chmod(0o755)
        if os.access(vhctl(), os.X_OK) and not vhctl().startswith("/root"):
            code, output = serve(closed / "socket", user=65534, group=65534, extra_groups=[])
            assert code not in (None, 0) and "EACCES" in output
    else:
        assert serve(closed / "socket")[0] not in (None, 0)
    assert not list(closed.iterdir())


def test_case_248_somebody_else_took_the_path(tmp_path):
    """At the end it removes its own socket and no other that took its place."""
    path = tmp_path / "socket"
    process = subprocess.Popen([vhctl(), "serve", "blk", "--ram", "1M", "--socket", str(path)], stderr=subprocess.PIPE)
    process.stderr.readline()
    path.unlink()
    path.write_text("not a socket")
    process.terminate()
    process.communicate()
    assert process.returncode == 0 and path.read_text() == "not a socket"


# --- 249: confinement ---


@pytest.fixture(scope="module")
def seccomp(tmp_path_factory):
    """A command that runs another one under the reference profile."""
    program = tmp_path_factory.mktemp("seccomp") / "seccomp_run"
    source = Path(__file__).parent / "seccomp_run.c"
    subprocess.run(["cc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", program, source], check=True)
    return [str(program)]


def test_case_249_the_list_is_documented():
    code = (Path(__file__).parent / "seccomp_run.c").read_text()
    table = code[code.index("allowed[]") : code.index("};")]
    rows = (ROOT / "docs" / "seccomp.md").read_text().splitlines()
    names = [n for row in rows if row.startswith("| ") and "System calls" not in row for n in row.split("|")[2].split(",")]
    assert [n.strip(" ()") for n in names] == re.findall(r"SYS_(\w+),", table)


def test_case_249_under_seccomp(seccomp, start, tmp_path):
    """What a back-end does in its life, with every system call that it has no need of forbidden on pain of death."""
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(CAPACITY))
    for backing in (("--ram", str(CAPACITY)), ("--file", str(disk))):
        server = start(*backing, "--queues", "4", wrap=seccomp)
        done = subprocess.run([vhctl(), "io", "blk", f"unix:{server.path}", "verify"], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, check=False, timeout=60)  # fmt: skip
        assert done.returncode == 0, done.stdout.decode()
        done = subprocess.run([vhctl(), "probe", f"unix:{server.path}"], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, check=False, timeout=60)  # fmt: skip
        assert done.returncode == 0, done.stdout.decode()
        server.popen.terminate()
        assert server.popen.wait(5) == 0, "its end is not allowed"
        server.expect_end = True


def test_case_249_what_a_successor_needs_under_seccomp(seccomp, start):
    """Records of what is in flight, and the device's state through a pipe, also one that nobody reads."""
    server = start("--ram", str(CAPACITY), wrap=seccomp)
    with server.connect() as fe:
        fe.negotiate(None, fe.PROTOCOL_FEATURES | bits(PF.INFLIGHT_SHMFD, PF.DEVICE_STATE))
        with fe.call(FE.GET_INFLIGHT_FD, wire.pack("INFLIGHT", num_queues=1, queue_size=64)) as records:
            fe.do(FE.SET_INFLIGHT_FD, records.payload, records.fds)
        for read in (True, False):
            near, far = os.pipe()
            with open(near, "rb") as state:
                fe.call(FE.SET_DEVICE_STATE_FD, wire.pack("DEVICE_STATE", direction=0, phase=0), [far])
                os.close(far)
                if read:
                    assert len(state.read()) > CAPACITY
            failed = wire.unpack("U64", fe.call(FE.CHECK_DEVICE_STATE).payload)["value"]
            assert bool(failed) != read
    server.fresh()


def test_case_249_the_profile_is_in_force(seccomp):
    """A system call that is not in the list ends the process."""
    done = subprocess.run([*seccomp, "/bin/sh", "-c", "echo $(uname)"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert done.returncode == -signal.SIGSYS


#: tests of other sections that need much of the system
SUBSET = ("test_case_085 or test_case_086 or test_case_093 or test_case_115 or test_case_116 or test_case_124"
          " or test_case_130 or test_case_253 or test_case_239 or test_case_023 or test_case_038")  # fmt: skip


def test_case_249_hostile_peers_under_seccomp(seccomp):
    """These tests once more (all of them with VH_FULL=1), each server confined."""
    here = Path(__file__).parent
    argv = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", str(here)]
    argv += ["-k", "not test_case_018" if FULL else SUBSET]  # 018 brings a timer of its own into the server
    done = subprocess.run(argv, env={**os.environ, "VH_HOSTILE_WRAP": " ".join(seccomp)}, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, check=False)  # fmt: skip
    assert done.returncode == 0, done.stdout.decode()[-4000:]
    assert outcome(249) == "OK"


if SANITIZED or "VH_HOSTILE_WRAP" in os.environ:
    del test_case_249_under_seccomp, test_case_249_what_a_successor_needs_under_seccomp
    del test_case_249_hostile_peers_under_seccomp


def test_case_239_a_second_client_without_fds(server):
    """While one is served and no fd is left for the next: the first does not notice."""
    with server.session() as s, fds_at_most(server, highest_fd(server) + 1):
        stop = threading.Event()

        def knock():
            while not stop.is_set():
                with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as c:
                    c.setblocking(False)
                    c.connect(server.path)
                time.sleep(0.002)

        thread = threading.Thread(target=knock)
        thread.start()
        try:
            for _ in range(50):
                assert s.works()
        finally:
            stop.set()
            thread.join()
