# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""A front-end that does at random what a front-end may do, and checks what the back-end answers: a hypothesis state machine.

For a back-end that serves a block device::

    from vh.testing.machine import FrontendMachine

    class Machine(FrontendMachine):
        socket = "/tmp/disk.sock"  # or override connect()

    TestMachine = Machine.TestCase

or, without a class, `run("/tmp/disk.sock")`. The first 16 sectors of the disk are overwritten. Every step is right by the
specification, so each failure is one of the back-end's, and hypothesis shows the shortest way there. It needs the package hypothesis.
"""

from __future__ import annotations

import os
from typing import Callable

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from vh.testing.peer import BlkRequest, FrontEnd, Memory, Queue
from vh.testing.wire import BLK, FE, PF, F, bits, pack

SECTOR = 512
SECTORS = 16  # of the disk that are used
RING = 64
MEMORY = 2 << 20
SECTOR_NUMBERS = st.integers(0, SECTORS - 4)
#: what is negotiated: always these
NEEDED = bits(F.VERSION_1, F.PROTOCOL_FEATURES)
OPTIONAL = (bits(F.RING_INDIRECT_DESC), bits(BLK.FLUSH), bits(F.RING_EVENT_IDX), bits(F.RING_PACKED))
OPTIONAL_PROTOCOL = tuple(bits(b) for b in (PF.MQ, PF.REPLY_ACK, PF.CONFIG, PF.CONFIGURE_MEM_SLOTS, PF.RESET_DEVICE))


class FrontendMachine(RuleBasedStateMachine):
    """The machine. What it knows: the bytes of the disk, which rings run, what was negotiated."""

    socket: str | os.PathLike | None = None
    timeout = 10.0

    def __init__(self) -> None:
        super().__init__()
        self.front: FrontEnd | None = None
        self.memory: Memory | None = None
        self.more: list[Memory] = []
        self.queue: Queue | None = None
        self.enabled = False
        self.disk: dict[int, bytes] = {}  # sector -> what was written there
        self.config: bytes | None = None

    def connect(self) -> FrontEnd:
        """A connection to the back-end: here the place for one of another kind."""
        assert self.socket is not None, "the machine has no socket"
        return FrontEnd.connect(self.socket, timeout=self.timeout)

    # Begin and end

    @initialize(optional=st.sets(st.sampled_from(OPTIONAL)), protocol=st.sets(st.sampled_from(OPTIONAL_PROTOCOL)))
    def begin(self, optional, protocol) -> None:
        """The disk begins the same each time, or hypothesis could do nothing a second time."""
        self._open(optional, protocol)
        self.start(0, True)
        self.disk = {sector: bytes([0xA0 + sector]) * SECTOR for sector in range(SECTORS)}
        self._do(*(BlkRequest.write(self.memory, sector, data) for sector, data in self.disk.items()))
        self.stop()

    def _open(self, optional, protocol) -> None:
        self.front = self.connect()
        # EVENT_IDX would have the device wait for a used_event that this driver does not write.
        wanted = NEEDED | sum(optional) & ~bits(F.RING_EVENT_IDX)
        self.front.negotiate(wanted, sum(protocol))
        assert self.front.acked & bits(F.VERSION_1), "it does not offer VERSION_1"
        self.memory = Memory(MEMORY)
        self.front.set_mem_table([self.memory])

    def _shut(self) -> None:
        for thing in (self.queue, self.memory, self.front, *self.more):
            if thing:
                thing.close()
        self.queue = self.memory = self.front = None
        self.more, self.enabled = [], False

    def teardown(self) -> None:
        self._shut()

    def has(self, feature: int) -> bool:
        return bool(self.front and self.front.pf_acked & bits(feature))

    # Rings

    @precondition(lambda self: self.front and not self.queue)
    @rule(base=st.sampled_from((0, 1, RING, 0xFFFF)), enable=st.booleans())
    def start(self, base, enable) -> None:
        self.memory.next = self.memory.gpa
        self.queue = Queue(self.memory, 0, RING, base, packed=bool(self.front.acked & bits(F.RING_PACKED)))
        self.front.start(self.queue, enable=enable)
        self.enabled = enable

    @precondition(lambda self: self.queue)
    @rule()
    def stop(self) -> None:
        base, there = self.front.stop(self.queue), self.queue.ring.base
        assert base == there, f"GET_VRING_BASE says {base}; {there} is what was made available and done"
        self.queue.close()
        self.queue, self.enabled = None, False

    @precondition(lambda self: self.queue)
    @rule(on=st.booleans())
    def enable(self, on) -> None:
        self.front.enable(self.queue, on)
        self.enabled = on

    @precondition(lambda self: self.queue)
    @rule()
    def kick_for_nothing(self) -> None:
        self.queue.kick()

    # Requests

    def _do(self, *requests: BlkRequest, indirect: bool = False) -> None:
        """All at once, to their end."""
        heads = [self.queue.ring.add_indirect(r.chain) if indirect else self.queue.ring.add(r.chain) for r in requests]
        self.queue.kick()
        done = self.queue.wait(len(heads), self.timeout)
        assert sorted(head for head, _ in done) == sorted(heads), f"of the requests {sorted(heads)} it has done {done}"
        for head, written in done:
            request = requests[heads.index(head)]
            room = sum(size for _, size, writable in request.chain if writable)
            assert request.status == 0, f"status {request.status}"
            assert 1 <= written <= room, f"it has written {written} bytes, it says, of {room}"

    def _room(self) -> None:
        """Buffers begin anew behind the rings: all requests are done."""
        self.memory.next = self.queue.ring.used + 4096

    @precondition(lambda self: self.enabled)
    @rule(sector=SECTOR_NUMBERS, n=st.integers(1, 4), seed=st.binary(min_size=1, max_size=4), indirect=st.booleans())
    def write(self, sector, n, seed, indirect) -> None:
        self._room()
        data = (seed * (n * SECTOR))[: n * SECTOR]
        self._do(BlkRequest.write(self.memory, sector, data), indirect=indirect and self._indirect())
        for i in range(n):
            self.disk[sector + i] = data[i * SECTOR : (i + 1) * SECTOR]

    @precondition(lambda self: self.enabled)
    @rule(sectors=st.lists(SECTOR_NUMBERS, min_size=1, max_size=4), n=st.integers(1, 4), indirect=st.booleans())
    def read(self, sectors, n, indirect) -> None:
        self._room()
        requests = [BlkRequest.read(self.memory, sector, n * SECTOR) for sector in sectors]
        self._do(*requests, indirect=indirect and self._indirect())
        for sector, request in zip(sectors, requests):
            data = request.data()
            for i in range(n):
                found = data[i * SECTOR : (i + 1) * SECTOR]
                assert self.disk[sector + i] == found, f"sector {sector + i} is not what was written there"

    @precondition(lambda self: self.enabled and self.front.acked & bits(BLK.FLUSH))
    @rule()
    def flush(self) -> None:
        self._room()
        self._do(BlkRequest.flush(self.memory))

    def _indirect(self) -> bool:
        return bool(self.front.acked & bits(F.RING_INDIRECT_DESC))

    # What else there is

    @precondition(lambda self: self.front and self.has(PF.CONFIG))
    @rule()
    def get_config(self) -> None:
        config = self.front.get_config(0, 8)
        assert self.config in (None, config), "the capacity is another one now"
        assert int.from_bytes(config, "little") >= SECTORS, "the disk is too small for this machine"
        self.config = config

    @precondition(lambda self: self.front)
    @rule()
    def get_features(self) -> None:
        assert self.front.get_u64(FE.GET_FEATURES) == self.front.offered, "it offers other features now"

    @precondition(lambda self: self.front and self.has(PF.CONFIGURE_MEM_SLOTS) and len(self.more) < 3)
    @rule()
    def add_memory(self) -> None:
        used = {m.gpa for m in self.more}
        gpa = next(g for g in range(1 << 30, 2 << 30, MEMORY) if g not in used)
        self.more.append(Memory(MEMORY, gpa, 0x7E0000000000 + gpa))
        self.front.add_mem_region(self.more[-1])

    @precondition(lambda self: self.more)
    @rule(first=st.booleans())
    def remove_memory(self, first) -> None:
        with self.more.pop(0 if first else -1) as memory:
            self.front.remove_mem_region(memory)

    @precondition(lambda self: self.front and not self.queue)
    @rule()
    def new_table(self) -> None:
        """All memory is replaced."""
        for memory in (self.memory, *self.more):
            memory.close()
        self.more = []
        self.memory = Memory(MEMORY)
        self.front.set_mem_table([self.memory])

    @precondition(lambda self: self.front and not self.queue and self.has(PF.RESET_DEVICE))
    @rule()
    def reset(self) -> None:
        self.front.do(FE.RESET_DEVICE)
        self.front.do(FE.SET_FEATURES, pack("U64", value=self.front.acked))

    @precondition(lambda self: self.front)
    @rule(optional=st.sets(st.sampled_from(OPTIONAL)), protocol=st.sets(st.sampled_from(OPTIONAL_PROTOCOL)))
    def come_again(self, optional, protocol) -> None:
        """Hang up, whatever runs, and connect once more; what was done stays done."""
        self._shut()
        self._open(optional, protocol)

    @invariant()
    def nothing_is_said_unasked(self) -> None:
        assert not self.front or self.front.silent(0), "it says something that nobody has asked for, or has hung up"

    @invariant()
    def no_ring_has_failed(self) -> None:
        assert not self.queue or not self.queue.failed(), "it has signalled an error of the ring"


def run(where: str | os.PathLike | Callable[[], FrontEnd], *, examples: int = 100, steps: int = 30, timeout: float = 10.0,
        **more) -> None:  # fmt: skip
    """Run the machine against a socket, or what a function connects to. What is wrong is raised, with the shortest way there.
    more: settings of hypothesis."""
    class Machine(FrontendMachine):
        socket = None if callable(where) else where

        def connect(self) -> FrontEnd:
            return where() if callable(where) else super().connect()
    Machine.timeout = timeout
    run_state_machine_as_test(Machine, settings=settings(max_examples=examples, stateful_step_count=steps, deadline=None, database=None,
                                                         suppress_health_check=list(HealthCheck), **more))
