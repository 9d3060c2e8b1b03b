# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Every page of docs/tutorials is run: its blocks in order, by one shell, in an empty folder.

A block of `sh` is given to bash as it is. One of another language with a name behind it (```python test_disk.py) is a file; a
block of Python without a name is run. A block of `text` is what the block before it printed, `...` standing for anything.
"""
import glob
import os
import re
import shlex
import subprocess
import sys

import pytest
from binding import BUILD, PACKAGE, TOP

PAGES = sorted(glob.glob(os.path.join(TOP, "docs", "tutorials", "[a-z]*.md")))
BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.S | re.M)
MARK = "-- end of block {} --"
LIMIT_S = 120


def steps(page):
    """(shell text, expected output or None) of each block that does something."""
    found = []
    for language, name, body in BLOCK.findall(page):
        if language == "text":
            assert found and found[-1][1] is None, "an output without a block before it"
            found[-1] = (found[-1][0], body)
        elif name:
            found.append((f"cat > {shlex.quote(name)} <<'--end-of-file--'\n{body}--end-of-file--\n", None))
        elif language == "python":
            found.append((f"$VHCTL_PYTHON -X dev - <<'--end-of-program--'\n{body}--end-of-program--\n", None))
        elif language == "sh":
            found.append((body, None))
    return found


def matches(expected, got):
    """As doctest's ELLIPSIS; how many blanks there are does not count."""
    def tidy(text):
        return "\n".join(" ".join(line.split()) for line in text.strip().splitlines())
    return re.fullmatch(".*?".join(re.escape(part) for part in tidy(expected).split("...")), tidy(got), re.S)


def test_there_are_pages():
    assert len(PAGES) >= 1


@pytest.mark.parametrize("path", PAGES, ids=os.path.basename)
def test_page(path, tmp_path):
    with open(path, encoding="utf-8") as f:
        todo = steps(f.read())
    assert todo
    script = "trap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT\nset -eu\n" + "".join(
        f"{shell}\nprintf '\\n{MARK}\\n' {i}\n".replace(MARK, MARK.format("%s")) for i, (shell, _) in enumerate(todo))
    env = {**os.environ, "PATH": f"{BUILD}:{os.environ['PATH']}", "PYTHONPATH": PACKAGE, "VHCTL_PYTHON": sys.executable,
           "LD_LIBRARY_PATH": BUILD, "VH_GO": os.path.join(TOP, "go"), "VH_SOURCE": TOP,
           "PKG_CONFIG_PATH": os.path.join(BUILD, "pkgconfig"), "GOFLAGS": "-mod=mod"}
    # Output goes to a file: what a page starts in the background may hold it open, and nobody waits for that.
    with open(tmp_path / "output", "w+", encoding="utf-8") as out:
        work = tmp_path / "work"
        work.mkdir()
        done = subprocess.run(["bash", "-c", script], cwd=work, env=env, stdin=subprocess.DEVNULL, stdout=out,
                              stderr=subprocess.STDOUT, timeout=LIMIT_S, check=False)
        out.seek(0)
        text = out.read()
    assert done.returncode == 0, f"a block failed with {done.returncode}:\n{text}"
    for i, (shell, expected) in enumerate(todo):
        got, text = text.split(f"\n{MARK.format(i)}\n", 1)
        assert expected is None or matches(expected, got), f"{shell}\nprinted\n{got}\nand not\n{expected}"


def test_a_page_that_is_wrong_is_noticed():
    assert steps("```sh\necho a\n```\n\n```text\nb\n```\n") == [("echo a\n", "b\n")]
    assert matches("a ... c\n", "a b\nb c\n") and not matches("a ... c\n", "a b") and not matches("b\n", "a\n")
