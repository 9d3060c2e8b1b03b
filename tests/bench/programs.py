# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""The programs that are measured: building them, running them, counting their instructions."""
import json
import os
import re
import subprocess

import proc

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BUILD = os.environ.get("VH_BUILD") or os.path.join(ROOT, "build")


def call(argv, timeout=120, **options):
    """What a program printed; Failed, with what it said, when it did not end well."""
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout,
                              check=False, **options)
    except subprocess.TimeoutExpired:
        raise proc.Failed(f"{' '.join(argv)}: no end after {timeout} s") from None
    if done.returncode:
        raise proc.Failed(f"{' '.join(argv)}: {done.stderr.decode(errors='replace').strip() or done.returncode}")
    return done


def call_json(argv, timeout=120):
    return json.loads(call(argv, timeout).stdout)


def target(name):
    """A C program of this folder, built like the library that people use."""
    call(["cmake", "--build", BUILD, "--target", name], 600)
    return os.path.join(BUILD, "tests", "bench", name)


def instructions(argv, rounds=(100, 1100), mode="device"):
    """Instructions for each chain, by callgrind, of a program that takes its rounds and a mode last, as queue_cost does, and
    prints {"chains": N}. Two runs: the difference leaves out what happens once."""
    counts, functions = [], ("driver_submit", "driver_reap") if mode == "driver" else ("device_batch",)
    after = [] if mode == "device" else [mode]
    for n in rounds:
        done = call(["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null",
                     *(f"--toggle-collect={f}" for f in functions), *argv, str(n), *after], 300)
        found = re.search(rb"Collected : (\d+)", done.stderr)
        counts.append((json.loads(done.stdout)["chains"], int(found.group(1))))
    (chains0, ir0), (chains1, ir1) = counts
    return (ir1 - ir0) / (chains1 - chains0)
