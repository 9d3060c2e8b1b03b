# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""Between a front-end and a back-end: connections are taken, joined to the back-end's, and every message is told."""

from __future__ import annotations

import errno
import itertools
import os
import select
import selectors
import socket
import stat
import threading
import time
from typing import Any, Callable, Protocol

from vh.launch import listen
from vh.launch import sockets
from vh.testing.wire import FE
from vh.trace import rings
from vh.trace.files import Recording, write
from vh.trace.message import BACK_END, BACKEND, FRONT_END, GPU, MAIN, Fd, Message, Note, Violation
from vh.trace.relay import Flow, close_all
from vh.trace.session import Session


_NO_FD = 0.1  # seconds until the next try when there is no fd for who connects


class Sink(Protocol):
    """Who is told."""

    def message(self, m: Message) -> None: ...

    def violation(self, v: Violation) -> None:
        """One that belongs to an earlier message; those of a message come with it."""

    def note(self, n: Note) -> None: ...


def listener(target: str) -> socket.socket:
    """A socket that listens there; one that nobody listens at any more is replaced."""
    s = sockets.listen(sockets.named(target), backlog=8)
    s.setblocking(False)
    return s


def connected(target: str, timeout: float) -> socket.socket:
    """A connection to there; waits for a listener until the timeout."""
    s = sockets.reach(sockets.named(target), timeout)
    s.setblocking(False)
    return s


def _gone(s: socket.socket) -> bool:
    poll = select.poll()
    poll.register(s, 0)
    return any(events & select.POLLHUP for _, events in poll.poll(0))


def given(target: str, connection: bool) -> socket.socket | None:
    """The socket of an address that means one which is there already; None: it does not. A back-end's has to be a connection."""
    s = sockets.inherited(target)
    if s and connection and sockets.listens(s):
        s.close()
        raise OSError(errno.EINVAL, "it listens, and is no connection", target)
    if s:
        s.setblocking(False)
    return s


#: of a GPU's socket: bytes of a message that are told, which are more than any has before its pixels; the longest that is one
_GPU_KEEP, _GPU_LIMIT = 2048, 1 << 30
#: messages by which a front-end hands over a socket, and the channel that is
_OPENS = {FE.SET_BACKEND_REQ_FD: BACKEND, FE.GPU_SET_SOCKET: GPU}


class Link:
    """Both directions between two sockets, of one channel."""

    def __init__(self, owner: _Connection, channel: str, front: socket.socket, back: socket.socket):
        self.owner, self.channel, self.front, self.back = owner, channel, front, back
        self.flows = {FRONT_END: self._flow(FRONT_END, front, back), BACK_END: self._flow(BACK_END, back, front)}
        self.kept: dict[str, list[int]] = {FRONT_END: [], BACK_END: []}

    def _flow(self, sender: str, source: socket.socket, sink: socket.socket) -> Flow:
        def describe(fds: list[int]) -> list[object]:
            if self.owner.session.keep:
                for fd in fds:
                    self.kept[sender].append(os.dup(fd))
            return [Fd.of(fd) for fd in fds]

        def message(header: tuple[int, int, int], payload: bytes, fds: list[Any], cut: bool) -> None:
            kept, self.kept[sender] = self.kept[sender], []
            request, flags, size = header
            self.owner.message(sender, self.channel, request, flags, payload, fds, size if cut or len(payload) < size else None, kept)

        def swap(header: tuple[int, int, int], fds: list[int]) -> None:
            if sender == FRONT_END and self.channel == MAIN and header[0] in _OPENS and len(fds) == 1:
                self.owner.open_channel(fds, _OPENS[FE(header[0])])

        def broken(text: str) -> None:
            close_all(self.kept[sender])
            self.owner.tell("pipe", f"the {sender} on the {self.channel} channel: {text}; from here on it is a pipe")

        if self.channel == GPU:
            return Flow(source, sink, describe, message, swap, broken, _GPU_LIMIT, _GPU_KEEP)
        return Flow(source, sink, describe, message, swap, broken)

    @property
    def done(self) -> bool:
        """Both directions have ended; or one has, and who sent there is gone altogether, so that the other is no use."""
        return all(flow.done for flow in self.flows.values()) or any(
            flow.done and _gone(flow.source) for flow in self.flows.values())

    def close(self) -> None:
        for flow in self.flows.values():
            flow.close()
        for kept in self.kept.values():
            close_all(kept)
        self.front.close()
        self.back.close()


