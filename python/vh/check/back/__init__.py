# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""The checks of back-ends, in the order in which they run."""

from vh.check.back import connect, memory, ring, packed, config, migrate, blk, net, robust  # noqa: F401 - each adds its rows to the table
