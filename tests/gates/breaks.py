# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Gate `breaks`: the gates of the binary interface can fail. Each break is made in a scratch copy of the project; the
gates named for it must turn red and the others named must stay green. Then the rules of ./run recut, in the same way. The
gate makes half of them, drawn by VH_SEED, which is printed, VH_FULL=1 all.
"""
import os
import re
import shutil
import sys
import tempfile

from parse import TOP
from scratch import Failed, Scratch, drawn, run

INC, MAP = "include/vh/", "abi/libvh.map"
LAST_OF_MAP = "local:\n\t*;\n};\n"
NODE_1_1 = LAST_OF_MAP + "VH_1.1 {\nglobal:\n\t%s;\n} VH_1.0;\n"
NEW_DOC = """/**
 * vh_blk_flush() - something new
 * @b: the block driver
 *
 * @since: %s
 * @thread: queue
 * @blocks: no
 * @errors: EINVAL
 */
VH_API vh_rc vh_blk_flush(struct vh_blk *b);

VH_END_DECLS
"""
NEW_HEADER = (INC + "blk.h", "VH_END_DECLS\n", NEW_DOC % "VH_1.0")
NEW_SOURCE = ("src/driver/blk.c", "void vh_blk_free(", "vh_rc vh_blk_flush(struct vh_blk *b)\n{\n\treturn b ? 0 : -EINVAL;\n}\n\n"
              "void vh_blk_free(")
NEW_IN_MAP = (MAP, "\tvh_blk_free;\n", "\tvh_blk_flush;\n\tvh_blk_free;\n")
RELEASED = ("CHANGELOG.md", "# Changes\n", "# Changes\n\n## 1.0.0\n")
MIDDLE = """/**
	 * other() - something new
	 * @ctx: what was given with the ops
	 *
	 * @since: VH_1.0
	 * @thread: handle
	 * @blocks: no
	 * @errors: none
	 */
	void (*other)(void *ctx);
	/**
	 * backend_request() - """

# name, edits (file, old, new), gates that turn red, gates that stay green
BREAKS = (
    ("nothing", (), "", "layout abidiff sets symbols"),
    ("a function is gone",
     ((MAP, "\tvh_queue_disarm;\n", ""),), "abidiff sets", "layout"),
    ("a function is gone from the headers",
     ((INC + "queue.h", "VH_API vh_rc vh_queue_disarm(struct vh_queue *q);", ""), (INC + "queue.h", "/**\n * vh_queue_disarm() -", "/*\n * "),
      (MAP, "\tvh_queue_disarm;\n", "")), "layout", ""),
    ("a parameter is wider",
     ((INC + "blk.h", "vh_blk_wait(struct vh_blk *b, uint32_t queue, int32_t timeout_ms)",
       "vh_blk_wait(struct vh_blk *b, uint32_t queue, int64_t timeout_ms)"),
      ("src/driver/blk.c", "vh_blk_wait(struct vh_blk *b, uint32_t queue, int32_t timeout_ms)",
       "vh_blk_wait(struct vh_blk *b, uint32_t queue, int64_t timeout_ms)")), "layout abidiff", "sets"),
    ("a callback has another parameter",
     ((INC + "log.h", "void (*line)(void *ctx, uint32_t level,", "void (*line)(void *ctx, uint64_t level,"),), "layout", ""),
    ("a member in the middle of ops",
     ((INC + "master.h", "/**\n\t * backend_request() - ", MIDDLE),), "layout abidiff", ""),
    ("the policy forgets a frozen struct",
     (("abi/POLICY.md", "`vh_seg`, ", ""),), "layout", "sets"),
    ("a frozen struct grows",
     ((INC + "blk.h", "@frozen, 16 bytes", "@frozen, 24 bytes"),
      (INC + "blk.h", "-EPROTO (bad status) */\n\tuint32_t reserved;\n",
       "-EPROTO (bad status) */\n\tuint32_t reserved;\n\tuint64_t more;\n")), "layout abidiff", ""),
    ("fields in another order",
     ((INC + "driver.h", "uint32_t n_queues;   /*", "uint32_t swapped;   /*"), (INC + "driver.h", "uint32_t queue_size; /*", "uint32_t n_queues; /*"),
      (INC + "driver.h", "uint32_t swapped;   /*", "uint32_t queue_size;   /*")), "layout abidiff", ""),
    ("a field of another sign",
     ((INC + "queue.h", "uint32_t flags;	  /* must be 0 */", "int32_t flags;	  /* must be 0 */"),), "layout", ""),
    ("options grow in the middle",
     ((INC + "mem.h", "uint32_t max_regions;  /*", "uint64_t more;\n\tuint32_t max_regions;  /*"),), "layout", ""),
    ("options grow by half a word, with padding behind",
     ((INC + "mem.h", "F_SEAL_SHRINK is refused (-EPERM) */\n", "F_SEAL_SHRINK is refused (-EPERM) */\n\tuint64_t a;\n\tuint32_t b;\n"),),
     "layout", ""),
    ("options grow at the end",
     ((INC + "driver.h", "\tuint32_t poll_us;\n};", "\tuint32_t poll_us;\n\tuint64_t more;\n};"),),
     "abidiff", "layout"),
    ("a symbol in another node",
     ((MAP, "\tvh_version;\n", ""), (MAP, LAST_OF_MAP, NODE_1_1 % "vh_version")), "abidiff sets", "layout"),
    ("a symbol in another node, said so",
     ((MAP, "\tvh_version;\n", ""), (MAP, LAST_OF_MAP, NODE_1_1 % "vh_version"),
      (INC + "version.h", "@since: VH_1.0", "@since: VH_1.1")), "layout", ""),
    ("a node that is not there",
     ((INC + "version.h", "@since: VH_1.0", "@since: VH_1.7"),), "layout sets", ""),
    ("a constant of another value",
     ((INC + "queue.h", "#define VH_REQ_LAST	   2", "#define VH_REQ_LAST	   4"),), "layout", "abidiff"),
    ("what was owned is borrowed",
     ((INC + "blk.h", "@out: (out) (owned) free", "@out: (out) (borrowed) free"),), "layout", ""),
    ("what had to be there may be NULL",
     ((INC + "blk.h", "@d: (borrowed) must outlive it", "@d: (nullable) (borrowed) must outlive it"),), "", "layout"),
    ("a function outside of the map", (NEW_HEADER, NEW_SOURCE), "sets symbols", "layout"),
    ("a function that nothing binds", (NEW_HEADER, NEW_SOURCE, NEW_IN_MAP), "sets abidiff", "layout"),
    ("after 1.0.0 a function in a released node", (NEW_HEADER, NEW_SOURCE, NEW_IN_MAP, RELEASED), "layout", ""),
    ("a symbol that no header knows",
     (NEW_SOURCE, NEW_IN_MAP), "sets", "layout"),
    ("the baseline changed by hand",
     (("abi/baseline/promise.json", '"VH_REQ_LAST": "2"', '"VH_REQ_LAST": "4"'),), "layout abidiff", ""),
    ("an exception that is none",
     (("abi/exceptions", "go ErrorGet ", "go QueuePop no reason\ngo ErrorGet "),), "sets", "layout"),
)
GATES = {"layout": ("tests/gates/abi.py", "layout"), "abidiff": ("tests/gates/abi.py", "library", "BUILD"),
         "sets": ("tests/gates/sets.py", "BUILD"), "symbols": ("tests/gates/symbols.py", "BUILD")}


