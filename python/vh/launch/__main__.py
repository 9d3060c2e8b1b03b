# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""vhctl run, vhctl caps, vhctl wait: python3 -m vh.launch run|caps|wait ..."""
import argparse
import contextlib
import json
import os
import re
import select
import signal
import socket
import sys
from typing import Any, Sequence

from vh import launch
from vh._command import ended, reason
from vh.launch import sockets
from vh.launch.backend import FD, SOCKET
from vh.launch.installed import of_type

DONE, WRONG, USAGE, UNREACHABLE = 0, 1, 2, 3
_TIME = re.compile(r"(\d+(?:\.\d+)?)(ms|s|)")


def seconds(text: str) -> float:
    """"5000", "5000ms" and "5s" are the same, as everywhere in vhctl a number alone is milliseconds."""
    got = _TIME.fullmatch(text)
    if not got:
        raise argparse.ArgumentTypeError(f"{text!r} is no time; use 500, 500ms or 5s")
    return float(got[1]) * (1 if got[2] == "s" else 0.001)


def _parser(word: str) -> argparse.ArgumentParser:
    about, add = COMMANDS[word][1:]
    parser = argparse.ArgumentParser(prog=f"vhctl {word}", description=about, allow_abbrev=False)
    add(parser)
    return parser


def _about(parser: "argparse.ArgumentParser", timeout: float) -> None:
    parser.add_argument("--dir", action="append", metavar="DIR", help="look for descriptions there (again: and there)")
    parser.add_argument("--timeout", type=seconds, default=timeout, metavar="MS", help=f"{timeout * 1000:g} unless given; 5s is a time too")
    parser.add_argument("--json", action="store_true")


def _run_options(parser: "argparse.ArgumentParser") -> None:
    parser.add_argument("--type", default="", help="an installed back-end of that type: blk, net, fs ...")
    parser.add_argument("--name", help="the installed back-end whose description or program has that name")
    parser.add_argument("--feature", action="append", default=[], metavar="F", help="it has to have")
    parser.add_argument("--socket", type=sockets.named, metavar="PATH", help="where; else in a folder of its own, which it tells")
    parser.add_argument("--how", choices=(SOCKET, FD), default="",
                        help="how a program is told that has no {socket} or {fd} in its words: --socket-path=PATH (the default) or --fd=N")
    parser.add_argument("--grace", type=seconds, default=launch.GRACE, metavar="MS", help="from SIGTERM to SIGKILL, 5000")
    parser.add_argument("--log", metavar="FILE", help="gets its output, instead of stderr")
    parser.add_argument("--pidfile", metavar="FILE")
    _about(parser, launch.START_TIMEOUT)
    parser.add_argument("words", nargs="*", metavar="-- COMMAND", help="what to start; or more words for the installed one")


def _caps_options(parser: "argparse.ArgumentParser") -> None:
    parser.add_argument("--type", default="", help="of that type only")
    _about(parser, launch.ASK_TIMEOUT)
    parser.add_argument("words", nargs="*", metavar="-- COMMAND", help="ask that program, instead of the installed ones")


def _wait_options(parser: "argparse.ArgumentParser") -> None:
    parser.add_argument("path", type=sockets.named, help="of a socket, or @NAME")
    parser.add_argument("--timeout", type=seconds, default=launch.START_TIMEOUT, metavar="MS", help="10000 unless given; 5s is a time too")


def _chosen(o: "Any") -> "Any":
    """What is to be started, and the words after it."""
    if not o.type and not o.name:
        return o.words, ()
    found = [d for d in launch.discover(o.type, o.dir) if o.name in (None, d.name, d.name[:-5], d.binary.rpartition("/")[2])]
    if not o.name:
        return launch.find(o.type, o.feature, o.dir)[0], o.words
    if not found:
        raise launch.NotFound(2, f"no back-end {o.name} is installed; vhctl caps tells which are")
    missing = sorted(set(o.feature) - set(launch.capabilities(found[0]).features)) if o.feature else ()
    if missing:
        raise launch.NotFound(2, f"{found[0].path}: it has no {', '.join(missing)}")
    return found[0], o.words


