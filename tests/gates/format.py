# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Gate `format`: C as clang-format has it, an SPDX line at the top of every source file, no registry host named."""
import os
import re
import subprocess
import sys

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SPDX = "SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0"
WITH_SPDX = re.compile(r".*\.(c|h|py|sh|cmake|map|def|in)$|(.*/)?CMakeLists\.txt$|run$|\.ci/run$")
WITHOUT_SPDX = re.compile(r".*\.pc\.in$|tests/.*corpus.*|.*/testdata/.*|.*/data/.*")
HOSTS = re.compile(r"\b(deb\.debian|pypi|pythonhosted|proxy\.golang|npmjs|crates|maven)\.(org|io)\b")
MOST_LINES = 600


def tracked():
    """Files that are in git or would be added to it."""
    out = subprocess.run(["git", "-C", TOP, "ls-files", "-co", "--exclude-standard"], stdout=subprocess.PIPE, check=True).stdout
    return [name for name in out.decode().split("\n") if name and os.path.isfile(os.path.join(TOP, name))]


def main():
    wrong, files = [], tracked()
    sources = [f for f in files if re.fullmatch(r".*\.[ch]", f) and not re.match(r"go/internal/raw/", f)]
    got = subprocess.run(["clang-format", "--dry-run", "-Werror", "--ferror-limit=3", *sources], cwd=TOP,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if got.returncode:
        wrong += [line for line in got.stdout.decode(errors="replace").splitlines() if "error:" in line]
    for name in files:
        with open(os.path.join(TOP, name), "rb") as f:
            text = f.read()
        head = text[:300].decode(errors="replace")
        if WITH_SPDX.fullmatch(name) and not WITHOUT_SPDX.fullmatch(name) and SPDX not in head:
            wrong.append(f"{name}: no line '{SPDX}' at its top")
        if name.startswith(("src/", "tools/", "include/")) and text.count(b"\n") > MOST_LINES + 100:
            wrong.append(f"{name}: {text.count(bytes([10]))} lines; past {MOST_LINES} a file is usually two concepts")
        # A lock file of cargo says for each crate where it is from.
        if b"\0" not in text[:1000] and name != os.path.relpath(__file__, TOP) and not name.endswith("/Cargo.lock"):
            wrong += [f"{name}: names the registry host {m.group(0)}" for m in HOSTS.finditer(text.decode(errors="replace"))]
    for line in wrong:
        print(line)
    print(f"{len(sources)} C files, {len(files)} files, {len(wrong)} problems")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
