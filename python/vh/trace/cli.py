# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""What the commands of the package share: exit codes, and errors in a line."""

from __future__ import annotations

import argparse
import sys
from typing import NoReturn

from vh import _types
from vh._model import DeviceType
from vh.trace.files import Recording, read

DONE, WRONG, USAGE, UNREACHABLE = 0, 1, 2, 3
#: whose feature bits have names
TYPES = {"none": 0, **{name: number for name, number in _types.TYPES.items() if number in list(DeviceType)}}


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"{self.prog}: {message}\n")


def recorded(parser: argparse.ArgumentParser, path: str) -> Recording:
    """What the file has; the end of the program if it can't be read, or is no recording."""
    try:
        return read(path)
    except OSError as e:
        sys.exit(fail(parser, WRONG, f"{path}: {e.strerror or e}"))
    except ValueError as e:
        sys.exit(fail(parser, WRONG, str(e)))


def fail(parser: argparse.ArgumentParser, code: int, text: str) -> int:
    print(f"{parser.prog}: {text}", file=sys.stderr)
    return code
