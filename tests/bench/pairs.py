# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Interleaved pairs and what may be concluded from them.

Two programs that are measured one after the other meet a different machine each: other guests, clock rates, caches. So
the sides of a comparison are measured in turn, A B A B ..., and a pair is one A with the B next to it. From each pair
comes one ratio; the result is the median of these ratios with an interval that holds the true median in at least 90 of
100 runs, taken from the ordered ratios alone: nothing is assumed about how they are spread.

The verdict on a goal is *met* when the whole interval is on its good side, *not met* when it is on the bad side, and *not
resolved here* otherwise, which is a result like the others: this machine can't tell.
"""
import collections
import math
import statistics

CONFIDENCE = 0.9
PAIRS = 15
PARITY = 0.95  # "as fast as": what a run of this kind can tell from 1
MET, NOT_MET, UNRESOLVED, REPORTED = "met", "not met", "not resolved here", "reported"

# sense: ">=" when more is better, "<=" when less is. A bound of None is a ratio that is reported and not judged.
Goal = collections.namedtuple("Goal", "sense bound")
Comparison = collections.namedtuple("Comparison", "name what ours theirs ratios ratio low high goal verdict")


def at_least(bound):
    return Goal(">=", bound)


def at_most(bound):
    return Goal("<=", bound)


def parity(more_is_better):
    return at_least(PARITY) if more_is_better else at_most(1 / PARITY)


def interleave(sides, pairs=PAIRS, tell=None):
    """sides: {name: function that measures once}. {name: [sample of each pass]}"""
    samples = {name: [] for name in sides}
    for number in range(pairs):
        if tell:
            tell(f"pass {number + 1} of {pairs}")
        for name, measure in sides.items():
            samples[name].append(measure())
    return samples


def interval(values, confidence=CONFIDENCE):
    """The narrowest pair of ordered values, equally far from both ends, that holds the median of what the values were
    drawn from with that probability. Too few values say nothing: then it reaches from 0 to infinity."""
    ordered, n = sorted(values), len(values)
    outside, k = 0.0, 0  # the chance that the median lies below the k-th of n values
    while True:
        more = math.comb(n, k) / 2 ** n
        if 1 - 2 * (outside + more) < confidence or k >= n // 2:
            break
        outside += more
        k += 1
    return (ordered[k - 1], ordered[n - k]) if k else (0.0, math.inf)


def judge(low, high, goal):
    if goal is None or goal.bound is None:
        return REPORTED
    if goal.sense == ">=":
        good, bad = low >= goal.bound, high < goal.bound
    else:
        good, bad = high <= goal.bound, low > goal.bound
    return MET if good else NOT_MET if bad else UNRESOLVED


def compare(name, what, ours, theirs, goal=None):
    """ours / theirs, pair by pair. Samples are numbers; a pair in which either is 0 is no pair."""
    ratios = [a / b for a, b in zip(ours, theirs) if a and b]
    if not ratios:
        return Comparison(name, what, list(ours), list(theirs), [], math.nan, 0.0, math.inf, goal, judge(0, math.inf, goal))
    low, high = interval(ratios)
    return Comparison(name, what, list(ours), list(theirs), ratios, statistics.median(ratios), low, high, goal,
                      judge(low, high, goal))


def exact(value, goal):
    """The verdict on a number that repeats exactly, such as instructions."""
    return judge(value, value, goal)
