# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Pop and push from Go and Python, in batches of several sizes, each in turn with C."""
import json
import os
import statistics

import kernel
import pairs
import proc
import programs

ROOT = programs.ROOT
# What popping and pushing a request that nobody looks at may cost at batch 64, as a multiple of C.
GOALS = {"Go": 1.5, "Python": 2.0}
GO = "/usr/bin/go"


class Languages:
    """{language: what runs it once}; a run prints its crossing, and a line for each batch with what C took beside it."""

    def __init__(self, bench, group, exe):
        self.user = ["/bin/sh", "-euc", '. "$0"; exec "$@"', os.path.join(bench.build, "env.sh")]
        python = ["/usr/bin/python3", os.path.join(programs.HERE, "py_queue.py"), "--c", exe, "--passes", "1",
                  "--rounds", "6000" if bench.small else "60000"]
        self.runs = {"Python": (python, {}), "Python (ABI mode)": (python, {"VH_PYTHON_MODE": "abi"})}
        try:
            self.runs["Go"] = ([self._build_go(bench), "-test.run", "^$", "-test.bench", "Cost", "-test.benchtime", "1x"],
                               {"VH_QUEUE_COST": exe, "VH_PASSES": "1"})
        except (proc.Failed, OSError) as e:
            group.missing("Go", e)

    def _build_go(self, bench):
        path = os.path.join(bench.build, "bench.go.test")
        programs.call([*self.user, GO, "test", "-c", "-o", path, "./vh"], 600, cwd=os.path.join(ROOT, "go"),
                      env={**os.environ, "GOCACHE": kernel.go_cache()})
        return path

    def once(self, language):
        argv, env = self.runs[language]
        done = programs.call([*self.user, *argv], 600, cwd=ROOT, env={**os.environ, **env})
        lines = [json.loads(line) for line in done.stdout.decode().splitlines() if line.startswith("{")]
        return {line.get("batch", "crossing"): line for line in lines}


def run(bench, group):
    exe = programs.target("queue_cost")
    languages = Languages(bench, group, exe)
    crossing = programs.call_json([exe, "crossing"])["crossing_ns"]
    got = pairs.interleave({name: lambda name=name: languages.once(name) for name in languages.runs}, bench.pairs, bench.tell)
    rows, crossings = [], [f"C {crossing:.0f} ns"]
    for name, samples in got.items():
        crossings.append(f"{name} {statistics.median(s['crossing']['crossing_ns'] for s in samples):.0f} ns")
        for batch in (b for b in samples[0] if b != "crossing"):
            ours, c = ([s[batch][key] for s in samples] for key in ("untouched_ns", "c_ns"))
            rows.append({"pop + push from": name, "batch": batch, "ns": statistics.median(ours), "in C": statistics.median(c),
                         "touched": statistics.median(s[batch]["touched_ns"] for s in samples)})
            goal = pairs.at_most(GOALS[name]) if batch == 64 and name in GOALS else None
            group.compare(f"{name} / C, batch {batch}", "ns", ours, c, goal)
    group.table("time for a request, untouched, and with its header read and its status written", rows)
    group.note("a crossing: " + ", ".join(crossings) + "; none for each request with a handler in C")


def charts(data):
    series = {}
    for r in (r for t in data["tables"] for r in t["rows"]):
        series.setdefault(r["pop + push from"], []).append((r["batch"], r["ns"]))
        if r["pop + push from"] == "Python":
            series.setdefault("C", []).append((r["batch"], r["in C"]))
    return [{"name": "languages", "title": "Pop and push of a request, by language", "x": "batch", "y": "ns for a request",
             "log": True, "lines": series}]
