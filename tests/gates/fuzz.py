# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Gate `fuzz`: fuzz.py BUILD SECONDS runs every target BUILD/tests/fuzz/fuzz_NAME, two at a time.

Each starts from the committed corpus tests/fuzz/corpus/NAME; what it finds on the way goes to a scratch folder, an input
that crashes it to BUILD/crashes/.
"""
import concurrent.futures
import glob
import os
import re
import subprocess
import sys
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def run(target, seconds, crashes):
    name = os.path.basename(target)[len("fuzz_"):]
    corpus = os.path.join(TOP, "tests", "fuzz", "corpus", name)
    if not os.path.isdir(corpus) or not os.listdir(corpus):
        return f"{name}: no committed corpus at {os.path.relpath(corpus, TOP)}", 0
    with tempfile.TemporaryDirectory(prefix="vh-fuzz-") as scratch:
        argv = [target, f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=2048", "-print_final_stats=1",
                f"-artifact_prefix={crashes}/{name}-", scratch, corpus]
        got = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             timeout=seconds + 120, check=False)
    text = got.stdout.decode(errors="replace")
    runs = int((re.findall(r"stat::number_of_executed_units:\s*(\d+)", text) or ["0"])[-1])
    if got.returncode:
        return f"{name}: exit code {got.returncode}\n{text[-6000:]}", runs
    if runs < 1000:
        return f"{name}: only {runs} runs in {seconds} s\n{text[-2000:]}", runs
    print(f"{name}: {runs} runs, corpus of {len(os.listdir(corpus))}", flush=True)
    return None, runs


def main():
    build, seconds = sys.argv[1], int(sys.argv[2])
    targets = [t for t in sorted(glob.glob(os.path.join(build, "tests", "fuzz", "fuzz_*"))) if os.access(t, os.X_OK) and
               os.path.isfile(t)]
    if not targets:
        print(f"{build}: no targets")
        return 1
    crashes = os.path.join(build, "crashes")
    os.makedirs(crashes, exist_ok=True)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda t: run(t, seconds, crashes), targets))
    wrong = [problem for problem, _ in results if problem]
    for line in wrong:
        print(line)
    print(f"{len(targets)} targets, {sum(runs for _, runs in results)} runs, {len(wrong)} problems")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
