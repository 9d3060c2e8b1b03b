# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""The public headers as one value, of which everything else is made. abi/libvh.api.json is this value, written down.

It is made only from headers that keep to the dialect; what is wrong is told with file and line.
"""
import os
import re

from pycparser import c_ast

import dialect
import layout
import parse


def type_of(node):
    """A C type as {"c", "base", "const", "pointers"}."""
    pointers = 0
    while isinstance(node, c_ast.PtrDecl):
        pointers, node = pointers + 1, node.type
    named = node.type
    base = f"struct {named.name}" if isinstance(named, c_ast.Struct) else named.names[0]
    const = "const" in node.quals
    text = ("const " if const else "") + base + (" " + "*" * pointers if pointers else "")
    return {"c": text, "base": base, "const": const, "pointers": pointers}


def paragraphs(text):
    """Separated by empty lines; one whose lines begin with a tab is code, and stays as it is."""
    found = []
    for block in re.split(r"\n\s*\n", text.strip("\n")):
        code = all(line.startswith("\t") for line in block.splitlines())
        found.append(block if code else " ".join(block.split()))
    return [block for block in found if block]


def split_comment(body):
    """Of a function's comment: ({@name: text}, [description paragraphs], text behind 'Return:')."""
    tags, rest, current = {}, [], None
    for line in body.split("\n", 1)[1].splitlines() if "\n" in body else []:
        match = re.match(r"@(\w+): (.*)", line)
        if match:
            current = match.group(1)
            tags[current] = match.group(2)
        elif current and line.startswith("  ") and line.strip():
            tags[current] += " " + line.strip()
        else:
            current = None
            rest.append(line)
    text = "\n".join(rest)
    text, _, returns = text.partition("Return: ")
    return tags, paragraphs(text), paragraphs(returns)


def worded(text):
    """A description that begins with words in brackets, as a dict of these and "doc"."""
    words = dialect.leading_words(text)
    doc = re.sub(r"^(\([^)]*\) ?)+", "", text) if words else text
    return {"doc": doc, "nullable": "nullable" in words, "out": "out" in words, "owned": "owned" in words,
            "borrowed": "borrowed" in words, "array": words.get("array") or None}


def function(name, func, comment):
    tags, description, returns = split_comment(comment.body)
    said = worded(returns[0] if returns else "")
    return {
        "name": name,
        "summary": comment.summary,
        "description": description,
        "since": tags["since"],
        "thread": tags["thread"],
        "blocks": tags["blocks"] == "yes",
        "errors": [] if tags["errors"] == "none" else tags["errors"].split(),
        "params": [{"name": param, "type": type_of(node), **worded(tags[param])}
                   for param, node in parse.parameters(func)],
        "returns": {**type_of(func.type), "doc": " ".join([said["doc"], *returns[1:]]).strip(),
                    "nullable": said["nullable"], "borrowed": said["borrowed"]},
    }


def field_docs(text, struct):
    """{field: comment behind it} of one struct."""
    body, _ = parse.struct_text(text, struct)
    body = re.sub(r"/\*\*.*?\*/", "", body, flags=re.S)
    return {name: " ".join(doc.split())
            for name, doc in re.findall(r"(\w+)(?:\[\w+\])?;[ \t]*/\*[ \t]*(.*?)[ \t]*\*/", body, flags=re.S)}


def number(text, constants):
    return int(text, 0) if re.fullmatch(r"0x[0-9a-f]+|\d+", text) else constants[text]


def field(node, docs, callbacks, constants):
    func = parse.callback(node)
    if func is not None:
        return {"name": node.name, "callback": function(node.name, func, callbacks[node.name])}
    array, type_ = None, node.type
    if isinstance(type_, c_ast.ArrayDecl):
        array, type_ = number(type_.dim.value.rstrip("u"), constants), type_.type
    return {"name": node.name, "type": type_of(type_), "array": array, "doc": docs.get(node.name, "")}


