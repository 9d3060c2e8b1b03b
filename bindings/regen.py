#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Write everything that is made from the public headers or the message table and kept in the repository.

    regen.py [--out FOLDER] [--include FOLDER] [--only PATH...]
"""
import argparse
import json
import os
import sys

import emit_cffi
import emit_go
import emit_lua
import emit_messages
import emit_protocol
import emit_swig
import emit_vectors
import model
import parse


def api_json(api):
    return json.dumps(api, indent=1, ensure_ascii=False) + "\n"


# Path in the project -> what makes its text from the model.
OUTPUTS = {
    "abi/libvh.api.json": api_json,
    "docs/protocol.md": emit_protocol.protocol_md,
    "python/vh/testing/_messages.py": emit_messages.messages_py,
    "python/vh/_cdef.py": emit_cffi.cdef_py,
    "python/vh/_model.py": emit_cffi.model_py,
    "python/vh/trace/vhost-user.lua": emit_lua.dissector_lua,
    "tests/abi/vectors.def": emit_vectors.vectors_def,
    **emit_go.OUTPUTS,
    **emit_swig.OUTPUTS,
}


def write(folder, path, text):
    target = os.path.join(folder, path)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    with open(target, "w", encoding="utf-8") as f:
        f.write(text)


def main():
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args.add_argument("--out", default=parse.TOP, metavar="FOLDER", help="write there instead, with the same paths")
    args.add_argument("--include", default=parse.INCLUDE, metavar="FOLDER", help="where vh/*.h are")
    args.add_argument("--only", nargs="+", default=list(OUTPUTS), choices=list(OUTPUTS), metavar="PATH")
    args.add_argument("--list", action="store_true", help="only name what would be written")
    args = args.parse_args()
    if args.list:
        print("\n".join(OUTPUTS))
        return 0
    api = model.build(args.include)
    for path in args.only:
        write(args.out, path, OUTPUTS[path](api))
    print(f"{len(args.only)} files from {len(api['headers'])} headers: {len(api['functions'])} functions, "
          f"{len(api['structs'])} structs, {len(api['constants'])} constants")
    return 0


if __name__ == "__main__":
    sys.exit(main())
