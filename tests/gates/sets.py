# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Gate `sets`: the same functions everywhere, for the build folder that is the only argument.

Version map, @since tags and what libvh.so.1 defines agree, node by node; and every function is bound in Python (in the
declarations, and in the module when it runs, by dlopen and compiled) and in Go. What is not so stands in
abi/exceptions with its reason; an exception that is not needed is a problem.
"""
import glob
import os
import re
import subprocess
import sys

import gonames
import model
import parse

PYTHON_TREE = os.path.join(parse.TOP, "python")
RAW = os.path.join(parse.TOP, "go", "internal", "raw")
SHOW = "from vh._lib import lib; print(*dir(lib))"


def nm(so):
    """{(function, node)} that the library defines."""
    out = subprocess.run(["nm", "-D", "--defined-only", "--with-symbol-versions", so], stdout=subprocess.PIPE, check=True)
    return {tuple(name.split("@@", 1)) if "@@" in name else (name, "no node")
            for name in re.findall(r"^\S+ [^AU] (\S+)$", out.stdout.decode(), flags=re.M)}


def python_declared():
    with open(os.path.join(PYTHON_TREE, "vh", "_cdef.py"), encoding="utf-8") as f:
        declarations = re.search(r'CDEF = """(.*?)"""', f.read(), flags=re.S).group(1)
    return set(re.findall(r"^[^\n(]*?\b(vh_\w+)\(", declarations, flags=re.M))


def python_bound(build, mode):
    """dir(lib) of the module as it runs; in mode api that is the compiled one of the build folder."""
    env = {**os.environ, "VH_PYTHON_MODE": mode, "VH_PYTHON_LIBRARY": os.path.join(build, "libvh.so.1"),
           "PYTHONPATH": os.pathsep.join([PYTHON_TREE, os.path.join(build, "python")])}
    got = subprocess.run([sys.executable, "-c", SHOW], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                         check=False)
    if got.returncode:
        raise SystemExit(f"python in mode {mode}: {got.stderr.decode(errors='replace').strip().splitlines()[-1]}")
    return set(re.findall(r"\bvh_\w+", got.stdout.decode()))


def go_bound():
    """Functions that package raw exports."""
    found = set()
    for path in set(glob.glob(os.path.join(RAW, "*.go"))) - set(glob.glob(os.path.join(RAW, "*_test.go"))):
        with open(path, encoding="utf-8") as f:
            found |= set(re.findall(r"^func ([A-Z]\w*)[(\[]", f.read(), flags=re.M))
    return found


def exceptions():
    """{(place, name): reason} of abi/exceptions."""
    found = {}
    with open(os.path.join(parse.TOP, "abi", "exceptions"), encoding="utf-8") as f:
        for line in f:
            if line.strip() and not line.startswith("#"):
                place, name, reason = line.split(None, 2)
                found[place, name] = reason.strip()
    return found


def differences(place, have, want):
    return {(place, name): f"{place}: {name} is missing" for name in want - have} | \
           {(place, name): f"{place}: {name} is too much" for name in have - want}


def main():
    build = sys.argv[1]
    tags = {(f["name"], f["since"]) for f in model.build()["functions"]}
    names = {name for name, _ in tags}
    mapped = {(name, node) for node, symbols in parse.map_nodes().items() for name in symbols}
    wrong = {}
    for place, have in (("map", mapped), ("nm", nm(os.path.join(build, "libvh.so.1")))):
        wrong |= differences(place, {"@".join(pair) for pair in have}, {"@".join(pair) for pair in tags})
    for place, have in (("python", python_declared()), ("python-abi", python_bound(build, "abi")),
                        ("python-api", python_bound(build, "api"))):
        wrong |= differences(place, have, names)
    wrong |= differences("go", go_bound(), {gonames.camel(name) for name in names})
    known = exceptions()
    lines = [text for key, text in sorted(wrong.items()) if key not in known]
    lines += [f"abi/exceptions: {place} {name} is no exception (any more)" for place, name in known if (place, name) not in wrong]
    for line in lines:
        print(line)
    print(f"{len(names)} functions in the map, in tags, in the library, in Python and in Go; {len(known)} exceptions, "
          f"{len(lines)} problems")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
