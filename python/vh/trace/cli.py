# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""What the commands of the package share: exit codes, and errors in a line."""

from __future__ import annotations

import argparse
import sys
from typing import NoReturn

DONE, WRONG, USAGE, UNREACHABLE = 0, 1, 2, 3
TYPES = {"none": 0, "net": 1, "blk": 2}


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"{self.prog}: {message}\n")


def fail(parser: argparse.ArgumentParser, code: int, text: str) -> int:
    print(f"{parser.prog}: {text}", file=sys.stderr)
    return code
