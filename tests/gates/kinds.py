# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""The kinds of checks that ./run test knows: what each runs, what it needs before, and whether it may be skipped."""
import glob
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
GATES = os.path.join(TOP, "tests", "gates")
PYTHON = "/usr/bin/python3"
MODULES = os.pathsep.join(os.path.join(TOP, part) for part in ("bindings", "abi"))  # what gates import
FULL = os.environ.get("VH_FULL") == "1"
sys.path.insert(0, os.path.join(TOP, "tests", "lab"))
import cargo  # noqa: E402  # pylint: disable=wrong-import-position


class Failed(Exception):
    """The kind failed; the text says why in a line, the excerpt (else the end of the log) shows it."""

    def __init__(self, why, excerpt=()):
        super().__init__(why)
        self.excerpt = list(excerpt)


class Skip(Exception):
    """The kind can't run here; the text says why in a line."""


class Job:
    """What a kind's function gets: a log file to run commands into, and a deadline that it need not mind."""

    def __init__(self, log, limit):
        self.log = log
        self.limit = None if FULL else limit
        self.cpu = 0.0  # seconds that its commands computed, with all that they started and waited for

    def run(self, *argv, env=None, ok=(0,), cwd=TOP):
        """One command, its output appended to the log; the output. Failed on another exit code than those of ok."""
        self.log.write(f"$ {shlex.join(argv)}\n".encode())
        self.log.flush()
        start = self.log.tell()
        try:
            child = subprocess.Popen(argv, cwd=cwd, env={**os.environ, **(env or {})}, stdin=subprocess.DEVNULL,
                                     stdout=self.log, stderr=subprocess.STDOUT)
        except FileNotFoundError:
            raise Failed(f"{argv[0]} is not there; cmake/packages should name its package") from None
        code = self.wait(child)
        if code is None:
            raise Failed(f"no end after {self.limit} s: {shlex.join(argv)}")
        with open(self.log.name, "rb") as f:
            f.seek(start)
            output = f.read().decode(errors="replace")
        self.log.seek(0, os.SEEK_END)
        if code not in ok:
            raise Failed(f"exit code {code} of {shlex.join(argv)}")
        return output

    def wait(self, child):
        """The exit code, or None when it was killed at its limit."""
        late = threading.Event()

        def kill():
            late.set()
            os.kill(child.pid, signal.SIGKILL)
        timer = threading.Timer(self.limit, kill) if self.limit else None
        if timer:
            timer.start()
        # Popen's own wait does not tell what the child cost.
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        if timer:
            timer.cancel()
            timer.join()  # while the pid is still the child's
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        self.cpu += usage.ru_utime + usage.ru_stime
        return None if late.is_set() else child.returncode


def build_dir(preset):
    return os.path.join(TOP, "build" if preset == "release" else f"build-{preset}")


def last_line(output):
    lines = [line for line in output.splitlines() if line.strip()]
    return lines[-1].strip() if lines else ""


def build(preset, *targets):
    """All of it, or only what these targets need."""
    def work(job):
        job.run("cmake", "--preset", preset)
        job.run("cmake", "--build", build_dir(preset), *(["--target", *targets] if targets else []))
        return preset
    return work


def run_ctest(job, preset, only="", prefix=(), env=None, without=()):
    """ctest in a build folder; 'N programs, M tests'. A test that skips itself fails the kind."""
    argv = [*prefix, "ctest", "--test-dir", build_dir(preset), "-V", "-j", "2", "--no-tests=error"]
    argv += ["-R", only] if only else []
    argv += ["-E", f"^({'|'.join(without)})$"] if without else []
    out = job.run(*argv, env=env, ok=(0, 8))
    failed = dict(re.findall(r"^\s+(\d+) - (\S+) \(.*\)$", out, flags=re.M))
    if failed:
        lines = [line for line in out.splitlines() if line.partition(":")[0] in failed]
        # What a program says about a test that fails stands right before its FAILED.
        ends = [i for i, line in enumerate(lines) if re.search(r"\[  FAILED  \]|Sanitizer|rror:", line)]
        shown = sorted({j for i in ends or [len(lines) - 1] for j in range(max(0, i - 4), i + 1)})
        raise Failed(f"red: {' '.join(failed.values())}", [lines[i] for i in shown][:60])
    skipped = re.findall(r"\[  SKIPPED \] (\S+)", out) + re.findall(r"(\S+) \.+\*+(?:Skipped|Not Run)", out)
    if skipped:
        raise Failed(f"skipped: {' '.join(sorted(set(skipped)))}")
    programs = re.search(r"tests passed, 0 tests failed out of (\d+)", out)
    if not programs:
        raise Failed("ctest told no result")
    return f"{programs.group(1)} programs, {out.count('[       OK ]')} tests"


