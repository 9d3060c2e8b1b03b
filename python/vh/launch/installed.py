# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Which back-ends are installed, and what they can: JSON descriptions in three folders, and --print-capabilities."""
import json
import os
import stat
from dataclasses import dataclass
from typing import Any, Iterable, Sequence

from vh.launch.errors import LaunchError, bad_output, how_it_ended, not_found, timed_out
from vh.launch.process import ask

FILE_MAX = 64 << 10  # bytes of a description, and of what a program says of itself
DEPTH_MAX = 32  # of nested lists and objects
ASK_TIMEOUT = 5.0
_CALLED = {"blk": "block"}  # as the rest of libvh calls it, and as the conventions of back-ends do


@dataclass(frozen=True)
class Description:
    """A file that tells of an installed back-end."""

    path: str
    type: str = ""  # "block", "fs", "net" ...
    binary: str = ""
    description: str = ""
    tags: "tuple[str, ...]" = ()
    problem: str = ""  # why it can't be used; then there is nothing else

    @property
    def name(self) -> str:
        """The file's name, by which it is ordered, replaced and hidden."""
        return os.path.basename(self.path)


@dataclass(frozen=True)
class Capabilities:
    """What a back-end says of itself."""

    type: str
    features: "tuple[str, ...]"
    raw: "dict[str, Any]"  # all that it said


def folders() -> "list[str]":
    """Where descriptions lie. One that comes earlier hides files of the same name in those after it."""
    config = os.environ.get("XDG_CONFIG_HOME", "")
    if not os.path.isabs(config):
        config = os.path.expanduser("~/.config")
    return [os.path.join(top, "qemu", "vhost-user") for top in (config, "/etc", "/usr/share")]


def descriptions(dirs: "Iterable[str] | None" = None) -> "list[Description]":
    """All descriptions in the order in which they are to be tried, those that can't be used among them."""
    files: "dict[str, str]" = {}
    for folder in folders() if dirs is None else dirs:
        try:
            names = os.listdir(folder)
        except OSError:
            continue
        for name in names:
            if name.endswith(".json") and not name.startswith("."):
                files.setdefault(name, os.path.join(folder, name))
    found = (_read(files[name]) for name in sorted(files, key=os.fsencode))
    return [d for d in found if d]


def discover(type: str = "", dirs: "Iterable[str] | None" = None) -> "list[Description]":
    """Those that can be used, of that type only unless it is empty."""
    return [d for d in descriptions(dirs) if not d.problem and of_type(type, d.type)]


def of_type(wanted: str, type: str) -> bool:
    """Whether that is what was wanted: "" is anything, "blk" is "block"."""
    return not wanted or _CALLED.get(wanted, wanted) == _CALLED.get(type, type)


def _read(path: str) -> "Description | None":
    """None: an empty file, which hides others."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                return Description(path, problem="no file")
            text = os.read(fd, FILE_MAX + 1)
        finally:
            os.close(fd)
    except OSError as e:
        return Description(path, problem=os.strerror(e.errno or 0))
    if not text:
        return None
    try:
        told = parse(text)
        tags = strings(told, "tags")
        type_, binary = (string(told, key) for key in ("type", "binary"))
        if not os.path.isabs(binary):
            raise ValueError("binary is no absolute path")
        return Description(path, type_, binary, string(told, "description") if "description" in told else "", tags)
    except ValueError as e:
        return Description(path, problem=str(e))


def _no_number(text: str) -> "Any":
    raise ValueError(text)


def parse(text: bytes) -> "dict[str, Any]":
    """An object of JSON from somebody who may be anybody; ValueError says what is wrong."""
    if len(text) > FILE_MAX:
        raise ValueError(f"more than {FILE_MAX} bytes")
    if _depth(text) > DEPTH_MAX:
        raise ValueError("nested too deeply")
    try:
        told = json.loads(text.decode("utf-8"), parse_constant=_no_number)
    except UnicodeDecodeError:
        raise ValueError("not UTF-8") from None
    except ValueError:
        raise ValueError("not JSON") from None
    if not isinstance(told, dict):
        raise ValueError("no object")
    return told


def _depth(text: bytes) -> int:
    """The parser recurses, so this is asked first. Brackets in strings count too, which does no harm."""
    depth = deepest = 0
    for byte in text:
        if byte in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"]}":
            depth -= 1
    return deepest


def _plain(text: object) -> bool:
    return isinstance(text, str) and text.isprintable()


def string(told: "dict[str, Any]", key: str) -> str:
    value = told.get(key)
    if not _plain(value) or not value:
        raise ValueError(f"{key} is missing, or no plain text")
    return str(value)


def strings(told: "dict[str, Any]", key: str) -> "tuple[str, ...]":
    value = told.get(key, [])
    if not isinstance(value, list) or not all(_plain(v) for v in value):
        raise ValueError(f"{key} is no list of plain texts")
    return tuple(value)


def capabilities(binary: "str | Sequence[str] | Description", timeout: float = ASK_TIMEOUT) -> Capabilities:
    """Run a program with --print-capabilities. BadOutput: it failed, or said something else; TimedOut; NotFound."""
    words = [binary.binary] if isinstance(binary, Description) else [binary] if isinstance(binary, str) else list(binary)
    code, said, tail = ask([*words, "--print-capabilities"], timeout, FILE_MAX)
    who = f"{words[0]} --print-capabilities"
    if code is None:
        raise timed_out(f"{who}: no end after {timeout:g} s", tail)
    if len(said) > FILE_MAX:  # it was ended for that
        raise bad_output(f"{who}: more than {FILE_MAX} bytes")
    if code:
        raise bad_output(f"{who}: {how_it_ended(code)}", tail, code)
    try:
        told = parse(said)
        return Capabilities(string(told, "type"), strings(told, "features"), told)
    except ValueError as e:
        raise bad_output(f"{who}: {e}", tail) from None


def find(type: str, features: "Iterable[str]" = (), dirs: "Iterable[str] | None" = None,
         timeout: float = ASK_TIMEOUT) -> "tuple[Description, Capabilities]":
    """The first installed back-end of a type that has all those features. NotFound says why each other one was not it."""
    why = []
    for d in discover(type, dirs):
        try:
            can = capabilities(d, timeout)
        except LaunchError as e:
            why.append(f"{d.path}: {e}")
            continue
        missing = sorted(set(features) - set(can.features))
        if not of_type(type, can.type):
            why.append(f"{d.path}: it says that it is {can.type}")
        elif missing:
            why.append(f"{d.path}: it has no {', '.join(missing)}")
        else:
            return d, can
    raise not_found(f"no back-end of type {type} is installed" + "".join(f"\n{line}" for line in why))


__all__ = ["ASK_TIMEOUT", "Capabilities", "Description", "capabilities", "descriptions", "discover", "find", "folders"]
