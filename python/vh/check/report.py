# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Results as a table, JSON and JUnit, and a progress bar for a terminal."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from typing import Any, Iterable, Sequence, TextIO
from xml.etree import ElementTree

from vh.check.core import NODE, Check
from vh.check.runner import ERROR, PASS, SKIP, WARN, Result
from vh.trace.output import fields_text


class Progress:
    """A bar on a terminal, and nothing elsewhere."""

    def __init__(self, total: int, out: TextIO | None = None):
        self.total, self.out = total, out or sys.stderr
        self.shown = self.out.isatty()

    def __call__(self, done: int, check: Check) -> None:
        if self.shown:
            full = 30 * done // max(1, self.total)
            self.out.write(f"\r\x1b[K[{'#' * full}{'.' * (30 - full)}] {done}/{self.total} {check.name}")
            self.out.flush()

    def end(self) -> None:
        if self.shown:
            self.out.write("\r\x1b[K")
            self.out.flush()


def shown_outcome(result: Result) -> str:
    """The word for the table."""
    if result.known:
        return "UNEXPECTED" if result.unexpected else "known" if result.deviates else result.outcome
    return result.outcome.upper() if result.unexpected else result.outcome


def table(results: Sequence[Result], verbose: bool = False) -> Iterable[str]:
    """Lines: each check with its outcome, what it says, and the messages of what was not expected."""
    width = max((len(r.check.name) for r in results), default=0)
    for r in results:
        text = r.text
        if r.known:
            text = f"{text or 'passes'} (known: {r.known})"
        yield f"{shown_outcome(r):10} {r.check.severity:6} {r.check.name:{width}}  {text}".rstrip()
        if (r.unexpected or (verbose and r.deviates)) and r.outcome != PASS:
            yield f"           rule: {r.check.rule} [{r.check.section}]"
            for differs in r.check.differs:
                yield f"           differs: {differs}"
            shown = r.messages if verbose else r.messages[-8:]
            for line in shown:
                yield f"           {in_short(line)}"
    yield ""
    yield summary(results)


def in_short(line: str) -> str:
    """A message's line of JSON as people read it: direction, name, what stands out in its header, its fields."""
    if not line.startswith("{"):
        return line
    m = json.loads(line)
    words = ["->" if m["dir"] == "sent" else "<-", m["req"]]
    words += ["need_reply"] if m["flags"] & 8 else []
    words += [f"flags {m['flags']:#x}"] if m["flags"] & ~12 != 1 else []
    words += [f"{m['fds']} fd{'s' if m['fds'] > 1 else ''}"] if m["fds"] else []
    words += [fields_text(m.get("payload", {}))]
    return " ".join(words).rstrip()


def summary(results: Sequence[Result]) -> str:
    counts = Counter("known" if r.known and r.deviates else r.outcome for r in results)
    parts = [f"{counts[word]} {word}" for word in (PASS, "fail", WARN, "known", SKIP, ERROR) if counts[word]]
    bad = sum(r.unexpected for r in results)
    return f"{len(results)} checks: {', '.join(parts) or 'none'}; {f'{bad} not as expected' if bad else 'as expected'}"


def as_json(target: str, device: str, results: Sequence[Result]) -> str:
    rows = [{"name": r.check.name, "severity": r.check.severity, "section": r.check.section, "rule": r.check.rule,
             "outcome": r.outcome, "known": r.known, "unexpected": r.unexpected, "text": r.text,
             "seconds": round(r.seconds, 3), "differs": list(r.check.differs),
             "messages": [_parsed(line) for line in r.messages]} for r in results]  # fmt: skip
    whole = {"target": target, "device": device, "conforming": not any(r.unexpected for r in results), "checks": rows}
    return json.dumps(whole, indent=1)


def _parsed(line: str) -> Any:
    return json.loads(line) if line.startswith("{") else line


def _plain(text: str) -> str:
    return "".join(c if c in "\n\t" or (" " <= c and not "\ud800" <= c <= "\udfff" and c not in "\ufffe\uffff") else "?" for c in text)


def markdown(checks: Iterable[Check]) -> str:
    """The table of checks for the documentation."""
    rows = ["| check | of | severity | rule | section | needs |", "|---|---|---|---|---|---|"]
    for c in checks:
        needs = ", ".join((*((c.device,) if c.device else ()), *c.needs))
        differs = f" ({'; '.join(c.differs)})" if c.differs else ""
        sides = f"{c.side}, {NODE}" if c.nodes else c.side
        rows.append(f"| `{c.name}` | {sides} | {c.severity} | {c.rule}{differs} | {c.section} | {needs} |")
    return "\n".join(rows) + "\n"


def junit(path: str, target: str, results: Sequence[Result]) -> None:
    """What test runners read: what is not expected is a failure, what is known or can't run is skipped."""
    suite = ElementTree.Element("testsuite", name=f"vhctl check {target}", tests=str(len(results)),
                                failures=str(sum(r.unexpected for r in results)), errors="0",
                                skipped=str(sum(r.outcome == SKIP or bool(r.known and r.deviates) for r in results)),
                                time=f"{sum(r.seconds for r in results):.3f}")  # fmt: skip
    for r in results:
        case = ElementTree.SubElement(suite, "testcase", classname=f"vhost.{r.check.group}", name=r.check.name,
                                      time=f"{r.seconds:.3f}")  # fmt: skip
        if r.unexpected:
            text = r.text or f"passes, and is known to deviate: {r.known}"
            failure = ElementTree.SubElement(case, "failure", message=text, type=r.check.severity)
            failure.text = "\n".join([f"{r.check.rule} [{r.check.section}]", *r.messages])
        elif r.outcome == SKIP or r.known:
            ElementTree.SubElement(case, "skipped", message=r.known or r.text)
        elif r.outcome == WARN:
            ElementTree.SubElement(case, "system-out").text = r.text
    for element in suite.iter():  # a log's last words may hold what XML can't
        element.text = element.text and _plain(element.text)
        element.attrib.update({k: _plain(v) for k, v in element.attrib.items()})
    tree = ElementTree.ElementTree(suite)
    replaced = not os.path.exists(path) or os.path.isfile(path)  # a device or a pipe is written, not replaced
    with open(path + ".new" if replaced else path, "wb") as f:
        tree.write(f, encoding="utf-8", xml_declaration=True)
    if replaced:
        os.replace(path + ".new", path)
