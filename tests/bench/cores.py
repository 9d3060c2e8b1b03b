# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""A driver on one core and a device on another, both polling, over one ring: libvh on both sides beside the pair that is
written by hand (floor.h). Reported, not judged by the gate: what a core sees of the other is the machine's."""
import os
import statistics

import pairs
import programs

GOAL = 1.25  # time as a multiple of the floor's
SHAPES, DEPTHS = ("s1", "ps1"), (1, 32)
SIDES = (("libvh", "libvh"), ("floor", "floor"), ("floor", "libvh"), ("libvh", "floor"))


def run(bench, group):
    if len(os.sched_getaffinity(0)) < 2:
        group.missing("two cores", "this process has one")
        return
    exe = programs.target("cores")
    ms = str(20 if bench.small else max(20, bench.seconds * 200))
    rows = []
    for shape in SHAPES:
        for depth in DEPTHS:
            where = f"{shape}, depth {depth}"
            got = pairs.interleave(
                {s: lambda s=s: programs.call_json([exe, *s, shape, str(depth), ms])["ns"] for s in SIDES},
                bench.pairs, lambda line: bench.tell(f"{where}: {line}"))
            group.compare(f"{where}: libvh / floor, both sides", "ns", got[SIDES[0]], got[SIDES[1]], pairs.at_most(GOAL))
            group.compare(f"{where}: libvh / floor, the device", "ns", got["floor", "libvh"], got[SIDES[1]])
            group.compare(f"{where}: libvh / floor, the driver", "ns", got["libvh", "floor"], got[SIDES[1]])
            rows += [{"shape": shape, "depth": depth, "driver": d, "device": v, "ns for a chain": statistics.median(got[d, v]),
                      "least": min(got[d, v])} for d, v in SIDES]
    group.table("medians (p: packed ring)", rows)


def charts(data):
    rows = [r for t in data["tables"] for r in t["rows"]]
    series = {}
    for r in rows:
        if r["driver"] == r["device"]:
            series.setdefault(r["driver"], {})[f"{r['shape']} depth {r['depth']}"] = r["ns for a chain"]
    return [{"name": "cores", "title": "A chain from core to core and back, both polling", "y": "ns for a chain", "log": True,
             "bars": series}]
