# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""What a check of a back-end works with: connections, a rig with memory and rings, and what was learned at first."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from typing import Any, Sequence

import vh
from vh._model import MSG_CHANNEL_MAIN
from vh.check.core import Check, Fails, Skips, equal, require
from vh.check.devices import DEVICES, Device, Request, guess
from vh.check.targets import Target, Unreachable
from vh.check.wires import History, Seen, Wire
from vh.testing import wire
from vh.testing.peer import FrontEnd, Memory, Queue
from vh.testing.wire import BLK, FE, NET, PF, F, bits

#: how long a check waits in order to see that nothing happens
QUIET = 0.1

#: of a frame that comes back
ROOM = 2048

#: of a device's status: ACKNOWLEDGE, DRIVER and FEATURES_OK, and DRIVER_OK besides
FEATURES_OK, DRIVER_OK = 11, 15

_SPACES: dict[str, Any] = {"PF": PF, "F": F, "BLK": BLK, "NET": NET}


@dataclass
class Options:
    """type: "" lets it be guessed; wait: for one answer, in seconds; allow_write: the data of a disk may be destroyed;
    loopback: a net device gives back what it is sent."""

    type: str = ""
    timeout: float = 20.0
    wait: float = 5.0
    allow_write: bool = False
    loopback: bool = False


@dataclass
class Offer:
    """What the back-end offers, as it said at first."""

    features: int = 0
    pf: int = 0
    queues: int = 1
    slots: int = 0


def space(fe: Wire, offset: int, size: int) -> bytes:
    """So many bytes of the configuration space, by a reply that says the same offset and size."""
    with fe.call(FE.GET_CONFIG, wire.config(offset, size)) as msg:
        require(msg.payload, f"GET_CONFIG of {size} bytes at {offset} is refused")
        fields = msg.fields("CONFIG")
    equal((fields["offset"], fields["size"]), (offset, size), "offset and size of GET_CONFIG's reply")
    data: bytes = fields["data"]
    equal(len(data), size, "bytes of the configuration space")
    return data


class Context:
    """What one check of a back-end may use. Everything that it opens is closed after it."""

    subject = "the back-end"

    @property
    def largest(self) -> int:
        """Entries that a ring may have."""
        return 256

    def __init__(self, target: Target, options: Options, offer: Offer, device: Device):
        self.target, self.options, self.offer, self.device = target, options, offer, device
        self.stack = contextlib.ExitStack()
        self.history = History()

    # --- what the peer can ---

    def offers(self, name: str) -> bool:
        """Whether it offers "PF.CONFIG", "F.RING_PACKED", "BLK.RO" ..."""
        space, _, bit = name.partition(".")
        return bool((self.offer.pf if space == "PF" else self.offer.features) & bits(_SPACES[space][bit]))

    def lacks(self, need: str) -> str:
        """Why a check that has this need can't run, "" when it can."""
        words = {
            "io": (self.device.make, f"no request is known for a device of type {self.device.name}; --type says which it is"),
            "queues": (self.queue_count > self.device.first + self.device.step, "the device has one queue for I/O"),
            "write": (self.options.allow_write, "it would write to the disk; --allow-write allows it"),
            "process": (self.target.pid or self.target.one_shot, "the back-end was not started here"),
            "one by one": (True, ""),
            "stop": (True, ""),
            "again": (not self.target.one_shot, "the back-end serves one connection"),
            "loopback": (self.options.loopback, "the device may send frames elsewhere; --loopback says that it gives them back"),
        }
        if need in words:
            can, why = words[need]
            return "" if can else why
        return "" if self.offers(need) else f"{self.subject} does not offer {need}"

    def need(self, *needs: str) -> None:
        for need in needs:
            why = self.lacks(need)
            if why:
                raise Skips(why)

    def applies(self, check: Check) -> str:
        """Why a check can't run, "" when it can."""
        if check.device and check.device != self.device.name:
            return f"the device is not of type {check.device}"
        return next(filter(None, map(self.lacks, check.needs)), "")

    @property
    def device_type(self) -> int:
        """As libvh's driver knows it. Raises Skips when it does not."""
        number = self.device.number
        if number not in list(vh.DeviceType):
            raise Skips(f"libvh has no driver for a device of type {self.device.name}")
        return number

    @property
    def queue_count(self) -> int:
        """How many queues there are; network devices tell how many pairs, as QEMU and DPDK understand it."""
        return self.offer.queues * self.device.step

    @property
    def usual_pf(self) -> int:
        """The protocol features that are taken unless a check wants others."""
        return FrontEnd.PROTOCOL_FEATURES

    # --- connections ---

    def wire(self) -> Wire:
        """A new connection, on which GET_FEATURES was answered: so an earlier one is over for the back-end too."""
        deadline = time.monotonic() + self.options.wait
        while True:
            fe = Wire(self.target.connect(self.options.wait), self.options.wait, self.history)
            self.stack.callback(fe.close)
            try:
                fe.offered = fe.get_u64(FE.GET_FEATURES)
                return fe
            except wire.Closed:
                fe.close()
                if time.monotonic() > deadline or self.target.died():
                    raise
                time.sleep(0.01)

    def negotiated(self, features: int | None = None, pf: int | None = None) -> Wire:
        """The same with features acked; what is wanted is masked by the offer."""
        fe = self.wire()
        fe.negotiate(features, pf)
        fe.set_status(FEATURES_OK)
        return fe

    def space(self, offset: int, size: int) -> bytes:
        """The same of a connection of its own."""
        with self.negotiated() as fe:
            data = space(fe, offset, size)
        self.target.settle(self.options.wait)
        return data

    def driver(self, without: int = 0, size: int = 16) -> vh.Driver:
        """A session of libvh's driver that runs, over a connection whose messages are remembered."""
        self.wire().close()  # an earlier connection is over now
        self.target.settle(self.options.wait)
        master = vh.Master(timeout=self.options.wait)
        self.stack.callback(master.close)
        with self.target.connect(self.options.wait) as sock:
            master.adopt(sock)
        master.set_trace(lambda m: self.history.add(Seen(m.sent, m.request, m.flags, m.payload, m.n_fds, m.channel or MSG_CHANNEL_MAIN)))
        made = vh.Driver(master, type=self.device_type, queue_size=size, mask_features=without)
        self.stack.callback(made.close)
        made.start()
        return made

    def rig(self, **options: Any) -> Rig:
        return self.stack.enter_context(Rig(self, **options))

    def close(self) -> None:
        self.stack.close()
        self.target.settle(self.options.wait)

    # --- the end of a misuse ---

    def survives(self, what: str = "") -> None:
        """After a misuse: the back-end is there, and serves the next connection as it should."""
        self.close()
        died = self.target.died()
        if died:
            raise Fails(f"{what + ': ' if what else ''}{died}")
        try:
            if self.device.make:
                self.rig().io()
            else:
                self.negotiated()
        except (wire.ProtocolError, Unreachable, Fails, OSError) as e:
            raise Fails(f"{what + ': ' if what else ''}the next connection is not served: {self.target.died() or e}") from None
        self.stack.close()


