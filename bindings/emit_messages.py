# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""python/vh/testing/_messages.py: the message table and the feature bits of src/wire, and the messages of a GPU's socket."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WIRE = ROOT / "src" / "wire"

# The columns of messages.def in their order; the gates come last and are sums of bits.
COLUMNS = (
    "name id payload min max accept_min accept_max fd_min fd_max accept_fd_min accept_fd_max "
    "reply reply_payload reply_min reply_max reply_fd_max refusal ring pf acked offered"
).split()
NUMBERS = {c for c in COLUMNS if c == "id" or c.endswith(("min", "max"))}
GATES = {"pf": {"PF"}, "acked": {"F", "NET"}, "offered": {"F", "NET"}}

HEAD = '''# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""The vhost-user message table. Made by ./run regen from src/wire; do not edit."""

import enum
from typing import NamedTuple


class Message(NamedTuple):
    """One row of the table; the columns are explained in src/wire/messages.def."""

'''


def rows(path, macro):
    """The arguments of every call of @macro that stands at the start of a line."""
    text = re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.S)
    pattern = rf"^{macro}\((.*)\)$"
    calls = re.findall(pattern, text, flags=re.M)
    if len(calls) != len(re.findall(rf"^{macro}\b", text, flags=re.M)):
        raise SystemExit(f"{path}: a {macro} row does not stand on one line")
    for call in calls:
        yield [cell.strip() for cell in call.split(",")]


def features():
    spaces = {"PF": {}, "F": {}, "NET": {}, "BLK": {}}
    for space, name, bit in rows(WIRE / "features.def", "VHI_FEATURE"):
        spaces[space][name] = int(bit)
    return spaces


def gate(cell, allowed, spaces):
    """`PF(A) | PF(B)` as an integer."""
    bits = 0
    for term in () if cell == "0" else cell.split("|"):
        match = re.fullmatch(r"(\w+)\((\w+)\)", term.strip())
        if not match or match[1] not in allowed:
            raise SystemExit(f"messages.def: '{cell}' is not a sum of {sorted(allowed)}")
        bits |= 1 << spaces[match[1]][match[2]]
    return bits


def messages(macro, spaces):
    for cells in rows(WIRE / "messages.def", macro):
        if len(cells) != len(COLUMNS):
            raise SystemExit(f"messages.def: {cells[0]} has {len(cells)} columns, not {len(COLUMNS)}")
        row = {}
        for column, cell in zip(COLUMNS, cells):
            if column in NUMBERS:
                row[column] = int(cell)
            elif column in GATES:
                row[column] = gate(cell, GATES[column], spaces)
            else:
                row[column] = cell
        yield row


def emit_enum(out, name, doc, members):
    out.append(f'class {name}(enum.IntEnum):\n    """{doc}"""\n\n')
    out.extend(f"    {member} = {value}\n" for member, value in members)
    out.append("\n\n")


def gpu_messages():
    """Name, id, layout and fields of what stands before the data, whether there is data, fds at most, bytes of the reply or None."""
    text = re.sub(r"/\*.*?\*/", "", (ROOT / "src" / "gpu" / "messages.def").read_text(), flags=re.S)
    for call in re.findall(r"^VHI_GPU\((.*)\)$", text, flags=re.M):
        name, number, fixed, data, fds, reply, _, fields = (cell.strip() for cell in call.split(",", 7))
        names = re.findall(r"F\((\w+)\)", fields)
        wide = re.findall(r"F2\((\w+)\)", fields)  # the upper half of the field before it
        layout = "=" + "".join("Q" if n in wide else "I" for n in names)
        if not names and fixed == "8":
            names, layout = ["value"], "=Q"
        yield name, int(number), layout, tuple(names), data != "NONE", int(fds), None if reply == "NO_REPLY" else int(reply)


GPU_HEAD = '''class GpuMessage(NamedTuple):
    """A message of a GPU's socket, which the back-end sends."""

    name: str
    id: int
    layout: str  # of struct, before the data
    fields: "tuple[str, ...]"
    data: bool  # pixels follow
    fds: int  # at most
    reply: "int | None"  # bytes; None: there is none


#: messages of a GPU's socket, by id
GPU_MESSAGES = {
'''


def messages_py(_):
    """The text of the module."""
    spaces = features()
    sides = [("FE", "front-end requests", "VHI_FE"), ("BE", "back-end requests", "VHI_BE")]
    out = [HEAD]
    for column in COLUMNS:
        out.append(f"    {column}: {'int' if column in NUMBERS or column in GATES else 'str'}\n")
    out.append("\n\n")
    for name, doc, macro in sides:
        emit_enum(out, name, f"Ids of {doc}.", [(r["name"], r["id"]) for r in messages(macro, spaces)])
    docs = {"PF": "protocol features", "F": "bits of every device type", "NET": "net devices", "BLK": "block devices"}
    for space, bits in spaces.items():
        emit_enum(out, space, f"Feature bit numbers: {docs[space]}.", bits.items())
    for name, doc, macro in sides:
        out.append(f"#: {doc}, by id\n{'FRONT_END' if name == 'FE' else 'BACK_END'} = {{\n")
        for row in messages(macro, spaces):
            values = ", ".join(hex(v) if c in GATES else repr(v) for c, v in row.items())
            out.append(f"    {row['id']}: Message({values}),\n".replace("'", '"'))
        out.append("}\n")
    out.append("\n\n" + GPU_HEAD)
    out += [f"    {row[1]}: GpuMessage({', '.join(map(repr, row))}),\n".replace("'", '"') for row in gpu_messages()]
    out.append("}\n")
    return "".join(out)
