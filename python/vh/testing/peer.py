# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""A vhost-user front-end by hand, and the skeleton of a back-end.

A session step by step, every step with arguments that can be wrong::

    with FrontEnd.connect("/tmp/blk.sock") as fe, Memory(1 << 20) as mem:
        fe.negotiate()
        fe.set_mem_table([mem])
        q = Queue(mem, 0, 64)
        fe.start(q)
        request = BlkRequest.read(mem, sector=0, size=512)
        q.submit(request.chain)
        q.wait()
        print(request.status, request.data())
"""

from __future__ import annotations

import ctypes
import mmap
import os
import select
import socket
import struct
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from vh.launch import sockets
from vh.testing import wire
from vh.testing.packed import PackedRing
from vh.testing.wire import BE, BLK, FE, PF, Closed, Conn, F, Msg, bits

VRING_DESC_F_NEXT = 1
VRING_DESC_F_WRITE = 2
VRING_DESC_F_INDIRECT = 4

BLK_T_IN, BLK_T_OUT, BLK_T_FLUSH, BLK_T_GET_ID, BLK_T_DISCARD, BLK_T_WRITE_ZEROES = 0, 1, 4, 8, 11, 13
SECTOR = 512


class Memory:
    """Guest memory in one memfd: a region of a memory table, and a bump allocator of guest addresses in it."""

    def __init__(self, size: int, gpa: int = 0x100000, uva: int = 0x7F0000000000, offset: int = 0):
        self.size, self.gpa, self.uva, self.offset = size, gpa, uva, offset
        self.fd = os.memfd_create("vh-testing", os.MFD_CLOEXEC)
        os.ftruncate(self.fd, offset + size)
        self.map = mmap.mmap(self.fd, offset + size)
        self.view = memoryview(self.map)
        self.next = gpa

    def close(self) -> None:
        if self.fd < 0:
            return
        self.view.release()
        self.map.close()
        os.close(self.fd)
        self.fd = -1

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    @property
    def region(self) -> tuple[int, int, int, int]:
        """As in a memory table: gpa, size, uva, offset."""
        return self.gpa, self.size, self.uva, self.offset

    @property
    def host(self) -> int:
        """Where the region lies in this process."""
        return ctypes.addressof(ctypes.c_char.from_buffer(self.map)) + self.offset

    def to_uva(self, gpa: int) -> int:
        return gpa - self.gpa + self.uva

    def alloc(self, size: int, align: int = 16) -> int:
        """A guest address; the bytes there are what they were."""
        gpa = (self.next + align - 1) & ~(align - 1)
        if gpa + size > self.gpa + self.size:
            raise MemoryError(f"{size} bytes don't fit into the guest memory any more")
        self.next = gpa + size
        return gpa

    def _at(self, gpa: int, size: int) -> int:
        at = gpa - self.gpa + self.offset
        if gpa < self.gpa or at + size > len(self.view):
            raise IndexError(f"{gpa:#x} + {size} is outside of the guest memory")
        return at

    def write(self, gpa: int, data: bytes) -> None:
        at = self._at(gpa, len(data))
        self.view[at : at + len(data)] = data

    def read(self, gpa: int, size: int) -> bytes:
        at = self._at(gpa, size)
        return bytes(self.view[at : at + size])

    def load16(self, gpa: int) -> int:
        """One 16-bit load."""
        at = self._at(gpa, 2)
        with self.view[at : at + 2] as part, part.cast("H") as cell:
            return cell[0]

    def store16(self, gpa: int, value: int) -> None:
        """One 16-bit store."""
        at = self._at(gpa, 2)
        with self.view[at : at + 2] as part, part.cast("H") as cell:
            cell[0] = value & 0xFFFF


class Ring:
    """The driver side of a split ring. Everything that the device sees can be written to directly."""

    def __init__(self, mem: Memory, num: int):
        self.mem, self.num = mem, num
        self.desc = mem.alloc(16 * num, 4096)
        self.avail = mem.alloc(6 + 2 * num, 2)
        self.used = mem.alloc(6 + 8 * num, 4096)
        for area, size in ((self.desc, 16 * num), (self.avail, 6 + 2 * num), (self.used, 6 + 8 * num)):
            mem.write(area, bytes(size))
        self.free = list(range(num))
        self.chains: dict[int, list[int]] = {}
        self.avail_idx = 0
        self.used_idx = 0

    @property
    def base(self) -> int:
        """Where it stands, as SET_VRING_BASE has it."""
        return self.avail_idx

    def write_desc(self, i: int, addr: int, length: int, flags: int = 0, following: int = 0) -> None:
        self.mem.write(self.desc + 16 * i, struct.pack("<QIHH", addr, length, flags, following))

    def set_avail(self, head: int) -> None:
        """Put a head into the available ring; not visible before publish()."""
        self.mem.store16(self.avail + 4 + 2 * (self.avail_idx % self.num), head)
        self.avail_idx = (self.avail_idx + 1) & 0xFFFF

    def publish(self, idx: int | None = None) -> None:
        self.mem.store16(self.avail + 2, self.avail_idx if idx is None else idx)

    def add(self, chain) -> int:
        """Describe and publish [(gpa, size, device writes)]; returns the head."""
        slots = [self.free.pop(0) for _ in chain]
        for k, (slot, (addr, size, writable)) in enumerate(zip(slots, chain)):
            last = k == len(slots) - 1
            flags = (VRING_DESC_F_WRITE if writable else 0) | (0 if last else VRING_DESC_F_NEXT)
            self.write_desc(slot, addr, size, flags, 0 if last else slots[k + 1])
        self.chains[slots[0]] = slots
        self.set_avail(slots[0])
        self.publish()
        return slots[0]

    def add_indirect(self, chain) -> int:
        """The same through an indirect table."""
        table = self.mem.alloc(16 * len(chain), 16)
        for k, (addr, size, writable) in enumerate(chain):
            last = k == len(chain) - 1
            flags = (VRING_DESC_F_WRITE if writable else 0) | (0 if last else VRING_DESC_F_NEXT)
            self.mem.write(table + 16 * k, struct.pack("<QIHH", addr, size, flags, 0 if last else k + 1))
        slot = self.free.pop(0)
        self.write_desc(slot, table, 16 * len(chain), VRING_DESC_F_INDIRECT)
        self.chains[slot] = [slot]
        self.set_avail(slot)
        self.publish()
        return slot

    def reap(self) -> list[tuple[int, int]]:
        """What the device has used since the last call: (head, bytes written)."""
        done = []
        while self.used_idx != self.mem.load16(self.used + 2):
            entry = self.mem.read(self.used + 4 + 8 * (self.used_idx % self.num), 8)
            head, written = struct.unpack("<II", entry)
            self.used_idx = (self.used_idx + 1) & 0xFFFF
            self.free.extend(self.chains.pop(head, ()))
            done.append((head, written))
        return done


class Queue:
    """A ring with its eventfds."""

    def __init__(self, mem: Memory, index: int, num: int, base: int = 0, packed: bool = False):
        """base: the index at which it begins, of a packed one the descriptors that were passed before."""
        self.index, self.num = index, num
        self.ring: Any = PackedRing(mem, num, base) if packed else Ring(mem, num)
        if not packed:
            self.ring.avail_idx = self.ring.used_idx = base
            mem.store16(self.ring.avail + 2, base)
            mem.store16(self.ring.used + 2, base)
        self.kick_fd = wire.eventfd()
        self.call_fd = wire.eventfd()
        self.err_fd = wire.eventfd()

    def close(self) -> None:
        for fd in (self.kick_fd, self.call_fd, self.err_fd):
            if fd >= 0:
                os.close(fd)
        self.kick_fd = self.call_fd = self.err_fd = -1

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    @property
    def addr(self) -> dict:
        """The addresses as fields of SET_VRING_ADDR."""
        ring = self.ring
        to_uva = ring.mem.to_uva
        return {"desc": to_uva(ring.desc), "used": to_uva(ring.used), "avail": to_uva(ring.avail)}

    def kick(self) -> None:
        os.eventfd_write(self.kick_fd, 1)

    def submit(self, chain, indirect: bool = False) -> int:
        head = self.ring.add_indirect(chain) if indirect else self.ring.add(chain)
        self.kick()
        return head

    def called(self, timeout: float = 0.0) -> bool:
        """Has the device signalled? Clears it."""
        return _take_event(self.call_fd, timeout)

    def failed(self, timeout: float = 0.0) -> bool:
        """Has the device signalled an error of this ring? Clears it."""
        return _take_event(self.err_fd, timeout)

    def wait(self, n: int = 1, timeout: float = 5.0) -> list[tuple[int, int]]:
        """n used entries, or as many as came in time."""
        deadline = time.monotonic() + timeout
        done = self.ring.reap()
        while len(done) < n and time.monotonic() < deadline:
            self.called(min(0.05, max(0.0, deadline - time.monotonic())))
            done += self.ring.reap()
        return done


def _take_event(fd: int, timeout: float) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    if not poll.poll(timeout * 1000):
        return False
    os.eventfd_read(fd)
    return True


@dataclass
class BlkRequest:
    """A virtio-blk request in guest memory; `chain` can be changed before it is submitted."""

    mem: Memory
    chain: list[tuple[int, int, bool]]
    data_at: int = 0
    size: int = 0
    status_at: int = 0

    @classmethod
    def make(cls, mem: Memory, type_: int, sector: int = 0, data: bytes = b"", size: int = 0) -> BlkRequest:
        """data: what the device reads; size: room that it writes to. The status byte starts as 0xee."""
        head = mem.alloc(16)
        mem.write(head, struct.pack("<IIQ", type_, 0, sector))
        chain = [(head, 16, False)]
        n = len(data) or size
        at = mem.alloc(n) if n else 0
        if n:
            mem.write(at, data or bytes(n))
            chain.append((at, n, not data))
        status = mem.alloc(1, 1)
        mem.write(status, b"\xee")
        chain.append((status, 1, True))
        return cls(mem, chain, at, n, status)

    @classmethod
    def read(cls, mem: Memory, sector: int, size: int) -> BlkRequest:
        return cls.make(mem, BLK_T_IN, sector, size=size)

    @classmethod
    def write(cls, mem: Memory, sector: int, data: bytes) -> BlkRequest:
        return cls.make(mem, BLK_T_OUT, sector, data)

    @classmethod
    def flush(cls, mem: Memory) -> BlkRequest:
        return cls.make(mem, BLK_T_FLUSH)

    @property
    def status(self) -> int:
        """0 ok, 1 error, 2 unsupported, 0xee not written."""
        return self.mem.read(self.status_at, 1)[0]

    def data(self) -> bytes:
        return self.mem.read(self.data_at, self.size)


class FrontEnd(Conn):
    """A connection with the steps of a front-end. What was negotiated is only noted, nothing is held to it."""

    #: what negotiate() wants unless it is told otherwise
    FEATURES = bits(F.VERSION_1, F.PROTOCOL_FEATURES, F.RING_INDIRECT_DESC, BLK.FLUSH, BLK.MQ)
    PROTOCOL_FEATURES = bits(
        PF.MQ, PF.REPLY_ACK, PF.BACKEND_REQ, PF.CONFIG, PF.CONFIGURE_MEM_SLOTS, PF.RESET_DEVICE, PF.STATUS
    )

    offered = acked = pf_offered = pf_acked = 0

    @property
    def reply_ack(self) -> bool:
        return bool(self.pf_acked & bits(PF.REPLY_ACK))

    def get_u64(self, request: int, **kwargs) -> int:
        with self.call(request, **kwargs) as msg:
            return msg.u64

    def do(self, request: int, payload: bytes = b"", fds=()) -> None:
        """Send; where REPLY_ACK allows it, wait for status 0."""
        if not self.reply_ack:
            self.send(request, payload, fds)
            return
        status = self.status(request, payload, fds)
        if status:
            raise wire.ProtocolError(f"{FE(request).name}: status {status}")

    def negotiate(self, features: int | None = None, protocol_features: int | None = None) -> None:
        """Features and protocol features, masked by the offer; then SET_OWNER."""
        self.offered = self.get_u64(FE.GET_FEATURES)
        self.acked = self.offered & (self.FEATURES if features is None else features)
        if self.offered & bits(F.PROTOCOL_FEATURES):
            self.pf_offered = self.get_u64(FE.GET_PROTOCOL_FEATURES)
            wanted = self.PROTOCOL_FEATURES if protocol_features is None else protocol_features
            self.set_protocol_features(self.pf_offered & wanted)
        self.do(FE.SET_OWNER)
        self.do(FE.SET_FEATURES, wire.pack("U64", value=self.acked))

    def set_protocol_features(self, value: int) -> None:
        self.send(FE.SET_PROTOCOL_FEATURES, wire.pack("U64", value=value))
        self.pf_acked = value

    def set_mem_table(self, memories) -> None:
        self.do(FE.SET_MEM_TABLE, wire.mem_table([m.region for m in memories]), [m.fd for m in memories])

    def add_mem_region(self, mem: Memory) -> None:
        gpa, size, uva, offset = mem.region
        payload = wire.pack("MEM_REG", gpa=gpa, size=size, uva=uva, offset=offset)
        self.do(FE.ADD_MEM_REG, payload, [mem.fd])

    def remove_mem_region(self, mem: Memory, fds=()) -> None:
        gpa, size, uva, offset = mem.region
        self.do(FE.REM_MEM_REG, wire.pack("MEM_REG", gpa=gpa, size=size, uva=uva, offset=offset), fds)

    def get_config(self, offset: int = 0, size: int = 60) -> bytes:
        with self.call(FE.GET_CONFIG, wire.config(offset, size)) as msg:
            return msg.fields("CONFIG")["data"]

    def set_config(self, offset: int, data: bytes, flags: int = 0) -> None:
        self.do(FE.SET_CONFIG, wire.config(offset, flags=flags, data=data))

    def vring_state(self, request: int, index: int, num: int) -> None:
        self.do(request, wire.pack("VRING_STATE", index=index, num=num))

    def vring_fd(self, request: int, index: int, fd: int = -1) -> None:
        """KICK, CALL, ERR; -1: bit 8 instead of an fd."""
        self.do(request, wire.vring_fd(index, nofd=fd < 0), [] if fd < 0 else [fd])

    def start(self, q: Queue, base: int | None = None, enable: bool = True) -> None:
        """The usual order: NUM, BASE, ADDR, ERR, CALL, KICK, ENABLE."""
        self.vring_state(FE.SET_VRING_NUM, q.index, q.num)
        self.vring_state(FE.SET_VRING_BASE, q.index, q.ring.base if base is None else base)
        self.do(FE.SET_VRING_ADDR, wire.pack("VRING_ADDR", index=q.index, **q.addr))
        self.vring_fd(FE.SET_VRING_ERR, q.index, q.err_fd)
        self.vring_fd(FE.SET_VRING_CALL, q.index, q.call_fd)
        self.vring_fd(FE.SET_VRING_KICK, q.index, q.kick_fd)
        if enable and self.acked & bits(F.PROTOCOL_FEATURES):
            self.enable(q)

    def enable(self, q: Queue, on: bool = True) -> None:
        self.vring_state(FE.SET_VRING_ENABLE, q.index, int(on))

    def stop(self, q: Queue) -> int:
        """GET_VRING_BASE: the base."""
        with self.call(FE.GET_VRING_BASE, wire.pack("VRING_STATE", index=q.index)) as msg:
            fields = msg.fields("VRING_STATE")
        if fields["index"] != q.index:
            raise wire.ProtocolError(f"GET_VRING_BASE of ring {q.index} is answered for ring {fields['index']}")
        return fields["num"]

    def open_channel(self) -> Conn:
        """SET_BACKEND_REQ_FD: a connection on which the back-end's requests arrive."""
        channel, theirs = Conn.pair(timeout=self.timeout)
        with theirs:
            self.do(FE.SET_BACKEND_REQ_FD, b"", [theirs.fileno()])
        return channel


