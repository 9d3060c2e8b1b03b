# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Kind kern: tests/kern/guest_*, in C and in Python, and the Go programs of go/internal/guest, in a guest, under Debian 12's kernel
6.12; with --all under the oldest 6.12 and the newest of all.

kern.py BUILD RELEASE [--all] [--keep FOLDER]; RELEASE is what ./run build makes, which the Go programs are built against. Each case
is told as KERNEL PROGRAM/CASE; a line that begins with BAD is one that failed, was skipped though tests/kern/skips.tsv does not
have it, or never came. Only the first kernel must have the simulators. Nothing to boot is a failure too.
"""
import argparse
import contextlib
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, "tests", "lab"))
import kernel  # noqa: E402  # pylint: disable=wrong-import-position
import proc  # noqa: E402  # pylint: disable=wrong-import-position
import sims  # noqa: E402  # pylint: disable=wrong-import-position
import programs  # noqa: E402  # pylint: disable=wrong-import-position
import suite  # noqa: E402  # pylint: disable=wrong-import-position

NEWEST = "sid"
NO_SIMS = "no simulators"  # as programs say it


def skips(version):
    """Cases that this kernel may skip."""
    with open(os.path.join(TOP, "tests", "kern", "skips.tsv"), encoding="utf-8") as f:
        rows = [line.rstrip("\n").split("\t") for line in f if line.strip() and not line.startswith("#")]
    return {case for case, kernels, _ in rows if re.fullmatch(kernels, version)}


class Report:
    """What the console said, case by case."""

    def __init__(self, console, names):
        self.verdicts = {}   # PROGRAM/CASE -> (verdict, why)
        self.codes = {}      # PROGRAM -> exit code
        self.kernel = []
        self._program, self._why = None, ""
        for line in console.splitlines():
            self._line(line.strip())
        for name in names:
            if name not in self.codes:
                self.verdicts.setdefault(name, ("missing", "the program did not come to its end"))
            elif self.codes[name] == 0 and not any(case.startswith(name + "/") for case in self.verdicts):
                self.verdicts[name] = ("missing", "the program told no case")
            elif self.codes[name] and not any(v[0] == "not ok" for case, v in self.verdicts.items() if case.startswith(name + "/")):
                self.verdicts[name] = ("not ok", f"exit code {self.codes[name]}")

    def _line(self, line):
        if found := re.match(r"@@ run guest_(\S+)", line):
            self._program, self._why = found.group(1), ""
        elif found := re.match(r"@@ end guest_(\S+) (\d+)", line):
            self.codes[found.group(1)] = int(found.group(2))
            self._program = None
        elif line.startswith("# kernel: "):
            if re.search(r"\bBUG\b|WARNING: |Oops|general protection|Call Trace", line):
                self.kernel.append(line)
        elif found := re.match(r"# (?:why|skip): (.*)", line):
            self._why = found.group(1)
        elif self._program and (found := re.match(r"(case|ok|not ok|skip) ([^\s:]+)(?:: (.*))?$", line)):
            verdict, name, why = found.groups()
            name = f"{self._program}/{name}"
            if verdict == "case":
                self.verdicts.setdefault(name, ("missing", "it never ended"))
            else:
                self.verdicts[name] = (verdict, why or self._why)
                self._why = ""

    def lines(self, version, with_sims):
        """A line for each case; those that must not be begin with BAD."""
        allowed = skips(version)
        for name, (verdict, why) in self.verdicts.items():
            good = verdict == "ok" or (verdict == "skip" and (name in allowed or (why == NO_SIMS and not with_sims)))
            if verdict == "ok" and name in allowed:
                good, why = False, "skips.tsv says that this kernel can't"
            yield f"{'' if good else 'BAD '}{verdict:<7} {version} {name}{': ' + why if why else ''}"
        for line in self.kernel:
            yield f"BAD {version} {line[2:]}"


def have_sims(kernel_dir):
    """The archive keeps old kernels longer than the headers to build the simulators with."""
    try:
        return bool(sims.fetch(kernel_dir))
    except kernel.Missing as e:
        print(f"# {kernel.version_of(kernel_dir)} goes without simulators: {e}")
        return False


def newest():
    """Folder of the newest kernel of Debian's unstable suite."""
    packages = suite.kernel_packages(NEWEST)
    dest = os.path.join(kernel.cache_dir(), "kernel-" + packages[0][len("linux-image-"):])
    if not os.path.isdir(dest):
        tree = suite.unpack(NEWEST, *packages)
        kernel.convert(tree, dest)
        shutil.rmtree(tree)
    return dest


def go_programs(release):
    words = [sys.executable, os.path.join(TOP, "tests", "go", "run.py"), "guest", release]
    out = subprocess.run(words, stdout=subprocess.PIPE, check=True)
    return sorted(glob.glob(os.path.join(out.stdout.decode().splitlines()[-1], "guest_*")))


def one(work, kernel_dir, build, go, with_sims):
    """One boot: prints its cases; how many there were, were skipped, and were bad."""
    started = time.monotonic()
    version = kernel.version_of(kernel_dir)
    tests = sorted(f for f in glob.glob(os.path.join(build, "tests", "kern", "guest_*")) if os.access(f, os.X_OK) and os.path.isfile(f))
    sources = glob.glob(os.path.join(TOP, "tests", "kern", "guest_*.[cp]*"))
    names = [os.path.basename(f)[len("guest_"):].partition(".")[0] for f in sources]
    names += [os.path.basename(f)[len("guest_"):] for f in go]
    packed = [(f"tests/{os.path.basename(f)}", f) for f in go]
    packed += [(f"tests/{os.path.basename(f)}", f) for f in tests if os.path.basename(f)[len("guest_"):] in names]
    packed += programs.python(work, build, [(f"tests/{os.path.basename(f)[:-3]}", f) for f in sources if f.endswith(".py")])
    packed.append(("bin/vhctl", os.path.join(build, "vhctl")))
    try:
        console = programs.boot(work, kernel_dir, programs.archive(work, kernel_dir, packed, with_sims))
    except proc.Failed as e:
        print(e)
        with open(os.path.join(work, f"guest-{version}.log"), encoding="utf-8", errors="replace") as f:
            console = f.read()
        print(f"BAD {version}: the guest did not come to its end: {str(e).splitlines()[0][:120]}")
    print(console)
    report = Report(console, names)
    lines = list(report.lines(version, with_sims))
    print("\n".join(lines))
    print(f"# {version}: {time.monotonic() - started:.0f} s")
    verdicts = [verdict for verdict, _ in report.verdicts.values()]
    return len(verdicts), verdicts.count("skip"), sum(line.startswith("BAD") for line in lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build")
    parser.add_argument("release")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--keep", help="folder for the guest's console and archive")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        work = options.keep or stack.enter_context(tempfile.TemporaryDirectory(prefix="vh-kern-"))
        os.makedirs(work, exist_ok=True)
        go = go_programs(options.release)
        try:
            kernels = [(kernel.fetch(), True)]
            if options.all:
                kernels += [(newest(), False), *((old, have_sims(old)) for old in [kernel.fetch_oldest()] if old)]
            counts = [one(work, kernel_dir, options.build, go, with_sims) for kernel_dir, with_sims in kernels]
        except kernel.Missing as e:
            print(f"BAD no kernel to boot: {e}")
            return 1
    cases, skipped, bad = map(sum, zip(*counts))
    versions = " ".join(kernel.version_of(k) for k, _ in kernels)
    print(f"{cases} cases in {versions}, {skipped} skipped as skips.tsv says" if not bad else f"{bad} bad")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
