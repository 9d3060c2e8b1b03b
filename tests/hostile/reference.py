# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""What a block back-end has to answer to any one message, from the message table and a few rules: the second opinion.

For each id one well-formed message (`exact`) is known; a cell of the sweep is that message with another size, another
number of fds, in one of five states of a session.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct

from lib import FrontEnd, Memory, OFFERED_PF, Queue, Server, addr, pipes, refusal_of, state, u64
from vh.testing import wire
from vh.testing.wire import FE, FRONT_END, PF, F, bits

PROGRESS = ("fresh", "negotiated", "memory", "ring", "running")
#: what was negotiated: all; all but REPLY_ACK; no protocol feature; all, but bit 30 not acked
TERMS = ("all", "plain", "bare", "old")
STATES = (*PROGRESS, *(f"{progress}, {terms}" for terms in TERMS[1:] for progress in PROGRESS[1:]))

#: what a block back-end does; all else is refused
HANDLED = {
    FE.GET_FEATURES, FE.SET_FEATURES, FE.SET_OWNER, FE.RESET_OWNER, FE.SET_MEM_TABLE, FE.SET_VRING_NUM,
    FE.SET_VRING_ADDR, FE.SET_VRING_BASE, FE.GET_VRING_BASE, FE.SET_VRING_KICK, FE.SET_VRING_CALL, FE.SET_VRING_ERR,
    FE.GET_PROTOCOL_FEATURES, FE.SET_PROTOCOL_FEATURES, FE.GET_QUEUE_NUM, FE.SET_VRING_ENABLE, FE.SET_BACKEND_REQ_FD,
    FE.GET_CONFIG, FE.SET_CONFIG, FE.RESET_DEVICE, FE.GET_MAX_MEM_SLOTS, FE.ADD_MEM_REG, FE.REM_MEM_REG,
    FE.SET_STATUS, FE.GET_STATUS, FE.SET_DEVICE_STATE_FD,
    FE.GET_INFLIGHT_FD, FE.SET_INFLIGHT_FD, FE.GET_VRING_BASE_SKIP_DRAIN,
}  # fmt: skip
#: fds of one message at most
MAX_FDS = 32
#: what a well-formed message carries
FDS = {FE.SET_MEM_TABLE: 1, FE.ADD_MEM_REG: 1, FE.SET_BACKEND_REQ_FD: 1, FE.SET_VRING_KICK: 1, FE.SET_VRING_CALL: 1,
       FE.SET_VRING_ERR: 1, FE.SET_LOG_FD: 1, FE.SET_INFLIGHT_FD: 1, FE.GPU_SET_SOCKET: 1,
       FE.SET_DEVICE_STATE_FD: 1}  # fmt: skip


def parts(state_name: str) -> tuple[str, str]:
    """How far a session has come, and on which terms."""
    progress, _, terms = state_name.partition(", ")
    return progress, terms or "all"


