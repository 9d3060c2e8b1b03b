# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""The table of checks, and what one of them can say."""

from __future__ import annotations

import fnmatch
import inspect
from dataclasses import dataclass
from typing import Any, Callable, Iterable, Sequence, TypeVar

#: must and should as in the specification; robust: no rule, but a peer that fails it can be brought down
MUST, SHOULD, ROBUST, INFO = "must", "should", "robust", "info"
SEVERITIES = (MUST, SHOULD, ROBUST, INFO)
BACK_END, FRONT_END, NODE = "back-end", "front-end", "device file"

USER = "vhost-user"
VIRTIO = "virtio 1.2"

Function = TypeVar("Function", bound=Callable[..., Any])


class Fails(Exception):
    """The rule is broken; the text says how."""


class Skips(Exception):
    """The check can't say anything about this peer; the text says what is missing."""


@dataclass(frozen=True)
class Check:
    """One row of the table. `needs` are names like "PF.CONFIG", or a word that Context.lacks() knows."""

    name: str
    severity: str
    section: str
    rule: str
    run: Callable[[Any], None]
    needs: tuple[str, ...] = ()
    device: str = ""
    side: str = BACK_END
    differs: tuple[str, ...] = ()
    nodes: bool = False  # a rule of device files too

    def of(self, side: str) -> bool:
        """Is it a check of this side? Each is one of ""."""
        return side in ("", self.side) or (self.nodes and side == NODE)

    @property
    def group(self) -> str:
        return self.name.partition(".")[0]


TABLE: dict[str, Check] = {}


def check(name: str, severity: str, section: str, needs: Sequence[str] | str = (), device: str = "",
          side: str = BACK_END, differs: Sequence[str] | str = (), nodes: bool = False) -> Callable[[Function], Function]:  # fmt: skip
    """A function of the table. Its docstring is the rule, in our words; `section` says where the rule stands."""

    def add(function: Function) -> Function:
        rule = " ".join((inspect.getdoc(function) or "").split())
        if name in TABLE or severity not in SEVERITIES or not rule:
            raise ValueError(f"check {name}: a second one, no such severity, or no rule")
        TABLE[name] = Check(name, severity, section, rule, function, _words(needs), device, side, _words(differs), nodes)
        return function

    return add


def _words(what: Sequence[str] | str) -> tuple[str, ...]:
    return (what,) if isinstance(what, str) else tuple(what)


def require(condition: object, text: str) -> None:
    """Fail with this text unless the condition holds."""
    if not condition:
        raise Fails(text)


def equal(got: object, wanted: object, what: str) -> None:
    """Fail unless both are the same; numbers are shown in decimal and, when large, in hexadecimal."""
    if got != wanted:
        raise Fails(f"{what}: {_shown(got)}, not {_shown(wanted)}")


def _shown(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 9999:
        return f"{value} ({value:#x})"
    return repr(value) if isinstance(value, (str, bytes)) else str(value)


def select(side: str, only: Iterable[str] = (), skip: Iterable[str] = ()) -> list[Check]:
    """The checks of one side whose names match one of `only` (all, when empty) and none of `skip`."""
    only, skip = list(only), list(skip)
    return [c for c in TABLE.values() if c.of(side)
            and (not only or any(fnmatch.fnmatchcase(c.name, g) for g in only))
            and not any(fnmatch.fnmatchcase(c.name, g) for g in skip)]  # fmt: skip
