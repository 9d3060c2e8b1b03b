# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""A back-end that runs: started with a socket, waited for, ended, tidied up after."""
import contextlib
import os
import shlex
import shutil
import socket as sockets
import tempfile
import threading
import warnings
import weakref
from typing import IO, TYPE_CHECKING, Any, Mapping, Sequence

from vh.launch.errors import Died, LaunchError, how_it_ended, timed_out
from vh.launch.process import TAIL, Child, Output
from vh.launch.sockets import NAME_MAX, listen, make_room, remove, through, wait_listening, which

if TYPE_CHECKING:
    from vh.launch.installed import Description

START_TIMEOUT = 10.0
GRACE = 5.0
BACKLOG = 1
SOCKET, FD, CONNECTED = "socket", "fd", "connected"  # how a program gets its socket
_APPENDED = {SOCKET: "--socket-path={socket}", FD: "--fd={fd}", CONNECTED: "--fd={fd}"}


class _Running:
    """The process and all that goes when it ends. Apart from Backend, so that it can end after that is gone."""

    def __init__(self, log: "str | os.PathLike[str] | IO[bytes] | None") -> None:
        self.owner = os.getpid()
        self.lock = threading.RLock()
        self.after = contextlib.ExitStack()  # what is done when it has ended
        self.child: "Child | None" = None
        self.stopping = self.late = False
        self.grace = 0.0  # what it had when it was late
        self.socket: "tuple[int, int] | None" = None  # which file it listens on
        sink: "Any" = log
        if isinstance(log, (str, os.PathLike)):
            sink = self.after.enter_context(open(log, "ab", buffering=0))
        try:
            self.output = Output(sink)
        except OSError:
            self.after.close()
            raise
        self.after.callback(self.output.finish)

    def finish(self, grace: float) -> "int | None":
        """Once: the end of the process and of everything that was made for it. None: there was no process."""
        if os.getpid() != self.owner:  # a fork of the program that started it
            return None
        with self.lock:
            code = None
            try:
                if self.child:
                    code, late = self.child.end(grace)
                    if late:
                        self.late, self.grace = True, grace
            finally:
                self.after.pop_all().close()
            return code


class Backend:
    """A running back-end, a context manager. Made by start(); it is stopped when nobody has it any more, at exit at the latest."""

    path: "str | None" = None  # of its socket
    connection: "sockets.socket | None" = None  # to it, when it was started with a connected one

    def __init__(self, command: "Sequence[str]", running: _Running, grace: float) -> None:
        self.command, self._running, self.grace = list(command), running, grace
        self._end = weakref.finalize(self, running.finish, grace)
        self._listened = False

    @property
    def _child(self) -> Child:
        assert self._running.child
        return self._running.child

    @property
    def pid(self) -> int:
        return self._child.popen.pid

    @property
    def returncode(self) -> "int | None":
        """None while it runs; -N: by signal N."""
        return self.wait(0) if self.done() else None

    def fileno(self) -> int:
        """A pidfd, readable when it has ended: for select, asyncio and the like. wait() and stop() close it; then this is -1."""
        return self._child.fd

    def done(self) -> bool:
        """Whether it has ended."""
        return self._child.ended()

    def err(self) -> "LaunchError | None":
        """None: it runs, or it ended with 0, or stop() ended it. Died: it ended otherwise. TimedOut: it had to be killed."""
        if not self.done():
            return None
        code, who = self.wait(0), self.command[0]
        if self._running.late:
            return timed_out(f"{who}: no end {self._running.grace:g} s after SIGTERM, so it was killed", self.output(TAIL))
        if self._running.stopping or not code and self._listened:
            return None
        when = "" if self._listened else " before it listened"
        more = "; does it go into the background? It must stay in front" if not code else ""
        return Died(10, f"{who}: it ended with {how_it_ended(code)}{when}{more}", self.output(TAIL), code)

    def wait(self, timeout: "float | None" = None) -> int:
        """Until it has ended: its exit code, -N for signal N. TimedOut: it runs still."""
        while not self._child.ended(3600 if timeout is None else timeout):
            if timeout is not None:
                raise timed_out(f"{self.command[0]} runs still, after {timeout:g} s", self.output(TAIL))
        return self._finish(0)

    def stop(self, grace: "float | None" = None) -> int:
        """SIGTERM, and SIGKILL when it has not ended after grace seconds; its socket goes too. The exit code. Again: the same."""
        if not self.done():
            self._running.stopping = True
        return self._finish(self.grace if grace is None else grace)

    def _finish(self, grace: float) -> int:
        self._running.finish(grace)
        self._end.detach()
        return int(self._child.popen.returncode)

    def close(self) -> None:
        """stop(), and the connection is closed."""
        if self.connection:
            self.connection.close()
        if self._running.child:
            self.stop()

    def output(self, size: int = 1 << 30) -> str:
        """The last of what it wrote to stdout and stderr, at most 64 KiB, and at most size bytes."""
        return self._running.output.text(size)

    def __enter__(self) -> "Backend":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if self._running.child and self._end.alive and os.getpid() == self._running.owner:
            warnings.warn(f"{self!r} was not stopped", ResourceWarning, source=self)

    def __repr__(self) -> str:
        state = "ended" if self.done() else "runs"
        return f"<Backend {self.command[0]} pid {self.pid} {state}{' at ' + self.path if self.path else ''}>"


