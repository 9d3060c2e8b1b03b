# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Section A: framing and transport."""

from lib import in_step


def test_case_010_id_0(session):
    assert in_step(session.fe) and session.works()
