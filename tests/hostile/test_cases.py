# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""cases.tsv: each case of the catalogue has a test in the roles that it concerns, says why it needs none, or is open."""

import functools
import re
import warnings
from pathlib import Path

import pytest
from lib import read_outcomes

TESTS = Path(__file__).resolve().parents[1]
DEFINED = {".c": r"^(?:static void {0}\(void \*\*|void {0}\(void\)$)", ".py": r"^def {}\("}
#: cases that a front-end meets too, and those of what both speak; first and last
BOTH, EITHER = (1, 112), ((113, 260),)


def rows():
    """[(case, role, tests, why)]; n/a and open are tests of their own name."""
    found = []
    for number, line in enumerate((TESTS / "hostile" / "cases.tsv").read_text("utf-8").splitlines(), 1):
        if line.startswith("#"):
            continue
        case, role, tests, *why = line.split("\t")
        if role not in ("fe", "be", "both") or bool(why) != (tests in ("n/a", "open")):
            raise ValueError(f"cases.tsv:{number}: no such role, a reason that is missing or too much")
        found.append((int(case), role, tests.split(" "), *why))
    return found


@functools.lru_cache(None)
def defined(path, name):
    return re.search(DEFINED[path.suffix].format(re.escape(name)), path.read_text("utf-8"), re.M) is not None


def exists(test):
    """file::function, where file may begin with its folder, or kind::name."""
    file, _, name = test.partition("::")
    if file == "kind":
        return re.search(rf'^    Kind\("{re.escape(name)}", ', (TESTS / "gates" / "kinds.py").read_text("utf-8"), re.M) is not None
    return bool(name) and any(defined(path, name) for path in TESTS.glob(f"**/{file}"))


def test_no_case_is_missing():
    have = {(case, one) for case, role, *_ in rows() for one in (("fe", "be") if role == "both" else (role,))}
    missing = [n for n in range(BOTH[0], BOTH[1] + 1) if (n, "fe") not in have]
    missing += [n for first, last in EITHER for n in range(first, last + 1) if not {(n, "fe"), (n, "be")} & have]
    assert not missing
    # The back-end's side of the first ones is in the other table.
    outcomes = {int(case.split(":")[0]) for case in read_outcomes()}
    assert set(range(BOTH[0], BOTH[1] + 1)) <= outcomes


@pytest.mark.parametrize("row", rows(), ids=lambda row: f"{row[0]}-{row[1]}")
def test_the_tests_of_a_case_are_there(row):
    if row[2] == ["open"]:
        warnings.warn(f"case {row[0]} is open: {row[3]}", stacklevel=1)
    elif row[2] != ["n/a"]:
        assert [test for test in row[2] if not exists(test)] == []
