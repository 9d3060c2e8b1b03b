# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Gate `proofs`: CBMC proves the functions of tests/proofs, and finds the mistake that is seeded for each.

All proofs, but only a sixth of the mistakes, and one more of the places that some proofs have, drawn by VH_SEED, which is printed;
with VH_FULL=1 all of them.

A proof is a C file that includes sources of the library; shared memory is what tests/proofs/shm says that it is. proofs.py
[NAME] runs all of them, two at a time, or one. What a proof calls HAPPENS has to be found possible, so that assumptions
which contradict each other prove nothing.
"""
import concurrent.futures
import itertools
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
    """
    function of proof_FILE.c, with options; seeds: (file, what stands there, what the mistake is). The changes of edits, which
    are written so too, are in each of its trees. HAPPENS() counts in the function, and in those that are named in also. It
    is to be made again with the options of each of the places.
    """

    def __init__(self, file, function, seeds, options=(), edits=(), also=(), places=()):
        self.file, self.name, self.seeds, self.options, self.edits, self.places = file, function, seeds, options, edits, places
        self.mine = tuple(f"{name}.assertion" for name in (function, *also))


VRING, PACKED, MEM, TRANSLATE = "src/queue/vhi_vring.h", "src/queue/vhi_packed.h", "src/mem/vhi_mem.h", "src/mem/translate.c"
UNWIND = ("--unwind", "6")
WALK, CHAIN, SPLIT = "src/queue/vhi_chain.h", "src/queue/chain.c", "src/queue/split_device.c"
# A chain: three translations at most, in the row and two blocks; a walk goes on for one descriptor, and ends at the next.
WALKS = ("--unwind", "5", "--unwindset", "pool_of.0:2,vhi_chain_add.0:3,grow.0:3,vhi_walk_linked.0:2,"
         "vhi_walk_packed_rest.0:2,vhi_walk_packed_table.0:2")
ROOM = (1, 2, 3)


def places():
    """Of the steps of a chain: see proof_chain.h."""
    for (block, odd), side, elsewhere in itertools.product(((0, 0), (0, 1), (1, 1), (2, 1)), (0, 1), range(4)):
        if not block or not elsewhere >> (block - 1) & 1:
            for grants in range(ROOM[block] + 1):
                yield (f"-DBLOCK={block}", f"-DGRANTS={grants}", f"-DODD={odd}", f"-DSIDE={side}", f"-DELSEWHERE={elsewhere}")


STEP = {"also": ("comes_to_next",), "places": tuple(places())}
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
    Proof("chain", "split_begin", ((SPLIT, "QUEUE_HEAD, head >= q->num)", "QUEUE_HEAD, head > q->num)"),
                                   (CHAIN, ".left = VHI_MIN(q->num, q->dev.row_room)", ".left = q->dev.row_room")),
          (*WALKS, "-DROW=2")),
    Proof("chain", "split_step", ((WALK, "QUEUE_NEXT, at >= in.entries)", "QUEUE_NEXT, at > in.entries)"),
                                  (WALK, "w->left--;\n\t\tif (VHI_REFUSE(VHI_SITE_QUEUE_LOOP", "if (VHI_REFUSE(VHI_SITE_QUEUE_LOOP"),
                                  (CHAIN, "room ? VHI_MIN(follow, room) : follow", "follow"),
                                  (CHAIN, "if (c->block)\n\t\t\t\tfree_block", "if (!c->odd)\n\t\t\t\tfree_block"),
                                  (CHAIN, "c->w.left + c->beyond - 1, 1)", "c->w.left + c->beyond, 1)")), WALKS, **STEP),
    Proof("chain", "packed_first", ((WALK, "w->left = VHI_MAX(in.entries, 1u);", "(void)0;"),
                                    (WALK, "QUEUE_INDIRECT_BIG, entries > q->max_segs)", "QUEUE_INDIRECT_BIG, entries > 2 * q->max_segs)")),
          (*WALKS, "-DROW=2")),
    Proof("chain", "packed_step", ((WALK, "at = at + 1 < num ? at + 1 : 0;", "at = at + 1 <= num ? at + 1 : 0;"),
                                   (WALK, "++*n_desc;", "*n_desc = 2;")), WALKS, **STEP),
    Proof("chain", "packed_table", ((WALK, "if (!--w->left && (desc == last", "if (!w->left-- && (desc == last"),
                                    (CHAIN, "set_left(q, more ? c->beyond : 1, 0)", "set_left(q, more ? c->beyond + 1 : 1, 0)")),
          WALKS, ((WALK, "*desc = in.at;; desc += 2", "*desc = in.at + table_start;; desc += 2"),), **STEP),
    Proof("chain", "copy_table", ((CHAIN, "addr += seg.len;", ""), (CHAIN, "seg.len == len && !(seg.addr & 7)", "!(seg.addr & 7)")), WALKS),
)


def command():
    root = suite.unpack("trixie", *PACKAGES)
    return [os.path.join(root, "usr/lib64/ld-linux-x86-64.so.2"), "--library-path",
            f"{root}/usr/lib:{root}/usr/lib/x86_64-linux-gnu", os.path.join(root, "usr/bin/cbmc")]


def tree(folder, changes):
    """A copy of the sources without the accessors of shared memory, with these changes. What is wrong, or None."""
    for part in ("base", "mem", "queue"):
        shutil.copytree(os.path.join(TOP, "src", part), os.path.join(folder, "src", part))
    os.unlink(os.path.join(folder, "src", "base", "vhi_shm.h"))
    for path, old, new in changes:
        with open(os.path.join(folder, path), encoding="utf-8") as f:
            text = f.read()
        if text.count(old) != 1:
            return f"{path} has {text.count(old)} times: {old}"
        with open(os.path.join(folder, path), "w", encoding="utf-8") as f:
            f.write(text.replace(old, new))
    return None


def prove(cbmc, proof, seed=None, place=()):
    """What is wrong, or None. In a place, and with a mistake, that is what the proof itself says, and not what can happen."""
    with tempfile.TemporaryDirectory(prefix="vh-proof-") as folder:
        wrong = tree(folder, (*proof.edits, *([seed] if seed else [])))
        if wrong:
            return f"{proof.name}: {wrong}"
        where = [os.path.join(PROOFS, "shm"), PROOFS, *(os.path.join(folder, "src", part) for part in ("queue", "mem", "base")),
                 os.path.join(TOP, "include")]
        argv = [*cbmc, os.path.join(PROOFS, f"proof_{proof.file}.c"), "--function", proof.name, "-D_GNU_SOURCE", *CHECKS,
                *(word for path in where for word in ("-I", path)), *proof.options, *place]
        argv += ["-DSEEDED", "--stop-on-fail"] if seed or place else []
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
    if place:
        return f"{proof.name}: {' '.join(place)}\n{text[-3000:]}" if got.returncode else None
    found = re.findall(r"^\[(\S+)\] (.*): (SUCCESS|FAILURE|UNKNOWN)$", text, flags=re.M)
    mine = [row for row in found if row[0].startswith(proof.mine)]
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
    placed = [(p, None, place) for p in chosen for place in p.places]
    again = scratch.drawn(placed, len(placed) or 1)
    jobs = [(p,) for p in chosen] + again + (seeded if sys.argv[1:] else scratch.drawn(seeded, 6))
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        wrong = [w for w in pool.map(lambda job: prove(cbmc, *job), jobs) if w]
    for line in wrong:
        print(line)
    found = len(jobs) - len(chosen) - len(again)
    print(f"{len(wrong)} of {len(jobs)} failed" if wrong else
          f"{len(chosen)} proofs, {len(again)} made again in other places, {found} seeded mistakes found")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
