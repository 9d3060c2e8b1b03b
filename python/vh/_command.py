# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""The end of a command: what went wrong outside of it is told in a line, and not by a traceback."""

from __future__ import annotations

import os
import sys
from typing import Callable

WRONG, INTERRUPTED = 1, 130


def reason(e: OSError) -> str:
    """What went wrong, and with which file."""
    what = f"{os.fsdecode(e.filename)}: " if isinstance(e.filename, (str, bytes)) else ""
    return f"{what}{e.strerror or e}"


def ended(prog: str, main: Callable[[], int]) -> int:
    """The exit code of main(). A reader that has enough, as `head` has, is told nothing."""
    try:
        code = main()
        if sys.stdout:  # None: it was closed from the beginning
            sys.stdout.flush()
        return code
    except BrokenPipeError:
        code = WRONG
    except OSError as e:
        print(f"{prog}: {reason(e)}", file=sys.stderr)
        code = WRONG
    except KeyboardInterrupt:
        code = INTERRUPTED
    # What is still in the buffer would fail once more when the interpreter ends.
    if sys.stdout:
        os.dup2(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), sys.stdout.fileno())
    return code
