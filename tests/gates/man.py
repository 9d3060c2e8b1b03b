# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Gate `man`: the manual pages of the build folder that is the argument are there, well-formed, and say what is true.

Every function, struct and header has a page, made from the headers as they are, and vhctl one, made from docs/vhctl.md; mandoc and groff find nothing wrong;
what a SYNOPSIS shows compiles against the headers, and the example of libvh(7) too. Names and errors in the headers'
comments exist. When all is well, each check is shown to be able to fail.
"""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

import emit_man
import parse

API = os.path.join(parse.TOP, "abi", "libvh.api.json")
TEMPLATE = os.path.join(parse.TOP, "docs", "libvh.7.in")
VHCTL = os.path.join(parse.TOP, "docs", "vhctl.md")
EXAMPLE = os.path.join(parse.TOP, "examples", "null_backend.c")
STRICT = ["gcc", "-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-I", parse.INCLUDE]
# What mandoc may say, and why it is right to leave it.
ALLOWED = {
    'missing date, using ""': "pages are made at every build; a date would make two builds of one version differ",
}


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def run(*argv, text=""):
    got = subprocess.run(argv, input=text.encode(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                         env={**os.environ, "LC_ALL": "C.UTF-8", "MANWIDTH": "100"})
    return got.returncode, got.stdout.decode(errors="replace")


class Comments:
    """What the comments of the headers name, against what there is."""

    def __init__(self, api):
        self.api = api
        self.functions = api["functions"] + [f["callback"] for s in api["structs"] for f in s["fields"]
                                             if "callback" in f]
        self.fields = {s["name"]: {f["name"] for f in s["fields"]} for s in api["structs"]}
        self.names = set(api["handles"])
        self.names |= {x["name"] for kind in ("functions", "structs", "typedefs") for x in api[kind]}
        self.constants = {c["name"] for c in api["constants"]} | {"VH_API"}
        self.headers = {"vh/vh.h"} | {f"vh/{h['name']}" for h in api["headers"]}
        macros = run("gcc", "-E", "-dM", "-include", "errno.h", "-")[1]
        self.errnos = set(re.findall(r"^#define (E\w+) ", macros, flags=re.M))

    def unknown(self, text):
        """Names in one comment that nothing has."""
        for name, field in re.findall(r"\b(vh_\w+)(?:\.([a-z]\w*))?", text):
            if name.endswith("_") and f"{name}*" in text:
                if not any(n.startswith(name) for n in self.names):
                    yield name + "*"
            elif name not in self.names:
                yield name
            elif field and field not in self.fields.get(name, {field}):
                yield f"{name}.{field}"
        for name, star in re.findall(r"\b(VH_(?!\d\.)[A-Z0-9_]+)(\*?)", text):
            if not (any(c.startswith(name) for c in self.constants) if star else name in self.constants):
                yield name + star
        yield from set(re.findall(r"\bvh/\w+\.h\b", text)) - self.headers
        yield from {e for e in re.findall(r"-(E[A-Z][A-Z0-9]+)\b", text)} - self.errnos

    def problems(self, texts):
        """texts: {header name: its text}."""
        for header, text in texts.items():
            for match in re.finditer(r"/\*.*?\*/", text, flags=re.S):
                line = text.count("\n", 0, match.start()) + 1
                for name in self.unknown(match.group(0)):
                    yield f"include/vh/{header}:{line}: the comment names {name}, which is not there"
        for function in self.functions:
            unknown = set(function["errors"]) - self.errnos
            if unknown:
                yield f"{function['name']}: <errno.h> has no {' '.join(sorted(unknown))}"
            told = set(re.findall(r"-(E[A-Z][A-Z0-9]+)\b", function["returns"]["doc"])) - set(function["errors"])
            if told:
                yield f"{function['name']}: Return tells of {' '.join(sorted(told))}, @errors does not"


def section(source, name):
    """One section of a page as a terminal shows it, as text."""
    _, shown = run("mandoc", "-T", "ascii", "-O", "width=200,indent=0", text=source)
    shown = re.sub(r".\x08", "", shown)
    match = re.search(rf"^{name}\n(.*?)^(?=\S)", shown, flags=re.M | re.S)
    return match.group(1) if match else ""


def synopses(pages, api):
    """A C file of all that the SYNOPSIS sections show; structs under another name, compared with the real ones."""
    lines = ["#include <vh/vh.h>"]
    for function in api["functions"]:
        lines.append(section(pages.get(f"{function['name']}.3", ""), "SYNOPSIS") or "#error no synopsis")
    for struct in api["structs"]:
        name = struct["name"]
        text = section(pages.get(f"{name}.3", ""), "SYNOPSIS") or "#error no synopsis"
        lines.append(text.replace(f"struct {name} {{", f"struct page_{name} {{"))
        lines.append(f'_Static_assert(sizeof(struct page_{name}) == sizeof(struct {name}), "{name}");')
        lines += [f'_Static_assert(offsetof(struct page_{name}, {f["name"]}) == offsetof(struct {name}, {f["name"]}), '
                  f'"{name}.{f["name"]}");' for f in struct["fields"]]
    return "\n".join(lines)


def check_synopses(pages, api):
    code, said = run(*STRICT, "-x", "c", "-fsyntax-only", "-", text=synopses(pages, api))
    if code:
        yield f"the SYNOPSIS sections don't compile: {next((x for x in said.splitlines() if 'error' in x), said)}"


def check_lint(pages):
    with tempfile.TemporaryDirectory() as folder:
        emit_man.write(pages, folder)
        paths = sorted(os.path.join(folder, name) for name in pages)
        _, said = run("mandoc", "-T", "lint", "-W", "warning", *paths)
        for line in said.splitlines():
            if not any(text in line for text in ALLOWED):
                yield line.replace(folder + "/", "")
        yield from check_groff(paths)


def check_groff(paths):
    got = subprocess.run(["man", "--warnings", "-l", *paths], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                         env={**os.environ, "LC_ALL": "C.UTF-8", "MANWIDTH": "100", "PAGER": "cat"}, check=False)
    if got.returncode or got.stderr:
        yield f"man: exit code {got.returncode}: {got.stderr.decode(errors='replace').strip()[:300]}"


def check_set(pages, api, wanted):
    """Every name has its page, and the page is the one that the model makes; every number stands in one."""
    yield from (f"{name}: there is no page" for name in sorted(set(wanted) - set(pages)))
    yield from (f"{name}: a page of nothing" for name in sorted(set(pages) - set(wanted)))
    yield from (f"{name}: is not what the model makes; build again" for name in sorted(set(pages) & set(wanted))
                if pages[name] != wanted[name])
    text = "".join(pages.values())
    yield from (f"{c['name']}: no page tells of it" for c in api["constants"] if f"\\fB{c['name']}\\fP = " not in text)


def check_example(pages, build):
    """The program of libvh(7), as a reader would copy it: it compiles, is linked, and starts."""
    with tempfile.TemporaryDirectory() as folder:
        program = os.path.join(folder, "example")
        code, said = run(*STRICT, "-o", program, "-x", "c", "-", "-L", build, "-lvh", f"-Wl,-rpath,{build}",
                         text=section(pages.get("libvh.7", ""), "EXAMPLES").partition("\n\n")[2])
        if not code:
            code, said = run(program)
            code = code != 2 or not said.startswith("usage:")
    if code:
        yield f"the example of libvh(7): {said.strip()[:300]}"


def check(texts, api, pages, wanted, build):
    yield from Comments(api).problems(texts)
    yield from check_set(pages, api, wanted)
    yield from check_lint(pages)
    yield from check_synopses(pages, api)
    yield from check_example(pages, build)


def self_test(texts, api, pages, wanted, build):
    """What each check says of one thing that is wrong."""
    def changed(name, old, new):
        if old not in pages[name]:
            raise SystemExit(f"self-test: {name} does not hold {old!r}")
        return {**pages, name: pages[name].replace(old, new, 1)}

    def commented(words):
        return Comments(api).problems({"x.h": f"\n/* {words} */"})

    def lost(constant, value):
        found = check_set({n: t.replace(f"{constant}\\fP = {value}", "") for n, t in pages.items()}, api, wanted)
        return [line for line in found if line.startswith(constant)]

    def tagged(old, new):
        return Comments(json.loads(json.dumps(api).replace(old, new))).problems({})
    reds = {
        "a function that is not there": commented("see vh_queue_popp()"),
        "a field that is not there": commented("see vh_req.tokens"),
        "a constant that is not there": commented("VH_REQ_LASTLY"),
        "constants of which there are none": commented("VH_RECK_*"),
        "a header that is not there": commented("vh/queues.h"),
        "an error that is not there": commented("-EWRONG when it is"),
        "@errors with what is no error": tagged('"ENODATA"', '"ENODATUM"'),
        "a Return with an error that is not in @errors": tagged("-ENODATA when", "-ENOLINK when"),
        "a page that is missing": check_set({n: t for n, t in pages.items() if n != "vh_req.3"}, api, wanted),
        "a page of something that went": check_set({**pages, "vh_old.3": pages["vh_req.3"]}, api, wanted),
        "an old page": check_set(changed("vh_req.3", "token", "tokens"), api, wanted),
        "a constant in no page": lost("VH_PF_RARP", 2),
        "a macro that is not there": check_lint({"x.3": changed("vh_req.3", ".SH FIELDS", ".XX FIELDS")["vh_req.3"]}),
        "another prototype": check_synopses(changed("vh_queue_pop.3", "uint32_t max", "uint64_t max"), api),
        "another struct": check_synopses(changed("vh_req.3", "uint32_t n_rd;", "uint64_t n_rd;"), api),
        "a page without SYNOPSIS": check_synopses(changed("vh_req.3", ".SH SYNOPSIS", ".SH SHAPE"), api),
        "an example that is wrong": check_example(changed("libvh.7", "vh_slave_listen(s,", "vh_slave_listen("), build),
    }
    return [f"self-test: {what} was let through" for what, found in reds.items() if not list(found)], len(reds)


def main():
    build = os.path.abspath(sys.argv[1])
    for tool in ("mandoc", "man"):
        if not shutil.which(tool):
            print(f"{tool} is not there; cmake/packages names its package")
            return 1
    folder = os.path.join(build, "man")
    pages = {n: read(os.path.join(folder, n)) for n in os.listdir(folder) if n.endswith((".1", ".3", ".7"))}
    api = json.loads(read(API))
    texts = {h["name"]: read(os.path.join(parse.INCLUDE, "vh", h["name"])) for h in api["headers"]}
    wanted = emit_man.Manual(api).all(read(TEMPLATE), read(EXAMPLE), read(VHCTL))
    wrong = list(check(texts, api, pages, wanted, build))
    if not wrong:
        told, reds = self_test(texts, api, pages, wanted, build)
        wrong += told
    for line in wrong:
        print(line)
    print(f"{len(pages)} pages, {len(api['functions'])} prototypes and {len(api['structs'])} structs compile, "
          f"{0 if wrong else reds} red cases, {len(wrong)} problems")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
