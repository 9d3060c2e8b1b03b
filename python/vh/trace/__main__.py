# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""vhctl trace."""

from __future__ import annotations

import os
import signal
import sys

from vh._command import ended
from vh.trace import rings
from vh.trace.cli import DONE, TYPES, UNREACHABLE, WRONG, Parser, fail
from vh.trace.files import JsonLines
from vh.trace.message import Message, Note
from vh.trace.output import Printer
from vh.trace.pcapng import Pcapng
from vh.trace.tracer import Sink, Tracer


def _parser() -> Parser:
    p = Parser(prog="vhctl trace", description="Stand between a vhost-user front-end and its back-end, and print every message. "
               "Each connection of the front-end is one to the back-end: one that serves only one connection ends after it.")
    p.add_argument("--listen", required=True, metavar="ADDRESS", help="where the front-end connects: a path, unix:PATH, @NAME, systemd:NAME, or fd:N, its connection too")
    p.add_argument("--connect", required=True, metavar="ADDRESS", help="where the back-end listens; or fd:N, a connection to it: then it is the only one")
    p.add_argument("--reverse", action="store_true", help="the back-end connects to --listen, the front-end listens at --connect")
    p.add_argument("--once", action="store_true", help="end with the first connection")
    p.add_argument("--rings", action="store_true", help="tell where every ring stands: at the end, and on SIGUSR1")
    p.add_argument("--jsonl", metavar="FILE", help="record as lines of JSON")
    p.add_argument("--pcapng", metavar="FILE", help="record for Wireshark")
    p.add_argument("--json", action="store_true", help="print lines of JSON too, and nothing else")
    p.add_argument("--quiet", action="store_true", help="print violations only")
    p.add_argument("--type", choices=TYPES, default="none", help="of the device, for the names of its feature bits")
    p.add_argument("--late", type=float, default=5.0, metavar="SECONDS", help="a reply that takes longer is flagged (5)")
    p.add_argument("--timeout", type=float, default=5000, metavar="MS", help="for the back-end to listen (5000)")
    p.add_argument("--strict", action="store_true", help="exit with 1 if the specification was violated")
    return p


class _Quiet(Printer):
    """Only what is forbidden."""

    def message(self, m: Message) -> None:
        if m.violations:
            super().message(m)

    def note(self, n: Note) -> None:
        pass


def _show_rings(tracer: Tracer, sinks: list[Sink]) -> None:
    states = tracer.ring_states()
    for sink in sinks:
        if isinstance(sink, JsonLines):
            sink.rings(states)
        elif isinstance(sink, Printer):
            print(rings.text(states), file=sink.out, flush=True)


def main(argv: list[str] | None = None) -> int:
    parser = _parser()
    args = parser.parse_args(argv)
    sinks: list[Sink] = []
    try:
        tracer = Tracer(args.listen, args.connect, once=args.once, reverse=args.reverse, late=args.late,
                        timeout=args.timeout / 1000, memory=args.rings, remember=False)
    except OSError as e:
        return fail(parser, UNREACHABLE, f"{args.listen}: {e.strerror or e}")
    where = args.jsonl
    try:
        if args.jsonl:
            sinks.append(JsonLines(open(args.jsonl, "w", encoding="utf-8"), tracer.started_ns))
        where = args.pcapng
        if args.pcapng:
            sinks.append(Pcapng(open(args.pcapng, "wb"), tracer.started_ns))
        where = "stdout"
        if args.json:
            sinks.append(JsonLines(sys.stdout, tracer.started_ns))
        else:
            sinks.append((_Quiet if args.quiet else Printer)(sys.stdout, TYPES[args.type]))
    except OSError as e:
        tracer.close()
        return fail(parser, WRONG, f"{where}: {e.strerror or e}")
    tracer.sinks = tuple(sinks)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: tracer.stop())
    if args.rings:
        signal.signal(signal.SIGUSR1, lambda *_: tracer.wake(lambda: _show_rings(tracer, sinks)))
    print(f"vhctl trace: listening at {args.listen}", file=sys.stderr, flush=True)
    try:
        tracer.run()
        if args.rings:
            _show_rings(tracer, sinks)
    except BrokenPipeError:  # nobody reads what is printed, as behind `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    finally:
        tracer.close()
    if tracer.once and tracer.refused:
        return fail(parser, UNREACHABLE, tracer.refused)
    return WRONG if args.strict and tracer.n_violations else DONE


if __name__ == "__main__":
    sys.exit(ended("vhctl trace", main))
