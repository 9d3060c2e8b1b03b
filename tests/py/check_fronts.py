# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Front-ends by hand: one that does as it should, and one for each mistake."""
import contextlib
import os

from vh.check.front.context import FrontEnd as Target
from vh.check.front.context import Heard
from vh.testing import BlkRequest, FrontEnd, Memory, Queue, wire
from vh.testing.wire import FE, F, bits


class InProcess(Target):
    """What would be a command runs here: a function of the socket's path, whose result is an exit code."""

    def __init__(self, function):
        super().__init__("", "in process", "blk", 5)
        self.function = function

    def run(self, seconds=0):
        try:
            return Heard(code=self.function(self.path))
        except (wire.ProtocolError, OSError):
            return Heard(code=1)


def front(first=lambda fe: None, middle=lambda fe, mem: None, owner=True, stop=True, code=0, mems=None,
          patience=5.0):
    """A session; first and middle are what it does besides."""
    def run(path):
        with FrontEnd.connect(path, patience) as fe, Memory(1 << 20) as mem, Queue(mem, 0, 16) as q:
            with contextlib.suppress(wire.ProtocolError):
                first(fe)
            if owner:
                fe.negotiate()
            fe.set_mem_table(mems(mem) if mems else [mem])
            with contextlib.suppress(wire.ProtocolError):
                middle(fe, mem)
            fe.start(q)
            request = BlkRequest.read(mem, 0, 512)
            q.submit(request.chain)
            q.wait(timeout=patience)
            if stop:
                fe.stop(q)
        return code
    return run


def overlapping(mem):
    other = Memory(4096, gpa=mem.gpa + 4096, uva=mem.uva + 4096)
    return [mem, other]


def not_offered(fe):
    fe.send(FE.SET_FEATURES, wire.pack("U64", value=fe.get_u64(FE.GET_FEATURES) | bits(50)))


def no_socket(fe, _mem):
    fd = os.memfd_create("no socket")
    fe.send(FE.SET_BACKEND_REQ_FD, b"", [fd])
    os.close(fd)


def started_early(fe, _mem):
    fd = os.eventfd(0)
    fe.send(FE.SET_VRING_KICK, wire.vring_fd(1), [fd])
    os.close(fd)


GOOD = front()
#: topic -> a front-end that makes that mistake
MISTAKES = {
    "front.connects": front(lambda fe: fe.send(FE.SET_FEATURES, wire.pack("U64", value=bits(F.VERSION_1)))),
    "front.owner": front(owner=False),
    "front.stops": front(stop=False),
    "front.ends": front(code=1),
    "front.messages": front(lambda fe: fe.send(FE.SET_OWNER, bytes(8))),
    "front.need-reply": front(lambda fe: fe.send(FE.SET_OWNER, need_reply=True)),
    "front.negotiation": front(not_offered),
    "front.features-used": front(lambda fe: fe.send(FE.GET_QUEUE_NUM)),
    "front.owner-once": front(lambda fe: fe.send(FE.SET_OWNER)),
    "front.memory": front(mems=overlapping),
    "front.ring-setup": front(middle=lambda fe, mem: fe.send(FE.SET_VRING_NUM, wire.pack("VRING_STATE", num=3))),
    "front.ring-order": front(middle=started_early),
    "front.config": front(middle=lambda fe, mem: fe.send(FE.GET_CONFIG, wire.config(0, 60) + b"x")),
    "front.channel": front(middle=no_socket),
    "front.values": front(middle=lambda fe, mem: fe.send(FE.SET_STATUS, wire.pack("U64", value=0x100))),
}


def ended(front_end):
    """It ends when it hears what it does not understand."""
    def run(path):
        try:
            return front_end(path)
        except (wire.ProtocolError, OSError):
            return 1
    return run


careful = ended(GOOD)
# Much of what a hostile back-end does is to be silent, and a careful one waits for each word.
hasty = ended(front(patience=0.5))


def killed(path):
    hasty(path)
    return -6
