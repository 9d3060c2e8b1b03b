# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""vhctl decode: a recording, printed again."""

from __future__ import annotations

import os
import sys

from vh._command import ended
from vh.trace.cli import DONE, TYPES, WRONG, Parser, recorded
from vh.trace.files import JsonLines, tell
from vh.trace.output import Printer
from vh.trace.picture import picture


def main(argv: list[str] | None = None) -> int:
    p = Parser(prog="vhctl decode", description="Print a recording of vhctl trace.")
    p.add_argument("file", nargs="?", metavar="FILE", help="of --jsonl or --pcapng")
    p.add_argument("--dissector", action="store_true", help="print the path of the dissector for Wireshark and tshark")
    p.add_argument("--json", action="store_true", help="print lines of JSON")
    p.add_argument("--svg", metavar="FILE", help="draw it there")
    p.add_argument("--title", metavar="TEXT", help="of the picture")
    p.add_argument("--type", choices=TYPES, default="none", help="of the device, for the names of its feature bits")
    p.add_argument("--strict", action="store_true", help="exit with 1 if the specification was violated")
    args = p.parse_args(argv)
    if args.dissector:
        print(os.path.join(os.path.dirname(__file__), "vhost-user.lua"))
        return DONE
    if not args.file:
        p.error("a FILE is needed")
    recording = recorded(p, args.file)
    if args.svg:
        with open(args.svg, "w", encoding="utf-8") as f:
            f.write(picture(recording.messages, args.title or os.path.basename(args.file), TYPES[args.type]))
        return DONE
    tell(recording, JsonLines(sys.stdout, recording.started_ns) if args.json else Printer(sys.stdout, TYPES[args.type]))
    return WRONG if args.strict and recording.violations else DONE


if __name__ == "__main__":
    sys.exit(ended("vhctl decode", main))
