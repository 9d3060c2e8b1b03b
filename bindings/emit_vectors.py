# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""tests/abi/vectors.def: the model as rows of C macros, for the program that calls the library without its headers."""
import layout

HEAD = """\
/* SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0 */
/*
 * Made by ./run regen from include/vh; the rows that tests/abi/dyn.c calls the library by.
 *
 * NODE(version node)
 * CONSTANT(name, value)
 * STRUCT(name, shape, {ARCHS: size}, {ARCHS: align})
 * FIELD(struct, name, type, count, {ARCHS: offset})
 * CALL(name, version node, @thread, @errors, result type, result's C type); a callback is named struct.member
 * PARAM(call, name, type, type that it points to, that struct's name, flags, parameter that counts the elements)
 */
"""
ARCHS = tuple(layout.COMPILERS)
WIDTHS = {"void": "VOID", "char": "I8", "size_t": "SIZE",
          **{f"{sign}int{bits}_t": f"{'U' if sign else 'I'}{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}}


def widths(api):
    return {**WIDTHS, **{t["name"]: WIDTHS[t["type"]] for t in api["typedefs"]}}


def c_type(type_, known, pointers_off=0):
    if type_["pointers"] > pointers_off:
        return "T_PTR"
    return "T_STRUCT" if type_["base"].startswith("struct ") else "T_" + known[type_["base"]]


def row(macro, *values):
    return f"{macro}({', '.join(str(v) for v in values)})"


def quoted(text):
    return f'"{text or ""}"'


def per_arch(struct, pick):
    return "ARCHS(" + ", ".join(str(pick(struct["layout"][arch])) for arch in ARCHS) + ")"


def param_rows(name, call, known):
    for param in call["params"]:
        type_ = param["type"]
        flags = ["P_" + word.upper() for word in ("nullable", "out", "owned", "borrowed") if param[word]]
        flags += ["P_CONST"] if type_["const"] else []
        struct = type_["base"].removeprefix("struct ") if type_["base"].startswith("struct ") else ""
        yield row("PARAM", quoted(name), quoted(param["name"]), c_type(type_, known), c_type(type_, known, 1),
                  quoted(struct), " | ".join(flags) or "0", quoted(param["array"]))


def call_rows(name, call, known):
    yield row("CALL", quoted(name), quoted(call["since"]), quoted(call["thread"]), quoted(" ".join(call["errors"])),
              c_type(call["returns"], known), quoted(call["returns"]["c"]))
    yield from param_rows(name, call, known)


def struct_rows(struct, known):
    name = struct["name"]
    yield row("STRUCT", quoted(name), "S_" + struct["shape"].upper(), per_arch(struct, lambda at: at["size"]),
              per_arch(struct, lambda at: at["align"]))
    for field in struct["fields"]:
        type_ = "T_PTR" if "callback" in field else c_type(field["type"], known)
        yield row("FIELD", quoted(name), quoted(field["name"]), type_, field.get("array") or 1,
                  per_arch(struct, lambda at, f=field["name"]: at["offsets"][f]))
    for field in struct["fields"]:
        if "callback" in field:
            yield from call_rows(f"{name}.{field['name']}", field["callback"], known)


def vectors_def(api):
    known = widths(api)
    lines = [row("NODE", quoted(node)) for node in api["since"]]
    lines += [row("CONSTANT", quoted(c["name"]), f"{c['value']}u" if c["unsigned"] else c["value"])
              for c in api["constants"]]
    for struct in api["structs"]:
        lines += ["", *struct_rows(struct, known)]
    for function in api["functions"]:
        lines += ["", *call_rows(function["name"], function, known)]
    return HEAD.replace("ARCHS", ", ".join(ARCHS)) + "\n" + "\n".join(lines) + "\n"
