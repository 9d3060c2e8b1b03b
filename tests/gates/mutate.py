# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Gate `mutation`: mutate.py BUILD [LOGS] switches each numbered check (src/*/sites.def) off once; a test must turn red.

BUILD has VH_MUTATE=ON. Every C test and every hostile test runs once and tells which checks fired in it (VH_SITE_LOG);
then, for each check, the tests in which it fires run without it (VH_MUTATE_SITE), the quickest first, until one fails.
A check that fires in no test, or whose absence nobody notices, is a problem. A quarter of the checks is removed, drawn by
VH_SEED, which is printed; all of them with VH_FULL=1. VH_SITES=NUMBER,... names some. LOGS: what mutate_plugin.py wrote when
the hostile tests ran on BUILD just now, so that they need not run again.
"""
import concurrent.futures
import glob
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PYTHON = "/usr/bin/python3"
HOSTILE = os.path.join(TOP, "tests", "hostile")
RANGES = {"wire": 100, "sock": 200, "mem": 300, "queue": 400, "device": 500, "slave": 600, "master": 700, "driver": 800, "gpu": 900,
          "kern": 1000, "vdpa": 1100, "vduse": 1200, "metrics": 1300}


def sites():
    """{number: name} of every check, and what is wrong with their lists: each has one number and one place of use."""
    found, wrong = {}, []
    for path in sorted(glob.glob(os.path.join(TOP, "src", "*", "sites.def"))):
        folder = os.path.dirname(path)
        first = RANGES[os.path.basename(folder)]
        used = []
        for source in glob.glob(os.path.join(folder, "*.[ch]")):
            with open(source, encoding="utf-8") as f:
                used += re.findall(r"VHI_REFUSE\(\s*(VHI_SITE_\w+)", f.read())
        with open(path, encoding="utf-8") as f:
            for name, number in re.findall(r"^VHI_SITE\((\w+), (\d+),", f.read(), flags=re.M):
                number = int(number)
                if number in found or not first <= number < first + 100:
                    wrong.append(f"{name}: number {number} is taken, or outside of {first} to {first + 99}")
                found[number] = name
                if used.count(f"VHI_SITE_{name}") != 1:
                    wrong.append(f"{name} ({number}): used {used.count(f'VHI_SITE_{name}')} times in VHI_REFUSE, not once")
    return found, wrong


# Always with the counts of the gate: what only the larger ones would notice, the gate would let through.
INHERITED = {name: value for name, value in os.environ.items() if name != "VH_FULL"}


class Test:
    """One thing to run: a C program, or one hostile test case."""

    def __init__(self, name, argv, env):
        self.name, self.argv, self.env = name, argv, env
        self.seconds = 0.0
        self.fired = set()

    def run(self, env, limit):
        try:
            got = subprocess.run(self.argv, cwd=TOP, env={**INHERITED, **self.env, **env}, stdin=subprocess.DEVNULL,
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=limit, check=False)
            return got.returncode == 0, got.stdout.decode(errors="replace")
        except subprocess.TimeoutExpired:
            return False, f"no end after {limit} s"

    def survey(self):
        """Run whole, note the checks that fire and how long it takes. What is wrong, if it is not green."""
        with tempfile.NamedTemporaryFile(prefix="vh-sites-") as log:
            started = time.monotonic()
            ok, text = self.run({"VH_SITE_LOG": log.name}, 300)
            self.seconds = time.monotonic() - started
            self.fired = {int(n) for n in log.read().split()}
        return None if ok else f"{self.name} is red with every check on:\n{text[-2000:]}"

    def notices(self, number):
        return not self.run({"VH_MUTATE_SITE": str(number)}, 20 + 5 * self.seconds)[0]


def c_tests(build):
    out = subprocess.run(["ctest", "--test-dir", build, "--show-only=json-v1"], stdout=subprocess.PIPE, check=True).stdout
    return [Test(t["name"], t["command"], {}) for t in json.loads(out)["tests"] if "command" in t]


def pytest_argv(*words):
    return [PYTHON, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *words]


def read_logs(logs, env):
    """One Test for each hostile case, of which mutate_plugin.py told."""
    tests = []
    for path in sorted(glob.glob(os.path.join(logs, "*.json"))):
        with open(path, encoding="utf-8") as f:
            told = json.load(f)
        test = Test(told["id"], pytest_argv(told["id"]), env)
        test.seconds = told["seconds"] + 1
        if os.path.exists(path[:-5]):
            with open(path[:-5], encoding="ascii") as f:
                test.fired = {int(n) for n in f.read().split()}
        tests.append(test)
    return tests


def hostile_tests(build, logs):
    """The hostile cases, surveyed in one run, and what went wrong in it."""
    if not glob.glob(os.path.join(HOSTILE, "test_*.py")):
        return [], []
    env = {"VH_BUILD": build, "PYTHONDONTWRITEBYTECODE": "1",
           "PYTHONPATH": os.pathsep.join((os.path.dirname(os.path.abspath(__file__)), os.path.join(TOP, "python")))}
    if logs:
        tests = read_logs(logs, env)
        return tests, [] if tests else [f"{logs}: no logs of the hostile tests"]
    with tempfile.TemporaryDirectory(prefix="vh-sites-") as logs:
        whole = Test("tests/hostile", pytest_argv("-p", "mutate_plugin", HOSTILE), {**env, "VH_SITE_LOGS": logs})
        ok, text = whole.run({}, 900)
        if not ok:
            return [], [f"tests/hostile is red with every check on:\n{text[-2000:]}"]
        return read_logs(logs, env), []


def judge(number, name, tests):
    """None when a test notices that the check is gone."""
    there = sorted((t for t in tests if number in t.fired), key=lambda t: t.seconds)
    if not there:
        return f"{name} ({number}): fires in no test"
    for test in there[:12]:
        if test.notices(number):
            return None
    return f"{name} ({number}): {min(len(there), 12)} tests in which it fires stay green without it: {there[0].name}"


def drawn(found):
    """The checks to remove this time."""
    if os.environ.get("VH_SITES"):
        return {int(n): found[int(n)] for n in os.environ["VH_SITES"].split(",")}
    if os.environ.get("VH_FULL") == "1":
        return found
    seed = int(os.environ.get("VH_SEED") or random.SystemRandom().randrange(1, 1 << 31))
    print(f"VH_SEED={seed}", flush=True)
    return {n: found[n] for n in random.Random(seed).sample(sorted(found), (len(found) + 3) // 4)}


def main():
    build = os.path.abspath(sys.argv[1])
    found, wrong = sites()
    tests = c_tests(build)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        wrong += [w for w in pool.map(Test.survey, tests) if w]
        cases, problems = hostile_tests(build, sys.argv[2] if len(sys.argv) > 2 else None)
        wrong += problems
        tests += cases
        removed = drawn(found)
        wrong += [f"{found[n]} ({n}): fires in no test" for n in sorted(set(found) - set(removed))
                  if not any(n in t.fired for t in tests)]
        wrong += [w for w in pool.map(lambda item: judge(*item, tests), sorted(removed.items())) if w]
    for line in wrong:
        print(line)
    print(f"{len(removed)} of {len(found)} checks removed once each, {len(tests)} tests, {len(wrong)} problems")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
