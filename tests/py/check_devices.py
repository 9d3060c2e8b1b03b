# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""A disk and a network device with mistakes in what they do with requests, for the checks that have to find these."""
import collections
import struct

import binding
import vh

OK, IOERR, UNSUPP = b"\0", b"\1", b"\2"
READ, WRITE, FLUSH, GET_ID, DISCARD, ZEROES = 0, 1, 4, 8, 11, 13
CAPACITY = 4096  # sectors
RO, FLUSHES, MQ, DISCARDS, WRITES_ZEROES = 5, 9, 12, 13, 14


class _Made:
    """A description, from which a device is made anew for each test."""

    def __init__(self, **mistakes):
        self.mistakes = mistakes

    def __call__(self):
        return self.device(**self.mistakes)  # pylint: disable=no-member


class DiskDevice(vh.Device):
    """See the names of the options: each is a mistake."""

    type = vh.DeviceType.BLK
    config = struct.pack("<Q", CAPACITY) + bytes(52)

    def __init__(self, *, readonly=False, serial=b"right", most_parts=99, whole_header=False, largest=1 << 20, fails=(), skips=(), never=(),
                 unknown=2, loses_writes=False, counts_wrong=False, unguarded=False, unbounded=False, drops_odd=False, drops_one_in=0):
        self.features = 1 << FLUSHES | 1 << DISCARDS | 1 << WRITES_ZEROES | (1 << RO if readonly else 0)
        self.__dict__.update({k: v for k, v in locals().items() if k not in ("self", "__class__")})
        self.data, self.count = bytearray(CAPACITY * 512), 0
        super().__init__()

    def on_batch(self, queue, index, budget):
        batch = queue.pop(budget)
        for request in batch:
            self.count += 1
            if self.drops_one_in and self.count % self.drops_one_in == 0:
                continue
            if self.never and struct.unpack("<I", request.read(4))[0] in self.never:
                continue
            if self.drops_odd and (request.wr_len - 1) % 512 and request.wr_len > 21:
                continue
            status = self.status(request)
            request.write(status, request.wr_len - 1)
            if self.counts_wrong:
                request.written = 1
            queue.push(request)

    def status(self, request):
        if self.whole_header and len(request.readable[0]) < 16:
            return IOERR
        kind, _, sector = struct.unpack("<IIQ", request.read(16))
        if kind in self.fails:
            return IOERR
        if kind in self.skips or kind == FLUSH:
            return OK
        doing = {READ: self.read, WRITE: self.write, GET_ID: self.get_id, DISCARD: self.zero, ZEROES: self.zero}.get(kind)
        return doing(request, sector) if doing else bytes([self.unknown])

    def read(self, request, sector):
        size = request.wr_len - 1
        if sector * 512 + size > len(self.data) or size % 512 or size > self.largest:
            return OK if self.unbounded else IOERR
        if len(request.writable) > self.most_parts:
            return OK
        request.write(self.data[sector * 512:sector * 512 + size])
        return OK

    def write(self, request, sector):
        data = request.read(offset=16)
        if not self.loses_writes:
            self.data[sector * 512:sector * 512 + len(data)] = data
        return OK

    def get_id(self, request, _):
        request.write(self.serial.ljust(20, b"\0"))
        return OK

    def zero(self, request, _):
        sector, n, _ = struct.unpack("<QII", request.read(16, offset=16))
        self.data[sector * 512:(sector + n) * 512] = bytes(n * 512)
        return OK


class Disk(_Made):
    kind, device = "blk", DiskDevice


class WireDevice(vh.Device):
    """What is sent is received; each option is a mistake."""

    type = vh.DeviceType.NET
    features = 1 << 15  # MRG_RXBUF
    max_queues = 2

    def __init__(self, *, drops_sent=0, one_part=False, flips=False, buffers=1, merges=True, waits_for_room=False,
                 ends_at_small=False):
        self.__dict__.update({k: v for k, v in locals().items() if k not in ("self", "__class__")})
        self.frames, self.queues, self.count = collections.deque(maxlen=64), {}, 0
        super().__init__()

    def queue_started(self, queue, index):
        self.queues[index] = queue

    def on_batch(self, queue, index, budget):
        if index == 1:
            self.take(queue, budget)
        self.deliver()

    def take(self, queue, budget):
        if self.waits_for_room:
            return
        for request in queue.pop(budget):
            self.count += 1
            if self.drops_sent and self.count % self.drops_sent == 0 or self.one_part and len(request.readable) > 1:
                continue
            self.frames.append(request.read(offset=12))
            queue.push(request)

    def deliver(self):
        while self.frames and 0 in self.queues:
            for request in self.queues[0].pop(1):
                frame = self.frames.popleft()
                if self.flips:
                    frame = bytes([frame[0] ^ 1]) + frame[1:]
                whole = bytes(10) + struct.pack("<H", self.buffers) + frame
                if self.ends_at_small and request.wr_len < len(whole):
                    raise RuntimeError("no room for a frame")
                request.write(whole[:request.wr_len])
                self.queues[0].push(request)
                break
            else:
                return


class Wire(_Made):
    kind, device = "net", WireDevice


served = binding.served
