#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Makes the corpora of the fuzz targets.

    corpus.py seeds                     writes corpus/NAME/seed-*: sessions that a good peer would have, and the dictionary
    corpus.py minimise BUILD SECONDS    runs each target, and keeps as corpus/NAME/min-* the fewest inputs that reach
                                        every edge which was reached
    corpus.py coverage BUILD            edges of src/ that the corpora reach, by folder, and of src/queue by file; BUILD
                                        configured with -DCMAKE_C_FLAGS="-fprofile-instr-generate -fcoverage-mapping"

Other files in a corpus are inputs that once found a bug, named after it; nothing here touches them.
"""
import glob
import hashlib
import json
import os
import re
import struct
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
NAMES = ("slave", "master", "backend_channel", "split_device", "split_driver", "packed_device", "packed_driver", "blk", "wire", "gpu",
         "iotlb", "inflight")


def u16(v):
    return struct.pack("<H", v)


# Front-end messages, as msg_typed() reads them: which row of the table, flags, descriptors, payload.
(GET_FEATURES, SET_FEATURES, SET_OWNER, RESET_OWNER, SET_MEM_TABLE) = range(5)
(SET_VRING_NUM, SET_VRING_ADDR, SET_VRING_BASE, GET_VRING_BASE, KICK, CALL, ERR, GET_PF, SET_PF, GET_QUEUE_NUM,
 ENABLE) = range(7, 18)
BACKEND_REQ_FD, GET_CONFIG, SET_CONFIG, RESET_DEVICE = 20, 23, 24, 33
GET_SLOTS, ADD_REG, REM_REG, SET_STATUS, GET_STATUS = 35, 36, 37, 38, 39
ACK = 1                           # index of flags 9 in flags_of()
EVENTFD, MEMFD, SOCKET = 6, 1, 13  # enum kern_kind
OURS = 128                        # the session's own memory


def msg(row, payload=b"", fds=b"", flags=ACK, n=0):
    return bytes([row, flags, n]) + payload + fds


def u64(v):
    """As any_u64() reads it."""
    return bytes([v]) if v < 160 else bytes([240]) + struct.pack("<Q", v)


def state(index, num):
    return bytes([index, num]) if num < 256 else bytes([index | 16]) + struct.pack("<I", num)


def fd(kind, size=0):
    return bytes([kind, size]) if kind < 128 else bytes([kind])


def region(kind):
    return bytes([kind, 0, 0, 0])


def ring(i, num=16, enable=True):
    t = bytes([0])
    return (t + msg(SET_VRING_NUM, state(i, num)) + t + msg(SET_VRING_BASE, state(i, 0)) +
            t + msg(SET_VRING_ADDR, bytes([i | i << 4])) + t + msg(CALL, u64(i), fd(EVENTFD)) +
            t + msg(ERR, u64(i), fd(EVENTFD)) + t + msg(KICK, u64(i), fd(EVENTFD)) +
            (t + msg(ENABLE, state(i, 1)) if enable else b""))


def memory():
    return msg(SET_MEM_TABLE, bytes([2, 0]) + region(0) + region(1), fd(MEMFD, 128) * 2)


def negotiation(bits=1 << 32 | 1 << 30 | 3 << 28):
    t = bytes([0])
    return (t + msg(GET_FEATURES, flags=0) + t + msg(SET_OWNER, flags=0) + t + msg(GET_PF, flags=0) +
            t + msg(SET_PF, u64(0x1a229), flags=0) + t + msg(GET_QUEUE_NUM) + t + msg(GET_SLOTS) +
            t + msg(BACKEND_REQ_FD, b"", fd(SOCKET)) + t + msg(SET_FEATURES, u64(bits)))


def session(options, level, features, *steps):
    return bytes([options, level | features << 3]) + b"".join(steps)


TYPED, RAW, BYTES, PIECES, S_KICK, POKE, OFFER, TIME, BYE, HELLO, ROOM, READ, CHANGED, DEVICE, END, BURST = (
    bytes([i]) for i in range(16))
IO = b"".join(OFFER + bytes([0x80, kind, kind, 4]) for kind in range(6))


def slave():
    yield "negotiation", session(0, 0, 0, negotiation())
    yield "two-rings", session(8, 0, 0, negotiation(), TYPED, memory(), ring(0), ring(1), IO, READ)
    yield "memory-last", session(0, 2, 15, ring(0), TYPED, memory(), IO)
    yield "legacy-no-bit30", session(0, 4, 0, IO, TYPED, msg(GET_VRING_BASE, state(0, 0), flags=0))
    yield "io-event-idx-indirect", session(2, 6, 15, IO, OFFER, bytes([0x81, 1, 2, 2]), READ)
    yield "drain", session(1, 6, 15, OFFER, bytes([0x80, 0, 0, 2]), OFFER, bytes([0x80, 1, 1, 2]), TYPED,
                           msg(GET_VRING_BASE, state(0, 0)), TYPED, msg(GET_FEATURES), DEVICE, b"\x08", DEVICE, b"\x0a",
                           READ)
    yield "drain-too-long", session(1, 6, 15, OFFER, bytes([0x80, 0, 0, 2]), TYPED, msg(GET_VRING_BASE, state(0, 0)),
                                    TIME, b"\xff", TIME, b"\xff", HELLO, bytes([6 | 15 << 3]))
    yield "memory-while-in-flight", session(1, 6, 15, OFFER, bytes([0x80, 0, 0, 2]), TYPED, memory(), TYPED,
                                            msg(GET_STATUS), DEVICE, b"\x08", READ)
    yield "slots", session(0, 2, 15, TYPED, msg(ADD_REG, region(0), fd(MEMFD, 64)), TYPED,
                           msg(ADD_REG, region(1), fd(MEMFD, 128)), ring(0), IO, TYPED, msg(REM_REG, region(1)), TYPED,
                           msg(REM_REG, region(0)), TYPED, msg(REM_REG, region(0)))
    yield "answers-later", session(0x71, 5, 15, TYPED, msg(SET_CONFIG, bytes([0, 8, 0]) + bytes(8)), TYPED,
                                   msg(GET_STATUS), DEVICE, b"\x01", TYPED, msg(RESET_DEVICE), DEVICE, b"\x01", TYPED,
                                   msg(SET_FEATURES, u64(1 << 32)), DEVICE, b"\x03", READ)
    yield "reset", session(1, 6, 15, OFFER, bytes([0x80, 0, 0, 2]), TYPED, msg(RESET_DEVICE), DEVICE, b"\x08", ring(0),
                           TYPED, msg(RESET_OWNER), TYPED, msg(SET_STATUS, u64(0)), TYPED, msg(SET_STATUS, u64(15)))
    yield "config", session(0, 2, 15, TYPED, msg(GET_CONFIG, bytes([0, 60, 0]) + bytes(60)), TYPED,
                            msg(GET_CONFIG, bytes([200, 57, 0]) + bytes(57)), TYPED,
                            msg(SET_CONFIG, bytes([32, 1, 0, 1])), TYPED, msg(SET_CONFIG, bytes([8, 8, 1]) + bytes(8)))
    yield "config-changed", session(0, 2, 15, CHANGED, ring(0), TYPED, memory(), CHANGED * 20, READ, CHANGED)
    yield "second-client", session(0, 5, 15, HELLO, b"\0", OFFER, bytes([0x80, 0, 0, 2]), BYE, HELLO,
                                   bytes([6 | 15 << 3]), IO, END, HELLO, bytes([5 | 4 << 3]))
    yield "slow-reader", session(0, 2, 15, ROOM, b"\x04", BURST, b"\x27",
                                 msg(GET_CONFIG, bytes([0, 200, 0]) + bytes(200)) * 39, READ, READ)
    yield "half-a-message", session(0, 2, 4, BYTES, b"\x09" + struct.pack("<IIB", 1, 1, 0), TIME, b"\x30", HELLO,
                                    b"\x02", BYTES, b"\x0e" + struct.pack("<IIIH", 2, 1, 8, 0))
    yield "pieces", session(0, 2, 15, PIECES, b"\x05" + memory(), PIECES, b"\x90" + msg(KICK, u64(0), fd(EVENTFD)))
    yield "broken-ring", session(1, 6, 15, POKE, u16(0x101) + b"\x02\xff\x7f", S_KICK, b"\0", TYPED, msg(GET_STATUS),
                                 TYPED, msg(GET_VRING_BASE, state(0, 0)), ring(0))
    yield "stale-requests", session(1, 6, 15, (OFFER + bytes([0x80, 0, 0, 2]) + OFFER + bytes([0x81, 1, 0, 2]) + HELLO +
                                               bytes([0x80 | 6 | 4 << 3])) * 5, (DEVICE + b"\x08") * 12)
    yield "device-fails", session(0x81, 6, 15, (OFFER + bytes([0x80, 0, 0, 2])) * 5, TYPED, msg(GET_VRING_BASE, state(0, 0)))
    yield "ring-elsewhere", session(0, 2, 15, ring(0), TYPED, msg(SET_MEM_TABLE, bytes([1, 0]) + bytes([2, 1, 4, 0]),
                                                                  fd(MEMFD, 128)), TYPED, msg(KICK, u64(0), fd(EVENTFD)))
    yield "replaced-at-once", session(0, 5, 15, OFFER, bytes([0, 0, 0, 2]), HELLO, bytes([0x80 | 5 | 12 << 3]), IO)
    yield "wrong-fds", session(0, 2, 15, *(TYPED + msg(KICK, u64(0), fd(kind, 4)) for kind in range(1, 15)))
    yield "wrong-memory", session(4, 2, 15, *(TYPED + msg(ADD_REG, region(0), fd(kind, 64)) for kind in range(1, 15)))
    yield "channels", session(0, 2, 15, *(TYPED + msg(BACKEND_REQ_FD, b"", fd(kind)) for kind in (13, 14, 15, 6, 129)))
    for first in range(0, 46, 16):
        yield f"every-id-{first}", session(8, 2, 15, *(RAW + bytes([i, 1, 8]) + bytes(10)
                                                       for i in range(first, first + 16)))


def calls(options, *steps):
    return bytes([options]) + b"".join(bytes(s) for s in steps)


def master():
    honest = 0xC2
    yield "negotiation", calls(0x03, [0, 1], [0] * 16)
    yield "negotiation-no-bit30", calls(0x0A, [0, 1], [0] * 16)
    yield "gets", calls(honest, [1], [2, 15], [1])
    yield "config", calls(honest, [3, 0, 59], [3, 200, 50])
    yield "memory", calls(honest, [4, 4], [4, 1 | 4], [4, 2 | 4], [4, 8], [4, 0])
    yield "rings", calls(honest, [4, 4], [5, 0], [5, 1])
    done = list(u16(0x142) + bytes([34]) + u16(4) + struct.pack("<8I", 0, 1, 1, 1, 2, 1, 3, 1))
    yield "session", calls(honest, [14, 64 | 1, 32, 33, 2, 3], done, [0, 0, 0])
    yield "session-all-types", calls(honest, [14, 0, 0, 1, 2, 3], [14, 0, 4, 0x35, 6, 7], [14, 0, 0x20, 0x21, 0x24, 0x25])
    yield "session-restart", calls(honest | 16, [14, 0xC1, 32, 33, 2, 3], done, [10], [0, 1], [14, 0])
    yield "session-limits", calls(honest | 32, [14, 1, 32, 33, 0x44, 0x55], done)
    yield "session-dies", calls(0x42, [14] + [0] * 20 + [224])
    yield "tickets", calls(0x42, [6, 7] + [1, 0, 0, 15, 0, 0, 24, 3, 12] + [0] * 12 + [40, 0, 0, 99, 2, 4, 0, 0, 0, 0])
    yield "backend-requests", calls(0x42, [9, 0x00, 1, 1, 1], [9, 0x10, 0, 1, 1] + [0] * 32, [9, 0x40, 0, 1, 1])
    yield "bent-replies", calls(0x02, [0, 1, 128, 0, 255, 128, 200], [10], [0, 1, 0, 128, 210, 0])
    yield "raw-replies", calls(0x02, [0, 1, 160, 1, 2, 8], [0] * 10, [10], [1, 160, 17, 2, 8] + [0] * 10)
    yield "silence", calls(0x42, [1, 192], [7], [10], [0, 0], [11, 255], [12])
    yield "pieces", calls(0x02, [0, 1], [248, 5, 1] * 8, [3, 0, 59, 248, 13, 255])
    yield "slow-reader", calls(0x42, [13, 3], [6, 7], [24, 3, 12] * 7, [7])


def backend_channel():
    for row in range(10):
        size = (32, 0, 24, 2, 2, 16, 16, 16, 40, 40)[row]
        yield f"request-{row}", bytes([0x03, 0, 0x00, row, 1, 0]) + bytes([1]) * size + bytes([6, 4]) * 2 + b"\x0f"
    yield "requests-in-a-row", bytes([2]) + b"\xe0" + (b"\x00\x01\x01\x01") * 8 + b"\x0e\x07"
    yield "app-disconnects", bytes([2]) + b"\xe0" + b"\x40\x00\x01\x01" + bytes(32) + b"\x07\xe0\x20\x00\x01\x01"
    yield "answers", bytes([0x90]) + b"\x00\x00\x02\x02\x06\x82\x00" * 4
    yield "answer-nobody-waits-for", bytes([0x90, 2, 7, 0, 0, 2])
    yield "flood", bytes([0x90]) + b"\x05" + b"\x00" * 40 + b"\x06\x02"
    yield "raw-answers", bytes([0x98]) + b"\x00\x03\x02\x02\x08" + bytes(10) + b"\x07\x00\x00\x03\x02\x02\x07" + bytes(9)
    yield "kinds-of-channel", bytes([0x90]) + b"".join(bytes([7, kind]) for kind in range(16))


def chain(head, shape, writable, *lens):
    return bytes([13, head, shape, writable]) + bytes(lens)


def split_device():
    yield from in_order((*split_device_seeds(), *early()), 1, 2)


def split_device_seeds():
    pop, push = bytes([0, 16]), bytes([1, 3, 64, 0, 0, 0, 0, 0])
    for features in range(4):
        yield f"chains-{features}", (bytes([features | 4 << 2, 0]) + chain(0, 3, 1, 16, 64, 1) + chain(4, 1, 1, 9) +
                                     chain(8, 2, 0, 5, 7) + pop + bytes([4, 1]) + push + bytes([4, 1]))
        yield f"logged-{features}", (bytes([features | 4 << 2, 0, 7, 17]) + (chain(0, 3, 1, 16, 64, 1) + pop + push + bytes([4, 1])) * 3 +
                                     bytes([7, 16]) + chain(0, 3, 1, 16, 64, 1) + pop + push)
        yield f"coalesced-{features}", (bytes([features | 4 << 2 | 32, 0, 7, 8 | 96]) + (chain(0, 3, 1, 16, 64, 1) + pop + push + bytes([4, 1])) * 6 +
                                        bytes([7, 8]))
        # An indirect table at an odd place, and one that begins at the end of a region.
        for at in (0x1802, 0x3ff0):
            yield f"table-{features}-{at:x}", (bytes([1 | features << 6 | 4 << 2, 0]) + bytes([9, 0]) + u16(at >> 1) + u16(32) +
                                               bytes([4 | 8, 0, 10, 0]) + pop + push)
    for layout in range(4):
        yield f"regions-{layout}", (bytes([layout << 6 | 7 << 2 | 1, 0]) + chain(0, 31 | 64, 12, *[200] * 31) +
                                    chain(32, 31 | 32, 3, *[77] * 31) + pop + push)
    yield "long-chains", bytes([1 | 7 << 2, 0]) + b"".join(chain(32 * i, 31, 20, *[9] * 31) for i in range(4)) + pop + push
    yield "indirect", bytes([1 | 4 << 2 | 32, 0]) + b"".join(chain(i, 4 | 32, 2, 1, 2, 3, 4) for i in range(8)) + pop + push
    yield "pool-used-up", (bytes([1 | 7 << 2, 0]) + b"".join(bytes([13, i, 31 | 32, 0x80 | 9, 3]) for i in range(20)) +
                           bytes([0, 128]) + push + bytes([0, 128]) + push * 8 + pop)
    yield "stale", bytes([4 << 2, 0]) + (chain(0, 3, 1, 1, 2, 3) + chain(3, 20, 1, *[9] * 20) + pop + bytes([8, 1])) * 6 + bytes(
        [8, 4 | 8, 8, 4 | 0xf0])
    yield "unpop", bytes([4 << 2, 0]) + chain(0, 3, 1, 1, 2, 3) + chain(3, 1, 0, 1) + pop + bytes([3, 1]) + pop + push
    yield "restart", bytes([4 << 2, 0]) + chain(0, 3, 1, 1, 2, 3) + pop + bytes([8, 0]) + push + bytes([8, 0, 8, 1, 8, 2, 9, 9])
    yield "memory-changes", (bytes([2 << 6 | 4 << 2, 0]) + chain(0, 2 | 128, 1, 255, 4) + pop + bytes([6, 0]) + push +
                             bytes([6, 0, 6, 1]) + pop)
    yield "control", bytes([4 << 2 | 2, 0]) + chain(0, 1, 0, 4) + b"".join(bytes([7, i]) + pop for i in range(4)) + bytes([5, 1, 4, 0])
    yield "head-outside", bytes([4 << 2, 0, 10, 77]) + pop + bytes([8, 0]) + pop
    yield "head-twice", bytes([4 << 2, 0]) + chain(0, 1, 0, 4) + pop + bytes([10, 0]) + pop
    yield "jump", bytes([4 << 2, 0, 11, 0, 200]) + pop
    yield "loop", bytes([4 << 2, 0, 9, 0]) + u16(0x2000) + u16(4) + bytes([1, 0, 10, 0]) + pop
    yield "outside", bytes([4 << 2, 0, 9, 0]) + u16(0xff01) + bytes([3]) + u16(4) + bytes([0, 0, 10, 0]) + pop
    yield "nested", bytes([1 | 4 << 2, 0, 9, 0x80]) + u16(0x2000) + u16(16) + bytes([4, 0]) + chain(0, 1 | 32, 0, 4) + pop
    yield "few-segments", bytes([1 | 4 << 2, 4 << 2]) + chain(0, 8, 1, *[3] * 8) + pop + chain(9, 8 | 32, 1, *[3] * 8) + pop
    yield "wrong-token", bytes([4 << 2, 0]) + chain(0, 1, 0, 4) + pop + b"\x02" + struct.pack("<Q", 2 << 32)


def in_order(seeds, at, bit):
    """Each seed with in-order completion too: a bit of its byte @at."""
    for name, data in seeds:
        yield name, data
        yield f"{name}-in-order", data[:at] + bytes([data[at] | bit]) + data[at + 1:]


def early():
    """Many chains, pushed from the newest on."""
    def push(which):
        return bytes([1, 0, 64, 0, which])
    for size in range(8):
        yield f"early-{size}", (bytes([size << 2, 2]) + (b"".join(chain(2 * i, 1 + i % 2, 1, 9, 8) for i in range(6)) + bytes([0, 6]) +
                                b"".join(push(5 - i) for i in range(6)) + bytes([4, 1])) * 4 + bytes([0, 3, 3, 1, 8, 1, 8, 4 | 0xf0, 8, 0]))


def inflight():
    """A device that crashes: with nothing, something, all in flight, pushed or not; and then with records that were changed."""
    pop, push, crash = bytes([2, 128]), bytes([3, 3, 0, 1, 2, 0]), bytes([4])

    def some(n):
        return b"".join(bytes([0, 3 * i, 1 + i % 3, 1]) + bytes(1 + i % 3) for i in range(n)) if n else b""

    def write(what, *value):
        return bytes([6, what, *value])
    for packed in range(2):
        for size in range(8):
            head = bytes([packed | size << 2, size & 3])
            yield f"crash-{packed}-{size}", head + (some(4) + pop + crash + pop + push + crash) * 4 + pop + push * 4
        head = bytes([packed | 4 << 2, 0])
        yield f"tables-{packed}", bytes([head[0] | 2, 0]) + (bytes([0, 0, 4 | 32, 2, 1, 2, 3, 4]) + pop + crash) * 3 + pop + push
        yield f"in-order-{packed}", bytes([head[0] | 32, 0]) + (some(6) + pop + bytes([3, 0, 4]) + crash) * 3 + pop + push * 3
        yield f"unpop-{packed}", head + some(4) + pop + bytes([10, 2]) + crash + pop + bytes([10, 1]) + crash + pop + push
        yield f"published-{packed}", head + some(4) + pop + push + bytes([9, 4 | packed << 7]) + crash + pop + push
        for at in range(8, 24, 2):
            for value in (1, 3, 200):
                yield f"head-{packed}-{at}-{value}", head + some(4) + pop + push + write(at, value, 0) + crash + pop + push
        for at in (0, 2, 4, 6, 8, 16, 18, 20, 24):
            for value in (0, 2, 99):
                yield f"entry-{packed}-{at}-{value}", (head + some(4) + pop + write(at | 128, value, 0, 0) + write(at | 128, value, 0, 2) +
                                                       crash + pop + push)


def packed_device():
    """The same steps; sizes are others, and a descriptor has its marks in bits 3 and 4 of its flags."""
    yield from in_order((*split_device_seeds(), *early()), 1, 2)
    for size in range(8):
        steps = b"".join(chain(i, 1 + i % 3, 1, 9, 8, 7) + bytes([0, 2]) + bytes([1, 1, 64, 0, i % 3, 0]) for i in range(12))
        yield f"turns-{size}", bytes([size << 2 | 2, 0]) + steps + bytes([8, 0]) + steps
    for size in range(3, 8):
        for readable in range(2):
            plain = b"".join(chain(i, 1, readable, 9) for i in range(5))
            push = bytes([1, 4, 64, 0, 0, 0, 0, 0, 0])
            yield f"plain-{size}-{readable}", (bytes([size << 2, 0]) + (plain + bytes([0, 128]) + push + plain + chain(6, 2, 1, 9, 8) +
                                                                        bytes([0, 128]) + push + push + bytes([0, 1])) * 4)
    yield "half-available", bytes([5 << 2, 0, 9, 0]) + u16(0x2000) + u16(4) + bytes([8 | 1, 3, 0, 9])
    yield "next-for-ever", bytes([5 << 2, 0]) + b"".join(bytes([9, i]) + u16(0x2000) + u16(4) + bytes([8 | 1, 3]) for i in range(16)) + bytes([0, 9])
    yield "elsewhere", bytes([5 << 2, 0, 8, 2]) + u16(0x8004) + chain(0, 1, 0, 4) + bytes([0, 9])


def split_driver():
    yield from in_order(split_driver_seeds(), 1, 128)


def packed_driver():
    yield from split_driver()
    for size in range(8):
        steps = bytes([0, 1, 1, 1, 40, 9]) + bytes([2, 1, 5, 1, 3])
        yield f"turns-{size}", bytes([size << 2, 0]) + steps * 12 + bytes([9, 1]) + steps * 12


def split_driver_seeds():
    def submit(n, *segs):
        return bytes([0, n]) + bytes(segs)
    one = submit(1, 2, 1, 40, 41, 0, 0)
    for features in range(4):
        yield f"round-{features}", bytes([features | 4 << 2, 4]) + one * 3 + bytes([2, 3, 1, 1, 16, 6, 1]) + one
    for layout in range(4):
        yield f"regions-{layout}", bytes([layout << 6 | 4 << 2 | 1, 8]) + submit(2, 3, 2, 40, 44, 60, 0, 0, 0, 1, 0, 99, 0)
    yield "full", bytes([2 << 2, 0]) + one * 4 + bytes([2, 2, 0, 1, 8]) + one * 2
    yield "used-twice", bytes([4 << 2, 0]) + one * 2 + bytes([3, 0, 1, 0, 3, 0, 1, 0, 1, 9])
    yield "used-outside", bytes([4 << 2, 0]) + one + bytes([3, 99, 1, 0, 1, 9, 9, 0])
    yield "used-long", bytes([4 << 2, 0]) + one + bytes([2, 1, 255, 1, 9])
    yield "jump", bytes([4 << 2, 0]) + one + bytes([4, 9, 9, 1, 9])
    yield "restart", bytes([4 << 2, 64]) + one * 2 + bytes([2, 1, 0, 9, 1]) + one + bytes([1, 9, 9, 2, 5, 5]) + one
    for more in (16, 16 | 64, 16 | 128):
        for size in range(8):
            yield f"again-{more}-{size}", bytes([size << 2, more]) + (one * 3 + bytes([2, 1, 5, 9, 4, 1, 1]) + one + bytes([9, 4, 2, 2, 5, 9, 1, 1, 9])) * 4
    yield "again-lies", bytes([4 << 2, 16]) + one * 3 + bytes([3, 77, 1, 0, 9, 4, 1, 9])
    yield "notification", bytes([2 | 4 << 2, 0]) + b"".join(bytes([7, i]) for i in range(16)) + one + bytes([6, 1, 6, 0, 6, 1])
    yield "memory-changes", bytes([2 << 6 | 4 << 2, 0]) + submit(1, 1, 0, 44, 3) + bytes([8, 0, 2, 1, 0, 1, 9, 8, 0])
    yield "bad-requests", bytes([4 << 2, 0]) + submit(4, 0, 0, 39, 9) + submit(1, 0, 255) + submit(1, 129, 0, 255, 0, 0)


def blk():
    def good(where, kind, n):
        return bytes([2, where, kind, n])
    for layout in range(4):
        yield f"io-{layout}", bytes([layout << 6]) + b"".join(good(3 * i, i, 1 + i) for i in range(8)) + bytes([0, 99])
    yield "read-only", bytes([4]) + good(0, 1, 1) + bytes([0, 1])
    yield "null", bytes([8]) + good(0, 1, 1) + good(3, 0, 9) + bytes([0, 9])
    yield "beyond", bytes([0]) + good(0, 62, 9) + bytes([0, 9])
    yield "odd-length", bytes([0]) + good(0, 0, 130) + bytes([0, 9])
    yield "status", bytes([0]) + bytes([7, 0]) + good(0, 0, 1)[1:] + bytes([0, 7, 0]) + good(0, 1, 1)[1:] + bytes([0])
    for kind in range(8):
        yield f"type-{kind}", (bytes([1, 1, 16, kind, 0, 0, 4, 0]) + bytes([0, 3, 2, 16, 16, 1, 0, 9]) +
                               bytes([1, 0, kind, 1, 3, 4 | 32, 2, 16, 24, 24, 1, 0, 9]))
    yield "no-status", bytes([0, 1, 0, 0, 0, 0, 1, 9, 16, 0, 9])
    yield "short-header", bytes([0, 1, 0, 0, 0, 0, 2, 1, 9, 64, 0, 9])
    yield "header-in-pieces", bytes([0, 1, 0, 1, 0, 0, 6, 5, 3, 5, 8, 200, 55, 1, 0, 9])
    yield "unmap", bytes([0, 1, 16, 5, 0, 1, 8, 1, 0, 3, 2, 16, 16, 1, 0, 9])
    yield "config", bytes([0, 5, 0, 0, 59, 5, 250, 0, 9, 6, 1, 6, 2])


def table():
    with open(os.path.join(TOP, "tests", "data", "messages.tsv"), encoding="utf-8") as f:
        return [line.rstrip("\n").split("\t") for line in f if not line.startswith(("#", "side"))]


def wire():
    for row in table():
        side, number, size, fds = int(row[0] == "be"), int(row[1]), int(row[4]), int(row[6])
        data = b"".join(bytes([6 | side | fds << 5 | 0x80, number, 9, 128]) + bytes([fill]) * size +
                        bytes([22 | side | 8, number, 5, 130]) + bytes([fill]) * 64 for fill in (0, 1))
        yield f"{row[0]}-{row[2]}", data


def gpu():
    sizes = (0, 0, 8, 0, 12, 12, 20, 12, 20, 40, 20, 4, 48)
    for number in range(1, 13):
        fields = bytes(sizes[number])
        yield f"request-{number}", bytes([3, 0, 1, 0, 2, 0]) + bytes([3]) + bytes(7) + bytes([0, number]) + fields + b"\x07\x07"
    yield "update", bytes([0, 0, 8 | 64, 16]) + bytes(12) + b"\x02\0\0\0\x02\0\0\0" + bytes(16) + b"\x07"
    yield "dma-buf", bytes([3, 0, 9 | 16]) + bytes(40) + b"\x07\x00\x0a" + bytes(20) + b"\x07\x06"
    yield "pieces", bytes([3, 0x1b]) + bytes([4, 0, 0]) + b"\x4b" + bytes(9) + b"\x07\x63" + bytes(12)
    yield "slow", bytes([0x43, 0x1b, 4, 0, 0, 0xfd, 0xfd, 0xfd])
    yield "device", bytes([0x80, 0x08, 0, 2, 0]) + b"\x03" + bytes(7) + bytes([0x81, 0, 2, 1]) + bytes(64) + bytes([0x0d, 7, 0x0d, 8])
    yield "device-edid", bytes([0x80, 0x08, 0, 2, 0]) + b"\x03" + bytes(7) + bytes([0x0a, 0, 2, 3]) + bytes(24) + b"\x04" + bytes(39)
    yield "device-shown", bytes([0x80, 0x0d, 10, 2, 2]) + bytes([0x04, 0, 0, 0, 2])


def write_dictionary():
    words = set()
    rows = table()
    lines = ["# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0", "# Made by corpus.py from tests/data/messages.tsv."]
    for row in rows:
        number, size = int(row[1]), int(row[4])
        # A header as it is on the wire, and the beginning of a message as msg_raw() reads it.
        for kind, head in (("wire", struct.pack("<III", number, 9, size)), ("raw", bytes([number, ACK, size & 255]))):
            if head not in words:
                words.add(head)
                escaped = "".join(f"\\x{b:02x}" for b in head)
                lines.append(f'{row[0]}_{row[2]}_{kind}="{escaped}"')
    with open(os.path.join(HERE, "vhost-user.dict"), "w", encoding="utf-8") as f:
        f.write("\n".join(lines) + "\n")


def iotlb():
    """How many entries, then operations of 5 bytes: which, first address, length less one, meaning, permission."""
    yield "neighbours", bytes([15] + [1, 0, 9, 0, 2, 1, 10, 9, 10, 2, 0, 4, 7, 0, 0, 1, 4, 7, 4, 2])
    yield "evicts", bytes([16 + 3] + [b for i in range(8) for b in (1, 255 - 9 * i, 3, 7 * i, i)])
    yield "full", bytes([1] + [b for i in range(4) for b in (1, 20 * i, 9, 5, 2)] + [0, 2, 1, 0, 0])


def seeds():
    for name in NAMES:
        folder = os.path.join(HERE, "corpus", name)
        os.makedirs(folder, exist_ok=True)
        for old in glob.glob(os.path.join(folder, "seed-*")):
            os.unlink(old)
        for title, data in globals()[name]():
            with open(os.path.join(folder, f"seed-{title}"), "wb") as f:
                f.write(data)
    write_dictionary()


def minimise(build, seconds):
    for name in NAMES:
        folder = os.path.join(HERE, "corpus", name)
        target = os.path.join(build, "tests", "fuzz", f"fuzz_{name}")
        extra = [e for e in os.environ.get("VH_FUZZ_MORE", "").split() if e]
        with tempfile.TemporaryDirectory() as grown, tempfile.TemporaryDirectory() as least:
            if int(seconds):
                subprocess.run([target, f"-max_total_time={seconds}", "-max_len=1024", "-verbosity=0",
                                f"-dict={HERE}/vhost-user.dict", grown, folder], check=True)
            found = [grown, folder] + [os.path.join(e, name) for e in extra]
            subprocess.run([target, "-set_cover_merge=1", "-use_counters=0", "-verbosity=0", least, *found], check=True,
                           stderr=subprocess.DEVNULL)
            keep = {}
            for path in glob.glob(os.path.join(least, "*")):
                with open(path, "rb") as f:
                    data = f.read()
                keep[f"min-{hashlib.sha256(data).hexdigest()[:10]}"] = data
        known = set()
        for path in glob.glob(os.path.join(folder, "*")):
            if os.path.basename(path).startswith("min-"):
                os.unlink(path)
                continue
            with open(path, "rb") as f:
                known.add(f.read())
        for title, data in keep.items():
            if data not in known:
                with open(os.path.join(folder, title), "wb") as f:
                    f.write(data)
        print(f"{name}: {len(os.listdir(folder))} files")


def coverage(build):
    targets = [os.path.join(build, "tests", "fuzz", f"fuzz_{name}") for name in NAMES]
    with tempfile.TemporaryDirectory() as scratch:
        raw = []
        for name, target in zip(NAMES, targets):
            raw.append(os.path.join(scratch, f"{name}.profraw"))
            subprocess.run([target, "-runs=0", os.path.join(HERE, "corpus", name)], check=True,
                           stderr=subprocess.DEVNULL, env={**os.environ, "LLVM_PROFILE_FILE": raw[-1]})
        merged = os.path.join(scratch, "all.profdata")
        subprocess.run(["llvm-profdata-14", "merge", "-o", merged, *raw], check=True)
        out = subprocess.run(["llvm-cov-14", "export", "-summary-only", f"-instr-profile={merged}", targets[0],
                              *(f"-object={t}" for t in targets[1:])], check=True, stdout=subprocess.PIPE).stdout
    folders = {}
    for f in json.loads(out)["data"][0]["files"]:
        where = re.search(r"/src/(([a-z]+)/[^/]+\.[ch])$", f["filename"])
        for part in where.groups() if where else ():
            if "/" in part and not part.startswith("queue/"):
                continue
            total = folders.setdefault(part, [0, 0, 0, 0])
            for i, key in enumerate(("lines", "branches")):
                total[2 * i] += f["summary"][key]["covered"]
                total[2 * i + 1] += f["summary"][key]["count"]
    for folder, (lines, all_lines, branches, all_branches) in sorted(folders.items()):
        print(f"{folder:26} lines {100 * lines / all_lines:5.1f} %  branches {100 * branches / max(all_branches, 1):5.1f} %")


def main():
    commands = {"seeds": (seeds, 0), "minimise": (minimise, 2), "coverage": (coverage, 1)}
    if len(sys.argv) < 2 or sys.argv[1] not in commands or len(sys.argv) - 2 != commands[sys.argv[1]][1]:
        sys.exit(__doc__)
    commands[sys.argv[1]][0](*sys.argv[2:])


if __name__ == "__main__":
    main()