class Rig:
    """A session with one memory and running queues: those that the device needs for one request, and it on `q`."""

    FEATURES = bits(F.VERSION_1, F.PROTOCOL_FEATURES, F.RING_INDIRECT_DESC)
    supply = False  # give each frame that is sent room to come back
    _room = 0

    def __init__(self, context: Context, num: int = 16, size: int = 1 << 20, base: int = 0, index: int | None = None,
                 features: int = 0, without: int = 0, pf: int | None = None, fe: Wire | None = None, start: bool = True,
                 enable: bool = True, mems: Sequence[Memory] = (), table: bool = True):  # fmt: skip
        """features: more than usual; without: less; index: the queue for I/O; mems: memories after the
        rig's own; table: send it."""
        self.context, self.device = context, context.device
        self.stack = contextlib.ExitStack()
        with contextlib.ExitStack() as undo:
            undo.enter_context(self.stack)
            self.fe = fe or context.negotiated((self.FEATURES | features) & ~without, pf)
            self.mem = self.stack.enter_context(Memory(size))
            self.mems = [self.mem, *mems]
            index = self.device.first if index is None else index
            self.queues: dict[int, Queue] = {
                i: self.stack.enter_context(Queue(self.mem, i, num, base)) for i in self.device.companions(index)}
            self.q = self.queues[index]
            self.free = self.mem.next
            if table:
                self.fe.set_mem_table(self.mems)
            if start:
                self.start(enable=enable)
            undo.pop_all()

    def __enter__(self) -> Rig:
        return self

    def __exit__(self, *exc: object) -> None:
        self.fe.close()  # first: the kernel uses memory of this process by its addresses
        self.stack.close()
        self.context.target.settle(self.wait)

    @property
    def wait(self) -> float:
        return self.context.options.wait

    def start(self, enable: bool = True) -> None:
        """All queues, in their order, the one for I/O last."""
        for q in self.queues.values():
            self.fe.start(q, enable=enable or q is not self.q)
        self.driver_ok()
        for q in self.queues.values():
            q.kick()

    def driver_ok(self) -> None:
        self.fe.set_status(DRIVER_OK)

    def add_queue(self, index: int, num: int = 16) -> Queue:
        """One more queue, running, with those that it needs."""
        for i in self.device.companions(index):
            if i not in self.queues:
                self.queues[i] = self.stack.enter_context(Queue(self.mem, i, num))
                self.free = self.mem.next
                self.fe.start(self.queues[i])
                self.queues[i].kick()
        return self.queues[index]

    def request(self, mem: Memory | None = None) -> Request:
        if not self.device.make:
            raise Skips(self.context.lacks("io"))
        return self.device.make(mem or self.mem, self.fe.acked)

    def submit(self, n: int = 1, q: Queue | None = None, kick: bool = True, indirect: bool = False) -> dict[int, Request]:
        """n requests by their heads, and one kick."""
        q = q or self.q
        if self.supply:
            self._supply(n)
        self.mem.next = self.free
        requests = {}
        for _ in range(n):
            request = self.request()
            requests[(q.ring.add_indirect if indirect else q.ring.add)(request.chain)] = request
        if kick:
            q.kick()
        return requests

    def _supply(self, n: int) -> None:
        """Room for n more frames in the receive queue, all in one buffer."""
        ring = self.queues[self.q.index - 1].ring
        if not self._room:
            self._room = self.mem.alloc(ROOM)
            self.free = self.mem.next
        ring.reap()
        for _ in range(min(n, len(ring.free))):
            ring.add([(self._room, ROOM, True)])

    def submit_more(self, n: int = 1) -> dict[int, Request]:
        """The same for the queue of I/O behind what was submitted and is in its memory still, without a kick."""
        requests = [self.request() for _ in range(n)]
        return {self.q.ring.add(request.chain): request for request in requests}

    def io(self, n: int = 1, q: Queue | None = None, **options: Any) -> None:
        """n requests, which come back as they should."""
        self.finished(self.submit(n, q, **options), q)

    def finished(self, requests: dict[int, Request], q: Queue | None = None) -> None:
        """These requests, by their heads, come back, each once and with what it asked for."""
        q = q or self.q
        done = q.wait(len(requests), self.wait)
        if sorted(head for head, _ in done) != sorted(requests):
            why = self.context.target.died() or ("the ring's err fd was signalled" if q.failed() else "")
            raise Fails(f"ring {q.index}: {len(requests)} requests were offered, and the heads {[h for h, _ in done]} came back "
                        f"of {list(requests)}{'; ' + why if why else ''}")  # fmt: skip
        for head, written in done:
            wrong = requests[head].wrong(written)
            if wrong:
                raise Fails(f"ring {q.index}: {wrong}")

    def untouched(self, q: Queue | None = None, seconds: float = QUIET) -> None:
        """Nothing more is used in so long."""
        done = (q or self.q).wait(1, seconds)
        if done:
            raise Fails(f"ring {(q or self.q).index}: {len(done)} requests were used")

    def stop(self, q: Queue | None = None) -> int:
        return self.fe.stop(q or self.q)

    def ends_at(self, wanted: int, what: str) -> None:
        """The ring for I/O is stopped, where it can be; this is its base."""
        equal(self.stop(), wanted, what)

    def restart(self, q: Queue | None = None) -> None:
        """Start it where the driver is."""
        q = q or self.q
        self.fe.start(q)
        q.kick()


