# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Unix sockets by path: long paths, and whether somebody listens there.

A connection that only looks would use up a back-end that serves one front-end, so the kernel is asked instead: socket
diagnostics know the file of every listening socket, however its path was written when it was bound. Where a kernel does
not have them, the names in /proc/net/unix have to do.
"""
import contextlib
import errno
import os
import re
import select
import socket
import stat
import struct
import time
from typing import Iterator

from vh.launch.errors import InUse, LaunchError, timed_out

NAME_MAX = 107  # bytes of a path in a socket's address, without the zero after it
LOOK_EVERY = 0.01  # seconds
_WORD = re.compile(r"[a-z0-9+-]+:")  # before what is no path, as libvh has it
_ACCEPTS = 0x10000  # in /proc/net/unix: __SO_ACCEPTCON
_SOCK_DIAG, _BY_FAMILY, _DUMP, _DONE, _ERROR = 4, 20, 0x301, 3, 2
_LISTENS, _NAME, _FILE = 10, 0, 1


def named(text: str) -> str:
    """The same name as the calls below take it, PATH or @NAME, of what else vhctl takes: unix:PATH, unix:@NAME, abstract:NAME."""
    if text.startswith("abstract:"):
        return "@" + text[len("abstract:"):]
    return text[len("unix:"):] if text.startswith("unix:") else text


def is_one(text: str) -> bool:
    """Whether it says where a socket is, and not a device file, a vDPA device or a command: unix:PATH, @NAME, abstract:NAME, a path, or
    the file of a socket."""
    if text.startswith(("unix:", "@", "abstract:")):
        return named(text) not in ("", "@")
    if _WORD.match(text) or text.startswith("/dev/") and not text.startswith("/dev/shm/") and not _is_socket(text):
        return False
    return "/" in text or _is_socket(text)


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


@contextlib.contextmanager
def address(path: str) -> "Iterator[str]":
    """What the file at path is called in a socket's address: itself, or by way of an fd of its folder when it is too long. @NAME is an
    abstract one."""
    if path.startswith("@"):
        yield "\0" + path[1:]
        return
    if len(os.fsencode(path)) <= NAME_MAX:
        yield path
        return
    folder, name = os.path.split(path)
    fd = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield through(fd, name)
    finally:
        os.close(fd)


def through(folder: int, name: str) -> str:
    """The same for who has that fd."""
    found = f"/proc/self/fd/{folder}/{name}"
    if len(os.fsencode(found)) > NAME_MAX:
        raise LaunchError(errno.ENAMETOOLONG, f"the file name {name} is too long for a socket; {NAME_MAX - 24} bytes are not")
    return found


def connect(path: str, timeout: "float | None" = None) -> socket.socket:
    """A connection to whoever listens there."""
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.settimeout(timeout)
        with address(path) as name:
            sock.connect(name)
        sock.settimeout(None)
    except BaseException:
        sock.close()
        raise
    return sock


def reach(path: str, timeout: float) -> socket.socket:
    """The same, waiting so long for somebody to listen there, and for room in his backlog."""
    end = time.monotonic() + timeout
    while True:
        try:
            return connect(path, 0)
        except (FileNotFoundError, ConnectionRefusedError, BlockingIOError):
            if time.monotonic() >= end:
                raise
        time.sleep(LOOK_EVERY)


def listen(path: str, mode: int = 0o600, backlog: int = 1) -> socket.socket:
    """A socket that listens there. One that nobody listens on any more is replaced; InUse when there is anything else."""
    file = not path.startswith("@")
    if file:
        make_room(path)
    sock = socket.socket(socket.AF_UNIX)
    ours = None
    try:
        with address(path) as name:
            sock.bind(name)
        ours = which(path)
        if file:
            os.chmod(path, mode)  # before anybody can connect
        sock.listen(backlog)
    except BaseException:
        remove(path, ours)
        sock.close()
        raise
    return sock


def inherited(target: str) -> "socket.socket | None":
    """The socket that fd:N, systemd:NAME or systemd: means, as libvh has it, in an fd of our own; None: it is another address."""
    kind, colon, rest = target.partition(":")
    if not colon or kind not in ("fd", "systemd"):
        return None
    if kind == "systemd":
        fd = _activated(target, rest)
    elif rest.isascii() and rest.isdigit():
        fd = int(rest)
    else:
        raise LaunchError(errno.EINVAL, f"{target}: after fd: stands the number of an open file descriptor")
    try:
        sock = socket.socket(fileno=os.dup(fd))
    except (OSError, OverflowError) as e:
        raise LaunchError(getattr(e, "errno", 0) or errno.EBADF, f"{target}: no socket was passed there: {e}") from e
    if sock.family != socket.AF_UNIX or sock.type != socket.SOCK_STREAM:
        sock.close()
        raise LaunchError(errno.EINVAL, f"{target}: it is no unix stream socket")
    return sock


def _activated(target: str, name: str) -> int:
    """The number of a socket that systemd, or what does as it does, started this process with."""
    def number(variable: str) -> int:
        text = os.environ.get(variable, "")
        return int(text) if text.isascii() and text.isdigit() else 0

    count = number("LISTEN_FDS") if number("LISTEN_PID") == os.getpid() else 0
    names = os.environ.get("LISTEN_FDNAMES", "").split(":")
    found = [3 + i for i in range(count) if not name or names[i:i + 1] == [name]]
    if not count:
        raise LaunchError(errno.EINVAL, f"{target}: no socket was passed to this process (LISTEN_PID, LISTEN_FDS)")
    if len(found) != 1:
        raise LaunchError(errno.EINVAL, f"{target}: {'several sockets' if found else 'no socket'} that were passed "
                          f"{'fit' if found else 'fits'} (LISTEN_FDNAMES)")
    return found[0]


def listens(sock: socket.socket) -> bool:
    """Is it one to accept at, and not a connection?"""
    return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


def make_room(path: str) -> None:
    """Remove a socket that nobody listens on any more."""
    try:
        there = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(there.st_mode):
        raise InUse(errno.EEXIST, f"{path} is no socket, so it is left alone")
    if listening(path):
        raise InUse(errno.EADDRINUSE, f"somebody listens on {path}")
    if _answers(path):
        raise InUse(errno.EADDRINUSE, f"somebody has the socket {path}: in another network namespace, or one of another type")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def _answers(path: str) -> bool:
    """Whether it is anybody's. The diagnostics know one network namespace, and who listens; before a file is removed, it is
    asked itself."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.setblocking(False)
        try:
            with address(path) as name:
                sock.connect(name)
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:  # its backlog is full, it is of another type, or not ours
            return True
        return True