def ctest(preset, only="", env=None):
    return lambda job: run_ctest(job, preset, only, env=env)


def built_and_tested(preset, only="", env=None, prefix=()):
    """Build a preset, then run its whole suite (or that part of it)."""
    def work(job):
        build(preset)(job)
        return run_ctest(job, preset, only, prefix, env)
    return work


def script(name, *args):
    return lambda job: last_line(job.run(PYTHON, os.path.join(GATES, name), *args,
                                         env={"PYTHONPATH": MODULES}))


def litmus(job):
    """The orders of loads and stores that rings and the gate rely on, and each of them taken out; then the code."""
    tests = last_line(job.run(PYTHON, "-B", os.path.join(TOP, "tests", "model", "litmus", "check.py"), "-v"))
    code = last_line(job.run(os.path.join(GCC, "tests", "model", "litmus", "litmus_rings")))
    return f"{tests}; {code}"


def pytest(folder, env=None, only="", but=None, options=()):
    """A folder of Python tests, or the files of it whose path matches and does not match. Tests that skip fail the kind, by
    name."""
    def work(job):
        path = os.path.join(TOP, "tests", folder)
        files = [f for f in sorted(glob.glob(os.path.join(path, "**", "test_*.py"), recursive=True))
                 if re.search(only, f) and not (but and re.search(but, f))]
        if not files:
            raise Skip(f"tests/{folder} has no tests")
        out = job.run(PYTHON, "-m", "pytest", "-q", "-rs", "--durations=25", "-p", "no:cacheprovider", *options, *files,
                      env={"PYTHONPATH": os.path.join(TOP, "python"), "PYTHONDONTWRITEBYTECODE": "1", **(env or {})})
        skipped = re.findall(r"^SKIPPED (.*)", out, flags=re.M)
        if skipped:
            raise Failed(f"skipped: {'; '.join(skipped)[:300]}")
        return last_line(out).strip("= ")
    return work


def bpftrace(job):
    """What a kernel does not let root do, it does not let CI do."""
    try:
        return pytest("py", {"VH_BUILD": GCC}, "/test_bpftrace")(job)
    except Failed as e:
        if str(e).startswith("skipped: "):
            raise Skip(str(e)[len("skipped: "):]) from None
        raise


ASAN = {"ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0:detect_stack_use_after_return=1",
        "UBSAN_OPTIONS": "print_stacktrace=1"}
# The whole of an address space without randomisation: gcc 12's runtime can't place its shadow otherwise.
NO_ASLR = ("setarch", "-R")


def ring_program(preset):
    found = glob.glob(os.path.join(build_dir(preset), "tests", "stress", "*tsan_ring"))
    if len(found) != 1:
        raise Failed(f"{build_dir(preset)}: there is not one tests/stress/...tsan_ring")
    return found[0]


def with_threads(job):
    """The programs of the C suite that start threads: ThreadSanitizer can find nothing in others, and is slow in all."""
    kinds = "integ", "queue", "unit"
    programs = [f for kind in kinds for f in sorted(glob.glob(os.path.join(GCC, "tests", f"{kind}_test_*")))]
    needs = job.run("nm", "-D", "--undefined-only", "--print-file-name", *programs)
    return sorted({os.path.basename(f) for f in re.findall(r"^(\S+):.* pthread_create\b", needs, flags=re.M)})


def tsan(job):
    """Driver and device on one mapping: no race; each of the two seeded builds: a race. Then what of the suite has threads."""
    env = {"TSAN_OPTIONS": "exitcode=66:halt_on_error=0:second_deadlock_stack=1"}
    programs = [] if FULL else with_threads(job)
    build("tsan", *programs, *(["tsan_ring"] if programs else []))(job)
    job.run(*NO_ASLR, ring_program("tsan"), env=env)
    for preset in ("tsan-acquire", "tsan-release"):
        build(preset, "tsan_ring")(job)
        out = job.run(*NO_ASLR, ring_program(preset), env=env, ok=(66,))
        if "WARNING: ThreadSanitizer: data race" not in out:
            raise Failed(f"{preset}: the seeded bug was not reported as a data race")
    only = f"^({'|'.join(p.replace('_', '/', 1) for p in programs)})$" if programs else "^(integ|queue|unit)/"
    return "ring clean, both seeded bugs found; " + run_ctest(job, "tsan", only, NO_ASLR, env)


