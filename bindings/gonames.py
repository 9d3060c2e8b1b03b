# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""What things of the headers are called in Go, and how a call reaches them."""

# Scalars whose Go type is the C type, and pointers to them.
SCALARS = {**{f"{sign}int{bits}_t": f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
           "char": "byte", "size_t": "uint"}
# Words that Go writes in capitals.
CAPITALS = {"json": "JSON", "fd": "FD", "id": "ID", "gpa": "GPA", "uva": "UVA", "iova": "IOVA", "ns": "NS", "ms": "MS", "us": "US", "io": "IO",
            "pf": "PF", "mq": "MQ", "mtu": "MTU", "rarp": "RARP", "ro": "RO", "wce": "WCE"}
# Words of Go's that may be names in C.
KEYWORDS = {"chan", "defer", "fallthrough", "func", "go", "import", "interface", "package", "select", "var", "C", "unsafe"}
# Fields that a Go program never fills in or reads.
PRIVATE = {"size", "reserved"}
# vh_error_get() is part of every call, because a goroutine has no thread of its own; the submit call takes its payload
# through a struct, which only C may do with memory of Go's.
BY_HAND = {"vh_error_get": "vhgo.h", "vh_master_submit": "raw.go", "vh_slave_submit": "raw.go"}


def words(name):
    return [w for w in name.split("_") if w]


def camel(name):
    """vh_queue_pop -> QueuePop, VH_EVENT_CONNECTED -> EventConnected."""
    parts = words(name.lower().removeprefix("vh_"))
    return "".join(CAPITALS.get(w, w[0].upper() + w[1:]) for w in parts)


def field(name):
    return name if name in PRIVATE else camel(name)


def param(name):
    """A parameter's name, which may be a word of Go's own."""
    name = {"len": "length", "cap": "room", "type": "kind", "range": "span", "map": "table"}.get(name, name)
    return f"{name}_" if name in KEYWORDS else name


def typedefs(api):
    """{typedef: Go type}: addresses are types of their own, so that one is never taken for another."""
    return {t["name"]: camel(t["name"]) for t in api["typedefs"] if t["type"] == "uint64_t"}


def go_type(api, type_):
    """The Go type of a parameter or a field."""
    base = type_["base"].removeprefix("struct ")
    known = {**SCALARS, "vh_fd": "int32", "vh_rc": "int32", "vh_count": "int32", **typedefs(api)}
    if base == "void" and type_["pointers"]:
        return "*" * (type_["pointers"] - 1) + "unsafe.Pointer"
    if base == "char" and type_["pointers"] == 1 and type_["const"]:
        return "string"
    return "*" * type_["pointers"] + (known.get(base) or camel(base))


def is_ops(api, param):
    shapes = {s["name"]: s["shape"] for s in api["structs"]}
    return shapes.get(param["type"]["base"].removeprefix("struct ")) == "ops"


def way(api, func):
    """How Go reaches a function: "hand", "callbacks" (it takes callbacks), "slices" (it takes arrays), or "swig"."""
    if func["name"] in BY_HAND:
        return "hand"
    if any(is_ops(api, p) for p in func["params"]):
        return "callbacks"
    return "slices" if any(p["array"] for p in func["params"]) else "swig"


def functions(api, by):
    return [f for f in api["functions"] if way(api, f) == by]