def survey(target: Target, options: Options) -> tuple[Offer, Device]:
    """One or two connections before the first check: what is offered, which device it seems to be, does it come again."""
    context = Context(target, options, Offer(), DEVICES["none"])
    offer = context.offer
    try:
        with context.wire() as fe:
            offer.features = fe.offered
            if fe.offered & bits(F.PROTOCOL_FEATURES):
                offer.pf = fe.get_u64(FE.GET_PROTOCOL_FEATURES)
                fe.set_protocol_features(offer.pf & FrontEnd.PROTOCOL_FEATURES)
                if offer.pf & bits(PF.MQ):
                    offer.queues = fe.get_u64(FE.GET_QUEUE_NUM)
                if offer.pf & bits(PF.CONFIGURE_MEM_SLOTS):
                    offer.slots = fe.get_u64(FE.GET_MAX_MEM_SLOTS)
    except wire.Timeout as e:
        raise Unreachable(f"{target.name}: {e}; is another front-end connected?") from None
    except wire.ProtocolError as e:
        raise Unreachable(f"{target.name}: {e}{target.died()}") from None
    context.close()
    target.once()
    return offer, DEVICES[options.type or guess(offer.features)]


def fds_of(pid: int) -> int:
    """How many file descriptors a process has."""
    return len(os.listdir(f"/proc/{pid}/fd"))
