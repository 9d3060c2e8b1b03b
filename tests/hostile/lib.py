# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""What the hostile tests share: the server under test and its invariants, what a peer sees, and the table of outcomes.

A test is named test_case_NNN_what after its number in the catalogue of hostile cases. outcomes.tsv says, once for each
case, which outcome is right; where a case has parts with different outcomes, a row is named NNN:part. `outcome(n)`
returns it, and the test fails on any other.

The outcomes:
    OK        served as if nothing were the matter
    NACK      refused by a status that is not 0; the session goes on, nothing has changed
    CLOSE     the connection is ended
    N/C       NACK with need_reply, CLOSE without
    ERRREPLY  the message's own form of a refusal; the session goes on
    VQERR     the ring stops and its err fd is signalled; the session and other rings go on
    REQERR    this request alone fails
    IGN       no effect
    ERRNO     the call, or the program, fails with an error that says why; nothing is taken over
    SAFE      any answer; only the invariants count
    n/a       does not apply to what exists; the reason says what is missing
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import signal
import struct
import subprocess
import tempfile
import termios
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from vh.testing import BlkRequest, Closed, Conn, FrontEnd, Memory, ProtocolError, Queue, wire
from vh.testing.wire import FE, FRONT_END, PF, F, bits

ROOT = Path(__file__).resolve().parents[2]
FULL = os.environ.get("VH_FULL") == "1"

#: what a server serves unless the test says otherwise
CAPACITY = 4 << 20
QUEUES = 4
QUEUE_SIZE = 256
SERVER = ("--ram", str(CAPACITY), "--queues", str(QUEUES), "--queue-size", str(QUEUE_SIZE), "--serial", "hostile")
#: what it offers
OFFERED_PF = bits(PF.MQ, PF.LOG_SHMFD, PF.REPLY_ACK, PF.BACKEND_REQ, PF.CONFIG, PF.INFLIGHT_SHMFD, PF.CONFIGURE_MEM_SLOTS, PF.RESET_DEVICE, PF.STATUS,
                  PF.DEVICE_STATE, PF.GET_VRING_BASE_INFLIGHT, PF.GET_VRING_BASE_SKIP_DRAIN)  # fmt: skip
#: a message that was begun has to end in so many seconds; it is the library's default
MESSAGE_TIMEOUT = 10.0
#: the sectors that check() writes to; tests keep away from them
FRESH_SECTOR = CAPACITY // 512 - 16


def vhctl() -> str:
    """VHCTL, or vhctl of the build folder that VH_BUILD names, or that of ./run build."""
    return os.environ.get("VHCTL") or str(Path(os.environ.get("VH_BUILD", ROOT / "build")) / "vhctl")


# --- outcomes -------------------------------------------------------------------------------------------------------

OUTCOMES = ("OK", "NACK", "CLOSE", "N/C", "ERRREPLY", "VQERR", "REQERR", "IGN", "ERRNO", "SAFE", "n/a")


