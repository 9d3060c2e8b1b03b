# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""What docs/protocol.tsv says was exchanged with a peer, looked for in the trace of a run with that peer."""
import json
import os
import re
import subprocess
import sys

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, "bindings"))
# pylint: disable=wrong-import-position
import emit_messages  # noqa: E402
import emit_protocol  # noqa: E402

PROGRAMS = {"QEMU": "qemu-system-x86_64", "qemu-storage-daemon": "qemu-storage-daemon", "virtiofsd": "/usr/lib/qemu/virtiofsd"}
ACKS = {"pf": ("PF", "SET_PROTOCOL_FEATURES"), "f": ("F", "SET_FEATURES")}


def exchanged(role, lines):
    """Messages and bits of a trace, as {(side, name)}: requests that crossed the socket, with the peer in that role, and
    were not refused there; and bits that were acked."""
    spaces = emit_messages.features()
    status = {(side, row["name"]) for side, macro in (("fe", "VHI_FE"), ("be", "VHI_BE"))
              for row in emit_messages.messages(macro, spaces) if row["reply"] == "ACK"}
    ours = {"front-end": "received", "back-end": "sent"}[role]  # the direction of front-end requests, seen from us
    found = set()
    for message in map(json.loads, lines):
        side = {"main": "fe", "backend": "be"}[message["chan"]]
        key = side, message["req"].removeprefix("BACKEND_") if side == "be" else message["req"]
        if message["flags"] & 4 and key in status and message["payload"].get("value"):  # in postcopy: none
            found.discard(key)
        if message["site"] or message["flags"] & 4 or (message["dir"] == ours) != (side == "fe"):
            continue
        found.add(key)
        for kind, (space, request) in ACKS.items():
            if (side, message["req"]) == ("fe", request):
                found |= {(kind, name) for name, bit in spaces[space].items() if message["payload"]["value"] >> bit & 1}
    return found


def other_version(peer, program=None):
    """The program that ran is of the version that the peer's name has. program: the words of one that is not installed."""
    name, number = re.match(r"([\w-]+) (\S+?)(?:,|$)", peer.name).groups()
    if name not in PROGRAMS:
        return []
    said = subprocess.run([*(program or [PROGRAMS[name]]), "--version"], stdout=subprocess.PIPE, check=True).stdout.decode()
    return [] if re.search(rf"version {re.escape(number)}\b", said) else [f"anything as {name} {number}: it is {said.splitlines()[0]}"]


def missing(key, trace, program=None):
    """What is said of the peer and is not so, as words; nothing for a row that is no peer."""
    peers, rows = emit_protocol.hand_written()
    for peer in peers:
        if peer.key == key:
            with open(trace, encoding="utf-8") as f:
                found = exchanged(peer.role, f)
            return other_version(peer, program) + sorted(f"{side} {name}" for (side, name), row in rows.items()
                                                if key in row.peers and (side, name) not in found)
    return []