def fuzz(job):
    """Every libFuzzer target from its committed corpus, two at a time."""
    if not os.path.exists(os.path.join(TOP, "tests", "fuzz", "CMakeLists.txt")):
        raise Skip("tests/fuzz has no targets")
    build("fuzz")(job)
    return last_line(job.run(PYTHON, os.path.join(GATES, "fuzz.py"), build_dir("fuzz"), "600" if FULL else "6"))


SITE_LOGS = os.path.join(build_dir("mutate"), "hostile-sites")
# Checks can be switched off, and tell when they fire; mutation, which comes next, need not run the tests again. What only the
# larger counts would notice, the gate would let through: then they are no use to it.
hostile = pytest("hostile", {"VH_BUILD": build_dir("mutate")} if FULL else
                 {"VH_BUILD": build_dir("mutate"), "VH_SITE_LOGS": SITE_LOGS,
                  "PYTHONPATH": os.pathsep.join((GATES, os.path.join(TOP, "python")))},
                 options=() if FULL else ("-p", "mutate_plugin"))


# Programs of VH_FULL=1 that need what qemu-user does not have: left out by name, and the kind's result counts them.
_URING, _GUARD = "it has no io_uring", "its SIGBUS for a truncated mapping ends the emulator"
_CUT, _PROC = "it keeps the fds of control data that it cuts", "mappings are counted in /proc, where its own are too"
UNEMULATED = {
    "unit/test_blkdev": _URING, "unit/test_blkdev_open": _URING, "unit/test_blkdev_ring": _URING, "unit/test_blkdev_slow": _URING,
    "unit/test_guard": _GUARD, "unit/test_guard_chain": _GUARD, "unit/test_mem_fail": _GUARD, "unit/test_dirty": _GUARD,
    "unit/test_mem": _PROC, "unit/test_mem_map": "the flags of a mapping are its own", "unit/test_unix": _CUT,
    "integ/test_master_hostile": _CUT, "integ/test_reconnect": "it starts vhctl, which it would have to emulate too",
    "integ/test_slave_channel": "it has no SO_PEERNAME", "integ/test_slave_idle": "it holds the heap of one machine's C library to a number of bytes",
}


def emulated(machine):
    """
    The parts of the C suite that know a machine's byte order and its memory model, with VH_FULL=1 unit and integ too. The
    kernel that ioctl plays needs process_vm_readv(), which it has not; stress, flip and fuzz are builds with a sanitizer.
    """
    parts = ("wire", "queue", "unit", "integ") if FULL else ("wire", "queue")

    def work(job):
        sources = [f for part in parts for f in sorted(glob.glob(os.path.join(TOP, "tests", part, "test_*.c")))]
        names = [(os.path.basename(os.path.dirname(f)), os.path.basename(f)[:-2]) for f in sources]
        build(machine, *(f"{part}_{name}" for part, name in names))(job)
        left = sorted(name for name in (f"{part}/{name}" for part, name in names) if name in UNEMULATED)
        for name in left:
            job.log.write(f"left out: {name}: {UNEMULATED[name]}\n".encode())
        out = run_ctest(job, machine, f"^({'|'.join(parts)})/", without=left)
        return f"{out}; {len(left)} programs left out" if left else out
    return work


def mutation(job):
    return last_line(job.run(PYTHON, os.path.join(GATES, "mutate.py"), build_dir("mutate"), *([] if FULL else [SITE_LOGS])))


def cost(job):
    """Instructions, fences and system calls of the data path, counted by callgrind against tests/bench/goals.py."""
    build("gcc", "queue_cost")(job)
    return last_line(job.run(PYTHON, os.path.join(GATES, "cost.py"), os.path.join(GCC, "tests", "bench", "queue_cost")))


def faults(job):
    """Allocations and system calls made to fail one after the other."""
    parts = []
    listed = job.run("ctest", "--test-dir", build_dir("gcc"), "-N", "-R", "^faults/")
    if re.search(r"Total Tests: [1-9]", listed):
        parts.append(run_ctest(job, "gcc", "^faults/"))
    if glob.glob(os.path.join(TOP, "tests", "faults", "test_*.py")):
        parts.append(pytest("faults", {"VH_BUILD": build_dir("gcc")})(job))
    if not parts:
        raise Skip("tests/faults has no tests")
    return "; ".join(parts)


