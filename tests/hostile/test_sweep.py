# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Every message id x size x number of fds x state of the session x need_reply, each with the one right answer.

The gate takes a seeded sample of the cells; VH_FULL=1 takes all.
"""

import itertools
import os
import random

import pytest
from lib import FULL, observe, until
from reference import STATES, expected, payload_of, spare_fds, stage
from vh.testing import wire
from vh.testing.wire import FRONT_END

IDS = (*range(64), 1000, 0x7FFFFFFF, 0xFFFFFFFF)
FD_COUNTS = (0, 1, 2, 8, 253)
IMPOSSIBLE = 0xFFFFFFFF
SEED = int(os.environ.get("VH_SEED", "1"))
SAMPLE = 40


def cells(request_id: int):
    """(state, which size, fds, need_reply) of one id."""
    every = list(itertools.product(STATES, ("0", "-1", "exact", "+1", "max", "2^32-1"), FD_COUNTS, (False, True)))
    if FULL:
        return every
    seen = random.Random(f"{SEED} {request_id}").sample(every, SAMPLE)
    # What is obeyed is one cell in a hundred: that one is always there, in every state.
    return seen + [(name, "exact", n, True) for name in STATES for n in (0, 1)]


def size_of(which: str, exact: int) -> int:
    return {"0": 0, "-1": max(0, exact - 1), "exact": exact, "+1": exact + 1, "max": wire.MAX_PAYLOAD,
            "2^32-1": IMPOSSIBLE}[which]  # fmt: skip


def name_of(request_id: int) -> str:
    return FRONT_END[request_id].name if request_id in FRONT_END else hex(request_id)


@pytest.mark.parametrize("request_id", IDS, ids=name_of)
def test_sweep(server, request_id):
    wrong = []
    with spare_fds() as spare:
        for name, which, n_fds, need_reply in cells(request_id):
            with stage(server, name) as s:
                exact = s.exact(request_id)
                size = size_of(which, len(exact))
                payload, fds = payload_of(exact, size), s.fds(request_id, n_fds, spare)
                got = observe(s.fe, request_id, payload, fds, need_reply=need_reply, size=size)
                want = expected(request_id, size, len(exact), n_fds, need_reply, name)
                if got != want:
                    wrong.append(f"{name}, size {which}, {n_fds} fds, need_reply {need_reply}: {got}, not {want}")
            assert server.alive(), wrong
            if not until(lambda: server.fds() == server.fds_at_start):
                wrong.append(f"{name}, size {which}, {n_fds} fds, need_reply {need_reply}: an fd is left")
                break
    assert not wrong, "\n".join(wrong)