class _Connection:
    """A front-end's connection, its twin to the back-end, and the back-end's channel between them."""

    def __init__(self, tracer: Tracer, number: int, front: socket.socket, back: socket.socket):
        self.tracer, self.number = tracer, number
        self.ended_by = ""
        self.session: Session = Session(number, tracer.keep, int(tracer.late * 1e9), self._violation)
        self.links: list[Link] = [Link(self, MAIN, front, back)]
        self._told: Message | None = None
        self.tell("connected")

    def tell(self, event: str, text: str = "") -> None:
        self.tracer.note(Note(self.number, self.tracer.now(), event, text))

    def _violation(self, v: Violation) -> None:
        self.tracer.violated(v, with_message=bool(self._told) and self._told.number == v.number)  # type: ignore[union-attr]

    def message(self, sender: str, channel: str, request: int, flags: int, payload: bytes, fds: list[Fd],
                cut: int | None, kept: list[int]) -> None:  # fmt: skip
        m = Message(self.tracer.next_number(), self.number, self.tracer.now(), sender, channel, request, flags, payload, fds,
                    size=cut)  # fmt: skip
        self._told = m
        with self.tracer.lock:
            self.session.add(m, kept)
        self._told = None
        self.tracer.message(m)

    def open_channel(self, fds: list[int], channel: str) -> None:
        """Put a socket of ours in the place of one that the front-end hands over. What can't be one goes on as it is."""
        if not stat.S_ISSOCK(os.fstat(fds[0]).st_mode):
            return
        s = socket.socket(fileno=os.dup(fds[0]))
        if s.family != socket.AF_UNIX or s.type != socket.SOCK_STREAM:
            s.close()
            return
        try:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        except OSError:
            s.close()
            raise
        os.set_blocking(theirs.fileno(), os.get_blocking(fds[0]))
        os.close(fds[0])
        fds[0] = theirs.detach()
        s.setblocking(False)
        ours.setblocking(False)
        self.tracer.watch(Link(self, channel, s, ours), self)

    def close(self) -> None:
        for link in self.links:
            link.close()
        self.links.clear()


