# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""What ./run bench concludes from samples: known samples, known verdicts."""
import json
import math
import os
import random
import sys

import pytest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.append(os.path.join(TOP, "tests", "bench"))
import pairs  # noqa: E402
import report  # noqa: E402

# Ratios of 15 pairs around 1, of which the 4th from either end bound the median.
NEAR_ONE = [0.80, 0.90, 0.96, 0.97, 0.98, 0.99, 0.99, 1.00, 1.01, 1.01, 1.02, 1.03, 1.04, 1.10, 1.30]


@pytest.mark.parametrize("n, low, high", [(5, 1, 5), (7, 1, 7), (8, 2, 7), (15, 4, 12), (30, 11, 20)])
def test_interval_is_of_ordered_values(n, low, high):
    values = list(range(1, n + 1))
    random.Random(n).shuffle(values)
    assert pairs.interval(values) == (low, high)


@pytest.mark.parametrize("n", [0, 1, 2, 4])
def test_few_values_bound_nothing(n):
    assert pairs.interval([1.0] * n) == (0.0, math.inf)


def test_interval_holds_the_median_often_enough():
    chance = random.Random(5)
    held = 0
    for _ in range(2000):  # a skewed spread whose median is 1
        low, high = pairs.interval([chance.lognormvariate(0, 1) for _ in range(15)])
        held += low <= 1 <= high
    assert held / 2000 > 0.93, held  # what 4 and 12 of 15 promise is 0.965


@pytest.mark.parametrize("goal, verdict", [
    (pairs.parity(True), pairs.MET), (pairs.parity(False), pairs.MET), (pairs.at_least(0.97), pairs.MET),
    (pairs.at_least(1), pairs.UNRESOLVED), (pairs.at_most(1), pairs.UNRESOLVED), (pairs.at_least(1.031), pairs.NOT_MET),
    (pairs.at_most(0.96), pairs.NOT_MET), (None, pairs.REPORTED)])
def test_verdicts(goal, verdict):
    ours = [r * 100 for r in NEAR_ONE]
    got = pairs.compare("a / b", "IOPS", ours, [100] * 15, goal)
    assert (got.ratio, got.low, got.high) == pytest.approx((1.00, 0.97, 1.03))
    assert got.verdict == verdict


def test_what_hits_both_sides_of_a_pair_cancels():
    weather = [1, 1.8] * 8  # the machine is at times much slower
    got = pairs.compare("a / b", "ns", [30 * w for w in weather], [100 * w for w in weather], pairs.at_most(0.4))
    assert got.verdict == pairs.MET and got.low == got.high == pytest.approx(0.3)


def test_two_pairs_resolve_nothing():
    assert pairs.compare("a / b", "ns", [1, 1], [100, 100], pairs.at_most(0.5)).verdict == pairs.UNRESOLVED
    assert pairs.compare("a / b", "ns", [], [], pairs.at_most(0.5)).verdict == pairs.UNRESOLVED


def test_sides_are_measured_in_turn():
    seen = []
    got = pairs.interleave({"a": lambda: seen.append("a") or len(seen), "b": lambda: seen.append("b") or len(seen)}, 3)
    assert seen == list("ababab") and got == {"a": [1, 3, 5], "b": [2, 4, 6]}


def test_report_lists_each_goal_and_what_is_missing(tmp_path):
    group = report.Group("micro", "a group")
    group.table("rows", [{"shape": "s0", "ns": 1.5, "_all": [1, 2]}, {"shape": "s1", "ns": None}])
    group.exact("s0, instructions", 151, pairs.at_most(150))
    group.compare("s1 / rust", "ns", [1.0] * 15, [4.0] * 15, pairs.at_most(0.4))
    group.compare("s2 / rust", "ns", [1.0], [4.0])
    group.missing("rust", "no cargo")
    text = "\n".join(report.summary([group]))
    assert "1 met, 1 not met, 0 not resolved here, 1 not measured" in text and "micro: rust: no cargo" in text
    assert "_all" not in "\n".join(group.lines())
    with open(group.write(tmp_path, report.about()), encoding="utf-8") as f:
        data = json.load(f)
    assert data["comparisons"][0]["ours"] == [1.0] * 15 and data["comparisons"][1]["high"] is None
    assert [g["verdict"] for g in data["goals"]] == [pairs.NOT_MET, pairs.MET]
    assert data["machine"]["cpus"] == os.cpu_count() and data["missing"] == [{"what": "rust", "why": "no cargo"}]
