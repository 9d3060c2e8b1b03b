# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""The table of outcomes: every case is in it, what applies has a test, what does not says why. Nothing is missing."""

import ast
import re
from pathlib import Path

import pytest
from lib import read_outcomes

#: the catalogue's sections, first and last case
SECTIONS = {"a": (1, 22), "b": (23, 40), "c": (41, 55), "d": (56, 77), "e": (78, 99), "f": (100, 112), "g": (113, 141)}
#: of these, the cases that this suite has to do with
SOME = {"p": (237, 249), "q": (253, 256)}
#: cases of the sections above that belong to devices that are not there yet
ELSEWHERE = {255}


def numbers_in(section: str) -> set[int]:
    """The numbers of the tests in test_<section>_*.py."""
    found = set()
    for path in Path(__file__).parent.glob(f"test_{section}_*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            match = re.match(r"test_case_(\d{3})_", node.name) if isinstance(node, ast.FunctionDef) else None
            if match:
                found.add(int(match[1]))
    return found


@pytest.mark.parametrize("section", [*SECTIONS, *SOME])
def test_every_case_has_its_outcome_and_its_test(section):
    first, last = {**SECTIONS, **SOME}[section]
    numbers = set(range(first, last + 1)) - ELSEWHERE
    rows = [(int(case.split(":")[0]), result) for case, (result, _) in read_outcomes().items()]
    assert not numbers - {n for n, _ in rows}, "cases without a row in outcomes.tsv"
    applies = {n for n, result in rows if result != "n/a"} & numbers
    assert not applies - numbers_in(section), "cases without a test"
    assert not numbers_in(section) - applies, "tests of cases that are n/a, or of another section"


def test_the_parts_of_a_case_are_used():
    """A row that no test asks for says nothing."""
    text = "".join(path.read_text("utf-8") for path in Path(__file__).parent.glob("test_[a-q]_*.py"))
    for case, (result, _) in read_outcomes().items():
        if result != "n/a" and ":" in case:
            assert f'"{case}"' in text or f"{case.split(':')[0]}:{{" in text, f"outcomes.tsv: {case}"