def read_outcomes() -> dict[str, tuple[str, str]]:
    """{case: (outcome, reason)} of outcomes.tsv."""
    table = {}
    for number, line in enumerate((Path(__file__).parent / "outcomes.tsv").read_text("utf-8").splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        case, result, reason = line.split("\t")
        if case in table or result not in OUTCOMES or not reason.strip():
            raise ValueError(f"outcomes.tsv:{number}: a second row, no such outcome, or no reason")
        table[case] = (result, reason)
    return table


def outcome(case) -> str:
    """The one right outcome of a case, or of a part of it ("44:size")."""
    return read_outcomes()[str(case)][0]


# --- the server -----------------------------------------------------------------------------------------------------


@dataclass
class Session:
    """A front-end with memory and a running queue 0."""

    fe: FrontEnd
    mem: Memory
    q: Queue

    def write(self, sector: int, data: bytes) -> int:
        """Write, and the status."""
        return self.do(BlkRequest.write(self.mem, sector, data))

    def read(self, sector: int, size: int) -> bytes:
        request = BlkRequest.read(self.mem, sector, size)
        status = self.do(request)
        if status:
            raise ProtocolError(f"read of sector {sector}: status {status}")
        return request.data()

    def do(self, request: BlkRequest, timeout: float = 5.0) -> int:
        self.q.submit(request.chain)
        done = self.q.wait(timeout=timeout)
        if len(done) != 1:
            raise ProtocolError(f"{len(done)} requests came back in {timeout} s")
        return request.status

    def works(self, sector: int = 8) -> bool:
        """A block written and read back. Takes 2 KiB of the memory for good."""
        data = os.urandom(512)
        return self.write(sector, data) == 0 and self.read(sector, 512) == data


class Server:
    """A live `vhctl serve blk` on a socket of its own."""

    def __init__(self, args=SERVER, wrap=(), env=None, expect_end=False, pass_fds=(), socket_args=True, **popen):
        self.dir = tempfile.TemporaryDirectory(prefix="vh-hostile-")
        self.path = os.path.join(self.dir.name, "blk.sock")
        self.log = os.path.join(self.dir.name, "log")
        self.expect_end = expect_end
        wrap = wrap or os.environ.get("VH_HOSTILE_WRAP", "").split()
        argv = [*wrap, vhctl(), "serve", "blk", *args, *(["--socket", self.path] if socket_args else [])]
        with open(self.log, "wb") as out:
            self.popen = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                                          env={**os.environ, **(env or {})}, pass_fds=pass_fds, **popen)
        self.site_log = os.environ.get("VH_SITE_LOG")
        try:
            if socket_args:
                self._warm_up()
        except BaseException:
            self.end()
            raise

    @property
    def pid(self) -> int:
        return self.popen.pid

    def alive(self) -> bool:
        return self.popen.poll() is None

    def output(self) -> str:
        return Path(self.log).read_text("utf-8", "replace")

    def end(self) -> None:
        """SIGTERM. What is alive has to end by it, and well: with 0, and (with the sanitizers) without a leak."""
        alive = self.alive()
        if alive:
            self.popen.send_signal(signal.SIGCONT)
            self.popen.terminate()
            try:
                self.popen.wait(5)
            except subprocess.TimeoutExpired:
                self.popen.kill()
        code = self.popen.wait()
        output = self.output()
        with contextlib.suppress(FileNotFoundError):
            self.dir.cleanup()
        assert not alive or code == 0, f"SIGTERM ended the server with {code}:\n{output[-3000:]}"

    def _warm_up(self) -> None:
        """Two sessions, so that what is set up once is there; then this is the start."""
        self.fresh()
        self.fresh()
        time.sleep(0.02)
        self.fds_at_start, self.maps_at_start = self.fds(), self.maps()

    # --- what it holds ---

    def fds(self) -> Counter:
        """What its fds are, without their numbers."""
        names: Counter = Counter()
        for fd in os.listdir(f"/proc/{self.pid}/fd"):
            with contextlib.suppress(FileNotFoundError):
                names[re.sub(r"\d+", "N", os.readlink(f"/proc/{self.pid}/fd/{fd}"))] += 1
        return names

    def maps(self) -> Counter:
        """Its mappings of files, and how many others it has. (The heap may grow, and anonymous neighbours merge.)"""
        found: Counter = Counter()
        for line in Path(f"/proc/{self.pid}/maps").read_text().splitlines():
            words = line.split(None, 5)
            if words[4] != "0":
                found[words[1] + " " + words[5]] += 1
        return found

    def rss(self) -> int:
        return 4096 * int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])

    def cpu(self) -> float:
        """Seconds of processor time so far."""
        words = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    # --- talking to it ---

    def connect(self, timeout: float = 5.0) -> FrontEnd:
        return FrontEnd.connect(self.path, timeout=timeout)

    @contextlib.contextmanager
    def session(self, size: int = 1 << 20, num: int = 64, features: int | None = None,
                protocol_features: int | None = None, start: bool = True):
        """A Session; start=False stops before SET_VRING_*."""
        with self.connect() as fe, Memory(size) as mem, Queue(mem, 0, num) as q:
            fe.negotiate(features, protocol_features)
            fe.set_mem_table([mem])
            if start:
                fe.start(q)
            yield Session(fe, mem, q)

    def fresh(self, timeout: float = 2.0) -> None:
        """A new client is served in time, with a block written and read back. While another is connected it waits."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                with self.session(64 << 10, 16) as s:
                    if not s.works(FRESH_SECTOR):
                        raise AssertionError("the next client's data was lost")
                    return
            except Closed:
                if time.monotonic() > deadline or not self.alive():
                    raise
                time.sleep(0.005)

    # --- invariants ---

    def check(self) -> None:
        """ALIVE, TIMELY and FRESH; fds and mappings as at the start. The test's own connections are closed before."""
        assert self.alive(), f"the server ended with {self.popen.returncode}:\n{self.output()[-3000:]}"
        started = time.monotonic()
        self.fresh()
        assert time.monotonic() - started < 2
        deadline = time.monotonic() + 10
        while (self.fds(), self.maps()) != (self.fds_at_start, self.maps_at_start) and time.monotonic() < deadline:
            time.sleep(0.005)
        assert self.fds() == self.fds_at_start
        assert self.maps() == self.maps_at_start
        assert self.alive(), f"the server ended with {self.popen.returncode}:\n{self.output()[-3000:]}"
        assert "Sanitizer" not in self.output() and "runtime error" not in self.output(), self.output()


class Keeper:
    """One server, started when needed and again when it is gone."""

    def __init__(self, args):
        self.args = args
        self.server: Server | None = None

    def get(self) -> Server:
        # Each test has its own list of the checks that fired when there are such lists.
        if self.server and (not self.server.alive() or self.server.site_log != os.environ.get("VH_SITE_LOG")):
            self.end()
        if not self.server:
            self.server = Server(self.args)
        return self.server

    def end(self) -> None:
        if self.server:
            self.server.end()
        self.server = None


