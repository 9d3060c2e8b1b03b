# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Popping and pushing one chain on the device side, one thread, memory hot, interrupts off by flag."""
import programs

SHAPES = ("s0", "s1", "s2", "s3", "ps0", "ps1", "ps2", "ps3")
REGIONS = (8, 64, 509)


def run(bench, group):
    exe = programs.target("queue_cost")
    rows = []
    for shape, regions in [(s, 1) for s in SHAPES] + [("s1", n) for n in REGIONS]:
        bench.tell(f"{shape}, {regions} regions")
        rows.append({"shape": shape, "regions": regions, "instructions": programs.instructions([exe, shape, str(regions), "32"]),
                     "ns": programs.call_json([exe, shape, str(regions), "32"])["ns_median"]})
    group.table("pop + push of a chain, batches of 32 (p: packed ring)", rows)


def charts(data):
    rows = [r for t in data["tables"] for r in t["rows"]]
    return [{"name": "cost-by-shape", "title": "Instructions for a chain, popped and pushed", "y": "instructions",
             "bars": {"libvh": {r["shape"]: r["instructions"] for r in rows if r["regions"] == 1}}}]