def demo(row):
    def work(job):
        out = os.path.join(build_dir("release"), "gates", f"demo-{row}.json")
        job.run(PYTHON, os.path.join(TOP, "tests", "demo", "demo.py"), "--row", row, "--json", out, ok=(0, 1))
        with open(out, encoding="utf-8") as f:
            result = json.load(f)["rows"][0]
        if result["status"] == "missing":
            raise Skip(f"apt does not bring {result['package']}")
        if result["status"] != "ok":
            raise Failed(result["detail"].splitlines()[0])
        return result["detail"]
    return work


def go(what):
    """The Go module against the library that ./run build makes."""
    return lambda job: last_line(job.run(PYTHON, os.path.join(TOP, "tests", "go", "run.py"), what, RELEASE))


def bench(job):
    """./run bench in small: that it builds, measures, draws and sums up. What it finds is no matter here."""
    out = job.run(PYTHON, os.path.join(TOP, "tests", "bench", "bench.py"), "micro", "cores", "languages", "--pairs", "2",
                  "--small", env={"VH_BUILD": GCC})
    if "written: " not in out or "no pictures" in out:
        raise Failed("no files, or no pictures", [line for line in out.splitlines() if "written" in line])
    return last_line(out)


def run_command(job):
    """What ./run says to people, and the shape of demo.json's rows."""
    for words, code in ((("help",), 0), (("nonsense",), 2)):
        out = job.run(os.path.join(TOP, "run"), *words, ok=(code,))
        if "./run demo" not in out:
            raise Failed(f"./run {words[0]} does not tell the commands")
    return "help, and a wrong command"


def flip(job):
    """The layers up to queue, and the programs that say what is loaded."""
    build("flip", "flip_tests")(job)
    return run_ctest(job, "flip", env=ASAN)


def kern(job):
    """The programs of tests/kern, and those in Go, in a guest whose kernel has the drivers; with VH_FULL=1 in more kernels."""
    out = job.run(PYTHON, os.path.join(GATES, "kern.py"), GCC, RELEASE, *(["--all"] if FULL else []), ok=(0, 1))
    bad = [line[len("BAD "):] for line in out.splitlines() if line.startswith("BAD ")]
    if bad:
        raise Failed(f"{len(bad)} of the cases in guests are not as they should be", bad)
    return last_line(out)


def differential(job):
    """The model's driver with virtio-queue beside the library. The crate comes from its registry, by its lock file."""
    project = os.path.join(TOP, "tests", "model", "peer")
    found = cargo.own(project)
    if not found:
        raise Skip(f"no cargo of {'.'.join(map(str, cargo.wanted(project)))} or newer here: rustup brings one, or Debian trixie")
    words, env = cargo.build(found, project, os.path.join(GCC, "model-peer"))
    try:
        job.run(*words, env=env)
    except Failed:
        with open(job.log.name, encoding="utf-8", errors="replace") as f:
            why = re.search(r"failed to download|spurious network|Unable to update registry", f.read())
        if why:
            raise Skip(f"cargo can't build virtio-queue here: {why.group()}") from None
        raise
    return pytest("model", {"VH_BUILD": GCC}, "differential")(job)


class Kind:
    def __init__(self, name, work, needs=(), required=True, limit=600, about=""):
        self.name, self.work, self.needs, self.required, self.limit, self.about = name, work, needs, required, limit, about


