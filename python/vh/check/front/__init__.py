# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""The checks of front-ends, in the order in which they run."""

from vh.check.front import session, hostile  # isort: skip # noqa: F401 - each adds its rows to the table
