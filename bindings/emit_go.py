# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Go that is made from the model: constants, mirrored structs, and the calls that SWIG can't do well.

Calls with arrays take slices and go through cgo. Calls with callbacks take a struct of functions, kept by a cgo.Handle
until the library calls destroy.
"""
import textwrap

import gonames
from emit_swig import C_HEAD, HEAD, RESULTS, gofmt

TAKE = {"vh_rc": "vhgo_rc_of", "vh_count": "vhgo_count_of", "vh_fd": "vhgo_count_of"}
GIVE = {"vh_rc": ("error", "rcError({})"), **dict.fromkeys(("vh_count", "vh_fd"), ("(int, error)", "countOf({}).Get()"))}


def comment(text, indent=""):
    return "".join(f"{indent}// {line}\n" for line in textwrap.wrap(text, 110)) if text else ""


def about(struct):
    """What a struct is, without the words that say how it is laid out."""
    said = struct["doc"].partition(". ")[0].rstrip(".")
    return f"{gonames.camel(struct['name'])}: {said}."


def constants_go(api):
    """Numbers of the headers, in the blocks that they stand in there."""
    out, group = [HEAD, "package vh\n"], None
    for c in api["constants"]:
        if (c["header"], c["group"]) != group:
            if group:
                out.append(")\n")
            group = (c["header"], c["group"])
            out.append("\n" + comment(f"{c['group']}." if c["group"] else f"Of vh/{c['header']}.") + "const (\n")
        doc = f" // {c['doc']}" if c["doc"] else ""
        out.append(f"\t{gonames.camel(c['name'])} = {c['value']}{doc}\n")
    return gofmt("".join(out) + ")\n")


def one_layout(struct):
    layouts = list(struct["layout"].values())
    if any((one["size"], one["offsets"]) != (layouts[0]["size"], layouts[0]["offsets"]) for one in layouts):
        raise SystemExit(f"{struct['name']}: its layout depends on the machine; Go needs one")
    return layouts[0]


def mirrored(api, struct):
    """A struct in Go, its assertions, and what sets its size."""
    name, layout = gonames.camel(struct["name"]), one_layout(struct)
    out = [comment(about(struct)), *(comment(p) for p in struct["description"]),
           f"type {name} struct {{\n"]
    asserts = [f"_ = [1]struct{{}}{{}}[unsafe.Sizeof({name}{{}})-{layout['size']}]\n"]
    for f in struct["fields"]:
        go, array = gonames.go_type(api, f["type"]), f"[{f['array']}]" if f["array"] else ""
        doc = f" // {f['doc']}" if f["doc"] and f["name"] not in gonames.PRIVATE else ""
        out.append(f"\t{gonames.field(f['name'])} {array}{go}{doc}\n")
        asserts.append(f"_ = [1]struct{{}}{{}}[unsafe.Offsetof({name}{{}}.{gonames.field(f['name'])})"
                       f"-{layout['offsets'][f['name']]}]\n")
    out.append("}\n\nvar (\n" + "".join(f"\t{a}" for a in asserts) + ")\n\n")
    sized = struct["fields"][0]["name"] == "size"
    out.append(SIZES.format(name=name) if sized else COPY.format(name=name))
    return "".join(out)


SIZES = """\
// sized is a copy that says how large it is, nil for nil.
func (s *{name}) sized() *{name} {{
	if s == nil {{
		return nil
	}}
	c := *s
	c.size = uint32(unsafe.Sizeof(c))
	return &c
}}

// room makes it ready to be filled in.
func (s *{name}) room() *{name} {{
	if s != nil {{
		s.size = uint32(unsafe.Sizeof(*s))
	}}
	return s
}}

"""

# cgo looks at the whole object that an argument is a part of, which may hold pointers of Go's: hence the copies.
COPY = """\
// copied is one of its own, nil for nil.
func (s *{name}) copied() *{name} {{
	if s == nil {{
		return nil
	}}
	c := *s
	return &c
}}