class Stage:
    """A session brought to a state, and well-formed messages for it."""

    def __init__(self, server: Server, name: str, stack: contextlib.ExitStack):
        self.name = name
        progress, terms = parts(name)
        self.fe: FrontEnd = stack.enter_context(server.connect())
        self.mem: Memory = stack.enter_context(Memory(1 << 18))
        self.more: Memory = stack.enter_context(Memory(1 << 16, gpa=1 << 32, uva=1 << 40))
        self.q: Queue = stack.enter_context(Queue(self.mem, 0, 16))
        pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self.channel = stack.enter_context(pair[0])
        stack.enter_context(pair[1])
        self.records: Memory = stack.enter_context(Memory(4096))  # of requests in flight
        self.state = stack.enter_context(pair_of_pipe())  # what the device's state is written to
        steps = PROGRESS.index(progress)
        if steps >= 1:
            wanted = FrontEnd.PROTOCOL_FEATURES & ~bits(PF.REPLY_ACK) if terms == "plain" else 0 if terms == "bare" else None
            self.fe.negotiate(FrontEnd.FEATURES & ~bits(F.PROTOCOL_FEATURES) if terms == "old" else None, wanted)
        if steps >= 2:
            self.fe.set_mem_table([self.mem])
        if steps >= 3:
            self.fe.vring_state(FE.SET_VRING_NUM, 0, self.q.num)
            self.fe.vring_state(FE.SET_VRING_BASE, 0, 0)
            self.fe.do(FE.SET_VRING_ADDR, addr(self.q))
            self.fe.vring_fd(FE.SET_VRING_ERR, 0, self.q.err_fd)
            self.fe.vring_fd(FE.SET_VRING_CALL, 0, self.q.call_fd)
        if steps >= 4:
            self.fe.vring_fd(FE.SET_VRING_KICK, 0, self.q.kick_fd)
            self.fe.enable(self.q)

    def exact(self, request: int) -> bytes:
        """The payload of a well-formed message that changes nothing it need not; b"" for an unknown id."""
        gpa, size, uva, offset = self.more.region
        special = {
            FE.SET_FEATURES: u64(self.fe.acked or bits(F.VERSION_1)),
            FE.SET_MEM_TABLE: wire.mem_table([self.mem.region]),
            FE.SET_VRING_NUM: state(0, self.q.num),
            FE.SET_VRING_ADDR: addr(self.q),
            FE.SET_VRING_ENABLE: state(0, 1),
            FE.SET_PROTOCOL_FEATURES: u64(OFFERED_PF),
            FE.GET_CONFIG: wire.config(0, 60),
            FE.SET_CONFIG: wire.config(64, 8),  # zeros are there, and stay
            FE.ADD_MEM_REG: wire.pack("MEM_REG", gpa=gpa, size=size, uva=uva, offset=offset),
            FE.REM_MEM_REG: struct.pack("=QQQQQ", 0, self.mem.gpa, self.mem.size, self.mem.uva, 0),
            FE.NET_SET_MTU: u64(1500),
            FE.SET_LOG_BASE: wire.pack("LOG", mmap_size=4096),
            FE.GET_INFLIGHT_FD: wire.pack("INFLIGHT", num_queues=1, queue_size=16),
            FE.SET_INFLIGHT_FD: wire.pack("INFLIGHT", mmap_size=4096, num_queues=1, queue_size=16),
            FE.IOTLB_MSG: wire.pack("IOTLB", iova=4096, size=4096, type=3),
        }
        if request in special:
            return special[request]
        return bytes(FRONT_END[request].accept_max) if request in FRONT_END else b""

    def fds(self, request: int, n: int, spare) -> list[int]:
        """n fds, the first one such as the message wants."""
        first = {FE.SET_MEM_TABLE: self.mem.fd, FE.ADD_MEM_REG: self.more.fd,
                 FE.SET_BACKEND_REQ_FD: self.channel.fileno(), FE.SET_VRING_KICK: self.q.kick_fd,
                 FE.SET_VRING_CALL: self.q.call_fd, FE.SET_VRING_ERR: self.q.err_fd,
                 FE.SET_DEVICE_STATE_FD: self.state, FE.SET_INFLIGHT_FD: self.records.fd}  # fmt: skip
        return [first.get(request, spare[0]), *spare[1:n]] if n else []


@contextlib.contextmanager
def pair_of_pipe():
    """The end of a pipe that can be written to, and is read by nobody."""
    r, w = os.pipe()
    try:
        yield w
    finally:
        os.close(w)
        os.close(r)


@contextlib.contextmanager
def stage(server: Server, name: str):
    with contextlib.ExitStack() as stack:
        yield Stage(server, name, stack)


def takes(request: int, size: int, exact: int, n_fds: int, stage_name: str) -> bool:
    """Whether the well-formed message with this size and so many fds is to be obeyed."""
    row = FRONT_END.get(request)
    if row is None or request not in HANDLED:
        return False
    # The tables' bounds are those of all peers together; of one message exactly one size is right.
    if size != exact:
        return False
    if n_fds != FDS.get(request, 0) and not (request == FE.REM_MEM_REG and n_fds == 1):
        return False
    progress, _ = parts(stage_name)
    # Records for the next time may be asked for at any time.
    if progress == "running" and row.ring in ("STOPPED", "ALL_STOPPED") and request != FE.GET_INFLIGHT_FD:
        return False
    # There has to be something to take away.
    return not (request == FE.REM_MEM_REG and progress in ("fresh", "negotiated"))


def expected(request: int, size: int, exact: int, n_fds: int, need_reply: bool, stage_name: str) -> str:
    """OK, or the form of the refusal. Where the header itself is the matter there is only one way out."""
    if size > wire.MAX_PAYLOAD or n_fds > MAX_FDS:
        return "CLOSE"
    if takes(request, size, exact, n_fds, stage_name):
        return "OK"
    # Only what is acked by then can be answered with a status.
    return refusal_of(request, need_reply, stage_name != "fresh" and parts(stage_name)[1] in ("all", "old"))


def payload_of(exact: bytes, size: int) -> bytes:
    """The message cut, or filled up with zeros; of an impossible size, what there is."""
    return exact if size > wire.MAX_PAYLOAD else exact[:size] + bytes(max(0, size - len(exact)))


@contextlib.contextmanager
def spare_fds(n: int = 253):
    """n different fds of one pipe, whose other end is open too."""
    with pipes(1) as (one,):
        extra = [os.dup(one) for _ in range(n - 1)]
        try:
            yield [one, *extra]
        finally:
            for fd in extra:
                os.close(fd)
