# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Does a vhost-user peer keep to the rules? A table of checks, and what runs them.

From the shell: `vhctl check unix:/run/blk.sock`, or `python3 -m vh.check` with the same words.
"""

from vh.check.core import TABLE, Check, Fails, Skips
from vh.check.runner import Result, one, run

__all__ = ["TABLE", "Check", "Fails", "Result", "Skips", "one", "run"]
