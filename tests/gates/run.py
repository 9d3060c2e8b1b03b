# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""./run test: every kind of check, three at a time, a line for each as it ends, a table, and the count as the last line.

A kind that fails, or that is required and can't run, makes the exit code 1. Logs: build/gates/KIND.log.
"""
import argparse
import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time

WORKERS = 3  # one more than the cores of the machine that it has to be quick on: many kinds mostly wait
TAIL = 40


class Result:
    def __init__(self, kind):
        self.kind = kind
        self.state = "waiting"
        self.detail = ""
        self.excerpt = []
        self.seconds = self.cpu = 0.0


def select(kinds, names):
    """The kinds asked for and those that they need, in table order."""
    by_name = {k.name: k for k in kinds}
    unknown = [n for n in names if n not in by_name]
    if unknown:
        raise SystemExit(f"run test: there is no kind {' '.join(unknown)}; ./run test --list names them")
    wanted = set()

    def add(name):
        if name not in wanted:
            wanted.add(name)
            for need in by_name[name].needs:
                add(need)
    for name in names or by_name:
        add(name)
    return [k for k in kinds if k.name in wanted]


def work(kinds_module, result, log_dir):
    """Run one kind; its result says how it went."""
    started = time.monotonic()
    path = os.path.join(log_dir, result.kind.name + ".log")
    try:
        with open(path, "wb") as log:
            job = kinds_module.Job(log, result.kind.limit)
            try:
                result.detail = result.kind.work(job) or ""
            finally:
                result.cpu = job.cpu
        result.state = "ok"
    except kinds_module.Skip as e:
        result.state, result.detail = ("fail" if result.kind.required else "skip"), f"can't run: {e}"
    except kinds_module.Failed as e:
        result.state, result.detail, result.excerpt = "fail", str(e), e.excerpt
    except Exception as e:  # a bug in a gate is a failure of that gate, and must not stop the others
        result.state, result.detail = "fail", f"{type(e).__name__}: {e}"
    result.seconds = time.monotonic() - started


def tail(path):
    with open(path, "rb") as f:
        return f.read()[-20000:].decode(errors="replace").splitlines()[-TAIL:]


def tell(result, log_dir):
    print(f"{result.state:<5} {result.kind.name:<12} {result.seconds:6.1f} s {result.cpu:6.1f} cpu  {result.detail}", flush=True)
    path = os.path.join(log_dir, result.kind.name + ".log")
    if result.state == "fail" and os.path.exists(path):
        print("\n".join(f"      | {line}" for line in result.excerpt or tail(path)), flush=True)
        print(f"      the whole log: {os.path.relpath(path)}", flush=True)


def start_ready(waiting, results, finished, running, kinds_module, log_dir):
    """Start what has all that it needs, in table order, as long as there is a free worker."""
    for result in list(waiting):
        needs = [results[n] for n in result.kind.needs]
        broken = [n.kind.name for n in needs if n.state in ("fail", "skip")]
        if broken:
            waiting.remove(result)
            result.state, result.detail = "fail", f"can't run without {' '.join(broken)}"
            finished.put(result)
        elif len(running) < WORKERS and all(n.state == "ok" for n in needs):
            waiting.remove(result)
            result.state = "running"
            running.add(result)

            def go(r=result):
                work(kinds_module, r, log_dir)
                finished.put(r)
            threading.Thread(target=go, daemon=True).start()


def run_all(kinds, kinds_module, log_dir):
    results = {k.name: Result(k) for k in kinds}
    for name in results:  # of the run before
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(log_dir, name + ".log"))
    waiting, running, finished = list(results.values()), set(), queue.Queue()
    left = len(waiting)
    while left:
        start_ready(waiting, results, finished, running, kinds_module, log_dir)
        result = finished.get()
        running.discard(result)
        left -= 1
        tell(result, log_dir)
    return list(results.values())


def summary(results, seconds):
    print(f"\n{'kind':<18} {'':<5} {'time':>8} {'cpu':>8}  what")
    for r in results:
        print(f"{r.kind.name:<18} {r.state:<5} {r.seconds:6.1f} s {r.cpu:6.1f} s  {r.kind.about}")
    count = {state: sum(r.state == state for r in results) for state in ("ok", "fail", "skip")}
    for state in ("fail", "skip"):
        if count[state]:
            print(f"{state}: {' '.join(r.kind.name for r in results if r.state == state)}")
    cpu = sum(r.cpu for r in results)
    print(f"{seconds / 60:.1f} minutes, {cpu / 60:.1f} of computing: {100 * cpu / max(seconds, 1) / (os.cpu_count() or 1):.0f} % of {os.cpu_count()} cores")
    print(f"{count['ok']} passed, {count['fail']} failed, {count['skip']} skipped", flush=True)
    return 1 if count["fail"] else 0


HUGE = "/proc/sys/vm/nr_hugepages"


def set_huge_pages(count):
    """Whether the machine has reserved that many. Needs root."""
    command = ["sh", "-c", f"echo {count} > {HUGE}"]
    got = subprocess.run(command if os.getuid() == 0 else ["sudo", "-n", *command], stdin=subprocess.DEVNULL,
                         stderr=subprocess.DEVNULL, check=False)
    return got.returncode == 0


@contextlib.contextmanager
def huge_pages(wanted):
    """Some huge pages for the tests that need them, given back afterwards."""
    try:
        with open(HUGE, encoding="ascii") as f:
            before = int(f.read())
    except OSError:
        before = wanted
    changed = before < wanted and set_huge_pages(wanted)
    try:
        yield
    finally:
        if changed:
            set_huge_pages(before)


def main():
    parser = argparse.ArgumentParser(prog="run test", description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="larger counts, no time limit")
    parser.add_argument("--list", action="store_true", help="name the kinds")
    parser.add_argument("kinds", nargs="*", metavar="KIND")
    options = parser.parse_args()
    if options.full:
        os.environ["VH_FULL"] = "1"
    import kinds  # after VH_FULL is decided
    if options.list:
        for k in kinds.KINDS:
            print(f"{k.name:<12} {k.about}{'' if k.required else ' (may be skipped)'}")
        return 0
    log_dir = os.path.join(kinds.build_dir("release"), "gates")
    os.makedirs(log_dir, exist_ok=True)
    started = time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # A shell starts what is to run in the background with SIGINT ignored, and tests that send it would wait for ever.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with huge_pages(64):
        results = run_all(select(kinds.KINDS, options.kinds), kinds, log_dir)
    return summary(results, time.monotonic() - started)


if __name__ == "__main__":
    sys.exit(main())
