# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Gates `layout` and `abidiff`: what was promised (abi/baseline) still holds.

    abi.py layout          the present headers against promise.json, on three architectures
    abi.py library BUILD   BUILD/libvh.so.1, built with -g, against libvh.abi
"""
import os
import sys

import parse
import promise


def layout():
    import model  # takes a second, and the other gate does not need it
    api = model.build()
    now, before = promise.of_model(api), promise.baseline()
    wrong = promise.check_baseline() + promise.policy(api) + promise.hidden_padding(api) + promise.broken(before, now)
    if promise.released():
        wrong += promise.late_additions(before, now)
    new = sum(len(now[kind]) - len(before[kind]) for kind in ("functions", "structs", "constants"))
    return wrong, f"{len(before['structs'])} structs on 3 architectures, {len(before['functions'])} functions, " \
                  f"{len(before['constants'])} constants as promised; {new} more"


def library(build):
    path = os.path.join(build, "libvh.so.1")
    wrong = promise.check_baseline() + promise.check_library(path, parse.INCLUDE)
    return wrong, f"{len(promise.approved())} approved lines"


def main():
    wrong, text = layout() if sys.argv[1] == "layout" else library(sys.argv[2])
    for line in wrong:
        print(line)
    print(f"{text}; {len(wrong)} problems")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
