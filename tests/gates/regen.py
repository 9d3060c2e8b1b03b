# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Gate `regen`: what is made from the headers and committed is what the headers make now.

Everything is made again in a scratch folder and compared, byte by byte. That the comparison can fail is shown by making
it from a copy of the headers in which one constant differs; and a header outside the dialect must make nothing.
"""
import filecmp
import os
import shutil
import subprocess
import sys
import tempfile

import parse

REGEN = os.path.join(parse.TOP, "bindings", "regen.py")


def regen(out, *args):
    return subprocess.run([sys.executable, REGEN, "--out", out, *args],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)


def outputs():
    got = subprocess.run([sys.executable, REGEN, "--list"], stdout=subprocess.PIPE, check=True)
    return got.stdout.decode().split()


def stale(out):
    """Paths that differ from what is committed."""
    return [path for path in outputs()
            if not os.path.exists(os.path.join(parse.TOP, path)) or
            not filecmp.cmp(os.path.join(out, path), os.path.join(parse.TOP, path), shallow=False)]


def changed_headers(folder, old, new):
    shutil.copytree(parse.INCLUDE, os.path.join(folder, "include"))
    path = os.path.join(folder, "include", "vh", "queue.h")
    with open(path, encoding="utf-8") as f:
        text = f.read()
    assert text.count(old) == 1, old
    with open(path, "w", encoding="utf-8") as f:
        f.write(text.replace(old, new))
    return os.path.join(folder, "include")


def main():
    wrong = []
    with tempfile.TemporaryDirectory() as out, tempfile.TemporaryDirectory() as other, \
            tempfile.TemporaryDirectory() as bad:
        got = regen(out)
        if got.returncode:
            print(got.stdout.decode())
            return 1
        wrong += [f"{path} is stale; run ./run regen and commit it" for path in stale(out)]
        include = changed_headers(other, "#define VH_QUEUE_DRIVER 2", "#define VH_QUEUE_DRIVER 3")
        regen(other, "--include", include, "--only", "abi/libvh.api.json")
        if not os.path.exists(os.path.join(other, "abi/libvh.api.json")) or \
                filecmp.cmp(os.path.join(other, "abi/libvh.api.json"), os.path.join(out, "abi/libvh.api.json"), False):
            wrong.append("self-test: a changed constant in a header made the same model")
        include = changed_headers(bad, "VH_API vh_rc vh_queue_disarm(struct vh_queue *q);",
                                  "VH_API long vh_queue_disarm(struct vh_queue *q);")
        got = regen(bad, "--include", include)
        if not got.returncode or b"include/vh/queue.h:" not in got.stdout or os.path.exists(os.path.join(bad, "abi")):
            wrong.append("self-test: a header outside the dialect was not refused with file and line")
    for line in wrong:
        print(line)
    print(f"{len(outputs())} files made again, {len(wrong)} problems")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
