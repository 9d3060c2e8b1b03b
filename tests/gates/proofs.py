# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Gate `proofs`: CBMC proves the functions of tests/proofs, and finds the mistake that is seeded for each.

All proofs, but only half of the mistakes, drawn by VH_SEED, which is printed; with VH_FULL=1 all of them.

A proof is a C file that includes sources of the library; shared memory is what tests/proofs/shm says that it is. proofs.py
[NAME] runs all of them, two at a time, or one. What a proof calls HAPPENS has to be found possible, so that assumptions
which contradict each other prove nothing.
"""
import concurrent.futures
import os
import re
import shutil
import subprocess
import sys
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROOFS = os.path.join(TOP, "tests", "proofs")
LIMIT = 600
sys.path[:0] = [os.path.join(TOP, *part) for part in (("tests", "lab"), ("abi",), ("bindings",))]

import kernel  # noqa: E402
import scratch  # noqa: E402
import suite  # noqa: E402

# With the C libraries that it was built with: Debian 12 has no package of it.
PACKAGES = ("cbmc", "minisat", "libc6", "libstdc++6", "libgcc-s1", "zlib1g")
CHECKS = ("--unwinding-assertions", "--bounds-check", "--pointer-check", "--signed-overflow-check", "--undefined-shift-check",
          "--drop-unused-functions", "--verbosity", "4")


class Proof:
    """function of proof_FILE.c, with options; seeds: (file, what stands there, what the mistake is)."""

    def __init__(self, file, function, seeds, options=(), name=None):
        self.file, self.function, self.seeds, self.options = file, function, seeds, options
        self.name = name or function


VRING, PACKED, MEM, TRANSLATE = "src/queue/vhi_vring.h", "src/queue/vhi_packed.h", "src/mem/vhi_mem.h", "src/mem/translate.c"
UNWIND = ("--unwind", "6")
PROVED = (
    Proof("event", "split_event", ((VRING, "(uint16_t)(now - event - 1)", "(uint16_t)(now - event)"),)),
    Proof("event", "packed_positions", ((PACKED, "at < num ? at | wrap", "at <= num ? at | wrap"),
                                        (PACKED, "at >= n ? (at - n) | wrap", "at > n ? (at - n) | wrap"),)),
    Proof("event", "packed_marks", ((PACKED, "? VHI_PACKED_AVAIL : VHI_PACKED_USED;", "? VHI_PACKED_AVAIL : 0;"),)),
    Proof("event", "packed_event", ((PACKED, "packed_between(q->num, old, event) < n", "packed_between(q->num, old, event) <= n"),
                                    (PACKED, "&& packed_at(event) < q->num)", ")"),)),
    Proof("translate", "span_holds", ((MEM, "|| last >= span->len)", "|| last > span->len)"),
                                      (MEM, "__builtin_add_overflow(at, len - 1, &last)", "(last = at + len - 1, false)")), UNWIND),
    Proof("translate", "translate_fast", ((MEM, "*host = span->host + at;", "*host = span->host + at + 1;"),), UNWIND),
    Proof("translate", "translate_whole", ((TRANSLATE, "segs[n] = (struct vh_seg){.addr = s->spans[i].host + at,",
                                            "segs[n] = (struct vh_seg){.addr = s->spans[i].host,"),
                                           (TRANSLATE, "i >= s->n || next - s->spans[i].gpa >= s->spans[i].len)", "i >= s->n)")),
          ("--unwind", "5", "-DWIDTH=5")),
)


def command():
    root = suite.unpack("trixie", *PACKAGES)
    return [os.path.join(root, "usr/lib64/ld-linux-x86-64.so.2"), "--library-path",
            f"{root}/usr/lib:{root}/usr/lib/x86_64-linux-gnu", os.path.join(root, "usr/bin/cbmc")]


def tree(folder, seed=None):
    """A copy of the sources without the accessors of shared memory, with a mistake in it, or None."""
    for part in ("base", "mem", "queue"):
        shutil.copytree(os.path.join(TOP, "src", part), os.path.join(folder, "src", part))
    os.unlink(os.path.join(folder, "src", "base", "vhi_shm.h"))
    if seed:
        path, old, new = seed
        with open(os.path.join(folder, path), encoding="utf-8") as f:
            text = f.read()
        if text.count(old) != 1:
            return f"{path} has {text.count(old)} times: {old}"
        with open(os.path.join(folder, path), "w", encoding="utf-8") as f:
            f.write(text.replace(old, new))
    return None


def prove(cbmc, proof, seed=None):
    """What is wrong, or None."""
    with tempfile.TemporaryDirectory(prefix="vh-proof-") as folder:
        wrong = tree(folder, seed)
        if wrong:
            return f"{proof.name}: {wrong}"
        where = [os.path.join(PROOFS, "shm"), PROOFS, *(os.path.join(folder, "src", part) for part in ("queue", "mem", "base")),
                 os.path.join(TOP, "include")]
        argv = [*cbmc, os.path.join(PROOFS, f"proof_{proof.file}.c"), "--function", proof.function, "-D_GNU_SOURCE", *CHECKS,
                *(word for path in where for word in ("-I", path)), *proof.options]
        argv += ["-DSEEDED", "--stop-on-fail"] if seed else []
        try:
            got = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                 timeout=LIMIT, check=False)
        except subprocess.TimeoutExpired:
            return f"{proof.name}: no end after {LIMIT} s"
    text = got.stdout.decode(errors="replace")
    if got.returncode not in (0, 10):
        return f"{proof.name}: exit code {got.returncode}\n{text[-3000:]}"
    if seed:
        return None if got.returncode == 10 else f"{proof.name}: is proved although {seed[0]} says {seed[2]}"
    found = re.findall(r"^\[(\S+)\] (.*): (SUCCESS|FAILURE|UNKNOWN)$", text, flags=re.M)
    mine = [row for row in found if row[0].startswith(f"{proof.function}.assertion")]
    # One that another function of the file says is never reached.
    wrong = [f"{name} {what}" for name, what, result in found
             if (result == "SUCCESS") == ("HAPPENS: " in what) and ("HAPPENS: " not in what or (name, what, result) in mine)]
    if not mine:
        return f"{proof.name}: it proves nothing\n{text[-3000:]}"
    if wrong:
        return f"{proof.name}: " + "\n    ".join(wrong)
    return None


def main():
    chosen = [p for p in PROVED if p.name in sys.argv[1:]] if sys.argv[1:] else PROVED
    if not chosen:
        print(f"there is no such proof; there are {' '.join(p.name for p in PROVED)}")
        return 1
    try:
        cbmc = command()
    except kernel.Missing as e:
        print(f"cbmc is not to be had: {e}")
        return 1
    seeded = [(p, seed) for p in chosen for seed in p.seeds]
    jobs = [(p, None) for p in chosen] + (seeded if sys.argv[1:] else scratch.drawn(seeded, 2))
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        wrong = [w for w in pool.map(lambda job: prove(cbmc, *job), jobs) if w]
    for line in wrong:
        print(line)
    print(f"{len(chosen)} proofs, {len(jobs) - len(chosen)} seeded mistakes found" if not wrong else f"{len(wrong)} of {len(jobs)} failed")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
