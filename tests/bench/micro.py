# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Popping and pushing one chain on the device side, one thread, memory hot, interrupts off by flag: libvh, the floor
(floor.h: by hand, without a library) and the Rust crate virtio-queue, on the same rings with the same buffers."""
import os

import goals
import pairs
import peers
import programs
from kernel import Missing

LIBVH, FLOOR, RUST = "libvh", "floor", "rust virtio-queue"
REGIONS = (1, 8, 64, 509)
BATCHES = (1, 4, 32, 256)
# Time as a multiple of virtio-queue's: (shape, regions, batch) to goal, None is only told.
TIMES = {("s0", 1, 32): None, ("s1", 1, 32): None, ("s2", 1, 32): None, ("s3", 1, 32): None, ("s1", 509, 32): 0.25,
         ("s1", 1, 1): 0.4, ("s3", 1, 256): None, ("ps1", 1, 32): None, ("ps1", 509, 32): None}
SMALL = {"s1", "ps1"}
# In a sample of time, whose program tells the median of 21 parts: each is over before a busy machine takes the core away.
# With long parts the slower side would be interrupted in most of them, and the faster one in few.
CHAINS = 21 * 640


def find(bench, group):
    """{library: program}; what can't be built is told."""
    exes = {LIBVH: programs.target("queue_cost"), FLOOR: programs.target("floor")}
    try:
        exes[RUST] = peers.built("micro") if bench.small else peers.program("micro")
    except Missing as e:
        group.missing(RUST, e)
    return exes


def can(library, shape):
    return library != RUST or not shape.startswith("p")  # which has no packed rings


class Counts:
    """Instructions for a chain; each figure is counted once."""

    def __init__(self, bench, exes):
        self.bench, self.exes, self.known = bench, exes, {}

    def get(self, library, shape, regions=1, batch=32):
        key = (library, shape, regions, batch)
        if key not in self.known:
            self.bench.tell(f"{library}: {shape}, {regions} regions, batch {batch}")
            self.known[key] = programs.instructions([self.exes[library], shape, str(regions), str(batch)])
        return self.known[key]

    def row(self, shape, **where):
        return {lib: self.get(lib, shape, **where) for lib in self.exes if can(lib, shape)}


def count(bench, group, exes):
    counts = Counts(bench, exes)
    rows = []
    for shape, goal in goals.PROMISED.items():
        if bench.small and shape not in SMALL:
            continue
        row = {"shape": shape, **counts.row(shape)}
        row["goal"] = f"<= {goal}"
        row["verdict"] = group.exact(f"instructions for a chain, {shape}", row[LIBVH], pairs.at_most(goal))
        rows.append(row)
    group.table("instructions for a chain, by shape (p: packed ring), one region, batches of 32", rows)
    regions = [REGIONS[0], REGIONS[-1]] if bench.small else REGIONS
    group.table("instructions for a chain, by number of regions, batches of 32",
                [{"shape": shape, "regions": n, **counts.row(shape, regions=n)} for shape in ("s1", "ps1") for n in regions])
    for shape in ("s1", "ps1"):
        group.exact(f"instructions with 509 regions / with 1, {shape}",
                    counts.get(LIBVH, shape, regions=509) / counts.get(LIBVH, shape), pairs.at_most(goals.BY_REGIONS))
    if not bench.small:
        group.table("instructions for a chain, by batch, one region",
                    [{"shape": shape, "batch": n, **counts.row(shape, batch=n)} for shape in ("s3", "ps3") for n in BATCHES])


def count_driver(bench, group, exes):
    """Submit and reap: the driver's side, whose device is by hand."""
    rows = []
    for shape in [s for s in goals.PROMISED if not s.endswith("s3") and (s in SMALL or not bench.small)]:
        bench.tell(f"driver: {shape}")
        row = {"shape": shape, **{lib: programs.instructions([exes[lib], shape, "1", "32"], mode="driver")
                                  for lib in (LIBVH, FLOOR)}}
        row["ratio"] = row[LIBVH] / row[FLOOR]
        row["goal"] = f"<= {goals.BY_DRIVER}"
        row["verdict"] = group.exact(f"instructions to submit and reap / the floor's, {shape}", row["ratio"],
                                     pairs.at_most(goals.BY_DRIVER))
        rows.append(row)
    group.table("driver: instructions to submit and reap a chain, one region, batches of 32", rows)


