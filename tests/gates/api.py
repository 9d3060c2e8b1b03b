# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""The public headers as data: what the gates know about include/vh/*.h."""
import glob
import os
import re
import subprocess
import tempfile

from pycparser import c_ast, c_parser

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
INCLUDE = os.path.join(TOP, "include")
MAP = os.path.join(TOP, "abi", "libvh.map")

FAKES = {
    "stddef.h": "typedef unsigned long size_t;\n#define NULL ((void *)0)\n",
    "stdint.h": "".join(f"typedef {kind} {sign}int{bits}_t;\n"
                        for bits, base in ((8, "char"), (16, "short"), (32, "int"), (64, "long"))
                        for sign, kind in (("", f"signed {base}"), ("u", f"unsigned {base}"))) +
                "typedef long intptr_t;\ntypedef unsigned long uintptr_t;\n",
}


def headers():
    return sorted(glob.glob(os.path.join(INCLUDE, "vh", "*.h")))


def preprocess(path):
    """A header as the bindings' parser sees it, with line markers, over stand-ins for the two system headers."""
    with tempfile.TemporaryDirectory() as fakes:
        for name, text in FAKES.items():
            with open(os.path.join(fakes, name), "w", encoding="ascii") as f:
                f.write(text)
        got = subprocess.run(["gcc", "-E", "-DVH_API_PARSE", "-nostdinc", "-I", fakes, "-I", INCLUDE, path],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    if got.returncode:
        raise SyntaxError(got.stderr.decode())
    return got.stdout.decode()


def parse(path):
    """The syntax tree of a header with everything that it includes."""
    return c_parser.CParser().parse(preprocess(path), path)


def own(tree, path):
    """The top-level declarations that stand in this very file."""
    return [node for node in tree.ext if node.coord and os.path.realpath(node.coord.file) == os.path.realpath(path)]


def functions(nodes):
    """{name: FuncDecl} of the functions declared there."""
    return {n.name: n.type for n in nodes if isinstance(n, c_ast.Decl) and isinstance(n.type, c_ast.FuncDecl)}


def parameters(func):
    """[(name, type)] of a function, empty for (void)."""
    params = func.args.params if func.args else []
    if len(params) == 1 and isinstance(params[0], c_ast.Typename) and is_base(params[0].type, "void"):
        return []
    return [(getattr(p, "name", None), getattr(p, "type", None)) for p in params]


def is_base(node, name):
    return (isinstance(node, c_ast.TypeDecl) and isinstance(node.type, c_ast.IdentifierType) and
            node.type.names == [name])


def public_functions():
    """Names of every function that the headers declare."""
    names = set()
    for path in headers():
        names |= set(functions(own(parse(path), path)))
    return names


def map_nodes():
    """{node: [symbols]} of the version map."""
    with open(MAP, encoding="ascii") as f:
        text = re.sub(r"/\*.*?\*/", "", f.read(), flags=re.S)
    nodes = {}
    for name, body in re.findall(r"(\w+(?:\.\d+)*)\s*\{(.*?)\}", text, flags=re.S):
        exported = re.sub(r"local:.*", "", body, flags=re.S)
        nodes[name] = re.findall(r"(\w+)\s*;", exported)
    return nodes


def doc_comments(text):
    """[(comment, declaration that follows it up to ; or {)] of every /** comment of a header's text."""
    found = []
    for match in re.finditer(r"/\*\*(.*?)\*/\s*", text, flags=re.S):
        body = "\n".join(re.sub(r"^\s*\*? ?", "", line) for line in match.group(1).splitlines()).strip()
        follows = re.match(r"[^;{]*", text[match.end():]).group(0).strip()
        found.append((body, follows))
    return found
