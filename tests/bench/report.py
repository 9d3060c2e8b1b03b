# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""What a run of the benchmark found: tables for people, one JSON file for each group, and a summary at the end."""
import datetime
import json
import math
import os
import platform
import re
import subprocess

import pairs

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def text(value):
    if isinstance(value, float):
        if math.isnan(value) or math.isinf(value):
            return "-"
        return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.1f}" if abs(value) >= 20 else f"{value:.2f}"
    return "" if value is None else str(value)


def table(rows):
    """Lines. Rows are dicts; the columns are the keys in the order in which they are met. Keys that begin with _ are for
    the file alone."""
    columns = list(dict.fromkeys(k for r in rows for k in r if not k.startswith("_")))
    cells = [columns] + [[text(r.get(c)) for c in columns] for r in rows]
    numeric = [all(isinstance(r.get(c), (int, float, type(None))) for r in rows) for c in columns]
    widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]
    return ["  ".join(c.rjust(w) if n else c.ljust(w) for c, w, n in zip(row, widths, numeric)).rstrip() for row in cells]


def goal_text(goal):
    return "" if goal is None or goal.bound is None else f"{goal.sense} {goal.bound:.3g}"


class Group:
    """What one group has to say. A group's module fills it; nothing is printed before finish()."""

    def __init__(self, name, shows):
        self.name, self.shows = name, shows
        self.tables, self.comparisons, self.goals, self.absent, self.notes = [], [], [], [], []

    def table(self, title, rows):
        if rows:
            self.tables.append({"title": title, "rows": rows})

    def note(self, line):
        """A line that a reader of the tables needs."""
        self.notes.append(line)

    def compare(self, name, what, ours, theirs, goal=None):
        """Samples of both sides as they were taken, in turn; the ratio is ours / theirs."""
        got = pairs.compare(name, what, ours, theirs, goal)
        self.comparisons.append(got)
        if got.verdict != pairs.REPORTED:
            self._goal(f"{name}, {what}", f"{text(got.ratio)} ({text(got.low)}..{text(got.high)})", goal, got.verdict)
        return got

    def exact(self, name, value, goal):
        """A number that repeats exactly, against its goal."""
        verdict = pairs.exact(value, goal)
        if verdict != pairs.REPORTED:
            self._goal(name, text(value), goal, verdict)
        return verdict

    def _goal(self, name, value, goal, verdict):
        self.goals.append({"goal": name, "value": value, "bound": goal_text(goal), "verdict": verdict})

    def missing(self, what, why):
        """Something that should be here and can't be measured on this machine."""
        self.absent.append({"what": what, "why": str(why)})

    def lines(self):
        out = [f"== {self.name}: {self.shows}"]
        for t in self.tables:
            out += ["", t["title"], *table(t["rows"])]
        if self.comparisons:
            out += ["", "interleaved pairs: median of the ratios, 90 % interval", *table([
                {"comparison": c.name, "of": c.what, "ours": _median(c.ours), "theirs": _median(c.theirs), "ratio": c.ratio,
                 "from": c.low, "to": c.high, "pairs": len(c.ratios), "goal": goal_text(c.goal),
                 "verdict": c.verdict if c.verdict != pairs.REPORTED else ""} for c in self.comparisons])]
        return out + ([""] if self.notes else []) + self.notes + [f"not measured: {a['what']}: {a['why']}" for a in self.absent]

    def write(self, folder, about):
        """GROUP.json: all of it, with every sample. Infinite bounds are null."""
        data = {"group": self.name, "shows": self.shows, **about, "tables": self.tables,
                "comparisons": [{**c._asdict(), "goal": c.goal and c.goal._asdict()} for c in self.comparisons],
                "goals": self.goals, "missing": self.absent, "notes": self.notes}
        path = os.path.join(folder, self.name + ".json")
        with open(path, "w", encoding="utf-8") as f:
            json.dump(_finite(data), f, indent=1)
            f.write("\n")
        return path


def _median(samples):
    ordered = sorted(samples)
    return float(ordered[len(ordered) // 2]) if ordered else math.nan


def _finite(value):
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def summary(groups):
    """Every goal with its verdict, then what was not measured."""
    goals = [{"verdict": g["verdict"], "group": group.name, "goal": g["goal"], "is": g["value"], "wanted": g["bound"]}
             for group in groups for g in group.goals]
    out = ["", "== goals"] + (table(goals) if goals else ["no group that ran has a goal"])
    absent = [f"{group.name}: {a['what']}: {a['why']}" for group in groups for a in group.absent]
    out += ["", "== not measured"] + absent if absent else []
    count = {v: sum(g["verdict"] == v for g in goals) for v in (pairs.MET, pairs.NOT_MET, pairs.UNRESOLVED)}
    return out + ["", ", ".join(f"{n} {v}" for v, n in count.items()) + f", {len(absent)} not measured"]


def _first_line(*argv):
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=ROOT,
                              timeout=20, check=False)
    except OSError:
        return None
    lines = done.stdout.decode(errors="replace").splitlines()
    return lines[0].strip() if done.returncode == 0 and lines else None


def about():
    """Machine, versions and date, which each file holds."""
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        models = re.findall(r"^model name\s*: (.*)$", f.read(), flags=re.M)
    with open("/proc/meminfo", encoding="utf-8") as f:
        kib = int(re.search(r"MemTotal:\s*(\d+)", f.read()).group(1))
    programs = {"libvh": ("git", "describe", "--always", "--dirty"), "gcc": ("gcc", "--version"),
                "valgrind": ("valgrind", "--version"), "qemu-storage-daemon": ("qemu-storage-daemon", "--version"),
                "go": ("/usr/bin/go", "version"), "rustc": ("rustc", "--version"), "python": ("/usr/bin/python3", "--version")}
    return {"date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            "machine": {"cpu": models[0] if models else platform.machine(), "cpus": os.cpu_count(), "memory_mib": kib >> 10,
                        "kernel": platform.release(), "load": os.getloadavg()},
            "versions": {name: line for name, line in ((n, _first_line(*argv)) for n, argv in programs.items()) if line}}
