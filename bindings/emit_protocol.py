# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""docs/protocol.md: what the library does with each message and feature bit, and how that was checked.

The figures come from src/wire, what they can't say from docs/protocol.tsv.
"""
import re
from collections import namedtuple
from pathlib import Path

import emit_messages

PATH = Path(__file__).resolve().parent.parent / "docs" / "protocol.tsv"
Row = namedtuple("Row", "slave master peers tests why")
Peer = namedtuple("Peer", "key name role")

HEAD = """\
# The protocol, message by message

Made by `./run regen` from the message table in `src/wire` and from [protocol.tsv](protocol.tsv), which is what to change. What is
checked of this file: every message and bit has its row; a message is answered by a back-end exactly where it has a handler; the bits
that are offered and acked are those of a running back-end and front-end; calls and tests exist; and what a peer is said to have
exchanged was in the trace when `./run test` ran that peer, of that version (`demo-...`).

Sizes, fds, replies and gates of every message and the layout of every payload were entered a second time, from the specification and from
peers' sources: `tests/data/*.tsv`. `tests/wire/test_table.c` holds the library's table against that, `tests/py/test_codec.py` the
Python codec's. What known front-ends send, in their order, passes that table: `tests/data/orders`, `tests/wire/test_orders.c`.

- back-end: the callback or call where a device meets the message; *library*: answered without one; no: refused as the table says, which
  `test_sweep.py::test_sweep` shows for every id
- front-end: the call that sends it; *raw*: only `vh_master_submit()` does, by the same table, which
  `test_binding_raw.py::test_every_message_can_be_sent_as_it_is` shows for every message
- checked: peers that it was exchanged with; *golden bytes*: what the front-end sends is compared with bytes that were written by hand
  from the specification, in `test_master_wire.c`; then tests of libvh alone, and why there is no peer for
  one of the roles

Peers:
"""
COLUMNS = "| id | message | bytes | fds | reply | needs | back-end | front-end | checked |"
GPU = "| id | message | bytes | data | fds | reply | needs | device | display | checked |"
GPU_ROW = re.compile(r"^VHI_GPU\((\w+), +(\d+), +(\d+), +(\w+), +(\d), +(\w+), +(?:0|VHI_BIT\(VH_GPU_PF_(\w+)\)), ", flags=re.M)
GPU_DATA = {"NONE": "", "CURSOR": "64 x 64 pixels", "PIXELS": "width x height pixels"}
BITS = "| bit | feature | back-end | front-end | checked |"


def hand_written(path=PATH):
    """([Peer], {(side, name): Row}) of the file."""
    peers, rows = [], {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("#"):
            continue
        kind, *cells = line.split("\t")
        if kind == "peer" and len(cells) == 3:
            peers.append(Peer(*cells))
        elif kind in ("fe", "be", "pf", "f", "gpu") and len(cells) == 6 and (kind, cells[0]) not in rows:
            slave, master, shown, tests, why = ("" if cell == "-" else cell for cell in cells[1:])
            rows[kind, cells[0]] = Row(slave, master, shown.split(), tests.split(), why)
        else:
            raise SystemExit(f"{path}:{number}: not a peer, a message or a bit, or there twice")
    return peers, rows


def take(rows, side, name):
    try:
        return rows.pop((side, name))
    except KeyError:
        raise SystemExit(f"docs/protocol.tsv has no row for {side} {name}") from None


def said(text):
    """A call or callback as code, other words as they are."""
    return re.sub(r"\b(vh_[\w.]+|VH_\w+)", r"`\1`", text) or "no"


def checked(row, peers):
    shown = dict.fromkeys(peer.name.split(",")[0] for peer in peers if peer.key in row.peers)
    names = [*shown, *["golden bytes"] * ("bytes" in row.peers)]
    parts = [", ".join(names)] if names else []
    parts += [", ".join(f"`{test}`" for test in row.tests)] if row.tests else []
    return "; ".join(parts + [row.why] * bool(row.why))


def span(least, most):
    return str(least) if least == most else f"{least} to {most}"


def needs(message, spaces):
    words = []
    for column, space, suffix in (("pf", "PF", ""), ("acked", "F", " acked"), ("offered", "F", " offered")):
        names = dict(spaces["NET"], **spaces["F"]) if space == "F" else spaces[space]
        bits = message[column] & ~(message["acked"] if column == "offered" else 0)
        words += [name + suffix for name, bit in names.items() if bits >> bit & 1]
    return ", ".join(words)


def reply(message):
    kind = {"ACK": "status", "OWN": "", "OWN_LOG": "with LOG_SHMFD "}[message["reply"]]
    if message["reply"] == "ACK":
        return kind
    fd = ", fd" if message["reply_fd_max"] else ""
    return f"{kind}{span(message['reply_min'], message['reply_max'])}{fd}"


def message_table(side, macro, peers, rows, spaces):
    yield COLUMNS
    yield "|" + "---|" * COLUMNS.count(" | ") + "---|"
    for message in emit_messages.messages(macro, spaces):
        row = take(rows, side, message["name"])
        yield "| " + " | ".join((
            str(message["id"]), message["name"], span(message["min"], message["max"]),
            span(message["fd_min"], message["fd_max"]), reply(message), needs(message, spaces), said(row.slave),
            said(row.master), checked(row, peers))).replace("|  |", "| |") + " |"


def bit_table(side, bits, peers, rows):
    yield BITS
    yield "|---|---|---|---|---|"
    for name, bit in bits.items():
        row = take(rows, side, name)
        yield f"| {bit} | {name} | {said(row.slave)} | {said(row.master)} | {checked(row, peers)} |"


def gpu_table(peers, rows):
    yield GPU
    yield "|" + "---|" * (GPU.count("|") - 1)
    table = (PATH.parent.parent / "src" / "gpu" / "messages.def").read_text(encoding="utf-8")
    for name, number, size, data, fds, answer, feature in GPU_ROW.findall(table):
        row = take(rows, "gpu", name)
        yield "| " + " | ".join((number, name, size, GPU_DATA[data], span("0", fds), "" if answer == "NO_REPLY" else answer, feature,
                                 said(row.slave), said(row.master), checked(row, peers))).replace("|  |", "| |") + " |"


def protocol_md(_):
    """The text of docs/protocol.md."""
    peers, rows = hand_written()
    spaces = emit_messages.features()
    out = [HEAD]
    out += [f"- {peer.name}: {peer.role}, `demo-{peer.key}`" for peer in peers]
    for title, lines in (
            ("Front-end requests", message_table("fe", "VHI_FE", peers, rows, spaces)),
            ("Back-end requests", message_table("be", "VHI_BE", peers, rows, spaces)),
            ("Protocol features", bit_table("pf", spaces["PF"], peers, rows)),
            ("Feature bits of every device", bit_table("f", spaces["F"], peers, rows)),
            ("The socket of a GPU", gpu_table(peers, rows))):
        out += ["", f"## {title}", "", *lines]
    out += ["", "A pixel has 4 bytes. The rows of the socket of a GPU come from `src/gpu/messages.def`; its features are bits of their own "
            "(`vh/gpu.h`), its golden bytes those of `test_gpu.c`."]
    out += ["", "Bits of a device type (below 24, above 49) are the device's and the driver's: the library passes them on."]
    if rows:
        raise SystemExit(f"docs/protocol.tsv: {' '.join(f'{s} {n}' for s, n in rows)}: neither message nor bit")
    return "\n".join(out).replace("|  |", "| |") + "\n"