def gate(s, name):
    return s.python(*(s.build if word == "BUILD" else word for word in GATES[name]))


def check_break(s, case):
    name, edits, red, green = case
    wrong = []
    for edit in edits:
        s.replace(*edit)
    if {"abidiff", "sets", "symbols"} & set(f"{red} {green}".split()):
        s.make()
    for expected, gates in ((1, red), (0, green)):
        for which in gates.split():
            code, output = gate(s, which)
            if bool(code) != bool(expected):
                wrong.append(f"{name}: gate {which} is {'green' if expected else 'red'}: {output.strip()[-600:]}")
            if expected and "Traceback" in output:
                wrong.append(f"{name}: gate {which} has crashed: {output.strip()[-600:]}")
    s.mend()
    return wrong


def check_debug_info(s):
    """On either side: abidiff alone would be content."""
    wrong = []
    s.make()
    library = os.path.realpath(os.path.join(s.build, "libvh.so.1"))
    shutil.copy2(library, library + ".kept")
    run("strip", "--strip-debug", library)
    code, output = gate(s, "abidiff")
    if not code or "debug" not in output:
        wrong.append(f"no debug information in the library: the gate says {output}")
    code, output = s.python("abi/recut.py", "--extend", s.build)
    if not code or "debug" not in output:
        wrong.append(f"no debug information in the library: recut says {output}")
    os.replace(library + ".kept", library)
    return wrong