def which(path: str) -> "tuple[int, int] | None":
    """Of all files, or None when it is gone; an abstract name is none."""
    if path.startswith("@"):
        return None
    try:
        there = os.stat(path)
    except OSError:
        return None
    return there.st_dev, there.st_ino


def remove(path: str, file: "tuple[int, int] | None") -> None:
    """Remove it if it is that file still, as which() told."""
    if file is not None and file == which(path):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def listening(path: str, pid: "int | None" = None) -> bool:
    """Whether somebody listens on the socket at path (or on the abstract name, "@NAME"). Nothing is connected to.

    With the pid of a process in another network namespace, that one's sockets are looked at: of those only the name is known,
    which must then be the path as it stands here."""
    if pid is not None and not _same_network(pid):
        return _named(path, f"/proc/{pid}/net/unix")
    try:
        return _diagnosed(path)
    except OSError:  # a kernel without unix_diag, or a filter of system calls
        return _named(path, "/proc/net/unix")


def _same_network(pid: int) -> bool:
    try:
        return os.readlink(f"/proc/{pid}/ns/net") == os.readlink("/proc/self/ns/net")
    except OSError:  # it is gone, or not ours to look at
        return True


def _diagnosed(path: str) -> bool:
    """By the diagnostics of this network namespace."""
    there = None
    if not path.startswith("@"):
        try:
            there = os.stat(path)
        except OSError:
            return False
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _SOCK_DIAG) as kernel:
        kernel.settimeout(2)
        ask = struct.pack("=BBHIIIII", socket.AF_UNIX, 0, 0, 1 << _LISTENS, 0, 1 << _NAME | 1 << _FILE, 0xFFFFFFFF, 0xFFFFFFFF)
        kernel.send(struct.pack("=IHHII", 16 + len(ask), _BY_FAMILY, _DUMP, 1, 0) + ask)
        found = False
        while True:
            data = kernel.recv(1 << 16)
            while len(data) >= 16:
                size, kind, _, _, _ = struct.unpack_from("=IHHII", data)
                if kind == _ERROR:
                    raise OSError(-struct.unpack_from("=i", data, 16)[0], "unix_diag")
                if kind == _DONE or size < 16:
                    return found
                found = found or _is_it(data[32:size], path, there)
                data = data[size + 3 & ~3:]


def _is_it(attributes: bytes, path: str, there: "os.stat_result | None") -> bool:
    name, file = b"", None
    while len(attributes) >= 4:
        size, kind = struct.unpack_from("=HH", attributes)
        if kind == _NAME:
            name = attributes[4:size]
        elif kind == _FILE:
            file = struct.unpack_from("=II", attributes, 4)
        attributes = attributes[max(size + 3 & ~3, 4):]
    if there is None:
        return name == b"\0" + os.fsencode(path[1:])
    if file is None or file[0] != there.st_ino & 0xFFFFFFFF:
        return False
    # File systems that are made of others show a number of a device that is not the kernel's own.
    device = os.major(there.st_dev) << 20 | os.minor(there.st_dev)
    return bool(file[1] == device) or os.path.basename(name.rstrip(b"\0")) == os.path.basename(os.fsencode(path))


def _named(path: str, table: str) -> bool:
    try:
        with open(table, encoding="utf-8", errors="surrogateescape") as f:
            for line in f:
                fields = line.rstrip("\n").split(" ", 7)
                if len(fields) == 8 and fields[7] == path and int(fields[3], 16) & _ACCEPTS:
                    return True
    except OSError:
        pass
    return False


def what_is_there(path: str) -> str:
    """For a message: why nobody can be reached."""
    try:
        there = os.stat(path)
    except OSError as e:
        return f"{path}: {os.strerror(e.errno or 0)}"
    if not stat.S_ISSOCK(there.st_mode):
        return f"{path} is no socket"
    return "there is a socket, but nobody of this network namespace listens on it: left over, or not ready yet"


def wait_listening(path: str, timeout: float = 10, pid: "int | None" = None, ended: "int | None" = None) -> bool:
    """Wait until somebody listens there, without connecting. TimedOut; False as soon as the fd @ended, a pidfd, is readable."""
    end = time.monotonic() + timeout
    watched = select.poll()
    if ended is not None:
        watched.register(ended, select.POLLIN)
    while not listening(path, pid):
        left = end - time.monotonic()
        if left <= 0:
            raise timed_out(f"nobody listens on {path} after {timeout:g} s: {what_is_there(path)}")
        if watched.poll(1000 * min(LOOK_EVERY, left)):
            return False
    return True
