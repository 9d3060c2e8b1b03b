# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""./run bench [GROUP...] [--pairs N] [--seconds S] [--small]: libvh beside its peers, as ratios within one run.

Each group is a module of this folder with run(bench, group): it measures, and fills the group (report.py). Comparisons in
time are interleaved pairs (pairs.py); instructions repeat exactly. Written to build/bench: GROUP.json, with every sample,
and pictures (charts.py). What this machine can't measure is named in the group and at the end.
"""
import argparse
import collections
import importlib
import os
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "lab")]
import charts  # noqa: E402
import pairs  # noqa: E402
import proc  # noqa: E402
import programs  # noqa: E402
import report  # noqa: E402
from kernel import Missing  # noqa: E402

# name: what it shows. The module has the same name.
GROUPS = {
    "micro": "popping and pushing one chain: instructions, and time in pairs, beside a floor and the Rust crates",
    "cores": "driver and device on two cores, polling, beside the same by hand",
    "languages": "the same from Go and Python, beside C",
    "control": "the control plane: messages, the way to the first request, idle devices",
    "block": "block requests between libvh and its peers: IOPS and latency",
    "net": "frames between DPDK's driver and a back-end, ours or DPDK's",
}

# What a group's run() is given: how many pairs, seconds for one sample, whether to leave out all but the goals that matter
# most, a folder that goes away, the build's, and tell(line), which says how far it has come.
Bench = collections.namedtuple("Bench", "pairs seconds small folder build tell")


def tell(line):
    print(line, file=sys.stderr, flush=True)


def run(name, bench):
    """The group, and whether it ran: a group that breaks off is missing, not absent."""
    group = report.Group(name, GROUPS[name])
    try:
        importlib.import_module(name).run(bench, group)
        return group, True
    except Missing as e:
        group.missing(name, e)
        return group, True
    except (proc.Failed, OSError) as e:
        group.missing(name, f"broke off: {e}")
        return group, False


def draw(path, folder):
    try:
        return charts.draw_group(path, folder)
    except ImportError as e:
        return [f"no pictures: {e}"]


def main():
    parser = argparse.ArgumentParser(prog="run bench", epilog="groups: " + "; ".join(f"{n}: {s}" for n, s in GROUPS.items()))
    parser.add_argument("groups", nargs="*", metavar="GROUP", help="all of them, if none is named")
    parser.add_argument("--pairs", type=int, default=pairs.PAIRS, help="of each comparison (%(default)s)")
    parser.add_argument("--seconds", type=float, default=1, help="for each sample of a load (%(default)s)")
    parser.add_argument("--small", action="store_true", help="less of everything: whether the benchmark works at all")
    parser.add_argument("--out", default=os.path.join(programs.BUILD, "bench"), help="where the files go (build/bench)")
    args = parser.parse_args()
    unknown = [g for g in args.groups if g not in GROUPS]
    if unknown or args.pairs < 1 or args.seconds <= 0:
        parser.error(f"no such group: {' '.join(unknown)}" if unknown else "--pairs and --seconds are more than nothing")
    os.makedirs(args.out, exist_ok=True)
    groups, whole, about = [], True, report.about()
    for name in args.groups or GROUPS:
        with tempfile.TemporaryDirectory() as folder:
            group, ran = run(name, Bench(args.pairs, args.seconds, args.small, folder, programs.BUILD,
                                          lambda line, n=name: tell(f"{n}: {line}")))
        groups.append(group)
        whole = whole and ran
        path = group.write(args.out, about)
        print("\n".join([*group.lines(), "", "written: " + " ".join([path, *draw(path, args.out)]), ""]), flush=True)
    print("\n".join(report.summary(groups)))
    return 0 if whole else 1


if __name__ == "__main__":
    sys.exit(main())
