# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""A copy of what the library and its gates are made of, to be broken and mended again; built without optimisation."""
import functools
import os
import random
import shutil
import subprocess
import sys

import parse

PARTS = ("CHANGELOG.md", "CMakeLists.txt", "CMakePresets.json", "abi", "bindings", "cmake", "go", "include", "pkgconfig",
         "python", "src", "tools", "tests/abi", "tests/ioctl", "tests/gates")
SKIPPED = shutil.ignore_patterns("__pycache__", ".mypy_cache", ".pytest_cache", "build", "*.so")
OFF = tuple(f"-D{option}=OFF" for option in ("VH_TESTS", "VH_EXAMPLES", "VH_MAN"))


class Failed(Exception):
    """What a command said that failed."""


def run(*argv, cwd=None, env=None, ok=True):
    """(exit code, output) of a command; Failed when it had to succeed."""
    got = subprocess.run(argv, cwd=cwd, env={**os.environ, **(env or {})}, stdin=subprocess.DEVNULL,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    output = got.stdout.decode(errors="replace")
    if ok and got.returncode:
        raise Failed(f"{' '.join(argv)}: exit code {got.returncode}\n{output[-3000:]}")
    return got.returncode, output


FULL = os.environ.get("VH_FULL") == "1"


def chosen(mutants):
    """Of (name, quick, edits) the quick ones, with VH_FULL=1 all."""
    return [m for m in mutants if FULL or m[1]]


@functools.lru_cache(None)
def seed():
    """VH_SEED, or another one, which is printed."""
    number = int(os.environ.get("VH_SEED") or random.SystemRandom().randrange(1, 1 << 31))
    print(f"VH_SEED={number}", flush=True)
    return number


def drawn(cases, share):
    """One case in share, in their order, drawn by the seed; with VH_FULL=1 all."""
    if FULL:
        return cases
    return [cases[i] for i in sorted(random.Random(seed()).sample(range(len(cases)), -(-len(cases) // share)))]


def verdict(wrong, made, known):
    """What a gate of mutants says, and its exit code."""
    for line in wrong:
        print(line)
    print(f"{made} of {known} mutants, {len(wrong)} survive")
    return 1 if wrong else 0


class Scratch:
    def __init__(self, folder):
        os.environ["CCACHE_BASEDIR"] = folder  # what was compiled in another scratch folder is the same
        self.top = os.path.join(folder, "top")
        self.build = os.path.join(folder, "build")
        self.changed = {}  # path -> (text, time) before
        self.made = False  # since the first change
        for part in PARTS:
            source, target = os.path.join(parse.TOP, part), os.path.join(self.top, part)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            if os.path.isdir(source):
                shutil.copytree(source, target, ignore=SKIPPED)
            elif os.path.exists(source):
                shutil.copy2(source, target)

    def configure(self, *options):
        run("cmake", "-G", "Ninja", "-S", self.top, "-B", self.build, "-DCMAKE_C_COMPILER=gcc", "-DCMAKE_BUILD_TYPE=Debug",
            *OFF, *options)

    def make(self, *targets):
        run("ninja", "-C", self.build, *(targets or ("vh",)))
        self.made = True

    def read(self, path):
        with open(os.path.join(self.top, path), encoding="utf-8") as f:
            return f.read()

    def write(self, path, text):
        full = os.path.join(self.top, path)
        if not self.changed:
            self.made = False
        self.changed.setdefault(path, (self.read(path), os.stat(full).st_mtime_ns))
        with open(full, "w", encoding="utf-8") as f:
            f.write(text)

    def replace(self, path, old, new):
        """Exactly one place."""
        text = self.read(path)
        if text.count(old) != 1:
            raise Failed(f"{path}: {old!r} is there {text.count(old)} times; the table of this test is out of date")
        self.write(path, text.replace(old, new))

    def mend(self):
        """As it was; what was not built meanwhile need not be built again."""
        for path, (text, time) in self.changed.items():
            full = os.path.join(self.top, path)
            with open(full, "w", encoding="utf-8") as f:
                f.write(text)
            if not self.made:
                os.utime(full, ns=(time, time))
        self.changed = {}

    def survivors(self, mutants, notices):
        """A line for each of the mutants, (name, ..., edits), that notices() did not notice, or could not judge."""
        wrong = []
        for name, *_, edits in mutants:
            try:
                for edit in edits:
                    self.replace(*edit)
                if not notices():
                    wrong.append(f"{name}: nobody notices")
            except Failed as e:
                wrong.append(f"{name}: {e}")
            finally:
                self.mend()
        return wrong

    def python(self, script, *args):
        """A Python program of the copy, with the copy's modules: (exit code, output)."""
        path = os.pathsep.join(os.path.join(self.top, part) for part in ("bindings", "abi"))
        return run(sys.executable, "-B", os.path.join(self.top, script), *args, cwd=self.top, env={"PYTHONPATH": path},
                   ok=False)
