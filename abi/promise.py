# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""The binary interface as it was promised (abi/baseline/), and what of it the present headers and library break.

    promise.json  layouts on every architecture, constants, signatures and version nodes: made from the model
    libvh.abi     symbols and types of a built libvh.so.1, as abidw sees them
"""
import hashlib
import json
import os
import re
import subprocess
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# Whose value says which library it is.
MOVING = re.compile(r"VH_VERSION_(MAJOR|MINOR|PATCH)")
ABIDW = ("--short-locs", "--no-comp-dir-path", "--no-corpus-path", "--drop-private-types", "--exported-interfaces-only",
         "--drop-undefined-syms", "--no-parameter-names", "--type-id-style", "hash")


def path(*parts):
    return os.path.join(TOP, "abi", *parts)


def read(*parts):
    with open(path(*parts), encoding="utf-8") as f:
        return f.read()


# --- from the model -----------------------------------------------------------------------------------------------

WORDS = ("out", "owned", "borrowed")


def signature(call, callback=False):
    """Types, and who owns what; names of parameters are not part of it."""
    def one(type_, has, null):
        return " ".join([type_["c"], *(f"({word})" for word in WORDS if has.get(word)),
                         *([null] if has.get("nullable") else [])])
    # What goes to the library may become nullable; what comes from it, in a result or to a callback, may not.
    params = ", ".join(one(p["type"], p, "(maybe NULL)" if callback else "(nullable)") for p in call["params"]) or "void"
    return f"{one(call['returns'], call['returns'], '(maybe NULL)')} ({params})"


def field_type(field):
    if "callback" in field:
        return signature(field["callback"], callback=True)
    return field["type"]["c"] + (f"[{field['array']}]" if field["array"] else "")


def struct_promise(struct):
    layout = struct["layout"]
    return {
        "shape": struct["shape"],
        "size": {arch: at["size"] for arch, at in layout.items()},
        "align": {arch: at["align"] for arch, at in layout.items()},
        "fields": {f["name"]: [field_type(f), {arch: at["offsets"][f["name"]] for arch, at in layout.items()}]
                   for f in struct["fields"]},
    }


def of_model(api):
    return {
        "nodes": api["since"],
        "handles": sorted(api["handles"]),
        "typedefs": {t["name"]: t["type"] for t in api["typedefs"]},
        "constants": {c["name"]: f"{c['value']}{'u' if c['unsigned'] else ''}" for c in api["constants"]
                      if not MOVING.fullmatch(c["name"])},
        "functions": {f["name"]: f"{f['since']}: {signature(f)}" for f in api["functions"]},
        "structs": {s["name"]: struct_promise(s) for s in api["structs"]},
    }


# --- comparing ----------------------------------------------------------------------------------------------------

def relaxed(promised, present):
    """Equal, but for parameters that may be NULL now."""
    parts = [re.split(r"([,()] ?)", text.replace(" (nullable)", "<nullable>")) for text in (promised, present)]
    return len(parts[0]) == len(parts[1]) and all(b in (a, a + "<nullable>") for a, b in zip(*parts))


def broken_struct(name, promised, present):
    wrong = []
    if promised["shape"] != present["shape"]:
        wrong.append(f"struct {name}: was {promised['shape']}, is {present['shape']}")
    if promised["align"] != present["align"]:
        wrong.append(f"struct {name}: aligned to {present['align']}, promised {promised['align']}")
    names, now = list(promised["fields"]), list(present["fields"])
    for field, (type_, offsets) in promised["fields"].items():
        if field not in present["fields"]:
            wrong.append(f"struct {name}: {field} is gone")
        elif not relaxed(type_, present["fields"][field][0]):
            wrong.append(f"struct {name}: {field} was {type_}, is {present['fields'][field][0]}")
        elif offsets != present["fields"][field][1]:
            wrong.append(f"struct {name}: {field} stood at {offsets}, stands at {present['fields'][field][1]}")
    if names != [n for n in now if n in promised["fields"]]:
        wrong.append(f"struct {name}: its fields are in another order")
    grown = [n for n in now if n not in promised["fields"]]
    if promised["shape"] == "frozen" and (grown or promised["size"] != present["size"]):
        wrong.append(f"struct {name}: frozen, and has grown: {', '.join(grown) or present['size']}")
    for field in grown:
        if any(present["fields"][field][1][arch] < size for arch, size in promised["size"].items()):
            wrong.append(f"struct {name}: {field} stands inside of what was promised; append it")
    return wrong


def broken(promised, present):
    """What was promised and is not so any more. Additions are none of it."""
    wrong = []
    for kind in ("typedefs", "constants"):
        wrong += [f"{kind[:-1]} {name}: was {value}, is {present[kind].get(name, 'gone')}"
                  for name, value in promised[kind].items() if present[kind].get(name) != value]
    for kind in ("nodes", "handles"):
        wrong += [f"{kind[:-1]} {name} is gone" for name in promised[kind] if name not in present[kind]]
    for name, text in promised["functions"].items():
        if not relaxed(text, present["functions"].get(name, "gone")):
            wrong.append(f"function {name}: was {text}, is {present['functions'].get(name, 'gone')}")
    for name, struct in promised["structs"].items():
        wrong += (broken_struct(name, struct, present["structs"][name]) if name in present["structs"]
                  else [f"struct {name} is gone"])
    return wrong


def policy(api):
    """POLICY.md names the frozen structs: all, and no others."""
    row = re.search(r"^\| frozen structs .*$", read("POLICY.md"), flags=re.M).group(0)
    said, frozen = set(re.findall(r"`(vh_\w+)`", row)), {s["name"] for s in api["structs"] if s["shape"] == "frozen"}
    return [f"abi/POLICY.md: struct {name} is frozen, and not named" for name in sorted(frozen - said)] + \
        [f"abi/POLICY.md names struct {name}, which is not frozen" for name in sorted(said - frozen)]


def hidden_padding(api):
    """Structs without pointers whose layouts differ: there is padding in them, which nobody sets and somebody reads."""
    return [f"struct {s['name']}: its layout depends on the architecture; fill the gaps with reserved fields"
            for s in api["structs"] if not any("callback" in f for f in s["fields"])
            if len({json.dumps([at["size"], at["offsets"]]) for at in s["layout"].values()}) > 1]


def late_additions(promised, present):
    """Functions that were put into a node which had been released already."""
    return [f"function {name}: new, and in {text.partition(':')[0]}, which is released; add a node to the map"
            for name, text in present["functions"].items()
            if name not in promised["functions"] and text.partition(":")[0] in promised["nodes"]]


# --- the baseline -------------------------------------------------------------------------------------------------

def dump(promise):
    """JSON with one line for each thing that is promised, so that a change reads well."""
    def lines(value, depth):
        if isinstance(value, dict) and not all(isinstance(v, int) for v in value.values()):
            inner = [f"{' ' * (depth + 1)}{json.dumps(k)}: {lines(v, depth + 1)}" for k, v in value.items()]
            return "{\n" + ",\n".join(inner) + f"\n{' ' * depth}}}"
        return json.dumps(value)
    return lines(promise, 0) + "\n"


def entries():
    """Headings of RECUT.md, the newest first."""
    return re.findall(r"^## (.+)$", read("RECUT.md"), flags=re.M)


def released():
    """From 1.0.0 on nothing that was promised is broken."""
    with open(os.path.join(TOP, "CHANGELOG.md"), encoding="utf-8") as f:
        return any(int(major) >= 1 for major in re.findall(r"^## (\d+)\.\d+\.\d+", f.read(), flags=re.M))


def seal(promise, xml):
    """Over everything that is promised: the baseline is written by recut.py, not by hand."""
    rest = {key: value for key, value in promise.items() if key != "seal"}
    return hashlib.sha256((json.dumps(rest, sort_keys=True) + xml).encode()).hexdigest()


def baseline():
    return json.loads(read("baseline", "promise.json"))


def check_baseline():
    promise = baseline()
    wrong = []
    if promise["seal"] != seal(promise, read("baseline", "libvh.abi")):
        wrong.append("abi/baseline was changed by hand; ./run recut writes it")
    if promise["cut"] != (entries() or [None])[0]:
        wrong.append(f"abi/baseline was cut for '{promise['cut']}', which is not the first entry of abi/RECUT.md")
    return wrong


# --- the built library --------------------------------------------------------------------------------------------

def has_debug_info(library):
    """abidiff compares without a word what has none."""
    out = subprocess.run(["readelf", "-SW", library], stdout=subprocess.PIPE, check=True).stdout.decode()
    return " .debug_info " in out


def abidw(library, include):
    if not has_debug_info(library):
        raise SystemExit(f"{library} has no .debug_info; build it with -g")
    got = subprocess.run(["abidw", *ABIDW, "--headers-dir", os.path.join(include, "vh"), library],
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    if got.returncode:
        raise SystemExit(f"abidw: {got.stderr.decode(errors='replace').strip()}")
    return got.stdout.decode()


BITS = {1: "error", 2: "wrong usage", 4: "changed", 8: "incompatible"}


def abidiff(before, after):
    """Of two outputs of abidw: (exit bits, report without line numbers and counts). Not of a library, for which abidiff
    would have to be told where public headers are, and then takes int32_t, which is not defined there, for private."""
    got = subprocess.run(["abidiff", before, after], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    report = re.sub(r" at [\w.-]+:\d+:\d+", "", got.stdout.decode(errors="replace"))
    lines = [line.strip() for line in report.splitlines()]
    return got.returncode, [line for line in lines if line and "changes summary" not in line and
                            not re.match(r"\d+ .*(functions?|variables?).*:$", line)]


def approved():
    """Lines of reports that were looked at: abi/approved, with the reason in a comment."""
    return {line.strip() for line in read("approved").splitlines() if line.strip() and line[0] != "#"}


def check_library(library, include):
    """What abidiff says about a built library. 4 is not 'compatible': it stands for all but removals."""
    if not has_debug_info(library):
        return [f"{library} has no .debug_info: abidiff would see nothing"]
    if "<class-decl" not in read("baseline", "libvh.abi"):
        return ["abi/baseline/libvh.abi has no types: it was made without debug information"]
    with tempfile.NamedTemporaryFile("w", suffix=".abi") as now:
        now.write(abidw(library, include))
        now.flush()
        bits, report = abidiff(path("baseline", "libvh.abi"), now.name)
    if not bits:
        return []
    names = [name for bit, name in BITS.items() if bits & bit]
    if bits & ~4 or bits & ~sum(BITS):
        return [f"abidiff: {' and '.join(names)} (exit code {bits})", *report]
    unknown = [line for line in report if line not in approved()]
    if not report:
        return ["abidiff: changed, without a report"]
    return [f"abidiff: {' and '.join(names)}, and not in abi/approved:", *unknown] if unknown else []
