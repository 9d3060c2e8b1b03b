# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Gate `fuzz`: fuzz.py BUILD SECONDS runs every target BUILD/tests/fuzz/fuzz_NAME, two at a time.

Each starts from the committed corpus tests/fuzz/corpus/NAME; what it finds on the way goes to a scratch folder, an input
that crashes it to BUILD/crashes/. VH_FUZZ_SECONDS is how long each runs, whatever SECONDS says; VH_FUZZ_SEED repeats a
run. And every function of the rings has to be entered by a committed input.
"""
import concurrent.futures
import glob
import os
import random
import re
import subprocess
import sys
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FUZZ = os.path.join(TOP, "tests", "fuzz")
# Small targets, and those that share their code with another one, get half of the gate's time.
HALF = {"blk", "wire", "iotlb", "inflight", "packed_device", "packed_driver"}
RINGS = ("split_device", "split_driver", "packed_device", "packed_driver", "inflight")
ENTERED = ("again.c", "chain.c", "in_order.c", "in_order_driver.c", "inflight_packed.c", "inflight_split.c", "log.c", "packed_device.c",
           "packed_driver.c", "split_device.c", "split_driver.c", "submit.c", "vhi_chain.h", "vhi_submit.h")
NOT_ENTERED = {
    "vhi_take_poisoned": "no mapping here is truncated",
    "vh_queue_mark": "a device's own call",
    "packed_parked": "a slave's, whose connection ended", "split_parked": "a slave's, whose connection ended",
    **dict.fromkeys(("vhi_queue_rewind", "packed_collect", "split_collect", "vhi_early_reap", "vhi_queue_early"),
                    "a session's, over a device that forgets; queue/test_again does it at random"),
}
LEAST = 40  # runs a second that a target has to get through on the slowest machine


def run(target, seconds, seed, crashes):
    name = os.path.basename(target)[len("fuzz_"):]
    seconds //= 2 if name in HALF and seconds <= 60 else 1
    corpus = os.path.join(FUZZ, "corpus", name)
    if not os.path.isdir(corpus) or not os.listdir(corpus):
        return f"{name}: no committed corpus at {os.path.relpath(corpus, TOP)}", 0
    with tempfile.TemporaryDirectory(prefix="vh-fuzz-") as scratch:
        argv = [target, f"-max_total_time={seconds}", f"-seed={seed}", "-timeout=20", "-rss_limit_mb=2048",
                "-max_len=2048", f"-dict={FUZZ}/vhost-user.dict", "-print_final_stats=1",
                f"-artifact_prefix={crashes}/{name}-", scratch, corpus]
        got = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             timeout=seconds + 120, check=False)
    text = got.stdout.decode(errors="replace")
    runs = int((re.findall(r"stat::number_of_executed_units:\s*(\d+)", text) or ["0"])[-1])
    if got.returncode:
        return f"{name}: seed {seed}: exit code {got.returncode}\n{text[-6000:]}", runs
    if runs < len(os.listdir(corpus)) + LEAST * seconds:
        return f"{name}: seed {seed}: only {runs} runs in {seconds} s\n{text[-2000:]}", runs
    print(f"{name}: seed {seed}, {runs} runs, corpus of {len(os.listdir(corpus))}", flush=True)
    return None, runs


def not_entered(targets):
    """What of the rings no committed input comes to, though it should, or does come to, though it is said not to."""
    entered = {}
    for target in targets:
        name = os.path.basename(target)[len("fuzz_"):]
        if name in RINGS:
            got = subprocess.run([target, "-runs=0", "-print_coverage=1", os.path.join(FUZZ, "corpus", name)], check=False,
                                 stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300)
            for un, function, file in re.findall(r"^(UN)?COVERED_FUNC: hits: \d+ edges: \S+ (\S+) \S*/src/queue/([\w.]+):\d+",
                                                 got.stdout.decode(errors="replace"), flags=re.M):
                if file in ENTERED:
                    entered[function] = entered.get(function, False) or not un
    if not entered:
        return ["no coverage was told"]
    never = {function for function in entered if not entered[function]}
    return ([f"{function} is entered by no committed input" for function in sorted(never - set(NOT_ENTERED))] +
            [f"{function} is entered, or there is none: not one for NOT_ENTERED" for function in sorted(set(NOT_ENTERED) - never)])


def main():
    build, seconds = sys.argv[1], int(os.environ.get("VH_FUZZ_SECONDS") or sys.argv[2])
    seed = int(os.environ.get("VH_FUZZ_SEED") or random.SystemRandom().randrange(1, 1 << 31))
    named = {os.path.basename(c)[:-2] for c in glob.glob(os.path.join(FUZZ, "fuzz_*.c"))}
    targets = [t for t in sorted(glob.glob(os.path.join(build, "tests", "fuzz", "fuzz_*"))) if os.access(t, os.X_OK) and
               os.path.isfile(t)]
    missing = sorted(named - {os.path.basename(t) for t in targets})
    if not targets or missing:
        print(f"{build}: targets that were not built: {' '.join(missing) or 'all'}")
        return 1
    crashes = os.path.join(build, "crashes")
    os.makedirs(crashes, exist_ok=True)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda t: run(t, seconds, seed, crashes), targets))
    wrong = [problem for problem, _ in results if problem] + not_entered(targets)
    for line in wrong:
        print(line)
    print(f"{len(targets)} targets, {sum(runs for _, runs in results)} runs, seed {seed}, {len(wrong)} problems")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
