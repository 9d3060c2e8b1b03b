# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Block requests of 4 KiB: our back-end beside qemu-storage-daemon under the same front-end, and our front-end beside
libblkio on the same back-end, sleeping and polling. All sides of a load are measured once in each pass, in turn.

Polling, the front-end spins and our back-end does too; qemu-storage-daemon does as it does, which is to poll for 32 us."""
import contextlib
import itertools
import os
import shutil
import statistics

import blkio
import pairs
import peers
import proc
import programs
from kernel import Missing

SIZE = 64 << 20
VHCTL = os.path.join(programs.BUILD, "vhctl")
LOADS = tuple((mode, rw, depth) for mode in ("event", "poll") for depth in (1, 32) for rw in ("randread", "randwrite"))
STORES = ("null", "ram", "file")
MODES = {"libvh": ("event", "poll"), "qsd": ("event",), "rust": ("event",)}
HAS = {"libvh": STORES, "qsd": ("null", "file"), "rust": ("null",)}


class Sides:
    """Back-ends that run, and front-ends that load them."""

    def __init__(self, bench, group):
        self.bench = bench
        self.image = os.path.join("/dev/shm", f"vh-bench-{os.getpid()}.img")
        self.running = {}
        self.fronts = {"libvh": self._libvh_io}
        try:
            self.blkio = blkio.build(os.path.join(programs.BUILD, "blkio_bench"))
            self.fronts["libblkio"] = self._libblkio_io
        except (Missing, proc.Failed) as e:
            group.missing("libblkio as front-end", e)
        self.backs = {"libvh": self._libvh_serve}
        if shutil.which("qemu-storage-daemon"):
            self.backs["qsd"] = self._qsd
        else:
            group.missing("qemu-storage-daemon as back-end", "package qemu-system-common")
        try:
            self.null_backend = peers.program("null_backend")
            self.backs["rust"] = self._rust
        except Missing as e:
            group.missing("vhost-user-backend of Rust as back-end", e)

    def __enter__(self):
        with contextlib.ExitStack() as undo:
            undo.callback(self._end)
            with open(self.image, "wb") as f:
                f.truncate(SIZE)
            for back, start in self.backs.items():
                for store, mode in itertools.product(self.stores(back), MODES[back]):
                    name = f"{back}-{store}-{mode}"
                    self.running[name] = proc.Process(name, start(store, mode, self._socket(name)), self.bench.folder)
                    self.running[name].wait_for_socket(self._socket(name))
            undo.pop_all()
        return self

    def __exit__(self, *exc):
        self._end()

    def _end(self):
        for p in self.running.values():
            p.end()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.image)

    def _socket(self, name):
        return os.path.join(self.bench.folder, name + ".sock")

    @staticmethod
    def stores(back):
        return HAS[back]

    def _libvh_serve(self, store, mode, sock):
        return [VHCTL, "serve", "blk", "--socket", sock, *(["--poll"] if mode == "poll" else []),
                *{"null": ("--null", str(SIZE)), "ram": ("--ram", str(SIZE)), "file": ("--file", self.image)}[store]]

    def _qsd(self, store, _, sock):
        node = {"null": f"null-co,node-name=n,size={SIZE},read-zeroes=off", "file": f"file,node-name=n,filename={self.image}"}
        return ["qemu-storage-daemon", "--blockdev", node[store], "--export",
                f"vhost-user-blk,id=e,node-name=n,addr.type=unix,addr.path={sock},writable=on"]

    def _rust(self, _store, _mode, sock):
        return [self.null_backend, sock]

    def _libvh_io(self, sock, mode, rw, depth):
        return [VHCTL, "io", "blk", f"unix:{sock}", "bench", "--rw", rw, "--iodepth", str(depth), "--time-ms",
                str(max(1, round(1000 * self.bench.seconds))), "--json", *(["--poll"] if mode == "poll" else [])]

    def _libblkio_io(self, sock, mode, rw, depth):
        return [self.blkio, sock, rw, str(depth), str(self.bench.seconds), *(["poll"] if mode == "poll" else [])]

    def measure(self, front, back, store, load):
        mode = load[0] if load[0] in MODES[back] else MODES[back][0]
        return programs.call_json(self.fronts[front](self._socket(f"{back}-{store}-{mode}"), *load))


def judge(group, label, ours, theirs):
    """IOPS and the 99th percentile of latency of two sides of a load."""
    group.compare(label, "IOPS", [s["iops"] for s in ours], [s["iops"] for s in theirs], pairs.parity(True))
    group.compare(label, "p99", [s["latency_us"]["p99"] for s in ours], [s["latency_us"]["p99"] for s in theirs],
                  pairs.parity(False))


def run(bench, group):
    rows = []
    with Sides(bench, group) as sides:
        for of, store in itertools.product(LOADS, STORES):
            load = "{1} qd{2} {3}, {0}".format(*of, store)
            got = pairs.interleave({(f, b): lambda f=f, b=b, of=of, store=store: sides.measure(f, b, store, of)
                                    for f in sides.fronts for b in sides.backs if store in sides.stores(b)}, bench.pairs,
                                   lambda line, load=load: bench.tell(f"{load}: {line}"))
            for (front, back), samples in got.items():
                rows.append({"front-end": front, "back-end": back, "4 KiB": load,
                             "IOPS": statistics.median(s["iops"] for s in samples),
                             "p50 us": statistics.median(s["latency_us"]["p50"] for s in samples),
                             "p99 us": statistics.median(s["latency_us"]["p99"] for s in samples), "_samples": samples})
            for front in sides.fronts:
                for back in ("qsd", "rust"):
                    if (front, back) in got:
                        judge(group, f"{load}: libvh / {back} as back-end of {front}", got[front, "libvh"], got[front, back])
            for back in sides.backs:
                if ("libblkio", back) in got and ("libvh", back) in got:
                    judge(group, f"{load}: libvh / libblkio as front-end of {back}", got["libvh", back], got["libblkio", back])
    group.table("medians", rows)


def charts(data):
    rows = [r for t in data["tables"] for r in t["rows"]]
    pictures = []
    for name, key, title in (("block-iops", "IOPS", "Block requests of 4 KiB: IOPS by pair"),
                             ("block-latency", "p50 us", "Block requests of 4 KiB: median latency by pair")):
        series = {}
        for r in rows:
            if r["4 KiB"].startswith("randread") and r["4 KiB"].endswith("event"):
                series.setdefault(f"{r['front-end']} on {r['back-end']}", {})[r["4 KiB"].split(" ", 1)[1].partition(",")[0]] = r[key]
        pictures.append({"name": name, "title": title, "y": key, "log": True, "bars": series})
    return pictures