def start(command: "str | Sequence[str] | Description", *args: str, socket: "str | os.PathLike[str] | None" = None, how: str = "",
          listener: "sockets.socket | None" = None, timeout: float = START_TIMEOUT, grace: float = GRACE,
          env: "Mapping[str, str] | None" = None, cwd: "str | None" = None,
          log: "str | os.PathLike[str] | IO[bytes] | None" = None, pass_fds: "Sequence[int]" = (),
          pidfile: "str | None" = None, group: bool = True, prompt: bool = False) -> Backend:
    """Start a back-end, and wait until it listens, without connecting to it.

    @command is an installed one, words, or a line that is split as a shell would; @args come after it. "{socket}" in a word becomes
    the path of the socket, "{fd}" the number of an inherited one. Without these, @how adds an option: "socket" (the default)
    --socket-path=PATH, "fd" --fd=N of a socket that listens on the path, "connected" --fd=N of one end of a connection, whose
    other end is Backend.connection.

    @socket: where; without it in a folder of its own, which goes with it. Paths can be longer than a socket's address can be.
    @listener: a socket that listens already, for "fd"; the caller keeps his. @env, @cwd: as for subprocess. @log: a file that gets all
    output, by its path or open. @pidfile: gets its pid. @group: what it has started is killed when it has ended. @prompt: it reads from a
    terminal as a rule; its stdin stays open, and nothing comes there.

    Died, with its last words, as soon as it ends before it listens; TimedOut after @timeout; NotFound; InUse.
    """
    words = _words(command, args)
    how = _how(words, how or (FD if listener else SOCKET))
    running = _Running(log)
    made = Backend(words, running, grace)
    try:
        inherited: "sockets.socket | tuple[int, ...]"
        if how == CONNECTED:
            inherited = _connected(made)
        else:
            made.path = _path(running, socket, listener)
            inherited = _listener(made, listener) if how == FD else _room(made)
        with contextlib.ExitStack() as ours:  # its fds are its own when it has started
            name = made.path or ""
            if isinstance(inherited, sockets.socket):
                ours.enter_context(inherited) if inherited is not listener else None
                fds: "tuple[int, ...]" = (inherited.fileno(),)
                number = str(fds[0])
            else:
                fds, number = inherited, ""
                for fd in inherited:
                    ours.callback(os.close, fd)
                    name = through(fd, os.path.basename(name))
            argv = [w.replace("{socket}", name).replace("{fd}", number) for w in words]
            out, made.command = running.output, argv
            running.child = Child(argv, group, prompt, stdout=out.to, stderr=out.to, env=env, cwd=cwd, pass_fds=(*fds, *pass_fds))
            out.begin()
        _number_in_a_file(made, pidfile)
        if how == SOCKET and made.path and not wait_listening(made.path, timeout, made.pid, made.fileno()):
            raise made.err() or AssertionError(made)
        made._listened = True
        if how == SOCKET and made.path:
            running.socket = which(made.path)
        return made
    except BaseException as e:
        if made.connection:
            made.connection.close()
        running.finish(0 if isinstance(e, Died) else min(grace, 1))
        made._end.detach()
        if isinstance(e, LaunchError) and not e.output and made.output(TAIL).strip():
            raise type(e)(e.errno or 0, str(e), made.output(TAIL)) from None
        raise


