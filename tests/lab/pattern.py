# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""The seeded data of docs/vhctl.md, computed independently of vhctl."""
import array
import sys

MASK = (1 << 64) - 1


def _word(n):
    z = (n + 1) * 0x9E3779B97F4A7C15 & MASK
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & MASK
    z = (z ^ z >> 27) * 0x94D049BB133111EB & MASK
    return z ^ z >> 31


def pattern(seed, offset, size):
    """The bytes at [offset, offset + size) of the pattern of seed; both multiples of 8."""
    first = seed + offset // 8
    words = array.array("Q", (_word(n & MASK) for n in range(first, first + size // 8)))
    if sys.byteorder == "big":
        words.byteswap()
    return words.tobytes()
