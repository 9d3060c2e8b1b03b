# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Known deviations: files of JSON, {"about": ..., "checks": {name: reason}}; those of some programs come with the package."""

from __future__ import annotations

import json
import os

from vh.check.core import TABLE

FOLDER = os.path.join(os.path.dirname(__file__), "known")


def names() -> list[str]:
    """The programs of which a list comes with the package."""
    return sorted(f[:-5] for f in os.listdir(FOLDER) if f.endswith(".json"))


def load(what: str) -> dict[str, str]:
    """{check: reason} of a file, or of a program by name. Raises ValueError when it is not such a list."""
    path = os.path.join(FOLDER, what + ".json") if what in names() else what
    try:
        with open(path, encoding="utf-8") as f:
            found = json.load(f)
        rows = found["checks"]
        wrong = [name for name, reason in rows.items() if name not in TABLE or not isinstance(reason, str) or not reason]
    except OSError as e:
        raise ValueError(f"{what}: {e.strerror}; lists come with the package for {', '.join(names())}") from None
    except (ValueError, TypeError, KeyError, AttributeError) as e:
        raise ValueError(f"{what} is no list of known deviations: {e!r}") from None
    if wrong:
        raise ValueError(f"{what}: no such check, or no reason: {', '.join(wrong)}")
    return dict(rows)
