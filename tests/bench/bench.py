# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""./run bench: block requests between libvh and its peers, as ratios within one run, the cost of a chain, and of a
chain from Python and Go.

Every pair is measured once in each pass, in turn, so that what the machine does meanwhile hits all alike; the table
has the median over the passes, and the median of the ratios taken within each pass. The first pair of a group is what the
others are compared with. The cost of a chain is in instructions, which repeat exactly. Writes build/bench.json.
"""
import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BUILD = os.path.join(ROOT, "build")
sys.path.insert(0, os.path.join(ROOT, "tests", "lab"))
import proc  # noqa: E402
import suite  # noqa: E402
from kernel import Missing  # noqa: E402

SIZE = 64 << 20
VHCTL = os.path.join(BUILD, "vhctl")


class Bench:
    def __init__(self, folder, seconds):
        self.folder = folder
        self.seconds = seconds
        self.image = os.path.join("/dev/shm", f"vh-bench-{os.getpid()}.img")
        self.blkio = None

    def socket(self, name):
        return os.path.join(self.folder, name + ".sock")

    def libvh_serve(self, name, *what):
        return proc.Process(name, [VHCTL, "serve", "blk", "--socket", self.socket(name), *what], self.folder)

    def qsd(self, name, node):
        return proc.Process(name, ["qemu-storage-daemon", "--blockdev", node, "--export",
                                   f"vhost-user-blk,id=e,node-name=n,addr.type=unix,addr.path={self.socket(name)},"
                                   "writable=on"], self.folder)

    def libvh_io(self, sock, rw, depth):
        return self._json([VHCTL, "io", "blk", f"unix:{sock}", "bench", "--rw", rw, "--iodepth", str(depth), "--time",
                           str(self.seconds), "--json"])

    def libblkio_io(self, sock, rw, depth):
        return self._json([self.blkio, sock, rw, str(depth), str(self.seconds)])

    @staticmethod
    def _json(argv):
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=120, check=False)
        if done.returncode:
            raise proc.Failed(f"{' '.join(argv)}: {done.stderr.decode(errors='replace').strip()}")
        return json.loads(done.stdout)

    def build_blkio(self):
        """The libblkio front-end, linked against Debian trixie's library, which is unpacked privately."""
        tree = suite.unpack("trixie", "libblkio1", "libblkio-dev")
        lib = os.path.join(tree, "usr/lib/x86_64-linux-gnu")
        self.blkio = os.path.join(BUILD, "blkio_bench")
        subprocess.run(["gcc", "-O2", "-D_GNU_SOURCE", "-I", os.path.join(tree, "usr/include"),
                        os.path.join(HERE, "blkio_bench.c"), "-o", self.blkio, "-L", lib, "-lblkio",
                        f"-Wl,-rpath,{lib}"], check=True)

    def backends(self):
        null = str(SIZE)
        return {
            "libvh null": lambda n: self.libvh_serve(n, "--null", null),
            "libvh file": lambda n: self.libvh_serve(n, "--file", self.image),
            "qsd null": lambda n: self.qsd(n, f"null-co,node-name=n,size={SIZE},read-zeroes=off"),
            "qsd file": lambda n: self.qsd(n, f"file,node-name=n,filename={self.image}"),
        }


# (front-end, back-end); the first of each group is the yardstick.
GROUPS = (
    (("libvh", "qsd null"), ("libvh", "libvh null")),
    (("libvh", "qsd file"), ("libvh", "libvh file")),
    (("libblkio", "qsd null"), ("libblkio", "libvh null")),
    (("libblkio", "qsd file"), ("libblkio", "libvh file")),
)
LOADS = tuple((rw, depth) for depth in (1, 32) for rw in ("randread", "randwrite"))


