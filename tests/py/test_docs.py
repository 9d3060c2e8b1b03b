# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""docs/seed-parity.md says what is so: each call that it names is public, each test is there, no row is without both."""
import re

import pytest

from docs_tables import named_calls, named_tests, table_rows, text, unknown

NOT_YET = re.compile(r"not yet: \S.*")


def wrong_in(row):
    """What is not so in one row: feature, calls, tests, state."""
    feature, calls, tests, state = row
    found = [*unknown(calls), *unknown(tests)]
    if not feature:
        found.append("it names no feature")
    if state == "works":
        found += [f"it works, but no {what} shows it"
                  for what, names in (("call", named_calls(calls)), ("test", named_tests(tests))) if not names]
    elif not NOT_YET.fullmatch(state):
        found.append(f"its state is {state!r}, neither 'works' nor 'not yet: ' and a reason")
    return found


def test_each_row_of_the_parity_table_is_so():
    rows = [(heading, cells) for heading, cells in table_rows(text("docs", "seed-parity.md"))]
    assert len(rows) > 100
    wrong = [f"{heading}: {cells[0]}: {said}" for heading, cells in rows
             for said in (wrong_in(cells) if len(cells) == 4 else ["it has not four cells"])]
    assert not wrong, "\n".join(wrong)


def test_no_feature_stands_in_it_twice():
    features = [(heading, cells[0]) for heading, cells in table_rows(text("docs", "seed-parity.md"))]
    assert len(features) == len(set(features))


GOOD = "`vh_queue_pop`", "`test_docs.py::test_no_feature_stands_in_it_twice`"


@pytest.mark.parametrize("row, said", [
    (("f", *GOOD, "works"), None),
    (("f", "", "", "not yet: nobody wants it"), None),
    (("f", *GOOD, "not yet:"), "its state"),
    (("f", *GOOD, "yes"), "its state"),
    (("f", "", GOOD[1], "works"), "no call"),
    (("f", GOOD[0], "", "works"), "no test"),
    (("", *GOOD, "works"), "no feature"),
    (("f", "`vh_queue_popp`", GOOD[1], "works"), "in no header"),
    (("f", "`vh_req.tokens`", GOOD[1], "works"), "in no header"),
    (("f", "`vh_queue_pop`, `vh.NoSuchThing`", GOOD[1], "works"), "in neither binding"),
    (("f", GOOD[0], "`test_docs.py::test_nothing`", "works"), "has no test"),
    (("f", GOOD[0], "`test_nothing.c::a`", "works"), "0 files"),
])
def test_a_row_that_is_not_so_is_told(row, said):
    found = "; ".join(wrong_in(row))
    assert (said in found) if said else not found