def _words(command: "str | Sequence[str] | Description", args: "Sequence[str]") -> "list[str]":
    binary = getattr(command, "binary", None)
    words = [binary] if binary else shlex.split(command) if isinstance(command, str) else [os.fspath(w) for w in command]  # type: ignore[union-attr]
    if not words:
        raise ValueError("a command has at least one word")
    return [*words, *args]


def _how(words: "list[str]", how: str) -> str:
    """How it gets its socket, by its words, to which an option is added where they don't say."""
    if how not in _APPENDED:
        raise ValueError(f"how is {how!r}; it can be {', '.join(_APPENDED)}")
    by_path, by_fd = (any(place in w for w in words) for place in ("{socket}", "{fd}"))
    if by_path and by_fd:
        raise ValueError("{socket} and {fd} exclude each other")
    if by_path:
        return SOCKET
    if by_fd:
        return how if how == CONNECTED else FD
    words.append(_APPENDED[how])
    return how


def _path(running: _Running, socket: "str | os.PathLike[str] | None", listener: "sockets.socket | None") -> "str | None":
    if socket is not None:
        return os.path.abspath(socket)
    if listener:
        name = listener.getsockname()
        return name if isinstance(name, str) and name else None
    parent = os.environ.get("XDG_RUNTIME_DIR")
    folder = tempfile.mkdtemp(prefix="vh-", dir=parent if parent and os.access(parent, os.W_OK) else None)
    running.after.callback(shutil.rmtree, folder, True)
    return os.path.join(folder, "socket")


def _connected(made: Backend) -> sockets.socket:
    made.connection, theirs = sockets.socketpair(sockets.AF_UNIX)
    return theirs


def _listener(made: Backend, listener: "sockets.socket | None") -> sockets.socket:
    if listener:
        return listener
    assert made.path
    found = listen(made.path, backlog=BACKLOG)
    made._running.socket = which(made.path)
    _goes_with_it(made._running, made.path)
    return found


def _room(made: Backend) -> "tuple[int, ...]":
    """The path is free; where it is too long for an address, an fd of its folder for the program."""
    assert made.path
    make_room(made.path)
    _goes_with_it(made._running, made.path)
    folder = os.path.dirname(made.path)
    fd = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)  # also says early that there is no such folder
    if len(os.fsencode(made.path)) <= NAME_MAX:
        os.close(fd)
        return ()
    return (fd,)


def _goes_with_it(running: _Running, path: str) -> None:
    """The socket that it listened on, or one that it never listened on; and PATH.pid, where virtiofsd has its number."""
    def tidy() -> None:
        with contextlib.suppress(OSError):
            if running.socket is None:
                make_room(path)
            else:
                remove(path, running.socket)
        with contextlib.suppress(OSError, ValueError):
            with open(path + ".pid", encoding="ascii") as f:
                mine = running.child and int(f.read(32)) == running.child.popen.pid
            if mine:
                os.unlink(path + ".pid")
    running.after.callback(tidy)


def _number_in_a_file(made: Backend, pidfile: "str | None") -> None:
    if pidfile is not None:
        with open(pidfile, "w", encoding="ascii") as f:
            made._running.after.callback(_remove, pidfile)
            f.write(f"{made.pid}\n")


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)