class Tracer:
    """Traces the front-ends that connect to @listen, one after the other, each with a connection of its own to @connect.

    With memory, it keeps what the front-end shares, to look at rings; without remember, it tells its sinks only. In a with statement it runs in a thread of its own; run() runs it here. Both may also be sockets: one that listens, or
    (front, back) already connected, in the places of listen and connect::

        with Tracer(listen="/tmp/front.sock", connect="/tmp/back.sock") as tracer:
            ...
        for violation in tracer.violations:
            print(violation)
    """

    def __init__(self, listen: str | None = None, connect: str | None = None, *, once: bool = False, memory: bool = True,
                 late: float = 5.0, timeout: float = 5.0, reverse: bool = False, sinks: tuple[Sink, ...] = (), remember: bool = True,
                 pair: tuple[socket.socket, socket.socket] | None = None):  # fmt: skip
        if (listen is None or connect is None) == (pair is None):
            raise ValueError("a tracer needs listen and connect, or a pair of connected sockets")
        self.messages: list[Message] = []
        self.violations: list[Violation] = []
        self.notes: list[Note] = []
        self.n_violations = 0
        self.lock = threading.RLock()
        self._news = threading.Condition(self.lock)
        self.keep, self.late = memory, late
        self.failed: BaseException | None = None
        self._connect, self._timeout, self._reverse, self.sinks = connect or "", timeout, reverse, sinks
        self._once, self._remember = once or pair is not None, remember
        self._start = time.monotonic_ns()
        self.started_ns = time.time_ns()
        self._numbers = itertools.count(1)
        self._connections = 0
        self._current: _Connection | None = None
        self._session: Session | None = None  # of the connection that is, or was last
        self._thread: threading.Thread | None = None
        self._closed = False
        self.refused = ""  # why the last back-end could not be reached
        self._calls: list[Callable[[], object]] = []
        self._path = ""
        self._listener: socket.socket | None = None
        self._file: tuple[int, int] | None = None
        self._back, came = self._open(listen or "", connect or "") if not pair else (None, None)
        self._selector = selectors.DefaultSelector()
        self._wake, self._woken = socket.socketpair()
        self._woken.setblocking(False)
        self._wake.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ)
        if pair:
            for s in pair:
                s.setblocking(False)
            self._join(*pair)
        elif self._listener:
            self._selector.register(self._listener, selectors.EVENT_READ)
        if came:
            self._arrived(came)

    def _open(self, listen: str, connect: str) -> tuple[socket.socket | None, socket.socket | None]:
        """Begin to listen. The connection to the back-end, and that of the front-end, of those that are there already."""
        back = given(connect, connection=True)
        came = None
        try:
            s = given(listen, connection=False)
            if s and not sockets.listens(s):
                came = s
            else:
                self._listener = s or listener(listen)
            if not s:
                self._path = sockets.named(listen)
                self._file = sockets.which(self._path)
        except BaseException:
            if back:
                back.close()
            raise
        self._once = self._once or bool(back or came)
        return back, came

    # --- a thread of its own ---

    def __enter__(self) -> Tracer:
        self._thread = threading.Thread(target=self._run, name="vh.trace", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()
        if self._thread:
            self._thread.join()
        self.close()
        if self.failed:
            raise self.failed

    def _run(self) -> None:
        try:
            self.run()
        except BaseException as e:  # noqa: BLE001 - __exit__() raises it in the thread of the user
            with self._news:
                self.failed = e
                self._news.notify_all()

    def join(self, timeout: float | None = None) -> bool:
        """Wait until the thread has ended by itself, as it does with once; False: it has not."""
        if self._thread:
            self._thread.join(timeout)
        return not (self._thread and self._thread.is_alive())

    def stop(self) -> None:
        """Make run() return; from any thread, or from a signal handler."""
        self._closed = True
        self.wake()

    def wake(self, call: Callable[[], object] | None = None) -> None:
        """Have the tracer's thread look up, and make this call."""
        if call:
            self._calls.append(call)
        try:
            self._wake.send(b"w")
        except (BlockingIOError, OSError):
            pass

    def close(self) -> None:
        """End everything; what was recorded stays."""
        if self._current:
            self._finish(self._current, "")
        if self._session:
            with self.lock:
                self._session.close()
                self._session = None
        if self._back:
            self._back.close()
            self._back = None
        if self._listener:
            self._listener.close()
            self._listener = None
            sockets.remove(self._path, self._file)
        self._selector.close()
        self._wake.close()
        self._woken.close()

    @property
    def once(self) -> bool:
        """It ends with the first connection, as it was told to, or because there can't be another one."""
        return self._once

    # --- what was seen ---

    def wait_for(self, condition: Callable[[], Any], timeout: float | None = None) -> bool:
        """Wait until that holds; asked again after each message, violation and note. False: the time was up, or the tracer failed."""
        with self._news:
            return bool(self._news.wait_for(lambda: condition() or self.failed, timeout)) and bool(condition())

    def ring_states(self) -> list[rings.RingState]:
        """Every ring of the connection that is, or was last; read now, from the memory that the front-end shares."""
        with self.lock:
            return rings.of_session(self._session) if self._session else []

    def recording(self) -> Recording:
        """What was seen so far."""
        with self.lock:
            return Recording(list(self.messages), list(self.notes), list(self.violations), started_ns=self.started_ns)

    def save(self, pcapng: str | os.PathLike[str] | None = None, jsonl: str | os.PathLike[str] | None = None) -> None:
        """Write it to files: for Wireshark, as lines of JSON."""
        for path, as_pcapng in ((pcapng, True), (jsonl, False)):
            if path is not None:
                write(self.recording(), path, as_pcapng)

    def now(self) -> int:
        return time.monotonic_ns() - self._start

    def next_number(self) -> int:
        return next(self._numbers)

    def message(self, m: Message) -> None:
        if self._remember:
            with self._news:
                self.messages.append(m)
                self._news.notify_all()
        for sink in self.sinks:
            sink.message(m)

    def violated(self, v: Violation, with_message: bool) -> None:
        with self._news:
            self.n_violations += 1
            if self._remember:
                self.violations.append(v)
            self._news.notify_all()
        if not with_message:
            for sink in self.sinks:
                sink.violation(v)

    def note(self, n: Note) -> None:
        with self._news:
            if self._remember:
                self.notes.append(n)
            self._news.notify_all()
        for sink in self.sinks:
            sink.note(n)

    # --- the loop ---

    def run(self) -> None:
        """Until stop(), or with once until the first connection is over. Who fails here, a sink for one, ends both connections."""
        try:
            self._loop()
        except BaseException:
            self._drop()
            raise

    def _drop(self) -> None:
        """Nobody passes anything on any more: the peers are to know, and the sinks hear nothing more."""
        self.sinks = ()
        if self._current:
            self._finish(self._current, "")
        if self._listener:
            self._listener.close()
            self._listener = None
            sockets.remove(self._path, self._file)

    def _loop(self) -> None:
        while not self._closed and not (self._once and self._connections and not self._current):
            for key, events in self._selector.select(self._patience()):
                if key.fileobj is self._woken:
                    self._woken_up()
                elif key.fileobj is self._listener:
                    self._accept()
                else:
                    self._moved(key.data, key.fileobj, events)  # type: ignore[arg-type]
            self._look()

    def _patience(self) -> float | None:
        if not self._current:
            return None
        with self.lock:
            due = self._current.session.tick(self.now())
        waits = [] if due is None else [(due - self.now()) / 1e9 + 0.001]
        c = self._current
        for flow in [flow for link in c.links for flow in link.flows.values()]:
            at = self._try(c, flow.hurry)
            if self._current is not c:
                return 0.0
            if at is not None:
                waits.append(at - time.monotonic() + 0.001)
        return max(0.0, min(waits)) if waits else None

    def _woken_up(self) -> None:
        try:
            while self._woken.recv(64):
                pass
        except BlockingIOError:
            pass
        while self._calls:
            self._calls.pop(0)()

    def _accept(self) -> None:
        if self._current or not self._listener:
            return
        try:
            came, _ = self._listener.accept()
        except (BlockingIOError, ConnectionError):
            return
        except OSError:  # no fd for it: it waits in the backlog, and the listener stays readable
            select.select([self._woken], [], [], _NO_FD)
            return
        came.setblocking(False)
        self._arrived(came)

    def _arrived(self, came: socket.socket) -> None:
        """Who it is gets a connection to the other end."""
        try:
            other, self._back = self._back or connected(self._connect, self._timeout), None
        except OSError as e:
            came.close()
            self._connections += 1
            self.refused = f"{self._connect}: {e.strerror or e}"
            self.note(Note(self._connections, self.now(), "refused", self.refused))
            return
        if self._listener:  # who comes next waits in the backlog
            self._selector.unregister(self._listener)
        self._join(*((other, came) if self._reverse else (came, other)))

    def _join(self, front: socket.socket, back: socket.socket) -> None:
        with self.lock:
            if self._session:
                self._session.close()
            self._connections += 1
            self._current = _Connection(self, self._connections, front, back)
            self._session = self._current.session
        self._register(self._current.links[0])

    def watch(self, link: Link, connection: _Connection) -> None:
        """Have a link of that connection looked at."""
        for old in [x for x in connection.links if x.channel == link.channel]:
            self._unregister(old)
            connection.links.remove(old)
            old.close()
        connection.links.append(link)
        self._register(link)

    def _try(self, c: _Connection, move: Callable[[], Any]) -> Any:
        """Who has no fd left for what a connection brings ends that connection: without its fds a message is another one."""
        try:
            return move()
        except OSError as e:
            if e.errno not in (errno.EMFILE, errno.ENFILE):
                raise
            self._finish(c, "tracer", f": {e.strerror}")
            return None

    def _register(self, link: Link) -> None:
        for s in (link.front, link.back):
            self._selector.register(s, selectors.EVENT_READ, link)

    def _unregister(self, link: Link) -> None:
        for s in (link.front, link.back):
            try:
                self._selector.unregister(s)
            except KeyError:
                pass

    def _moved(self, link: Link, s: socket.socket, events: int) -> None:
        if s.fileno() < 0:
            return  # closed by what came before in this round
        sender = FRONT_END if s is link.front else BACK_END
        incoming, outgoing = link.flows[sender], link.flows[BACK_END if sender == FRONT_END else FRONT_END]
        connection = link.owner
        if events & selectors.EVENT_READ and incoming.wants_read:
            self._try(connection, incoming.read)
            if self._current is not connection:
                return
            if incoming.ended and link.channel == MAIN and not connection.ended_by:
                connection.ended_by = sender
        if events & selectors.EVENT_WRITE:
            outgoing.write()

    def _look(self) -> None:
        """What is to be waited for now, of each socket; and whether something is over."""
        c = self._current
        if not c:
            return
        for link in list(c.links):
            self._interest(link)
            if not link.done:
                continue
            self._unregister(link)
            if link.channel == MAIN:
                self._finish(c, c.ended_by)
                return
            c.links.remove(link)
            link.close()

    def _interest(self, link: Link) -> None:
        for s, incoming, outgoing in ((link.front, link.flows[FRONT_END], link.flows[BACK_END]),
                                      (link.back, link.flows[BACK_END], link.flows[FRONT_END])):
            events = (selectors.EVENT_READ if incoming.wants_read else 0) | (
                selectors.EVENT_WRITE if outgoing.wants_write else 0)
            try:
                if events:
                    self._selector.modify(s, events, link)
                else:
                    self._selector.unregister(s)
            except KeyError:
                if events:
                    self._selector.register(s, events, link)

    def _finish(self, c: _Connection, by: str, why: str = "") -> None:
        with self.lock:
            c.session.end(by)
        for link in c.links:
            self._unregister(link)
        c.close()
        self._current = None
        c.tell("ended", f"by the {by}{why}" if by else "")
        if self._listener and not self._closed:
            self._selector.register(self._listener, selectors.EVENT_READ)
