# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""python3 -m vh.check TARGET, which is `vhctl check TARGET`: does a peer keep to the rules of vhost-user?"""

from __future__ import annotations

import argparse
import signal
import sys
from typing import Callable, Sequence

from vh.check import back, front, known, node, report, runner
from vh.check.context import Context, Options, survey
from vh.check.core import BACK_END, FRONT_END, NODE, Check, select
from vh.check.devices import DEVICES, Device
from vh.check.front.context import Context as FrontContext
from vh.check.front.context import FrontEnd
from vh.check.node import context as nodes
from vh.check.reference import MAKES
from vh.check.targets import Target, Unreachable, target
from vh._command import ended

OK, WRONG, USAGE, UNREACHABLE = 0, 1, 2, 3


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="vhctl check", description="Check a vhost-user peer, or a vhost device, by its rules. It uses up many connections.",
        epilog="Exit code: 0 all as expected, 1 not conforming, 2 usage, 3 can't reach the peer.")  # fmt: skip
    p.add_argument("target", nargs="?", help='PATH of a socket or @NAME, or exec:"COMMAND {socket}", which is started when needed; or a device: '
                   "/dev/vhost-vdpa-N, vdpa:NAME, /dev/vhost-net, /dev/vhost-vsock, /dev/vhost-scsi")  # fmt: skip
    p.add_argument("--listen", metavar="PATH", help="check a front-end, which connects there, once; or:")
    p.add_argument("--command", metavar="COMMAND", help="check a front-end, which is started so, with {socket} for the path")
    p.add_argument("--type", choices=[*DEVICES], help="what the device is; guessed from its features otherwise")
    p.add_argument("--list", action="store_true", help="the checks, with their rules, and no run")
    p.add_argument("--markdown", action="store_true", help="with --list: as the table of docs/check.md")
    p.add_argument("--only", action="append", default=[], metavar="GLOB", help="only checks whose name matches")
    p.add_argument("--skip", action="append", default=[], metavar="GLOB", help="no check whose name matches")
    p.add_argument("--known", action="append", default=[], metavar="FILE|NAME",
                   help=f"known deviations, each with its reason; lists that come along: {', '.join(known.names())}")  # fmt: skip
    p.add_argument("--strict", action="store_true", help="a warning is not conforming either")
    p.add_argument("--allow-write", action="store_true", help="the data of the disk may be overwritten")
    p.add_argument("--loopback", action="store_true", help="the net device gives back what it is sent")
    p.add_argument("--timeout", type=float, default=20, metavar="SECONDS", help="for one check, %(default)s")
    p.add_argument("--wait", type=float, default=5, metavar="SECONDS", help="for one answer, %(default)s")
    p.add_argument("--json", action="store_true", help="the results as JSON on stdout")
    p.add_argument("--junit", metavar="FILE", help="the results as JUnit XML into that file")
    p.add_argument("--verbose", action="store_true", help="the messages of each deviation, also of known ones")
    return p


def show_list(checks: Sequence[Check]) -> None:
    for c in checks:
        what = f" ({c.device})" if c.device else ""
        print(f"{c.name}{what}: {c.severity}. {c.rule} [{c.section}]")


def main(argv: Sequence[str] | None = None) -> int:
    p = parser()
    options = p.parse_args(argv)
    front_end = bool(options.listen or options.command)
    side = FRONT_END if front_end else NODE if options.target and nodes.is_node(options.target) else BACK_END
    checks = select(side, options.only, options.skip)
    if options.list and not front_end and not options.target:
        checks = select("", options.only, options.skip)
    if options.list:
        if options.markdown:
            print(report.markdown(checks), end="")
        else:
            show_list(checks)
        return OK
    if bool(options.target) == front_end:
        p.error("check what? A back-end or a device at a target, or a front-end with --listen or --command")
    if not checks:
        p.error("no check has such a name; --list shows them")
    try:
        expected = {name: why for what in options.known for name, why in known.load(what).items()}
        if side == FRONT_END and (options.type or "blk") not in MAKES:
            raise ValueError(f"a front-end is checked with a device of type {' or '.join(MAKES)}")
        peer: Target | FrontEnd = FrontEnd(
            options.listen or "", options.command or "", options.type or "blk", options.timeout) if front_end else (
            nodes.File(options.target) if side == NODE else target(options.target))  # fmt: skip
    except ValueError as e:
        p.error(str(e))
    except Unreachable as e:
        print(f"vhctl check: {e}", file=sys.stderr)
        return UNREACHABLE
    try:
        if isinstance(peer, FrontEnd):
            return _front_end(peer, checks, expected, options)
        if isinstance(peer, nodes.File):
            return _node(peer, checks, expected, options)
        return _back_end(peer, checks, expected, options)
    except Unreachable as e:
        print(f"vhctl check: {e}", file=sys.stderr)
        return UNREACHABLE
    finally:
        peer.close()


def _back_end(peer: Target, checks: Sequence[Check], expected: dict[str, str], options: argparse.Namespace) -> int:
    how = Options(options.type or "", options.timeout, options.wait, options.allow_write, options.loopback)
    offer, device = survey(peer, how)
    return _run(peer, device, checks, lambda: Context(peer, how, offer, device), expected, options)


def _node(file: nodes.File, checks: Sequence[Check], expected: dict[str, str], options: argparse.Namespace) -> int:
    how = Options(options.type or "", options.timeout, options.wait, options.allow_write, options.loopback)
    offer, device = nodes.survey(file, how)
    checks = [c for c in checks if nodes.holds(file, c)]
    return _run(file, device, checks, lambda: nodes.NodeContext(file, how, offer, device), expected, options)


def _run(peer: Target, device: Device, checks: Sequence[Check], context: Callable[[], Context], expected: dict[str, str],
         options: argparse.Namespace) -> int:  # fmt: skip
    checks = [c for c in checks if c.device in ("", device.name)]
    print(f"note: {len(checks)} checks of {peer.name}, a device of type {device.name}"
          f"{', which serves one connection' if peer.one_shot else ''}", file=sys.stderr)  # fmt: skip
    bar = report.Progress(len(checks))
    results = runner.run(checks, context, expected, options.timeout, bar)
    bar.end()
    return _tell(peer.name, device.name, results, options)


def _front_end(peer: FrontEnd, checks: Sequence[Check], expected: dict[str, str], options: argparse.Namespace) -> int:
    print(f"note: {len(checks)} checks of {peer.name}, with a device of type {peer.kind} at {peer.path}", file=sys.stderr)
    peer.heard()
    bar = report.Progress(len(checks))
    results = runner.run(checks, lambda: FrontContext(peer), expected, 10 * options.timeout, bar)
    bar.end()
    return _tell(peer.name, peer.kind, results, options)


def _tell(name: str, device: str, results: Sequence[runner.Result], options: argparse.Namespace) -> int:
    for r in results:
        if options.strict and r.outcome == runner.WARN:
            r.outcome = runner.FAIL
    if options.json:
        print(report.as_json(name, device, results))
    else:
        print("\n".join(report.table(results, options.verbose)))
    if options.junit:
        report.junit(options.junit, name, results)
    return WRONG if any(r.unexpected for r in results) else OK


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started ends too
    sys.exit(ended("vhctl check", main))
