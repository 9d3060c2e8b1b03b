# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Pop and push from Go and Python, each measured in turn with C, in batches of several sizes."""
import json
import os
import subprocess

import pairs
import proc
import programs

ROOT = programs.ROOT
# What popping and pushing a request that nobody looks at may cost at batch 64, as a multiple of C.
GOALS = {"go": 1.5, "api": 2.0}
NAMES = {"c": "C", "go": "Go", "api": "Python", "abi": "Python (ABI mode)"}


def _run(bench, argv, env, cwd):
    user = ["/bin/sh", "-euc", '. "$0"; exec "$@"', os.path.join(bench.build, "env.sh")]
    done = subprocess.run([*user, *argv], cwd=cwd, env={**os.environ, **env}, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=600, check=False)
    if done.returncode:
        raise proc.Failed(f"{' '.join(argv)}: {(done.stdout + done.stderr).decode(errors='replace').strip()}")
    return [json.loads(line) for line in done.stdout.decode().splitlines() if line.startswith("{")]


def run(bench, group):
    exe = programs.target("queue_cost")
    python = ["/usr/bin/python3", os.path.join(programs.HERE, "py_queue.py"), "--c", exe, "--passes",
              str(min(bench.pairs, 3))]
    go = ["/usr/bin/go", "test", "./vh", "-run", "^$", "-bench", "Cost", "-benchtime", "1x"]
    runs = (([exe, "crossing"], {}, ROOT),
            (go, {"VH_QUEUE_COST": exe, "GOCACHE": os.path.join(bench.build, "gocache")}, os.path.join(ROOT, "go")),
            (python, {}, ROOT), (python, {"VH_PYTHON_MODE": "abi"}, ROOT))
    rows, crossings = [], {}
    for argv, env, cwd in runs:
        bench.tell(f"{os.path.basename(argv[0])} ...")
        if not os.path.exists(argv[0]):
            group.missing(argv[0], "is not there")
            continue
        for line in _run(bench, argv, env, cwd):
            if "crossing_ns" in line:
                crossings[line["mode"]] = line["crossing_ns"]
                continue
            mode, batch = line["mode"], line["batch"]
            goal = pairs.at_most(GOALS[mode]) if batch == 64 and mode in GOALS else None
            verdict = group.exact(f"{NAMES[mode]} at batch {batch}, ns as a multiple of C's", line["ratio"], goal) if goal else ""
            rows.append({"pop + push from": NAMES[mode], "batch": batch, "ns": line["untouched_ns"], "in C": line["c_ns"],
                         "ratio": line["ratio"], "goal": goal and f"<= {goal.bound} {verdict}", "touched": line["touched_ns"],
                         "_all": line})
    group.table("time for a request, the least of some passes on both sides", rows)
    group.note("a crossing: " + ", ".join(f"{NAMES[m]} {ns:.0f} ns" for m, ns in crossings.items()) +
               "; none for each request with a handler in C")


def charts(data):
    series = {}
    for t in data["tables"]:
        for r in t["rows"]:
            series.setdefault(r["pop + push from"], []).append((r["batch"], r["ns"]))
            series.setdefault("C", [])
            if r["pop + push from"] == "Python":
                series["C"].append((r["batch"], r["in C"]))
    return [{"name": "languages", "title": "Pop and push of a request, by language", "x": "batch", "y": "ns for a request",
             "log": True, "lines": series}]
