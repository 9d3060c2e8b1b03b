# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""pytest plugin of mutate.py: every test case gets a VH_SITE_LOG of its own, for the programs that it starts.
What was in the folder is removed."""
import hashlib
import json
import os
import shutil
import time

import pytest

LOGS = os.environ["VH_SITE_LOGS"]


def pytest_configure():
    shutil.rmtree(LOGS, ignore_errors=True)
    os.makedirs(LOGS)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item):
    path = os.path.join(LOGS, hashlib.sha256(item.nodeid.encode()).hexdigest()[:20])
    os.environ["VH_SITE_LOG"] = path
    started = time.monotonic()
    yield
    del os.environ["VH_SITE_LOG"]
    node = os.path.join(str(item.config.rootpath), item.nodeid)
    with open(path + ".json", "w", encoding="utf-8") as f:
        json.dump({"id": node, "seconds": time.monotonic() - started}, f)