def shape(struct, body):
    if "@frozen" in body:
        return "frozen"
    if any(parse.callback(member) for member in struct.decls):
        return "ops"
    return "out" if "Size-first out struct" in body else "sized"


def struct_of(node, text, header, constants):
    comment = parse.struct_comments(text)[node.name]
    docs, callbacks = field_docs(text, node.name), parse.callback_comments(text, node.name)
    lines = comment.body.split("\n", 1)
    return {
        "name": node.name,
        "header": header,
        "shape": shape(node, comment.body),
        "doc": comment.summary,
        "description": paragraphs(lines[1]) if len(lines) > 1 else [],
        "fields": [field(member, docs, callbacks, constants) for member in node.decls],
    }


def constants_of(text, header):
    """Numbers, each with the comment of the block that it stands in."""
    found = []
    for name, value, doc, line in dialect.macros(text):
        sign, digits, unsigned = dialect.NUMBER.fullmatch(value).groups()
        above = text.splitlines()[:line - 1]
        while above and above[-1].startswith("#define"):
            above.pop()
        group = re.fullmatch(r"(?:/\*| \*) *(.*?)\.? *\*/", above[-1]) if above else None
        found.append({"name": name, "value": int(sign + digits, 0), "unsigned": bool(unsigned), "doc": doc,
                      "group": group.group(1) if group else "", "header": header})
    return found


def typedefs_of(text, header):
    return [{"name": name, "type": type_, "doc": doc, "header": header}
            for doc, type_, name in re.findall(r"^/\*\* (.*?) \*/\ntypedef (\w+) (\w+);", text, flags=re.M)]


def umbrella(include):
    """Names of the headers in the order in which vh/vh.h includes them."""
    with open(os.path.join(include, "vh", "vh.h"), encoding="utf-8") as f:
        return re.findall(r'^#include "vh/(\w+\.h)"', f.read(), flags=re.M)


def overview(text):
    match = re.search(r"/\*\*\n \* DOC: (.*?)\n \*/", text, flags=re.S)
    lines = [re.sub(r"^ \* ?", "", line) for line in match.group(1).splitlines()] if match else [""]
    return {"title": lines[0].strip(), "text": paragraphs("\n".join(lines[1:]))}


def build(include=parse.INCLUDE):
    """The model. SystemExit with file and line of everything that keeps it from being made."""
    wrong = dialect.problems(include)
    if wrong:
        raise SystemExit("\n".join(wrong))
    found = {"since": list(parse.map_nodes()), "headers": [], "typedefs": [], "constants": [], "handles": [],
             "structs": [], "functions": []}
    for header in umbrella(include):
        path = os.path.join(include, "vh", header)
        with open(path, encoding="utf-8") as f:
            text = f.read()
        nodes = parse.own(parse.parse(path, include), path)
        found["headers"].append({"name": header, **overview(text)})
        found["typedefs"] += typedefs_of(text, header)
        found["constants"] += constants_of(text, header)
        constants = {c["name"]: c["value"] for c in found["constants"]}
        found["structs"] += [struct_of(node, text, header, constants) for node in parse.structs(nodes)]
        docs = parse.function_comments(text)
        for name, func in parse.functions(nodes).items():
            found["functions"].append({**function(name, func, docs[name]), "header": header})
        found["handles"] += [n.type.name for n in nodes if isinstance(getattr(n, "type", None), c_ast.Struct)]
    add_layouts(found, include)
    return found


def add_layouts(found, include):
    structs = [(s["name"], [f["name"] for f in s["fields"]]) for s in found["structs"]]
    sizes = layout.layouts(structs, include)
    for struct in found["structs"]:
        struct["layout"] = sizes[struct["name"]]
    defined = {name for name, _ in structs}
    found["handles"] = [name for name in dict.fromkeys(found["handles"]) if name not in defined]