def count_copies(bench, group, exes):
    """What a network device does with small packets: 64 bytes copied out of the ring (s0) or into it (s4)."""
    if not bench.small:
        group.table("instructions for a chain whose 64 bytes are copied, one region, batches of 32", [
            {"shape": shape, LIBVH: programs.instructions([exes[LIBVH], shape, "1", "32"], mode="copy")}
            for shape in ("s0", "s4", "ps0", "ps4")])


def sample(exe, shape, regions, batch):
    return programs.call_json([exe, shape, str(regions), str(batch), str(max(21, CHAINS // batch))])["ns_median"]


def without_clock(samples, clock, batch):
    """Each batch is timed for itself; what reading the clock takes is in none of the libraries."""
    return [max(ns - c / batch, 0.1) for ns, c in zip(samples, clock)]


def time(bench, group, exes):
    for (shape, regions, batch), goal in TIMES.items():
        if bench.small and goal is None:
            continue
        where = f"{shape}, {regions} region{'s' * (regions > 1)}, batch {batch}"
        libs = [lib for lib in exes if can(lib, shape)]
        sides = {lib: lambda lib=lib: sample(exes[lib], shape, regions, batch) for lib in libs}
        sides["clock"] = lambda: programs.call_json([exes[FLOOR], "clock"])["clock_ns"]
        got = pairs.interleave(sides, bench.pairs, lambda line: bench.tell(f"{where}: {line}"))
        clock = got.pop("clock")
        got = {lib: without_clock(samples, clock, batch) for lib, samples in got.items()}
        for other in libs:
            if other != LIBVH:
                group.compare(f"{where}: libvh / {other}", "ns", got[LIBVH], got[other],
                              pairs.at_most(goal) if goal and other == RUST else None)


def run(bench, group):
    exes = find(bench, group)
    if not os.path.exists("/usr/bin/valgrind"):
        group.missing("instructions", "valgrind is not there")
    else:
        count(bench, group, exes)
        count_driver(bench, group, exes)
        count_copies(bench, group, exes)
    time(bench, group, exes)
    group.note("shapes: s0 64 bytes readable; s1 16 readable, 4096 and 1 writable; s2 4 readable, 4 writable; s3 s1 in an "
               "indirect table. The floor has no tokens, epochs, statistics, event idx, log or records; virtio-queue has no "
               "packed rings, and does not look at the flag that turns interrupts off.")


def charts(data):
    tables = {t["title"].partition(", ")[2].partition(",")[0].partition(" (")[0]: t["rows"] for t in data["tables"]}
    libraries = (LIBVH, FLOOR, RUST)

    def series(rows, x, want):
        return {lib: [(r[x], r[lib]) for r in rows if want(r) and lib in r] for lib in libraries if any(lib in r for r in rows)}

    shapes = tables.get("by shape", [])
    out = [{"name": "cost-by-library", "title": "Instructions to pop and push one chain (p: packed ring)", "y": "instructions",
            "bars": {lib: {r["shape"]: r[lib] for r in shapes if lib in r} for lib in libraries if any(lib in r for r in shapes)}}]
    for key, x, shape, name, title in (
            ("by number of regions", "regions", "s1", "cost-by-regions", "Instructions for a block read, by number of memory regions"),
            ("by batch", "batch", "s3", "cost-by-batch", "Instructions for an indirect block read, by batch")):
        rows = tables.get(key, [])
        if rows:
            out.append({"name": name, "title": title, "x": x, "y": "instructions",
                        "lines": {k: v for k, v in series(rows, x, lambda r, s=shape: r["shape"] == s).items() if v}})
    return out
