# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""What the tables in docs/ name, looked for in the tree: calls of the headers, tests by file and name."""
import functools
import glob
import json
import os
import re

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TESTS = ("tests/**/test_*.c", "tests/kern/guest_*.c", "tests/**/test_*.py", "go/**/*_test.go")
KINDS = re.compile(r'^\s*Kind\("([\w-]+)"', re.M)
DEFINED = {".c": r"^static void {}\(void( \*\*|\)$)", ".py": r"^ *(?:async )?def {}\(", ".go": r"^func {}\("}


def text(*path):
    with open(os.path.join(TOP, *path), encoding="utf-8") as f:
        return f.read()


def table_rows(markdown):
    """(heading, cells) of every row of every table, heads left out."""
    heading, previous = "", ""
    lines = markdown.splitlines()
    for i, line in enumerate(lines):
        if line.startswith("#"):
            heading = line.strip("# ")
        elif line.startswith("|"):
            is_head = i + 1 < len(lines) and re.fullmatch(r"\|[-| ]+\|", lines[i + 1]) and not previous.startswith("|")
            if not is_head and not re.fullmatch(r"\|[-| ]+\|", line):
                yield heading, [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        previous = line


@functools.lru_cache(None)
def public():
    """Names of the headers, and struct.member."""
    api = json.loads(text("abi", "libvh.api.json"))
    names = {x["name"] for kind in ("functions", "structs", "constants", "typedefs") for x in api[kind]}
    names |= set(api["handles"])
    names |= {f"{s['name']}.{f['name']}" for s in api["structs"] for f in s["fields"]}
    return names


@functools.lru_cache(None)
def bound():
    """What the Python package and the Go module export, as far as a table names it: vh.X of either language."""
    found = set(re.findall(r"\b([A-Za-z]\w+)", re.search(r"_FROM = \{(.*?)^\}", text("python", "vh", "__init__.py"),
                                                         re.S | re.M).group(1)))
    for path in glob.glob(os.path.join(TOP, "go", "vh", "*.go")):
        found |= set(re.findall(r"^(?:func|type) ([A-Z]\w*)", text(path), re.M))
    return found


@functools.lru_cache(None)
def files_of_tests():
    """{base name, and folder/base name: {path}}"""
    found = {}
    for pattern in TESTS:
        for path in glob.glob(os.path.join(TOP, pattern), recursive=True):
            for name in (os.path.basename(path), "/".join(path.split("/")[-2:])):
                found.setdefault(name, set()).add(path)
    return found


def kinds():
    return set(KINDS.findall(text("tests", "gates", "kinds.py")))


def named_calls(cell):
    return re.findall(r"\b((?:vh|VH)_\w+(?:\.\w+)?)", cell)


def named_tests(cell):
    """[(file, name)]: the file's base name, with its folder before it where two have the same."""
    return re.findall(r"((?:\w+/)?\w+\.(?:c|py|go))::(\w+)", cell)


def unknown(cell):
    """Whatever is named in a cell and is not there."""
    yield from (f"{name} is in no header" for name in named_calls(cell) if name not in public())
    yield from (f"vh.{name} is in neither binding" for name in re.findall(r"\bvh\.([A-Z]\w+)", cell) if name not in bound())
    for base, name in named_tests(cell):
        paths = files_of_tests().get(base, ())
        pattern = re.compile(DEFINED[os.path.splitext(base)[1]].format(name), re.M)
        if len(paths) != 1:
            yield f"there are {len(paths)} files of tests called {base}"
        elif not pattern.search(text(*paths)):
            yield f"{base} has no test {name}"