"""


def types_go(api):
    """Handles, addresses and structs."""
    out = [HEAD, 'package raw\n\nimport "unsafe"\n\n']
    for t in api["typedefs"]:
        if t["name"] in gonames.typedefs(api):
            name = gonames.camel(t["name"])
            out.append(comment(f"{name} is a {t['doc'][0].lower()}{t['doc'][1:]}") + f"type {name} uint64\n\n")
    out += [f"// {gonames.camel(h)} is a struct {h} of the library.\n"
            f"type {gonames.camel(h)} struct{{ _ [0]byte }}\n\n" for h in api["handles"]]
    out += [mirrored(api, s) for s in api["structs"] if s["shape"] != "ops"]
    return gofmt("".join(out))


def sizes_of_arrays(func):
    """{parameter that counts an array's elements: the array}"""
    return {p["array"]: p["name"] for p in func["params"] if p["array"]}


def element(api, type_):
    """What an array has, in Go."""
    if type_["base"] in ("void", "uint8_t", "char") and type_["pointers"] == 1:
        return "byte"
    return gonames.go_type(api, {**type_, "pointers": type_["pointers"] - 1})


class Call:
    """One call through cgo: its C shim and its Go function, parameter by parameter."""

    def __init__(self, api, func):
        self.api, self.func = api, func
        self.counts = sizes_of_arrays(func)
        self.c_params, self.c_args, self.go_params, self.go_args = [], [], [], []
        if self.result not in GIVE:
            raise SystemExit(f"{func['name']}: a call with an array returns one of {', '.join(GIVE)}, not {self.result}")
        for param in func["params"]:
            self.add(param)

    def add(self, param):
        name, type_ = gonames.param(param["name"]), param["type"]
        self.c_args.append(param["name"])
        c_type = type_["c"]
        if param["array"]:
            # Bytes as such: for a void pointer cgo looks at the whole object that they are a part of.
            if type_["base"] == "void":
                type_ = {**type_, "base": "uint8_t", "c": type_["c"].replace("void", "uint8_t")}
                c_type = type_["c"]
            self.go_params.append(f"{name} []{element(self.api, type_)}")
            go_arg = f"({c_pointer(type_)})(first({name}))"
        elif param["name"] in self.counts:
            go_arg = f"C.{type_['base']}(len({gonames.param(self.counts[param['name']])}))"
        else:
            go_arg = self.plain(param)
        self.c_params.append(f"{c_type}{'' if c_type.endswith('*') else ' '}{param['name']}")
        self.go_args.append(go_arg)

    def plain(self, param):
        name, type_ = gonames.param(param["name"]), param["type"]
        self.go_params.append(f"{name} {gonames.go_type(self.api, type_)}")
        if not type_["pointers"]:
            return f"C.{type_['base']}({name})"
        struct = next((s for s in self.api["structs"] if f"struct {s['name']}" == type_["base"]), None)
        if struct and struct["fields"][0]["name"] == "size":
            name += ".sized()" if type_["const"] else ".room()"
        return f"({c_pointer(type_)})(unsafe.Pointer({name}))"

    @property
    def result(self):
        return self.func["returns"]["c"]

    def shim(self):
        name = self.func["name"]
        return (f"static {RESULTS[self.result]} go_{name}({', '.join(self.c_params)})\n{{\n"
                f"\treturn {TAKE[self.result]}({name}({', '.join(self.c_args)}));\n}}\n")

    def go(self):
        name, (returns, give) = self.func["name"], GIVE[self.result]
        call = f"uintptr(C.go_{name}({', '.join(self.go_args)}))"
        return (f"func {gonames.camel(name)}({', '.join(self.go_params)}) {returns} {{\n"
                f"\treturn {give.format(call)}\n}}\n\n")


def c_pointer(type_):
    if type_["base"] == "void":
        return "unsafe.Pointer"
    return "*" * type_["pointers"] + "C." + type_["base"].replace("struct ", "struct_")


def slices_go(api):
    """Calls that take arrays."""
    calls = [Call(api, f) for f in gonames.functions(api, "slices")]
    return gofmt(f"{HEAD}package raw\n\n/*\n#include \"vhgo.h\"\n\n" + "\n".join(c.shim() for c in calls) +
                 '*/\nimport "C"\n\nimport "unsafe"\n\n' + "".join(c.go() for c in calls))


def ops_structs(api):
    return [s for s in api["structs"] if s["shape"] == "ops"]


def callbacks(struct):
    return [f["callback"] for f in struct["fields"] if "callback" in f]


def word(struct):
    """The number in an ops struct that its user sets: flags, or level."""
    return struct["fields"][1]["name"]


def export_name(struct, func):
    return f"vhgo_{struct['name'].removeprefix('vh_')}_{func['name']}"


def go_callback_params(api, func):
    """[(name, type in a Go callback, how to make it of the exported function's parameters)] behind ctx."""
    counts, found = sizes_of_arrays(func), []
    for p in func["params"][1:]:
        name = gonames.param(p["name"])
        if p["array"]:
            one = element(api, p["type"])
            found.append((name, f"[]{one}", f"sliceAt[{one}](unsafe.Pointer({name}), int({gonames.param(p['array'])}))"))
        elif p["name"] not in counts:
            go = gonames.go_type(api, p["type"])
            found.append((name, go, f"C.GoString({name})" if go == "string" else
                          f"({go})(unsafe.Pointer({name}))" if p["type"]["pointers"] else f"{go}({name})"))
    return found


def number(api, func):
    """(Go type, C type) of what a callback returns, ("", "") for nothing."""
    base = func["returns"]["c"]
    if base == "void":
        return "", ""
    go = gonames.go_type(api, {"base": base, "pointers": 0})
    if go not in gonames.SCALARS.values():
        raise SystemExit(f"{func['name']}: a callback that returns {base} has no way to Go")
    return go, f"C.{go}_t"


def ops_go_type(api, struct):
    name = gonames.camel(struct["name"])
    out = [comment(f"{about(struct)} Members may be nil."), f"type {name} struct {{\n",
           f"\t{gonames.camel(word(struct))} uint32\n"]
    for func in callbacks(struct):
        params = ", ".join(f"{n} {t}" for n, t, _ in go_callback_params(api, func))
        out.append(f"\t{gonames.camel(func['name'])} func({params}) {number(api, func)[0]}"
                   f" // {func['summary']}\n")
    out.append("}\n\n")
    members = [f for f in callbacks(struct) if f["name"] != "destroy"]
    out.append(f"// members tells the library which members there are.\nfunc (o *{name}) members() (bits C.uint32_t) {{\n" +
               "".join(f"\tif o.{gonames.camel(f['name'])} != nil {{\n\t\tbits |= 1 << {i}\n\t}}\n"
                       for i, f in enumerate(members)) + "\treturn bits\n}\n\n")
    return "".join(out)


def exported(api, struct):
    out = []
    for func in callbacks(struct):
        params = ", ".join(f"{gonames.param(p['name'])} {c_pointer(p['type']) if p['type']['pointers'] else 'C.' + p['type']['base']}"
                           for p in func["params"][1:])
        head = f"//export {export_name(struct, func)}\nfunc {export_name(struct, func)}(ctx C.uintptr_t"
        args = ", ".join(how for _, _, how in go_callback_params(api, func))
        call = f"cgo.Handle(ctx).Value().(*{gonames.camel(struct['name'])}).{gonames.camel(func['name'])}"
        if func["name"] == "destroy":
            body = (f"\th := cgo.Handle(ctx)\n\tdestroy := h.Value().(*{gonames.camel(struct['name'])}).Destroy\n"
                    "\th.Delete()\n\tif destroy != nil {\n\t\tdestroy()\n\t}\n")
        elif number(api, func)[1]:
            body = f"\treturn {number(api, func)[1]}({call}({args}))\n"
        else:
            body = f"\t{call}({args})\n"
        out.append(f"{head}{', ' + params if params else ''}) {number(api, func)[1]} {{\n{body}}}\n\n")
    return "".join(out)


def ops_calls(api):
    """[(function, its struct of callbacks)]"""
    by_name = {f"struct {s['name']}": s for s in ops_structs(api)}
    return [(f, next(by_name[p["type"]["base"]] for p in f["params"] if p["type"]["base"] in by_name))
            for f in gonames.functions(api, "callbacks")]


def split_params(api, func):
    """Parameters before the ops, and behind their ctx."""
    at = next(i for i, p in enumerate(func["params"]) if gonames.is_ops(api, p))
    if func["params"][at + 1]["name"] != "ctx":
        raise SystemExit(f"{func['name']}: behind its callbacks there is no ctx")
    return func["params"][:at], func["params"][at + 2:]


def ops_call_go(api, func, struct):
    before, after = split_params(api, func)
    call = Call(api, {**func, "params": before + after})
    n = len(before)
    args = [*call.go_args[:n], "n", "members", "ctx", *call.go_args[n:]]
    name = gonames.camel(func["name"])
    params = [*call.go_params[:n], f"ops *{gonames.camel(struct['name'])}", *call.go_params[n:]]
    return (f"// {name} keeps ops until the library calls destroy.\n"
            f"func {name}({', '.join(params)}) error {{\n\tvar ctx C.uintptr_t\n\tvar n, members C.uint32_t\n"
            f"\tif ops != nil {{\n\t\tctx, n, members = C.uintptr_t(cgo.NewHandle(ops)), "
            f"C.uint32_t(ops.{gonames.camel(word(struct))}), ops.members()\n\t}}\n"
            f"\treturn rcError(uintptr(C.go_{func['name']}({', '.join(args)})))\n}}\n\n")


def shim_head(api, func):
    before, after = split_params(api, func)

    def text(params):
        return [f"{p['type']['c']}{'' if p['type']['c'].endswith('*') else ' '}{p['name']}" for p in params]
    params = [*text(before), "uint32_t n", "uint32_t members", "uintptr_t ctx", *text(after)]
    return f"vhgo_rc go_{func['name']}({', '.join(params)})"


def shim_body(api, func, struct):
    before, after = split_params(api, func)
    members = [f for f in callbacks(struct) if f["name"] != "destroy"]
    out = [f"{shim_head(api, func)}\n{{\n\tstruct {struct['name']} ops = {{.size = sizeof(ops), .{word(struct)} = n}};\n\n"
           f"\tops.destroy = {struct['name']}_destroy;\n"]
    out += [f"\tif (members & 1u << {i})\n\t\tops.{f['name']} = {struct['name']}_{f['name']};\n"
            for i, f in enumerate(members)]
    args = [*(p["name"] for p in before), "ctx ? &ops : NULL", "(void *)ctx", *(p["name"] for p in after)]
    out.append(f"\treturn vhgo_rc_of({func['name']}({', '.join(args)}));\n}}\n\n")
    return "".join(out)


def trampoline(struct, func):
    params = ", ".join(f"{p['type']['c']}{'' if p['type']['c'].endswith('*') else ' '}{p['name']}" for p in func["params"])
    args = ["(uintptr_t)ctx"]
    for p in func["params"][1:]:
        args.append(f"({p['type']['base']} {'*' * p['type']['pointers']}){p['name']}" if p["type"]["const"] else p["name"])
    result = func["returns"]["c"]
    return (f"static {result} {struct['name']}_{func['name']}({params})\n{{\n"
            f"\t{'return ' if result != 'void' else ''}{export_name(struct, func)}({', '.join(args)});\n}}\n\n")


def callbacks_c(api):
    """From the library's callbacks to exported Go functions, and the calls that set them."""
    out = [C_HEAD, '#include "_cgo_export.h"\n\n#include "vhgo.h"\n\n']
    out += [trampoline(s, f) for s in ops_structs(api) for f in callbacks(s)]
    out += [shim_body(api, f, s) for f, s in ops_calls(api)]
    return "".join(out)


def callbacks_go(api):
    """Structs of Go functions, and the calls that take them."""
    heads = "".join(f"{shim_head(api, f)};\n" for f, _ in ops_calls(api))
    return gofmt(f"{HEAD}package raw\n\n/*\n#include \"vhgo.h\"\n\n{heads}*/\nimport \"C\"\n\n"
                 "import (\n\t\"runtime/cgo\"\n\t\"unsafe\"\n)\n\n" +
                 "".join(ops_go_type(api, s) + exported(api, s) for s in ops_structs(api)) +
                 "".join(ops_call_go(api, f, s) for f, s in ops_calls(api)))


OUTPUTS = {
    "go/vh/constants.go": constants_go,
    "go/internal/raw/types.go": types_go,
    "go/internal/raw/slices.go": slices_go,
    "go/internal/raw/callbacks.go": callbacks_go,
    "go/internal/raw/callbacks.c": callbacks_c,
}
