# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""python/vh/trace/vhost-user.lua: a dissector for Wireshark and tshark, from the message table and the layouts of payloads."""
import re
import struct
import sys
from pathlib import Path

import emit_messages

ROOT = Path(__file__).resolve().parent.parent
TEMPLATE = Path(__file__).with_name("vhost-user.lua.in")
#: of a layout's letter: bytes, and Wireshark's type
TYPES = {"B": (1, "uint8"), "H": (2, "uint16"), "I": (4, "uint32"), "Q": (8, "uint64"), "q": (8, "int64")}
HEX = {"gpa", "uva", "desc", "used", "avail", "log", "iova", "value", "u64", "flags", "offset", "mmap_offset", "fd_offset",
       "shm_offset"}  # what people read as hex


def layouts():
    """The payloads of python/vh/testing/wire.py."""
    sys.path.insert(0, str(ROOT / "python"))
    try:
        from vh.testing import wire  # pylint: disable=import-outside-toplevel
    finally:
        sys.path.pop(0)
    more = {"MEM_TABLE": ("=II", ("n", "padding")), "CONFIG": ("=III", ("offset", "size", "flags")),
            "SHMEM_CONFIG": ("=II", ("n", "padding"))}
    return {**wire.LAYOUTS, **more, "REGION": ("=QQQQ", ("gpa", "size", "uva", "offset"))}


def fields(layout, names):
    """(name, offset, bytes, Wireshark's type) of each field."""
    at, left = 0, list(names)
    for count, letter in re.findall(r"(\d*)([a-zA-Z])", layout):
        size = struct.calcsize("=" + count + letter)
        if letter == "x":
            at += size
            continue
        if letter == "s":
            yield left.pop(0), at, size, "bytes"
            at += size
            continue
        for _ in range(int(count or 1)):
            yield left.pop(0), at, *TYPES[letter]
            at += TYPES[letter][0]
    if left:
        raise SystemExit(f"emit_lua: {layout} has no room for {left}")


def lua_table(rows):
    return "{\n" + "".join(f"\t{row},\n" for row in rows) + "}"


def message_rows(macro, spaces):
    for row in emit_messages.messages(macro, spaces):
        own = "" if row["reply"] == "ACK" else f', reply = "{row["reply_payload"]}"'
        yield f'[{row["id"]}] = {{name = "{row["name"]}", payload = "{row["payload"]}"{own}}}'


def gpu_rows():
    for name, number, _, _, _, _, reply in emit_messages.gpu_messages():
        own = "" if reply is None else f', reply = "{"U64" if reply == 8 else "NONE"}"'
        yield f'[{number}] = {{name = "GPU_{name}", payload = "GPU_{name}"{own}}}'


def kind_rows():
    gpu = {f"GPU_{name}": (layout, names) for name, _, layout, names, *_ in emit_messages.gpu_messages()}
    for kind, (layout, names) in {**layouts(), **gpu}.items():
        cells = [f'{{"{name}", {at}, {size}, "{kind_of}"{", true" if name in HEX else ""}}}'
                 for name, at, size, kind_of in fields(layout, names)]
        yield f"{kind} = {{{', '.join(cells)}}}"


def dissector_lua(_):
    """The text of the dissector."""
    spaces = emit_messages.features()
    bits = {space: [f'[{bit}] = "{name}"' for name, bit in spaces[space].items()] for space in ("F", "PF")}
    parts = {
        "FRONT_END": lua_table(message_rows("VHI_FE", spaces)),
        "BACK_END": lua_table(message_rows("VHI_BE", spaces)),
        "GPU": lua_table(gpu_rows()),
        "KINDS": lua_table(kind_rows()),
        "FEATURES": lua_table(bits["F"]),
        "PROTOCOL_FEATURES": lua_table(bits["PF"]),
    }
    return re.sub(r"@(\w+)@", lambda m: parts[m[1]], TEMPLATE.read_text(encoding="utf-8"))
