# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""The public headers as text, syntax trees and doc comments: what the model and the gates know about include/vh/*.h."""
import functools
import glob
import os
import re
import subprocess
import tempfile

from pycparser import c_ast, c_parser

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
INCLUDE = os.path.join(TOP, "include")
MAP = os.path.join(TOP, "abi", "libvh.map")

FAKES = {
    "stddef.h": "typedef unsigned long size_t;\n#define NULL ((void *)0)\n",
    "stdint.h": "".join(f"typedef {kind} {sign}int{bits}_t;\n"
                        for bits, base in ((8, "char"), (16, "short"), (32, "int"), (64, "long"))
                        for sign, kind in (("", f"signed {base}"), ("u", f"unsigned {base}"))) +
                "typedef long intptr_t;\ntypedef unsigned long uintptr_t;\n",
}


def headers(include=INCLUDE):
    return sorted(glob.glob(os.path.join(include, "vh", "*.h")))


def preprocess(path, include=INCLUDE):
    """A header as the bindings' parser sees it, with line markers, over stand-ins for the two system headers."""
    with tempfile.TemporaryDirectory() as fakes:
        for name, text in FAKES.items():
            with open(os.path.join(fakes, name), "w", encoding="ascii") as f:
                f.write(text)
        got = subprocess.run(["gcc", "-E", "-DVH_API_PARSE", "-nostdinc", "-I", fakes, "-I", include, path],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    if got.returncode:
        raise SyntaxError(got.stderr.decode())
    return got.stdout.decode().replace(fakes + "/", "")  # the same text each time, for tree()


PARSER = c_parser.CParser()  # its tables take longer to make than a header takes to read


@functools.lru_cache(maxsize=64)
def tree(text, path):
    return PARSER.parse(text, path)


def parse(path, include=INCLUDE):
    """The syntax tree of a header with everything that it includes. Not to be changed: who asks again gets the same."""
    return tree(preprocess(path, include), path)


def own(tree, path):
    """The top-level declarations that stand in this very file."""
    return [node for node in tree.ext if node.coord and os.path.realpath(node.coord.file) == os.path.realpath(path)]


def line_of(node):
    return node.coord.line if getattr(node, "coord", None) else 0


def functions(nodes):
    """{name: FuncDecl} of the functions declared there."""
    return {n.name: n.type for n in nodes if isinstance(n, c_ast.Decl) and isinstance(n.type, c_ast.FuncDecl)}


def structs(nodes):
    """The structs that are defined there, not only named."""
    return [n.type for n in nodes if isinstance(n, c_ast.Decl) and isinstance(n.type, c_ast.Struct) and n.type.decls]


def callback(member):
    """The FuncDecl of a struct's member that is called back, or None."""
    func = member.type.type if isinstance(member.type, c_ast.PtrDecl) else None
    return func if isinstance(func, c_ast.FuncDecl) else None


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


def map_nodes(path=MAP):
    """{node: [symbols]} of the version map."""
    with open(path, encoding="ascii") as f:
        text = re.sub(r"/\*.*?\*/", "", f.read(), flags=re.S)
    nodes = {}
    for name, body in re.findall(r"(\w+(?:\.\d+)*)\s*\{(.*?)\}", text, flags=re.S):
        exported = re.sub(r"local:.*", "", body, flags=re.S)
        nodes[name] = re.findall(r"(\w+)\s*;", exported)
    return nodes


class Comment:
    """A /** comment: its text without the stars, what it stands before up to ; or {, and its line."""

    def __init__(self, text, match):
        self.body = "\n".join(re.sub(r"^\s*\* ?", "", line) for line in match.group(1).splitlines()).strip()
        self.follows = re.match(r"[^;{]*", text[match.end():]).group(0).strip()
        self.line = text.count("\n", 0, match.start()) + 1

    @property
    def subject(self):
        """'vh_x()' for a function or callback, 'struct vh_x' for a struct, else ''."""
        match = re.match(r"(\w+\(\)|struct \w+) - \S", self.body)
        return match.group(1) if match else ""

    @property
    def summary(self):
        return re.match(r".*? - (.*?)(?:\n\n|\n@|\Z)", self.body, flags=re.S).group(1).strip().replace("\n", " ")


def comments(text):
    return [Comment(text, match) for match in re.finditer(r"/\*\*(.*?)\*/\s*", text, flags=re.S)]


def function_comments(text):
    """{name: Comment} of functions whose comment stands right before them."""
    return {c.subject[:-2]: c for c in comments(text)
            if c.subject.endswith("()") and re.search(rf"\b{c.subject[:-2]}\(", c.follows)}


def struct_comments(text):
    """{name: Comment} of structs whose comment stands right before them."""
    return {c.subject[7:]: c for c in comments(text) if c.subject.startswith("struct ") and c.follows == c.subject}


def callback_comments(text, struct):
    """{member: Comment} of the callbacks of one struct."""
    body, _ = struct_text(text, struct)
    return {c.subject[:-2]: c for c in comments(body)
            if c.subject.endswith("()") and f"(*{c.subject[:-2]})(" in c.follows}


def struct_text(text, name):
    """What stands between the braces of a struct, and the line on which that begins."""
    found = re.search(rf"^struct {name} \{{(.*?)^\}};", text, flags=re.M | re.S)
    return (found.group(1), text.count("\n", 0, found.start(1)) + 1) if found else ("", 0)