GCC, CLANG = build_dir("gcc"), build_dir("clang")
RELEASE = build_dir("release")
# In the order in which they are started: what others wait for first, then what takes longest, so that the end is short.
KINDS = (
    Kind("gcc", build("gcc"), about="gcc, warnings are errors"),
    Kind("build", build("release"), about="what ./run build makes"),
    Kind("mutate", build("mutate"), about="a build whose checks can be switched off"),
    Kind("hostile", hostile, ("mutate",), about="raw sockets against a live back-end"),
    Kind("tsan", tsan, ("gcc",), about="ThreadSanitizer, what of the C suite has threads, with two seeded bugs"),
    Kind("msan", built_and_tested("msan"), about="MemorySanitizer, whole C suite"),
    Kind("asan", built_and_tested("asan", env=ASAN), about="AddressSanitizer and UBSan, whole C suite"),
    Kind("fuzz", fuzz, about="libFuzzer targets, 6 seconds each, 3 the small ones"),
    Kind("breaks", script("breaks.py"), about="each break of the interface turns its gate red: half of them, drawn anew each time"),
    Kind("go", go("go"), ("build",), about="the Go module: Debian's Go, vet, tests, race detector, pointer checks"),
    Kind("mutation", mutation, ("mutate", "hostile"), about="a quarter of the numbered checks, drawn anew each time, removed once each"),
    Kind("mutants", script("mutants.py"), about="a library that is wrong turns the libffi program red"),
    Kind("python", pytest("py", {"VH_BUILD": GCC}, "/test_binding_", options=("-W", "error")), ("gcc",),
         about="the Python binding, compiled; the package, its types, its examples"),
    Kind("clang", built_and_tested("clang", "" if FULL else "^(abi|wire|queue|stress)/"),
         about="clang, warnings are errors, and what of the C suite msan, which is clang too, leaves out or may compile otherwise"),
    Kind("go-new", go("new"), ("build",), about="the Go tests with the newest Go of the machine"),
    Kind("hostile-asan", pytest("hostile", {"VH_BUILD": build_dir("asan"), "VH_SAMPLE": "1" if FULL else "2", **ASAN}),
         ("asan",), about="half of the hostile tests, drawn anew each time, against a back-end with sanitizers"),
    Kind("bench", bench, ("gcc",), about="the benchmark, in small"),
    Kind("python-abi", pytest("py", {"VH_BUILD": GCC, "VH_PYTHON_MODE": "abi"}, "/test_binding_", "_(package|plugin|faults)",
                              ("-W", "error")), ("gcc",), about="the Python binding through dlopen and libffi"),
    Kind("go-pie", go("pie"), ("build",), about="the Go tests as position-independent programs"),
    Kind("go-386", go("386"), ("build",), about="library and Go tests for i386, 32 bits wide"),
    Kind("aarch64", emulated("aarch64"), about="the C suite on AArch64 in an emulator: what knows the rings and the wire, with VH_FULL=1 more"),
    Kind("s390x", emulated("s390x"), about="the same on s390x, which is big endian"),
    Kind("proofs", script("proofs.py"), about="CBMC proves notification, packed positions, translation and the walk of a chain, and finds seeded mistakes"),
    Kind("codec", pytest("py", {"VH_BUILD": GCC}, but="/test_(binding_|bpftrace)"), ("gcc",), about="the Python codec, vhctl as users meet it, docs/protocol.md, docs/seed-parity.md"),
    Kind("check", script("check.py", GCC), ("gcc",), about="vhctl check of our devices, qemu-storage-daemon, virtiofsd and DPDK, and of QEMU and libblkio as front-ends: nothing that is not listed"),
    Kind("bpftrace", bpftrace, ("gcc",), required=False, about="bpftrace is told of a session by the library's probes"),
    Kind("integ", ctest("gcc", "^integ/"), ("gcc",), about="both roles, in one process and in two"),
    Kind("model", pytest("model", {"VH_BUILD": GCC}, but="differential"), ("gcc",), about="random calls of a queue against a model in Python"),
    Kind("model-mutants", script("model_mutants.py"), about="a ring that is wrong turns the model red"),
    Kind("unit", ctest("gcc", "^unit/"), ("gcc",), about="C tests, by folder of src"),
    Kind("wire", ctest("gcc", "^wire/"), ("gcc",), about="message table and codec"),
    Kind("queue", ctest("gcc", "^queue/"), ("gcc",), about="virtqueues"),
    Kind("flip", flip, about="loads from shared memory that never agree, all of them"),
    Kind("demo-qemu", demo("qemu"), ("build",), about="a Linux guest on our back-end"),
    Kind("demo-qemu-migrates", demo("qemu-migrates"), ("build",), about="a Linux guest that moves between two QEMUs"),
    Kind("demo-qemu-postcopy", demo("qemu-postcopy"), ("build",), about="the same before its memory has come"),
    Kind("demo-qemu-upgrade", demo("qemu-upgrade"), ("build",), about="a guest's back-end is replaced while it writes"),
    Kind("demo-qemu-listens", demo("qemu-listens"), ("build",), about="our back-end connects to QEMUs that listen, one after the other"),
    Kind("demo-qemu-outlives", demo("qemu-outlives"), ("build",), about="a Linux guest whose back-end is killed"),
    Kind("demo-qemu-11", demo("qemu-11"), ("build",), required=False, about="the same in a QEMU of Debian's unstable suite"),
    Kind("demo-vduse", demo("vduse"), ("build",), about="vhctl is a disk of a kernel's, which that reads and writes"),
    Kind("demo-vdpa", demo("vdpa"), ("build",), about="vhctl and Python drive a disk and a network device that a kernel simulates"),
    Kind("kern", kern, ("gcc", "build"), about="the kernel's vhost, vDPA and VDUSE, in a guest that has them"),
    Kind("demo-qemu-iommu", demo("qemu-iommu"), ("build",), about="a Linux guest whose disk is behind an IOMMU"),
    Kind("demo-libvh", demo("libvh"), ("build",), about="libvh with itself"),
    Kind("demo-qsd", demo("qsd"), ("build",), about="our front-end on qemu-storage-daemon"),
    Kind("demo-python-drives", demo("python-drives"), ("build",), about="a Python program on our back-end"),
    Kind("demo-python-device", demo("python-device"), ("build",), about="a device in Python, mounted by a Linux guest"),
    Kind("demo-python-scsi", demo("python-scsi"), ("build",), about="a SCSI disk in Python, firmware boots from it"),
    Kind("demo-qemu-shmem", demo("qemu-shmem"), ("build",), required=False, about="QEMU 11 shows its guest what a device in Python maps"),
    Kind("demo-python-net", demo("python-net"), ("build",), about="a network device in Python, which the firmware asks for a boot"),
    Kind("demo-go-drives", demo("go-drives"), ("build",), about="a Go program on our back-end"),
    Kind("demo-go-device", demo("go-device"), ("build",), about="a device in Go, mounted by a Linux guest"),
    Kind("demo-qemu-net", demo("qemu-net"), ("build",), about="a Linux guest that reaches its host through our tap"),
    Kind("demo-dpdk-drives", demo("dpdk-drives"), ("build",), about="DPDK's driver on our network device"),
    Kind("demo-dpdk-device", demo("dpdk-device"), ("build",), about="our driver on DPDK's network device"),
    Kind("demo-trace-qemu", demo("trace-qemu"), ("build",), about="a tracer between QEMU and two back-ends decodes all, and blames nobody"),
    Kind("demo-trace-peers", demo("trace-peers"), ("build",), about="the same with qemu-storage-daemon, virtiofsd and DPDK"),
    Kind("demo-virtiofsd", demo("virtiofsd"), ("build",), about="our driver on a file system"),
    Kind("litmus", litmus, ("gcc",), about="what loads and stores may be seen in another order, by C11 and by processors"),
    Kind("cost", cost, ("gcc",), about="instructions, fences and system calls of the data path, by callgrind"),
    Kind("faults", faults, ("gcc",), about="allocations and system calls that fail"),
    Kind("headers", script("headers.py"), about="the dialect of the public headers"),
    Kind("regen", script("regen.py"), about="what is made from the headers is what they make now"),
    Kind("man", script("man.py", RELEASE), ("build",), about="the manual pages"),
    Kind("symbols", script("symbols.py", GCC), ("gcc",), about="exports, imports, forbidden symbols"),
    Kind("layout", script("abi.py", "layout"), about="the headers against the promised layouts, constants, signatures"),
    Kind("abidiff", script("abi.py", "library", GCC), ("gcc",), about="the library against its baseline"),
    Kind("sets", script("sets.py", GCC), ("gcc",), about="map, tags, library, Python and Go have the same functions"),
    Kind("abi", ctest("gcc", "^abi/"), ("gcc",), about="the library through libffi, from the model alone"),
    Kind("differential", differential, ("gcc",), required=False, about="virtio-queue of Rust on the same rings"),
    Kind("grow", script("grow.py"), about="an older program on a newer library, and the other way round"),
    Kind("layers", script("layers.py", GCC), ("gcc",), about="includes that go up don't compile"),
    Kind("format", script("format.py"), about="clang-format, SPDX lines"),
    Kind("uapi", script("uapi.py"), about="our constants against the Linux headers"),
    Kind("install", script("install.py", "install", GCC), ("gcc",), about="pkg-config and CMake packages"),
    Kind("readme", script("install.py", "readme", RELEASE), ("build",), about="the README's example"),
    Kind("go-get", go("get"), ("build",), about="go get from a module proxy, without swig"),
    Kind("run", run_command, about="the script's own words"),
)


if __name__ == "__main__":
    sys.exit("this is a table; ./run test runs it")