def measure(bench, passes):
    """{(front-end, back-end, rw, depth): [result of each pass]}"""
    results = {}
    running = {}
    try:
        for label, start in bench.backends().items():
            name = label.replace(" ", "-")
            running[label] = start(name)
            running[label].wait_for_socket(bench.socket(name))
        for number in range(passes):
            print(f"pass {number + 1} of {passes}", file=sys.stderr, flush=True)
            for rw, depth in LOADS:
                for front, back in (pair for group in GROUPS for pair in group):
                    if front == "libblkio" and not bench.blkio:
                        continue
                    io = bench.libblkio_io if front == "libblkio" else bench.libvh_io
                    sock = bench.socket(back.replace(" ", "-"))
                    results.setdefault((front, back, rw, depth), []).append(io(sock, rw, depth))
    finally:
        for p in running.values():
            p.end()
    return results


def spread(values):
    return f"{min(values):.2f}..{max(values):.2f}"


def block_rows(results):
    rows = []
    for rw, depth in LOADS:
        for group in GROUPS:
            base = results.get((*group[0], rw, depth))
            for front, back in group:
                mine = results.get((front, back, rw, depth))
                if not mine:
                    continue
                ratios = [m["iops"] / b["iops"] for m, b in zip(mine, base)]
                p99 = [m["latency_us"]["p99"] / b["latency_us"]["p99"] for m, b in zip(mine, base)]
                rows.append({"front_end": front, "back_end": back, "rw": rw, "iodepth": depth,
                             "iops": statistics.median(m["iops"] for m in mine),
                             "p50_us": statistics.median(m["latency_us"]["p50"] for m in mine),
                             "p99_us": statistics.median(m["latency_us"]["p99"] for m in mine),
                             "iops_ratio": statistics.median(ratios), "iops_ratio_range": spread(ratios),
                             "p99_ratio": statistics.median(p99), "compared_with": " <- ".join(reversed(group[0]))})
    return rows


def queue_cost():
    """The C program that pops and pushes, built like the library that people use."""
    subprocess.run(["cmake", "--build", BUILD, "--target", "queue_cost"], check=True, stdout=subprocess.DEVNULL)
    return os.path.join(BUILD, "tests", "bench", "queue_cost")


def chain_rows(exe, shapes=("s0", "s1", "s2", "s3"), regions=(8, 64, 509)):
    """Instructions for pop and push of one chain, in batches of 32, by callgrind; and time."""
    rows = []
    for shape, n in [(s, 1) for s in shapes] + [("s1", n) for n in regions]:
        counts = []
        for rounds in (100, 1100):  # the difference leaves the start out
            done = subprocess.run(["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null",
                                   "--toggle-collect=device_batch", exe, shape, str(n), "32", str(rounds)],
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=True)
            counts.append((json.loads(done.stdout)["chains"],
                           int(re.search(rb"Collected : (\d+)", done.stderr).group(1))))
        (chains0, ir0), (chains1, ir1) = counts
        timed = json.loads(subprocess.run([exe, shape, str(n), "32"], stdout=subprocess.PIPE, check=True).stdout)
        rows.append({"shape": shape, "regions": n, "instructions": (ir1 - ir0) / (chains1 - chains0),
                     "ns": timed["ns_median"]})
    return rows


# What popping and pushing a request that nobody looks at may cost at batch 64, as a multiple of C.
LANGUAGE_GOALS = {"go": 1.5, "api": 2.0}
LANGUAGES = {"c": "C", "go": "Go", "api": "Python", "abi": "Python (ABI mode)"}


def language_rows(exe):
    """Pop and push from Go and Python, each measured in turn with C, in batches of several sizes."""
    user = ["/bin/sh", "-euc", '. "$0"; exec "$@"', os.path.join(BUILD, "env.sh")]
    python = ["/usr/bin/python3", os.path.join(HERE, "py_queue.py"), "--c", exe]
    runs = (([exe, "crossing"], {}, ROOT),
            (["/usr/bin/go", "test", "./vh", "-run", "^$", "-bench", "Cost", "-benchtime", "1x"],
             {"VH_QUEUE_COST": exe, "GOCACHE": os.path.join(BUILD, "gocache")}, os.path.join(ROOT, "go")),
            (python, {}, ROOT), (python, {"VH_PYTHON_MODE": "abi"}, ROOT))
    rows, crossings = [], {}
    for argv, env, cwd in runs:
        print(f"{os.path.basename(argv[0])} ...", file=sys.stderr, flush=True)
        done = subprocess.run([*user, *argv], cwd=cwd, env={**os.environ, **env}, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=600, check=False)
        if done.returncode:
            raise proc.Failed(f"{' '.join(argv)}: {(done.stdout + done.stderr).decode(errors='replace').strip()}")
        for line in (json.loads(text) for text in done.stdout.decode().splitlines() if text.startswith("{")):
            if "crossing_ns" in line:
                crossings[line["mode"]] = line["crossing_ns"]
                continue
            goal = LANGUAGE_GOALS.get(line["mode"]) if line["batch"] == 64 else None
            verdict = "" if goal is None else "met" if line["ratio"] <= goal else "not met"
            rows.append({**line, "crossing_ns": crossings[line["mode"]], "goal": goal, "verdict": verdict})
    return rows, crossings


