# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Write abi/baseline anew: recut.py [--extend] BUILD, with BUILD/libvh.so.1 built by gcc with -g.

Without an option the promise is replaced: that needs a new first entry in abi/RECUT.md, and is over with 1.0.0. With
--extend only additions are taken in, and nothing that was promised may have changed.
"""
import argparse
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "bindings"))

import promise as p  # noqa: E402

SAYS = ("What", "Why", "Who is hurt")


def newest_entry():
    """(heading, text) of the first entry of RECUT.md."""
    match = re.search(r"^## (.+?)\n(.*?)(?=^## |\Z)", p.read("RECUT.md"), flags=re.M | re.S)
    return match.groups() if match else ("", "")


def refuse_recut():
    """Why the promise may not be replaced, or None."""
    heading, text = newest_entry()
    known = p.baseline()["cut"] if os.path.exists(p.path("baseline", "promise.json")) else None
    if p.released():
        return "CHANGELOG.md says 1.0.0: what was promised stays; abi/POLICY.md says how to add to it"
    if not heading:
        return "abi/RECUT.md has no entry"
    if heading == known:
        return f"the first entry of abi/RECUT.md is still '{known}', of the last cut; write a new one above it"
    if known and known not in p.entries():
        return f"abi/RECUT.md has lost the entry of the last cut, '{known}'"
    missing = [word for word in SAYS if not re.search(rf"^{word}: \S", text, flags=re.M)]
    return f"the first entry of abi/RECUT.md has no line '{missing[0]}: ...'" if missing else None


def refuse_extension(new, library, include):
    old = p.baseline()
    wrong = p.check_baseline() + p.broken(old, new)
    wrong += p.late_additions(old, new) if p.released() else []
    return "\n".join(wrong + p.check_library(library, include)) or None


def write(name, text):
    os.makedirs(p.path("baseline"), exist_ok=True)
    with open(p.path("baseline", name), "w", encoding="utf-8") as f:
        f.write(text)


def main():
    args = argparse.ArgumentParser(prog="run recut", description=__doc__.splitlines()[0])
    args.add_argument("--extend", action="store_true", help="only take additions in")
    args.add_argument("build", help="folder of a gcc build with debug information")
    args = args.parse_args()
    import model  # slow, and not needed to show the help
    include = os.path.join(p.TOP, "include")
    library = os.path.join(args.build, "libvh.so.1")
    if not args.extend:
        why = refuse_recut()
        if why:
            raise SystemExit(f"recut: {why}")
    new = p.of_model(model.build(include))
    if args.extend:
        why = refuse_extension(new, library, include)
        if why:
            raise SystemExit(f"recut --extend: {why}")
    xml = p.abidw(library, include)
    new = {"cut": p.baseline()["cut"] if args.extend else newest_entry()[0], **new}
    new["seal"] = p.seal(new, xml)
    write("promise.json", p.dump(new))
    write("libvh.abi", xml)
    print(f"abi/baseline: {len(new['functions'])} functions, {len(new['structs'])} structs, "
          f"{len(new['constants'])} constants; empty abi/approved now and commit it")
    return 0


if __name__ == "__main__":
    sys.exit(main())