# --- what a peer sees -----------------------------------------------------------------------------------------------


def in_step(conn: Conn) -> bool:
    """The session goes on, and nothing but the answer to this question comes."""
    try:
        with conn.call(FE.GET_FEATURES) as msg:
            return len(msg.payload) == 8 and not msg.fds
    except Closed:
        return False


#: refusals in the message's own form, as payloads; None: the request's bytes with mmap_size 0
_REFUSALS = {"EMPTY": b"", "NO_FD": b"", "U64_1": wire.pack("U64", value=1), "U64_101": wire.pack("U64", value=0x101)}


def observe(conn: FrontEnd, request: int, payload: bytes = b"", fds=(), need_reply: bool = False,
            reply_ack: bool | None = None, **kwargs) -> str:
    """Send one message and say what came of it: OK, NACK, ERRREPLY or CLOSE. Anything else is a ProtocolError.

    Looks at the next message, so the answer to a GET_FEATURES stands for "no answer of its own".
    """
    row = FRONT_END.get(request)
    own = row is not None and row.reply == "OWN"
    acked = conn.reply_ack if reply_ack is None else reply_ack
    try:
        conn.send(request, payload, fds, need_reply=need_reply, **kwargs)
        if not own and not (need_reply and acked):
            return "OK" if in_step(conn) else "CLOSE"
        with conn.recv_reply(request) as msg:
            refused = _own_refusal(row, msg) if own else msg.u64 != 0
        if not in_step(conn):
            raise ProtocolError("a reply, and then the end")
    except Closed as e:
        if e.partial:
            raise
        return "CLOSE"
    return ("ERRREPLY" if own else "NACK") if refused else "OK"


def _own_refusal(row, msg) -> bool:
    if row.refusal == "MMAP_0":
        return msg.fields()["mmap_size"] == 0
    if row.refusal == "NO_FD":
        return not msg.fds
    if row.refusal == "NO_SESSION":
        return len(msg.payload) == row.reply_max and msg.payload[-8:] == b"\xff" * 8
    return msg.payload == _REFUSALS.get(row.refusal)


def unread(conn: Conn) -> int:
    """How much of what was sent the peer has not read yet; 0 is none."""
    return struct.unpack("i", fcntl.ioctl(conn.sock, termios.TIOCOUTQ, b"\0\0\0\0"))[0]


class Bytewise(FrontEnd):
    """Sends every message one byte at a time."""

    def send_bytes(self, data, fds=(), timeout=None, ancillary=None):
        for i in range(len(data)):
            super().send_bytes(data[i : i + 1], () if i else fds, timeout, None if i else ancillary)


def refusal_of(request: int, need_reply: bool, reply_ack: bool) -> str:
    """How a back-end must refuse: the message's own form, a status, or the end of the connection."""
    row = FRONT_END.get(request)
    if row is not None and row.reply == "OWN":
        return "CLOSE" if row.refusal == "CLOSE" else "ERRREPLY"
    return "NACK" if need_reply and reply_ack else "CLOSE"


def refused(server: Server, request: int, payload: bytes = b"", fds=(), prepare=None, **kwargs) -> str:
    """One message sent with need_reply and, in a session of its own, without. "N/C" when it is refused in both ways.

    prepare(fe) brings a negotiated front-end to the state that the case needs. fds stay the caller's.
    """
    seen = []
    for need_reply in (True, False):
        with server.connect() as fe:
            fe.negotiate()
            if prepare:
                prepare(fe)
            seen.append(observe(fe, request, payload, fds, need_reply=need_reply, **kwargs))
    if seen == ["NACK", "CLOSE"]:
        return "N/C"
    return seen[0] if seen[0] == seen[1] else "/".join(seen)


def u64(value: int) -> bytes:
    return wire.pack("U64", value=value)


def state(index: int, num: int = 0) -> bytes:
    return wire.pack("VRING_STATE", index=index, num=num)


def addr(q: Queue, index: int | None = None, **changes) -> bytes:
    """SET_VRING_ADDR of a queue."""
    return wire.pack("VRING_ADDR", **{"index": q.index if index is None else index, **q.addr, **changes})


@contextlib.contextmanager
def pipes(n: int):
    """n fds that are open, the read ends of pipes whose other end is closed."""
    fds = []
    try:
        for _ in range(n):
            r, w = os.pipe()
            os.close(w)
            fds.append(r)
        yield fds
    finally:
        for fd in fds:
            os.close(fd)


def until(condition, timeout: float = 2.0) -> bool:
    """Whether the condition holds in time."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)
    return True


def plain_features(fe: FrontEnd) -> int:
    """The offer without PROTOCOL_FEATURES."""
    return fe.offered & ~bits(F.PROTOCOL_FEATURES)
