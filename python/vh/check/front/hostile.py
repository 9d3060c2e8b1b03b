# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Front-ends against back-ends that mean ill: each of vh.testing.hostile, at the first replies."""

from __future__ import annotations

from typing import Callable

from vh.check.core import FRONT_END, ROBUST, USER, check, require
from vh.check.front.context import Context, ended
from vh.testing.hostile import TRICKS

#: of what the front-end must notice; one that waits for ever for an answer is another matter
NTH = (1, 2, 4)
SILENT = ("silence",)


def _of(trick: str) -> Callable[[Context], None]:
    def run(c: Context) -> None:
        for nth in NTH:
            heard, done = c.target.against(trick, nth, c.target.timeout)
            why = ended(heard)
            require(not why, f"reply {nth}: {why}: {heard.output}")
            if not done:
                break

    return run


for _name, _trick in TRICKS.items():
    if _name not in SILENT:
        _run = _of(_name)
        _run.__doc__ = f"The back-end deviates in a reply: {_trick.about}. The front-end ends in time, and not by a signal."
        check(f"front-hostile.{_name}", ROBUST, f"{USER}: Communication", "command", side=FRONT_END)(_run)
