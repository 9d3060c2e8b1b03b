# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Fixtures of the hostile tests: one live `vhctl serve blk` for each module, held to its invariants after each test."""

import os
import random
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "python")]

import lib  # noqa: E402


def pytest_collection_modifyitems(config, items):
    """VH_SAMPLE=N: one test in N, drawn by VH_SEED, which is printed; for runs against slow servers."""
    share = int(os.environ.get("VH_SAMPLE") or 1)
    if share > 1:
        seed = int(os.environ.get("VH_SEED") or random.SystemRandom().randrange(1, 1 << 31))
        config.get_terminal_writer().line(f"one test in {share}, VH_SEED={seed}")
        kept = set(random.Random(seed).sample(range(len(items)), len(items) // share))
        config.hook.pytest_deselected(items=[item for i, item in enumerate(items) if i not in kept])
        items[:] = [item for i, item in enumerate(items) if i in kept]


@pytest.fixture(scope="module")
def _servers(request):
    """The module's server (SERVER in the module: its arguments), started when it is first needed."""
    keeper = lib.Keeper(getattr(request.module, "SERVER", lib.SERVER))
    yield keeper
    keeper.end()


@pytest.fixture
def server(_servers):
    """The live server. After the test: same process, next client served, fds and mappings back to the start."""
    one = _servers.get()
    yield one
    try:
        one.check()
    except BaseException:
        _servers.end()  # the next test gets a new one
        raise


@pytest.fixture
def start():
    """start(*arguments, **options): servers of the test's own, checked and ended after it."""
    started = []

    def one(*args, **options):
        started.append(lib.Server(args or lib.SERVER, **options))
        return started[-1]

    try:
        yield one
        for s in started:
            if not s.expect_end:
                s.check()
    finally:
        for s in started:
            s.end()


@pytest.fixture
def fe(server):
    """A connection without a word said."""
    with server.connect() as conn:
        yield conn


@pytest.fixture
def session(server):
    """session.fe negotiated, session.mem known to the server, session.q running."""
    with server.session() as s:
        yield s