def print_table(rows, columns):
    cells = [[title for title, _ in columns]] + [[fmt(r) for _, fmt in columns] for r in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]
    for row in cells:
        print("  ".join(c.ljust(w) for c, w in zip(row, widths)).rstrip())


def verdict_line(rows):
    """The last line: how many goals were missed, and which."""
    judged = [r for r in rows if r["verdict"]]
    missed = [f"{LANGUAGES[r['mode']]} at batch {r['batch']}: {r['ratio']:.2f}, goal {r['goal']}"
              for r in judged if r["verdict"] != "met"]
    if not missed:
        return f"all {len(judged)} goals met"
    return f"*not met*: {len(missed)} of {len(judged)} goals ({'; '.join(missed)})"


def main():
    parser = argparse.ArgumentParser(prog="run bench")
    parser.add_argument("--passes", type=int, default=5)
    parser.add_argument("--time", type=int, default=1, help="seconds for each measurement")
    args = parser.parse_args()
    report = {}
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(folder, args.time)
        try:
            with open(bench.image, "wb") as f:
                f.truncate(SIZE)
            try:
                bench.build_blkio()
            except Missing as e:
                print(f"bench: no libblkio rows: {e}", file=sys.stderr)
            report["block"] = block_rows(measure(bench, args.passes))
        finally:
            os.unlink(bench.image)
    print_table(report["block"], (
        ("front-end", lambda r: r["front_end"]), ("back-end", lambda r: r["back_end"]),
        ("4 KiB", lambda r: f"{r['rw']} qd{r['iodepth']}"), ("IOPS", lambda r: f"{r['iops']:.0f}"),
        ("p50 us", lambda r: f"{r['p50_us']:.1f}"), ("p99 us", lambda r: f"{r['p99_us']:.1f}"),
        ("IOPS ratio", lambda r: f"{r['iops_ratio']:.2f} ({r['iops_ratio_range']})"),
        ("p99 ratio", lambda r: f"{r['p99_ratio']:.2f}"), ("compared with", lambda r: r["compared_with"])))
    exe = queue_cost()
    report["chain"] = chain_rows(exe)
    print()
    print_table(report["chain"], (
        ("pop + push", lambda r: r["shape"]), ("regions", lambda r: str(r["regions"])),
        ("instructions", lambda r: f"{r['instructions']:.0f}"),
        ("ns", lambda r: f"{r['ns']:.1f}")))
    report["languages"], report["crossings"] = language_rows(exe)
    print()
    print_table(report["languages"], (
        ("pop + push from", lambda r: LANGUAGES[r["mode"]]), ("batch", lambda r: str(r["batch"])),
        ("ns", lambda r: f"{r['untouched_ns']:.0f}"), ("in C", lambda r: f"{r['c_ns']:.0f}"),
        ("ratio", lambda r: f"{r['ratio']:.2f}"), ("goal", lambda r: f"{r['goal']} {r['verdict']}" if r["goal"] else ""),
        ("touched", lambda r: f"{r['touched_ns']:.0f}")))
    print("a crossing: " + ", ".join(f"{LANGUAGES[m]} {ns:.0f} ns" for m, ns in report["crossings"].items()) +
          "; none for each request with a handler in C")
    with open(os.path.join(BUILD, "bench.json"), "w", encoding="utf-8") as f:
        json.dump(report, f, indent=1)
    print(verdict_line(report["languages"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
