# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""What pop and push cost from Python, per request: one JSON line for each batch size.

The ring and the shape of its requests are those of queue_cost.c's s3 (16 readable, 4096 and 1 writable bytes in an
indirect table), and only
the device's calls are timed. With --c PATH queue_cost runs in turn with it, and each line has the ratio. "untouched"
looks at no request; "touched" reads the header and writes the status of each.

    . build/env.sh; python3 tests/bench/py_queue.py [--c build/tests/bench/queue_cost] [--rounds 20000]
"""
import argparse
import json
import statistics
import struct
import subprocess
import time

import vh
from vh._lib import MODE, lib

NUM = 256
RING, LENGTH = 0x100000, 0x400000
TABLE, AVAIL, USED, TABLES, BUFFERS = RING, RING + 0x4000, RING + 0x8000, RING + 0x10000, RING + 0x200000
clock = time.perf_counter_ns
BATCHES = (1, 16, 64, 256)


class Ring:
    """The driver: a few lines over the same memory, whose time does not count."""

    def __init__(self):
        self.memory = vh.Memory()
        self.memory.alloc(RING, LENGTH)
        self.ram = self.memory.view(RING, LENGTH)
        self.queue = vh.Queue(self.memory, role=vh.QUEUE_DEVICE, num=NUM, desc=TABLE, driver=AVAIL, device=USED,
                              features=1 << vh.F_VERSION_1 | 1 << vh.F_RING_INDIRECT_DESC)
        self.next = 0
        for i in range(NUM):
            table, data = TABLES + i * 64, BUFFERS + i * 4096
            self.put(TABLE + 16 * i, "<QIHH", table, 48, 4, 0)
            self.put(table, "<QIHH", data, 16, 1, 1)
            self.put(table + 16, "<QIHH", data + 16, 4079, 3, 2)
            self.put(table + 32, "<QIHH", data + 4095, 1, 2, 0)
        self.put(AVAIL, "<H", 1)  # no interrupts: the decision is measured, the system call is not

    def put(self, gpa, form, *values):
        struct.pack_into(form, self.ram, gpa - RING, *values)

    def offer(self, batch):
        for _ in range(batch):
            self.put(AVAIL + 4 + 2 * (self.next % NUM), "<H", self.next % NUM)
            self.next = self.next + 1 & 0xFFFF
        self.put(AVAIL + 2, "<H", self.next)


def untouched(queue, batch):
    start = clock()
    got = queue.pop(batch)
    queue.complete(got, 1)
    return clock() - start, len(got)


def touched(queue, batch):
    start = clock()
    got = queue.pop(batch)
    for request in got:
        request.read(16)
        request.write(b"\0", 4079)
    queue.push(got)
    return clock() - start, len(got)


def per_request(ring, work, batch, rounds):
    """Least and median of 21 samples, as queue_cost takes them."""
    samples = []
    for _ in range(21):
        total = 0
        for _ in range(max(1, rounds // 21 // batch)):
            ring.offer(batch)
            ns, n = work(ring.queue, batch)
            total += ns
            assert n == batch, (n, batch)
        samples.append(total / max(1, rounds // 21 // batch) / batch)
    return min(samples), statistics.median(samples)


def crossing(rounds):
    call = lib.vh_version
    samples = []
    for _ in range(21):
        start = clock()
        for _ in range(rounds // 21):
            call()
        called = clock()
        for _ in range(rounds // 21):
            pass
        samples.append((2 * called - start - clock()) / (rounds // 21))
    return statistics.median(samples)


def in_c(program, batch, rounds):
    words = [program, "s3", "1", str(batch), str(max(21, rounds // batch))]
    got = subprocess.run(words, stdout=subprocess.PIPE, check=True)
    return [json.loads(got.stdout)[key] for key in ("ns_min", "ns_median")]


def main():
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args.add_argument("--c", metavar="PATH", help="queue_cost, to compare with")
    args.add_argument("--rounds", type=int, default=60000, help="requests for each figure")
    args.add_argument("--passes", type=int, default=3)
    args = args.parse_args()
    print(json.dumps({"mode": MODE, "crossing_ns": round(crossing(args.rounds), 1)}))
    ring = Ring()
    for batch in BATCHES:
        rows = []
        for _ in range(args.passes):
            row = {"untouched": per_request(ring, untouched, batch, args.rounds),
                   "touched": per_request(ring, touched, batch, args.rounds // 8)}
            if args.c:
                row["c"] = in_c(args.c, batch, args.rounds * 4)
            rows.append(row)
        line = {"mode": MODE, "batch": batch}
        for key in rows[0]:
            line[f"{key}_ns"] = round(min(r[key][0] for r in rows), 1)
            line[f"{key}_median_ns"] = round(statistics.median(r[key][1] for r in rows), 1)
        if args.c:  # the least of each: what else the machine does meanwhile is in neither
            line["ratio"] = round(line["untouched_ns"] / line["c_ns"], 2)
        print(json.dumps(line), flush=True)
    ring.queue.close()
    ring.memory.close()


if __name__ == "__main__":
    main()
