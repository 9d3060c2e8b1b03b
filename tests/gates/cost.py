# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""cost.py QUEUE_COST: what pop and push, submit and reap cost, counted by callgrind, against tests/bench/goals.py.

Counted are instructions for each chain, and for each batch the full fences that were executed (locked instructions,
exchanges with memory, mfence), system calls, and calls into other libraries: there are none but for the clock and copies,
so nothing is allocated and no lock of libc's is taken."""
import collections
import concurrent.futures
import os
import re
import subprocess
import sys
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, "tests", "bench"))
import goals  # pylint: disable=wrong-import-position

ROUNDS = 210  # ten for each of the program's samples
MEASURED = ("device_batch", "driver_submit", "driver_reap", "look")
# The clock of libc makes a system call only under valgrind, which hides the page that makes it unnecessary.
CLOCK = "clock_gettime"
FOREIGN = re.compile(rf"^({CLOCK}|_*mem(cpy|set|move)|strlen|_dl_)")
FENCE = re.compile(r"^(lock\b|mfence|xchg\s.*\()")

Profile = collections.namedtuple("Profile", "instructions by_address syscalls foreign")


def read_profile(lines, program):
    """A profile of callgrind: costs of instructions themselves, by address in the program, and by function elsewhere."""
    by_address, foreign = collections.Counter(), collections.Counter()
    total = syscalls = address = 0
    obj = fn = ""
    skip = False
    for line in lines:
        key, _, value = line.rstrip("\n").partition("=")
        if key == "ob":
            obj = value
        elif key == "fn":
            fn = value
        elif key == "calls":
            skip = True  # what the callee cost is in the next line, and once more with the callee
        found = re.match(r"(0x[0-9a-f]+|[+-]\d+|\*) \S+(?: (\d+))?(?: (\d+))?", line)
        if not found:
            continue
        where, cost, calls = found.groups()
        address = address if where == "*" else int(where, 16) if where.startswith("0x") else address + int(where)
        if skip:
            skip = False
            continue
        cost = int(cost or 0)
        total += cost
        if not fn.startswith(CLOCK):
            syscalls += int(calls or 0)
        if os.path.basename(obj) == os.path.basename(program):
            by_address[address] += cost
        elif not FOREIGN.match(fn):
            foreign[fn] += cost
    return Profile(total, by_address, syscalls, foreign)


def measure(program, row):
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "callgrind")
        subprocess.run(["valgrind", "--tool=callgrind", "--dump-instr=yes", "--compress-strings=no", "--collect-systime=yes",
                        *(f"--toggle-collect={name}" for name in MEASURED), f"--callgrind-out-file={out}", program,
                        row.shape, str(row.regions), str(row.batch), str(ROUNDS), row.mode],
                       check=True, capture_output=True, env={**os.environ, "LD_BIND_NOW": "1"})
        with open(out, encoding="utf-8") as f:
            return read_profile(f, program)


def fences_of(program):
    """Addresses of instructions that are full fences."""
    out = subprocess.run(["objdump", "-d", "--no-show-raw-insn", program], check=True, capture_output=True, text=True).stdout
    return {int(m[1], 16) for m in re.finditer(r"^\s+([0-9a-f]+):\t(.*)$", out, flags=re.M) if FENCE.match(m[2])}


def main():
    program = os.path.abspath(sys.argv[1])
    fences = fences_of(program)
    wrong, per_chain, executed = [], {}, {}
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        profiles = list(pool.map(lambda row: measure(program, row), goals.COSTS))
    for row, profile in zip(goals.COSTS, profiles):
        name = f"{row.mode} {row.shape}, {row.regions} regions, batch {row.batch}"
        cost = per_chain[row[:4]] = profile.instructions / ROUNDS / row.batch
        n = sum(profile.by_address[a] for a in fences) / ROUNDS
        executed[row.mode] = max(n, executed.get(row.mode, 0))
        print(f"{name}: {cost:.1f} of at most {row.most}; {n:.2f} fences, {profile.syscalls} system calls")
        if (row.mode, row.regions, row.batch) == ("device", 1, 32) and cost > goals.PROMISED.get(row.shape, cost):
            wrong.append(f"{name}: {cost:.1f} instructions, and {goals.PROMISED[row.shape]} were promised")
        if row.mode == "driver" and cost > goals.BY_DRIVER * goals.DRIVER_FLOORS.get(row.shape, cost):
            wrong.append(f"{name}: {cost:.1f} instructions, more than {goals.BY_DRIVER} x {goals.DRIVER_FLOORS[row.shape]}")
        if not profile.by_address:
            wrong.append(f"{name}: nothing was counted in the program")
        if cost > row.most:
            wrong.append(f"{name}: {cost:.1f} instructions, more than {row.most}")
        if n > goals.FENCES[row.mode]:
            wrong.append(f"{name}: {n:.2f} full fences in a batch, more than {goals.FENCES[row.mode]}")
        if profile.syscalls:
            wrong.append(f"{name}: {profile.syscalls} system calls")
        for fn, count in profile.foreign.items():
            wrong.append(f"{name}: {count} instructions in {fn}, of another library")
    for shape in ("s1", "ps1"):
        ratio = per_chain["device", shape, 509, 32] / per_chain["device", shape, 1, 32]
        print(f"{shape}: {ratio:.2f} times as much at 509 regions as at 1")
        if ratio > goals.BY_REGIONS:
            wrong.append(f"{shape}: {ratio:.3f} times as much at 509 regions as at 1, more than {goals.BY_REGIONS}")
    for text in wrong:
        print(f"cost.py: {text}")
    if wrong:
        sys.exit(1)
    s1, ps1 = per_chain["device", "s1", 1, 32], per_chain["device", "ps1", 1, 32]
    print(f"{len(goals.COSTS)} costs; s1 {s1:.0f} and ps1 {ps1:.0f} instructions; full fences "
          + ", ".join(f"{mode} {n:.1f}" for mode, n in executed.items()))


if __name__ == "__main__":
    main()
