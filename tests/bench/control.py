# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""The control plane: round trips of a message, the way from connect to the first completed request, and what a device
costs that is connected and idle. The front-end is a program by hand (wire_bench.c), so that the back-ends differ alone."""
import contextlib
import os
import re
import resource
import shutil
import statistics
import subprocess

import pairs
import peers
import proc
import programs
from kernel import Missing

SIZE = 64 << 20
VHCTL = os.path.join(programs.BUILD, "vhctl")
SCALE = (1, 64, 512, 4096)
QSD_SCALE = (1, 64, 512)
FIRSTS = 30  # connections in one sample
MOST_KIB = 4.6  # of private memory for a device: libvhost-user's, the best peer
FDS = 8  # of a back-end's for one device


def qsd(exports):
    """qemu-storage-daemon with a null device, exported at each of the paths."""
    argv = ["qemu-storage-daemon", "--blockdev", f"null-co,node-name=n,size={SIZE},read-zeroes=off,read-only=on"]
    for i, path in enumerate(exports):
        argv += ["--export", f"vhost-user-blk,id=e{i},node-name=n,addr.type=unix,addr.path={path},writable=off"]
    return argv


@contextlib.contextmanager
def back_ends(bench, group):
    """{name: socket} of null devices that run."""
    with contextlib.ExitStack() as running:
        paths = {"libvh": os.path.join(bench.folder, "libvh.sock")}
        argv = {"libvh": [VHCTL, "serve", "blk", "--socket", paths["libvh"], "--null", str(SIZE)]}
        if shutil.which("qemu-storage-daemon"):
            paths["qsd"] = os.path.join(bench.folder, "qsd.sock")
            argv["qsd"] = qsd([paths["qsd"]])
        else:
            group.missing("qemu-storage-daemon as back-end", "package qemu-system-common")
        try:
            argv["rust"] = [peers.program("null_backend"), os.path.join(bench.folder, "rust.sock")]
            paths["rust"] = argv["rust"][1]
        except Missing as e:
            group.missing("vhost-user-backend of Rust as back-end", e)
        for name, words in argv.items():
            running.enter_context(proc.Process(name, words, bench.folder)).wait_for_socket(paths[name])
        yield paths


def round_trips(bench, group, wire, paths):
    sides = {"bare socket": lambda: programs.call_json([wire, "pingpong", str(bench.seconds)])}
    for name, path in paths.items():
        sides[name] = lambda path=path: programs.call_json([wire, "features", path, str(bench.seconds)])
    got = pairs.interleave(sides, bench.pairs, lambda line: bench.tell(f"GET_FEATURES: {line}"))
    rate = {name: [s["per_s"] for s in samples] for name, samples in got.items()}
    group.table("GET_FEATURES, one after the other", [
        {"with": name, "per second": statistics.median(rate[name]),
         "p50 us": statistics.median(s["p50_us"] for s in samples),
         "p99 us": statistics.median(s["p99_us"] for s in samples), "_samples": samples} for name, samples in got.items()])
    group.compare("GET_FEATURES: libvh / a bare unix socket", "round trips per second", rate["libvh"], rate["bare socket"],
                  pairs.at_least(0.85))
    for peer in set(rate) - {"libvh", "bare socket"}:
        group.compare(f"GET_FEATURES: libvh / {peer}", "round trips per second", rate["libvh"], rate[peer], pairs.parity(True))


def first_requests(bench, group, wire, paths):
    got = pairs.interleave({name: lambda path=path: programs.call_json([wire, "first", path, str(FIRSTS)])
                            for name, path in paths.items()}, bench.pairs, lambda line: bench.tell(f"first request: {line}"))
    group.table("connect to first completed read of 4 KiB", [
        {"with": name, "p50 us": statistics.median(s["p50_us"] for s in samples),
         "least us": min(s["min_us"] for s in samples), "_samples": samples} for name, samples in got.items()])
    for peer in set(got) - {"libvh"}:
        group.compare(f"connect to first request: libvh / {peer}", "p50", [s["p50_us"] for s in got["libvh"]],
                      [s["p50_us"] for s in got[peer]], pairs.parity(False))


def private_kib(pid):
    with open(f"/proc/{pid}/smaps_rollup", encoding="utf-8") as f:
        return int(re.search(r"^Private_Dirty:\s+(\d+)", f.read(), flags=re.M).group(1))


def allow_fds(n):
    """None, or why a process can't have so many."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard < n:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (n, n))
        except (ValueError, OSError):
            return f"RLIMIT_NOFILE is {hard}, of {n}, and can't be raised"
    return None


def idle(bench, wire, name, n):
    """A row of so many devices of one process, connected and idle."""
    prefix = os.path.join(bench.folder, f"{name}-{n}-")
    argv = {"libvh": [programs.target("idle_server"), prefix, str(n)],
            "qsd": qsd([f"{prefix}{i}" for i in range(n)]) if name == "qsd" else None}[name]
    with proc.Process(f"{name}-{n}", argv, bench.folder, stdin=subprocess.PIPE) as server:
        server.wait_for(lambda: os.path.exists(f"{prefix}{n - 1}"), "its last socket", 60)
        pid = server.popen.pid
        with proc.Process(f"{name}-{n}-peer", [wire, "idle", prefix, str(n)], bench.folder, stdin=subprocess.PIPE) as peer:
            before = private_kib(pid)
            peer.wait_for(lambda: "connected" in peer.output(), "all connected", 120)
            took = float(re.search(r'"seconds": ([0-9.]+)', peer.output()).group(1))
            return {"back-end": name, "devices": n, "KiB before": before, "KiB connected": private_kib(pid),
                    "fds": len(os.listdir(f"/proc/{pid}/fd")), "threads": len(os.listdir(f"/proc/{pid}/task")),
                    "connect us each": took * 1e6 / n}


def idle_devices(bench, group, wire, names):
    rows = []
    for name in names:
        one = None
        for n in SCALE if name == "libvh" else QSD_SCALE:
            why = allow_fds(n * FDS + 100)
            if why:
                group.missing(f"{n} idle devices of {name}", why)
                continue
            bench.tell(f"idle devices: {n} of {name}")
            row = idle(bench, wire, name, n)
            one = one or row
            if n > 1:
                row["KiB each"] = (row["KiB connected"] - one["KiB connected"]) / (n - 1)
                row["fds each"] = (row["fds"] - one["fds"]) / (n - 1)
            if n > 1 and name == "libvh":
                group.exact(f"private memory of an idle device, of {n} in one process, KiB", row["KiB each"],
                            pairs.at_most(MOST_KIB))
                group.exact(f"threads of {n} devices", row["threads"], pairs.at_most(1))
            rows.append(row)
    group.table("idle devices, one queue each, in one process", rows)
    group.note("Memory is Private_Dirty of the whole process; each: what a device adds to the first one. Pages of the ring "
               "are the guest's and are not counted.")


def run(bench, group):
    wire = programs.target("wire_bench")
    with back_ends(bench, group) as paths:
        round_trips(bench, group, wire, paths)
        first_requests(bench, group, wire, paths)
    idle_devices(bench, group, wire, [name for name in paths if name != "rust"])


def charts(data):
    rows = [r for t in data["tables"] if t["title"].startswith("idle") for r in t["rows"] if "KiB each" in r]
    series = {}
    for r in rows:
        series.setdefault(r["back-end"], {})[f"{r['devices']} devices"] = r["KiB each"]
    return series and [{"name": "idle-memory", "title": "Private memory of an idle device", "y": "KiB", "log": False, "bars": series}]