def check_approval(s):
    """A change that abidiff reports is green once its report is approved, line by line; removal never is."""
    wrong, edits = [], next(edits for name, edits, _, _ in BREAKS if name == "options grow at the end")
    for edit in edits:
        s.replace(*edit)
    s.make()
    report = gate(s, "abidiff")[1].splitlines()
    first = next(i for i, line in enumerate(report) if line.endswith("not in abi/approved:"))
    lines = report[first + 1:-1]
    s.write("abi/approved", s.read("abi/approved") + "\n# at its end\n" + "\n".join(lines) + "\n")
    if gate(s, "abidiff")[0]:
        wrong.append("an approved change is red")
    s.write("abi/approved", s.read("abi/approved").replace(lines[-1] + "\n", ""))
    if not gate(s, "abidiff")[0]:
        wrong.append("a change whose report was approved in part is green")
    s.mend()
    return wrong


ENTRY = "## another cut\n\nWhat: a test.\nWhy: to see.\nWho is hurt: nobody.\n\n"
with open(os.path.join(TOP, "abi", "RECUT.md"), encoding="utf-8") as _f:
    NEWEST = re.search(r"^## .*$", _f.read(), flags=re.M).group()
BROKEN = next(edits for name, edits, _, _ in BREAKS if name == "a frozen struct grows")
GROWN = next(edits for name, edits, _, _ in BREAKS if name == "options grow at the end")


def new_entry(text=ENTRY):
    return ("abi/RECUT.md", NEWEST, text + NEWEST)


# name, edits, options of recut, what it says when it must refuse (None: it must work, and the gates be green then)
RECUTS = (
    ("without an entry", BROKEN, (), "write a new one"),
    ("with an entry that gives no reason", (*BROKEN, new_entry(ENTRY.replace("Why", "Because"))), (), "no line 'Why"),
    ("with an entry in the place of the last", (*BROKEN, ("abi/RECUT.md", NEWEST, "## other words")), (), "has lost"),
    ("after 1.0.0", (*BROKEN, new_entry(), RELEASED), (), "1.0.0"),
    ("with an entry", (*BROKEN, new_entry()), (), None),
    ("extended by a break", BROKEN, ("--extend",), "has grown"),
    ("extended by an addition that nobody approved", GROWN, ("--extend",), "not in abi/approved"),
)


def check_recut(s, case):
    name, edits, options, refusal = case
    for path in ("promise.json", "libvh.abi"):
        s.write(f"abi/baseline/{path}", s.read(f"abi/baseline/{path}"))  # so that it is mended
    for edit in edits:
        s.replace(*edit)
    s.make()
    code, output = s.python("abi/recut.py", *options, s.build)
    wrong = []
    if refusal and (not code or refusal not in output):
        wrong.append(f"recut {name}: exit code {code}, {output.strip()[-300:]}")
    if not refusal:
        reds = [which for which in ("layout", "abidiff") if gate(s, which)[0]]
        wrong += [f"recut {name}: {output.strip()[-300:]}"] if code else [f"recut {name}: {r} is red then" for r in reds]
    s.mend()
    return wrong


def main():
    wrong = []
    nothing, *breaks = BREAKS
    cases = [(check_break, case) for case in breaks] + [(check_recut, case) for case in RECUTS]
    made = drawn(cases, 2)
    with tempfile.TemporaryDirectory() as folder:
        s = Scratch(folder)
        s.configure()
        s.make("vh", "vh_python")
        for check, case in [(check_break, nothing), *made]:
            try:
                wrong += check(s, case)
            except Failed as e:
                wrong.append(f"{case[0]}: {e}")
                s.mend()
        wrong += check_debug_info(s) + check_approval(s)
    for line in wrong:
        print(line)
    print(f"{len(made)} of {len(cases)} breaks and recuts, debug information, approval: {len(wrong)} problems")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