@dataclass
class _Ring:
    """What a front-end said about one ring."""

    num: int = 0
    base: int = 0
    enabled: bool = False
    addr: dict = field(default_factory=dict)
    fds: dict = field(default_factory=dict)


class BackEnd:
    """The skeleton of a back-end: answers as a well-behaved peer would, moves no data, and notes what it was sent.

    `handlers[FE.x] = function(back_end, msg)` takes a message over (return value ignored; answer with `conn.reply`);
    everything else goes the default way. `log` has every message that came, without its fds. Use :meth:`serve` in
    the test, or :meth:`start` for a thread of its own.
    """

    FEATURES = bits(F.VERSION_1, F.PROTOCOL_FEATURES, F.RING_INDIRECT_DESC, F.RING_EVENT_IDX)
    PROTOCOL_FEATURES = bits(
        PF.MQ, PF.REPLY_ACK, PF.BACKEND_REQ, PF.CONFIG, PF.CONFIGURE_MEM_SLOTS, PF.RESET_DEVICE, PF.STATUS
    )

    def __init__(self, conn: Conn, features: int | None = None, protocol_features: int | None = None):
        self.conn = conn
        self.features = self.FEATURES if features is None else features
        self.protocol_features = self.PROTOCOL_FEATURES if protocol_features is None else protocol_features
        self.acked = self.pf_acked = 0
        self.queues = 2
        self.mem_slots = 32
        self.config = bytearray(60)
        self.status = 0
        self.log: list[Msg] = []
        self.handlers: dict = {}
        self.rings: dict[int, _Ring] = {}
        self.regions: list[tuple[int, int, int, int]] = []
        self.channel: Conn | None = None
        self.error: BaseException | None = None
        self._thread: threading.Thread | None = None

    @classmethod
    def pair(cls, **kwargs):
        """A back-end and the socket for the front-end under test."""
        conn, theirs = Conn.pair()
        return cls(conn, **kwargs), theirs

    @classmethod
    def accept(cls, listener: socket.socket, timeout: float = 5.0, **kwargs):
        listener.settimeout(timeout)
        return cls(Conn(listener.accept()[0], timeout), **kwargs)

    @staticmethod
    def listen(path) -> socket.socket:
        return sockets.listen(os.fsdecode(path))

    def close(self) -> None:
        self.conn.close()
        if self.channel:
            self.channel.close()
        for ring in self.rings.values():
            for fd in ring.fds.values():
                os.close(fd)
            ring.fds.clear()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.finish()
        self.close()

    def start(self) -> None:
        """Serve in a thread until the front-end closes."""
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.serve()
        except BaseException as e:  # noqa: BLE001 - finish() raises it in the test's thread
            self.error = e

    def finish(self, timeout: float = 5.0) -> None:
        """Wait for the thread, and raise what ended it."""
        if not self._thread:
            return
        self._thread.join(timeout)
        alive, self._thread = self._thread.is_alive(), None
        if alive:
            self.conn.sock.shutdown(socket.SHUT_RDWR)
            raise TimeoutError("the front-end did not close the connection")
        if self.error:
            raise self.error

    def serve(self, n: int | None = None) -> None:
        """n messages, or all until the front-end closes."""
        while n is None or n > 0:
            try:
                msg = self.conn.recv(timeout=3600 if n is None else None)
            except Closed as e:
                if e.partial or n is not None:
                    raise
                return
            with msg:
                self.log.append(Msg(msg.request, msg.flags, msg.payload))
                self.handle(msg)
            n = None if n is None else n - 1

    def ring(self, index: int) -> _Ring:
        return self.rings.setdefault(index, _Ring())

    def handle(self, msg: Msg) -> None:
        handler = self.handlers.get(msg.request)
        if handler:
            handler(self, msg)
            return
        own = self.default(msg)
        if own is not None:
            self.conn.reply(msg, own)
        elif msg.need_reply and self.pf_acked & bits(PF.REPLY_ACK):
            self.conn.reply(msg, wire.pack("U64", value=0))

    def default(self, msg: Msg) -> bytes | None:
        """What a message does; the payload of a reply of its own, or None."""
        values = {
            FE.GET_FEATURES: self.features,
            FE.GET_PROTOCOL_FEATURES: self.protocol_features,
            FE.GET_QUEUE_NUM: self.queues,
            FE.GET_MAX_MEM_SLOTS: self.mem_slots,
            FE.GET_STATUS: self.status,
        }
        if msg.request in values:
            return wire.pack("U64", value=values[msg.request])
        if msg.request == FE.GET_CONFIG:
            ask = msg.fields()
            space = bytes(self.config).ljust(256, b"\0")
            data = space[ask["offset"] : ask["offset"] + ask["size"]]
            return wire.config(ask["offset"], ask["size"], ask["flags"], data)
        if msg.request == FE.GET_VRING_BASE:
            index = msg.fields()["index"]
            return wire.pack("VRING_STATE", index=index, num=self.ring(index).base)
        self._note(msg)
        return None

    def _note(self, msg: Msg) -> None:
        if msg.request == FE.SET_FEATURES:
            self.acked = msg.u64
        elif msg.request == FE.SET_PROTOCOL_FEATURES:
            self.pf_acked = msg.u64
        elif msg.request == FE.SET_STATUS:
            self.status = msg.u64
        elif msg.request == FE.SET_MEM_TABLE:
            self.regions = msg.fields()["regions"]
        elif msg.request == FE.ADD_MEM_REG:
            r = msg.fields()
            self.regions.append((r["gpa"], r["size"], r["uva"], r["offset"]))
        elif msg.request == FE.SET_BACKEND_REQ_FD and msg.fds:
            if self.channel:
                self.channel.close()
            self.channel = Conn(socket.socket(fileno=msg.take()[0]))
        elif msg.request in (FE.SET_VRING_KICK, FE.SET_VRING_CALL, FE.SET_VRING_ERR):
            ring = self.ring(msg.u64 & 0xFF)
            if msg.request in ring.fds:
                os.close(ring.fds.pop(msg.request))
            if msg.fds:
                ring.fds[msg.request] = msg.take()[0]
        elif msg.request in (FE.SET_VRING_NUM, FE.SET_VRING_BASE, FE.SET_VRING_ENABLE):
            state = msg.fields()
            ring = self.ring(state["index"])
            if msg.request == FE.SET_VRING_NUM:
                ring.num = state["num"]
            elif msg.request == FE.SET_VRING_BASE:
                ring.base = state["num"]
            else:
                ring.enabled = bool(state["num"])
        elif msg.request == FE.SET_VRING_ADDR:
            addr = msg.fields()
            self.ring(addr["index"]).addr = addr

    def ask(self, request: int, payload: bytes = b"", fds=(), timeout: float | None = None) -> int:
        """A request on the channel, with need_reply: the status."""
        if not self.channel:
            raise wire.ProtocolError("the front-end has not sent SET_BACKEND_REQ_FD")
        return self.channel.status(request, payload, fds, timeout)

    def config_changed(self, timeout: float | None = None) -> int:
        return self.ask(BE.CONFIG_CHANGE_MSG, timeout=timeout)
