# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""When to connect again."""
import dataclasses
from typing import Any

from vh._lib import ffi, milliseconds, new_sized


@dataclasses.dataclass(frozen=True)
class Reconnect:
    """A policy: connect again after each end, with delays (seconds) that double. None stands for its default.

    A connection that ends before its first message is a failure; after max_tries failures in a row (0: never) it gives
    up. Of each delay, jitter percent are random.
    """

    max_tries: int = 0
    first: "float | None" = None
    longest: "float | None" = None
    jitter: int = 0


def policy_of(policy: "Reconnect | None") -> Any:
    """As struct vh_reconnect; None: never."""
    if policy is None:
        return ffi.NULL
    return new_sized("vh_reconnect", max_tries=policy.max_tries, first_ms=milliseconds(policy.first),
                     max_ms=milliseconds(policy.longest), jitter=policy.jitter)
