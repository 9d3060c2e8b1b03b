# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""What can go wrong with a back-end that is not there yet. All are OSErrors: of the built-in kind that fits."""
import errno
import os


class LaunchError(OSError):
    """A back-end could not be found, asked or started."""

    returncode: "int | None" = None  # of a program that ended; -N: by signal N
    output: str = ""  # its last words

    def __init__(self, code: int, what: str, output: str = "", returncode: "int | None" = None) -> None:
        super().__init__(code, what + (":\n" + output.rstrip() if output.strip() else ""))
        self.output, self.returncode = output, returncode

    def __str__(self) -> str:
        return str(self.strerror)

    def __reduce__(self) -> "tuple[object, ...]":
        return _again, (type(self), self.errno, self.strerror), self.__dict__


def _again(kind: "type[LaunchError]", code: int, text: str) -> LaunchError:
    return kind(code, text)


class Died(LaunchError, ChildProcessError):
    """The program ended by itself."""


class TimedOut(LaunchError, TimeoutError):
    """It did not do it in time."""


class NotFound(LaunchError, FileNotFoundError):
    """There is no such back-end, or no such program."""


class InUse(LaunchError):
    """Somebody listens on that path already, or something lies there that is no socket."""


class BadOutput(LaunchError):
    """A program or a file said something that it must not."""


def how_it_ended(returncode: int) -> str:
    return f"signal {-returncode}" if returncode < 0 else f"exit code {returncode}"


def not_found(what: str) -> NotFound:
    return NotFound(errno.ENOENT, what)


def bad_output(what: str, output: str = "", returncode: "int | None" = None) -> BadOutput:
    return BadOutput(errno.EPROTO, what, output, returncode)


def timed_out(what: str, output: str = "") -> TimedOut:
    return TimedOut(errno.ETIMEDOUT, what, output)


def not_started(program: str, why: OSError) -> LaunchError:
    kind = NotFound if why.errno in (errno.ENOENT, errno.ENOTDIR) else LaunchError
    return kind(why.errno or errno.EIO, f"can't start {program}: {os.strerror(why.errno or errno.EIO)}")
