# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""vhctl decode: a recording, printed again."""

from __future__ import annotations

import sys

from vh.trace.cli import DONE, TYPES, WRONG, Parser, fail
from vh.trace.files import JsonLines, Recording, read
from vh.trace.message import Message, Note
from vh.trace.output import Printer


def show(recording: Recording, sink: JsonLines | Printer) -> None:
    """All of it, in the order in which it was recorded."""
    inline = {id(v) for m in recording.messages for v in m.violations}
    things: list[Message | Note] = [*recording.notes, *recording.messages]
    for thing in sorted(things, key=lambda thing: thing.time_ns):
        if isinstance(thing, Message):
            sink.message(thing)
        else:
            sink.note(thing)
    for v in recording.violations:
        if id(v) not in inline:
            sink.violation(v)


def main(argv: list[str] | None = None) -> int:
    p = Parser(prog="vhctl decode", description="Print a recording of vhctl trace.")
    p.add_argument("file", metavar="FILE", help="of --jsonl or --pcapng")
    p.add_argument("--json", action="store_true", help="print lines of JSON")
    p.add_argument("--type", choices=TYPES, default="none", help="of the device, for the names of its feature bits")
    p.add_argument("--strict", action="store_true", help="exit with 1 if the specification was violated")
    args = p.parse_args(argv)
    try:
        recording = read(args.file)
    except OSError as e:
        return fail(p, WRONG, f"{args.file}: {e.strerror or e}")
    except ValueError as e:
        return fail(p, WRONG, str(e))
    show(recording, JsonLines(sys.stdout, recording.started_ns) if args.json else Printer(sys.stdout, TYPES[args.type]))
    return WRONG if args.strict and recording.violations else DONE


if __name__ == "__main__":
    sys.exit(main())