def run(o: "Any") -> int:
    """In front, until it ends or is told to."""
    command, args = _chosen(o)
    wake, wanted = _signals()
    with launch.start(command, *args, socket=o.socket, how=o.how, timeout=o.timeout, grace=o.grace, pidfile=o.pidfile,
                      env={k: v for k, v in os.environ.items() if k != "NOTIFY_SOCKET"},  # it is not to speak for us
                      log=o.log or sys.stderr.buffer) as b:
        if o.json:
            print(json.dumps({"socket": b.path, "pid": b.pid, "command": b.command}), flush=True)
        else:
            print(f"vhctl: {b.command[0]} listens at {b.path}, pid {b.pid}", file=sys.stderr, flush=True)
        _notify(f"READY=1\nSTATUS=listens at {b.path}")
        watched = select.poll()
        for fd in (b.fileno(), wake):
            watched.register(fd, select.POLLIN)
        while not b.done() and not wanted:
            watched.poll()
        _notify("STOPPING=1")
        if wanted:
            b.stop()
        failed = b.err()
    if failed:
        print(f"vhctl: {str(failed).splitlines()[0].rstrip(':')}", file=sys.stderr)
    return WRONG if failed else DONE


def _notify(text: str) -> None:
    """systemd, where a unit of Type=notify has started us."""
    name = os.environ.get("NOTIFY_SOCKET", "")
    if name:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as manager:
            manager.sendto(text.encode(), "\0" + name[1:] if name.startswith("@") else name)


def _signals() -> "tuple[int, list[int]]":
    """An fd that is readable, and a list that has something, when we are to end."""
    wanted: "list[int]" = []
    wake, write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda n, _: wanted.append(n))
    return wake, wanted


def _asked(d: launch.Description, timeout: float) -> "dict[str, Any]":
    row: "dict[str, Any]" = {"path": d.path, "type": d.type, "binary": d.binary, "description": d.description, "tags": list(d.tags),
                             "problem": d.problem, "features": []}
    if not d.problem:
        try:
            can = launch.capabilities(d, timeout)
            row["features"] = list(can.features)
            if can.type != d.type:
                row["problem"] = f"it says that it is {can.type}"
        except launch.LaunchError as e:
            row["problem"] = str(e).splitlines()[0]
    return row


def caps(o: "Any") -> int:
    """What is installed. A front-end that follows the conventions takes the first of a type."""
    if o.words:
        can = launch.capabilities(o.words, o.timeout)
        print(json.dumps(can.raw) if o.json else f"{can.type}: {' '.join(can.features) or 'no features'}")
        return DONE
    rows = [_asked(d, o.timeout) for d in launch.descriptions(o.dir) if d.problem or of_type(o.type, d.type)]
    if o.json:
        print(json.dumps({"backends": rows}))
    else:
        _table(rows)
    return DONE if any(not row["problem"] for row in rows) else UNREACHABLE


def _table(rows: "list[dict[str, Any]]") -> None:
    cells = [(r["type"] or "?", r["path"], r["binary"] or "-", r["problem"] or " ".join(r["features"]) or "no features") for r in rows]
    widths = [max((len(c[i]) for c in cells), default=0) for i in range(3)]
    for row in cells:
        print("  ".join([*(c.ljust(w) for c, w in zip(row, widths)), row[3]]))
    if not rows:
        print(f"no back-end is described in {', '.join(launch.folders())}", file=sys.stderr)


def wait(o: "Any") -> int:
    launch.wait_listening(o.path, o.timeout)
    return DONE


COMMANDS: "dict[str, tuple[Any, str, Any]]" = {
    "run": (run, "Start a back-end, wait until it listens without connecting, stay until it ends, tidy up.", _run_options),
    "caps": (caps, "Installed back-ends in the order in which they are tried, and what they can.", _caps_options),
    "wait": (wait, "Wait until somebody listens on a socket, without connecting.", _wait_options),
}


def main(argv: "Sequence[str]") -> int:
    if not argv or argv[0] not in COMMANDS:
        print(f"vhctl: use one of {', '.join(COMMANDS)}", file=sys.stderr)
        return USAGE
    parser = _parser(argv[0])
    o = parser.parse_args(argv[1:])
    if argv[0] == "run" and not o.words and not o.type and not o.name:
        parser.error("what is to be started? --type, --name or -- COMMAND")
    try:
        return int(COMMANDS[argv[0]][0](o))
    except launch.LaunchError as e:
        shown = argv[0] == "run" and not o.log  # its last words, on stderr already
        print(f"vhctl: {str(e).splitlines()[0].rstrip(':') if shown else e}", file=sys.stderr)
        return WRONG if isinstance(e, (launch.Died, launch.BadOutput)) else UNREACHABLE
    except ValueError as e:
        print(f"vhctl: {e}", file=sys.stderr)
        return USAGE
    except BrokenPipeError:
        raise
    except OSError as e:
        print(f"vhctl: {reason(e)}", file=sys.stderr)
        return UNREACHABLE


if __name__ == "__main__":
    sys.exit(ended("vhctl", lambda: main(sys.argv[1:])))
